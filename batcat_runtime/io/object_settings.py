"""How S3 shall keep an object: encryption, storage class, metadata and tags; and who owns it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from batcat_runtime.errors import UserError


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
