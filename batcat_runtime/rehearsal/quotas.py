"""Service Quotas for SageMaker: how many instances of a type processing jobs may use at once.

moto knows the quotas of VPC only. Values are what young accounts tend to have; the quota codes are
made up. Source: Service Quotas API reference, ListServiceQuotas; AWS general reference, "Amazon
SageMaker AI endpoints and quotas" (names such as ``ml.m5.xlarge for processing job usage``).
"""

from __future__ import annotations

import itertools
from typing import Any

from moto.utilities.utils import get_partition

from .operations import PASS, Operation
from .wire import ACCOUNT_ID, Call

_FAMILIES = {"t3": 20, "m5": 20, "c5": 20, "r5": 20, "p3": 0, "g4dn": 0}
_SIZES = ("medium", "large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge")


def operations() -> dict[tuple[str, str], Operation]:
    """Return what is performed here."""
    return {("service-quotas", "ListServiceQuotas"): list_service_quotas}


def list_service_quotas(call: Call) -> Any:
    """Return SageMaker's quotas, in one page; other services are moto's."""
    if call.params.get("ServiceCode") != "sagemaker":
        return PASS
    place = f"arn:{get_partition(call.region)}:servicequotas:{call.region}:{ACCOUNT_ID}:sagemaker"
    quotas = [
        {
            "ServiceCode": "sagemaker",
            "QuotaArn": f"{place}/L-{number:08X}",
            "QuotaCode": f"L-{number:08X}",
            "QuotaName": f"ml.{family}.{size} for processing job usage",
            "Value": float(_FAMILIES[family]),
            "Adjustable": True,
        }
        for number, (family, size) in enumerate(itertools.product(_FAMILIES, _SIZES))
    ]
    return {"Quotas": quotas}
