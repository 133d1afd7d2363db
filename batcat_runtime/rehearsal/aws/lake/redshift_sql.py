"""From Redshift's SQL to DuckDB's, on sqlglot's tree.

sqlglot reads Redshift and writes DuckDB. What is added here:

1. names: identifiers are folded, every relation is looked up and put in full, a projection without
   an alias is named as Redshift names it;
2. types, by sqlglot's inference, which results are described with;
3. `_CHANGES`: what DuckDB would compute otherwise, each with the query that shows it.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.redshift import Redshift
from sqlglot.errors import ErrorLevel, ParseError, SqlglotError, TokenError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify_columns import qualify_columns
from sqlglot.schema import MappingSchema
from sqlglot.tokenizer_core import Token

from .engine import quoted
from .redshift_errors import RedshiftError, syntax_error
from .redshift_types import RedshiftType, declared

# sqlglot warns of what it does not know with the whole statement, which may hold a key
logging.getLogger("sqlglot").setLevel(logging.ERROR)
_T = exp.DataType.Type


class Dialect(Redshift):
    """Redshift as sqlglot has it, but for types of other engines and names of months and days."""

    # an unknown type is told from an unknown word: `a string` is 'type "string" does not exist'
    SUPPORTS_USER_DEFINED_TYPES = True
    TIME_MAPPING = {  # noqa: RUF012 - to_char(d, 'DD Mon YYYY')
        **Redshift.TIME_MAPPING,
        **{"Mon": "%b", "mon": "%b", "DY": "%a", "Dy": "%a", "dy": "%a", "AM": "%p", "PM": "%p"},
    }

    class Tokenizer(Redshift.Tokenizer):
        """Words that are no types of Redshift's stay words; statements are words to their end."""

        COMMANDS: ClassVar[set[Any]] = set()
        KEYWORDS: ClassVar[dict[str, Any]] = {
            word: kind
            for word, kind in Redshift.Tokenizer.KEYWORDS.items()
            if word not in ("BLOB", "BYTEA", "JSON", "STRING", "STRUCT", "UUID")
        }


DIALECT = Dialect()


@dataclass(frozen=True)
class Column:
    """A column of a relation."""

    name: str
    type: RedshiftType
    default: str | None = None
    not_null: bool = False


@dataclass(frozen=True)
class Relation:
    """A table or view: its full name in DuckDB, and its columns."""

    place: tuple[str, str, str]
    columns: tuple[Column, ...] = ()

    @property
    def sql(self) -> str:
        """The full name, quoted for DuckDB."""
        return ".".join(map(quoted, self.place))

    def column(self, name: str) -> Column:
        """Return a column. Raises `RedshiftError` when there is none of this name."""
        for column in self.columns:
            if column.name == name:
                return column
        raise RedshiftError(f'ERROR: column "{name}" of relation "{self.place[2]}" does not exist')


@dataclass(frozen=True)
class Translated:
    """A statement for DuckDB.

    Attributes
    ----------
    relations : tuple of str
        The aliases of what it reads, for messages.
    types : tuple of sqlglot's DataType or None
        For each column of the result, as far as they are known; empty when not even how many.
    """

    sql: str
    relations: tuple[str, ...] = ()
    types: tuple[exp.DataType | None, ...] = ()


Find = Callable[[tuple[str, ...]], Relation | None]


def duck_sql(tree: exp.Expression) -> str:
    """Write a tree in DuckDB's dialect, every identifier quoted."""
    return tree.sql("duckdb", identify=True, unsupported_level=ErrorLevel.IGNORE)


def tokens_of(sql: str) -> list[Token]:
    """Split a text into Redshift's words; white space and comments are left out."""
    try:
        return list(DIALECT.tokenize(sql))
    except TokenError as error:
        raise RedshiftError("ERROR: unterminated quoted string or comment") from error


def statements_of(sql: str) -> list[str]:
    """Split a text at its semicolons, those inside quotes and comments aside."""
    parts: list[str] = []
    start, empty = 0, True
    for token in [*tokens_of(sql), None]:
        if token is None or token.token_type.name == "SEMICOLON":
            end = token.start if token else len(sql)
            parts += [] if empty else [sql[start:end]]
            start, empty = end + 1, True
        else:
            empty = False
    return parts


