"""CREATE, ALTER, DROP and TRUNCATE: what a database of Redshift's holds.

A text that is too long for its column is refused by a CHECK of DuckDB's; keys are noted and not
enforced, as in Redshift; distribution, sort keys and encodings are left out.
"""

from __future__ import annotations

from sqlglot import exp

from .engine import literal, quoted
from .redshift_errors import RedshiftError
from .redshift_sql import Column, Relation, Translated, tokens_of
from .redshift_types import RedshiftType, declared, from_duck
from .redshift_warehouse import NOT_PERFORMED, Connection, Values

_STORAGE = {"BACKUP", "DISTKEY", "INTERLEAVED", "SORTKEY"}


def create(on: Connection, sql: str, values: Values) -> None:
    """Perform CREATE TABLE, VIEW, SCHEMA or DATABASE."""
    try:
        tree = on.parse(sql, values)
    except RedshiftError as error:
        if used := _STORAGE & {token.text.upper() for token in tokens_of(sql)}:
            said = f"{', '.join(sorted(used))}, other than DISTKEY (a) SORTKEY (a) at the end"
            raise RedshiftError(f"{NOT_PERFORMED}CREATE TABLE with {said}") from error
        raise
    if not isinstance(tree, exp.Create) or tree.args.get("replace"):
        raise RedshiftError(NOT_PERFORMED + " ".join(sql.split()[:3]).upper())
    table = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    parts = tuple(part.name for part in table.parts)
    if tree.kind == "DATABASE":
        on.warehouse.create_database(parts[-1])
    elif tree.kind == "SCHEMA":
        exists = "IF NOT EXISTS " if tree.args.get("exists") else ""
        on.duck.execute(f"CREATE SCHEMA {exists}{_schema(on, parts)}")
    elif tree.kind == "VIEW":
        relation = Relation(on.place(parts, temporary=False))
        translated = on.translate(tree.expression)
        on.execute(Translated(f"CREATE VIEW {relation.sql} AS {translated.sql}"))
    elif tree.kind == "TABLE":
        _create_table(on, tree, parts)
    else:
        raise RedshiftError(NOT_PERFORMED + f"CREATE {tree.kind}")


def _create_table(on: Connection, tree: exp.Create, parts: tuple[str, ...]) -> None:
    temporary = bool(tree.find(exp.TemporaryProperty)) or parts[-1].startswith("#")
    known = on.find(parts)
    if known is not None and (known.place[0] == "temp" or not temporary):
        if tree.args.get("exists"):
            return
        raise RedshiftError(f'ERROR: Relation "{parts[-1]}" already exists')
    place = on.place(parts, temporary=temporary)
    items = tree.this.expressions if isinstance(tree.this, exp.Schema) else []
    source = on.translate(tree.expression) if tree.expression else None
    if source is not None:
        names = [item.name for item in items]
        described = on.described(source)
        names += [name for name, _ in described][len(names) :]
        columns = [
            Column(name, _stored(kind)) for name, (_, kind) in zip(names, described, strict=False)
        ]
    else:
        columns = [column for item in items for column in _columns(on, item)]
    keys = [
        node.name
        for item in items
        for key in item.find_all(exp.PrimaryKey)
        for node in key.expressions
    ]
    for name in (column.name for column in columns):
        if [column.name for column in columns].count(name) > 1:
            raise RedshiftError(f'ERROR: column "{name}" duplicated')
    with on.together():
        _create_columns(on, Relation(place, tuple(columns)), keys)
        if source is not None:
            insert = f"INSERT INTO {Relation(place).sql} {source.sql}"
            on.execute(Translated(insert, source.relations))


def _columns(on: Connection, item: exp.Expression) -> list[Column]:
    """Return the columns that an item of CREATE TABLE's parentheses defines."""
    if isinstance(item, exp.LikeProperty):
        parent = on.table(tuple(part.name for part in item.this.parts))
        return [Column(one.name, one.type, None, one.not_null) for one in parent.columns]
    if not isinstance(item, exp.ColumnDef):
        return []
    constraints = [one.kind for one in item.constraints]
    if any(isinstance(one, exp.GeneratedAsIdentityColumnConstraint) for one in constraints):
        raise RedshiftError("ERROR: The embedded AWS has no IDENTITY columns")
    default = item.find(exp.DefaultColumnConstraint)
    keyed = exp.NotNullColumnConstraint | exp.PrimaryKeyColumnConstraint
    not_null = any(isinstance(one, keyed) and not one.args.get("allow_null") for one in constraints)
    written = None
    if default is not None:
        select = exp.Select(expressions=[default.this.copy()])
        written = on.translate(select).sql.removeprefix("SELECT ").rpartition(" AS ")[0]
    if item.kind is None:
        raise RedshiftError(f'ERROR: syntax error at or near "{item.name}"')
    return [Column(item.name, declared(item.kind), written, not_null)]


