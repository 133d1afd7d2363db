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
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from batcat_runtime.errors import UserError
from batcat_runtime.io.statement import Dialect, outline, pieces

Params: TypeAlias = Mapping[str, Any] | Sequence[Any]

_LONGEST = 1024
_NAME = re.compile(r"(?<![:\w\]\)]):([A-Za-z_]\w*)")
_MARK = re.compile(r"\?")


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

    return _replaced(query, params, "athena", place), values


def for_wire(query: str, params: Params | None) -> tuple[str, list[Any]]:
    """Return the query with ``?`` and Python values for them, for Redshift's wire."""
    values: list[Any] = []

    def place(value: Any) -> str:
        values.append(str(value) if isinstance(value, uuid.UUID) else value)
        return "?"

    return _replaced(query, params, "redshift", place), values


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

    return _replaced(query, params, "redshift", place), values


def with_literals(query: str, params: Params | None) -> str:
    """Return a Redshift query with its parameters written into it, for what cannot bind any."""
    return _replaced(query, params, "redshift", redshift_literal)


def athena_literal(value: Any) -> str:
    """Return a value as a literal of Athena's SQL.

    Examples
    --------
    >>> import datetime as dt
    >>> athena_literal(dt.date(2022, 1, 1))
    "DATE '2022-01-01'"
    """
    if isinstance(value, str | uuid.UUID):
        return "'" + str(value).replace("'", "''") + "'"
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    if isinstance(value, decimal.Decimal):
        return f"DECIMAL '{value:f}'"
    if isinstance(value, float):
        if not math.isfinite(value):
            return f"CAST('{_odd_float(value)}' AS DOUBLE)"
        text = repr(value).upper()
        return text if "E" in text else f"{text}E0"
    if isinstance(value, dt.datetime):
        zone = f" {_offset(value)}" if value.tzinfo else ""
        return f"TIMESTAMP '{_text(value.replace(tzinfo=None))}{zone}'"
    if isinstance(value, dt.date):
        return f"DATE '{value.isoformat()}'"
    if isinstance(value, dt.time):
        return f"TIME '{_text(value)}'"
    return _plain_literal(value)


def redshift_literal(value: Any) -> str:
    r"""Return a value as a literal of Redshift's SQL, in which a backslash escapes.

    Examples
    --------
    >>> print(redshift_literal("it's a \\"))
    'it''s a \\'
    """
    if isinstance(value, str | uuid.UUID):
        return "'" + str(value).replace("\\", "\\\\").replace("'", "''") + "'"
    if isinstance(value, bytes):
        return f"FROM_HEX('{value.hex()}')"
    if isinstance(value, decimal.Decimal):
        return f"'{value:f}'::numeric({_digits(value)})"
    if isinstance(value, float):
        return f"'{_text(value)}'::float8"
    if isinstance(value, dt.datetime):
        return f"'{_text(value)}'::{'timestamptz' if value.tzinfo else 'timestamp'}"
    if isinstance(value, dt.date):
        return f"'{value.isoformat()}'::date"
    if isinstance(value, dt.time):
        return f"'{_text(value)}'::time"
    return _plain_literal(value)


def _replaced(
    query: str, params: Params | None, dialect: Dialect, place: Callable[[Any], str]
) -> str:
    """Replace every parameter that stands in code; literals, comments and names stay."""
    if not params:
        if params is not None and not isinstance(params, Mapping | Sequence):
            raise _no_params(params)
        return query
    if isinstance(params, str | bytes) or not isinstance(params, Mapping | Sequence):
        raise _no_params(params)
    plan = outline(query, dialect)
    if isinstance(params, Mapping):
        pattern, source = _NAME, _by_name(params, set(_NAME.findall(plan)))
    else:
        pattern, source = _MARK, _by_order(params, len(_MARK.findall(plan)))

    def fill(found: re.Match[str], start: int) -> str:
        value, name = source(found)
        if not isinstance(value, list | tuple | set | frozenset):
            return _apart(place(_plain(value, name)), plan, start + found.start(), found)
        if not value:
            raise UserError(
                f"The parameter {name} is an empty list.", fix="Give at least one value."
            )
        texts = ", ".join(place(_plain(one, name)) for one in value)
        before, after = plan[: start + found.start()].rstrip(), plan[start + found.end() :].lstrip()
        # the user's own parentheses are enough: in IN ((1, 2)) they would make a row of it
        in_parentheses = before.endswith("(") and after.startswith(")")
        return texts if in_parentheses else f"({texts})"

    return "".join(
        pattern.sub(lambda found, start=part.start: fill(found, start), part.text)  # type: ignore[misc]
        if part.kind == "code"
        else part.text
        for part in pieces(query, dialect)
    )


