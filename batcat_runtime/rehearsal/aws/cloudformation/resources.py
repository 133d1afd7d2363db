"""Resource types of CloudFormation: what each type is, and what every type shares.

A `Kind` makes, changes and removes one type of resource by calling the service's own API, as AWS
does. So a name in a template passes exactly the examination that it passes from boto3, and the
resource that results is the one that the API would have made. Properties of a template have the
names of the API's parameters but for their capitals, and may be text where a number is meant;
`fitted` brings them into the API's shape by botocore's model of the service.
"""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from botocore import xform_name
from botocore.exceptions import ClientError

from ...clients import Clients
from ...wire import ACCOUNT_ID

KINDS: dict[str, Kind] = {}
# In the error codes of services that do not have what they are asked for.
GONE = ("NotFound", "NoSuch", "DoesNotExist")
_NUMBERS = {"integer": int, "long": int, "float": float, "double": float}


class ResourceError(Exception):
    """A resource could not be made, changed or removed; the text is the event's reason."""


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

    def call(
        self, service: str, operation: str, props: Mapping[str, Any], **more: Any
    ) -> dict[str, Any]:
        """Call an API with what it takes of a resource's properties, and more that it may take."""
        client = self.client(service)
        shape = client.meta.service_model.operation_model(operation).input_shape
        taken = fitted(shape, {**props, **more}, all_of_it=False)
        return dict(getattr(client, xform_name(operation))(**taken))

    def arn(self, service: str, resource: str) -> str:
        """Return an ARN in the stack's partition and region."""
        region = "" if service == "iam" else self.region
        return f"arn:{self.partition}:{service}:{region}:{ACCOUNT_ID}:{resource}"

    def new_name(self, limit: int, *, lower: bool = False) -> str:
        """Return a name as CloudFormation makes them up."""
        end = "".join(random.choices(string.ascii_letters + string.digits, k=12))
        made = f"{f'{self.stack_name}-{self.logical_id}'[: limit - 13]}-{end}"
        return made.lower() if lower else made

    def all_tags(self, props: Mapping[str, Any]) -> dict[str, str]:
        """Merge the stack's tags with the resource's own, which win."""
        own = props.get("Tags") or []
        listed = own.items() if isinstance(own, dict) else ((t["Key"], t["Value"]) for t in own)
        return {**self.tags, **{str(key): str(value) for key, value in listed}}

    def retag(self, service: str, props: Mapping[str, Any], **resource: str) -> None:
        """Bring the tags of a resource to what the template and the stack say.

        Parameters
        ----------
        service : str
            Whose resource it is.
        props : mapping
            The resource's properties.
        resource : str
            How the API names it: ``RoleName="..."``, ``ResourceArn="..."``.
        """
        known = self.client(service).meta.service_model.operation_names
        lists = next(n for n in ("ListRoleTags", "ListTagsForResource", "ListTags") if n in known)
        of = "Role" if lists == "ListRoleTags" else "Resource"
        answer = self.call(service, lists, resource)
        found: Any = next((value for name, value in answer.items() if name.lower() == "tags"), {})
        if isinstance(found, list):
            pairs = ({key.lower(): text for key, text in tag.items()} for tag in found)
            found = {tag["key"]: tag["value"] for tag in pairs}
        wanted = self.all_tags(props)
        changed = {key: text for key, text in wanted.items() if found.get(key) != text}
        gone = [key for key in found if key not in wanted]
        if changed:
            self.call(service, f"Tag{of}", resource, Tags=changed)
        if gone:
            self.call(service, f"Untag{of}", resource, TagKeys=gone)


