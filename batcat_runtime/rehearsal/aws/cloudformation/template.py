"""CloudFormation templates: read, checked, and evaluated.

A template is data. `read_template` parses JSON or YAML and refuses what CloudFormation refuses
before it makes anything: unknown sections, unresolved references, circular dependencies, conditions
that do not exist, parameters without a value. `scope.py` evaluates what the template says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

import yaml  # type: ignore[import-untyped,unused-ignore]


def words(*lines: str) -> frozenset[str]:
    """Split lines of names into a set."""
    return frozenset(word for line in lines for word in line.split())


_SECTIONS = words(
    "AWSTemplateFormatVersion Conditions Description Hooks Mappings Metadata Outputs Parameters "
    "Resources Rules Transform"
)
_RESOURCE_KEYS = words(
    "Type Properties DependsOn Condition Metadata DeletionPolicy UpdateReplacePolicy "
    "CreationPolicy UpdatePolicy"
)
_DELETION_POLICIES = {"Delete", "Retain", "RetainExceptOnCreate", "Snapshot"}
_LOGICAL_ID = re.compile(r"[A-Za-z0-9]{1,255}")
SUBSTITUTION = re.compile(r"\$\{(!?)([^}]*)\}")
PSEUDO = frozenset(
    f"AWS::{name}"
    for name in ("AccountId", "NoValue", "Partition", "Region", "StackId", "StackName", "URLSuffix")
)


class TemplateError(Exception):
    """The template is refused; the text is CloudFormation's."""


class _Loader(yaml.SafeLoader):  # type: ignore[misc,unused-ignore]
    """YAML with CloudFormation's short tags, and without YAML's own dates."""


