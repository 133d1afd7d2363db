"""AWS's Spark image in a rehearsal: PyPI's pyspark, and a stand-in for ``smspark-submit``.

The same request runs as in SageMaker. A cluster of several machines is one Spark with as many
threads, in the sandbox of the first; the others have nothing to do. Hadoop's access to S3 is not
part of PyPI's pyspark. So ``s3://`` is a folder in the sandbox there, through Hadoop's own
`ViewFileSystemOverloadScheme`: the inputs are downloaded into this mirror of the buckets before,
and what Spark has written is uploaded when it has ended, both with the job's role.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

from batcat_runtime.deploy.lock import IN_SPARK_IMAGE
from batcat_runtime.job_spark import check_spark

from ...container.images import Image
from . import transfer
from .layout import Layout

_SUBMIT = Path(__file__).with_name("smspark_submit.py")
_PROGRAM = "/opt/program"  # where AWS's image has its own


def is_spark(uri: str) -> bool:
    """Say whether an image's address is that of AWS's Spark image."""
    return re.search(r"\.amazonaws\.com(\.cn)?/sagemaker-spark-processing:", uri) is not None


def image(home: Path) -> Image:
    """Return AWS's Spark image, as far as this machine has it.

    Raises
    ------
    JobError
        pyspark or Java is missing.
    """
    check_spark()
    submit = home / "spark" / "smspark-submit"
    submit.parent.mkdir(exist_ok=True)
    submit.write_text(_SUBMIT.read_text("utf-8"), "utf-8")
    submit.chmod(0o755)
    return Image(
        config_digest="sha256:spark",
        digest="",
        copies={f"{_PROGRAM}/smspark-submit": str(submit)},
        env={"PATH": f"/usr/bin:{_PROGRAM}:/usr/local/bin:/bin", "JAVA_HOME": str(java_home())},
        workdir=_PROGRAM,
        entrypoint=["smspark-submit"],
        requirements=sorted(IN_SPARK_IMAGE),
    )


def java_home() -> Path:
    """Return the folder of this machine's Java."""
    given = os.environ.get("JAVA_HOME")
    return Path(given or Path(shutil.which("java") or "").resolve().parents[1])


class Mirror:
    """The buckets as a job's Spark sees them: folders below ``/opt/ml/s3``.

    Parameters
    ----------
    s3 : botocore client
        With the job's role.
    layout : Layout
        The sandbox of the first instance.
    request : dict
        The CreateProcessingJob request.
    """

    def __init__(self, s3: Any, layout: Layout, request: dict[str, Any]) -> None:
        self._s3 = s3
        self._root = layout.ml_root / "s3"
        self._fetched: dict[Path, int] = {}
        for output in request["ProcessingOutputConfig"]["Outputs"]:
            bucket = output["S3Output"]["S3Uri"].removeprefix("s3://").partition("/")[0]
            (self._root / bucket).mkdir(parents=True, exist_ok=True)

    def download(self, source: dict[str, Any]) -> None:
        """Fetch the objects of an input."""
        transfer.download(self._s3, source, [self._root], as_keys=True)
        files = (path for path in self._root.rglob("*") if path.is_file())
        self._fetched |= {path: path.stat().st_mtime_ns for path in files}

    def upload(self) -> None:
        """Upload what Spark has written; inputs stay as they are, checksums of a disk stay here."""
        for path in [path for path in self._root.rglob("*") if path.is_file()]:
            if path.stat().st_mtime_ns == self._fetched.get(path) or path.suffix == ".crc":
                path.unlink()
        folders = self._root.iterdir()
        transfer.upload(self._s3, [(folder, f"s3://{folder.name}") for folder in folders])
