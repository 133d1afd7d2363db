"""Buckets, repositories and log groups for the embedded CloudFormation."""

from __future__ import annotations

from typing import Any

from ..resources import Kind, Made, Place, ResourceError, words

_RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
# By property: the operation that puts it, the one that takes it away, and the API's name for it.
_BUCKET_SETTINGS = {
    "VersioningConfiguration": ("PutBucketVersioning", "", "VersioningConfiguration"),
    "PublicAccessBlockConfiguration": (
        "PutPublicAccessBlock",
        "DeletePublicAccessBlock",
        "PublicAccessBlockConfiguration",
    ),
    "BucketEncryption": (
        "PutBucketEncryption",
        "DeleteBucketEncryption",
        "ServerSideEncryptionConfiguration",
    ),
    "LifecycleConfiguration": (
        "PutBucketLifecycleConfiguration",
        "DeleteBucketLifecycle",
        "LifecycleConfiguration",
    ),
    "NotificationConfiguration": (
        "PutBucketNotificationConfiguration",
        "",
        "NotificationConfiguration",
    ),
}


class Bucket(Kind):
    """AWS::S3::Bucket."""

    type = "AWS::S3::Bucket"
    properties = words("BucketName Tags", *_BUCKET_SETTINGS)
    replacing = frozenset({"BucketName"})
    named_by = "BucketName"
    removal = ("s3", "DeleteBucket", "Bucket")

    def create(self, place: Place, props: dict[str, Any]) -> Made:
        """Make it."""
        name = place.name(props.get("BucketName"), 63, lower=True)
        there = {"LocationConstraint": place.region}
        more = {} if place.region == "us-east-1" else {"CreateBucketConfiguration": there}
        place.call("s3", "CreateBucket", {"Bucket": name}, **more)
        place.exists(name)
        self._configure(place, name, {}, props)
        return _bucket(place, name)

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Made:
        """Change it in place."""
        self._configure(place, physical_id, old, new)
        return _bucket(place, physical_id)

    def _configure(self, place: Place, name: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        bucket, tags = {"Bucket": name}, place.all_tags(new)
        if tags:
            place.call("s3", "PutBucketTagging", bucket, Tagging={"TagSet": tags})
        else:
            place.call("s3", "DeleteBucketTagging", bucket)
        for setting, (puts, takes, parameter) in _BUCKET_SETTINGS.items():
            if new.get(setting):
                value = _SPELLED.get(setting, dict)(new[setting])
                place.call("s3", puts, bucket, **{parameter: value})
            elif old.get(setting) and takes:
                place.call("s3", takes, bucket)


def _bucket(place: Place, name: str) -> Made:
    return Made(
        name,
        {
            "Arn": f"arn:{place.partition}:s3:::{name}",
            "DomainName": f"{name}.s3.{place.suffix}",
            "RegionalDomainName": f"{name}.s3.{place.region}.{place.suffix}",
        },
    )


def _encryption(given: dict[str, Any]) -> dict[str, Any]:
    by_default = ("ServerSideEncryptionByDefault", "ApplyServerSideEncryptionByDefault")
    rules = given.get("ServerSideEncryptionConfiguration") or []
    return {"Rules": [_renamed(rule, dict([by_default])) for rule in rules]}


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
        "LifecyclePolicy RepositoryName RepositoryPolicyText Tags"
    )
    replacing = frozenset({"RepositoryName", "EncryptionConfiguration"})
    named_by = "RepositoryName"

    def create(self, place: Place, props: dict[str, Any]) -> Made:
        """Make it."""
        name = place.name(props.get("RepositoryName"), 256, lower=True)
        more = {"RepositoryName": name, "Tags": place.all_tags(props)}
        made = place.call("ecr", "CreateRepository", _spelled(props), **more)["repository"]
        place.exists(name)
        self._policies(place, name, {}, props)
        return _repository(made)

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Made:
        """Change it in place."""
        settings = {**_spelled(new), "RepositoryName": physical_id}
        place.call("ecr", "PutImageTagMutability", settings)
        place.call("ecr", "PutImageScanningConfiguration", settings)
        self._policies(place, physical_id, old, new)
        named = {"repositoryNames": [physical_id]}
        made = place.call("ecr", "DescribeRepositories", named)["repositories"][0]
        place.retag("ecr", new, resourceArn=made["repositoryArn"])
        return _repository(made)

    def delete(self, place: Place, physical_id: str, props: dict[str, Any]) -> None:
        """Remove it."""
        force = {"force": props.get("EmptyOnDelete", False)}
        place.call("ecr", "DeleteRepository", {"repositoryName": physical_id}, **force)

    def _policies(self, place: Place, name: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        named = {"repositoryName": name}
        lifecycle = (new.get("LifecyclePolicy") or {}).get("LifecyclePolicyText")
        if lifecycle:
            place.call("ecr", "PutLifecyclePolicy", named, lifecyclePolicyText=lifecycle)
        elif old.get("LifecyclePolicy"):
            place.call("ecr", "DeleteLifecyclePolicy", named)
        if new.get("RepositoryPolicyText"):
            text = new["RepositoryPolicyText"]
            place.call("ecr", "SetRepositoryPolicy", named, policyText=text)
        elif old.get("RepositoryPolicyText"):
            place.call("ecr", "DeleteRepositoryPolicy", named)


def _spelled(props: dict[str, Any]) -> dict[str, Any]:
    defaults = {"ImageTagMutability": "MUTABLE", "ImageScanningConfiguration": {}}
    made = {**defaults, **props}
    made["ImageScanningConfiguration"] = {"ScanOnPush": False, **made["ImageScanningConfiguration"]}
    return made


def _repository(made: dict[str, Any]) -> Made:
    uri = {"Arn": made["repositoryArn"], "RepositoryUri": made["repositoryUri"]}
    return Made(made["repositoryName"], uri)


class LogGroup(Kind):
    """AWS::Logs::LogGroup."""

    type = "AWS::Logs::LogGroup"
    properties = words("KmsKeyId LogGroupClass LogGroupName RetentionInDays Tags")
    replacing = frozenset({"LogGroupName", "LogGroupClass"})
    named_by = "LogGroupName"
    removal = ("logs", "DeleteLogGroup", "logGroupName")

    def create(self, place: Place, props: dict[str, Any]) -> Made:
        """Make it."""
        name, tags = place.name(props.get("LogGroupName"), 512), place.all_tags(props)
        more = {"tags": tags} if tags else {}
        place.call("logs", "CreateLogGroup", {**_untagged(props), "LogGroupName": name}, **more)
        place.exists(name)
        self._retain(place, name, props)
        return self._made(place, name)

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Made:
        """Change it in place."""
        self._retain(place, physical_id, new)
        place.retag("logs", new, resourceArn=place.arn("logs", f"log-group:{physical_id}"))
        return self._made(place, physical_id)

    def _retain(self, place: Place, name: str, props: dict[str, Any]) -> None:
        days, named = props.get("RetentionInDays"), {"logGroupName": name}
        if days is None:
            place.call("logs", "DeleteRetentionPolicy", named)
            return
        if int(days) not in _RETENTION_DAYS:
            raise ResourceError(
                f"1 validation error detected: Value '{days}' at 'retentionInDays' failed to "
                f"satisfy constraint: Member must satisfy enum value set: {list(_RETENTION_DAYS)}"
            )
        place.call("logs", "PutRetentionPolicy", named, retentionInDays=days)

    def _made(self, place: Place, name: str) -> Made:
        return Made(name, {"Arn": place.arn("logs", f"log-group:{name}:*")})


def _untagged(props: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in props.items() if key != "Tags"}
