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
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from batcat_runtime.errors import UserError
from batcat_runtime.io.query import Dialect, filled, outline

Params: TypeAlias = Mapping[str, Any] | Sequence[Any]

_LONGEST = 1024
_FLOATS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_NAME = re.compile(r"(?<![:\w\]\)]):([A-Za-z_]\w*)")


def _moment(value: dt.datetime | dt.time) -> str:
    # milliseconds where they say it all: they are what Athena's own columns have
    precision = "auto" if value.microsecond % 1000 else "milliseconds"
    if isinstance(value, dt.time):
        return value.isoformat(precision)
    if (value.utcoffset() or dt.timedelta()) % dt.timedelta(minutes=1):
        value = value.astimezone(dt.UTC)  # no engine reads an offset with seconds
    return value.isoformat(" ", precision)


# a type, its values as the text that both engines read back, its literals in Athena and Redshift
_LITERALS: tuple[tuple[type, Callable[[Any], str], str, str], ...] = (
    (type(None), lambda _: "NULL", "{}", "{}"),
    (bool, lambda value: str(value).lower(), "{}", "{}"),
    (int, "{:d}".format, "{}", "{}"),
    (float, lambda value: _FLOATS.get(repr(value), repr(value)), "DOUBLE '{}'", "'{}'::float8"),
    (decimal.Decimal, "{:f}".format, "DECIMAL '{}'", "'{}'::numeric"),
    (str, str, "'{}'", "'{}'"),
    (bytes, bytes.hex, "X'{}'", "FROM_HEX('{}')"),
    (dt.datetime, _moment, "TIMESTAMP '{}'", "'{}'::timestamp"),
    (dt.date, dt.date.isoformat, "DATE '{}'", "'{}'::date"),
    (dt.time, _moment, "TIME '{}'", "'{}'::time"),
)


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
    text, values = _bound(
        query, params, "athena", lambda value: len(athena_literal(value)) > _LONGEST
    )
    return text, [athena_literal(value) for value in values]


def for_wire(query: str, params: Params | None) -> tuple[str, list[Any]]:
    """Return the query with ``?`` and Python values for them, for Redshift's wire."""
    return _bound(query, params, "redshift", lambda _: False)


def for_data_api(query: str, params: Params | None) -> tuple[str, list[dict[str, str]]]:
    """Return the query with ``:p1``, ``:p2``, and the Data API's ``Parameters`` for them.

    Examples
    --------
    >>> for_data_api("select 1 where a = :a and b = :b", {"a": 1, "b": None})
    ('select 1 where a = :p1 and b = NULL', [{'name': 'p1', 'value': '1'}])
    """
    text, values = _bound(
        query,
        params,
        "redshift",
        lambda value: value is None or value == "" or isinstance(value, bytes),
        mark=":p{}",
    )
    return text, [
        {"name": f"p{number}", "value": _spelled(value)[0]}
        for number, value in enumerate(values, start=1)
    ]


def with_literals(query: str, params: Params | None) -> str:
    """Return a Redshift query with its parameters written into it, for what cannot bind any."""
    return _bound(query, params, "redshift", lambda _: True)[0]


def athena_literal(value: Any) -> str:
    """Return a value as a literal of Athena's SQL.

    Examples
    --------
    >>> import datetime as dt
    >>> athena_literal(dt.date(2022, 1, 1))
    "DATE '2022-01-01'"
    """
    text, literal, _ = _spelled(value)
    if _has_zone(value):
        text = f"{text[:-6]} {text[-6:]}"
    return literal.format(text.replace("'", "''"))


def redshift_literal(value: Any) -> str:
    r"""Return a value as a literal of Redshift's SQL, in which a backslash escapes.

    Examples
    --------
    >>> print(redshift_literal("it's a \\"))
    'it''s a \\'
    """
    text, _, literal = _spelled(value)
    if isinstance(value, decimal.Decimal):
        whole, _, fraction = text.lstrip("-").partition(".")
        literal += f"({len(whole) + len(fraction)}, {len(fraction)})"
    literal += "tz" * _has_zone(value)
    return literal.format(text.replace("\\", "\\\\").replace("'", "''"))


def _bound(
    query: str,
    params: Params | None,
    dialect: Dialect,
    is_literal: Callable[[Any], bool],
    mark: str = "?",
) -> tuple[str, list[Any]]:
    """Replace every parameter that stands in code by a mark or a literal; return the marks' values.

    What stands in literals, comments and names stays.
    """
    bound: list[Any] = []
    if params is None:
        return query, bound
    if isinstance(params, str | bytes) or not isinstance(params, Mapping | Sequence):
        raise UserError(
            f"params is a {type(params).__name__}.",
            fix="Give a dict for :name, for example {'vin': 'LSV1'}, or a list for ?.",
        )
    if not params:
        return query, bound

    def place(value: Any) -> str:
        if is_literal(value):
            return athena_literal(value) if dialect == "athena" else redshift_literal(value)
        bound.append(value)
        return mark.format(len(bound))

    plan = outline(query, dialect)
    if isinstance(params, Mapping):
        places = list(_NAME.finditer(plan))
        _check_names({found[1] for found in places}, set(params))
        values = [(f":{found[1]}", params[found[1]]) for found in places]
    else:
        places = list(re.finditer(r"\?", plan))
        if len(places) != len(params):
            raise UserError(
                f"The query has {len(places)} question marks for {len(params)} parameters.",
                fix="Give one value for each ?, in order; a ? inside quotes does not count.",
            )
        values = [(f"number {number}", value) for number, value in enumerate(params, start=1)]
    texts = [
        _placed(value, name, plan[: found.start()], plan[found.end() :], place)
        for found, (name, value) in zip(places, values, strict=True)
    ]
    return filled(query, places, texts), bound


def _check_names(wanted: set[str], given: set[str]) -> None:
    missing, unused = sorted(wanted - given), sorted(map(str, given - wanted))
    if missing:
        raise UserError(f"The parameter :{missing[0]} has no value.", fix="Give it in `params`.")
    if unused:
        raise UserError(
            f"The parameter {unused[0]!r} has no place in the query.",
            fix=f"Write :{unused[0]} where it belongs, without quotes; or leave it out.",
        )


def _placed(value: Any, name: str, before: str, after: str, place: Callable[[Any], str]) -> str:
    """Return what stands for a value in the query, between what comes before and after it."""
    if isinstance(value, list | tuple | set | frozenset):
        if not value:
            raise UserError(f"The parameter {name} is an empty list.", fix="Give a value at least.")
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
    if not isinstance(value, tuple(kind for kind, *_ in _LITERALS)):
        raise UserError(
            f"The parameter {name} is a {type(value).__name__}, for which SQL has no type.",
            fix="Give a text, number, boolean, date, datetime, time, bytes or None.",
        )
    return value


def _spelled(value: Any) -> tuple[str, str, str]:
    """Return a value's text, and the literal that it is in for Athena and for Redshift."""
    for kind, text, athena, redshift in _LITERALS:
        if isinstance(value, kind):
            return text(value), athena, redshift
    raise TypeError(value)


def _has_zone(value: Any) -> bool:
    return isinstance(value, dt.datetime | dt.time) and value.utcoffset() is not None
