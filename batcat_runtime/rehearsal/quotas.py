"""Service Quotas for SageMaker: how many instances of a type processing jobs may use at once.

moto knows the quotas of VPC only. Values are what young accounts tend to have; the quota codes are
made up. Source: Service Quotas API reference, ListServiceQuotas; AWS general reference, "Amazon
SageMaker AI endpoints and quotas" (names such as ``ml.m5.xlarge for processing job usage``).
"""

from __future__ import annotations

import hashlib
from typing import Any

from moto.utilities.utils import get_partition

from .operations import PASS, Operation
from .wire import ACCOUNT_ID, Call, ServiceError

_FAMILIES = {"t3": 20, "m5": 20, "c5": 20, "r5": 20, "p3": 0, "g4dn": 0}
_SIZES = ("medium", "large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge")
_USES = ("endpoint usage", "processing job usage", "training job usage", "transform job usage")
_PAGE = 100


def operations() -> dict[tuple[str, str], Operation]:
    """Return what is performed here."""
    return {("service-quotas", "ListServiceQuotas"): list_service_quotas}


def list_service_quotas(call: Call) -> Any:
    """Return a page of SageMaker's quotas; other services are moto's."""
    service = call.params.get("ServiceCode")
    if service == "vpc":
        return PASS
    if service != "sagemaker":
        raise ServiceError(
            "NoSuchResourceException", f"The request failed because {service} does not exist."
        )
    size = int(call.params.get("MaxResults") or _PAGE)
    first = int(call.params.get("NextToken") or 0)
    everything = [_quota(name, value, call.region) for name, value in _values()]
    answer: dict[str, Any] = {"Quotas": everything[first : first + size]}
    if first + size < len(everything):
        answer["NextToken"] = str(first + size)
    return answer


def _values() -> list[tuple[str, float]]:
    return sorted(
        (f"ml.{family}.{size} for {use}", float(value))
        for family, value in _FAMILIES.items()
        for size in _SIZES
        for use in _USES
    )


def _quota(name: str, value: float, region: str) -> dict[str, Any]:
    code = f"L-{hashlib.sha256(name.encode()).hexdigest()[:8].upper()}"
    return {
        "ServiceCode": "sagemaker",
        "ServiceName": "Amazon SageMaker",
        "QuotaArn": f"arn:{get_partition(region)}:servicequotas:{region}:{ACCOUNT_ID}:"
        f"sagemaker/{code}",
        "QuotaCode": code,
        "QuotaName": name,
        "Value": value,
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
    }