def _by_name(
    params: Mapping[str, Any], wanted: set[str]
) -> Callable[[re.Match[str]], tuple[Any, str]]:
    missing, unused = sorted(wanted - set(params)), sorted(map(str, set(params) - wanted))
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
    return lambda found: (params[found[1]], f":{found[1]}")


def _by_order(params: Sequence[Any], wanted: int) -> Callable[[re.Match[str]], tuple[Any, str]]:
    if wanted != len(params):
        raise UserError(
            f"The query has {wanted} question marks for {len(params)} parameters.",
            fix="Give one value for each ?, in order; a ? inside quotes does not count.",
        )
    values = iter(enumerate(params, start=1))

    def following(found: re.Match[str]) -> tuple[Any, str]:
        number, value = next(values)
        return value, f"number {number}"

    return following


def _plain(value: Any, name: str) -> Any:
    """Return numpy's and pandas' scalars as Python's; refuse what SQL has no type for."""
    if hasattr(value, "to_pydatetime"):
        value = value if value != value else value.to_pydatetime(warn=False)
    elif type(value).__module__ == "numpy" and hasattr(value, "item"):
        value = value.item()
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, decimal.Decimal) and not value.is_finite():
        raise UserError(f"The parameter {name} is {value}, which no decimal of SQL can be.")
    if isinstance(value, str) and "\0" in value:
        raise UserError(f"The parameter {name} holds a NUL character, which SQL does not know.")
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    known = (bool, int, float, decimal.Decimal, str, bytes, dt.date, dt.time, uuid.UUID)
    if not isinstance(value, known):
        raise UserError(
            f"The parameter {name} is a {type(value).__name__}, for which SQL has no type.",
            fix="Give a text, number, boolean, date, datetime, time, bytes or None.",
        )
    return value


def _apart(text: str, plan: str, start: int, found: re.Match[str]) -> str:
    """Keep a literal from growing together with a quotation mark or a minus beside it."""
    before, after = plan[max(start - 1, 0) : start], plan[start + len(found[0]) :][:1]
    return (" " if before in ("#", "-") else "") + text + (" " if after == "#" else "")


def _no_params(params: Any) -> UserError:
    return UserError(
        f"params is a {type(params).__name__}.",
        fix="Give a dict for :name, for example {'vin': 'LSV1'}, or a list for ?.",
    )


def _plain_literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    return str(int(value))


def _text(value: Any) -> str:
    """Return a value as the text that both engines read back as the same value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, decimal.Decimal):
        return f"{value:f}"
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else _odd_float(value)
    if isinstance(value, dt.datetime):
        text = value.replace(tzinfo=None).isoformat(" ", _precision(value))
        return text if value.tzinfo is None else f"{text}{_offset(value)}"
    if isinstance(value, dt.time):
        return value.replace(tzinfo=None).isoformat(_precision(value))
    if isinstance(value, dt.date):
        return value.isoformat()
    return str(value)


def _precision(value: dt.datetime | dt.time) -> str:
    # engine version 2 of Athena knows milliseconds only: no digit more than is needed
    if value.microsecond % 1000:
        return "microseconds"
    return "milliseconds" if value.microsecond else "seconds"


def _offset(value: dt.datetime) -> str:
    minutes = round((value.utcoffset() or dt.timedelta()).total_seconds() / 60)
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def _digits(value: decimal.Decimal) -> str:
    _, digits, exponent = value.as_tuple()
    scale = max(-int(exponent), 0)
    return f"{max(len(digits) + max(int(exponent), 0), scale, 1)}, {scale}"


def _odd_float(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
