"""Resource types of CloudFormation: what each type is, and what every type shares.

A `Kind` makes, changes and removes one type of resource by calling the service's own API, as AWS
does. So a name in a template passes exactly the examination that it passes from boto3, and the
resource that results is the one that the API would have made. The kinds are in `kinds/`.
"""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from .clients import Clients
from .wire import ACCOUNT_ID

KINDS: dict[str, Kind] = {}


class ResourceError(Exception):
    """A resource could not be made, changed or removed; the text is the event's reason."""


@dataclass(frozen=True)
class Made:
    """A resource that exists: its physical id and what `Fn::GetAtt` may ask for."""

    physical_id: str
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Where a resource is made: the stack, and the way to the services."""

    clients: Clients
    region: str
    partition: str
    stack_name: str
    logical_id: str
    tags: dict[str, str]
    # To be called as soon as the resource exists, so that a later failure still removes it.
    exists: Callable[[str], None] = lambda physical_id: None

    @property
    def suffix(self) -> str:
        """The partition's domain, such as ``amazonaws.com.cn``."""
        return "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"

    def client(self, service: str) -> Any:
        """Return the client of a service in the stack's region."""
        return self.clients.get(service, self.region)

    def arn(self, service: str, resource: str, *, regional: bool = True) -> str:
        """Return an ARN in the stack's partition and region."""
        region = self.region if regional else ""
        return f"arn:{self.partition}:{service}:{region}:{ACCOUNT_ID}:{resource}"

    def generated_name(self, limit: int, *, lower: bool = False, stack: bool = True) -> str:
        """Make a name as CloudFormation does when the template gives none."""
        alphabet = string.ascii_letters + string.digits
        end = "".join(random.choices(alphabet, k=12))
        start = f"{self.stack_name}-{self.logical_id}" if stack else self.logical_id
        name = f"{start[: limit - 13]}-{end}"
        return name.lower() if lower else name

    def all_tags(self, own: Any) -> dict[str, str]:
        """Merge the stack's tags with the resource's own, which win."""
        listed = (
            own.items() if isinstance(own, dict) else ((t["Key"], t["Value"]) for t in own or [])
        )
        return {**self.tags, **{str(key): str(value) for key, value in listed}}


class Kind:
    """One resource type.

    Attributes
    ----------
    type : str
        Such as ``AWS::IAM::Role``.
    properties : frozenset of str
        What a template may say.
    required : tuple of str
        What it must say.
    replacing : frozenset of str
        Properties that cannot change without a new resource.
    named_by : str or None
        The property that names the resource; a named resource cannot be replaced under its name.
    """

    type: ClassVar[str] = ""
    properties: ClassVar[frozenset[str]] = frozenset()
    required: ClassVar[tuple[str, ...]] = ()
    replacing: ClassVar[frozenset[str]] = frozenset()
    named_by: ClassVar[str | None] = None

    def __init_subclass__(cls) -> None:
        KINDS[cls.type] = cls()

    def create(self, place: Place, props: dict[str, Any]) -> Made:
        """Make the resource."""
        raise NotImplementedError

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> Made:
        """Bring the resource from the old properties to the new ones."""
        raise NotImplementedError

    def delete(self, place: Place, physical_id: str, props: dict[str, Any]) -> None:
        """Remove the resource."""
        raise NotImplementedError

    def is_replaced(self, changed: set[str]) -> bool:
        """Tell whether a change of these properties needs a new resource."""
        return bool(changed & self.replacing)

    def check(self, logical_id: str, props: dict[str, Any]) -> None:
        """Refuse properties that the type does not have, and a lack of those that it needs."""
        problems = [
            f"required key [{name}] not found" for name in self.required if name not in props
        ]
        problems += [
            f"extraneous key [{name}] is not permitted"
            for name in sorted(set(props) - self.properties)
        ]
        if problems:
            text = ", ".join(f"#: {problem}" for problem in problems)
            raise ResourceError(
                f"Properties validation failed for resource {logical_id} with message:\n[{text}]"
            )


def lower_keys(value: Any) -> Any:
    """Spell keys as the JSON APIs do: first letter small, all the way down."""
    if isinstance(value, dict):
        return {key[:1].lower() + key[1:]: lower_keys(item) for key, item in value.items()}
    return [lower_keys(item) for item in value] if isinstance(value, list) else value


def words(*lines: str) -> frozenset[str]:
    """Split lines of names into a set."""
    return frozenset(word for line in lines for word in line.split())


def policy_text(document: Any) -> str:
    """Write a policy document as the APIs want it."""
    return document if isinstance(document, str) else json.dumps(document)


def truth(value: Any) -> bool:
    """Read a boolean that a template may give as text."""
    return value if isinstance(value, bool) else str(value).lower() == "true"


def chosen(props: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return the given members that are there."""
    return {name: props[name] for name in names if props.get(name) is not None}


def tag_list(
    tags: dict[str, str], *, key: str = "Key", value: str = "Value"
) -> list[dict[str, str]]:
    """Write tags as a list, in the spelling of the service."""
    return [{key: name, value: text} for name, text in tags.items()]


def tag_changes(old: dict[str, str], new: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the tags to set and the keys to remove."""
    changed = {key: text for key, text in new.items() if old.get(key) != text}
    return changed, [key for key in old if key not in new]
