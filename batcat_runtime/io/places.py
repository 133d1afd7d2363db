"""Where data lies in S3: one key, a list of keys, a prefix, or a pattern.

A text is a prefix if it ends in ``/``, a pattern if it has ``*``, ``?`` or ``[`` in it, and one key
otherwise. An object whose key is the pattern, letter by letter, is taken before the pattern is.
Under a prefix, and for a wildcard, what begins with ``_`` or ``.`` is no data: that is how Spark,
Athena and BatCat itself name manifests and marks.

Each may be given as bucket and key, or as the one ``s3://`` address that writers return.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import NoSuchObjectError, UserError
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.io.clients import client
from batcat_runtime.names import bucket_problem

if TYPE_CHECKING:
    import boto3

Where = str | Sequence[str]  # one text, or several

_WILD = re.compile(r"[*?[]")
_MAX_KEY_BYTES = 1024
_SCHEME = "s3://"
_TOKEN = re.compile(r"\*\*/|\*\*|\[(?P<inside>.[^\]]*)\]|.", re.DOTALL)
_WILDCARDS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
MAYBE_CSV = ("another format", "If it is CSV, read it with read_csv_from_bucket.")
# how an object that is no table of the wanted kind begins, in lower case
_KINDS = {
    "a Parquet file": ((b"par1",), "Read it with read_parquet_from_bucket."),
    "an Excel file or another ZIP archive": (
        (b"pk\x03\x04",),
        "Read Excel with read_excel_from_bucket; unpack another archive, and upload what is in it.",
    ),
    "an Excel file of the old kind (.xls), or one with a password": (
        (b"\xd0\xcf\x11\xe0",),
        "Save it as .xlsx without a password, and read that with read_excel_from_bucket.",
    ),
    "an ORC or Avro file": ((b"orc", b"obj\x01"), "Convert it to Parquet, such as with Athena."),
    "a PDF": ((b"%pdf",), "Check the key."),
    "a page of HTML or XML": (
        (b"<!doctype html", b"<html", b"<head", b"<!--", b"<?xml"),
        "Check the key; if a proxy or a login page answers, AWS_ENDPOINT_URL and HTTPS_PROXY.",
    ),
}


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
        The bucket's name, or all of it as one address: ``s3://bucket/prefix``.
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
        This is no bucket name, or both forms are given at once; raised at once.
    NoSuchBucketError, AccessDeniedError, CredentialsError, ServiceError
        AWS refused; raised when the first key is asked for.

    Examples
    --------
    >>> list(list_keys("2022-rnd-battery", "usage/", pattern="*.csv"))  # doctest: +SKIP
    ['usage/2022-01.csv', 'usage/2022-02.csv']
    """
    place = place_of(bucket, prefix)
    skipped = len(place.key)
    matches = glob_expression("**" if pattern is None else pattern).fullmatch
    listed = _listed(client("s3", boto3_session), place)
    return (found.key for found in listed if matches(found.key[skipped:]))


def place_of(bucket: str, key: str = "") -> Place:
    """Return the place that a bucket and a key stand for, or one ``s3://bucket/key`` alone.

    Parameters
    ----------
    bucket : str
        A bucket's name, or an address with the key in it.
    key : str
        A key, a prefix or a pattern, as it is; none if `bucket` is an address.

    Raises
    ------
    UserError
        Both forms are mixed, or this is no bucket name. The key is not looked at: an empty one
        stands for the whole bucket.

    Examples
    --------
    >>> place_of("s3://2022-rnd-battery/usage.csv")
    Place(bucket='2022-rnd-battery', key='usage.csv', size=None)
    """
    for text in (bucket, key):
        if not isinstance(text, str):
            raise UserError(
                f"{text!r} is no text.", fix="Give bucket and key, or 's3://bucket/key'."
            )
    if key.startswith(_SCHEME) or (key and bucket.startswith(_SCHEME)):
        raise UserError(
            f"{bucket!r} and {key!r} are two ways to say where.",
            fix="Give bucket and key, such as '2022-rnd-battery' and 'usage.csv', or the one "
            "address 's3://2022-rnd-battery/usage.csv'.",
        )
    if bucket.startswith(_SCHEME):
        bucket, _, key = bucket.removeprefix(_SCHEME).partition("/")
    check_bucket(bucket)
    return Place(bucket, key)


def places_of(bucket: Where, key: Where = "") -> list[Place]:
    """Return the key, prefix or pattern that each argument of a reader stands for.

    Parameters
    ----------
    bucket : str or sequence of str
        A bucket's name; or one ``s3://`` address, or several.
    key : str or sequence of str
        One key, prefix or pattern, or several; none if `bucket` is an address.

    Raises
    ------
    UserError
        No key is given or it is none, both forms are mixed, or this is no bucket name.
    """
    found = [place_of(where, which) for where in _several(bucket) for which in _several(key)]
    if not found:
        raise UserError("No key was given.", fix="Give at least one, for example ['usage.csv'].")
    for place in found:
        check_key(place.key)
    return found


