"""From a tree of Redshift's SQL to DuckDB's SQL, in passes over the tree.

1. Names: identifiers are folded to lower case, also quoted ones, as Redshift does by default.
2. Relations: every table that is read is looked up; what does not exist is said at once, and views
   and external tables are put in their places.
3. Columns: a projection without an alias gets the name that Redshift would give it.
4. Types: sqlglot's type inference over the relations' columns, for what depends on types: the
   average of integers, the scale of a division, the length of a text.
5. Functions: `redshift_functions.perform`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify_columns import qualify_columns
from sqlglot.schema import MappingSchema

from .redshift_dialect import DIALECT, tree_of
from .redshift_functions import perform
from .redshift_types import RedshiftType
from .redshift_words import RedshiftError


@dataclass(frozen=True)
class ColumnOf:
    """A column of a relation.

    Attributes
    ----------
    default : str or None
        The default's text, in Redshift's catalogue style.
    identity : bool
        Whether Redshift generates its values.
    """

    name: str
    type: RedshiftType
    nullable: bool = True
    default: str | None = None
    identity: bool = False


@dataclass(frozen=True)
class Relation:
    """Something that a query can read.

    Attributes
    ----------
    place : tuple of str
        Its full name in DuckDB.
    schema, name : str
        Its name in Redshift, for `ColumnMetadata`.
    definition : str or None
        For a view that is bound late: the query, in Redshift's SQL.
    """

    place: tuple[str, ...]
    schema: str
    name: str
    columns: tuple[ColumnOf, ...] = ()
    definition: str | None = None

    def column(self, name: str) -> ColumnOf | None:
        """Return a column by name."""
        return next((one for one in self.columns if one.name == name), None)


@dataclass
class Translated:
    """A query for DuckDB, and what is known of where its columns come from.

    Attributes
    ----------
    relations : dict of str to Relation
        What the outermost query reads, by alias.
    sources : list of (Relation, ColumnOf) or None
        For each column of the result, the column that it passes on unchanged; empty when unknown.
    """

    sql: str
    relations: dict[str, Relation] = field(default_factory=dict)
    sources: list[tuple[Relation, ColumnOf] | None] = field(default_factory=list)


Find = Callable[[tuple[str, ...]], Relation | None]


def duck_sql(tree: exp.Expression) -> str:
    """Write a tree in DuckDB's dialect, every identifier quoted."""
    return tree.sql("duckdb", identify=True, unsupported_level=ErrorLevel.IGNORE)


def fold(tree: exp.Expression, *, keep_quoted: bool = False) -> None:
    """Fold identifiers to lower case; quoted ones too unless the session keeps their case."""
    for node in tree.find_all(exp.Identifier):
        if not (keep_quoted and node.args.get("quoted")):
            node.set("this", _lower(str(node.this)))
    for table in tree.find_all(exp.Table):
        if isinstance(table.this, exp.Identifier) and table.args.get("temporary"):
            table.this.set("temporary", None)


def translate(tree: exp.Expression, find: Find) -> Translated:
    """Translate a query whose identifiers are folded.

    Parameters
    ----------
    tree : sqlglot.exp.Expression
        A SELECT, a set operation, or a statement that holds one. It is changed.
    find : callable
        From a name's parts to the relation, or None.

    Raises
    ------
    RedshiftError
        When a relation does not exist, or Redshift lacks a function.
    """
    relations = resolve(tree, find)
    outer = tree if isinstance(tree, exp.Query) else None
    sources = _sources(outer, relations) if outer is not None else []
    for select in tree.find_all(exp.Select):
        _name_columns(select)
    _annotate(tree, relations)
    tree = perform(tree)
    return Translated(duck_sql(tree), _by_alias(tree, relations), sources)


def resolve(tree: exp.Expression, find: Find, depth: int = 0) -> dict[int, Relation]:
    """Find every table of a tree and put its full name in its place.

    Returns
    -------
    dict of int to Relation
        By the identity of the table's node.
    """
    if depth > 20:
        raise RedshiftError("ERROR: infinite recursion detected in rules for relation")
    found: dict[int, Relation] = {}
    for table in list(tree.find_all(exp.Table)):
        if isinstance(table.this, exp.Func):
            # DuckDB's own table functions read files; Redshift has generate_series and little else.
            if not isinstance(table.this, exp.GenerateSeries):
                name = table.this.name if isinstance(table.this, exp.Anonymous) else ""
                name = name or table.this.sql_name()
                raise RedshiftError(f"ERROR: function {name.lower()} does not exist")
            continue
        if not isinstance(table.this, exp.Identifier) or _is_cte(table):
            continue
        parts = tuple(part.name for part in table.parts)
        relation = find(parts)
        if relation is None:
            raise RedshiftError(f'ERROR: relation "{".".join(parts)}" does not exist')
        alias = table.alias or parts[-1]
        if relation.definition is not None:
            inner = tree_of(relation.definition)
            fold(inner)
            found |= resolve(inner, find, depth + 1)
            subquery = exp.Subquery(this=inner, alias=exp.TableAlias(this=exp.to_identifier(alias)))
            for name in ("joins", "laterals"):
                subquery.set(name, table.args.get(name))
            table.replace(subquery)
            continue
        _place(table, relation, alias)
        found[id(table)] = relation
    return found


