"""The result bucket, without writing to it."""

from __future__ import annotations

from typing import Any

from batcat_runtime.account import check_bucket
from batcat_runtime.errors import BucketOwnerError, BucketRegionError, NoSuchBucketError
from batcat_runtime.operate.checks.finding import Finding, failed, ok, skipped, warning
from batcat_runtime.operate.checks.patient import Patient


def bucket_is_ours(patient: Patient) -> Finding:
    """The result bucket exists, is this account's and lies in the region."""
    config = patient.settings
    try:
        found = check_bucket(config, s3=patient.client("s3"), account=patient.account)
    except (NoSuchBucketError, BucketOwnerError, BucketRegionError) as error:
        return failed(error.message, error.fix)
    if not found.ours:
        return skipped(
            f"you lack s3:ListBucket on {found.name}, so S3 does not tell whose it is",
            "ask your administrator for s3:ListBucket",
        )
    return ok(f"s3://{found.name} in {found.region}")


def bucket_is_encrypted(patient: Patient) -> Finding:
    """The result bucket encrypts what it is given."""
    name, region = patient.settings.result_s3_bucket, patient.settings.region
    rules = _answer(
        patient,
        "get_bucket_encryption",
        "s3:GetEncryptionConfiguration",
        "ServerSideEncryptionConfigurationNotFoundError",
    )
    listed = (rules or {}).get("ServerSideEncryptionConfiguration", {}).get("Rules", [])
    if not listed:
        rule = '{"Rules":[{"ApplyServerSideEncryptionByDefault":{"SSEAlgorithm":"AES256"}}]}'
        return warning(
            f"s3://{name} has no encryption by default",
            f"aws s3api put-bucket-encryption --bucket {name} --region {region} "
            f"--server-side-encryption-configuration '{rule}'",
        )
    given = listed[0].get("ApplyServerSideEncryptionByDefault", {})
    key = f" with {given['KMSMasterKeyID']}" if given.get("KMSMasterKeyID") else ""
    return ok(f"{given.get('SSEAlgorithm', 'AES256')}{key}; {_versioning(patient)}")


def bucket_is_closed(patient: Patient) -> Finding:
    """The result bucket is closed to the public."""
    name, region = patient.settings.result_s3_bucket, patient.settings.region
    answer = _answer(
        patient,
        "get_public_access_block",
        "s3:GetBucketPublicAccessBlock",
        "NoSuchPublicAccessBlockConfiguration",
    )
    block = (answer or {}).get("PublicAccessBlockConfiguration", {})
    wanted = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    missing = [one for one in wanted if not block.get(one)]
    if missing:
        every = ",".join(f"{one}=true" for one in wanted)
        return warning(
            f"s3://{name} does not have {', '.join(missing)}",
            f"aws s3api put-public-access-block --bucket {name} --region {region} "
            f"--public-access-block-configuration {every}",
        )
    return ok("all public access is blocked")


def _versioning(patient: Patient) -> str:
    answer = _answer(patient, "get_bucket_versioning", "s3:GetBucketVersioning", "")
    return f"versioning is {str((answer or {}).get('Status', 'off')).lower()}"


def _answer(patient: Patient, operation: str, action: str, nothing: str) -> dict[str, Any] | None:
    """Return what S3 says of the bucket; None for the error that means that nothing is set."""
    from botocore.exceptions import ClientError

    name = patient.settings.result_s3_bucket
    with patient.asked(f"s3://{name}", action):
        try:
            asked = getattr(patient.client("s3"), operation)
            return dict(asked(Bucket=name, ExpectedBucketOwner=patient.account))
        except ClientError as error:
            if nothing and error.response["Error"]["Code"] == nothing:
                return None
            raise
