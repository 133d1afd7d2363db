"""Streaming one object into S3, so that readers see the old object or the new one, never a part.

boto3's transfer manager carries it: what stays below one part goes up as a single PutObject, what
grows beyond as a multipart upload, of which S3 shows nothing until it is completed; a failure of
any kind aborts it. awswrangler's own `to_csv`, `to_parquet` and `upload` complete an upload also
when they are interrupted, and so replace the old object by a truncated one:
tests/runtime/test_io_save_atomic.py shows it, and will tell when it is mended.

A process that is killed can abort nothing. What it leaves behind is invisible but is paid for: a
lifecycle rule of the bucket (AbortIncompleteMultipartUpload) removes it.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from batcat_runtime.errors import BatcatError, ConnectError, ThrottledError, UserError
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.io.progress import Progress
from batcat_runtime.log import get_logger

if TYPE_CHECKING:
    from boto3.s3.transfer import TransferConfig

# S3 takes 10,000 parts, so an object may have 160 GB
_PART_BYTES = 16 << 20
_IN_FLIGHT = 2
_PIECE_BYTES = 1 << 20
_WAITING_PIECES = 8


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


def stream_object(target: Target, write: Callable[[Pipe], None]) -> None:
    """Save one object, whole or not at all.

    Parameters
    ----------
    target : Target
        Where to. An object that is there already stays as it is until the new one is complete.
    write : callable
        Writes the object's bytes to the file that it is given.

    Raises
    ------
    NoSuchBucketError, AccessDeniedError, CredentialsError, ConnectError, ServiceError
        AWS refused or was out of reach. Nothing was changed, unless the message says that this is
        not known: the answer to the last request can be lost when S3 has done it.
    """
    from boto3.s3.transfer import create_transfer_manager
    from s3transfer.subscribers import BaseSubscriber

    class Shown(BaseSubscriber):  # type: ignore[misc]
        def on_progress(self, bytes_transferred: int, **_: Any) -> None:
            progress.add(bytes_transferred)

    pipe = Pipe()
    try:
        with (
            Progress(f"Saving {target.uri}") as progress,
            translated(target.uri, "s3:PutObject"),
            create_transfer_manager(target.client, _config()) as manager,
        ):
            try:
                upload = manager.upload(
                    pipe, target.bucket, target.key, {**target.owner, **target.settings}, [Shown()]
                )
                pipe.is_broken = upload.done
                write(pipe)
                pipe.end()
                upload.result()
            except BrokenPipeError:
                upload.result()  # raises what broke it
                raise
            finally:
                pipe.stop()
    except BatcatError as error:
        if pipe.is_complete and _may_be_done(error):
            error.message += (
                " Whether the object is the old one or the new one now is not known: the answer "
                "to the last request was lost."
            )
        raise


def object_settings(
    *,
    encryption: str | None = None,
    kms_key_id: str | None = None,
    bucket_key: bool | None = None,
    storage_class: str | None = None,
    metadata: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return what PutObject needs to keep an object in a certain way; see `save_to_bucket`."""
    if encryption not in (None, "AES256", "aws:kms", "aws:kms:dsse"):
        raise UserError(
            f"There is no encryption {encryption!r}.",
            fix="Give 'AES256', 'aws:kms' or 'aws:kms:dsse', or leave it to the bucket.",
        )
    if kms_key_id and encryption == "AES256":
        raise UserError(
            "encryption='AES256' uses a key of S3's own, so kms_key_id cannot be given.",
            fix="Give encryption='aws:kms', or leave out kms_key_id.",
        )
    given: dict[str, Any] = {
        "ServerSideEncryption": encryption or ("aws:kms" if kms_key_id else None),
        "SSEKMSKeyId": kms_key_id,
        "BucketKeyEnabled": bucket_key,
        "StorageClass": storage_class,
        "Metadata": dict(metadata) if metadata else None,
        "Tagging": urlencode(tags) if tags else None,
    }
    return {name: value for name, value in given.items() if value is not None}


