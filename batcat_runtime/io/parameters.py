"""Parameters of a query: bound by the server where it can, exact literals where it cannot.

One style for every engine: ``:name`` with a mapping, ``?`` with a sequence. The engines want
different things:

- Athena binds ``?`` in order (``ExecutionParameters``). Each value is itself written as a literal
  of at most 1,024 characters; a longer one goes into the query as that same literal.
- Redshift's wire binds ``?`` in order; the driver numbers them.
- Redshift's Data API binds ``:name`` and knows only texts that are not empty, so NULL and the empty
  text go into the query as literals.
- Redshift's UNLOAD and DECLARE CURSOR bind nothing: all values become literals.

A value that is a list, tuple or set becomes as many values, in parentheses: ``vin IN :vins``.
Not awswrangler's ``:name``, which pastes the values into the query and doubles no backslash for
Redshift (`test_texts_arrive_as_they_are_by_every_way`).
"""

from __future__ import annotations

import datetime as dt
import decimal
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from batcat_runtime.errors import UserError
from batcat_runtime.io.query import Dialect, filled, outline

Params: TypeAlias = Mapping[str, Any] | Sequence[Any]

_LONGEST = 1024
_NAME = re.compile(r"(?<![:\w\]\)]):([A-Za-z_]\w*)")
_MARK = re.compile(r"\?")
# the types whose literals are in quotes, and their names in Athena and Redshift
_NAMES = (
    (str, "", ""),
    (float, "DOUBLE", "::float8"),
    (decimal.Decimal, "DECIMAL", "::numeric"),
    (dt.datetime, "TIMESTAMP", "::timestamp"),
    (dt.date, "DATE", "::date"),
    (dt.time, "TIME", "::time"),
)
_KNOWN = (bool, int, bytes, *(kind for kind, _, _ in _NAMES))


def for_athena(query: str, params: Params | None) -> tuple[str, list[str]]:
    """Return the query with ``?`` and the literals for them.

    Raises
    ------
    UserError
        A parameter lacks a value, a value lacks a parameter, or is of a type that SQL lacks.

    Examples
    --------
    >>> for_athena("select 1 where vin = :vin", {"vin": "it's"})
    ('select 1 where vin = ?', ["'it''s'"])
    """
    values: list[str] = []

    def place(value: Any) -> str:
        literal = athena_literal(value)
        if len(literal) > _LONGEST:
            return literal
        values.append(literal)
        return "?"

    return _bound(query, params, "athena", place), values


def for_wire(query: str, params: Params | None) -> tuple[str, list[Any]]:
    """Return the query with ``?`` and Python values for them, for Redshift's wire."""
    values: list[Any] = []

    def place(value: Any) -> str:
        values.append(value)
        return "?"

    return _bound(query, params, "redshift", place), values


def for_data_api(query: str, params: Params | None) -> tuple[str, list[dict[str, str]]]:
    """Return the query with ``:p1``, ``:p2``, and the Data API's ``Parameters`` for them.

    Examples
    --------
    >>> for_data_api("select 1 where a = :a and b = :b", {"a": 1, "b": None})
    ('select 1 where a = :p1 and b = NULL', [{'name': 'p1', 'value': '1'}])
    """
    values: list[dict[str, str]] = []

    def place(value: Any) -> str:
        if value is None or value == "" or isinstance(value, bytes):
            return redshift_literal(value)
        values.append({"name": f"p{len(values) + 1}", "value": _text(value)})
        return f":p{len(values)}"

    return _bound(query, params, "redshift", place), values


def with_literals(query: str, params: Params | None) -> str:
    """Return a Redshift query with its parameters written into it, for what cannot bind any."""
    return _bound(query, params, "redshift", redshift_literal)


def athena_literal(value: Any) -> str:
    """Return a value as a literal of Athena's SQL.

    Examples
    --------
    >>> import datetime as dt
    >>> athena_literal(dt.date(2022, 1, 1))
    "DATE '2022-01-01'"
    """
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    text = _text(value).replace("'", "''")
    if _has_zone(value):
        text = f"{text[:-6]} {text[-6:]}"
    name = next((name for kind, name, _ in _NAMES if isinstance(value, kind)), None)
    return text if name is None else f"{name} '{text}'".lstrip()


def redshift_literal(value: Any) -> str:
    r"""Return a value as a literal of Redshift's SQL, in which a backslash escapes.

    Examples
    --------
    >>> print(redshift_literal("it's a \\"))
    'it''s a \\'
    """
    if isinstance(value, bytes):
        return f"FROM_HEX('{value.hex()}')"
    text = _text(value).replace("\\", "\\\\").replace("'", "''")
    name = next((name for kind, _, name in _NAMES if isinstance(value, kind)), None)
    if isinstance(value, decimal.Decimal):
        whole, _, fraction = text.lstrip("-").partition(".")
        name = f"::numeric({len(whole) + len(fraction)}, {len(fraction)})"
    elif _has_zone(value):
        name = f"{name}tz"
    return text if name is None else f"'{text}'{name}"


