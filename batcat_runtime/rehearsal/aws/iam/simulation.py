"""IAM's policy simulator: what a user or role may do, without doing it; moto has none.

Source: IAM API reference, SimulatePrincipalPolicy.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ...operations import Operation
from ...wire import Call, ServiceError
from .evaluation import Need, decide

_WORDS = {
    "allowed": "allowed",
    "implicit": "implicitDeny",
    "explicit": "explicitDeny",
    "boundary": "implicitDeny",
}
# From the ARN of a user or role to its policies and boundary, as text; None when there is none.
PoliciesOf = Callable[[str], tuple[list[str], str | None] | None]


def operations(policies_of: PoliciesOf) -> dict[tuple[str, str], Operation]:
    """Return what is performed here."""

    def simulate(call: Call) -> dict[str, Any]:
        source = str(call.params["PolicySourceArn"])
        found = policies_of(source)
        if found is None:
            raise ServiceError("NoSuchEntity", f"The entity {source} cannot be found.", 404)
        texts, boundary = found
        limit = json.loads(boundary) if boundary else None
        context = {
            one["ContextKeyName"]: one["ContextKeyValues"]
            for one in call.params.get("ContextEntries") or []
        }
        results = []
        for action in call.params["ActionNames"]:
            for resource in call.params.get("ResourceArns") or ["*"]:
                need = Need(action, resource, context)
                reason = decide(map(json.loads, texts), need, boundary=limit).reason
                results.append(
                    {
                        "EvalActionName": action,
                        "EvalResourceName": resource,
                        "EvalDecision": _WORDS[reason],
                    }
                )
        return {"EvaluationResults": results, "IsTruncated": False}

    return {("iam", "SimulatePrincipalPolicy"): simulate}
