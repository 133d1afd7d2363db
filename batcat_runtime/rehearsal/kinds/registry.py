"""ECR repositories for the embedded CloudFormation."""

from __future__ import annotations

from typing import Any

from ..resources import (
    Kind,
    Made,
    Place,
    lower_keys,
    policy_text,
    tag_changes,
    tag_list,
    truth,
    words,
)


class Repository(Kind):
    """AWS::ECR::Repository."""

    type = "AWS::ECR::Repository"
    properties = words(
        "EmptyOnDelete EncryptionConfiguration ImageScanningConfiguration ImageTagMutability "
        "ImageTagMutabilityExclusionFilters LifecyclePolicy RepositoryName RepositoryPolicyText "
        "Tags"
    )
    replacing = frozenset({"RepositoryName", "EncryptionConfiguration"})
    named_by = "RepositoryName"

    def create(self, place: Place, props: dict[str, Any]) -> Made:
        """Make it."""
        ecr = place.client("ecr")
        name = props.get("RepositoryName") or place.generated_name(256, lower=True)
        extra: dict[str, Any] = {}
        if props.get("EncryptionConfiguration"):
            extra["encryptionConfiguration"] = lower_keys(props["EncryptionConfiguration"])
        repository = ecr.create_repository(
            repositoryName=name,
            imageTagMutability=props.get("ImageTagMutability", "MUTABLE"),
            imageScanningConfiguration=self._scanning(props),
            tags=tag_list(place.all_tags(props.get("Tags"))),
            **extra,
        )["repository"]
        place.exists(name)
        self._policies(ecr, name, {}, props)
        return self._made(repository)

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Made:
        """Change it in place."""
        ecr = place.client("ecr")
        ecr.put_image_tag_mutability(
            repositoryName=physical_id,
            imageTagMutability=new.get("ImageTagMutability", "MUTABLE"),
        )
        ecr.put_image_scanning_configuration(
            repositoryName=physical_id, imageScanningConfiguration=self._scanning(new)
        )
        self._policies(ecr, physical_id, old, new)
        repository = ecr.describe_repositories(repositoryNames=[physical_id])["repositories"][0]
        arn = repository["repositoryArn"]
        listed = ecr.list_tags_for_resource(resourceArn=arn)["tags"]
        present = {tag["Key"]: tag["Value"] for tag in listed}
        added, removed = tag_changes(present, place.all_tags(new.get("Tags")))
        if added:
            ecr.tag_resource(resourceArn=arn, tags=tag_list(added))
        if removed:
            ecr.untag_resource(resourceArn=arn, tagKeys=removed)
        return self._made(repository)

    def delete(self, place: Place, physical_id: str, props: dict[str, Any]) -> None:
        """Remove it."""
        place.client("ecr").delete_repository(
            repositoryName=physical_id, force=truth(props.get("EmptyOnDelete", False))
        )

    def _scanning(self, props: dict[str, Any]) -> dict[str, bool]:
        scanning = props.get("ImageScanningConfiguration") or {}
        return {"scanOnPush": truth(scanning.get("ScanOnPush", False))}

    def _policies(self, ecr: Any, name: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        lifecycle = (new.get("LifecyclePolicy") or {}).get("LifecyclePolicyText")
        if lifecycle:
            ecr.put_lifecycle_policy(repositoryName=name, lifecyclePolicyText=lifecycle)
        elif old.get("LifecyclePolicy"):
            ecr.delete_lifecycle_policy(repositoryName=name)
        policy = new.get("RepositoryPolicyText")
        if policy:
            ecr.set_repository_policy(repositoryName=name, policyText=policy_text(policy))
        elif old.get("RepositoryPolicyText"):
            ecr.delete_repository_policy(repositoryName=name)

    def _made(self, repository: dict[str, Any]) -> Made:
        return Made(
            repository["repositoryName"],
            {"Arn": repository["repositoryArn"], "RepositoryUri": repository["repositoryUri"]},
        )
