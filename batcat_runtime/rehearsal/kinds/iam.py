"""Roles and policies of IAM for the embedded CloudFormation."""

from __future__ import annotations

from typing import Any

from ..resources import Kind, Made, Place, chosen, policy_text, tag_changes, tag_list, words


class Role(Kind):
    """AWS::IAM::Role."""

    type = "AWS::IAM::Role"
    properties = words(
        "AssumeRolePolicyDocument Description ManagedPolicyArns MaxSessionDuration Path "
        "PermissionsBoundary Policies RoleName Tags"
    )
    required = ("AssumeRolePolicyDocument",)
    replacing = frozenset({"Path", "RoleName"})
    named_by = "RoleName"

    def create(self, place: Place, props: dict[str, Any]) -> Made:
        """Make it."""
        iam = place.client("iam")
        name = props.get("RoleName") or place.generated_name(64)
        extra = chosen(props, "Path", "Description", "PermissionsBoundary")
        if props.get("MaxSessionDuration") is not None:
            extra["MaxSessionDuration"] = int(props["MaxSessionDuration"])
        tags = place.all_tags(props.get("Tags"))
        role = iam.create_role(
            RoleName=name,
            AssumeRolePolicyDocument=policy_text(props["AssumeRolePolicyDocument"]),
            Tags=tag_list(tags),
            **extra,
        )["Role"]
        place.exists(name)
        self._put_policies(iam, name, {}, props)
        return self._made(role)

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Made:
        """Change it in place."""
        iam = place.client("iam")
        iam.update_assume_role_policy(
            RoleName=physical_id, PolicyDocument=policy_text(new["AssumeRolePolicyDocument"])
        )
        iam.update_role(
            RoleName=physical_id,
            Description=new.get("Description", ""),
            MaxSessionDuration=int(new.get("MaxSessionDuration", 3600)),
        )
        boundary = new.get("PermissionsBoundary")
        if boundary != old.get("PermissionsBoundary"):
            if boundary:
                iam.put_role_permissions_boundary(
                    RoleName=physical_id, PermissionsBoundary=boundary
                )
            else:
                iam.delete_role_permissions_boundary(RoleName=physical_id)
        self._put_policies(iam, physical_id, old, new)
        role = iam.get_role(RoleName=physical_id)["Role"]
        present = {tag["Key"]: tag["Value"] for tag in role.get("Tags", [])}
        added, removed = tag_changes(present, place.all_tags(new.get("Tags")))
        if added:
            iam.tag_role(RoleName=physical_id, Tags=tag_list(added))
        if removed:
            iam.untag_role(RoleName=physical_id, TagKeys=removed)
        return self._made(role)

    def delete(self, place: Place, physical_id: str, props: dict[str, Any]) -> None:
        """Remove it."""
        iam = place.client("iam")
        attached = iam.list_attached_role_policies(RoleName=physical_id)["AttachedPolicies"]
        for policy in attached:
            iam.detach_role_policy(RoleName=physical_id, PolicyArn=policy["PolicyArn"])
        for name in iam.list_role_policies(RoleName=physical_id)["PolicyNames"]:
            iam.delete_role_policy(RoleName=physical_id, PolicyName=name)
        iam.delete_role(RoleName=physical_id)

    def _put_policies(self, iam: Any, name: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        wanted = {one["PolicyName"]: one["PolicyDocument"] for one in new.get("Policies") or []}
        for policy_name, document in wanted.items():
            iam.put_role_policy(
                RoleName=name, PolicyName=policy_name, PolicyDocument=policy_text(document)
            )
        for one in old.get("Policies") or []:
            if one["PolicyName"] not in wanted:
                iam.delete_role_policy(RoleName=name, PolicyName=one["PolicyName"])
        attached, before = new.get("ManagedPolicyArns") or [], old.get("ManagedPolicyArns") or []
        for arn in attached:
            if arn not in before:
                iam.attach_role_policy(RoleName=name, PolicyArn=arn)
        for arn in before:
            if arn not in attached:
                iam.detach_role_policy(RoleName=name, PolicyArn=arn)

    def _made(self, role: dict[str, Any]) -> Made:
        return Made(role["RoleName"], {"Arn": role["Arn"], "RoleId": role["RoleId"]})


class ManagedPolicy(Kind):
    """AWS::IAM::ManagedPolicy."""

    type = "AWS::IAM::ManagedPolicy"
    properties = words("Description Groups ManagedPolicyName Path PolicyDocument Roles Users")
    required = ("PolicyDocument",)
    replacing = frozenset({"Description", "ManagedPolicyName", "Path"})
    named_by = "ManagedPolicyName"

    def create(self, place: Place, props: dict[str, Any]) -> Made:
        """Make it."""
        iam = place.client("iam")
        policy = iam.create_policy(
            PolicyName=props.get("ManagedPolicyName") or place.generated_name(128),
            PolicyDocument=policy_text(props["PolicyDocument"]),
            **chosen(props, "Path", "Description"),
        )["Policy"]
        place.exists(policy["Arn"])
        for role in props.get("Roles") or []:
            iam.attach_role_policy(RoleName=role, PolicyArn=policy["Arn"])
        return Made(policy["Arn"], {"PolicyArn": policy["Arn"], "PolicyId": policy["PolicyId"]})

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Made:
        """Change it in place."""
        iam = place.client("iam")
        policy = iam.get_policy(PolicyArn=physical_id)["Policy"]
        if new["PolicyDocument"] != old["PolicyDocument"]:
            iam.create_policy_version(
                PolicyArn=physical_id,
                PolicyDocument=policy_text(new["PolicyDocument"]),
                SetAsDefault=True,
            )
            iam.delete_policy_version(PolicyArn=physical_id, VersionId=policy["DefaultVersionId"])
        now, before = set(new.get("Roles") or []), set(old.get("Roles") or [])
        for role in sorted(now - before):
            iam.attach_role_policy(RoleName=role, PolicyArn=physical_id)
        for role in sorted(before - now):
            iam.detach_role_policy(RoleName=role, PolicyArn=physical_id)
        return Made(physical_id, {"PolicyArn": physical_id, "PolicyId": policy["PolicyId"]})

    def delete(self, place: Place, physical_id: str, props: dict[str, Any]) -> None:
        """Remove it."""
        iam = place.client("iam")
        for role in iam.list_entities_for_policy(PolicyArn=physical_id)["PolicyRoles"]:
            iam.detach_role_policy(RoleName=role["RoleName"], PolicyArn=physical_id)
        iam.delete_policy(PolicyArn=physical_id)
