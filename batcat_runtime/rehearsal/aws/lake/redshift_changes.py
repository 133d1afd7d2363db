"""What DuckDB would compute otherwise than Redshift, each with the query that shows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlglot import exp

from .redshift_errors import RedshiftError
from .redshift_types import declared

_T = exp.DataType.Type


def changed(tree: exp.Expression) -> exp.Expression:
    """Rewrite what DuckDB would compute otherwise, from the leaves up."""
    for node in list(tree.find_all(exp.Expression))[::-1]:
        change = _CHANGES.get(type(node))
        changed = change(node) if change else node
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


def _cast(node: exp.Expression, duck: str) -> exp.Cast:
    return exp.Cast(this=node, to=exp.DataType.build(duck, dialect="duckdb"))


def _is(node: exp.Expression, *kinds: Any) -> bool:
    return isinstance(node.type, exp.DataType) and node.type.this in kinds


_DIGITS = {_T.TINYINT: 5, _T.SMALLINT: 5, _T.INT: 10, _T.BIGINT: 19}


def _numeric(node: exp.Expression) -> tuple[int, int] | None:
    """Return precision and scale of an exact number; None where it is none, or unknown."""
    if isinstance(node, exp.Paren | exp.Neg | exp.Alias):
        return _numeric(node.this)
    if isinstance(node, exp.Literal) and not node.is_string:
        whole, _, fraction = node.name.partition(".")
        if not (whole + fraction).isdigit():
            return None
        return max(len(whole.lstrip("0") + fraction), 1), len(fraction)
    kind = node.type
    if not isinstance(kind, exp.DataType):
        return None
    if kind.this in _DIGITS:
        return _DIGITS[kind.this], 0
    if kind.this is _T.DECIMAL:
        sizes = [int(one.name) for one in kind.expressions]
        return (sizes[0], [*sizes, 0][1]) if sizes else (18, 0)
    return None


def _aggregated(node: exp.Expression, duck: str, cut: str = "") -> exp.Expression:
    """Cast an aggregate, together with the window or filter that it belongs to."""
    outer = node
    while isinstance(outer.parent, exp.Window | exp.Filter) and outer.parent.this is outer:
        outer = outer.parent
    place = exp.Placeholder()
    outer.replace(place)
    place.replace(_cast(call(cut, outer) if cut else outer, duck))
    return node


def _avg(node: exp.Expression) -> exp.Expression:
    """SELECT avg(n), avg(price): a bigint, cut off, of integers; a decimal of decimals."""
    value = node.this.expressions[0] if isinstance(node.this, exp.Distinct) else node.this
    size = _numeric(value)
    if size is None:
        return node
    if _is(value, _T.DECIMAL) or size[1]:
        return _aggregated(node, f"DECIMAL(38,{size[1]})")
    return _aggregated(node, "BIGINT", "trunc")


def _sum(node: exp.Expression) -> exp.Expression:
    """SELECT sum(n), sum(big): a bigint of integers, a numeric of bigints."""
    value = node.this.expressions[0] if isinstance(node.this, exp.Distinct) else node.this
    size = _numeric(value)
    if size is None or size[1] or _is(value, _T.DECIMAL):
        return node
    return _aggregated(node, "DECIMAL(38,0)" if size[0] > 10 else "BIGINT")


def _divide(node: exp.Expression) -> exp.Expression:
    """SELECT 1 / 3.0 is 0.3333, by Redshift's rule for the scale of decimals."""
    # integers are divided as integers by a setting of DuckDB's
    plain = exp.Div(this=node.this, expression=node.expression, typed=False, safe=False)
    left, right = _numeric(node.this), _numeric(node.expression)
    if left is None or right is None:
        return plain
    exact = any(_is(one, _T.DECIMAL) for one in (node.this, node.expression))
    if not (exact or left[1] or right[1]):
        return plain
    scale = max(4, left[1] + right[0] - right[1] + 1)
    precision = left[0] - left[1] + right[1] + scale
    if precision > 38:
        scale, precision = max(scale - (precision - 38), 4), 38
    plain.set("expression", call("rs_divisor", node.expression.copy()))
    return _cast(exp.Paren(this=plain), f"DECIMAL({precision},{scale})")


