"""Buckets and their policies for the embedded CloudFormation.

S3 spells its API and its CloudFormation properties differently; the functions at the end translate
one into the other.
"""

from __future__ import annotations

from typing import Any

from ..resources import Kind, Made, Place, chosen, policy_text, tag_list, truth, words


class Bucket(Kind):
    """AWS::S3::Bucket."""

    type = "AWS::S3::Bucket"
    properties = words(
        "BucketEncryption BucketName CorsConfiguration LifecycleConfiguration "
        "LoggingConfiguration NotificationConfiguration OwnershipControls "
        "PublicAccessBlockConfiguration Tags VersioningConfiguration"
    )
    replacing = frozenset({"BucketName"})
    named_by = "BucketName"

    def create(self, place: Place, props: dict[str, Any]) -> Made:
        """Make it."""
        s3 = place.client("s3")
        name = props.get("BucketName") or place.generated_name(63, lower=True)
        extra: dict[str, Any] = {}
        if place.region != "us-east-1":
            extra["CreateBucketConfiguration"] = {"LocationConstraint": place.region}
        s3.create_bucket(Bucket=name, **extra)
        place.exists(name)
        self._configure(place, name, {}, props)
        return self._made(place, name)

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Made:
        """Change it in place."""
        self._configure(place, physical_id, old, new)
        return self._made(place, physical_id)

    def delete(self, place: Place, physical_id: str, props: dict[str, Any]) -> None:
        """Remove it."""
        place.client("s3").delete_bucket(Bucket=physical_id)

    def _configure(self, place: Place, name: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        s3 = place.client("s3")
        tags = place.all_tags(new.get("Tags"))
        if tags:
            s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": tag_list(tags)})
        elif old.get("Tags"):
            s3.delete_bucket_tagging(Bucket=name)
        if new.get("BucketEncryption"):
            s3.put_bucket_encryption(
                Bucket=name,
                ServerSideEncryptionConfiguration=_encryption(new["BucketEncryption"]),
            )
        elif old.get("BucketEncryption"):
            s3.delete_bucket_encryption(Bucket=name)
        if new.get("VersioningConfiguration"):
            s3.put_bucket_versioning(
                Bucket=name, VersioningConfiguration=new["VersioningConfiguration"]
            )
        block = new.get("PublicAccessBlockConfiguration")
        if block:
            s3.put_public_access_block(
                Bucket=name,
                PublicAccessBlockConfiguration={key: truth(value) for key, value in block.items()},
            )
        elif old.get("PublicAccessBlockConfiguration"):
            s3.delete_public_access_block(Bucket=name)
        if new.get("OwnershipControls"):
            s3.put_bucket_ownership_controls(
                Bucket=name, OwnershipControls=new["OwnershipControls"]
            )
        if new.get("LifecycleConfiguration"):
            s3.put_bucket_lifecycle_configuration(
                Bucket=name, LifecycleConfiguration=_lifecycle(new["LifecycleConfiguration"])
            )
        elif old.get("LifecycleConfiguration"):
            s3.delete_bucket_lifecycle(Bucket=name)
        if new.get("NotificationConfiguration") or old.get("NotificationConfiguration"):
            s3.put_bucket_notification_configuration(
                Bucket=name,
                NotificationConfiguration=_notification(new.get("NotificationConfiguration") or {}),
            )

    def _made(self, place: Place, name: str) -> Made:
        return Made(
            name,
            {
                "Arn": f"arn:{place.partition}:s3:::{name}",
                "DomainName": f"{name}.s3.{place.suffix}",
                "RegionalDomainName": f"{name}.s3.{place.region}.{place.suffix}",
            },
        )


class BucketPolicy(Kind):
    """AWS::S3::BucketPolicy."""

    type = "AWS::S3::BucketPolicy"
    properties = frozenset({"Bucket", "PolicyDocument"})
    required = ("Bucket", "PolicyDocument")
    replacing = frozenset({"Bucket"})

    def create(self, place: Place, props: dict[str, Any]) -> Made:
        """Make it."""
        text = policy_text(props["PolicyDocument"])
        place.client("s3").put_bucket_policy(Bucket=props["Bucket"], Policy=text)
        place.exists(props["Bucket"])
        return Made(props["Bucket"])

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Made:
        """Change it in place."""
        return self.create(place, new)

    def delete(self, place: Place, physical_id: str, props: dict[str, Any]) -> None:
        """Remove it."""
        place.client("s3").delete_bucket_policy(Bucket=physical_id)


def _encryption(given: dict[str, Any]) -> dict[str, Any]:
    rules = []
    for rule in given.get("ServerSideEncryptionConfiguration") or []:
        by_default = rule.get("ServerSideEncryptionByDefault") or {}
        entry: dict[str, Any] = {
            "ApplyServerSideEncryptionByDefault": chosen(
                by_default, "SSEAlgorithm", "KMSMasterKeyID"
            )
        }
        if rule.get("BucketKeyEnabled") is not None:
            entry["BucketKeyEnabled"] = truth(rule["BucketKeyEnabled"])
        rules.append(entry)
    return {"Rules": rules}


def _lifecycle(given: dict[str, Any]) -> dict[str, Any]:
    rules = []
    for number, rule in enumerate(given.get("Rules") or []):
        entry: dict[str, Any] = {
            "ID": rule.get("Id", f"rule-{number}"),
            "Status": rule["Status"],
            "Filter": {"Prefix": rule.get("Prefix", "")},
        }
        if rule.get("ExpirationInDays") is not None:
            entry["Expiration"] = {"Days": int(rule["ExpirationInDays"])}
        noncurrent = rule.get("NoncurrentVersionExpiration") or {}
        days = noncurrent.get("NoncurrentDays", rule.get("NoncurrentVersionExpirationInDays"))
        if days is not None:
            entry["NoncurrentVersionExpiration"] = {"NoncurrentDays": int(days)}
        abort = rule.get("AbortIncompleteMultipartUpload")
        if abort:
            entry["AbortIncompleteMultipartUpload"] = {
                "DaysAfterInitiation": int(abort["DaysAfterInitiation"])
            }
        if rule.get("Transitions"):
            entry["Transitions"] = [
                {"StorageClass": one["StorageClass"], "Days": int(one["TransitionInDays"])}
                for one in rule["Transitions"]
            ]
        rules.append(entry)
    return {"Rules": rules}


def _notification(given: dict[str, Any]) -> dict[str, Any]:
    kinds = {
        "LambdaConfigurations": ("LambdaFunctionConfigurations", "Function", "LambdaFunctionArn"),
        "QueueConfigurations": ("QueueConfigurations", "Queue", "QueueArn"),
        "TopicConfigurations": ("TopicConfigurations", "Topic", "TopicArn"),
    }
    result: dict[str, Any] = {}
    for ours, (theirs, source, target) in kinds.items():
        for one in given.get(ours) or []:
            entry = {target: one[source], "Events": [one["Event"]]}
            rules = ((one.get("Filter") or {}).get("S3Key") or {}).get("Rules")
            if rules:
                entry["Filter"] = {"Key": {"FilterRules": rules}}
            result.setdefault(theirs, []).append(entry)
    if (given.get("EventBridgeConfiguration") or {}).get("EventBridgeEnabled", False):
        result["EventBridgeConfiguration"] = {}
    return result
