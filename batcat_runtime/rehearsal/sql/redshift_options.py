"""The options of COPY and UNLOAD, and the places in S3 that both name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from .redshift_dialect import Words
from .redshift_external import External
from .redshift_words import RedshiftError

COMPRESSIONS = {"GZIP": ".gz", "BZIP2": ".bz2", "ZSTD": ".zst"}
_SWITCH = {"ON": True, "TRUE": True, "OFF": False, "FALSE": False}


@dataclass(frozen=True)
class Place:
    """A bucket and the beginning of keys in it."""

    bucket: str
    prefix: str

    @property
    def uri(self) -> str:
        """The address."""
        return f"s3://{self.bucket}/{self.prefix}"


def read_place(words: Words) -> Place:
    """Read an address in quotes."""
    text = words.text()
    match = re.fullmatch(r"s3://([^/]+)/?(.*)", text, re.DOTALL)
    if match is None:
        raise RedshiftError(
            f"ERROR: The S3 location '{text}' is not valid: it must begin with s3:// and a bucket"
            if text.startswith("s3:")
            else f"ERROR: COPY and UNLOAD support s3:// here, not '{text}'"
        )
    return Place(match[1], match[2])


def read_authorisation(words: Words) -> tuple[bool, str | None]:
    """Read IAM_ROLE or CREDENTIALS if they come next.

    Returns
    -------
    tuple of (bool, str or None)
        Whether they came, and the role; None for the default one.
    """
    if words.take("IAM_ROLE"):
        if words.take("DEFAULT"):
            return True, None
        text = words.text()
        return True, None if text.lower() == "default" else text
    if words.starts("CREDENTIALS") or words.starts("WITH", "CREDENTIALS"):
        words.take("WITH")
        words.expect("CREDENTIALS")
        words.take("AS")
        text = words.text()
        match = re.fullmatch(r"aws_iam_role=(\S+)", text.strip())
        if match is None:
            raise RedshiftError(
                "ERROR: The embedded AWS takes roles only: use IAM_ROLE instead of access keys"
            )
        return True, match[1]
    if words.peek() in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"):
        raise RedshiftError(
            "ERROR: The embedded AWS takes roles only: use IAM_ROLE instead of access keys"
        )
    return False, None


def switched(words: Words, default: bool = True) -> bool:
    """Read ON, OFF, TRUE or FALSE if one comes next."""
    word = words.peek()
    if word not in _SWITCH:
        return default
    words.next()
    return _SWITCH[word]


def objects_under(external: External, place: Place) -> list[dict[str, Any]]:
    """Return the objects whose keys begin as a place says.

    Raises
    ------
    RedshiftError
        When the bucket does not exist.
    """
    try:
        pages = external.s3.get_paginator("list_objects_v2")
        return [
            one
            for page in pages.paginate(Bucket=place.bucket, Prefix=place.prefix)
            for one in page.get("Contents", [])
        ]
    except ClientError as error:
        raise s3_failure(error) from error


def check_region(external: External, place: Place, given: str | None) -> None:
    """Refuse a bucket of another region, unless the statement names that region."""
    try:
        answer = external.s3.get_bucket_location(Bucket=place.bucket)
    except ClientError as error:
        raise s3_failure(error) from error
    found = answer.get("LocationConstraint") or "us-east-1"
    if found != (given or external.region):
        raise RedshiftError(
            "ERROR: S3ServiceException:The S3 bucket addressed by the query is in a different "
            f"region from this cluster.,Status 301,Error PermanentRedirect: {place.bucket} is in "
            f"{found}"
        )


def s3_failure(error: ClientError) -> RedshiftError:
    """Return what Redshift says when S3 refuses a request."""
    told = error.response.get("Error", {})
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    return RedshiftError(
        f"ERROR: S3ServiceException:{told.get('Message')},Status {status},Error {told.get('Code')}"
    )


def character(words: Words) -> str:
    """Read a character in quotes, also written as an escape."""
    words.take("AS")
    text = words.text()
    if text in ("t", "\\t") and len(words.tokens[words.at - 1].text) <= 2:
        raw = words.sql[words.tokens[words.at - 1].start : words.tokens[words.at - 1].end]
        if "\\" in raw:
            return "\t"
    return text


def quoted_list(names: Iterable[str]) -> list[str]:
    """Return names as a list in lower case without quotes."""
    return [one.strip().strip('"').lower() for one in names]