def _create_columns(on: Connection, relation: Relation, keys: list[str]) -> None:
    kind = "TEMPORARY TABLE" if relation.place[0] == "temp" else "TABLE"
    definitions = ", ".join(map(_definition, relation.columns))
    on.duck.execute(f"CREATE {kind} {relation.sql} ({definitions})")
    for column in relation.columns:
        _note(on, relation, column)
    if keys:
        comment = literal(", ".join(keys))
        on.duck.execute(f"COMMENT ON TABLE {relation.sql} IS {comment}")


def _note(on: Connection, relation: Relation, column: Column) -> None:
    if from_duck(column.type.duck) != column.type:
        place = f"{relation.sql}.{quoted(column.name)}"
        on.duck.execute(f"COMMENT ON COLUMN {place} IS {literal(column.type.sql)}")


def alter(on: Connection, sql: str, values: Values) -> None:
    """ALTER TABLE ... ADD COLUMN, which awswrangler's `add_new_columns` sends."""
    tree = on.parse(sql, values)
    actions = tree.args.get("actions") or []
    if not isinstance(tree, exp.Alter) or not isinstance(actions[0], exp.ColumnDef):
        raise RedshiftError(NOT_PERFORMED + "ALTER, other than TABLE ... ADD COLUMN")
    relation = on.table(tuple(part.name for part in tree.this.parts))
    with on.together():
        for column in _columns(on, actions[0]):
            definition = f"{quoted(column.name)} {column.type.duck}"
            on.duck.execute(f"ALTER TABLE {relation.sql} ADD COLUMN {definition}")
            _note(on, relation, column)


def drop(on: Connection, sql: str, values: Values) -> None:
    """Perform DROP TABLE, VIEW or SCHEMA."""
    tree = on.parse(sql, values)
    kind = str(tree.args.get("kind"))
    if kind not in ("TABLE", "VIEW", "SCHEMA"):
        raise RedshiftError(f"{NOT_PERFORMED}DROP {kind}")
    optional = "IF EXISTS " if tree.args.get("exists") else ""
    for table in tree.args["tables"]:
        parts = tuple(part.name for part in table.parts)
        relation = None if kind == "SCHEMA" else on.find(parts)
        if relation is not None:
            on.duck.execute(f"DROP {kind} {relation.sql}")
        elif kind == "SCHEMA":
            end = " CASCADE" if tree.args.get("cascade") else ""
            on.duck.execute(f"DROP SCHEMA {optional}{_schema(on, parts)}{end}")
        elif not optional:
            raise RedshiftError(f"ERROR: {kind.title()} {'.'.join(parts)} does not exist")


def truncate(on: Connection, sql: str, values: Values) -> None:
    """Empty a table; as Redshift does, commit the transaction that it runs in."""
    tree = on.parse(sql, values)
    relation = on.table(tuple(part.name for part in tree.expressions[0].parts))
    begun = on.in_transaction
    on.duck.execute(f"DELETE FROM {relation.sql}")
    if begun:
        on.commit()
        on.begin()


def _schema(on: Connection, parts: tuple[str, ...]) -> str:
    return ".".join(map(quoted, (on.database, *parts)[-2:]))


def _stored(kind: RedshiftType) -> RedshiftType:
    """Return the type of a column of CREATE TABLE AS."""
    return RedshiftType(kind.name, 65_535) if kind.is_text and not kind.length else kind


def _definition(column: Column) -> str:
    name, kind = quoted(column.name), column.type
    parts = [name, kind.duck]
    if column.default is not None:
        parts.append(f"DEFAULT ({column.default})")
    if column.not_null:
        parts.append("NOT NULL")
    if kind.is_text:
        value = f"rtrim({name})" if kind.name == "bpchar" else name
        parts.append(f"CHECK (strlen({value}) <= {kind.length})")
    return " ".join(parts)