def parse(sql: str) -> exp.Expression:
    """Parse one statement and fold its identifiers to lower case, as Redshift does.

    Raises
    ------
    RedshiftError
        When it is no SQL, with the word and its position.
    """
    try:
        trees = [tree for tree in DIALECT.parse(sql) if tree is not None]
    except TokenError as error:
        raise RedshiftError("ERROR: unterminated quoted string or comment") from error
    except ParseError as error:
        raise _refused(sql, error) from error
    if len(trees) != 1 or not isinstance(trees[0], exp.Expression):
        raise syntax_error(sql, len(sql))
    if isinstance(trees[0], exp.Command):
        raise syntax_error(sql, 0)
    for node in trees[0].find_all(exp.Identifier):
        # only ASCII letters are folded; others keep their case
        node.set("this", "".join(c.lower() if c.isascii() else c for c in str(node.this)))
    return trees[0]


def _refused(sql: str, error: ParseError) -> RedshiftError:
    """Return the syntax error at the word where sqlglot stopped."""
    details = error.errors[0] if error.errors else {}
    line, column = details.get("line"), details.get("col")
    for rest in (" x", ")", " x)"):  # would it be right if only it went on?
        with contextlib.suppress(ParseError, TokenError):
            DIALECT.parse(sql + rest)
            return syntax_error(sql, len(sql))
    if not line or not column:
        return syntax_error(sql, len(sql))
    before = sum(len(part) for part in sql.splitlines(keepends=True)[: line - 1])
    offset = max(before + column - len(str(details.get("highlight") or "")), 0)
    return syntax_error(sql, offset)


def parameters_of(sql: str) -> list[str]:
    """Return the names of the parameters (``:name``) of a statement."""
    try:
        trees = DIALECT.parse(sql)
    except SqlglotError:
        return []
    return [str(node.this) for tree in trees if tree for node in tree.find_all(exp.Placeholder)]


def fill(tree: exp.Expression, values: Mapping[str, exp.Expression]) -> None:
    """Put values in the places of ``:name`` and ``$1``: a literal takes the type beside it."""
    for node in list(tree.find_all(exp.Placeholder, exp.Parameter)):
        name = node.name if isinstance(node, exp.Placeholder) else node.this.name
        if name not in values:
            raise RedshiftError(f"ERROR: there is no parameter {name}")
        node.replace(values[name].copy())


def translate(tree: exp.Expression, find: Find, user: str) -> Translated:
    """Translate a statement whose identifiers are folded. The tree is changed.

    Parameters
    ----------
    tree : sqlglot.exp.Expression
        A query, or a statement that holds one.
    find : callable
        From a name's parts to the relation, or None.
    user : str
        The database user.

    Raises
    ------
    RedshiftError
        When a relation does not exist, or Redshift lacks a function.
    """
    found = _resolve(tree, find)
    for select in tree.find_all(exp.Select):
        select.set("expressions", [_named(one) for one in select.expressions])
    types = _annotate(tree, found)
    for node in list(tree.find_all(exp.CurrentUser, exp.SessionUser)):
        node.replace(exp.Literal.string(user))
    tree = _changed(tree)
    aliases = [table.alias or table.name for table, _ in found]
    return Translated(duck_sql(tree), tuple(aliases), types)


def _resolve(tree: exp.Expression, find: Find) -> list[tuple[exp.Table, Relation]]:
    """Find every table of a tree and put its full name in its place."""
    found = []
    for table in list(tree.find_all(exp.Table)):
        if isinstance(table.this, exp.Func):
            # DuckDB's own table functions read files; Redshift has generate_series and little else
            if not isinstance(table.this, exp.GenerateSeries):
                anonymous = isinstance(table.this, exp.Anonymous)
                name = table.this.name if anonymous else table.this.sql_name()
                raise RedshiftError(f"ERROR: function {name.lower()} does not exist")
            continue
        if not isinstance(table.this, exp.Identifier) or _is_cte(table):
            continue
        parts = tuple(part.name for part in table.parts)
        relation = find(parts)
        if relation is None:
            raise RedshiftError(f'ERROR: relation "{".".join(parts)}" does not exist')
        for part, name in zip(("catalog", "db", "this"), relation.place, strict=True):
            table.set(part, exp.to_identifier(name, quoted=True))
        if not table.alias and not isinstance(table.parent, exp.Insert | exp.Schema):
            alias = exp.TableAlias(this=exp.to_identifier(parts[-1], quoted=True))
            table.set("alias", alias)
        found.append((table, relation))
    owners = {relation.place[1:] for _, relation in found}
    for column in tree.find_all(exp.Column):
        if (column.args.get("db") and column.text("db"), column.table) in owners:
            column.set("db", None)  # DELETE FROM s.t USING x WHERE s.t.k = x.k
    return found


def _is_cte(table: exp.Table) -> bool:
    """Tell whether a name without a schema is that of a common table expression in reach."""
    above: list[Any] = [table]
    while not table.args.get("db") and above[-1].parent is not None:
        above.append(above[-1].parent)
        with_ = above[-1].args.get("with_")
        for cte in with_.expressions if with_ else ():
            inside = any(node is cte for node in above)
            if cte.alias == table.name and (with_.args.get("recursive") or not inside):
                return True
    return False


