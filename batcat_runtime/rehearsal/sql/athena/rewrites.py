"""How nodes of a parsed query are rewritten from Trino's meaning to DuckDB's, one function a kind.

`REWRITES` says which function is for which kind of node; names that begin with ``batcat_`` are the
macros of `functions.sql`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlglot import exp

_RENAMED = {
    "array_join": "batcat_array_join",
    "arrays_overlap": "batcat_arrays_overlap",
    "array_remove": "batcat_array_remove",
    "array_sum": "batcat_array_sum",
    "array_frequency": "batcat_array_frequency",
    "array_average": "list_avg",
    "at_timezone": "batcat_at_timezone",
    "with_timezone": "batcat_with_timezone",
    "bitwise_left_shift": "bitwise_left_shift",
    "codepoint": "batcat_codepoint",
    "date": "date",
    "day_of_month": "day",
    "day_of_week": "isodow",
    "dow": "isodow",
    "day_of_year": "dayofyear",
    "doy": "dayofyear",
    "from_base64": "from_base64",
    "from_hex": "unhex",
    "from_iso8601_date": "batcat_from_iso8601_date",
    "from_utf8": "decode",
    "histogram": "histogram",
    "is_finite": "isfinite",
    "is_infinite": "isinf",
    "is_nan": "isnan",
    "json_array_contains": "batcat_json_array_contains",
    "json_array_get": "batcat_json_array_get",
    "json_array_length": "json_array_length",
    "json_format": "batcat_json_format",
    "json_size": "batcat_json_size",
    "last_day_of_month": "batcat_last_day_of_month",
    "levenshtein_distance": "levenshtein",
    "hamming_distance": "hamming",
    "map_entries": "map_entries",
    "map_from_entries": "map_from_entries",
    "millisecond": "batcat_millisecond",
    "regexp_count": "batcat_regexp_count",
    "sha1": "batcat_sha1",
    "sha256": "batcat_sha256",
    "split_to_map": "batcat_split_to_map",
    "to_base64": "to_base64",
    "to_iso8601": "batcat_to_iso8601",
    "to_unixtime": "batcat_to_unixtime",
    "to_utf8": "encode",
    "truncate": "batcat_truncate",
    "typeof": "batcat_typeof",
    "url_extract_fragment": "batcat_url_fragment",
    "url_extract_host": "batcat_url_host",
    "url_extract_parameter": "batcat_url_parameter",
    "url_extract_path": "batcat_url_path",
    "url_extract_port": "batcat_url_port",
    "url_extract_protocol": "batcat_url_protocol",
    "url_extract_query": "batcat_url_query",
    "width_bucket": "batcat_width_bucket",
    "year_of_week": "batcat_year_of_week",
    "yow": "batcat_year_of_week",
}

_JODA = {
    "yyyy": "%Y",
    "YYYY": "%Y",
    "yy": "%y",
    "MMMM": "%B",
    "MMM": "%b",
    "MM": "%m",
    "M": "%-m",
    "dd": "%d",
    "d": "%-d",
    "HH": "%H",
    "H": "%-H",
    "hh": "%I",
    "mm": "%M",
    "ss": "%S",
    "SSSSSS": "%f",
    "SSS": "%g",
    "a": "%p",
    "EEEE": "%A",
    "EEE": "%a",
    "E": "%a",
    "Z": "%z",
    "z": "%Z",
}

_INTEGER_CASTS = {
    exp.DataType.Type.TINYINT: "tinyint",
    exp.DataType.Type.SMALLINT: "smallint",
    exp.DataType.Type.INT: "integer",
    exp.DataType.Type.BIGINT: "bigint",
}

_TEXT_CASTS = (exp.DataType.Type.VARCHAR, exp.DataType.Type.TEXT, exp.DataType.Type.CHAR)


def call(name: str, *arguments: Any) -> exp.Anonymous:
    """Return a call of a function by its name, which sqlglot leaves as it is."""
    return exp.Anonymous(this=name, expressions=[one.copy() for one in arguments if one])


def _divide(node: exp.Div) -> exp.Expr:
    return call("batcat_divide", node.left, node.right)


def _plus(name: str) -> Callable[[Any], exp.Expr]:
    def rewrite(node: Any) -> exp.Expr:
        if isinstance(node.right, exp.Interval):
            return call(name, node.left, node.right)
        if isinstance(node.left, exp.Interval) and name == "batcat_plus":
            return call(name, node.right, node.left)
        return _strict(node)

    return rewrite


def _strict(node: Any) -> exp.Expr:
    """Keep DuckDB from reading a text literal as whatever stands on the other side."""
    for side in ("this", "expression"):
        value = node.args.get(side)
        if isinstance(value, exp.Literal) and value.is_string:
            node.set(side, _text(value))
    return node  # type: ignore[no-any-return]


def _text(value: exp.Expr) -> exp.Cast:
    return exp.Cast(this=value.copy(), to=exp.DataType.build("VARCHAR"))


def _strict_in(node: exp.In) -> exp.Expr:
    listed = node.expressions
    if listed and not isinstance(node.this, exp.Literal):
        node.set(
            "expressions",
            [
                _text(one) if isinstance(one, exp.Literal) and one.is_string else one
                for one in listed
            ],
        )
    return node


def _strict_between(node: exp.Between) -> exp.Expr:
    for side in ("low", "high"):
        value = node.args[side]
        if isinstance(value, exp.Literal) and value.is_string:
            node.set(side, _text(value))
    return node


def _added(node: Any) -> exp.Expr:
    unit = str(node.args.get("unit") or "DAY").strip("'").upper()
    amount = node.expression
    if isinstance(amount, exp.Interval):
        step: exp.Expr = amount
    else:
        step = call(
            f"to_{_plural(unit)}", exp.Cast(this=amount.copy(), to=exp.DataType.build("INT"))
        )
        if unit == "MILLISECOND":
            step = call("to_milliseconds", amount)
    return call("batcat_plus", node.this, step)


def _plural(unit: str) -> str:
    return unit.lower().rstrip("s") + "s"


def _difference(node: Any) -> exp.Expr:
    unit = str(node.args.get("unit") or "DAY").strip("'").lower()
    # sqlglot holds the later moment first.
    return call("batcat_date_diff", exp.Literal.string(unit), node.expression, node.this)


def _truncated(node: Any) -> exp.Expr:
    unit = str(node.args.get("unit")).strip("'").lower()
    return call("batcat_date_trunc", exp.Literal.string(unit), node.this)


def _cast(node: exp.Cast) -> exp.Expr:
    target = node.to
    if target.this == exp.DataType.Type.DECIMAL and not target.expressions:
        return _bare_decimal(node)
    is_text = isinstance(node.this, exp.Literal) and node.this.is_string
    if is_text and target.this not in _INTEGER_CASTS:
        return node
    inner: exp.Expr | None = None
    tries = isinstance(node, exp.TryCast)
    if target.this in _TEXT_CASTS:
        inner = call("batcat_varchar", node.this)
        if target.expressions:
            inner = call("left", inner, target.expressions[0].this)
    elif target.this in _INTEGER_CASTS:
        name = "batcat_try_" if tries else "batcat_to_"
        inner = call(name + _INTEGER_CASTS[target.this], node.this)
    return node if inner is None else inner


def _bare_decimal(node: exp.Cast) -> exp.Expr:
    """Give a decimal its digits: those of its text, or 38 and none after the point."""
    precision, scale = 38, 0
    if isinstance(node.this, exp.Literal) and node.this.is_string:
        whole, _, fraction = node.this.this.strip().lstrip("+-").partition(".")
        precision, scale = max(len(whole.lstrip("0")) + len(fraction), 1), len(fraction)
    node.set("to", exp.DataType.build(f"DECIMAL({precision}, {scale})"))
    return node


def _at_time_zone(node: exp.AtTimeZone) -> exp.Expr:
    return call("batcat_at_timezone", node.this, node.args["zone"])


def _concat(node: exp.Concat) -> exp.Expr:
    parts = node.expressions
    joined: exp.Expr = parts[0].copy()
    for one in parts[1:]:
        joined = exp.DPipe(this=joined, expression=one.copy())
    return exp.Paren(this=joined)


def _extreme(node: Any) -> exp.Expr:
    values = [node.this, *node.expressions]
    missing = [exp.Is(this=one.copy(), expression=exp.Null()) for one in values]
    known = exp.Case(ifs=[exp.If(this=exp.or_(*missing), true=exp.Null())])
    known.set("default", node.copy())
    return known


def _function(node: exp.Anonymous) -> exp.Expr:
    name = str(node.this).lower()
    arguments = node.expressions
    if name in _RENAMED:
        return call(_RENAMED[name], *arguments)
    special = _SPECIAL.get(name)
    return special(arguments) if special else node


def _joda(arguments: list[Any], to_text: bool) -> exp.Expr:
    pattern = arguments[1]
    if isinstance(pattern, exp.Literal):
        pattern = exp.Literal.string(joda_format(pattern.this))
    return call("strftime" if to_text else "batcat_parse_datetime", arguments[0], pattern)


def joda_format(pattern: str) -> str:
    """Return a pattern of Joda time in the spelling of strftime."""
    found, place = "", 0
    while place < len(pattern):
        if pattern[place] == "'":
            end = pattern.index("'", place + 1)
            found += pattern[place + 1 : end] or "'"
            place = end + 1
            continue
        for length in range(6, 0, -1):
            part = pattern[place : place + length]
            if len(part) == length and part in _JODA:
                found += _JODA[part]
                place += length
                break
        else:
            found += pattern[place].replace("%", "%%")
            place += 1
    return found


def _matches(name: str) -> Callable[[list[Any]], exp.Expr]:
    def rewrite(arguments: list[Any]) -> exp.Expr:
        mapped = call("list_transform", arguments[0], arguments[1])
        if name == "none":
            return exp.Not(
                this=exp.Coalesce(this=call("list_bool_or", mapped), expressions=[exp.false()])
            )
        inner = call(f"list_bool_{'or' if name == 'any' else 'and'}", mapped)
        default = exp.false() if name == "any" else exp.true()
        return exp.Coalesce(this=inner, expressions=[default])

    return rewrite


def _row(node: exp.Struct) -> exp.Expr:
    return call("row", *node.expressions)


def _map_agg(arguments: list[Any]) -> exp.Expr:
    entry = exp.Struct(
        expressions=[
            exp.PropertyEQ(this=exp.to_identifier(name), expression=value.copy())
            for name, value in zip(("k", "v"), arguments, strict=True)
        ]
    )
    known = exp.Not(this=exp.Is(this=arguments[0].copy(), expression=exp.Null()))
    listed = exp.Filter(this=call("list", entry), expression=exp.Where(this=known))
    return call("map_from_entries", listed)


def _reduce(node: Any) -> exp.Expr:
    reduced = call("list_reduce", node.this, node.args["merge"], node.args["initial"])
    finish = node.args.get("finish")
    if not isinstance(finish, exp.Lambda):
        return reduced
    parameter = finish.expressions[0].name
    body = exp.Paren(this=finish.this.copy())
    for one in list(body.find_all(exp.Column, exp.Identifier)):
        if one.name == parameter and not isinstance(one.parent, exp.Column):
            one.replace(reduced.copy())
    return body


def _is_row(node: exp.Struct) -> exp.Expr:
    if any(isinstance(one, exp.PropertyEQ) for one in node.expressions):
        return node
    return _row(node)


def _renamed(name: str, *members: str) -> Callable[[Any], exp.Expr]:
    def rewrite(node: Any) -> exp.Expr:
        arguments: list[Any] = []
        for member in members:
            value = node.args.get(member)
            arguments += value if isinstance(value, list) else [value]
        return call(name, *arguments)

    return rewrite


def _sequence(node: Any) -> exp.Expr:
    return call(
        "batcat_sequence", node.args.get("start"), node.args.get("end"), node.args.get("step")
    )


def _substring(node: exp.Substring) -> exp.Expr:
    return call("batcat_substr", node.this, node.args.get("start"), node.args.get("length"))


def _json_scalar(node: Any) -> exp.Expr:
    path = node.expression
    text = path.sql("trino") if isinstance(path, exp.JSONPath) else None
    where = exp.Literal.string(text.strip("'")) if text else path
    return call("batcat_json_extract_scalar", node.this, where)


_SPECIAL: dict[str, Callable[[list[Any]], exp.Expr]] = {
    "all_match": _matches("all"),
    "any_match": _matches("any"),
    "none_match": _matches("none"),
    "concat_ws": lambda a: call("concat_ws", *a),
    "format_datetime": lambda a: _joda(a, True),
    "parse_datetime": lambda a: _joda(a, False),
    "format": lambda a: call("printf", *a),
    "slice": lambda a: call("batcat_slice", *a),
    "repeat": lambda a: call("batcat_repeat", *a),
    "now": lambda _: exp.CurrentTimestamp(),
    "e": lambda _: call("exp", exp.Literal.number(1)),
    "nan": lambda _: exp.cast(exp.Literal.string("NaN"), "DOUBLE"),
    "infinity": lambda _: exp.cast(exp.Literal.string("Infinity"), "DOUBLE"),
    "map_agg": _map_agg,
}

REWRITES: dict[type, Callable[[Any], exp.Expr]] = {
    exp.Add: _plus("batcat_plus"),
    exp.Sub: _plus("batcat_minus"),
    exp.Mul: _strict,
    exp.Div: _divide,
    exp.EQ: _strict,
    exp.NEQ: _strict,
    exp.GT: _strict,
    exp.GTE: _strict,
    exp.LT: _strict,
    exp.LTE: _strict,
    exp.In: _strict_in,
    exp.Between: _strict_between,
    exp.DateAdd: _added,
    exp.TsOrDsAdd: _added,
    exp.TimestampAdd: _added,
    exp.DateDiff: _difference,
    exp.DateTrunc: _truncated,
    exp.TimestampTrunc: _truncated,
    exp.Cast: _cast,
    exp.TryCast: _cast,
    exp.AtTimeZone: _at_time_zone,
    exp.Concat: _concat,
    exp.Greatest: _extreme,
    exp.Least: _extreme,
    exp.Anonymous: _function,
    exp.Struct: _is_row,
    exp.GenerateSeries: _sequence,
    exp.Substring: _substring,
    exp.JSONExtractScalar: _json_scalar,
    exp.RegexpExtract: _renamed("batcat_regexp_extract", "this", "expression", "group"),
    exp.RegexpReplace: _renamed("batcat_regexp_replace", "this", "expression", "replacement"),
    exp.MD5: _renamed("batcat_md5", "this"),
    exp.MD5Digest: _renamed("batcat_md5", "this"),
    exp.SHA: _renamed("batcat_sha1", "this"),
    exp.SHA2: _renamed("batcat_sha256", "this"),
    exp.Hex: _renamed("batcat_to_hex", "this"),
    exp.Split: _renamed("batcat_split", "this", "expression", "limit"),
    exp.SplitPart: _renamed("batcat_split_part", "this", "delimiter", "part_index"),
    exp.ArrayToString: _renamed("batcat_array_join", "this", "expression", "null"),
    exp.DayOfWeekIso: _renamed("isodow", "this"),
    exp.Format: lambda node: call("printf", node.this, *node.expressions),
    exp.ArraySlice: _renamed("batcat_slice", "this", "start", "end"),
    exp.Reduce: _reduce,
    exp.Log: _renamed("batcat_log", "this", "expression"),
}
