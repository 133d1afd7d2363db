"""What differs between two templates, as a person reads it: one text a part, then a unified diff.

A state machine's definition and a policy are JSON, pretty-printed; a Lambda function's code is
Python; all else of a resource is its properties. What CloudFormation fills in is written as
``${Name}``, whichever of its functions does that.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_CONTEXT = 3


@dataclass(frozen=True)
class Difference:
    """What would change in one part of a resource.

    Attributes
    ----------
    stack, resource, type : str
        The resource.
    part : str
        ``definition``, ``code``, ``trust``, ``permissions`` or ``properties``.
    diff : str
        A unified diff without its two lines of file names.
    """

    stack: str
    resource: str
    type: str
    part: str
    diff: str


def differences(
    stack: str, before: dict[str, Any], after: dict[str, Any]
) -> tuple[Difference, ...]:
    """Return what differs in the resources of a stack that stay or come.

    Parameters
    ----------
    stack : str
        Its name.
    before, after : dict
        Two templates; an empty one has no resources.
    """
    present: dict[str, Any] = before.get("Resources", {})
    found = []
    for name, resource in after["Resources"].items():
        old, new = parts_of(present.get(name) or {}), parts_of(resource)
        for part in dict.fromkeys([*new, *old]):
            text = "\n".join(_diff(old.get(part, ""), new.get(part, "")))
            if text:
                found.append(Difference(stack, name, resource["Type"], part, text))
    return tuple(found)


def parts_of(resource: dict[str, Any]) -> dict[str, str]:
    """Return the texts that a resource consists of, by the name of the part."""
    properties = dict(resource.get("Properties") or {})
    parts: dict[str, str] = {}
    if "DefinitionString" in properties:
        parts["definition"] = _definition(readable(properties.pop("DefinitionString")))
    if isinstance(properties.get("Code"), dict) and "ZipFile" in properties["Code"]:
        parts["code"] = str(readable(properties.pop("Code")["ZipFile"]))
    if "AssumeRolePolicyDocument" in properties:
        parts["trust"] = _json(properties.pop("AssumeRolePolicyDocument"))
    for policy in properties.pop("Policies", None) or []:
        parts["permissions"] = parts.get("permissions", "") + _json(policy["PolicyDocument"])
    if properties:
        parts["properties"] = _json(properties)
    return parts


def readable(value: Any) -> Any:
    """Return a value of a template with CloudFormation's functions as ``${Name}``, at any depth.

    Examples
    --------
    >>> readable({"Role": {"Fn::GetAtt": ["JobRole", "Arn"]}, "Id": {"Fn::Sub": "${!x}-${A}"}})
    {'Role': '${JobRole.Arn}', 'Id': '${x}-${A}'}
    """
    if isinstance(value, list):
        return [readable(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((key, item),) = value.items()
        if key == "Fn::Sub" and isinstance(item, str):
            return item.replace("${!", "${")
        if key == "Ref":
            return f"${{{item}}}"
        if key == "Fn::GetAtt":
            return f"${{{item if isinstance(item, str) else '.'.join(map(str, item))}}}"
    return {key: readable(item) for key, item in value.items()}


def _definition(text: Any) -> str:
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (TypeError, ValueError):
        return str(text)


def _json(value: Any) -> str:
    return json.dumps(readable(value), indent=2, ensure_ascii=False) + "\n"


def _diff(old: str, new: str) -> Iterator[str]:
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), n=_CONTEXT, lineterm="")
    # Two lines of file names come first, if anything differs.
    return (line for number, line in enumerate(lines) if number > 1)