_Loader.yaml_implicit_resolvers = {
    key: [(tag, regex) for tag, regex in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for key, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _short_tag(loader: Any, suffix: str, node: Any) -> Any:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_tag)


@dataclass(frozen=True)
class Template:
    """A template that has passed the checks.

    Attributes
    ----------
    text : str
        The template as given.
    body : dict
        The template as data.
    order : tuple of str
        Logical ids, each after everything that it depends on.
    """

    text: str
    body: dict[str, Any]
    order: tuple[str, ...] = ()

    @property
    def returned(self) -> str:
        """The text as GetTemplate gives it back: with a question mark for other letters.

        A known fault of AWS's: aws-cloudformation/cloudformation-coverage-roadmap, issue 1220.
        """
        return "".join(letter if letter.isascii() else "?" for letter in self.text)

    def section(self, name: str) -> dict[str, Any]:
        """Return a section, empty when the template lacks it."""
        return dict(self.body.get(name) or {})

    @property
    def resources(self) -> dict[str, Any]:
        """The resources by logical id."""
        return self.section("Resources")


EMPTY = Template("", {"Resources": {}})


def read_template(text: str) -> Template:
    """Parse and check a template.

    Parameters
    ----------
    text : str
        JSON or YAML.

    Raises
    ------
    TemplateError
        With CloudFormation's own words.
    """
    try:
        body = json.loads(text)
    except ValueError:
        try:
            body = yaml.load(text, Loader=_Loader)
        except yaml.YAMLError as error:
            raise TemplateError(f"Template format error: YAML not well-formed. {error}") from None
    if not isinstance(body, dict):
        raise TemplateError("Template format error: unsupported structure.")
    _refuse_nulls(body, "")
    unknown = sorted(set(body) - _SECTIONS)
    if unknown:
        raise TemplateError(f"Invalid template property or properties [{', '.join(unknown)}]")
    if body.get("Transform"):
        raise TemplateError(f"Transforms are not in the embedded AWS: {body['Transform']}")
    resources = body.get("Resources")
    if not isinstance(resources, dict) or not resources:
        raise TemplateError("Template format error: At least one Resources member must be defined.")
    for name, resource in resources.items():
        _check_resource(name, resource, body)
    _check_references(body)
    return Template(text, body, _order(resources))


def parameter_values(
    template: Template, given: list[dict[str, Any]], previous: Mapping[str, Any]
) -> dict[str, Any]:
    """Return every parameter's value, checked against its declaration.

    Parameters
    ----------
    template : Template
        Declares the parameters.
    given : list of dict
        ``ParameterKey`` and ``ParameterValue`` or ``UsePreviousValue``.
    previous : mapping
        The stack's present values.
    """
    declared = template.section("Parameters")
    values: dict[str, Any] = {}
    for entry in given:
        key = entry["ParameterKey"]
        if key not in declared:
            raise TemplateError(f"Parameters: [{key}] do not exist in the template")
        values[key] = (
            previous.get(key) if entry.get("UsePreviousValue") else entry.get("ParameterValue")
        )
    for key, declaration in declared.items():
        if values.get(key) is None:
            values[key] = declaration.get("Default")
    missing = sorted(key for key in declared if values[key] is None)
    if missing:
        raise TemplateError(f"Parameters: [{', '.join(missing)}] must have values")
    for key, declaration in declared.items():
        values[key] = str(values[key])
        _check_parameter(key, values[key], declaration)
    return values


def references(node: Any) -> Iterator[str]:
    """Yield every name that an expression refers to, resources and parameters alike."""
    if isinstance(node, list):
        for item in node:
            yield from references(item)
    elif isinstance(node, dict):
        for key, argument in node.items():
            if key == "Ref" and isinstance(argument, str):
                yield argument
            elif key == "Fn::GetAtt":
                yield argument[0] if isinstance(argument, list) else argument.split(".")[0]
            elif key == "Fn::Sub":
                text, local = argument if isinstance(argument, list) else (argument, {})
                names = (name.strip() for bang, name in SUBSTITUTION.findall(text) if not bang)
                yield from (name.split(".")[0] for name in names if name not in local)
                yield from references(local)
            else:
                yield from references(argument)


def _refuse_nulls(node: Any, path: str) -> None:
    if node is None:
        raise TemplateError(f"[{path or '/'}] 'null' values are not allowed in templates")
    if isinstance(node, dict | list):
        for key, item in node.items() if isinstance(node, dict) else enumerate(node):
            _refuse_nulls(item, f"{path}/{key}")


def _check_resource(name: str, resource: Any, body: dict[str, Any]) -> None:
    if not _LOGICAL_ID.fullmatch(str(name)):
        raise TemplateError(f"Template format error: Resource name {name} is non alphanumeric.")
    if not isinstance(resource, dict) or not isinstance(resource.get("Type"), str):
        raise TemplateError(
            f"Template format error: [/Resources/{name}] Every Resources object must contain a "
            "Type member."
        )
    unknown = sorted(set(resource) - _RESOURCE_KEYS)
    if unknown:
        raise TemplateError(f"Invalid template resource property '{unknown[0]}' in resource {name}")
    for member in ("DeletionPolicy", "UpdateReplacePolicy"):
        if resource.get(member, "Delete") not in _DELETION_POLICIES:
            raise TemplateError(
                f"Template format error: Unrecognized {member} {resource[member]} for resource "
                f"{name}"
            )
    condition = resource.get("Condition")
    if condition is not None and condition not in (body.get("Conditions") or {}):
        raise TemplateError(
            f"Template format error: Unresolved condition {condition} in resource {name}"
        )


def _check_references(body: dict[str, Any]) -> None:
    known = {*body["Resources"], *(body.get("Parameters") or {}), *PSEUDO}
    for section in ("Resources", "Outputs"):
        missing = {name for name in references(body.get(section) or {}) if name not in known}
        for resource in body["Resources"].values() if section == "Resources" else ():
            missing |= {name for name in _depends_on(resource) if name not in body["Resources"]}
        if missing:
            raise TemplateError(
                f"Template format error: Unresolved resource dependencies "
                f"[{', '.join(sorted(missing))}] in the {section} block of the template"
            )


def _order(resources: dict[str, Any]) -> tuple[str, ...]:
    """Return logical ids after what they depend on, in the template's order where it is free."""
    needs = {
        name: {one for one in references(resource.get("Properties") or {}) if one in resources}
        | set(_depends_on(resource))
        for name, resource in resources.items()
    }
    try:
        return tuple(TopologicalSorter(needs).static_order())
    except CycleError as error:
        names = ", ".join(sorted(set(error.args[1])))
        raise TemplateError(f"Circular dependency between resources: [{names}]") from None


def _depends_on(resource: dict[str, Any]) -> list[str]:
    value = resource.get("DependsOn", [])
    return value if isinstance(value, list) else [value]


def _check_parameter(key: str, value: str, declared: dict[str, Any]) -> None:
    allowed = declared.get("AllowedValues")
    if allowed is not None and value not in [str(one) for one in allowed]:
        raise TemplateError(f"Parameter '{key}' must be one of AllowedValues")
    pattern = declared.get("AllowedPattern")
    if pattern is not None and not re.fullmatch(pattern, value):
        why = declared.get("ConstraintDescription") or f"must match pattern {pattern}"
        raise TemplateError(f"Parameter {key} failed to satisfy constraint: {why}")
    is_number = declared.get("Type") == "Number"
    if is_number and not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)", value):
        raise TemplateError(f"Parameter '{key}' must be a number.")