def _place(table: exp.Table, relation: Relation, alias: str) -> None:
    catalog, schema, name = relation.place
    table.set("this", exp.to_identifier(name, quoted=True))
    table.set("db", exp.to_identifier(schema, quoted=True))
    table.set("catalog", exp.to_identifier(catalog, quoted=True))
    target = isinstance(table.parent, exp.Insert | exp.Schema)
    if not target and not table.alias and name != alias:
        table.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))


def _is_cte(table: exp.Table) -> bool:
    """Tell whether a name without a schema is that of a common table expression in reach."""
    if table.args.get("db"):
        return False
    node = table.parent
    while node is not None:
        with_ = node.args.get("with_")
        if with_ is not None:
            for one in with_.expressions:
                if one.alias == table.name and (
                    with_.args.get("recursive") or not _is_inside(table, one)
                ):
                    return True
        node = node.parent
    return False


def _is_inside(node: exp.Expression, ancestor: exp.Expression) -> bool:
    parent = node.parent
    while parent is not None:
        if parent is ancestor:
            return True
        parent = parent.parent
    return False


def _name_columns(select: exp.Select) -> None:
    """Give the projections of a SELECT the names that Redshift gives them."""
    named = []
    for one in select.expressions:
        if (
            isinstance(one, exp.Alias | exp.Star | exp.Aliases)
            or one.is_star
            or isinstance(one, exp.Column)
        ):
            named.append(one)
        else:
            identifier = exp.to_identifier(column_name(one), quoted=True)
            named.append(exp.Alias(this=one, alias=identifier))
    select.set("expressions", named)


def column_name(node: exp.Expression) -> str:
    """Return the name that Redshift gives to an unnamed projection."""
    if isinstance(node, exp.Window | exp.WithinGroup | exp.Paren | exp.Filter | exp.IgnoreNulls):
        return column_name(node.this)
    if isinstance(node, exp.Column | exp.Dot):
        return node.name
    if isinstance(node, exp.Cast):
        inner = column_name(node.this)
        return _CAST_NAMES.get(node.to.this.name, "?column?") if inner == "?column?" else inner
    if isinstance(node, exp.Case):
        return "case"
    if isinstance(node, exp.Subquery):
        inner = node.this
        if isinstance(inner, exp.Select) and inner.expressions:
            return inner.expressions[0].alias_or_name or column_name(inner.expressions[0])
    if isinstance(node, exp.Anonymous):
        return str(node.name).lower()
    if isinstance(node, exp.Func) and type(node) in _FUNCTION_NAMES:
        return _FUNCTION_NAMES[type(node)]
    if isinstance(node, exp.Func) and not isinstance(node, exp.Binary | exp.Connector):
        return node.sql_name().lower()
    return "?column?"


_CAST_NAMES = {
    "INT": "int4",
    "BIGINT": "int8",
    "SMALLINT": "int2",
    "DOUBLE": "float8",
    "FLOAT": "float4",
    "DECIMAL": "numeric",
    "VARCHAR": "varchar",
    "CHAR": "bpchar",
    "TEXT": "varchar",
    "BOOLEAN": "bool",
    "DATE": "date",
    "TIMESTAMP": "timestamp",
    "TIMESTAMPTZ": "timestamptz",
    "TIME": "time",
    "SUPER": "super",
}
_FUNCTION_NAMES: dict[type[exp.Expression], str] = {
    exp.CurrentTimestamp: "timestamptz",
    exp.DecodeCase: "case",
    exp.CurrentDate: "date",
    exp.CurrentUser: "current_user",
    exp.TsOrDsAdd: "date_add",
    exp.TsOrDsDiff: "date_diff",
    exp.ApproxDistinct: "count",
    exp.StrPosition: "strpos",
    exp.Substring: "substring",
    exp.Extract: "date_part",
    exp.Length: "len",
    exp.GroupConcat: "listagg",
    exp.TimestampTrunc: "date_trunc",
    exp.StddevSamp: "stddev_samp",
    exp.LogicalOr: "bool_or",
    exp.LogicalAnd: "bool_and",
    exp.StrToDate: "to_date",
    exp.StrToTime: "to_timestamp",
}


