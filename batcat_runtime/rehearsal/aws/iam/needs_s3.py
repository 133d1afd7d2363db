"""What S3 calls need: S3 names its actions after what is done, not after the operation.

The table follows the user guide, "Required permissions for Amazon S3 API operations".
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from moto.utilities.utils import get_partition

from ...wire import ACCOUNT_ID, Call
from .evaluation import Need

# On one object; every other operation on an object is an action of its own name.
_OBJECT = {
    "CompleteMultipartUpload": "s3:PutObject",
    "CopyObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "GetObjectAttributes": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "ListParts": "s3:ListMultipartUploadParts",
    "UploadPart": "s3:PutObject",
    "UploadPartCopy": "s3:PutObject",
}
_BUCKET = {
    "DeleteBucketEncryption": "s3:PutEncryptionConfiguration",
    "DeleteBucketLifecycle": "s3:PutLifecycleConfiguration",
    "DeleteBucketTagging": "s3:PutBucketTagging",
    "DeletePublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "GetBucketNotificationConfiguration": "s3:GetBucketNotification",
    "GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "HeadBucket": "s3:ListBucket",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "ListObjectVersions": "s3:ListBucketVersions",
    "ListObjects": "s3:ListBucket",
    "ListObjectsV2": "s3:ListBucket",
    "PutBucketEncryption": "s3:PutEncryptionConfiguration",
    "PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
    "PutBucketNotificationConfiguration": "s3:PutBucketNotification",
    "PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
}
_VERSIONED = {
    "s3:DeleteObject": "s3:DeleteObjectVersion",
    "s3:GetObject": "s3:GetObjectVersion",
    "s3:GetObjectTagging": "s3:GetObjectVersionTagging",
}


def s3_needs(call: Call) -> list[Need]:
    """Return every permission that an S3 call needs."""
    params, partition = call.params, get_partition(call.region)
    bucket, key = params.get("Bucket"), params.get("Key")
    if call.operation == "ListBuckets":
        return [Need("s3:ListAllMyBuckets")]
    if not bucket:
        return [Need(f"s3:{call.operation}", "")]
    place = f"arn:{partition}:s3:::{bucket}"
    if call.operation == "DeleteObjects":
        listed = (params.get("Delete") or {}).get("Objects") or []
        return [Need("s3:DeleteObject", f"{place}/{one['Key']}") for one in listed]
    if key is not None:
        return _object_needs(call, place, str(key), partition)
    return [Need(_BUCKET.get(call.operation, f"s3:{call.operation}"), place, _listing(params))]


def _object_needs(call: Call, place: str, key: str, partition: str) -> list[Need]:
    params, resource = call.params, f"{place}/{key}"
    action = _OBJECT.get(call.operation, f"s3:{call.operation}")
    if params.get("VersionId"):
        action = _VERSIONED.get(action, action)
    found = [Need(action, resource, _storing(params))]
    if call.operation in ("CopyObject", "UploadPartCopy"):
        source = unquote(str(params.get("CopySource") or "")).lstrip("/").partition("?")
        reading = "s3:GetObjectVersion" if source[2] else "s3:GetObject"
        found.append(Need(reading, f"arn:{partition}:s3:::{source[0]}"))
    writing = action == "s3:PutObject"
    if writing and params.get("Tagging"):
        found.append(Need("s3:PutObjectTagging", resource))
    if writing and params.get("ACL"):
        found.append(Need("s3:PutObjectAcl", resource))
    key_id = params.get("SSEKMSKeyId")
    if writing and key_id:
        is_arn = str(key_id).startswith("arn:")
        arn = key_id if is_arn else f"arn:{partition}:kms:{call.region}:{ACCOUNT_ID}:key/{key_id}"
        via = {"kms:ViaService": f"s3.{call.region}.amazonaws.com"}
        found.append(Need("kms:GenerateDataKey", str(arn), via))
        if call.operation == "CreateMultipartUpload":
            found.append(Need("kms:Decrypt", str(arn), via))
    return found


def _listing(params: dict[str, Any]) -> dict[str, Any]:
    keys = {"Prefix": "s3:prefix", "Delimiter": "s3:delimiter", "MaxKeys": "s3:max-keys"}
    return {key: str(params[name]) for name, key in keys.items() if params.get(name) is not None}


def _storing(params: dict[str, Any]) -> dict[str, Any]:
    keys = {
        "ServerSideEncryption": "s3:x-amz-server-side-encryption",
        "SSEKMSKeyId": "s3:x-amz-server-side-encryption-aws-kms-key-id",
        "ACL": "s3:x-amz-acl",
    }
    return {key: str(params[name]) for name, key in keys.items() if params.get(name)}
