"""Lambda functions and permissions for the embedded CloudFormation."""

from __future__ import annotations

import io
import zipfile
from typing import Any

from ..resources import Kind, Made, Place, chosen, tag_changes, words


class Function(Kind):
    """AWS::Lambda::Function."""

    type = "AWS::Lambda::Function"
    properties = words(
        "Architectures Code CodeSigningConfigArn DeadLetterConfig Description Environment "
        "EphemeralStorage FileSystemConfigs FunctionName Handler ImageConfig KmsKeyArn Layers "
        "LoggingConfig MemorySize PackageType RecursiveLoop ReservedConcurrentExecutions Role "
        "Runtime RuntimeManagementConfig SnapStart Tags Timeout TracingConfig VpcConfig"
    )
    required = ("Code", "Role")
    replacing = frozenset({"FunctionName", "PackageType"})
    named_by = "FunctionName"

    def create(self, place: Place, props: dict[str, Any]) -> Made:
        """Make it."""
        client = place.client("lambda")
        name = props.get("FunctionName") or place.generated_name(64)
        tags = place.all_tags(props.get("Tags"))
        answer = client.create_function(
            FunctionName=name,
            Code=self._code(props),
            **chosen(props, "PackageType", "Architectures"),
            **({"Tags": tags} if tags else {}),
            **self._configuration(props),
        )
        place.exists(name)
        self._reserve(client, name, {}, props)
        return Made(name, {"Arn": answer["FunctionArn"]})

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Made:
        """Change it in place."""
        client = place.client("lambda")
        # moto skips what is absent; a property that was taken away goes back to its default.
        configuration = {"Description": "", "Timeout": 3, "MemorySize": 128} | {
            "Environment": {"Variables": {}}
        }
        answer = client.update_function_configuration(
            FunctionName=physical_id, **{**configuration, **self._configuration(new)}
        )
        if new["Code"] != old["Code"]:
            code = self._code(new)
            client.update_function_code(FunctionName=physical_id, **code)
        self._reserve(client, physical_id, old, new)
        arn = answer["FunctionArn"]
        present = client.list_tags(Resource=arn).get("Tags", {})
        added, removed = tag_changes(present, place.all_tags(new.get("Tags")))
        if added:
            client.tag_resource(Resource=arn, Tags=added)
        if removed:
            client.untag_resource(Resource=arn, TagKeys=removed)
        return Made(physical_id, {"Arn": arn})

    def delete(self, place: Place, physical_id: str, props: dict[str, Any]) -> None:
        """Remove it."""
        place.client("lambda").delete_function(FunctionName=physical_id)

    def _configuration(self, props: dict[str, Any]) -> dict[str, Any]:
        settings = chosen(
            props,
            "DeadLetterConfig",
            "Description",
            "EphemeralStorage",
            "Handler",
            "ImageConfig",
            "Layers",
            "LoggingConfig",
            "Role",
            "Runtime",
            "TracingConfig",
        )
        for name in ("MemorySize", "Timeout"):
            if props.get(name) is not None:
                settings[name] = int(props[name])
        if props.get("KmsKeyArn"):
            settings["KMSKeyArn"] = props["KmsKeyArn"]
        if props.get("VpcConfig"):
            settings["VpcConfig"] = chosen(props["VpcConfig"], "SubnetIds", "SecurityGroupIds")
        if props.get("Environment"):
            variables = props["Environment"].get("Variables") or {}
            texts = {key: str(value) for key, value in variables.items()}
            settings["Environment"] = {"Variables": texts}
        return settings

    def _code(self, props: dict[str, Any]) -> dict[str, Any]:
        code = dict(props["Code"])
        if "ZipFile" in code:
            # Inline source lands in a file called index, as AWS does it.
            suffix = "js" if str(props.get("Runtime", "")).startswith("nodejs") else "py"
            return {"ZipFile": _zip(f"index.{suffix}", str(code["ZipFile"]))}
        return code

    def _reserve(self, client: Any, name: str, old: dict[str, Any], new: dict[str, Any]) -> None:
        reserved = new.get("ReservedConcurrentExecutions")
        if reserved is not None:
            client.put_function_concurrency(
                FunctionName=name, ReservedConcurrentExecutions=int(reserved)
            )
        elif old.get("ReservedConcurrentExecutions") is not None:
            client.delete_function_concurrency(FunctionName=name)


class Permission(Kind):
    """AWS::Lambda::Permission; any change makes a new statement."""

    type = "AWS::Lambda::Permission"
    properties = words(
        "Action EventSourceToken FunctionName FunctionUrlAuthType InvokedViaFunctionUrl Principal "
        "PrincipalOrgID SourceAccount SourceArn"
    )
    required = ("Action", "FunctionName", "Principal")
    replacing = properties

    def create(self, place: Place, props: dict[str, Any]) -> Made:
        """Make it."""
        statement = place.generated_name(100)
        place.client("lambda").add_permission(
            StatementId=statement,
            **chosen(
                props,
                "Action",
                "EventSourceToken",
                "FunctionName",
                "FunctionUrlAuthType",
                "Principal",
                "PrincipalOrgID",
                "SourceAccount",
                "SourceArn",
            ),
        )
        place.exists(statement)
        return Made(statement, {"Id": statement})

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Made:
        """Change it in place."""
        return Made(physical_id, {"Id": physical_id})

    def delete(self, place: Place, physical_id: str, props: dict[str, Any]) -> None:
        """Remove it."""
        place.client("lambda").remove_permission(
            FunctionName=props["FunctionName"], StatementId=physical_id
        )


def _zip(name: str, text: str) -> bytes:
    """Pack one file, the same bytes for the same text."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
        entry.external_attr = 0o644 << 16
        archive.writestr(entry, text)
    return buffer.getvalue()
