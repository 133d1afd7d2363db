"""IAM's decision: whether a principal with these policies may do something.

The logic is the IAM user guide's, "How AWS enforcement code logic evaluates requests", for one
account: an explicit Deny anywhere wins; then a permissions boundary, if there is one, must allow;
then an identity policy or the resource's own policy must allow. What nobody allows is denied.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .conditions import holds, listed, matches

Document = Mapping[str, Any]
Reason = Literal["allowed", "implicit", "explicit", "boundary"]

_VARIABLE = re.compile(r"\$\{([^}]+)\}")
_LITERALS = {"*": "*", "?": "?", "$": "$"}


@dataclass(frozen=True)
class Need:
    """One permission that a call needs.

    Attributes
    ----------
    action : str
        Such as ``s3:GetObject``.
    resource : str
        The ARN, ``*`` where the action has no resource, or ``""`` where the embedded AWS cannot
        tell which one it is: then an Allow of the action for any resource will do.
    context : mapping
        What conditions may ask for, such as ``iam:PassedToService``.
    """

    action: str
    resource: str = "*"
    context: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """Whether a need is met, and if not, why: nobody allows it, somebody denies it, a boundary."""

    reason: Reason

    @property
    def allowed(self) -> bool:
        """Whether the call may go on."""
        return self.reason == "allowed"


def decide(
    policies: Iterable[Document],
    need: Need,
    *,
    boundary: Document | None = None,
    context: Mapping[str, Any] | None = None,
) -> Decision:
    """Decide whether identity policies allow what a call needs.

    Parameters
    ----------
    policies : iterable of mapping
        The principal's policy documents.
    need : Need
        What is asked for.
    boundary : mapping, optional
        The principal's permissions boundary.
    context : mapping, optional
        Keys that hold for the whole request, such as ``aws:PrincipalArn``; the need's own win.
    """
    keys = {**(context or {}), **need.context}
    documents = list(policies)
    everything = [*documents, boundary] if boundary is not None else documents
    if any(_says("Deny", one, need, keys) for one in everything):
        return Decision("explicit")
    if boundary is not None and not _says("Allow", boundary, need, keys):
        return Decision("boundary")
    if any(_says("Allow", one, need, keys) for one in documents):
        return Decision("allowed")
    return Decision("implicit")


def lets_service(policy: Document, service: str, action: str, source: str = "") -> bool:
    """Tell whether a resource's own policy, or a role's trust, lets a service do something.

    Parameters
    ----------
    policy : mapping
        The policy document.
    service, action : str
        ``events.amazonaws.com`` (the same in every partition) and ``sns:Publish``.
    source : str
        The ARN of what the service acts for; without one, conditions are not looked at.
    """
    spoken = []
    for statement in statements(policy):
        principal = statement.get("Principal")
        named = listed(principal.get("Service") if isinstance(principal, Mapping) else principal)
        if {service, "*"} & set(named):
            spoken.append(statement if source else {**statement, "Condition": {}})
    account = source.split(":")[4] if source else ""
    need = Need(action, "", {"aws:SourceArn": source, "aws:SourceAccount": account})
    return decide([{"Statement": spoken}], need).allowed


def statements(document: Document) -> list[Mapping[str, Any]]:
    """Return a document's statements; one statement may stand without its list."""
    return listed(document.get("Statement"))


def _says(effect: str, document: Document, need: Need, keys: Mapping[str, Any]) -> bool:
    return any(
        one.get("Effect") == effect
        and _covers_action(one, need.action)
        and _covers_resource(one, need.resource, keys, denying=effect == "Deny")
        and holds(_filled(one.get("Condition") or {}, keys), keys)
        for one in statements(document)
    )


def _covers_action(statement: Mapping[str, Any], action: str) -> bool:
    patterns = listed(statement.get("Action", statement.get("NotAction")))
    found = any(matches(str(one), action, ignore_case=True) for one in patterns)
    return found if "Action" in statement else not found


def _covers_resource(
    statement: Mapping[str, Any], resource: str, keys: Mapping[str, Any], *, denying: bool
) -> bool:
    if not resource:
        return not denying
    patterns = listed(statement.get("Resource", statement.get("NotResource")))
    found = any(matches(_fill(str(one), keys), resource) for one in patterns)
    return found if "Resource" in statement else not found


def _filled(condition: Mapping[str, Any], keys: Mapping[str, Any]) -> dict[str, Any]:
    return {
        operator: {
            key: [_fill(str(one), keys) for one in listed(wanted)] for key, wanted in pairs.items()
        }
        for operator, pairs in condition.items()
    }


def _fill(text: str, keys: Mapping[str, Any]) -> str:
    """Put values in the place of policy variables; one without a value matches nothing."""
    known = {key.lower(): value for key, value in keys.items()}

    def value(match: re.Match[str]) -> str:
        name, _, default = match[1].partition(",")
        name = name.strip()
        if name in _LITERALS:
            return _LITERALS[name]
        found = listed(known.get(name.lower()))
        if len(found) == 1:
            return str(found[0])
        return default.strip().strip("'") if default else "\0"

    return _VARIABLE.sub(value, text)