def _by_alias(tree: exp.Expression, relations: dict[int, Relation]) -> dict[str, Relation]:
    return {
        table.alias or table.name: relations[id(table)]
        for table in tree.find_all(exp.Table)
        if id(table) in relations
    }


def _sources(
    query: exp.Query, relations: dict[int, Relation]
) -> list[tuple[Relation, ColumnOf] | None]:
    """Find, for each column of the result, the column of a relation that it passes on."""
    if not isinstance(query, exp.Select):
        return []
    from_ = query.args.get("from_")
    tables = [from_.this] if from_ is not None else []
    tables += [join.this for join in query.args.get("joins") or []]
    known = {
        table.alias or table.name: relations.get(id(table))
        for table in tables
        if isinstance(table, exp.Table)
    }
    complete = len(known) == len(tables) and all(known.values())
    sources: list[tuple[Relation, ColumnOf] | None] = []
    for one in query.expressions:
        bare = one.this if isinstance(one, exp.Alias) else one
        if bare.is_star:
            wanted = bare.table if isinstance(bare, exp.Column) else ""
            if not complete:
                return []
            for alias, relation in known.items():
                if relation is not None and wanted in ("", alias):
                    sources += [(relation, column) for column in relation.columns]
            continue
        sources.append(_source(bare, known) if isinstance(bare, exp.Column) else None)
    return sources


def _source(
    column: exp.Column, known: dict[str, Relation | None]
) -> tuple[Relation, ColumnOf] | None:
    candidates = [known.get(column.table)] if column.table else list(known.values())
    for relation in candidates:
        found = relation.column(column.name) if relation is not None else None
        if relation is not None and found is not None:
            return relation, found
    return None


# sqlglot's inference also fails with plain errors where it meets what it does not expect.
_INFERENCE_ERRORS = (SqlglotError, AssertionError, AttributeError, IndexError, KeyError, ValueError)


def _annotate(tree: exp.Expression, relations: dict[int, Relation]) -> None:
    """Give the nodes of a tree their types, as far as sqlglot can tell.

    The inference wants every column qualified, which changes the tree; so it works on a copy whose
    nodes remember which node of ours they stand for.
    """
    nodes = list(tree.walk())
    twin = tree.copy()
    for number, node in enumerate(twin.walk()):
        node.meta["batcat"] = number
    for clause in twin.find_all(exp.Group, exp.Order):
        # Positions (ORDER BY 1) are expanded by the inference, which fails where there is a *.
        kept = [one for one in clause.expressions if not _is_position(one)]
        clause.set("expressions", kept)
    schema = MappingSchema(dialect=DIALECT)
    for relation in relations.values():
        catalog, schema_name, name = relation.place
        place = exp.table_(name, schema_name, catalog, quoted=True)
        columns = {f'"{one.name}"': _inferable(one.type) for one in relation.columns}
        with contextlib.suppress(SqlglotError):
            schema.add_table(place, columns, dialect=DIALECT)
    # What cannot be inferred stays untyped: then DuckDB's own rules hold, which differ from
    # Redshift's only in the cases that `redshift_functions` names.
    with contextlib.suppress(*_INFERENCE_ERRORS):
        twin = qualify_columns(twin, schema, expand_alias_refs=False, expand_stars=False)
    with contextlib.suppress(*_INFERENCE_ERRORS):
        twin = annotate_types(twin, schema=schema, dialect=DIALECT)
    for node in twin.walk():
        mine = node.meta.get("batcat")
        if mine is not None and node.type is not None:
            nodes[mine].type = node.type


def _is_position(node: exp.Expression) -> bool:
    bare = node.this if isinstance(node, exp.Ordered) else node
    return isinstance(bare, exp.Literal) and not bare.is_string


def _inferable(kind: RedshiftType) -> str:
    return "VARCHAR" if kind.name in ("super", "name") else kind.comment


def _lower(name: str) -> str:
    # Only ASCII letters are folded; others keep their case.
    return "".join(char.lower() if char.isascii() else char for char in name)


def aliases(columns: Sequence[str]) -> str:
    """Return a list of quoted names."""
    return ", ".join('"' + one.replace('"', '""') + '"' for one in columns)