def _arithmetic(node: exp.Expression) -> exp.Expression:
    """SELECT n + :n, where a text, as parameters are, is a number beside a number."""
    for one, other in (("this", "expression"), ("expression", "this")):
        text, kind = node.args[one], node.args[other].type
        is_text = isinstance(text, exp.Literal) and text.is_string
        if is_text and isinstance(kind, exp.DataType) and kind.this in exp.DataType.NUMERIC_TYPES:
            node.set(one, exp.Cast(this=text.copy(), to=kind.copy()))
    return node


def _casted(node: exp.Expression) -> exp.Expression:
    """SELECT 'abcdef'::varchar(3), x::numeric, 'a'::super, 'a'::varbyte, 'a'::string."""
    kind = node.args["to"]
    if not isinstance(kind, exp.DataType) or kind.this is _T.INTERVAL:
        return node
    known = declared(kind)
    if known.name == "super":
        return call("to_json", node.this)
    if known.name == "varbyte":
        return call("encode", _cast(node.this, "VARCHAR"))
    if known.is_text and (kind.expressions or known.name == "bpchar"):
        return call("rs_cut", _cast(node.this, "VARCHAR"), exp.Literal.number(known.length))
    node.set("to", exp.DataType.build(known.duck, dialect="duckdb"))
    return node


def _extracted(node: exp.Expression) -> exp.Expression:
    """SELECT extract(epoch FROM t): whole numbers, where DuckDB gives a double."""
    unit = node.this.name.upper()
    return _cast(node.copy(), "BIGINT" if unit == "EPOCH" else "INTEGER")


def _now(node: exp.Expression) -> exp.Expression:
    """SELECT getdate(), sysdate: without a time zone."""
    return call("rs_sysdate" if node.args.get("sysdate") else "rs_getdate")


def _listagg(node: exp.Expression) -> exp.Expression:
    """SELECT listagg(DISTINCT a, '|'), listagg(a): nothing stands between without a separator."""
    values = node.this
    if isinstance(values, exp.Distinct) and len(values.expressions) > 1:
        first, separator = values.expressions
        values.set("expressions", [first])
        node.set("separator", separator)
    elif not node.args.get("separator"):
        node.set("separator", exp.Literal.string(""))
    return node


def _trunc(node: exp.Expression) -> exp.Expression:
    """SELECT trunc(t): the date of a timestamp."""
    moment = _is(node.this, _T.DATE, _T.TIMESTAMP, _T.TIMESTAMPTZ)
    return _cast(node.this, "DATE") if moment else node


def _to_char(node: exp.Expression) -> exp.Expression:
    """SELECT to_char(t, 'DD MON YYYY'): names in capitals; what DuckDB cannot write is refused."""
    form = node.args["format"]
    text = form.name if isinstance(form, exp.Literal) else "?"
    rest = text.replace("%-", "%")
    for place in [at for at, char in enumerate(rest) if char == "%"][::-1]:
        rest = rest[:place] + rest[place + 2 :]
    if _numeric(node.this) or _is(node.this, _T.DOUBLE, _T.FLOAT) or rest.strip(" -/:.,T_"):
        raise RedshiftError(
            "ERROR: The embedded AWS does to_char for dates and times only, with YYYY, MM, DD, "
            f"HH24, HH12, MI, SS, US, Mon, Dy and signs between them, not for {text!r}"
        )
    return node


def _to_timestamp(node: exp.Expression) -> exp.Expression:
    """SELECT to_timestamp('2022-02-03', 'YYYY-MM-DD'): with a time zone."""
    return _cast(node.copy(), "TIMESTAMP WITH TIME ZONE")


def _replaced(node: exp.Expression) -> exp.Expression:
    """SELECT regexp_replace('a1b1', '[0-9]', '#'): all of them, and nothing by nothing."""
    node.set("modifiers", exp.Literal.string("g"))
    node.set("replacement", node.args.get("replacement") or exp.Literal.string(""))
    return node


def _similar(node: exp.Expression) -> exp.Expression:
    """SELECT 'abc' SIMILAR TO '(a|b)%': with LIKE's signs, which DuckDB takes for letters."""
    if not isinstance(node.expression, exp.Literal):
        raise RedshiftError("ERROR: SIMILAR TO: the pattern must be a literal on the embedded AWS")
    signs = {"%": ".*", "_": ".", ".": r"\.", "^": r"\^", "$": r"\$"}
    pattern = "".join(signs.get(char, char) for char in node.expression.name)
    return call("regexp_full_match", node.this, pattern)


