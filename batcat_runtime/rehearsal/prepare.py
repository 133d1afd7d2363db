"""Before a rehearsal: what a real account would already hold.

Two things are put in place: the buckets that the configuration names, and the sample data under
the S3 prefix of each input (from ``data/raw/<input>/`` of the project). The roles that exist
already are in `principals`. Everything is checked before anything is started.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batcat_runtime.config import Config
from batcat_runtime.data import Sample as Sample
from batcat_runtime.data import find_samples as find_samples
from batcat_runtime.errors import UserError


def find_upload(
    config: Config, purpose: str, samples: tuple[Sample, ...]
) -> tuple[Sample, Path] | None:
    """Return the sample file whose arrival starts the purpose; None when a schedule does.

    Raises
    ------
    UserError
        The purpose has nothing but an S3 trigger, and no sample lies under its prefix.
    """
    settings = config.purposes[purpose]
    if settings.s3_trigger is None or settings.schedule is not None:
        return None
    for sample in samples:
        for path in sample.files:
            if "s3://{}/{}".format(*sample.address(path)).startswith(settings.s3_trigger.prefix):
                return sample, path
    raise UserError(
        f"No sample in data/raw/ goes to {settings.s3_trigger.prefix}, the prefix of the S3 "
        f"trigger of {purpose}, so nothing would start it.",
        fix="Give an input with that prefix, and put a file into its folder in data/raw/.",
    )


def put_in_place(clients: Mapping[str, Any], config: Config, samples: tuple[Sample, ...]) -> str:
    """Create buckets, upload the samples; return one line that says what was done."""
    s3 = clients["s3"]
    places = [sample.uri.removeprefix("s3://").partition("/") for sample in samples]
    for bucket in sorted({config.result_s3_bucket, *(place[0] for place in places)}):
        _create_bucket(s3, bucket, config.region)
    for sample in samples:
        for path in sample.files:
            s3.upload_file(str(path), *sample.address(path))
    count = sum(len(sample.files) for sample in samples)
    size = sum(path.stat().st_size for sample in samples for path in sample.files)
    return f"{count} file{'s' if count != 1 else ''}, {size / 1e6:.1f} MB, from data/raw/"


def _create_bucket(s3: Any, bucket: str, region: str) -> None:
    # us-east-1 is the one region that may not be named as a location constraint.
    if region == "us-east-1":
        s3.create_bucket(Bucket=bucket)
    else:
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})
