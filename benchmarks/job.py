"""What a contender is given, in the process that runs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.data import BUCKET


@dataclass(frozen=True)
class Job:
    """One call of a contender.

    Attributes
    ----------
    objects : Path
        The folder that is served as the bucket.
    key : str
        What to read or to write; a prefix if it ends in ``/``.
    endpoint, access_key, secret_key : str
        The S3 server, for those who do not heed ``AWS_ENDPOINT_URL``.
    chunk : int
        Rows of a chunk, where reading is done in chunks.
    frame : pandas.DataFrame
        The table to save, where one is saved.
    """

    objects: Path
    key: str
    endpoint: str = ""
    access_key: str = ""
    secret_key: str = ""
    chunk: int = 0
    frame: Any = None

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return BUCKET

    @property
    def uri(self) -> str:
        """The key's ``s3://`` address."""
        return f"s3://{BUCKET}/{self.key}"

    @property
    def path(self) -> Path:
        """The same bytes on the local disk."""
        return self.objects / self.key

    @property
    def paths(self) -> list[Path]:
        """The local files under a prefix, in order."""
        return sorted(self.path.iterdir())

    @property
    def host(self) -> str:
        """The S3 server without its scheme."""
        return self.endpoint.removeprefix("http://")
