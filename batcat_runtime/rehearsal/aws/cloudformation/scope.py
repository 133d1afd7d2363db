"""What the expressions of a CloudFormation template come to.

A `Scope` holds what is known so far: parameters, physical ids, attributes. What depends on a
resource that does not exist yet is `UNKNOWN`, so the same code serves plans and deployments.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from .template import SUBSTITUTION, Template, TemplateError

UNKNOWN: Final = "{{changeSet:KNOWN_AFTER_APPLY}}"
_NO_VALUE: Final = object()


@dataclass
class Scope:
    """What expressions may refer to.

    Attributes
    ----------
    pseudo : dict
        Values of ``AWS::Region`` and its like.
    parameters : dict
        Parameter values, as text.
    ids : dict
        Physical ids by logical id; what is absent is UNKNOWN.
    attributes : dict
        ``Fn::GetAtt`` values by logical id.
    """

    template: Template
    pseudo: dict[str, Any]
    parameters: dict[str, Any]
    ids: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def holds(self, name: str | None) -> bool:
        """Tell whether a condition is true; no condition always is."""
        return name is None or bool(self._condition({"Condition": name}))

    def value(self, node: Any) -> Any:
        """Evaluate an expression; a removed value gives None."""
        result = self._value(node)
        return None if result is _NO_VALUE else result

    def _value(self, node: Any) -> Any:
        if isinstance(node, list):
            items = [self._value(item) for item in node]
            return [item for item in items if item is not _NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            (key, argument), *_ = node.items()
            if key == "Ref":
                return self._ref(argument)
            if key.startswith("Fn::"):
                function = _FUNCTIONS.get(key)
                if function is None:
                    raise TemplateError(f"Template validation error: unsupported function {key}")
                return function(self, argument)
        pairs = ((key, self._value(item)) for key, item in node.items())
        return {key: item for key, item in pairs if item is not _NO_VALUE}

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _NO_VALUE
        if name in self.pseudo:
            return self.pseudo[name]
        if name in self.parameters:
            declared = self.template.section("Parameters")[name]
            kind = str(declared.get("Type", "String"))
            text = self.parameters[name]
            listed = kind == "CommaDelimitedList" or kind.startswith("List<")
            return [part.strip() for part in text.split(",")] if listed else text
        return self.ids.get(name, UNKNOWN)

    def _get_att(self, argument: Any) -> Any:
        name, attribute = argument if isinstance(argument, list) else argument.split(".", 1)
        if name not in self.ids:
            return UNKNOWN
        attribute = str(self._value(attribute))
        known = self.attributes.get(name, {})
        if attribute not in known:
            raise TemplateError(
                f"Requested attribute {attribute} does not exist in schema for "
                f"{self.template.resources[name]['Type']}"
            )
        return known[attribute]

    def _sub(self, argument: Any) -> str:
        text, local = argument if isinstance(argument, list) else (argument, {})

        def replacement(match: re.Match[str]) -> str:
            literal, name = match.groups()
            if literal:
                return "${" + name + "}"
            name = name.strip()
            if name in local:
                return str(self._value(local[name]))
            return str(self._get_att(name) if "." in name else self._ref(name))

        return SUBSTITUTION.sub(replacement, text)

    def _join(self, argument: Any) -> str:
        items = self._value(argument[1])
        return str(argument[0]).join(str(item) for item in _as_list(items))

    def _if(self, argument: Any) -> Any:
        name, yes, no = argument
        return self._value(yes if self.holds(name) else no)

    def _condition(self, node: Any) -> Any:
        if isinstance(node, dict) and len(node) == 1:
            (key, argument), *_ = node.items()
            if key == "Condition":
                return self._condition(self.template.section("Conditions")[argument])
            if key == "Fn::Equals":
                left, right = (self._value(side) for side in argument)
                return str(left) == str(right)
            if key == "Fn::Not":
                return not self._condition(argument[0])
            if key == "Fn::And":
                return all(self._condition(one) for one in argument)
            if key == "Fn::Or":
                return any(self._condition(one) for one in argument)
        return self._value(node)


_FUNCTIONS: dict[str, Any] = {
    "Fn::GetAtt": Scope._get_att,
    "Fn::If": Scope._if,
    "Fn::Join": Scope._join,
    "Fn::Sub": Scope._sub,
}


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
