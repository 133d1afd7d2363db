"""CodeBuild projects for the embedded CloudFormation."""

from __future__ import annotations

from typing import Any

from ..resources import Kind, Made, Place, lower_keys, tag_list, truth, words


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

    def create(self, place: Place, props: dict[str, Any]) -> Made:
        """Make it."""
        name = props.get("Name") or place.generated_name(150)
        answer = place.client("codebuild").create_project(name=name, **self._settings(place, props))
        place.exists(name)
        return Made(name, {"Arn": answer["project"]["arn"]})

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Made:
        """Change it in place."""
        settings = self._settings(place, new)
        answer = place.client("codebuild").update_project(name=physical_id, **settings)
        return Made(physical_id, {"Arn": answer["project"]["arn"]})

    def delete(self, place: Place, physical_id: str, props: dict[str, Any]) -> None:
        """Remove it."""
        place.client("codebuild").delete_project(name=physical_id)

    def _settings(self, place: Place, props: dict[str, Any]) -> dict[str, Any]:
        settings: dict[str, Any] = lower_keys(
            {key: value for key, value in props.items() if key not in ("Name", "Tags")}
        )
        source = settings["source"]
        if "buildSpec" in source:
            source["buildspec"] = source.pop("buildSpec")
        environment = settings["environment"]
        if "privilegedMode" in environment:
            environment["privilegedMode"] = truth(environment["privilegedMode"])
        for name in ("timeoutInMinutes", "queuedTimeoutInMinutes", "concurrentBuildLimit"):
            if name in settings:
                settings[name] = int(settings[name])
        tags = place.all_tags(props.get("Tags"))
        return {**settings, "tags": tag_list(tags, key="key", value="value")}
