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

import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

from boto3.s3.transfer import S3TransferConfig, TransferManager

from batcat_runtime.errors import BatcatError, ConnectError, UserError
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.io.progress import Progress
from batcat_runtime.log import get_logger

# S3 takes 10,000 parts, so an object may have 84 GB
_PART_BYTES = 8 << 20
_IN_FLIGHT = 2
_CONFIG = S3TransferConfig(
    multipart_threshold=_PART_BYTES,
    multipart_chunksize=_PART_BYTES,
    max_request_concurrency=_IN_FLIGHT,
    max_in_memory_upload_chunks=_IN_FLIGHT,
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


def stream_object(target: Target, pieces: Generator[Any, None, None]) -> None:
    """Save one object, whole or not at all.

    Parameters
    ----------
    target : Target
        Where to. An object that is there already stays as it is until the new one is complete.
    pieces : generator of bytes
        What the object shall hold, made while it is sent, in another thread.

    Raises
    ------
    NoSuchBucketError, AccessDeniedError, CredentialsError, ConnectError, ServiceError
        AWS refused or was out of reach. Nothing was changed, unless the message says that this is
        not known: the answer to the last request can get lost when S3 has done it.
    """
    with Progress(f"Saving {target.uri}") as progress, closing(pieces):
        source = _Source(pieces, progress)
        try:
            with (
                translated(target.uri, "s3:PutObject"),
                TransferManager(target.client, _CONFIG) as manager,
            ):
                # boto3 forgets this one, which S3 takes
                manager.ALLOWED_UPLOAD_ARGS = [*manager.ALLOWED_UPLOAD_ARGS, "BucketKeyEnabled"]
                upload = manager.upload(
                    source, target.bucket, target.key, {**target.owner, **target.settings}
                )
                source.is_given_up = upload.done
                upload.result()
        except BatcatError as error:
            if source.is_read and _may_be_done(error):
                error.message += (
                    " Whether the object is the old one or the new one now is not known: look at "
                    "it before you save again."
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
    """Delete objects of the target's bucket that nothing refers to any more."""
    session = SimpleNamespace(client=lambda *_, **__: target.client)
    delete_objects([f"s3://{target.bucket}/{key}" for key in keys], session, target.owner)


def delete_objects(
    what: str | list[str], session: Any, owner: dict[str, str] | None = None
) -> None:
    """Delete the objects of a pattern or a list; what cannot be deleted is named in the log."""
    import awswrangler as wr

    try:
        with translated(str(what), "s3:DeleteObject"):
            wr.s3.delete_objects(
                what, use_threads=False, s3_additional_kwargs=owner, boto3_session=session
            )
    except (BatcatError, wr.exceptions.ServiceApiError) as error:
        get_logger().warning("%s was not cleaned up: %s", what, error)


def _may_be_done(error: BatcatError) -> bool:
    """Whether S3 may have done what it was asked: an answer, or one before it, is missing."""
    answer = getattr(error.__cause__, "response", None)
    if answer is None:
        return isinstance(error, ConnectError)
    about = answer["ResponseMetadata"]
    # a second CompleteMultipartUpload finds no upload if the first one was done
    gone = answer["Error"].get("Code") == "NoSuchUpload"
    return bool(gone or about["HTTPStatusCode"] >= 500 or about.get("RetryAttempts"))


class _Source:
    """A file of pieces that are made when the transfer manager reads them, in its own thread."""

    def __init__(self, pieces: Iterator[Any], progress: Progress) -> None:
        self._pieces = pieces
        self._progress = progress
        self._kept = memoryview(b"")
        self.is_given_up: Callable[[], bool] = lambda: False
        self.is_read = False

    def read(self, size: int = sys.maxsize) -> bytes:
        """Return so many bytes, fewer at the end."""
        parts, missing = [], size
        while missing and not self.is_read:
            if not self._kept:
                if self.is_given_up():
                    raise BrokenPipeError("the upload has failed, so no more of it is made")
                piece = next(self._pieces, None)
                self.is_read = piece is None
                # cast: a buffer that pyarrow has shrunk still shows its old shape
                self._kept = memoryview(piece or b"").cast("B")
            parts.append(self._kept[:missing])
            self._kept = self._kept[missing:]
            missing -= len(parts[-1])
        self._progress.add(size - missing)
        return b"".join(parts)
