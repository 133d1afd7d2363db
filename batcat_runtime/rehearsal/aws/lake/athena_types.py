"""Trino's types of expressions where sqlglot has none: decimals with their digits.

https://trino.io/docs/current/functions/decimal.html says what precision and scale a result has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlglot import exp
from sqlglot.dialects.trino import Trino
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.schema import Schema

from .types import numbers

_T = exp.DataType.Type
_DIGITS = {_T.TINYINT: 3, _T.SMALLINT: 5, _T.INT: 10, _T.BIGINT: 19}
_MAX = 38

Digits = tuple[int, int]


def annotated(query: exp.Expr, schema: Schema) -> exp.Expr:
    """Give every expression of a qualified query its type, where it can be known."""
    return annotate_types(query, schema=schema, dialect="trino", expression_metadata=_METADATA)


def decimal(digits: Digits) -> exp.DataType:
    """Return the decimal type of a precision and a scale."""
    return exp.DataType.build(f"DECIMAL({digits[0]}, {digits[1]})")


def is_decimal(node: exp.Expr) -> bool:
    """Tell whether an expression is a decimal whose digits are known."""
    return node.type is not None and node.type.this == _T.DECIMAL and len(numbers(node.type)) == 2


def _digits(node: exp.Expr | None) -> Digits | None:
    """Return precision and scale of a decimal or an integer."""
    if node is None or node.type is None:
        return None
    if is_decimal(node):
        precision, scale = numbers(node.type)
        return precision, scale
    return (_DIGITS[node.type.this], 0) if node.type.this in _DIGITS else None


def _exact(nodes: list[exp.Expr | None]) -> list[Digits] | None:
    """Return the digits of expressions that together are computed as decimals."""
    found = [_digits(one) for one in nodes if not isinstance(one, exp.Null)]
    if any(one is None for one in found) or not any(one and is_decimal(one) for one in nodes):
        return None
    return [one for one in found if one is not None]


def _sum(left: Digits, right: Digits) -> Digits:
    precision, scale = _common([left, right])
    return precision + 1, scale


def _product(left: Digits, right: Digits) -> Digits:
    return left[0] + right[0], left[1] + right[1]


def _quotient(left: Digits, right: Digits) -> Digits:
    return left[0] + right[1] + max(0, right[1] - left[1]), max(left[1], right[1])


def _common(listed: list[Digits]) -> Digits:
    scale = max(scale for _, scale in listed)
    return max(precision - scale for precision, scale in listed) + scale, scale


def _binary(kind: type[exp.Expr], rule: Callable[[Digits, Digits], Digits]) -> Any:
    def annotate(annotator: Any, node: exp.Binary) -> exp.Expr:
        found = _exact([node.left, node.right])
        if found is None:
            return _usual(annotator, node, kind)
        precision, scale = rule(*found)
        annotator._set_type(node, decimal((min(precision, _MAX), scale)))
        return node

    return {"annotator": annotate}


def _among(kind: type[exp.Expr], of: Callable[[Any], list[exp.Expr | None]]) -> Any:
    """Annotate an expression that is one of several."""

    def annotate(annotator: Any, node: exp.Expr) -> exp.Expr:
        found = _exact([one for one in of(node) if one is not None])
        if found is None:
            return _usual(annotator, node, kind)
        annotator._set_type(node, decimal(_common(found)))
        return node

    return {"annotator": annotate}


def _aggregate(kind: type[exp.Expr], rule: Callable[[Digits], Digits]) -> Any:
    def annotate(annotator: Any, node: exp.Expr) -> exp.Expr:
        found = _exact([node.this])
        if found is None:
            return _usual(annotator, node, kind)
        annotator._set_type(node, decimal(rule(found[0])))
        return node

    return {"annotator": annotate}


def _literal(annotator: Any, node: exp.Literal) -> exp.Expr:
    whole, point, fraction = node.name.partition(".")
    if node.is_string or not point or "e" in node.name.lower():
        return _usual(annotator, node, exp.Literal)
    scale = len(fraction)
    annotator._set_type(node, decimal((max(len(whole.lstrip("0")) + scale, 1), scale)))
    return node


def _usual(annotator: Any, node: exp.Expr, kind: type[exp.Expr]) -> exp.Expr:
    parts = [one for one in node.iter_expressions() if one.type is not None]
    floats = any(one.is_type(_T.DOUBLE, _T.FLOAT) for one in parts)
    if floats and any(map(is_decimal, parts)):
        annotator._set_type(node, _T.DOUBLE)
        return node
    spec: Any = Trino.EXPRESSION_METADATA[kind]
    if "annotator" in spec:
        spec["annotator"](annotator, node)
    else:
        annotator._set_type(node, spec["returns"])
    return node


_METADATA: Any = {
    **Trino.EXPRESSION_METADATA,
    exp.Literal: {"annotator": _literal},
    exp.Add: _binary(exp.Add, _sum),
    exp.Sub: _binary(exp.Sub, _sum),
    exp.Mul: _binary(exp.Mul, _product),
    exp.Div: _binary(exp.Div, _quotient),
    exp.Sum: _aggregate(exp.Sum, lambda digits: (_MAX, digits[1])),
    exp.Avg: _aggregate(exp.Avg, lambda digits: digits),
    exp.Case: _among(
        exp.Case, lambda n: [*(one.args["true"] for one in n.args["ifs"]), n.args.get("default")]
    ),
    exp.Coalesce: _among(exp.Coalesce, lambda n: [n.this, *n.expressions]),
}
