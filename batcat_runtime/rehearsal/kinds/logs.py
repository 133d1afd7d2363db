"""Log groups for the embedded CloudFormation."""

from __future__ import annotations

from typing import Any

from ..resources import Kind, Made, Place, ResourceError, tag_changes, words

_RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)


class LogGroup(Kind):
    """AWS::Logs::LogGroup."""

    type = "AWS::Logs::LogGroup"
    properties = words(
        "DataProtectionPolicy KmsKeyId LogGroupClass LogGroupName RetentionInDays Tags"
    )
    replacing = frozenset({"LogGroupName", "LogGroupClass"})
    named_by = "LogGroupName"

    def create(self, place: Place, props: dict[str, Any]) -> Made:
        """Make it."""
        logs = place.client("logs")
        name = props.get("LogGroupName") or place.generated_name(512)
        tags = place.all_tags(props.get("Tags"))
        extra: dict[str, Any] = {"tags": tags} if tags else {}
        if props.get("KmsKeyId"):
            extra["kmsKeyId"] = props["KmsKeyId"]
        logs.create_log_group(logGroupName=name, **extra)
        place.exists(name)
        self._retain(logs, name, props)
        return self._made(place, name)

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Made:
        """Change it in place."""
        logs = place.client("logs")
        self._retain(logs, physical_id, new)
        arn = place.arn("logs", f"log-group:{physical_id}")
        present = logs.list_tags_for_resource(resourceArn=arn)["tags"]
        added, removed = tag_changes(present, place.all_tags(new.get("Tags")))
        if added:
            logs.tag_resource(resourceArn=arn, tags=added)
        if removed:
            logs.untag_resource(resourceArn=arn, tagKeys=removed)
        return self._made(place, physical_id)

    def delete(self, place: Place, physical_id: str, props: dict[str, Any]) -> None:
        """Remove it."""
        place.client("logs").delete_log_group(logGroupName=physical_id)

    def _retain(self, logs: Any, name: str, props: dict[str, Any]) -> None:
        days = props.get("RetentionInDays")
        if days is None:
            logs.delete_retention_policy(logGroupName=name)
            return
        if int(days) not in _RETENTION_DAYS:
            raise ResourceError(
                f"1 validation error detected: Value '{days}' at 'retentionInDays' failed to "
                f"satisfy constraint: Member must satisfy enum value set: {list(_RETENTION_DAYS)}"
            )
        logs.put_retention_policy(logGroupName=name, retentionInDays=int(days))

    def _made(self, place: Place, name: str) -> Made:
        return Made(name, {"Arn": place.arn("logs", f"log-group:{name}:*")})
