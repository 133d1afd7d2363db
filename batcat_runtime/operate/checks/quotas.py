"""How many instances of a type SageMaker lets processing jobs use at once."""

from __future__ import annotations

from typing import Any

from batcat_runtime.config import Purpose, Step
from batcat_runtime.operate.checks.finding import Finding, failed, ok, skipped
from batcat_runtime.operate.checks.patient import Patient

_UNKNOWN = {"NoSuchResourceException", "NotInEmbeddedAWS"}


def quota_is_large_enough(patient: Patient) -> list[Finding]:
    """SageMaker's quota is large enough for every step."""
    from botocore.exceptions import ClientError

    wanted = _wanted([patient.settings.purposes[one] for one in patient.purposes])
    region = patient.settings.region
    names = {f"{kind} for processing job usage": kind for kind in wanted}
    with patient.asked("SageMaker's quotas", "servicequotas:ListServiceQuotas"):
        try:
            quotas = _quotas(patient.client("service-quotas"), set(names))
        except ClientError as error:
            if error.response["Error"]["Code"] not in _UNKNOWN:
                raise
            return [skipped(f"Service Quotas has none of SageMaker in {region}")]
    findings = []
    for name, kind in names.items():
        if name not in quotas:
            findings.append(skipped(f"Service Quotas tells none for {kind} in {region}"))
        elif quotas[name]["Value"] < wanted[kind]:
            code, value = quotas[name]["QuotaCode"], quotas[name]["Value"]
            findings.append(
                failed(
                    f"{wanted[kind]} instances of {kind} are needed at once, {value:.0f} are "
                    "allowed",
                    "aws service-quotas request-service-quota-increase --service-code sagemaker "
                    f"--quota-code {code} --desired-value {wanted[kind]} --region {region}",
                )
            )
    shown = [
        f"{wanted[names[name]]} of {quotas[name]['Value']:.0f} {names[name]}"
        for name in names
        if name in quotas
    ]
    return findings or [ok(", ".join(shown))]


def _wanted(purposes: list[Purpose]) -> dict[str, int]:
    """Return how many instances of each type one run needs at once, of the hungriest purpose."""
    most: dict[str, int] = {}
    for purpose in purposes:
        for stage in purpose.plan:
            for kind, count in _of_stage(stage).items():
                most[kind] = max(most.get(kind, 0), count)
    return most


def _of_stage(stage: Step | list[Any]) -> dict[str, int]:
    """Return the instances of a stage; branches run at the same time, steps of one do not."""
    if isinstance(stage, Step):
        return {stage.instance_type: stage.instance_count}
    total: dict[str, int] = {}
    for branch in stage:
        most: dict[str, int] = {}
        for part in branch if isinstance(branch, list) else [branch]:
            for kind, count in _of_stage(part).items():
                most[kind] = max(most.get(kind, 0), count)
        for kind, count in most.items():
            total[kind] = total.get(kind, 0) + count
    return total


def _quotas(client: Any, names: set[str]) -> dict[str, dict[str, Any]]:
    """Return the quotas of these names; SageMaker has thousands, so the search ends with the last.

    There is no way to ask for one by its name, and the codes differ from type to type.
    """
    found: dict[str, dict[str, Any]] = {}
    for page in client.get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker"):
        found |= {one["QuotaName"]: one for one in page["Quotas"] if one["QuotaName"] in names}
        if len(found) == len(names):
            break
    return found
