"""Before a rehearsal: what a real account would already hold.

Three things are put in place: the buckets that the configuration names, the sample data under the
S3 prefix of each input (from ``data/raw/<input>/`` of the project), and the roles that the
configuration says exist already. Everything is checked before anything is started.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batcat_runtime.config import Config
from batcat_runtime.errors import UserError


@dataclass(frozen=True)
class Sample:
    """The local files of one input, and the S3 prefix that they go to."""

    name: str
    uri: str
    folder: Path
    files: tuple[Path, ...]


def find_samples(config: Config, purpose: str, folder: Path) -> tuple[Sample, ...]:
    """Return the local files of every input of a purpose.

    Raises
    ------
    UserError
        An input has no files under ``data/raw/<input>/``.
    """
    samples = []
    for step in config.purposes[purpose].steps:
        for name, uri in step.inputs.items():
            place = folder / "data" / "raw" / name
            files = tuple(sorted(path for path in place.rglob("*") if _is_data(path, place)))
            if not files:
                raise UserError(
                    f"There is nothing to rehearse with: {place} holds no file for the input "
                    f"{name!r} of the step {step.name!r}.",
                    fix="Put a small, real sample there. It is uploaded to "
                    f"{uri} of the embedded AWS.",
                )
            samples.append(Sample(name, uri, place, files))
    return tuple(samples)


def put_in_place(clients: Mapping[str, Any], config: Config, samples: tuple[Sample, ...]) -> str:
    """Create buckets and roles, upload the samples; return one line that says what was done."""
    s3 = clients["s3"]
    places = [sample.uri.removeprefix("s3://").partition("/") for sample in samples]
    for bucket in sorted({config.result_s3_bucket, *(place[0] for place in places)}):
        _create_bucket(s3, bucket, config.region)
    for sample, (bucket, _, prefix) in zip(samples, places, strict=True):
        for path in sample.files:
            inside = path.relative_to(sample.folder).as_posix()
            key = f"{prefix.rstrip('/')}/{inside}".lstrip("/")
            s3.upload_file(str(path), bucket, key)
    _create_roles(clients["iam"], config)
    count = sum(len(sample.files) for sample in samples)
    size = sum(path.stat().st_size for sample in samples for path in sample.files)
    return f"{count} file{'s' if count != 1 else ''}, {size / 1e6:.1f} MB, from data/raw/"


def _is_data(path: Path, place: Path) -> bool:
    inside = path.relative_to(place)
    return path.is_file() and not any(part.startswith((".", "_")) for part in inside.parts)


def _create_bucket(s3: Any, bucket: str, region: str) -> None:
    # us-east-1 is the one region that may not be named as a location constraint.
    if region == "us-east-1":
        s3.create_bucket(Bucket=bucket)
    else:
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})


def _create_roles(iam: Any, config: Config) -> None:
    given = {
        config.workflow_execution_role,
        config.job_role,
        config.trigger_role,
        config.schedule_role,
    } - {None}
    services = [f"{name}.amazonaws.com" for name in ("states", "sagemaker", "lambda", "scheduler")]
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": services}, "Action": "sts:AssumeRole"}
        ],
    }
    for arn in sorted(str(one) for one in given):
        path, _, name = arn.partition(":role/")[2].rpartition("/")
        iam.create_role(
            RoleName=name,
            Path=f"/{path}/" if path else "/",
            AssumeRolePolicyDocument=json.dumps(trust),
            Description="Stands in for the role that script/config.json names",
        )
