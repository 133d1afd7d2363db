"""State machines for the embedded CloudFormation."""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import ClientError

from ..resources import (
    Kind,
    Made,
    Place,
    ResourceError,
    lower_keys,
    tag_changes,
    tag_list,
    truth,
    words,
)


class StateMachine(Kind):
    """AWS::StepFunctions::StateMachine."""

    type = "AWS::StepFunctions::StateMachine"
    properties = words(
        "Definition DefinitionS3Location DefinitionString DefinitionSubstitutions "
        "EncryptionConfiguration LoggingConfiguration RoleArn StateMachineName StateMachineType "
        "Tags TracingConfiguration"
    )
    required = ("RoleArn",)
    replacing = frozenset({"StateMachineName", "StateMachineType"})
    named_by = "StateMachineName"

    def create(self, place: Place, props: dict[str, Any]) -> Made:
        """Make it."""
        states = place.client("stepfunctions")
        name = props.get("StateMachineName") or place.generated_name(80, stack=False)
        tags = place.all_tags(props.get("Tags"))
        arn = place.arn("states", f"stateMachine:{name}")
        if _exists(states.describe_state_machine, stateMachineArn=arn):
            raise ResourceError(f"State Machine Already Exists: '{arn}'")
        arn = states.create_state_machine(
            name=name,
            definition=self._definition(place, props),
            roleArn=props["RoleArn"],
            type=props.get("StateMachineType", "STANDARD"),
            tags=tag_list(tags, key="key", value="value"),
            **self._configuration(props),
        )["stateMachineArn"]
        place.exists(arn)
        return Made(arn, {"Arn": arn, "Name": name})

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Made:
        """Change it in place."""
        states = place.client("stepfunctions")
        settings = {"loggingConfiguration": {"level": "OFF"}} | self._configuration(new)
        states.update_state_machine(
            stateMachineArn=physical_id,
            definition=self._definition(place, new),
            roleArn=new["RoleArn"],
            **settings,
        )
        listed = states.list_tags_for_resource(resourceArn=physical_id)["tags"]
        present = {tag["key"]: tag["value"] for tag in listed}
        added, removed = tag_changes(present, place.all_tags(new.get("Tags")))
        if added:
            tags = tag_list(added, key="key", value="value")
            states.tag_resource(resourceArn=physical_id, tags=tags)
        if removed:
            states.untag_resource(resourceArn=physical_id, tagKeys=removed)
        return Made(physical_id, {"Arn": physical_id, "Name": physical_id.rpartition(":")[2]})

    def delete(self, place: Place, physical_id: str, props: dict[str, Any]) -> None:
        """Remove it."""
        place.client("stepfunctions").delete_state_machine(stateMachineArn=physical_id)

    def _definition(self, place: Place, props: dict[str, Any]) -> str:
        if props.get("DefinitionS3Location"):
            source = props["DefinitionS3Location"]
            s3 = place.client("s3")
            answer = s3.get_object(Bucket=source["Bucket"], Key=source["Key"])
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

    def _configuration(self, props: dict[str, Any]) -> dict[str, Any]:
        settings: dict[str, Any] = {}
        if props.get("LoggingConfiguration"):
            logging = lower_keys(props["LoggingConfiguration"])
            if "includeExecutionData" in logging:
                logging["includeExecutionData"] = truth(logging["includeExecutionData"])
            settings["loggingConfiguration"] = logging
        if props.get("TracingConfiguration"):
            enabled = truth(props["TracingConfiguration"].get("Enabled", False))
            settings["tracingConfiguration"] = {"enabled": enabled}
        return settings


def _exists(describe: Any, **names: Any) -> bool:
    try:
        describe(**names)
    except ClientError:
        return False
    return True