def _several(given: Where) -> list[str]:
    return [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)


def find_places(s3: Any, bucket: Where, key: Where = "") -> list[Place]:
    """Return the objects that a key, a list of keys, a prefix or a pattern stands for.

    Parameters
    ----------
    s3 : botocore client
        Of S3.
    bucket, key : str or sequence of str
        See `places_of`.

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
    return [found for place in places_of(bucket, key) for found in _expanded(s3, place)]


def is_one_key(key: str) -> bool:
    """Whether this stands for exactly one object, whatever lies in the bucket."""
    return not key.endswith("/") and not _WILD.search(key)


def partition_root(bucket: Where, key: Where = "") -> str | None:
    """Return the folder from which partition folders are looked for; None: nowhere."""
    given = places_of(bucket, key)
    if len(given) > 1 or is_one_key(given[0].key):
        return None
    folder, slash, _ = _WILD.split(given[0].key)[0].rpartition("/")
    return folder + slash


def known_kind(start: bytes) -> tuple[str, str] | None:
    """Return what an object that begins so is, and what to do about it; None: it may be CSV."""
    begins = start.lstrip().lower().startswith
    return next(((kind, fix) for kind, (signs, fix) in _KINDS.items() if begins(signs)), None)


def check_bucket(bucket: str) -> None:
    """Refuse what can be no bucket, before anything is asked of AWS."""
    reason = bucket_problem(bucket)
    if reason:
        raise UserError(
            f"{bucket!r} is no S3 bucket name: {reason}.",
            fix="Give the bucket's name alone, for example '2022-rnd-battery'.",
        )


def check_key(key: str) -> None:
    """Refuse what can be no key of an object, nor a prefix or pattern of keys."""
    if not key or len(key.encode()) > _MAX_KEY_BYTES:
        raise UserError(
            f"{key!r} is no key of an S3 object: it must have 1 to 1,024 bytes.",
            fix="For example 'usage/2022.csv', or 'usage/' for all that lies below.",
        )


def glob_expression(pattern: str) -> re.Pattern[str]:
    """Translate a glob pattern into a regular expression; see `list_keys`."""
    try:
        return re.compile(_TOKEN.sub(_translated, pattern), re.DOTALL)
    except re.error as error:
        raise UserError(
            f"{pattern!r} is no pattern of keys: {error}.", fix="For example 'usage/2022-*.csv'."
        ) from error


def _translated(token: re.Match[str]) -> str:
    if token[0] in _WILDCARDS:
        return _WILDCARDS[token[0]]
    if (inside := token["inside"]) is None:
        return re.escape(token[0])
    negated = inside[0] in "!^"
    inside = inside[negated:].replace("\\", "\\\\").replace("[", "\\[")
    return f"(?!/)[{'^' if negated else ''}{inside}]"


def _expanded(s3: Any, place: Place) -> list[Place]:
    if is_one_key(place.key):
        return [place]
    fixed = _WILD.split(place.key)[0]
    is_pattern = fixed != place.key
    matches = glob_expression(place.key if is_pattern else "**").fullmatch
    found, hidden, unfinished = [], 0, []
    for listed in _listed(s3, Place(place.bucket, fixed)):
        folder, mark, name = listed.key.rpartition("/_unfinished/")
        if mark:  # by save_dataset: see there
            unfinished.append(f"{folder}/{name}/")
        if is_pattern and listed.key == place.key:
            return [listed]
        if listed.key.endswith("/") or not matches(listed.key):
            continue
        if _is_hidden(fixed, listed.key):
            hidden += 1
        else:
            found.append(listed)
    found = [listed for listed in found if not listed.key.startswith(tuple(unfinished))]
    if not found:
        what = "matches" if is_pattern else "lies under"
        aside = f", but for {hidden} that begin with '_' or '.'" if hidden else ""
        raise NoSuchObjectError(
            f"No object {what} {place.uri}{aside}.",
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


def _listed(s3: Any, prefix: Place) -> Iterator[Place]:
    # wr.s3.list_objects leaves out keys that end in "/" (test_keys) and tells no sizes
    with translated(prefix.uri, "s3:ListBucket"):
        pages = s3.get_paginator("list_objects_v2").paginate(
            Bucket=prefix.bucket, Prefix=prefix.key
        )
        for page in pages:
            for listed in page.get("Contents", ()):
                yield Place(prefix.bucket, listed["Key"], listed["Size"])
