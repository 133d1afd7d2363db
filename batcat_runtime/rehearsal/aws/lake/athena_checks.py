"""What Athena refuses and DuckDB would accept: a query that passes here must pass there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from .athena_text import Source, syntax_error
from .failures import QueryFailure, semantic
from .tables import Table
from .types import base, trino_name

_COMPARISONS: dict[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
_ARITHMETIC: dict[type[exp.Expr], str] = {
    exp.Add: "+",
    exp.Sub: "-",
    exp.Mul: "*",
    exp.Div: "/",
    exp.Mod: "%",
}
# Functions that take a text, or a date or timestamp; DuckDB would cast.
_OF_TEXT = (exp.Upper, exp.Lower, exp.Substring, exp.StrPosition, exp.RegexpLike, exp.Split)
_OF_MOMENTS = (
    *(exp.DateTrunc, exp.TimestampTrunc, exp.Year, exp.Month, exp.Day, exp.TimeToStr),
    *(exp.DateAdd, exp.DateDiff),
)
_NAMES = {
    "timestamp_trunc": "date_trunc",
    "time_to_str": "date_format",
    "str_position": "strpos",
    "datediff": "date_diff",
}
# Types that Trino compares with each other.
_FAMILIES = {
    **dict.fromkeys(("tinyint", "smallint", "integer", "bigint"), "number"),
    **dict.fromkeys(("real", "double", "decimal"), "number"),
    **dict.fromkeys(("varchar", "char"), "text"),
    **dict.fromkeys(("date", "timestamp", "timestamp with time zone"), "moment"),
    **dict.fromkeys(("boolean", "varbinary", "array", "map"), None),
}


def foreign_syntax(query: exp.Expr, source: Source) -> None:
    """Refuse syntax of other dialects: ILIKE, QUALIFY, * EXCEPT."""
    for node in query.find_all(exp.ILike, exp.Qualify):
        word = "ILIKE" if isinstance(node, exp.ILike) else "QUALIFY"
        raise syntax_error(source.locate(word), f"mismatched input '{word}'")
    for star in query.find_all(exp.Star):
        if any(star.args.get(name) for name in ("except_", "replace", "rename", "except")):
            raise syntax_error(source.locate("*"), "mismatched input after '*'")


def unknown_functions(source: Source) -> None:
    """Refuse a function that Trino does not have."""
    for token in _called(source.tokens):
        if token.text.lower() not in _words():
            raise semantic(
                "FUNCTION_NOT_FOUND",
                source.place(token.start),
                f"Function '{token.text.lower()}' not registered",
            )


def unknown_columns(query: exp.Expr, source: Source, tables: Mapping[str, Table]) -> None:
    """Refuse a column that no table has; aliases are columns to ORDER BY alone."""
    for column in query.find_all(exp.Column):
        if column.table or isinstance(column.this, exp.Star):
            continue
        name = column.name.lower()
        select = column.find_ancestor(exp.Query)
        aliases = {one.lower() for one in select.named_selects} if select else set()
        if column.find_ancestor(exp.Order) and name in aliases:
            continue
        owners = [
            one
            for one in (select.find_all(exp.Table) if select else ())
            if one.find_ancestor(exp.Query) is select and _has(tables, one, name)
        ]
        if len(owners) > 1:
            raise semantic("AMBIGUOUS_NAME", source.at(column), f"Column '{name}' is ambiguous")
        raise unknown_column(column.name, source.at(column))


def unknown_column(name: str, where: str) -> QueryFailure:
    """Return the failure of a query that names a column that there is not."""
    return semantic(
        "COLUMN_NOT_FOUND",
        where,
        f"Column '{name}' cannot be resolved or requester is not authorized to access requested "
        "resources",
    )


def mismatched_types(query: exp.Expr, source: Source) -> None:
    """Refuse types that Trino does not take together, such as a date and a text."""
    for node in query.find_all(
        *(*_COMPARISONS, *_ARITHMETIC, exp.In, exp.Between, exp.DPipe, exp.Concat, exp.Like),
        *(exp.Where, exp.Having, exp.Coalesce, exp.Case, *_OF_TEXT, *_OF_MOMENTS),
    ):
        where = source.at(node)
        if isinstance(node, exp.In):
            for item in node.expressions:
                if _differ(node.this, item):
                    said = f"IN value and list items must be the same type: {_said(node.this)}"
                    raise semantic("TYPE_MISMATCH", where, said)
        elif isinstance(node, exp.Between):
            ends = (node.args["low"], node.args["high"])
            if any(_differ(node.this, end) for end in ends):
                said = f"{_said(node.this)} is BETWEEN {_said(ends[0])} and {_said(ends[1])}"
                raise semantic("TYPE_MISMATCH", where, f"Cannot check if {said}")
        elif isinstance(node, exp.DPipe | exp.Concat):
            parts = node.expressions or [node.this, node.expression]
            if any(_family(one) in ("number", "moment") for one in parts):
                said = f"Unexpected parameters ({', '.join(map(_said, parts))})"
                raise semantic("FUNCTION_NOT_FOUND", where, f"{said} for function concat")
        elif isinstance(node, exp.Like):
            if _family(node.this) not in ("text", None):
                said = f"evaluate to a varchar (actual: {_said(node.this)})"
                raise semantic("TYPE_MISMATCH", where, f"Left side of LIKE expression must {said}")
        elif isinstance(node, exp.Where | exp.Having):
            if _family(node.this) is not None:
                said = f"{node.key.upper()} clause must evaluate to a boolean"
                raise semantic("TYPE_MISMATCH", where, f"{said}: actual type {_said(node.this)}")
        elif isinstance(node, exp.Coalesce | exp.Case):
            parts = [node.this, *node.expressions]
            if isinstance(node, exp.Case):
                parts = [*(one.args["true"] for one in node.args["ifs"]), node.args.get("default")]
            if any(one is not None and _differ(parts[0], one) for one in parts[1:]):
                kind = "CASE results" if isinstance(node, exp.Case) else "COALESCE operands"
                said = f"All {kind} must be the same type or coercible to a common type"
                raise semantic("TYPE_MISMATCH", where, said)
        elif isinstance(node, (*_OF_TEXT, *_OF_MOMENTS)):
            wanted = "text" if isinstance(node, _OF_TEXT) else "moment"
            if _family(node.this) not in (wanted, None):
                name = _NAMES.get(node.sql_name().lower(), node.sql_name().lower())
                said = f"Unexpected parameters ({_said(node.this)}) for function {name}"
                raise semantic("FUNCTION_NOT_FOUND", where, said)
        elif _differ(node.this, node.expression) or _is_text_sum(node):
            operator = {**_COMPARISONS, **_ARITHMETIC}[type(node)]
            said = f"{_said(node.this)} {operator} {_said(node.expression)}"
            raise semantic("TYPE_MISMATCH", where, f"Cannot apply operator: {said}")


def _differ(left: exp.Expr, right: exp.Expr) -> bool:
    families = {_family(left), _family(right)}
    return None not in families and len(families) == 2


def _is_text_sum(node: exp.Expr) -> bool:
    return type(node) in _ARITHMETIC and _family(node.this) == "text"


def _family(node: exp.Expr) -> str | None:
    try:
        return _FAMILIES.get(base(node.type)) if node.type else None
    except KeyError:
        return None


def _said(node: exp.Expr) -> str:
    if isinstance(node, exp.Literal) and node.is_string:
        return f"varchar({len(node.name)})"
    return trino_name(node.type) if node.type and _family(node) else "unknown"


def _has(tables: Mapping[str, Table], node: exp.Table, column: str) -> bool:
    table = tables.get(f"{node.catalog}.{node.db}.{node.name}")
    return table is not None and any(one.name == column for one in table.all_columns)


def _called(tokens: list[Token]) -> Iterator[Token]:
    """Yield the tokens that are names before a parenthesis, without those that name columns."""
    for number, token in enumerate(tokens[:-1]):
        if tokens[number + 1].token_type != TokenType.L_PAREN or not token.text.isidentifier():
            continue
        if token.text.upper() in _words() or token.token_type == TokenType.IDENTIFIER:
            continue
        before = tokens[number - 1].text.upper() if number else ""
        # `AS t (a, b)`, `) t (a, b)`, `WITH t (a) AS (`, `db.t (a)`.
        if before in ("AS", ")", ".", "WITH", "RECURSIVE", "INTO", "ORDINALITY"):
            continue
        close = _closing(tokens, number + 1)
        # `, t (a) AS (`.
        if [one.text.upper() for one in tokens[close + 1 : close + 3]] == ["AS", "("]:
            continue
        yield token


def _closing(tokens: list[Token], start: int) -> int:
    depth = 0
    for number in range(start, len(tokens)):
        kind = tokens[number].token_type
        depth += (kind == TokenType.L_PAREN) - (kind == TokenType.R_PAREN)
        if depth == 0:
            return number
    return len(tokens) - 1


@cache
def _words() -> frozenset[str]:
    """Return the names of Trino's functions and, in upper case, of its words like OVER and IN."""
    text = Path(__file__).with_name("trino_words.txt").read_text(encoding="utf-8")
    return frozenset(text.split())
