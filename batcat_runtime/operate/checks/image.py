"""The image that a deployed workflow runs: pinned by digest, so it has to be in ECR still."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from batcat_runtime.operate.checks.finding import Finding, failed, ok, skipped
from batcat_runtime.operate.checks.patient import Patient

_GONE = {"StateMachineDoesNotExist", "StateMachineDeleting"}
_MISSING = {"ImageNotFoundException", "RepositoryNotFoundException"}
_ECR = re.compile(r"\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?/([^:@]+)@(sha256:\w+)")


def image_is_in_ecr(patient: Patient) -> list[Finding]:
    """The image of every deployed workflow is still in ECR."""
    seen: dict[tuple[str, str], list[str]] = {}
    for purpose in patient.purposes:
        for uri in _images(patient, purpose):
            pinned = _ECR.fullmatch(uri)
            if pinned:
                seen.setdefault((pinned[1], pinned[2]), []).append(purpose)
    if not seen:
        return [skipped("no workflow is deployed yet")]
    findings = []
    for (repository, digest), purposes in seen.items():
        shown = f"{repository}@{digest[:19]}"
        if _exists(patient, repository, digest):
            findings.append(ok(f"{shown} of {', '.join(dict.fromkeys(purposes))}"))
        else:
            findings.append(
                failed(
                    f"{', '.join(dict.fromkeys(purposes))} runs {shown}, which ECR has no more",
                    "batcat deploy",
                )
            )
    return findings


def _images(patient: Patient, purpose: str) -> Iterator[str]:
    from botocore.exceptions import ClientError

    names = patient.names(purpose)
    arn = names.arn("states", f"stateMachine:{names.state_machine}", patient.account)
    with patient.asked(f"the workflow of {purpose}", "states:DescribeStateMachine"):
        try:
            machine = patient.client("stepfunctions").describe_state_machine(stateMachineArn=arn)
        except ClientError as error:
            if error.response["Error"]["Code"] in _GONE:
                return
            raise
    yield from dict.fromkeys(_uris(json.loads(machine["definition"])))


def _uris(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, item in node.items():
            if key == "ImageUri" and isinstance(item, str):
                yield item
            else:
                yield from _uris(item)
    elif isinstance(node, list):
        for item in node:
            yield from _uris(item)


def _exists(patient: Patient, repository: str, digest: str) -> bool:
    from botocore.exceptions import ClientError

    with patient.asked(f"the repository {repository}", "ecr:DescribeImages"):
        try:
            patient.client("ecr").describe_images(
                repositoryName=repository, imageIds=[{"imageDigest": digest}]
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                return False
            raise
    return True
