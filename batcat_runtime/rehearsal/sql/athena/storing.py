"""Values as the formats of UNLOAD, CTAS and INSERT store them, and types that they cannot store."""

from __future__ import annotations

from ..hive_types import literal
from .failures import TYPE_SEMANTIC, QueryFailure
from .planning import Plan
from .rendering import ResultType, text_of


def refuse_types(plan: Plan, form: str) -> None:
    """Refuse columns that Athena cannot write.

    Raises
    ------
    QueryFailure
        Naming the column.
    """
    seen: set[str] = set()
    for number, (name, kind) in enumerate(zip(plan.names, plan.types, strict=True), 1):
        if name == f"_col{number - 1}":
            raise QueryFailure(
                f"MISSING_COLUMN_NAME: line 1:1: Column name not specified at position {number}",
                type=TYPE_SEMANTIC,
            )
        if name.lower() in seen:
            raise QueryFailure(
                f"DUPLICATE_COLUMN_NAME: line 1:1: Column name '{name}' specified more than once",
                type=TYPE_SEMANTIC,
            )
        seen.add(name.lower())
        if unsupported := _unsupported(kind, form):
            raise QueryFailure(
                f"NOT_SUPPORTED: Unsupported Hive type: {unsupported}", type=TYPE_SEMANTIC
            )


def _unsupported(kind: ResultType, form: str) -> str | None:
    if kind.name in (
        "timestamp with time zone",
        "time",
        "time with time zone",
        "json",
        "unknown",
        "uuid",
    ):
        return kind.name
    if kind.name.startswith("interval"):
        return kind.name
    return next((found for one in kind.arguments if (found := _unsupported(one, form))), None)


def stored(kind: ResultType, value: str, form: str, is_key: bool) -> str:
    """Return an expression for a value as the format stores it."""
    if is_key:
        return f"CAST({value} AS {kind.sql})"
    if form == "PARQUET":
        return f"CAST({value} AS {kind.sql})"
    if form == "JSON" and kind.name not in ("varbinary", "timestamp"):
        return f"CAST({value} AS {kind.sql})"
    if kind.name in ("array", "map", "row"):
        # LazySimpleSerDe separates what is nested by further control characters.
        return _lazy(kind, value, 2)
    if kind.name == "varbinary":
        return f"to_base64({value})"
    return text_of(kind, value)


def _lazy(kind: ResultType, value: str, level: int) -> str:
    if kind.name == "array":
        inner = _lazy(kind.arguments[0], f"e{level}", level + 1)
        listed = f"list_transform({value}, lambda e{level}: {inner})"
        return f"array_to_string({listed}, chr({level}))"
    if kind.name == "map":
        key = _lazy(kind.arguments[0], f"e{level}.key", level + 2)
        inner = _lazy(kind.arguments[1], f"e{level}.value", level + 2)
        pair = f"{key} || chr({level + 1}) || {inner}"
        listed = f"list_transform(map_entries({value}), lambda e{level}: {pair})"
        return f"array_to_string({listed}, chr({level}))"
    if kind.name == "row":
        parts = [
            _lazy(one, f"struct_extract({value}, {literal(name) if name else place})", level + 1)
            for place, (name, one) in enumerate(zip(kind.fields, kind.arguments, strict=True), 1)
        ]
        return f"concat_ws(chr({level}), {', '.join(parts)})"
    return text_of(kind, value)