def owner_of(account: str | None) -> dict[str, str]:
    """Return the argument by which S3 checks whose bucket it is; nothing if no account is given."""
    if account is None:
        return {}
    if not (account.isascii() and account.isdigit() and len(account) == 12):
        raise UserError(
            f"expected_bucket_owner {account!r} is no AWS account.",
            fix="Give its 12 digits as text, for example '123456789012'.",
        )
    return {"ExpectedBucketOwner": account}


def delete_keys(target: Target, keys: Sequence[str]) -> None:
    """Delete objects of the target's bucket that nothing refers to any more.

    A failure is only logged.
    """
    import awswrangler as wr
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        wr.s3.delete_objects(
            [f"s3://{target.bucket}/{key}" for key in keys],
            s3_additional_kwargs=target.owner,
            boto3_session=SimpleNamespace(client=lambda *_, **__: target.client),
        )
    except (BotoCoreError, ClientError, wr.exceptions.ServiceApiError) as error:
        get_logger().warning("%d objects could not be deleted: %s", len(keys), error)


def _config() -> TransferConfig:
    from boto3.s3.transfer import TransferConfig

    config = TransferConfig(
        multipart_threshold=_PART_BYTES,
        multipart_chunksize=_PART_BYTES,
        max_concurrency=_IN_FLIGHT,
        preferred_transfer_client="classic",  # the other one does not read from a pipe
    )
    config.max_in_memory_upload_chunks = _IN_FLIGHT  # boto3 hands on s3transfer's 10: 160 MB
    return config


def _may_be_done(error: BatcatError) -> bool:
    """Whether S3 may have done what it was asked, and only its answer is missing."""
    answer = getattr(error.__cause__, "response", None)
    if answer is None:
        return isinstance(error, ConnectError)
    # a second CompleteMultipartUpload finds no upload if the first one was done
    gone = answer["Error"].get("Code") == "NoSuchUpload"
    failed = answer["ResponseMetadata"].get("HTTPStatusCode", 500) >= 500
    return gone or (failed and not isinstance(error, ThrottledError))


class Pipe:
    """A file to write to, which the transfer manager reads from in a thread of its own.

    Its end is said, not reached: whoever stops writing for another reason leaves no object.
    """

    closed = False  # what pyarrow asks of a file

    def __init__(self) -> None:
        self.is_broken: Callable[[], bool] = lambda: False
        self.is_complete = False
        self._stopped = False
        self._pieces: queue.Queue[bytes] = queue.Queue(_WAITING_PIECES)
        self._kept = bytearray()
        self._written = 0

    def write(self, data: Any) -> int:
        """Take bytes, or anything that has a buffer."""
        view = memoryview(data).cast("B")
        for start in range(0, len(view), _PIECE_BYTES):
            self._put(bytes(view[start : start + _PIECE_BYTES]))
        self._written += len(view)
        return len(view)

    def end(self) -> None:
        """Say that this was all."""
        self.is_complete = True
        self._put(b"")

    def stop(self) -> None:
        """Let the reader fail."""
        self._stopped = True
        if self._pieces.empty():
            self._pieces.put(b"")

    def _put(self, piece: bytes) -> None:
        while not self._stopped:  # pyarrow flushes its writers also while an error unwinds
            if self.is_broken():
                raise BrokenPipeError("the upload has failed")
            try:
                return self._pieces.put(piece, timeout=1)
            except queue.Full:
                continue
        return None

    def read(self, size: int = -1) -> bytes:
        """Return so many bytes, fewer at the end; wait for them."""
        ended = self.is_complete and self._pieces.empty()
        while not ended and (size < 0 or len(self._kept) < size):
            piece = self._pieces.get()
            if self._stopped:
                raise BrokenPipeError("the table could not be written")
            self._kept += piece
            ended = not piece
        taken = bytes(self._kept[:size] if size >= 0 else self._kept)
        del self._kept[: len(taken)]
        return taken

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._written

    def flush(self) -> None:
        """Do nothing: parts go up when they are full."""

    def close(self) -> None:
        """Do nothing: `end` decides whether the object comes to be."""
