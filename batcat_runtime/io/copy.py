"""Copying objects within S3: nothing comes through this machine.

boto3's managed copy, not `wr.s3.copy_objects`: that loses the tags of objects above 8 MB
(test_what_is_too_large_for_one_request_is_copied_in_parts). A large object is copied by many
requests; each names the ETag of the first, so that they cannot mix two versions.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from batcat_runtime.errors import BatcatError, NoSuchObjectError, ObjectChangedError, UserError
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.io.clients import client
from batcat_runtime.io.places import Place, list_keys, place_of

if TYPE_CHECKING:
    import boto3

_AT_ONCE = 16
_CONFIG = TransferConfig(
    # S3 copies up to this size in one request, and keeps tags and metadata by itself
    multipart_threshold=5_000_000_001,
    multipart_chunksize=512 << 20,
    max_concurrency=4,  # there are threads for each object already
)


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
        A source object was changed while it was copied part by part; it was not copied.
    AccessDeniedError, CredentialsError, ConnectError, ThrottledError, ServiceError
        AWS refused. Objects that were copied before stay: the message says how many.

    Examples
    --------
    >>> copy_objects("s3://raw/usage/", "s3://2022-rnd-battery/usage/")  # doctest: +SKIP
    {'s3://raw/usage/a.csv': 's3://2022-rnd-battery/usage/a.csv'}
    """
    s3 = client("s3", boto3_session)
    copies: list[tuple[Place, Place]] = []
    for goal, origin in _planned(source, target).items():
        copies += _found(s3, origin, goal, boto3_session)
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="batcat-copy") as pool:
        running = [pool.submit(_copy, s3, origin, goal) for origin, goal in copies]
        try:
            for future in running:
                future.result()
        except BaseException as error:
            pool.shutdown(wait=True, cancel_futures=True)
            if isinstance(error, BatcatError):
                done = sum(not run.cancelled() and run.exception() is None for run in running)
                error.message += f" {done} of {len(copies)} objects were copied."
            raise
    return {origin.uri: goal.uri for origin, goal in copies}


def _planned(source: str | Sequence[str], target: str) -> dict[Place, Place]:
    """Return what comes to each target from where; refuse what cannot be meant."""
    origins: dict[Place, Place] = {}
    place = _place(target)
    is_folder = not place.key or place.key.endswith("/")
    is_list = not isinstance(source, str)
    for address in [source] if isinstance(source, str) else source:
        origin, goal, is_prefix = _place(address), place, address.endswith("/")
        if is_folder:
            goal = Place(place.bucket, place.key + origin.key.rpartition("/")[2])
        for is_wrong, message, fix in (
            (
                is_list if is_prefix else not origin.key,
                f"{address!r} is no object.",
                "To copy all that lies below, give it alone, and let it end in '/'.",
            ),
            (
                is_prefix and goal.uri.startswith(origin.uri),
                f"{target} lies within {address}, so the copy would copy itself.",
                "Choose a target outside.",
            ),
            (goal == origin, f"{address} would be copied onto itself.", "Choose another target."),
            (
                origins.setdefault(goal, origin) != origin,
                f"Two sources would both become {goal.uri}.",
                "Copy them one by one, to names of your choice.",
            ),
            (
                not is_folder and (is_prefix or is_list),
                f"{target!r} is one object, but there is more than one to copy.",
                f"Give a folder: '{target}/'.",
            ),
        ):
            if is_wrong:
                raise UserError(message, fix=fix)
    if not origins:
        raise UserError("No source was given.", fix="Give at least one s3:// address.")
    return origins


def _place(address: str) -> Place:
    if not isinstance(address, str) or not address.startswith("s3://"):
        raise UserError(
            f"{address!r} is no address in S3.", fix="For example 's3://2022-rnd-battery/usage/'."
        )
    return place_of(address)


def _found(
    s3: Any, origin: Place, goal: Place, session: boto3.Session | None
) -> list[tuple[Place, Place]]:
    """Return each object with its target, once it is known to be there."""
    if origin.key and not origin.key.endswith("/"):
        with translated(origin.uri, "s3:GetObject"):
            s3.head_object(Bucket=origin.bucket, Key=origin.key)
        return [(origin, goal)]
    found = [
        (Place(origin.bucket, key), Place(goal.bucket, goal.key + key.removeprefix(origin.key)))
        for key in list_keys(origin.bucket, origin.key, boto3_session=session)
    ]
    if not found:
        raise NoSuchObjectError(
            f"Nothing lies below {origin.uri}.",
            fix="Check the spelling; keys are case-sensitive.",
        )
    return found


def _copy(s3: Any, origin: Place, goal: Place) -> None:
    with translated(f"{origin.uri} to {goal.uri}", "s3:GetObject and s3:PutObject"):
        try:
            where = {"Bucket": origin.bucket, "Key": origin.key}
            s3.copy(where, goal.bucket, goal.key, {"TaggingDirective": "COPY"}, Config=_CONFIG)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("PreconditionFailed", "412"):
                raise ObjectChangedError(
                    f"{origin.uri} was changed while it was being copied.", fix="Copy it again."
                ) from error
            raise
