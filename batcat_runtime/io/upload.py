"""Streaming one object into S3, so that readers see the old object or the new one, never a part.

`ObjectSink` is a file to write to. What stays below one part goes up as a single PutObject. What
grows beyond goes up as a multipart upload, its parts in background threads while the caller makes
the next ones; S3 shows nothing of it until it is completed, and a failure of any kind aborts it.

A process that is killed can abort nothing. What it leaves behind is invisible but is paid for, so
the next save to the same key clears it away. S3 tells of an unfinished upload no more than its key
and the sizes of its parts, so BatCat's parts have a size of their own, `PART_BYTES`, that no other
tool uses: an upload with such a part is ours, one with other parts is left alone. One without any
part is cleared away too: there is nothing in it to lose.

An upload that is cleared away may belong to a saver that is alive and saves to the same key now.
It finds its upload gone and starts over (`stream_object`), without clearing away anything, so that
two savers do not chase each other: both succeed, and the one that ends last has the say.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from batcat_runtime.errors import ObjectChangedError
from batcat_runtime.io.aws_errors import translated, typed
from batcat_runtime.io.progress import Progress
from batcat_runtime.log import get_logger

# a prime close to 8 MiB, which no other tool has for its part size; S3 wants at least 5 MiB
PART_BYTES = 8_400_997
# parts grow by one such step for every thousand, so that 10,000 parts carry 460 GB
_PARTS_PER_SIZE = 1_000
_IN_FLIGHT = 2
_TRIES = 5
_OWN_SIZES = frozenset(PART_BYTES * step for step in range(1, 11))
_CHECKSUMS = frozenset(
    {"ChecksumCRC32", "ChecksumCRC32C", "ChecksumCRC64NVME", "ChecksumSHA1", "ChecksumSHA256"}
)


@dataclass(frozen=True)
class Target:
    """Where an object goes, and how S3 shall keep it.

    Attributes
    ----------
    client : botocore client
        Of S3.
    bucket, key : str
        The object's place.
    owner : dict of str to str
        ``{"ExpectedBucketOwner": account}``, or nothing: sent with every request.
    settings : dict
        What PutObject and CreateMultipartUpload take alike: content type, encryption, metadata.
    """

    client: Any
    bucket: str
    key: str
    owner: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        """The object's ``s3://`` address."""
        return f"s3://{self.bucket}/{self.key}"

    @property
    def place(self) -> dict[str, str]:
        """The arguments that every request about this object has."""
        return {"Bucket": self.bucket, "Key": self.key, **self.owner}


class _Superseded(Exception):  # noqa: N818 - a turn of events, not an error
    """Another saver cleared this upload away while it was under way."""


def stream_object(target: Target, write: Callable[[ObjectSink], None]) -> None:
    """Save one object, whole or not at all.

    Parameters
    ----------
    target : Target
        Where to. An object that is there already stays as it is until the new one is complete.
    write : callable
        Writes the object's bytes to the sink that it is given. It is called again, with a new sink,
        if another saver to the same key cleared this one's upload away.

    Raises
    ------
    ObjectChangedError
        Other savers to the same key came in between again and again.
    NoSuchBucketError, AccessDeniedError, CredentialsError, ServiceError
        AWS refused; nothing was changed.
    """
    for attempt in range(_TRIES):
        try:
            with ObjectSink(target, clear=attempt == 0) as sink:
                write(sink)
            return
        except _Superseded:
            get_logger().info("Another process saves %s too; starting over", target.uri)
    raise ObjectChangedError(
        f"Other processes kept saving {target.uri} at the same time; this save gave up.",
        fix="Let one process save to a key, or give each a key of its own.",
    )


