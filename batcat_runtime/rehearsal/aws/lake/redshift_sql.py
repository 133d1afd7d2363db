"""From Redshift's SQL to DuckDB's, on sqlglot's tree.

sqlglot reads Redshift and writes DuckDB. What is added here:

1. names: identifiers are folded, every relation is looked up and put in full, a projection without
   an alias is named as Redshift names it;
2. types, by sqlglot's inference, which results are described with;
3. `redshift_changes`: what DuckDB would compute otherwise.
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
from .redshift_changes import changed
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
    tree = changed(tree)
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
