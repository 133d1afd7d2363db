"""Copying objects within S3: nothing comes through this machine.

Every object is copied as it was when it was looked up: S3 is given its ETag and refuses if the
object has changed since, so a large copy made of many requests cannot mix two versions.

boto3's managed copy, not `wr.s3.copy_objects`: that looks at each object without an ETag, and loses
the tags of those above 8 MB (test_what_is_too_large_for_one_request_is_copied_in_parts).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import BatcatError, NoSuchObjectError, ObjectChangedError, UserError
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.io.places import Place, place_of

if TYPE_CHECKING:
    import boto3

# S3 copies up to this size in one request, and keeps tags and metadata by itself.
_ONE_REQUEST = 5_000_000_000
_PART_BYTES = 512 << 20
_AT_ONCE = 16


@dataclass(frozen=True)
class _Copy:
    source: Place
    target: Place
    etag: str


def copy_objects(
    source: str | Sequence[str],
    target: str,
    *,
    boto3_session: boto3.Session | None = None,
) -> dict[str, str]:
    """Copy objects from one place in S3 to another, server-side, with their metadata and tags.

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

    sources = [source] if isinstance(source, str) else list(source)
    _check(sources, target, alone=isinstance(source, str))
    s3 = client("s3", boto3_session)
    copies = [copy for address in sources for copy in _planned(s3, address, target)]
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="batcat-copy") as pool:
        running = [pool.submit(_copied, s3, copy) for copy in copies]
        try:
            for future in running:
                future.result()
        except BaseException as error:
            pool.shutdown(wait=True, cancel_futures=True)
            if isinstance(error, BatcatError):
                done = sum(not run.cancelled() and run.exception() is None for run in running)
                error.message += f" {done} of {len(copies)} objects were copied."
            raise
    return {copy.source.uri: copy.target.uri for copy in copies}


def _check(sources: list[str], target: str, *, alone: bool) -> None:
    """Refuse what cannot be meant, before anything is asked of AWS."""
    if not sources:
        raise UserError("No source was given.", fix="Give at least one s3:// address.")
    goals: dict[str, str] = {}
    for source in sources:
        place, goal = _place(source), _goal(source, target)
        if source.endswith("/"):
            if not alone:
                raise UserError(f"{source!r} is no object.", fix="Copy a prefix on its own.")
            if _place(target).uri.startswith(place.uri):
                raise UserError(
                    f"{target} lies within {source}, so the copy would copy itself.",
                    fix="Choose a target outside.",
                )
        elif not place.key:
            raise UserError(
                f"{source!r} is no object.", fix="End it with '/' to copy all it holds."
            )
        elif goal == place:
            raise UserError(f"{source} would be copied onto itself.", fix="Choose another target.")
        if goals.setdefault(goal.uri, source) != source:
            raise UserError(
                f"Two sources would both become {goal.uri}.",
                fix="Copy them one by one, to names of your choice.",
            )
    if not _is_folder(target) and (not alone or sources[0].endswith("/")):
        raise UserError(
            f"{target!r} is one object, but there is more than one to copy.",
            fix=f"Give a folder: '{target}/'.",
        )


def _place(address: str) -> Place:
    if not isinstance(address, str) or not address.startswith("s3://"):
        raise UserError(
            f"{address!r} is no address in S3.", fix="For example 's3://2022-rnd-battery/usage/'."
        )
    return place_of(address)


def _is_folder(address: str) -> bool:
    return address.endswith("/") or not _place(address).key


def _goal(source: str, target: str) -> Place:
    """Return where an object goes: into a folder under its name, or to a name of its own."""
    place = _place(target)
    if not _is_folder(target):
        return place
    key = _place(source).key
    return Place(place.bucket, place.key + key.rpartition("/")[2])


def _planned(s3: Any, source: str, target: str) -> Iterator[_Copy]:
    place, goal = _place(source), _place(target)
    if not source.endswith("/"):
        with translated(source, "s3:GetObject"):
            head = s3.head_object(Bucket=place.bucket, Key=place.key)
        yield _Copy(place, _goal(source, target), head["ETag"])
        return
    found = None
    with translated(source, "s3:ListBucket"):
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=place.bucket, Prefix=place.key)
        for page in pages:
            for found in page.get("Contents", []):
                key = found["Key"]
                below = Place(goal.bucket, goal.key + key.removeprefix(place.key))
                yield _Copy(Place(place.bucket, key), below, found["ETag"])
    if found is None:
        raise NoSuchObjectError(
            f"Nothing lies below {source}.", fix="Check the spelling; keys are case-sensitive."
        )


def _copied(s3: Any, copy: _Copy) -> None:
    from boto3.s3.transfer import TransferConfig
    from botocore.exceptions import ClientError

    with translated(f"{copy.source.uri} to {copy.target.uri}", "s3:GetObject and s3:PutObject"):
        try:
            s3.copy(
                {"Bucket": copy.source.bucket, "Key": copy.source.key},
                copy.target.bucket,
                copy.target.key,
                ExtraArgs={"CopySourceIfMatch": copy.etag, "TaggingDirective": "COPY"},
                # the pool has the threads already
                Config=TransferConfig(
                    multipart_threshold=_ONE_REQUEST + 1,
                    multipart_chunksize=_PART_BYTES,
                    max_concurrency=4,
                ),
            )
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("PreconditionFailed", "412"):
                raise ObjectChangedError(
                    f"{copy.source.uri} was changed while it was being copied.",
                    fix="Copy it again.",
                ) from error
            raise
