"""Roles, functions, state machines and build projects for the embedded CloudFormation."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

from botocore.exceptions import ClientError

from ..resources import Kind, Made, Place, ResourceError, words


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
        name = place.name(props.get("RoleName"), 64)
        tags = place.all_tags(props)
        role = place.call("iam", "CreateRole", props, RoleName=name, Tags=tags)["Role"]
        place.exists(name)
        self._put_policies(place, name, {}, props)
        return _role(role)

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Made:
        """Change it in place."""
        name, trust = {"RoleName": physical_id}, new["AssumeRolePolicyDocument"]
        place.call("iam", "UpdateAssumeRolePolicy", name, PolicyDocument=trust)
        settings = {"Description": "", "MaxSessionDuration": 3600, **new, **name}
        place.call("iam", "UpdateRole", settings)
        boundary = new.get("PermissionsBoundary")
        if boundary:
            place.call("iam", "PutRolePermissionsBoundary", name, PermissionsBoundary=boundary)
        elif old.get("PermissionsBoundary"):
            place.call("iam", "DeleteRolePermissionsBoundary", name)
        self._put_policies(place, physical_id, old, new)
        place.retag("iam", new, "Role", RoleName=physical_id)
        return _role(place.call("iam", "GetRole", name)["Role"])

    def delete(self, place: Place, physical_id: str, props: dict[str, Any]) -> None:
        """Remove it."""
        name = {"RoleName": physical_id}
        attached = place.call("iam", "ListAttachedRolePolicies", name)["AttachedPolicies"]
        for policy in attached:
            place.call("iam", "DetachRolePolicy", policy, **name)
        for policy in place.call("iam", "ListRolePolicies", name)["PolicyNames"]:
            place.call("iam", "DeleteRolePolicy", name, PolicyName=policy)
        place.call("iam", "DeleteRole", name)

    def _put_policies(
        self, place: Place, role: str, old: dict[str, Any], new: dict[str, Any]
    ) -> None:
        wanted = {one["PolicyName"]: one for one in new.get("Policies") or []}
        for policy in wanted.values():
            place.call("iam", "PutRolePolicy", policy, RoleName=role)
        for one in old.get("Policies") or []:
            if one["PolicyName"] not in wanted:
                place.call("iam", "DeleteRolePolicy", one, RoleName=role)
        attached, before = new.get("ManagedPolicyArns") or [], old.get("ManagedPolicyArns") or []
        for operation, arns in (
            ("AttachRolePolicy", [arn for arn in attached if arn not in before]),
            ("DetachRolePolicy", [arn for arn in before if arn not in attached]),
        ):
            for arn in arns:
                place.call("iam", operation, {"RoleName": role, "PolicyArn": arn})


def _role(role: dict[str, Any]) -> Made:
    return Made(role["RoleName"], {"Arn": role["Arn"], "RoleId": role["RoleId"]})


class Function(Kind):
    """AWS::Lambda::Function."""

    type = "AWS::Lambda::Function"
    properties = words(
        "Architectures Code CodeSigningConfigArn DeadLetterConfig Description Environment "
        "EphemeralStorage FunctionName Handler ImageConfig KmsKeyArn Layers LoggingConfig "
        "MemorySize PackageType Role Runtime Tags Timeout TracingConfig VpcConfig"
    )
    required = ("Code", "Role")
    replacing = frozenset({"FunctionName", "PackageType"})
    named_by = "FunctionName"
    removal = ("lambda", "DeleteFunction", "FunctionName")

    def create(self, place: Place, props: dict[str, Any]) -> Made:
        """Make it."""
        name = place.name(props.get("FunctionName"), 64)
        more = {"FunctionName": name, "Code": _code(props), "Tags": place.all_tags(props)}
        answer = place.call("lambda", "CreateFunction", props, **more)
        place.exists(name)
        return Made(name, {"Arn": answer["FunctionArn"]})

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Made:
        """Change it in place."""
        name = {"FunctionName": physical_id}
        # moto skips what is absent; a property that was taken away goes back to its default.
        defaults = {"Description": "", "Timeout": 3, "MemorySize": 128, "Environment": {}}
        settings = {**defaults, **new, **name}
        settings["Environment"] = {"Variables": {}, **settings["Environment"]}
        arn = place.call("lambda", "UpdateFunctionConfiguration", settings)["FunctionArn"]
        if new["Code"] != old["Code"]:
            place.call("lambda", "UpdateFunctionCode", {**_code(new), **name})
        place.retag("lambda", new, Resource=arn)
        return Made(physical_id, {"Arn": arn})


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

    def create(self, place: Place, props: dict[str, Any]) -> Made:
        """Make it."""
        statement = place.name(None, 100)
        place.call("lambda", "AddPermission", props, StatementId=statement)
        place.exists(statement)
        return Made(statement, {"Id": statement})

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Made:
        """Change nothing: only the stack's tags changed, and a statement has none."""
        return Made(physical_id, {"Id": physical_id})

    def delete(self, place: Place, physical_id: str, props: dict[str, Any]) -> None:
        """Remove it."""
        place.call("lambda", "RemovePermission", props, StatementId=physical_id)