def _named(projection: exp.Expression) -> exp.Expression:
    kinds = exp.Alias | exp.Aliases | exp.Star | exp.Column
    if isinstance(projection, kinds) or projection.is_star:
        return projection
    name = exp.to_identifier(_name_of(projection), quoted=True)
    return exp.Alias(this=projection, alias=name)


def _name_of(node: exp.Expression) -> str:
    """Return the name that Redshift gives to an unnamed projection: SELECT count(*), sum(n)."""
    if isinstance(node, exp.Window | exp.WithinGroup | exp.Paren | exp.Filter | exp.IgnoreNulls):
        return _name_of(node.this)
    if isinstance(node, exp.Column | exp.Dot):
        return node.name
    if isinstance(node, exp.Cast):
        inner = _name_of(node.this)
        kind = node.to
        with contextlib.suppress(RedshiftError):
            return declared(kind).name if inner == "?column?" else inner
        return inner
    if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Select):
        first = node.this.expressions[0]
        return first.alias_or_name or _name_of(first)
    if isinstance(node, exp.Anonymous):
        return node.name.lower()
    if not isinstance(node, exp.Func) or isinstance(node, exp.Binary | exp.Connector):
        return "?column?"
    return _NAMES.get(type(node)) or node.sql_name().lower()


_NAMES: dict[type[exp.Expression], str] = {
    exp.ApproxDistinct: "count",
    exp.Case: "case",
    exp.CurrentDate: "date",
    exp.CurrentTimestamp: "timestamptz",
    exp.CurrentUser: "current_user",
    exp.DecodeCase: "case",
    exp.Extract: "date_part",
    exp.GroupConcat: "listagg",
    exp.JSONExtractScalar: "json_extract_path_text",
    exp.Length: "len",
    exp.LogicalAnd: "bool_and",
    exp.LogicalOr: "bool_or",
    exp.ParseJSON: "json_parse",
    exp.StrPosition: "strpos",
    exp.StrToDate: "to_date",
    exp.StrToTime: "to_timestamp",
    exp.TimestampTrunc: "date_trunc",
    exp.TimeToStr: "to_char",
    exp.TsOrDsAdd: "date_add",
    exp.TsOrDsDiff: "date_diff",
}
# sqlglot's inference also fails with plain errors where it meets what it does not expect
_INFERENCE_ERRORS = (SqlglotError, AssertionError, AttributeError, IndexError, KeyError, ValueError)


def _annotate(
    tree: exp.Expression, found: Sequence[tuple[exp.Table, Relation]]
) -> tuple[exp.DataType | None, ...]:
    """Give the nodes of a tree their types, as far as sqlglot can tell; return the projections'.

    The inference wants every column qualified, which changes the tree; so it works on a copy whose
    nodes remember which node of ours they stand for. What stays untyped follows DuckDB's rules.
    """
    nodes = list(tree.walk())
    twin = tree.copy()
    for number, node in enumerate(twin.walk()):
        node.meta["batcat"] = number
    for clause in twin.find_all(exp.Group, exp.Order):
        clause.set("expressions", [])  # positions (ORDER BY 1) would be expanded
    schema = MappingSchema(dialect=DIALECT)
    for _, relation in found:
        catalog, owner, name = relation.place
        columns = {quoted(column.name): column.type.sql for column in relation.columns}
        with contextlib.suppress(SqlglotError):
            schema.add_table(
                exp.table_(name, owner, catalog, quoted=True), columns, dialect=DIALECT
            )
    complete = True
    try:
        twin = qualify_columns(twin, schema, expand_alias_refs=False)
    except _INFERENCE_ERRORS:
        complete = False
    with contextlib.suppress(*_INFERENCE_ERRORS):
        twin = annotate_types(twin, schema=schema, dialect=DIALECT)
    for node in twin.walk():
        mine = node.meta.get("batcat")
        if mine is not None and node.type is not None:
            nodes[mine].type = node.type
    query = twin.expression if isinstance(twin, exp.Insert) else twin
    if not complete or not isinstance(query, exp.Query):
        return ()
    return tuple(map(type_of, query.selects))


def type_of(node: exp.Expr) -> exp.DataType | None:
    """Return an expression's type, None for a literal or NULL, which takes what is asked of it."""
    bare = node.unalias()
    kind = None if isinstance(bare, exp.Literal | exp.Null) else bare.type
    return kind if isinstance(kind, exp.DataType) else None


def _changed(tree: exp.Expression) -> exp.Expression:
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
