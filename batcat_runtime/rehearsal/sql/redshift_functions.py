"""Functions and operators that Redshift performs otherwise than DuckDB.

`perform` rewrites a typed tree, from the leaves up. What a macro can do is a macro of the same name
(`redshift_macros.py`) and needs nothing here; here is what depends on types, on a literal argument,
or on the form of the call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlglot import exp

from .redshift_formats import date_text, parsing_format
from .redshift_words import RedshiftError

_INTEGERS = {exp.DataType.Type.SMALLINT, exp.DataType.Type.INT, exp.DataType.Type.TINYINT}
_FLOATS = (exp.DataType.Type.DOUBLE, exp.DataType.Type.FLOAT)
_DIGITS = {
    exp.DataType.Type.TINYINT: 5,
    exp.DataType.Type.SMALLINT: 5,
    exp.DataType.Type.INT: 10,
    exp.DataType.Type.BIGINT: 19,
}


def perform(tree: exp.Expression) -> exp.Expression:
    """Rewrite what Redshift performs in its own way.

    Parameters
    ----------
    tree : sqlglot.exp.Expression
        A statement with inferred types.

    Returns
    -------
    sqlglot.exp.Expression
        The statement for DuckDB.

    Raises
    ------
    RedshiftError
        When Redshift has no such function.
    """
    for node in list(tree.find_all(exp.Expression))[::-1]:
        change = _CHANGES.get(type(node))
        if change is None:
            continue
        changed = change(node)
        if changed is not node:
            changed.type = changed.type or node.type
            if node is tree:
                tree = changed
            else:
                node.replace(changed)
    return tree


def call(name: str, *arguments: exp.Expression | str) -> exp.Anonymous:
    """Return a call of a DuckDB function or macro; text arguments become literals."""
    nodes = [exp.Literal.string(one) if isinstance(one, str) else one for one in arguments]
    return exp.Anonymous(this=name, expressions=nodes)


def numeric(node: exp.Expression) -> tuple[int, int] | None:
    """Return precision and scale of an exact number, None where it is none or unknown."""
    if isinstance(node, exp.Paren | exp.Neg | exp.Alias):
        return numeric(node.this)
    if isinstance(node, exp.Literal) and not node.is_string:
        whole, _, fraction = str(node.this).partition(".")
        if not (whole + fraction).isdigit():
            return None
        return (max(len(whole.lstrip("0")) + len(fraction), 1), len(fraction))
    kind = node.type
    if not isinstance(kind, exp.DataType):
        return None
    if kind.this in _DIGITS:
        return (_DIGITS[kind.this], 0)
    if kind.this is exp.DataType.Type.DECIMAL:
        sizes = [int(one.name) for one in kind.expressions]
        return (sizes[0], sizes[1] if len(sizes) > 1 else 0) if sizes else (18, 0)
    return None


def _is(node: exp.Expression, *kinds: Any) -> bool:
    return isinstance(node.type, exp.DataType) and node.type.this in kinds


def _cast(node: exp.Expression, duck: str) -> exp.Cast:
    return exp.Cast(this=node, to=exp.DataType.build(duck, dialect="duckdb"))


def _aggregated(node: exp.Expression, wrap: Callable[[exp.Expression], exp.Expression]) -> None:
    """Wrap an aggregate, together with the window or filter that it belongs to."""
    outer = node
    while isinstance(outer.parent, exp.Window | exp.Filter | exp.WithinGroup) and (
        outer.parent.this is outer
    ):
        outer = outer.parent
    place = exp.Placeholder()
    outer.replace(place)
    place.replace(wrap(outer))


def _avg(node: exp.Expression) -> exp.Expression:
    argument = node.this.expressions[0] if isinstance(node.this, exp.Distinct) else node.this
    size = numeric(argument)
    if size is None or (isinstance(node.parent, exp.Anonymous) and node.parent.name == "trunc"):
        return node
    if size[1] == 0 and not _is(argument, exp.DataType.Type.DECIMAL):
        # The average of integers is a bigint, cut off.
        _aggregated(node, lambda inner: _cast(call("trunc", inner), "BIGINT"))
    else:
        _aggregated(node, lambda inner: _cast(inner, f"DECIMAL(38,{size[1]})"))
    return node


def _sum(node: exp.Expression) -> exp.Expression:
    argument = node.this.expressions[0] if isinstance(node.this, exp.Distinct) else node.this
    size = numeric(argument)
    if size is None or size[1] or _is(argument, exp.DataType.Type.DECIMAL):
        return node
    duck = "DECIMAL(38,0)" if size[0] > 10 else "BIGINT"
    _aggregated(node, lambda inner: _cast(inner, duck))
    return node


def _divide(node: exp.Expression) -> exp.Expression:
    # Integers are divided as integers by a setting of DuckDB's; decimals by Redshift's rule.
    left, right = numeric(node.this), numeric(node.expression)
    plain = exp.Div(this=node.this, expression=node.expression, typed=False, safe=False)
    if left is None or right is None or not (left[1] or right[1]):
        if _is(node.this, exp.DataType.Type.DECIMAL) or _is(
            node.expression, exp.DataType.Type.DECIMAL
        ):
            pass
        else:
            return plain
    if left is None or right is None:
        return plain
    scale = max(4, left[1] + right[0] - right[1] + 1)
    precision = left[0] - left[1] + right[1] + scale
    if precision > 38:
        scale = max(scale - (precision - 38), 4)
        precision = 38
    plain = exp.Div(
        this=node.this,
        expression=call("rs_divisor", node.expression.copy()),
        typed=False,
        safe=False,
    )
    return _cast(exp.Paren(this=plain), f"DECIMAL({precision},{scale})")


def _casted(node: exp.Expression) -> exp.Expression:
    kind = node.args["to"]
    if not isinstance(kind, exp.DataType):
        return node
    name, sizes = kind.this, [one.name for one in kind.expressions]
    types = exp.DataType.Type
    if name is types.DECIMAL and not sizes:
        node.set("to", exp.DataType.build("DECIMAL(18,0)", dialect="duckdb"))
    elif name in (types.VARCHAR, types.CHAR, types.NVARCHAR, types.NCHAR, types.TEXT):
        length = sizes[0] if sizes else {types.CHAR: "1", types.NCHAR: "1"}.get(name, "")
        text = _cast(node.this, "VARCHAR")
        if length.isdigit():
            return call("rs_cut", text, exp.Literal.number(length))
        return text
    elif name is types.SUPER or (name is types.USERDEFINED and str(kind).lower() == "super"):
        return call("to_json", node.this)
    elif name in (types.VARBINARY, types.BINARY):
        return call("encode", _cast(node.this, "VARCHAR"))
    return node


def _extracted(node: exp.Expression) -> exp.Expression:
    unit = str(node.this.name if hasattr(node.this, "name") else node.this).upper()
    return _cast(node.copy(), "BIGINT" if unit == "EPOCH" else "INTEGER")


def _now(node: exp.Expression) -> exp.Expression:
    return call("sysdate") if node.args.get("sysdate") else node


def _listagg(node: exp.Anonymous) -> exp.Expression:
    values = list(node.expressions)
    order = None
    outer: exp.Expression = node
    if isinstance(node.parent, exp.WithinGroup):
        outer = node.parent
        order = outer.expression
    distinct = values and isinstance(values[0], exp.Distinct)
    parts = list(values[0].expressions) if distinct else values
    text = _cast(parts[0], "VARCHAR")
    separator = parts[1] if len(parts) > 1 else exp.Literal.string("")
    first: exp.Expression = exp.Distinct(expressions=[text]) if distinct else text
    if isinstance(order, exp.Order):
        if distinct:
            # DuckDB orders a distinct aggregate by its own argument only, as text.
            order = exp.Order(
                expressions=[
                    exp.Ordered(this=text.copy(), desc=one.args.get("desc"), nulls_first=False)
                    for one in order.expressions[:1]
                ]
            )
        separator = exp.Order(this=separator, expressions=order.expressions)
    made = exp.Anonymous(this="string_agg", expressions=[first, separator])
    if outer is not node:
        outer.replace(made)
        return node
    return made


def _regexp_replace(node: exp.Anonymous) -> exp.Expression:
    text, pattern, *more = node.expressions
    return call("regexp_replace", text, pattern, more[0] if more else "", "g")


def _trunc(node: exp.Anonymous) -> exp.Expression:
    types = exp.DataType.Type
    moment = (types.DATE, types.TIMESTAMP, types.TIMESTAMPTZ, types.DATETIME, types.TIMESTAMPNTZ)
    inner = node.expressions[0]
    timely = _is(inner, *moment) or (
        isinstance(inner, exp.Anonymous) and inner.name.lower() in ("getdate", "sysdate")
    )
    return _cast(inner, "DATE") if timely else node


def _date_trunc(node: exp.Anonymous) -> exp.Expression:
    unit, moment = node.expressions
    if _is(moment, exp.DataType.Type.TIMESTAMPTZ):
        return node
    return call("date_trunc", unit, _cast(moment, "TIMESTAMP"))


def _to_char(node: exp.Anonymous) -> exp.Expression:
    value, pattern = node.expressions
    if not isinstance(pattern, exp.Literal):
        raise RedshiftError("ERROR: to_char: the format must be a literal on the embedded AWS")
    return date_text(value, str(pattern.this))


def _to_date(node: exp.Anonymous) -> exp.Expression:
    return _cast(_parsed(node), "DATE")


def _to_timestamp(node: exp.Anonymous) -> exp.Expression:
    return _cast(_parsed(node), "TIMESTAMP WITH TIME ZONE")


def _parsed(node: exp.Anonymous) -> exp.Expression:
    value, pattern = node.expressions[:2]
    if not isinstance(pattern, exp.Literal):
        raise RedshiftError(
            f"ERROR: {node.name.lower()}: the format must be a literal on the embedded AWS"
        )
    return call("strptime", _cast(value, "VARCHAR"), parsing_format(str(pattern.this)))


def _similar(node: exp.Expression) -> exp.Expression:
    pattern = node.expression
    if not isinstance(pattern, exp.Literal):
        raise RedshiftError("ERROR: SIMILAR TO: the pattern must be a literal on the embedded AWS")
    # Like LIKE's, its % and _; all else is a regular expression's, but for . ^ $ and \\.
    text = "".join(_SIMILAR.get(char, char) for char in str(pattern.this))
    return call("regexp_full_match", node.this, text)


def _item(node: exp.Expression) -> exp.Expression:
    # Only SUPER values are indexed, and their first item is number 0.
    index = node.expressions[0]
    if not isinstance(index, exp.Literal):
        raise RedshiftError("ERROR: the index of a SUPER value must be a literal here")
    place = index.this if not index.is_string else f'"{index.this}"'
    path = f"$[{place}]" if not index.is_string else f"$.{place}"
    return call("json_extract", node.this, path)


def _json_path(node: exp.Anonymous) -> exp.Expression:
    document, *path = node.expressions
    while path and isinstance(path[-1], exp.Boolean):
        path.pop()
    if not all(isinstance(one, exp.Literal) for one in path):
        raise RedshiftError("ERROR: json_extract_path_text: path elements must be literals")
    keys = "".join('."' + str(one.this).replace('"', '\\"') + '"' for one in path)
    return call("json_extract_string", document, f"${keys}")


def _ratio(node: exp.Anonymous) -> exp.Expression:
    value = node.expressions[0]
    window = node.parent
    total: exp.Expression = exp.Sum(this=_cast(value.copy(), "DOUBLE"))
    if not isinstance(window, exp.Window):
        raise RedshiftError("ERROR: ratio_to_report requires an OVER clause")
    whole = window.copy()
    whole.set("this", total)
    window.replace(exp.Div(this=_cast(value.copy(), "DOUBLE"), expression=whole, typed=False))
    return node


def _object(node: exp.Anonymous) -> exp.Expression:
    return call("json_object", *node.expressions)


def _anonymous(node: exp.Expression) -> exp.Expression:
    if not isinstance(node, exp.Anonymous) or node.meta.get("ours"):
        return node
    name = str(node.name).lower()
    if name in _FORBIDDEN or name.startswith(_FORBIDDEN_STARTS):
        raise RedshiftError(f"ERROR: function {name}() does not exist")
    change = _CALLS.get(name)
    return change(node) if change is not None else node


def _arithmetic(node: exp.Expression) -> exp.Expression:
    """Give an untyped operand (a parameter, a text) the type of the number beside it."""
    for one, other in (("this", "expression"), ("expression", "this")):
        untyped, typed = node.args[one], node.args[other]
        literal = isinstance(untyped, exp.Literal) and untyped.is_string
        kind = typed.type
        if not (literal or isinstance(untyped, exp.Placeholder)) or kind is None:
            continue
        if numeric(typed) is not None or _is(typed, *_FLOATS):
            node.set(one, exp.Cast(this=untyped.copy(), to=kind.copy()))
    return node


def _dotted(node: exp.Expression) -> exp.Expression:
    """Drop ``pg_catalog.`` before a function."""
    owner, inner = node.this, node.expression
    if isinstance(inner, exp.Func) and str(owner.name).lower() == "pg_catalog":
        copied = inner.copy()
        return copied if isinstance(copied, exp.Expression) else node
    return node


def _array(node: exp.Expression) -> exp.Expression:
    return call("json_array", *node.expressions)


def _grouped_text(node: exp.Expression) -> exp.Expression:
    return node


_SIMILAR = {"%": ".*", "_": ".", ".": r"\.", "^": r"\^", "$": r"\$"}
_FORBIDDEN_STARTS = ("read_", "duckdb_", "pragma_", "parquet_", "sniff_", "rs_")
_FORBIDDEN = {
    "glob",
    "getenv",
    "query",
    "query_table",
    "which_secret",
    "getvariable",
    "sqlite_scan",
}
_CALLS: dict[str, Callable[[exp.Anonymous], exp.Expression]] = {
    "isnull": lambda node: call("coalesce", *node.expressions),
    "listagg": _listagg,
    "regexp_replace": _regexp_replace,
    "trunc": _trunc,
    "date_trunc": _date_trunc,
    "to_char": _to_char,
    "to_date": _to_date,
    "to_timestamp": _to_timestamp,
    "json_extract_path_text": _json_path,
    "json_array_length": lambda node: _cast(node.copy(), "INTEGER"),
    "object": _object,
    "ratio_to_report": _ratio,
}
_CHANGES: dict[type[exp.Expression], Callable[[exp.Expression], exp.Expression]] = {
    exp.Add: _arithmetic,
    exp.Anonymous: _anonymous,
    exp.Array: _array,
    exp.Avg: _avg,
    exp.Bracket: _item,
    exp.Cast: _casted,
    exp.CurrentTimestamp: _now,
    exp.Div: _divide,
    exp.Dot: _dotted,
    exp.Extract: _extracted,
    exp.Mul: _arithmetic,
    exp.SimilarTo: _similar,
    exp.Sub: _arithmetic,
    exp.Sum: _sum,
}