def _bound(query: str, params: Params | None, dialect: Dialect, place: Callable[[Any], str]) -> str:
    """Replace every parameter that stands in code; literals, comments and names stay."""
    if params is None:
        return query
    if isinstance(params, str | bytes) or not isinstance(params, Mapping | Sequence):
        raise UserError(
            f"params is a {type(params).__name__}.",
            fix="Give a dict for :name, for example {'vin': 'LSV1'}, or a list for ?.",
        )
    if not params:
        return query
    plan = outline(query, dialect)
    if isinstance(params, Mapping):
        marks = list(_NAME.finditer(plan))
        _check_names({mark[1] for mark in marks}, set(params))
        values = [(f":{mark[1]}", params[mark[1]]) for mark in marks]
    else:
        marks = list(_MARK.finditer(plan))
        if len(marks) != len(params):
            raise UserError(
                f"The query has {len(marks)} question marks for {len(params)} parameters.",
                fix="Give one value for each ?, in order; a ? inside quotes does not count.",
            )
        values = [(f"number {number}", value) for number, value in enumerate(params, start=1)]
    return filled(
        query,
        marks,
        [
            _placed(value, name, plan[: mark.start()], plan[mark.end() :], place)
            for mark, (name, value) in zip(marks, values, strict=True)
        ],
    )


def _check_names(wanted: set[str], given: set[str]) -> None:
    missing, unused = sorted(wanted - given), sorted(map(str, given - wanted))
    if missing:
        raise UserError(
            f"The query's parameter :{missing[0]} has no value.",
            fix=f"Give it: params={{'{missing[0]}': ...}}.",
        )
    if unused:
        raise UserError(
            f"The parameter {unused[0]!r} has no place in the query.",
            fix=f"Write :{unused[0]} where it belongs, without quotes; or leave it out.",
        )


def _placed(value: Any, name: str, before: str, after: str, place: Callable[[Any], str]) -> str:
    """Return what stands for a value in the query, between what comes before and after it."""
    if isinstance(value, list | tuple | set | frozenset):
        if not value:
            raise UserError(
                f"The parameter {name} is an empty list.", fix="Give at least one value."
            )
        texts = ", ".join(place(_plain(item, name)) for item in value)
        # the user's own parentheses are enough: in IN ((1, 2)) they would make a row of it
        own = before.rstrip().endswith("(") and after.lstrip().startswith(")")
        return texts if own else f"({texts})"
    text = place(_plain(value, name))
    # a literal must not grow together with a quotation mark or a minus beside it
    return (" " if before.endswith(("#", "-")) else "") + text + " " * after.startswith("#")


def _plain(value: Any, name: str) -> Any:
    """Return numpy's and pandas' scalars as Python's; refuse what SQL has no type for."""
    if type(value).__name__ == "datetime64":  # its own item() is a number of nanoseconds
        import pandas as pd

        value = pd.Timestamp(value)
    if hasattr(value, "to_pydatetime"):
        value = value if value != value else value.to_pydatetime(warn=False)
    elif type(value).__module__ == "numpy" and value.dtype.kind in "biufSU":
        value = value.item()
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, decimal.Decimal) and not value.is_finite():
        raise UserError(f"The parameter {name} is {value}, which no decimal of SQL can be.")
    if isinstance(value, str) and "\0" in value:
        raise UserError(f"The parameter {name} holds a NUL character, which SQL does not know.")
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    if not isinstance(value, _KNOWN):
        raise UserError(
            f"The parameter {name} is a {type(value).__name__}, for which SQL has no type.",
            fix="Give a text, number, boolean, date, datetime, time, bytes or None.",
        )
    return value


def _text(value: Any) -> str:
    """Return a value as the text that both engines read back as the same value."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, decimal.Decimal):
        return f"{value:f}"
    if isinstance(value, float):
        return repr(value).replace("nan", "NaN").replace("inf", "Infinity")
    if isinstance(value, dt.datetime | dt.time):
        # milliseconds where they say it all: they are what Athena's own columns have
        precision = "auto" if value.microsecond % 1000 else "milliseconds"
        if isinstance(value, dt.time):
            return value.isoformat(precision)
        if (value.utcoffset() or dt.timedelta()) % dt.timedelta(minutes=1):
            value = value.astimezone(dt.UTC)  # no engine reads an offset with seconds
        text: str = value.isoformat(" ", precision)
        return text
    return str(int(value)) if isinstance(value, int) else str(value)


def _has_zone(value: Any) -> bool:
    return isinstance(value, dt.datetime | dt.time) and value.utcoffset() is not None
