"""The operators of a policy's ``Condition``, as the IAM user guide describes them.

A key that the request does not carry makes a positive operator false, a negated one and those that
end in ``IfExists`` true. ``ForAllValues:`` and ``ForAnyValue:`` compare lists.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

Context = Mapping[str, Any]


def holds(condition: Mapping[str, Mapping[str, Any]], context: Context) -> bool:
    """Tell whether all of a statement's conditions are met.

    Parameters
    ----------
    condition : mapping
        ``{"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}``.
    context : mapping
        The request's keys and values; a value may be a list.

    Raises
    ------
    ValueError
        An operator that IAM does not have.
    """
    known = {key.lower(): value for key, value in context.items()}
    return all(
        _one_holds(operator, key, listed(wanted), known)
        for operator, keys in condition.items()
        for key, wanted in keys.items()
    )


def matches(pattern: str, text: str, *, ignore_case: bool = False) -> bool:
    """Tell whether ``*`` (any characters) and ``?`` (any one) make the pattern fit the text."""
    expression = "".join(
        ".*" if char == "*" else "." if char == "?" else re.escape(char) for char in pattern
    )
    flags = re.DOTALL | (re.IGNORECASE if ignore_case else 0)
    return re.fullmatch(expression, text, flags) is not None


def listed(value: Any) -> list[Any]:
    """Return a value that policies may write as one or as a list, as a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple | set | frozenset) else [value]


def _one_holds(operator: str, key: str, wanted: Sequence[Any], context: Context) -> bool:
    qualifier, _, name = operator.rpartition(":")
    if_exists = name.endswith("IfExists")
    name = name.removesuffix("IfExists")
    found = context.get(key.lower())
    if name == "Null":
        absent = found is None
        return any(absent == (str(one).lower() == "true") for one in wanted)
    compare, negated = _operator(name)
    if found is None or (qualifier and not listed(found)):
        return if_exists or qualifier == "ForAllValues" or (negated and not qualifier)

    def one_fits(value: Any) -> bool:
        some = any(compare(str(value), str(one)) for one in wanted)
        return not some if negated else some

    values = listed(found)
    if qualifier == "ForAllValues" or (negated and qualifier != "ForAnyValue"):
        return all(one_fits(value) for value in values)
    return any(one_fits(value) for value in values)


def _operator(name: str) -> tuple[Callable[[str, str], bool], bool]:
    if name in _OPERATORS:
        return _OPERATORS[name], False
    positive = name.replace("Not", "", 1)
    if "Not" in name and positive in _OPERATORS:
        return _OPERATORS[positive], True
    raise ValueError(f"IAM has no condition operator {name!r}")


def _same_text(value: str, wanted: str) -> bool:
    return value == wanted


def _same_letters(value: str, wanted: str) -> bool:
    return value.lower() == wanted.lower()


def _like(value: str, wanted: str) -> bool:
    return matches(wanted, value)


def _arn_like(value: str, wanted: str) -> bool:
    # Each of the six parts is matched by itself: a * does not reach over a colon.
    left, right = value.split(":", 5), wanted.split(":", 5)
    return len(left) == len(right) and all(
        matches(pattern, part) for pattern, part in zip(right, left, strict=True)
    )


def _numbers(test: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    return lambda value, wanted: test(float(value), float(wanted))


def _dates(test: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    return lambda value, wanted: test(_moment(value), _moment(wanted))


def _moment(text: str) -> float:
    if re.fullmatch(r"\d+", text):
        return float(text)
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _in_network(value: str, wanted: str) -> bool:
    return ipaddress.ip_address(value) in ipaddress.ip_network(wanted, strict=False)


_ORDER: dict[str, Callable[[float, float], bool]] = {
    "Equals": lambda a, b: a == b,
    "LessThan": lambda a, b: a < b,
    "LessThanEquals": lambda a, b: a <= b,
    "GreaterThan": lambda a, b: a > b,
    "GreaterThanEquals": lambda a, b: a >= b,
}
_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": _same_text,
    "StringEqualsIgnoreCase": _same_letters,
    "StringLike": _like,
    "ArnEquals": _arn_like,
    "ArnLike": _arn_like,
    "Bool": _same_letters,
    "BinaryEquals": _same_text,
    "IpAddress": _in_network,
    **{f"Numeric{name}": _numbers(test) for name, test in _ORDER.items()},
    **{f"Date{name}": _dates(test) for name, test in _ORDER.items()},
}
