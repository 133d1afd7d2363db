"""Roles, functions, state machines and build projects for the embedded CloudFormation."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any, ClassVar

from ..resources import Kind, Place, ResourceError
from ..template import words


class Role(Kind):
    """AWS::IAM::Role."""

    type = "AWS::IAM::Role"
    properties = words(
        "AssumeRolePolicyDocument Description ManagedPolicyArns MaxSessionDuration Path "
        "PermissionsBoundary Policies RoleName Tags"
    )
    required = ("AssumeRolePolicyDocument",)
    replacing = frozenset({"Path", "RoleName"})
    named_by = named = tagged_by = "RoleName"
    defaults: ClassVar[dict[str, Any]] = {
        "Description": "",
        "MaxSessionDuration": 3600,
        "Path": "/",
    }
    service, creates, removes = "iam", "CreateRole", "DeleteRole"
    updates = ("UpdateAssumeRolePolicy", "UpdateRole")
    arn = "role{Path}{id}"

    def settings(self, place: Place, props: dict[str, Any]) -> dict[str, Any]:
        """Spell the trust policy as both operations do."""
        trust = props["AssumeRolePolicyDocument"]
        return {**self.defaults, **props, "PolicyDocument": trust}

    def settle(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> None:
        """Bring its boundary and its policies to what the template says."""
        name, limit = {"RoleName": physical_id}, "PermissionsBoundary"
        if old and new.get(limit):
            place.call("iam", "PutRolePermissionsBoundary", name, **{limit: new[limit]})
        elif old.get(limit):
            place.call("iam", "DeleteRolePermissionsBoundary", name)
        wanted = {one["PolicyName"]: one for one in new.get("Policies") or []}
        for policy in wanted.values():
            place.call("iam", "PutRolePolicy", policy, **name)
        for one in old.get("Policies") or []:
            if one["PolicyName"] not in wanted:
                place.call("iam", "DeleteRolePolicy", one, **name)
        attached, before = new.get("ManagedPolicyArns") or [], old.get("ManagedPolicyArns") or []
        for arn in attached:
            if arn not in before:
                place.call("iam", "AttachRolePolicy", name, PolicyArn=arn)
        for arn in before:
            if arn not in attached:
                place.call("iam", "DetachRolePolicy", name, PolicyArn=arn)

    def delete(self, place: Place, physical_id: str, props: dict[str, Any]) -> None:
        """Remove it with its policies."""
        name = {"RoleName": physical_id}
        for policy in place.call("iam", "ListAttachedRolePolicies", name)["AttachedPolicies"]:
            place.call("iam", "DetachRolePolicy", policy, **name)
        for policy in place.call("iam", "ListRolePolicies", name)["PolicyNames"]:
            place.call("iam", "DeleteRolePolicy", name, PolicyName=policy)
        place.call("iam", "DeleteRole", name)


class Function(Kind):
    """AWS::Lambda::Function."""

    type = "AWS::Lambda::Function"
    properties = words(
        "Architectures Code DeadLetterConfig Description Environment EphemeralStorage FunctionName "
        "Handler ImageConfig KmsKeyArn Layers LoggingConfig MemorySize PackageType Role Runtime "
        "Tags Timeout TracingConfig VpcConfig"
    )
    required = ("Code", "Role")
    replacing = frozenset({"FunctionName", "PackageType"})
    named_by = named = "FunctionName"
    tagged_by = "Resource"
    # moto skips what is absent; a property that was taken away goes back to its default.
    defaults: ClassVar[dict[str, Any]] = {"Description": "", "Timeout": 3, "MemorySize": 128}
    service, creates, removes = "lambda", "CreateFunction", "DeleteFunction"
    updates = ("UpdateFunctionConfiguration",)
    arn = "function:{id}"

    def settings(self, place: Place, props: dict[str, Any]) -> dict[str, Any]:
        """Put source that stands in the template into an archive."""
        variables = {"Variables": {}, **(props.get("Environment") or {})}
        return {**self.defaults, **props, "Environment": variables, "Code": _code(props)}

    def settle(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> None:
        """Change its code."""
        if old and new["Code"] != old["Code"]:
            place.call("lambda", "UpdateFunctionCode", _code(new), FunctionName=physical_id)


def _code(props: dict[str, Any]) -> dict[str, Any]:
    code = dict(props["Code"])
    if "ZipFile" in code:
        # Source in the template lands in a file called index; the same bytes for the same text.
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            entry = zipfile.ZipInfo("index.py", date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            packed.writestr(entry, str(code["ZipFile"]))
        code["ZipFile"] = archive.getvalue()
    return code


class Permission(Kind):
    """AWS::Lambda::Permission; any change makes a new statement."""

    type = "AWS::Lambda::Permission"
    properties = words("Action FunctionName Principal PrincipalOrgID SourceAccount SourceArn")
    required = ("Action", "FunctionName", "Principal")
    replacing = properties
    named, longest = "StatementId", 100
    service, creates, removes = "lambda", "AddPermission", "RemovePermission"


class StateMachine(Kind):
    """AWS::StepFunctions::StateMachine."""

    type = "AWS::StepFunctions::StateMachine"
    properties = words(
        "Definition DefinitionS3Location DefinitionString DefinitionSubstitutions "
        "LoggingConfiguration RoleArn StateMachineName StateMachineType Tags TracingConfiguration"
    )
    required = ("RoleArn",)
    replacing = frozenset({"StateMachineName", "StateMachineType"})
    named_by, named, longest = "StateMachineName", "name", 80
    found_by, tagged_by = "stateMachineArn", "resourceArn"
    defaults: ClassVar[dict[str, Any]] = {"LoggingConfiguration": {"level": "OFF"}}
    service, creates, removes = "stepfunctions", "CreateStateMachine", "DeleteStateMachine"
    updates = ("UpdateStateMachine",)
    reads = "DescribeStateMachine"
    arn, is_arn = "stateMachine:{id}", True

    def settings(self, place: Place, props: dict[str, Any]) -> dict[str, Any]:
        """Fill in the definition."""
        if props.get("DefinitionS3Location"):
            body = place.call("s3", "GetObject", props["DefinitionS3Location"])["Body"]
            text = body.read().decode()
        elif props.get("Definition") is not None:
            text = json.dumps(props["Definition"])
        elif props.get("DefinitionString") is not None:
            text = str(props["DefinitionString"])
        else:
            raise ResourceError(
                "Properties validation failed: one of DefinitionString, Definition and "
                "DefinitionS3Location is required"
            )
        for key, value in (props.get("DefinitionSubstitutions") or {}).items():
            text = text.replace("${" + key + "}", str(value))
        kind = props.get("StateMachineType", "STANDARD")
        return {**self.defaults, **props, "Definition": text, "Type": kind}

    def attributes(self, place: Place, physical_id: str, props: dict[str, Any]) -> dict[str, Any]:
        """Return its ARN and name."""
        return {"Arn": physical_id, "Name": physical_id.rpartition(":")[2]}


class Project(Kind):
    """AWS::CodeBuild::Project."""

    type = "AWS::CodeBuild::Project"
    properties = words(
        "Artifacts Cache ConcurrentBuildLimit Description EncryptionKey Environment LogsConfig "
        "Name QueuedTimeoutInMinutes ServiceRole Source SourceVersion Tags TimeoutInMinutes "
        "VpcConfig"
    )
    required = ("Artifacts", "Environment", "ServiceRole", "Source")
    replacing = frozenset({"Name"})
    named_by, named, longest = "Name", "name", 150
    service, creates, removes = "codebuild", "CreateProject", "DeleteProject"
    arn = "project/{id}"

    def settle(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> None:
        """Change it with its tags, which CodeBuild knows no other way to change."""
        if old:
            tags = {"Name": physical_id, "Tags": place.all_tags(new)}
            place.call("codebuild", "UpdateProject", {**new, **tags})