class StateMachine(Kind):
    """AWS::StepFunctions::StateMachine."""

    type = "AWS::StepFunctions::StateMachine"
    properties = words(
        "Definition DefinitionS3Location DefinitionString DefinitionSubstitutions "
        "LoggingConfiguration RoleArn StateMachineName StateMachineType Tags TracingConfiguration"
    )
    required = ("RoleArn",)
    replacing = frozenset({"StateMachineName", "StateMachineType"})
    named_by = "StateMachineName"
    removal = ("stepfunctions", "DeleteStateMachine", "stateMachineArn")

    def create(self, place: Place, props: dict[str, Any]) -> Made:
        """Make it."""
        name = place.name(props.get("StateMachineName"), 80, stack=False)
        arn = place.arn("states", f"stateMachine:{name}")
        try:
            place.call("stepfunctions", "DescribeStateMachine", {"stateMachineArn": arn})
        except ClientError:
            pass
        else:
            raise ResourceError(f"State Machine Already Exists: '{arn}'")
        more: dict[str, Any] = {"name": name, "definition": self._definition(place, props)}
        kind = props.get("StateMachineType", "STANDARD")
        more |= {"type": kind, "tags": place.all_tags(props)}
        answer = place.call("stepfunctions", "CreateStateMachine", _plain(props), **more)
        place.exists(answer["stateMachineArn"])
        return Made(arn, {"Arn": arn, "Name": name})

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Made:
        """Change it in place."""
        settings = {"LoggingConfiguration": {"level": "OFF"}} | _plain(new)
        definition = self._definition(place, new)
        more = {"stateMachineArn": physical_id, "definition": definition}
        place.call("stepfunctions", "UpdateStateMachine", settings, **more)
        place.retag("stepfunctions", new, resourceArn=physical_id)
        return Made(physical_id, {"Arn": physical_id, "Name": physical_id.rpartition(":")[2]})

    def _definition(self, place: Place, props: dict[str, Any]) -> str:
        if props.get("DefinitionS3Location"):
            answer = place.call("s3", "GetObject", props["DefinitionS3Location"])
            text = answer["Body"].read().decode()
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
        return str(text)


def _plain(props: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in props.items() if key not in ("Definition", "Tags")}


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
    named_by = "Name"
    removal = ("codebuild", "DeleteProject", "name")

    def create(self, place: Place, props: dict[str, Any]) -> Made:
        """Make it."""
        return self._put(place, "CreateProject", place.name(props.get("Name"), 150), props)

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Made:
        """Change it in place."""
        return self._put(place, "UpdateProject", physical_id, new)

    def _put(self, place: Place, operation: str, name: str, props: dict[str, Any]) -> Made:
        named = {**props, "Name": name, "Tags": place.all_tags(props)}
        answer = place.call("codebuild", operation, named)
        place.exists(name)
        return Made(name, {"Arn": answer["project"]["arn"]})