class ObjectSink:
    """A file to write to that becomes one S3 object when its block ends without an error.

    Parameters
    ----------
    target : Target
        Where to.
    clear : bool
        Whether uploads that a killed save left behind at this key are aborted first.
    """

    closed = False  # what pyarrow asks of a file

    def __init__(self, target: Target, *, clear: bool = True) -> None:
        self._target = target
        self._pool = ThreadPoolExecutor(_IN_FLIGHT + 1, thread_name_prefix="batcat-upload")
        self._progress = Progress(f"Saving {target.uri}")
        self._clearing = self._pool.submit(clear_unfinished, target) if clear else None
        # parts are filled into a few buffers that go round: what is freed and taken again in such
        # sizes is not given back to the system, and memory would not stay flat
        self._buffer = bytearray()
        self._filled = 0
        self._free: list[bytearray] = []
        self._written = 0
        self._begun: Future[str] | None = None
        self._parts: list[dict[str, Any]] = []
        self._in_flight: deque[tuple[Future[dict[str, Any]], bytearray]] = deque()
        self._numbered = 0
        self._over = False

    def __enter__(self) -> ObjectSink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._finish()
        except BaseException:
            self._abandon()
            raise
        else:
            if kind is not None:
                self._abandon()
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._progress.__exit__(kind, error, traceback)

    def write(self, data: Any) -> int:
        """Take bytes, or anything that has a buffer."""
        view = memoryview(data).cast("B")
        if self._over:  # pyarrow flushes its writers also while an error unwinds
            return len(view)
        self._written += len(view)
        taken = 0
        while taken < len(view):
            # a full part goes up only now that there is more: a lone one is better off as an object
            if self._filled == len(self._buffer):
                self._send_part()
            room = view[taken : taken + len(self._buffer) - self._filled]
            self._buffer[self._filled : self._filled + len(room)] = room
            self._filled += len(room)
            taken += len(room)
        return len(view)

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._written

    def flush(self) -> None:
        """Do nothing: parts go up when they are full."""

    def close(self) -> None:
        """Do nothing: the end of the block decides whether the object comes to be."""

    def _send_part(self) -> None:
        """Send the buffer as a part, if there is anything in it, and take an empty one."""
        if self._filled:
            if self._begun is None:
                self._cleared()
                # in a thread, so that an interrupt cannot lose the id of an upload that S3 began
                self._begun = self._pool.submit(self._begin)
            upload_id = self._begun.result()
            while len(self._in_flight) >= _IN_FLIGHT:
                self._await_part()
            self._numbered += 1
            sent = self._pool.submit(self._upload_part, upload_id, self._numbered, self._buffer)
            self._in_flight.append((sent, self._buffer))
        size = PART_BYTES * (1 + self._numbered // _PARTS_PER_SIZE)
        self._free = [one for one in self._free if len(one) == size]
        self._buffer = self._free.pop() if self._free else bytearray(size)
        self._filled = 0

    def _await_part(self) -> None:
        sent, buffer = self._in_flight.popleft()
        self._parts.append(sent.result())
        self._free.append(buffer)

    def _begin(self) -> str:
        with self._errors():
            answer = self._target.client.create_multipart_upload(
                **self._target.place, **self._target.settings
            )
        return str(answer["UploadId"])

    def _upload_part(self, upload_id: str, number: int, data: bytearray) -> dict[str, Any]:
        with self._errors():
            answer = self._target.client.upload_part(
                **self._target.place, UploadId=upload_id, PartNumber=number, Body=data
            )
        self._progress.add(len(data))
        checksums = {name: value for name, value in answer.items() if name in _CHECKSUMS}
        return {"PartNumber": number, "ETag": answer["ETag"], **checksums}

    def _finish(self) -> None:
        self._buffer = self._buffer[: self._filled]
        if self._begun is None:
            with self._errors():
                self._target.client.put_object(
                    **self._target.place, **self._target.settings, Body=self._buffer
                )
            self._cleared()
        else:
            # the last part has no size of its own: alone it would not show whose upload it is
            if not self._parts:
                self._await_part()
            self._send_part()
            while self._in_flight:
                self._await_part()
            with self._errors():
                self._target.client.complete_multipart_upload(
                    **self._target.place,
                    UploadId=self._begun.result(),
                    MultipartUpload={"Parts": self._parts},
                )
        self._over = True

    def _abandon(self) -> None:
        self._over = True
        if self._begun is None:
            return
        try:
            # a part that arrives after the abort would be kept
            self._pool.shutdown(wait=True, cancel_futures=True)
        finally:
            if not self._begun.cancelled() and self._begun.exception() is None:
                abort(self._target, self._begun.result())

    def _cleared(self) -> None:
        """Wait until clearing away is over, lest it takes the upload that is about to begin."""
        if self._clearing is not None:
            self._clearing.result()
            self._clearing = None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from botocore.exceptions import ClientError

        with translated(self._target.uri, "s3:PutObject"):
            try:
                yield
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") == "NoSuchUpload":
                    raise _Superseded from error
                raise


def clear_unfinished(target: Target) -> None:
    """Abort the unfinished uploads that BatCat left behind at exactly this key.

    Without the permission to list or abort them nothing happens but a line in the log.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        for upload_id in _unfinished(target):
            if _is_ours(target, upload_id):
                abort(target, upload_id)
                get_logger().info("Cleared away an unfinished upload of %s", target.uri)
    except (BotoCoreError, ClientError) as error:
        code = getattr(error, "response", {}).get("Error", {}).get("Code")
        # of a missing bucket the save itself tells; rclone has no uploads to list in these words
        if code not in ("NoSuchBucket", "NoSuchUpload"):
            get_logger().info(
                "Cannot look for unfinished uploads of %s (%s); a lifecycle rule "
                "AbortIncompleteMultipartUpload removes them as well",
                target.uri,
                code or error,
            )


def abort(target: Target, upload_id: str) -> None:
    """Abort a multipart upload; one that is gone already is as good. A failure is only logged."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        target.client.abort_multipart_upload(**target.place, UploadId=upload_id)
    except (BotoCoreError, ClientError) as error:
        detail = getattr(error, "response", {}).get("Error", {})
        if detail.get("Code") != "NoSuchUpload":
            get_logger().warning("%s", typed(error, target.uri, "s3:AbortMultipartUpload"))


def _unfinished(target: Target) -> Iterator[str]:
    pages = target.client.get_paginator("list_multipart_uploads").paginate(
        Bucket=target.bucket, Prefix=target.key, **target.owner
    )
    for page in pages:
        for upload in page.get("Uploads", []):
            if upload["Key"] == target.key:  # not another one that only begins like it
                yield upload["UploadId"]


def _is_ours(target: Target, upload_id: str) -> bool:
    from botocore.exceptions import ClientError

    try:
        parts = target.client.list_parts(**target.place, UploadId=upload_id).get("Parts", [])
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "NoSuchUpload":
            return False  # it has just ended
        raise
    return not parts or any(part["Size"] in _OWN_SIZES for part in parts)
