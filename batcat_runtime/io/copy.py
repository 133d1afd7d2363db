"""Copying objects within S3: nothing comes through this machine.

Every object is copied as it was when it was looked up: S3 is given its ETag and refuses if the
object has changed since, so a large copy made of many requests cannot mix two versions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import BatcatError, NoSuchObjectError, ObjectChangedError, UserError
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.io.places import check_bucket

if TYPE_CHECKING:
    import boto3

# S3 copies up to this size in one request, and keeps tags and metadata by itself.
_ONE_REQUEST = 5_000_000_000
_AT_ONCE = 16
_KEPT = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "Metadata",
)


@dataclass(frozen=True)
class _Copy:
    source: tuple[str, str]
    target: tuple[str, str]
    etag: str
    size: int

    @property
    def addresses(self) -> tuple[str, str]:
        return _address(*self.source), _address(*self.target)


def copy_objects(
    source: str | Sequence[str],
    target: str,
    *,
    boto3_session: boto3.Session | None = None,
    multipart_above: int = _ONE_REQUEST,
) -> dict[str, str]:
    """Copy objects from one place in S3 to another, server-side.

    Parameters
    ----------
    source : str or sequence of str
        An ``s3://`` address: of one object, or, if it ends in ``/``, of all objects below. Or a
        list of addresses of objects.
    target : str
        An ``s3://`` address. If it ends in ``/`` it is a folder: objects keep their names, those
        from below a prefix keep their place below it. It must be one for a prefix or a list.
    boto3_session : boto3.Session, optional
        The default session if left out. It needs s3:GetObject and s3:ListBucket on the source and
        s3:PutObject on the target, and for objects with tags s3:GetObjectTagging and
        s3:PutObjectTagging.
    multipart_above : int
        Bytes above which an object is copied in parts; S3 wants that above 5 GB. Then metadata is
        kept, tags are not.

    Returns
    -------
    dict of str to str
        Where each object went: source address to target address.

    Raises
    ------
    UserError
        An address is none, or source and target overlap; nothing was copied.
    NoSuchObjectError
        There is no such object, or nothing below the prefix; nothing was copied.
    ObjectChangedError
        A source object was changed after it was looked up; it was not copied.
    AccessDeniedError, CredentialsError, ConnectError, ThrottledError, ServiceError
        AWS refused. Objects that were copied before stay: the message says how many.

    Examples
    --------
    >>> copy_objects("s3://raw/usage/", "s3://2022-rnd-battery/usage/")  # doctest: +SKIP
    {'s3://raw/usage/a.csv': 's3://2022-rnd-battery/usage/a.csv'}
    """
    from batcat_runtime.io.clients import client

    _check(source, target)
    s3 = client("s3", boto3_session)
    copies = list(_planned(s3, source, target))
    done: dict[str, str] = {}
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="batcat-copy") as pool:
        waiting = [pool.submit(_copied, s3, one, multipart_above) for one in copies]
        try:
            for one, future in zip(copies, waiting, strict=True):
                future.result()
                done.update([one.addresses])
        except BatcatError as error:
            pool.shutdown(wait=True, cancel_futures=True)
            whole = sum(not future.cancelled() and future.exception() is None for future in waiting)
            error.message += f" {whole} of {len(copies)} objects were copied."
            raise
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return done


def _check(source: str | Sequence[str], target: str) -> None:
    sources = [source] if isinstance(source, str) else list(source)
    to_bucket, to_key = _parsed(target)
    if not sources:
        raise UserError("No source was given.", fix="Give at least one s3:// address.")
    for one in sources:
        bucket, key = _parsed(one)
        if not isinstance(source, str) and key.endswith("/"):
            raise UserError(f"{one!r} is no object.", fix="Copy a prefix on its own.")
        if not key and not one.endswith("/"):
            raise UserError(f"{one!r} is no object.", fix="End it with '/' to copy all it holds.")
        if one.endswith("/") and (bucket == to_bucket) and to_key.startswith(key):
            raise UserError(
                f"{target} lies within {one}, so the copy would copy itself.",
                fix="Choose a target outside.",
            )
    folder = target.endswith("/") or not to_key
    if not folder and (not isinstance(source, str) or source.endswith("/")):
        raise UserError(
            f"{target!r} is one object, but there is more than one to copy.",
            fix=f"Give a folder: '{target}/'.",
        )
    goals = [_goal(one, target) for one in sources if not one.endswith("/")]
    for one, goal in zip(sources, goals, strict=False):
        if goals.count(goal) > 1:
            raise UserError(
                f"Two sources would both become {_address(*goal)}.",
                fix="Copy them one by one, to names of your choice.",
            )
        if _parsed(one) == goal:
            raise UserError(f"{one} would be copied onto itself.", fix="Choose another target.")


def _parsed(address: str) -> tuple[str, str]:
    bucket, _, key = address.removeprefix("s3://").partition("/")
    if not address.startswith("s3://") or not bucket:
        raise UserError(
            f"{address!r} is no address in S3.", fix="For example 's3://2022-rnd-battery/usage/'."
        )
    check_bucket(bucket)
    return bucket, key


def _goal(source: str, target: str) -> tuple[str, str]:
    bucket, key = _parsed(target)
    if key and not key.endswith("/"):
        return bucket, key
    return bucket, key + source.rpartition("/")[2]


def _planned(s3: Any, source: str | Sequence[str], target: str) -> Iterator[_Copy]:
    if isinstance(source, str) and source.endswith("/"):
        yield from _below(s3, source, target)
        return
    for one in [source] if isinstance(source, str) else source:
        bucket, key = _parsed(one)
        with translated(one, "s3:GetObject"):
            head = s3.head_object(Bucket=bucket, Key=key)
        yield _Copy((bucket, key), _goal(one, target), head["ETag"], head["ContentLength"])


def _below(s3: Any, source: str, target: str) -> Iterator[_Copy]:
    bucket, prefix = _parsed(source)
    to_bucket, to_prefix = _parsed(target)
    found = False
    with translated(source, "s3:ListBucket"):
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        for page in pages:
            for one in page.get("Contents", []):
                found = True
                goal = to_bucket, to_prefix + one["Key"].removeprefix(prefix)
                yield _Copy((bucket, one["Key"]), goal, one["ETag"], one["Size"])
    if not found:
        raise NoSuchObjectError(
            f"Nothing lies below {source}.", fix="Check the spelling; keys are case-sensitive."
        )


def _copied(s3: Any, one: _Copy, multipart_above: int) -> None:
    from boto3.s3.transfer import TransferConfig
    from botocore.exceptions import ClientError

    source, target = one.addresses
    settings: dict[str, Any] = {"CopySourceIfMatch": one.etag}
    if one.size > multipart_above:  # in parts, S3 takes over neither type nor metadata
        with translated(source, "s3:GetObject"):
            head = s3.head_object(Bucket=one.source[0], Key=one.source[1])
        settings |= {name: head[name] for name in _KEPT if name in head}
    with translated(f"{source} to {target}", "s3:GetObject and s3:PutObject"):
        try:
            s3.copy(
                {"Bucket": one.source[0], "Key": one.source[1]},
                *one.target,
                ExtraArgs=settings,
                # the plan has the threads already
                Config=TransferConfig(multipart_threshold=multipart_above + 1, max_concurrency=4),
            )
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("PreconditionFailed", "412"):
                raise ObjectChangedError(
                    f"{source} was changed while it was being copied.", fix="Copy it again."
                ) from error
            raise


def _address(bucket: str, key: str) -> str:
    return f"s3://{bucket}/{key}"
