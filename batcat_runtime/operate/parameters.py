"""The further parameters of a run: as a script finds them in ``job.parameters``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from batcat_runtime.errors import UserError

_MOST = 256  # SageMaker's limit for an environment variable


def checked_params(params: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return parameters, checked.

    Raises
    ------
    UserError
        A value is no text, number or boolean, or all together are too long.
    """
    given = dict(params or {})
    if not all(isinstance(value, str | int | float | bool) for value in given.values()):
        raise UserError("params must hold texts, numbers and booleans.")
    if len(json.dumps(given)) > _MOST:
        raise UserError(
            f"params is longer than {_MOST} characters as JSON.",
            fix="Put what is long into a file in S3, and give its address.",
        )
    return given


def params_of(texts: Sequence[str] | None) -> dict[str, str | int | float | bool]:
    """Return parameters from texts such as ``limit=3``: a value is a JSON scalar, or else text.

    Raises
    ------
    UserError
        One has no equals sign or no name, or is a list, an object, null or NaN.
    """
    found: dict[str, str | int | float | bool] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UserError(
                f"{text!r} is no parameter.", fix="Write it as name=value, e.g. --param limit=10."
            )
        try:
            parsed = json.loads(value)
        except ValueError:
            parsed = value
        if not isinstance(parsed, str | int | float | bool) or parsed != parsed:
            raise UserError(
                f"The parameter {name.strip()} is {value}, which is no text, number or boolean.",
                fix="Give one value; for a list give several parameters, or a file's address.",
            )
        found[name.strip()] = parsed
    return found
