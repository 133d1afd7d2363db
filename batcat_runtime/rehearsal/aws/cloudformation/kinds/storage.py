"""Buckets, repositories and log groups for the embedded CloudFormation."""

from __future__ import annotations

from typing import Any, ClassVar

from ..resources import Kind, Place, ResourceError
from ..template import words

_RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
_ENCRYPTION = "ServerSideEncryptionConfiguration"
# By property: the operation that puts it, the one that takes it away, and the API's name for it.
_BUCKET_SETTINGS = {
    "VersioningConfiguration": ("PutBucketVersioning", "", ""),
    "PublicAccessBlockConfiguration": ("PutPublicAccessBlock", "DeletePublicAccessBlock", ""),
    "BucketEncryption": ("PutBucketEncryption", "DeleteBucketEncryption", _ENCRYPTION),
    "LifecycleConfiguration": ("PutBucketLifecycleConfiguration", "DeleteBucketLifecycle", ""),
    "NotificationConfiguration": ("PutBucketNotificationConfiguration", "", ""),
}


class Bucket(Kind):
    """AWS::S3::Bucket."""

    type = "AWS::S3::Bucket"
    properties = words("BucketName Tags", *_BUCKET_SETTINGS)
    replacing = frozenset({"BucketName"})
    named_by, named, longest, lower = "BucketName", "Bucket", 63, True
    service, creates, removes = "s3", "CreateBucket", "DeleteBucket"

    def settings(self, place: Place, props: dict[str, Any]) -> dict[str, Any]:
        """Say where it is to be, which is not said of us-east-1."""
        there = {"LocationConstraint": place.region}
        return {} if place.region == "us-east-1" else {"CreateBucketConfiguration": there}

    def settle(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> None:
        """Bring its settings and tags to what the template says."""
        bucket, tags = {"Bucket": physical_id}, place.all_tags(new)
        if tags:
            place.call("s3", "PutBucketTagging", bucket, Tagging={"TagSet": tags})
        else:
            place.call("s3", "DeleteBucketTagging", bucket)
        for setting, (puts, takes, parameter) in _BUCKET_SETTINGS.items():
            if new.get(setting):
                value = _SPELLED.get(setting, dict)(new[setting])
                place.call("s3", puts, bucket, **{parameter or setting: value})
            elif old.get(setting) and takes:
                place.call("s3", takes, bucket)

    def attributes(self, place: Place, physical_id: str, props: dict[str, Any]) -> dict[str, Any]:
        """Return its ARN and the hosts that it has."""
        return {
            "Arn": f"arn:{place.partition}:s3:::{physical_id}",
            "DomainName": f"{physical_id}.s3.{place.suffix}",
            "RegionalDomainName": f"{physical_id}.s3.{place.region}.{place.suffix}",
        }


def _encryption(given: dict[str, Any]) -> dict[str, Any]:
    by_default = {"ServerSideEncryptionByDefault": "ApplyServerSideEncryptionByDefault"}
    return {"Rules": [_renamed(rule, by_default) for rule in given.get(_ENCRYPTION) or []]}


def _lifecycle(given: dict[str, Any]) -> dict[str, Any]:
    rules = []
    for number, rule in enumerate(given.get("Rules") or []):
        made = {"ID": f"rule-{number}", "Filter": {"Prefix": rule.get("Prefix", "")}, **rule}
        made.pop("Prefix", None)
        if "ExpirationInDays" in made:
            made["Expiration"] = {"Days": made.pop("ExpirationInDays")}
        if "Transitions" in made:
            days = {"TransitionInDays": "Days"}
            made["Transitions"] = [_renamed(one, days) for one in made["Transitions"]]
        rules.append(_renamed(made, {"Id": "ID"}))
    return {"Rules": rules}


def _notification(given: dict[str, Any]) -> dict[str, Any]:
    """Return what is sent to EventBridge, all or nothing; a template tells nobody else."""
    wanted = given.get("EventBridgeConfiguration") or {}
    unknown = sorted(set(given) - {"EventBridgeConfiguration"})
    if unknown:
        raise ResourceError(f"The embedded AWS does not have {unknown[0]} of a bucket in templates")
    return {"EventBridgeConfiguration": {}} if wanted.get("EventBridgeEnabled", True) else {}


def _renamed(given: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {names.get(key, key): value for key, value in given.items()}


_SPELLED = {
    "BucketEncryption": _encryption,
    "LifecycleConfiguration": _lifecycle,
    "NotificationConfiguration": _notification,
}


class Repository(Kind):
    """AWS::ECR::Repository."""

    type = "AWS::ECR::Repository"
    properties = words(
        "EmptyOnDelete EncryptionConfiguration ImageScanningConfiguration ImageTagMutability "
        "LifecyclePolicy RepositoryName Tags"
    )
    replacing = frozenset({"RepositoryName", "EncryptionConfiguration"})
    named_by, named, tagged_by = "RepositoryName", "repositoryName", "resourceArn"
    longest, lower = 256, True
    defaults: ClassVar[dict[str, Any]] = {
        "ImageTagMutability": "MUTABLE",
        "ImageScanningConfiguration": {},
    }
    service, creates, removes = "ecr", "CreateRepository", "DeleteRepository"
    updates = ("PutImageTagMutability", "PutImageScanningConfiguration")
    arn = "repository/{id}"

    def settings(self, place: Place, props: dict[str, Any]) -> dict[str, Any]:
        """Say whether images are scanned, which moto wants to be told."""
        made = {**self.defaults, **props}
        scanning = {"ScanOnPush": False, **made["ImageScanningConfiguration"]}
        return {**made, "ImageScanningConfiguration": scanning}

    def settle(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> None:
        """Bring its lifecycle policy to what the template says."""
        lifecycle = (new.get("LifecyclePolicy") or {}).get("LifecyclePolicyText")
        named = {"repositoryName": physical_id}
        if lifecycle:
            place.call("ecr", "PutLifecyclePolicy", named, lifecyclePolicyText=lifecycle)
        elif old.get("LifecyclePolicy"):
            place.call("ecr", "DeleteLifecyclePolicy", named)

    def delete(self, place: Place, physical_id: str, props: dict[str, Any]) -> None:
        """Remove it."""
        force = {"force": props.get("EmptyOnDelete", False)}
        place.call("ecr", "DeleteRepository", {"repositoryName": physical_id}, **force)

    def attributes(self, place: Place, physical_id: str, props: dict[str, Any]) -> dict[str, Any]:
        """Return its ARN and the address of its images."""
        arn = self.arn_of(place, physical_id, props)
        host = f"{arn.split(':')[4]}.dkr.ecr.{place.region}.{place.suffix}"
        return {"Arn": arn, "RepositoryUri": f"{host}/{physical_id}"}


class LogGroup(Kind):
    """AWS::Logs::LogGroup."""

    type = "AWS::Logs::LogGroup"
    properties = words("KmsKeyId LogGroupClass LogGroupName RetentionInDays Tags")
    replacing = frozenset({"LogGroupName", "LogGroupClass"})
    named_by, named, longest, tagged_by = "LogGroupName", "logGroupName", 512, "resourceArn"
    service, creates, removes = "logs", "CreateLogGroup", "DeleteLogGroup"
    arn = "log-group:{id}:*"

    def settle(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> None:
        """Say how long it keeps its lines."""
        days, named = new.get("RetentionInDays"), {"logGroupName": physical_id}
        if days is None:
            place.call("logs", "DeleteRetentionPolicy", named)
            return
        if int(days) not in _RETENTION_DAYS:
            raise ResourceError(
                f"1 validation error detected: Value '{days}' at 'retentionInDays' failed to "
                f"satisfy constraint: Member must satisfy enum value set: {list(_RETENTION_DAYS)}"
            )
        place.call("logs", "PutRetentionPolicy", named, retentionInDays=days)
