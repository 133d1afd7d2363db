"""Where data lies in S3: one key, a list of keys, a prefix, or a pattern.

A text is a prefix if it ends in ``/``, a pattern if it has ``*``, ``?`` or ``[`` in it, and one key
otherwise. An object whose key is the pattern, letter by letter, is taken before the pattern is.
Under a prefix, and for a wildcard, what begins with ``_`` or ``.`` is no data: that is how Spark,
Athena and BatCat itself name manifests and marks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batcat_runtime.bucket import bucket_problem
from batcat_runtime.errors import NoSuchObjectError, UserError
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.io.clients import client

if TYPE_CHECKING:
    import boto3

_WILD = re.compile(r"[*?[]")
_MAX_KEY_BYTES = 1024


@dataclass(frozen=True)
class Place:
    """One object in S3.

    Attributes
    ----------
    bucket, key : str
        Its name.
    size : int or None
        Its length in bytes, if a listing told it.
    """

    bucket: str
    key: str
    size: int | None = None

    @property
    def uri(self) -> str:
        """The object's ``s3://`` address."""
        return f"s3://{self.bucket}/{self.key}"


def list_keys(
    bucket: str,
    prefix: str = "",
    *,
    pattern: str | None = None,
    boto3_session: boto3.Session | None = None,
) -> Iterator[str]:
    """List the keys under a prefix, in S3's order, as they come: a million take no memory.

    Parameters
    ----------
    bucket : str
        The bucket's name, without ``s3://``.
    prefix : str
        How the keys begin; all keys by default.
    pattern : str, optional
        What the rest of the key must look like: ``*`` stands for anything but ``/``, ``**`` for
        anything, ``**/`` for any folders or none, ``?`` for one character and ``[ab]`` for one of
        them.
    boto3_session : boto3.Session, optional
        Whose credentials to use; by default those of the environment.

    Returns
    -------
    iterator of str
        Every key, also those of "folders" and of names that begin with ``_``.

    Raises
    ------
    UserError
        This is no bucket name; raised at once.
    NoSuchBucketError, AccessDeniedError, CredentialsError, ServiceError
        AWS refused; raised when the first key is asked for.

    Examples
    --------
    >>> list(list_keys("2022-rnd-battery", "usage/", pattern="*.csv"))  # doctest: +SKIP
    ['usage/2022-01.csv', 'usage/2022-02.csv']
    """
    check_bucket(bucket)
    wanted = glob_expression(pattern) if pattern is not None else re.compile("", re.DOTALL)
    match = wanted.fullmatch if pattern is not None else wanted.match
    listed = _listed(client("s3", boto3_session), bucket, prefix)
    return (place.key for place in listed if match(place.key[len(prefix) :]))


def find_places(s3: Any, bucket: str, key: str | Sequence[str]) -> list[Place]:
    """Return the objects that a key, a list of keys, a prefix or a pattern stands for.

    Parameters
    ----------
    s3 : botocore client
        Of S3.
    bucket : str
        The bucket's name.
    key : str or sequence of str
        Each one may be a key, a prefix or a pattern.

    Returns
    -------
    list of Place
        In the order given, and in S3's order within a prefix. A plain key is not looked up: who
        reads it will see.

    Raises
    ------
    UserError
        This is no bucket name, or no key.
    NoSuchObjectError
        Nothing lies under the prefix, or matches the pattern.
    """
    check_bucket(bucket)
    given = [key] if isinstance(key, str) else list(key)
    if not given:
        raise UserError("No key was given.", fix="Give at least one, for example ['usage.csv'].")
    for one in given:
        _check_key(one)
    return [place for one in given for place in _expanded(s3, bucket, one)]


def is_one_key(key: str | Sequence[str]) -> bool:
    """Whether this stands for exactly one object, whatever lies in the bucket."""
    return isinstance(key, str) and not key.endswith("/") and not _WILD.search(key)


def common_prefix(key: str | Sequence[str]) -> str:
    """Return the folder, with its ``/``, from which partition folders are looked for."""
    if not isinstance(key, str):
        return ""
    fixed = key[: wild.start()] if (wild := _WILD.search(key)) else key
    return fixed[: fixed.rfind("/") + 1]


def check_bucket(bucket: str) -> None:
    """Refuse what can be no bucket, before anything is asked of AWS."""
    reason = bucket_problem(bucket)
    if reason:
        raise UserError(
            f"{bucket!r} is no S3 bucket name: {reason}.",
            fix="Give the bucket's name alone, for example '2022-rnd-battery'.",
        )


def glob_expression(pattern: str) -> re.Pattern[str]:
    """Translate a glob pattern into a regular expression; see `list_keys`."""
    parts, place = [], 0
    while place < len(pattern):
        if pattern.startswith("**/", place):
            parts.append("(?:.*/)?")
            place += 3
        elif pattern.startswith("**", place):
            parts.append(".*")
            place += 2
        elif pattern[place] == "*":
            parts.append("[^/]*")
            place += 1
        elif pattern[place] == "?":
            parts.append("[^/]")
            place += 1
        elif pattern[place] == "[" and (end := pattern.find("]", place + 2)) > 0:
            inside = pattern[place + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            negated = inside[0] in "!^"
            parts.append(f"(?!/)[{'^' if negated else ''}{inside[negated:]}]")
            place = end + 1
        else:
            parts.append(re.escape(pattern[place]))
            place += 1
    try:
        return re.compile("".join(parts), re.DOTALL)
    except re.error as error:
        raise UserError(
            f"{pattern!r} is no pattern of keys: {error}.", fix="For example 'usage/2022-*.csv'."
        ) from error


def _check_key(key: str) -> None:
    if not isinstance(key, str) or not key or len(key.encode()) > _MAX_KEY_BYTES:
        raise UserError(
            f"{key!r} is no key of an S3 object: it must have 1 to 1,024 bytes.",
            fix="For example 'usage/2022.csv', or 'usage/' for all that lies below.",
        )


def _expanded(s3: Any, bucket: str, key: str) -> list[Place]:
    if is_one_key(key):
        return [Place(bucket, key)]
    wild = _WILD.search(key)
    fixed = key[: wild.start()] if wild else key
    match = glob_expression(key).fullmatch if wild else re.compile("").match
    found, hidden = [], 0
    for place in _listed(s3, bucket, fixed):
        if wild and place.key == key:
            return [place]
        if place.key.endswith("/") or not match(place.key):
            continue
        if _is_hidden(fixed, place.key):
            hidden += 1
        else:
            found.append(place)
    if not found:
        what = "matches" if wild else "lies under"
        aside = f", but for {hidden} that begin with '_' or '.'" if hidden else ""
        raise NoSuchObjectError(
            f"No object {what} s3://{bucket}/{key}{aside}.",
            fix="Check the spelling with batcat_runtime.list_keys; keys are case-sensitive.",
        )
    return found


def _is_hidden(fixed: str, key: str) -> bool:
    """Whether a folder or name that was not spelled out begins with ``_`` or ``.``."""
    start = fixed.rfind("/") + 1
    spelled = fixed[start:]
    rest = key[start:].split("/")
    if spelled:  # 'usage/_ma*' asks for it by name
        rest = rest[1:]
    return any(name.startswith(("_", ".")) for name in rest)


def _listed(s3: Any, bucket: str, prefix: str) -> Iterator[Place]:
    with translated(f"s3://{bucket}/{prefix}", "s3:ListBucket"):
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        for page in pages:
            for one in page.get("Contents", ()):
                yield Place(bucket, one["Key"], one["Size"])
