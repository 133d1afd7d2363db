"""Trino's functions as DuckDB macros: those of `functions.sql`, and casts and texts of numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

_CAST_TARGETS = ("tinyint", "smallint", "integer", "bigint")


def install(connection: duckdb.DuckDBPyConnection) -> None:
    """Create all macros in a connection.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        The macros go to its default catalogue.
    """
    for name, body in _generated().items():
        connection.execute(f"CREATE MACRO batcat_{name}(x) AS {body}")
    connection.execute(Path(__file__).with_name("functions.sql").read_text(encoding="utf-8"))


def _generated() -> dict[str, str]:
    """Return the bodies of the macros that are the same for several types."""
    scientific = (
        "CASE WHEN x IS NULL THEN NULL WHEN isnan(x) OR isinf(x) THEN batcat_double_text(x) "
        f"WHEN x = 0 THEN '0.0E0' ELSE {_sci(_shortest('DOUBLE'))} END"
    )
    # By the type's name, not by overloads: those would take a DECIMAL for a DOUBLE.
    text = (
        "CASE WHEN typeof(x) IN ('DOUBLE', 'FLOAT') THEN batcat_sci_text(TRY_CAST(x AS DOUBLE)) "
        "WHEN typeof(x) LIKE 'TIMESTAMP WITH%' THEN strftime(TRY_CAST(x AS TIMESTAMPTZ) "
        "AT TIME ZONE 'UTC', '%Y-%m-%d %H:%M:%S.%g UTC') WHEN typeof(x) LIKE 'TIMESTAMP%' "
        "THEN strftime(TRY_CAST(x AS TIMESTAMP), '%Y-%m-%d %H:%M:%S.%g') "
        "ELSE CAST(x AS VARCHAR) END"
    )
    return {
        "double_text": _number_text("DOUBLE"),
        "real_text": _number_text("FLOAT"),
        "sci_text": scientific,
        "varchar": text,
        **{f"to_{name}": _to_integer(name, tries=False) for name in _CAST_TARGETS},
        **{f"try_{name}": _to_integer(name, tries=True) for name in _CAST_TARGETS},
    }


def _shortest(kind: str) -> str:
    """Return the shortest d.ddde±xx that is still the same number."""
    texts = "list_transform(range(17), lambda n: printf('%.' || n || 'e', CAST(x AS DOUBLE)))"
    return f"list_filter({texts}, lambda t: CAST(t AS {kind}) = CAST(x AS {kind}))[1]"


def _sci(digits: str) -> str:
    """Return a number as Java writes it beyond 10^7 and below 10^-3: 1.0E7, 1.25E-5."""
    mantissa = f"regexp_replace(regexp_extract({digits}, '^(-?[0-9.]+)e', 1), '\\.?0+$', '')"
    mantissa = f"CASE WHEN contains({mantissa}, '.') THEN {mantissa} ELSE {mantissa} || '.0' END"
    exponent = f"CAST(CAST(regexp_extract({digits}, 'e([+-][0-9]+)$', 1) AS INTEGER) AS VARCHAR)"
    return f"({mantissa}) || 'E' || {exponent}"


def _number_text(kind: str) -> str:
    plain = f"CAST(CAST(x AS {kind}) AS VARCHAR)"
    shown = _shortest(kind)
    return (
        "CASE WHEN x IS NULL THEN NULL WHEN isnan(x) THEN 'NaN' "
        "WHEN isinf(x) THEN CASE WHEN x > 0 THEN 'Infinity' ELSE '-Infinity' END "
        f"WHEN x = 0 THEN CASE WHEN {plain} LIKE '-%' THEN '-0.0' ELSE '0.0' END "
        f"WHEN abs(x) >= 1e-3 AND abs(x) < 1e7 THEN {plain} ELSE {_sci(shown)} END"
    )


def _to_integer(name: str, *, tries: bool) -> str:
    """Return a cast to an integer, where texts must be integers and halves go away from zero."""
    kind, cast = name.upper(), "TRY_CAST" if tries else "CAST"
    said = "INT" if name == "integer" else kind
    shown = "'INVALID_CAST_ARGUMENT: Cannot cast ''' || CAST(x AS VARCHAR) || ''' to "
    refusal = f"error({shown}{said}')"
    matched = "regexp_full_match(CAST(x AS VARCHAR), '\\s*[+-]?[0-9]+\\s*')"
    return (
        "CASE WHEN typeof(x) = 'VARCHAR' THEN CASE WHEN x IS NULL THEN NULL "
        f"WHEN {matched} THEN {cast}(x AS {kind}) ELSE {'NULL' if tries else refusal} END "
        "WHEN typeof(x) IN ('DOUBLE', 'FLOAT') "
        f"THEN {cast}(round(TRY_CAST(x AS DOUBLE)) AS {kind}) "
        f"ELSE {cast}(x AS {kind}) END"
    )
