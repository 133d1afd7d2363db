"""Before a rehearsal: what a real account would already hold.

Two things are put in place: the buckets that the configuration names, and the sample data under
the S3 prefix of each input (from ``data/raw/<input>/`` of the project). The roles that exist
already are in `principals`. Everything is checked before anything is started.
"""

from __future__ import annotations

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

    def address(self, path: Path) -> tuple[str, str]:
        """Return bucket and key that a file of the sample goes to."""
        bucket, _, prefix = self.uri.removeprefix("s3://").partition("/")
        inside = path.relative_to(self.folder).as_posix()
        return bucket, f"{prefix.rstrip('/')}/{inside}".lstrip("/")


def find_samples(config: Config, purpose: str, folder: Path) -> tuple[Sample, ...]:
    """Return the local files of every input of a purpose.

    Raises
    ------
    UserError
        An input has no files under ``data/raw/<input>/``.
    """
    samples: list[Sample] = []
    for step in config.purposes[purpose].steps:
        for name, source in step.inputs.items():
            uri = source.s3
            if uri is None or any((uri, name) == (one.uri, one.name) for one in samples):
                continue
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


def _is_data(path: Path, place: Path) -> bool:
    inside = path.relative_to(place)
    return path.is_file() and not any(part.startswith((".", "_")) for part in inside.parts)


def _create_bucket(s3: Any, bucket: str, region: str) -> None:
    # us-east-1 is the one region that may not be named as a location constraint.
    if region == "us-east-1":
        s3.create_bucket(Bucket=bucket)
    else:
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})