def fitted(shape: Any, value: Any, *, all_of_it: bool = True) -> Any:
    """Bring a property into the shape that the API has for it.

    Parameters
    ----------
    shape : botocore.model.Shape
        The API's.
    value : Any
        The template's: names with other capitals, numbers and booleans as text, policies as data,
        tags as a mapping.
    all_of_it : bool
        Whether what the shape does not have is passed on, for botocore to refuse.
    """
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        members = {name.lower(): name for name in shape.members}
        return {
            members.get(key.lower(), key): fitted(shape.members[members[key.lower()]], item)
            if key.lower() in members
            else item
            for key, item in value.items()
            if item is not None and (all_of_it or key.lower() in members)
        }
    if kind == "list" and isinstance(value, dict):
        value = [{"Key": key, "Value": text} for key, text in value.items()]
    if kind == "list":
        value = value if isinstance(value, list) else [value]
        return [fitted(shape.member, item) for item in value]
    if kind == "map" and isinstance(value, dict):
        return {key: fitted(shape.value, item) for key, item in value.items()}
    if kind in _NUMBERS and isinstance(value, str):
        return _NUMBERS[kind](value)
    if kind == "boolean":
        return truth(value)
    if kind == "string" and not isinstance(value, str):
        return json.dumps(value)
    return value


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
    longest, lower : int, bool
        How long its name may be, in characters, and whether without capitals.
    defaults : dict
        What holds for properties that the template does not give, or no longer.
    service, creates, removes : str
        The service and its operations.
    updates : tuple of str
        Those that change it in place.
    reads : str
        The operation that finds one of the same name, where `creates` would take it over.
    named : str
        The parameter that names it when it is created.
    found_by : str
        The parameter that names it afterwards, if it is another.
    tagged_by : str
        The parameter that names it when its tags are changed; empty where it has none.
    arn : str
        The end of its ARN, with its properties and its ``id``: ``function:{id}``.
    is_arn : bool
        Whether its physical id is its ARN.
    """

    type: ClassVar[str] = ""
    properties: ClassVar[frozenset[str]] = frozenset()
    required: ClassVar[tuple[str, ...]] = ()
    replacing: ClassVar[frozenset[str]] = frozenset()
    named_by: ClassVar[str | None] = None
    longest: ClassVar[int] = 64
    lower: ClassVar[bool] = False
    defaults: ClassVar[dict[str, Any]] = {}
    service: ClassVar[str] = ""
    creates: ClassVar[str] = ""
    updates: ClassVar[tuple[str, ...]] = ()
    removes: ClassVar[str] = ""
    reads: ClassVar[str] = ""
    named: ClassVar[str] = "Name"
    found_by: ClassVar[str] = ""
    tagged_by: ClassVar[str] = ""
    arn: ClassVar[str] = ""
    is_arn: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        KINDS[cls.type] = cls()

    def create(self, place: Place, props: dict[str, Any]) -> str:
        """Make the resource; return its physical id."""
        given = props.get(self.named_by or "")
        name = given or place.new_name(self.longest, lower=self.lower)
        physical_id = self.arn_of(place, name, props) if self.is_arn else name
        if self.is_there(place, physical_id):
            raise ResourceError(
                f"Resource of type '{self.type}' with identifier '{physical_id}' already exists. "
                "(HandlerErrorCode: AlreadyExists)"
            )
        tags = place.all_tags(props)
        more = {self.named: name} | ({"Tags": tags} if tags else {})
        place.call(self.service, self.creates, self.settings(place, props), **more)
        place.exists(physical_id)
        self.settle(place, physical_id, {}, props)
        return physical_id

    def update(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> None:
        """Bring the resource from the old properties to the new ones."""
        settings = {key: text for key, text in self.settings(place, new).items() if key != "Tags"}
        name = {self.found_by or self.named: physical_id}
        for operation in self.updates:
            place.call(self.service, operation, settings, **name)
        self.settle(place, physical_id, old, new)
        if self.tagged_by:
            arn = self.arn_of(place, physical_id, new)
            named = physical_id if self.tagged_by == self.named else arn.removesuffix(":*")
            place.retag(self.service, new, **{self.tagged_by: named})

    def delete(self, place: Place, physical_id: str, props: dict[str, Any]) -> None:
        """Remove the resource."""
        name = {self.found_by or self.named: physical_id}
        place.call(self.service, self.removes, {**self.defaults, **props}, **name)

    def settings(self, place: Place, props: dict[str, Any]) -> dict[str, Any]:
        """Return what `creates` and `updates` are given, in the template's spelling."""
        return {**self.defaults, **props}

    def settle(
        self, place: Place, physical_id: str, old: dict[str, Any], new: dict[str, Any]
    ) -> None:
        """Do what takes further calls; `old` is empty for a new resource."""

    def is_there(self, place: Place, physical_id: str) -> bool:
        """Tell whether one of this name exists that `creates` would take over."""
        if not self.reads:
            return False
        try:
            place.call(self.service, self.reads, {self.found_by or self.named: physical_id})
        except ClientError as error:
            if not any(word in error.response["Error"]["Code"] for word in GONE):
                raise
            return False
        return True

    def attributes(self, place: Place, physical_id: str, props: dict[str, Any]) -> dict[str, Any]:
        """Return what `Fn::GetAtt` may ask for."""
        return {"Arn": self.arn_of(place, physical_id, props)} if self.arn else {}

    def arn_of(self, place: Place, name: str, props: dict[str, Any]) -> str:
        """Return its ARN."""
        if name.startswith("arn:"):
            return name
        service = {"stepfunctions": "states"}.get(self.service, self.service)
        return place.arn(service, self.arn.format(id=name, **{**self.defaults, **props}))

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


def truth(value: Any) -> bool:
    """Read a boolean that a template may give as text."""
    return value if isinstance(value, bool) else str(value).lower() == "true"