def _item(node: exp.Expression) -> exp.Expression:
    """SELECT doc.t[1]: the second item of a SUPER value."""
    index = node.expressions[0]
    if not isinstance(index, exp.Literal):
        raise RedshiftError("ERROR: the index of a SUPER value must be a literal here")
    return call(
        "json_extract", node.this, f'$."{index.name}"' if index.is_string else f"$[{index}]"
    )


def _called(node: exp.Expression) -> exp.Expression:
    """SELECT strftime(t, '%Y'): what sqlglot does not know must be one of Redshift's functions."""
    name = node.name.lower()
    if name in _RENAMED:
        return call(_RENAMED[name], *node.expressions)
    if name not in FUNCTIONS:
        raise RedshiftError(f"ERROR: function {name} does not exist")
    return node


def _dotted(node: exp.Expression) -> exp.Expression:
    """SELECT pg_catalog.pg_backend_pid()."""
    return node.expression if node.this.name == "pg_catalog" else node


_RENAMED = {"json_array_length": "get_array_length", "object": "json_object"}
_CHANGES: dict[type[exp.Expression], Callable[[exp.Expression], exp.Expression]] = {
    exp.Add: _arithmetic,
    exp.Anonymous: _called,
    exp.Array: lambda node: call("json_array", *node.expressions),
    exp.Avg: _avg,
    exp.Bracket: _item,
    exp.Cast: _casted,
    exp.CurrentTimestamp: _now,
    exp.Div: _divide,
    exp.Dot: _dotted,
    exp.Extract: _extracted,
    exp.GroupConcat: _listagg,
    exp.Mul: _arithmetic,
    exp.RegexpInstr: lambda node: _cast(node.copy(), "INTEGER"),
    exp.RegexpReplace: _replaced,
    exp.SimilarTo: _similar,
    exp.StrToTime: _to_timestamp,
    exp.Sub: _arithmetic,
    exp.Sum: _sum,
    exp.TimeToStr: _to_char,
    exp.Trunc: _trunc,
}
# Functions that DuckDB lacks, as macros of the same names; ours begin with "rs_".
MACROS = (
    """rs_cut(x, n) AS CASE WHEN strlen(x) <= n THEN x WHEN strlen(x) = length(x) THEN left(x, n)
        ELSE left(x, list_max(list_filter(range(n + 1), lambda i: strlen(left(x, i)) <= n))) END""",
    "rs_divisor(x) AS CASE WHEN x = 0 THEN error('division by zero') ELSE x END",
    "rs_sysdate() AS CAST(now() AT TIME ZONE 'UTC' AS TIMESTAMP)",
    "rs_getdate() AS date_trunc('second', rs_sysdate())",
    "from_varbyte(x, f) AS CASE WHEN lower(f) = 'hex' THEN lower(hex(x)) ELSE decode(x) END",
    "to_varbyte(x, f) AS CASE WHEN lower(f) = 'hex' THEN unhex(x) ELSE encode(x) END",
    "from_hex(x) AS unhex(x)",
    "octet_length(x) AS strlen(x)",
    "func_sha1(x) AS sha1(x)",
    "quote_ident(x) AS '\"' || replace(x, '\"', '\"\"') || '\"'",
    "quote_literal(x) AS '''' || replace(x, '''', '''''') || ''''",
    "json_serialize(x) AS CAST(x AS VARCHAR)",
    "can_json_parse(x) AS json_valid(x)",
    "is_valid_json(x) AS json_valid(x) AND left(ltrim(x), 1) = '{'",
    "is_valid_json_array(x) AS json_valid(x) AND left(ltrim(x), 1) = '['",
    "json_extract_array_element_text(x, i) AS json_extract_string(x, '$[' || i || ']')",
    "get_array_length(x) AS CAST(json_array_length(x) AS INTEGER)",
    "json_typeof(x) AS lower(json_type(x))",
    "is_object(x) AS json_type(x) = 'OBJECT'",
    "is_array(x) AS json_type(x) = 'ARRAY'",
    "date_part_year(d) AS CAST(year(d) AS INTEGER)",
    "pg_backend_pid() AS 1073741824",
    "has_schema_privilege(s, p) AS true",
    "has_table_privilege(s, p) AS true",
)
FUNCTIONS = {macro.partition("(")[0] for macro in MACROS if not macro.startswith("rs_")}
