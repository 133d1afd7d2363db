"""From Trino's meaning to DuckDB's, where sqlglot leaves it different: one function a kind of node.

The queries are qualified and their expressions have types. Each rewrite names a query that needs
it; Trino's functions that DuckDB lacks are macros of the same name in `trino_functions.sql`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from sqlglot import exp

from .athena_types import is_decimal
from .projection import java_format

_T = exp.DataType.Type
_INTEGERS = (_T.TINYINT, _T.SMALLINT, _T.INT, _T.BIGINT)
_FLOATS = (_T.FLOAT, _T.DOUBLE)
_TEXTS = (_T.VARCHAR, _T.TEXT, _T.CHAR)


def to_duckdb(query: exp.Expr) -> str:
    """Return DuckDB's SQL of a query that is qualified and annotated.

    Parameters
    ----------
    query : sqlglot.exp.Expr
        Parsed from Trino's dialect; it is changed.
    """
    for attempt in query.find_all(exp.Try):
        _tries(attempt)
    for unnest in list(query.find_all(exp.Unnest)):
        unnest.replace(_unnested(unnest))
    # From the leaves up, since a rewritten node may hold others.
    for node in reversed(list(query.walk(bfs=True))):
        rewrite = _REWRITES.get(type(node))
        changed = rewrite(node) if rewrite else node
        if changed is not node:
            changed.type = node.type
            query = changed if node is query else query
            node.replace(changed)
    return query.sql("duckdb", identify=True)


def call(name: str, *arguments: Any) -> exp.Anonymous:
    """Return a call of a function by its name, which sqlglot leaves as it is."""
    return exp.Anonymous(this=name, expressions=[one.copy() for one in arguments if one])


def _as(node: exp.Expr, kind: str) -> exp.Cast:
    return exp.Cast(this=node.copy(), to=exp.DataType.build(kind, dialect="duckdb"))


def _divide(node: exp.Div) -> exp.Expr:
    # 7 / 2 is 3; 100.0 * count(*) / 3 is a decimal, of which sqlglot and DuckDB make a double.
    if node.left.is_type(*_INTEGERS) and node.right.is_type(*_INTEGERS):
        return exp.IntDiv(this=node.left.copy(), expression=node.right.copy())
    return _decimal(exp.Div(this=node.left.copy(), expression=node.right.copy()), node)


def _decimal(changed: exp.Expr, node: exp.Expr) -> exp.Expr:
    # avg(price) of decimal(12, 2) is decimal(12, 2).
    return (
        exp.Cast(this=changed, to=node.type.copy()) if is_decimal(node) and node.type else changed
    )


def _date(node: Any) -> exp.Expr:
    # day + interval '1' day and date_trunc('month', day) are dates, DuckDB's are timestamps.
    kept: exp.Expr = node
    if not node.this.is_type(_T.DATE) or isinstance(node.parent, exp.Cast):
        return kept
    if isinstance(node, exp.Add | exp.Sub) and not isinstance(node.expression, exp.Interval):
        return kept
    return exp.Cast(this=node.copy(), to=exp.DataType.build("DATE"))


def _difference(node: Any) -> exp.Expr:
    # date_diff('day', a, b) counts whole days that have passed, not midnights.
    unit = exp.Literal.string(str(node.args.get("unit") or "day").strip("'").lower())
    return call("date_sub", unit, node.expression, node.this)


def _cast(node: exp.Cast) -> exp.Expr:
    target, source = node.to, node.this
    text = source.name if isinstance(source, exp.Literal) and source.is_string else None
    if target.is_type(_T.TIMESTAMPTZ) and text is not None:
        # timestamp '2022-01-01 09:22:22 +05:30': DuckDB takes an offset only without a blank.
        offset = re.sub(r"\s+(?=[+-]\d\d)", "", text)
        return _renewed(node, exp.Literal.string(offset), exp.DataType.build("TIMESTAMPTZ"))
    if target.is_type(_T.TIMESTAMP, _T.TIMESTAMPTZ):
        return _renewed(node, source, exp.DataType(this=target.this))
    if target.is_type(_T.DECIMAL) and not target.expressions:
        # decimal '1.20' has the digits of its text; cast(x as decimal) has no fraction.
        whole, _, fraction = (text or "").strip().lstrip("+-").partition(".")
        digits = max(len(whole.lstrip("0")) + len(fraction), 1) if text else 38
        return _renewed(node, source, exp.DataType.build(f"DECIMAL({digits}, {len(fraction)})"))
    if target.is_type(*_INTEGERS):
        if source.is_type(*_FLOATS):
            # cast(2.5e0 as integer) is 3, not the even 2.
            return _renewed(node, call("round", source), target)
        if source.is_type(*_TEXTS):
            tries = isinstance(node, exp.TryCast)
            return _renewed(node, call("batcat_try_digits" if tries else "batcat_digits", source))
    if target.is_type(*_TEXTS) and text is None:
        shown = call("batcat_text", source) if source.is_type(*_MARKED) else _as(source, "VARCHAR")
        return call("left", shown, target.expressions[0].this) if target.expressions else shown
    return node


# cast(moment as varchar) has milliseconds, cast(1.5e0 as varchar) is 1.5E0.
_MARKED = (_T.DOUBLE, _T.TIMESTAMP, _T.TIMESTAMPTZ)


def _renewed(node: exp.Cast, source: exp.Expr, target: exp.DataType | None = None) -> exp.Cast:
    return type(node)(this=source.copy(), to=(target or node.to).copy())


def _tries(node: exp.Try) -> None:
    # try(cast('x' as integer)): DuckDB's TRY does not take what may call error().
    for cast in list(node.find_all(exp.Cast)):
        if type(cast) is exp.Cast:
            tried = exp.TryCast(this=cast.this.copy(), to=cast.to.copy())
            tried.type = cast.type
            cast.replace(tried)


def _at_time_zone(node: exp.AtTimeZone) -> exp.Expr:
    # moment at time zone 'Asia/Shanghai': Trino's moments without a zone are UTC.
    moment = _as(node.this, "TIMESTAMPTZ")
    return exp.AtTimeZone(this=moment, zone=node.args["zone"].copy())


def _text_literals(node: Any) -> exp.Expr:
    # element_at(m, 'day') >= '2020': DuckDB would read a literal as whatever it stands beside.
    for side in ("this", "expression"):
        value, other = node.args[side], node.args["expression" if side == "this" else "this"]
        if (
            isinstance(value, exp.Literal)
            and value.is_string
            and (other.type is None or other.is_type(_T.UNKNOWN))
        ):
            node.set(side, _as(value, "VARCHAR"))
    return node  # type: ignore[no-any-return]


def _row(node: exp.Struct) -> exp.Expr:
    # row(1, 'x') prints {field0=1, field1=x}.
    if isinstance(node.parent, exp.Cast):
        return call("row", *node.expressions)
    named = [
        one
        if isinstance(one, exp.PropertyEQ)
        else exp.PropertyEQ(this=exp.to_identifier(f"field{number}"), expression=one.copy())
        for number, one in enumerate(node.expressions)
    ]
    return exp.Struct(expressions=named)


def _reduce(node: exp.Reduce) -> exp.Expr:
    # reduce(a, 0, (s, x) -> s + x, s -> s * 10).
    reduced = call("list_reduce", node.this, node.args["merge"], node.args["initial"])
    finish = node.args.get("finish")
    if not isinstance(finish, exp.Lambda):
        return reduced
    variable = finish.expressions[0].name
    body: exp.Expr = finish.this
    return body.transform(
        lambda one: (
            reduced.copy() if isinstance(one, exp.Identifier) and one.name == variable else one
        )
    )


def _sequence(node: exp.GenerateSeries) -> exp.Expr:
    # sequence(date '2020-01-01', date '2020-01-02') has dates in it, DuckDB's needs a step.
    start, step = node.args["start"], node.args.get("step")
    if not start.is_type(_T.DATE):
        return node
    listed = call(
        "generate_series",
        start,
        node.args["end"],
        step or exp.Interval(this=exp.Literal.string("1"), unit=exp.Var(this="DAY")),
    )
    return _as(listed, "DATE[]")


def _function(node: exp.Anonymous) -> exp.Expr:
    name, arguments = str(node.this).lower(), node.expressions
    if name in ("any_match", "all_match", "none_match"):
        # any_match(a, x -> x > 1)
        fitting = call("len", call("list_filter", *arguments))
        wanted = call("len", arguments[0]) if name == "all_match" else exp.Literal.number(0)
        compared = exp.GT if name == "any_match" else exp.EQ
        return exp.Paren(this=compared(this=fitting, expression=wanted))
    if name in ("format_datetime", "parse_datetime") and isinstance(arguments[1], exp.Literal):
        # format_datetime(moment, 'yyyy-MM-dd''T''HH:mm') is Joda's pattern.
        pattern = exp.Literal.string(java_format(arguments[1].name))
        return call("strftime" if name[0] == "f" else "batcat_parsed", arguments[0], pattern)
    return node


def _renamed(name: str, *members: str) -> Callable[[Any], exp.Expr]:
    def rewrite(node: Any) -> exp.Expr:
        return call(name, *(node.args.get(member) for member in members))

    return rewrite


def _extracted(node: exp.RegexpExtract) -> exp.Expr:
    # regexp_extract('abc', 'z') is null, DuckDB's is empty.
    return call("batcat_regexp_extract", node.this, node.expression, node.args.get("group"))


def _replaced(node: exp.RegexpReplace) -> exp.Expr:
    # regexp_replace('a1', '([a-z])(\d)', '$2$1'): DuckDB's groups are \2 and \1.
    replacement = node.args.get("replacement")
    if isinstance(replacement, exp.Literal):
        replacement.set("this", re.sub(r"\$(\d)", r"\\\1", replacement.name))
    return node


def _json_scalar(node: exp.JSONExtractScalar) -> exp.Expr:
    # json_extract_scalar('{"a": [1]}', '$.a') is null.
    path = node.expression
    where = path.sql("trino").strip("'") if isinstance(path, exp.JSONPath) else path.name
    return call("batcat_json_scalar", node.this, exp.Literal.string(where))


def _format(node: exp.Format) -> exp.Expr:
    # format('%05d', 3) is printf's, DuckDB's is that of fmt.
    return call("printf", node.this, *node.expressions)


def _unnested(node: exp.Unnest) -> exp.Expr:
    # cross join unnest(a, b) with ordinality as u (x, y, i): DuckDB's takes one array.
    alias = node.args.get("alias")
    offset = node.args.get("offset")
    arrays = list(node.expressions)
    names = list(alias.columns) if alias else []
    if isinstance(offset, exp.Identifier) and len(names) <= len(arrays):
        names.append(offset)
    if len(arrays) == 1 and len(names) - bool(offset) > 1:
        # Of a map, keys and values; of an array of rows, their fields.
        deep = call("map_entries", arrays[0]) if arrays[0].is_type(_T.MAP) else arrays[0]
        depth = exp.PropertyEQ(
            this=exp.to_identifier("max_depth"), expression=exp.Literal.number(2)
        )
        values = [call("unnest", deep, depth)]
    else:
        values = [call("unnest", one) for one in arrays]
    if offset:
        lengths = [call("len", one) for one in arrays]
        longest = call("greatest", *lengths) if len(lengths) > 1 else lengths[0]
        values.append(call("unnest", call("generate_series", exp.Literal.number(1), longest)))
    named = exp.TableAlias(
        this=alias.this if alias and alias.this else exp.to_identifier("batcat_unnested"),
        columns=[exp.to_identifier(one.name, quoted=True) for one in names],
    )
    return exp.Lateral(this=exp.Select(expressions=values).subquery(copy=False), alias=named)


_REWRITES: dict[type, Callable[[Any], exp.Expr]] = {
    exp.Div: _divide,
    exp.Avg: lambda node: _decimal(node.copy(), node) if is_decimal(node) else node,
    exp.Add: _date,
    exp.Sub: _date,
    exp.DateAdd: _date,
    exp.DateTrunc: _date,
    exp.TimestampTrunc: _date,
    exp.DateDiff: _difference,
    exp.Cast: _cast,
    exp.TryCast: _cast,
    exp.AtTimeZone: _at_time_zone,
    exp.Struct: _row,
    exp.Reduce: _reduce,
    exp.GenerateSeries: _sequence,
    exp.Anonymous: _function,
    exp.Format: _format,
    exp.ArraySlice: _renamed("slice", "this", "start", "end"),
    exp.SplitPart: _renamed("batcat_split_part", "this", "delimiter", "part_index"),
    exp.RegexpExtract: _extracted,
    exp.RegexpReplace: _replaced,
    exp.JSONExtractScalar: _json_scalar,
    **dict.fromkeys((exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE), _text_literals),
}
