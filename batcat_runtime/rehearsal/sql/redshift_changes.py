"""INSERT, UPDATE, DELETE and MERGE.

They are DuckDB's, but for what Redshift checks when it stores a value: a text must fit its column's
length in bytes, and nobody but Redshift sets an identity column.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sqlglot import exp

from .redshift_functions import call
from .redshift_outcome import Outcome
from .redshift_query import ColumnOf, Relation, aliases, duck_sql
from .redshift_words import RedshiftError, syntax_error

if TYPE_CHECKING:
    from .redshift_session import Session


def change(
    session: Session, tree: exp.Expression, sql: str, parameters: Mapping[str, str | None]
) -> Outcome:
    """Perform a statement that changes rows.

    Parameters
    ----------
    session : Session
        Who performs it.
    tree : sqlglot.exp.Expression
        The statement, folded.
    sql : str
        As the caller sent it.
    parameters : mapping of str to str
        Values for its parameters.
    """
    if not isinstance(tree, exp.Insert | exp.Update | exp.Delete | exp.Merge):
        raise syntax_error(sql, 0)
    target = _target(session, tree)
    if isinstance(tree, exp.Insert):
        _fit_insert(tree, target)
    elif isinstance(tree, exp.Update):
        _fit_assignments(tree.expressions, target)
    elif isinstance(tree, exp.Merge):
        _fit_merge(tree, target)
    translated = session.translated(tree)
    session.execute(translated.sql, sql, parameters, list(translated.relations))
    # To the end: an unfinished result would block the connection.
    counts = session.connection.fetchall()
    return Outcome(rows=int(counts[0][0]) if counts else 0)


def fitted(value: exp.Expression, column: ColumnOf) -> exp.Expression:
    """Return an expression that fails when a text is too long for its column."""
    if not column.type.is_text or column.type.length is None:
        return value
    text = exp.Cast(this=value, to=exp.DataType.build("VARCHAR", dialect="duckdb"))
    macro = "rs_fit_char" if column.type.name == "bpchar" else "rs_fit"
    fit = call(macro, text, exp.Literal.number(column.type.length))
    fit.meta["ours"] = True
    return fit


def fitting_select(source: str, names: list[str], target: Relation) -> str:
    """Return DuckDB's SELECT from a source whose columns are to be stored in a table.

    Parameters
    ----------
    source : str
        A query or table of DuckDB with the columns in the order of `names`.
    names : list of str
        The columns of the table.
    """
    values = []
    for number, name in enumerate(names):
        column = target.column(name)
        value = exp.column(f"c{number}", quoted=True)
        if column is None:
            raise RedshiftError(
                f'ERROR: column "{name}" of relation "{target.name}" does not exist'
            )
        cast = f"CAST({duck_sql(fitted(value, column))} AS {column.type.duck})"
        values.append(cast)
    inner = aliases([f"c{number}" for number in range(len(names))])
    return f"SELECT {', '.join(values)} FROM ({source}) AS s({inner})"


def _target(session: Session, tree: exp.Expression) -> Relation:
    table = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    if not isinstance(table, exp.Table):
        raise RedshiftError("ERROR: syntax error")
    parts = tuple(part.name for part in table.parts)
    relation = session.find(parts)
    if relation is None:
        raise RedshiftError(f'ERROR: relation "{".".join(parts)}" does not exist')
    if relation.definition is not None:
        raise RedshiftError(f'ERROR: cannot change a view "{parts[-1]}"')
    if relation.place[0] not in (session.database, "temp"):
        raise RedshiftError(f'ERROR: cross-database reference to "{".".join(parts)}" is read-only')
    return relation


def _fit_insert(tree: exp.Insert, target: Relation) -> None:
    schema = tree.this if isinstance(tree.this, exp.Schema) else None
    named = [one.name for one in schema.expressions] if schema is not None else None
    names = named or [one.name for one in target.columns]
    for name in names:
        if target.column(name) is None:
            raise RedshiftError(
                f'ERROR: column "{name}" of relation "{target.name}" does not exist'
            )
    source = tree.expression
    if isinstance(source, exp.Values):
        for row in source.expressions:
            _fit_row(row, names, target, given=named is not None)
        return
    if source is None:
        return
    identities = [name for name in names if _column(target, name).identity]
    if identities and named is None:
        # The values are for the other columns; Redshift fills in the identity.
        names = [name for name in names if name not in identities]
        columns = [exp.to_identifier(name, quoted=True) for name in names]
        tree.set("this", exp.Schema(this=tree.this, expressions=columns))
    elif identities:
        raise RedshiftError("ERROR: cannot set an identity column to a value")
    if not any(_column(target, name).type.is_text for name in names):
        return
    places = [f"c{number}" for number in range(len(names))]
    values = [
        fitted(exp.column(place, table="s", quoted=True), _column(target, name))
        for place, name in zip(places, names, strict=True)
    ]
    alias = exp.TableAlias(
        this=exp.to_identifier("s"),
        columns=[exp.to_identifier(place, quoted=True) for place in places],
    )
    inner = exp.Subquery(this=source.copy(), alias=alias)
    outer = exp.Select(
        expressions=[
            exp.Alias(this=value, alias=exp.to_identifier(place, quoted=True))
            for value, place in zip(values, places, strict=True)
        ]
    )
    outer.set("from_", exp.From(this=inner))
    tree.set("expression", outer)


def _fit_row(row: exp.Expression, names: list[str], target: Relation, *, given: bool) -> None:
    values = list(row.expressions) if isinstance(row, exp.Tuple) else [row]
    if len(values) > len(names):
        raise RedshiftError("ERROR: INSERT has more expressions than target columns")
    if given and len(values) < len(names):
        raise RedshiftError("ERROR: INSERT has more target columns than expressions")
    for value, name in zip(values, names, strict=False):
        column = _column(target, name)
        if isinstance(value, exp.Column | exp.Var) and value.name.lower() == "default":
            value.replace(exp.Var(this="DEFAULT"))
            continue
        if column.identity:
            raise RedshiftError("ERROR: cannot set an identity column to a value")
        place = exp.Placeholder()
        value.replace(place)
        place.replace(fitted(value, column))


def _fit_assignments(assignments: list[exp.Expression], target: Relation) -> None:
    for one in assignments:
        if not isinstance(one, exp.EQ):
            continue
        column = target.column(one.this.name)
        if column is None:
            raise RedshiftError(
                f'ERROR: column "{one.this.name}" of relation "{target.name}" does not exist'
            )
        if column.identity:
            raise RedshiftError("ERROR: cannot set an identity column to a value")
        # DuckDB wants the bare name on the left.
        one.set("this", exp.column(one.this.name, quoted=True))
        one.set("expression", fitted(one.expression, column))


def _fit_merge(tree: exp.Merge, target: Relation) -> None:
    for when in tree.find_all(exp.When):
        then = when.args.get("then")
        if isinstance(then, exp.Update):
            _fit_assignments(then.expressions, target)
        elif isinstance(then, exp.Insert):
            row = then.expression
            if isinstance(row, exp.Values) and row.expressions:
                row = row.expressions[0]
                then.set("expression", row)
            first = then.this.expressions[0] if isinstance(then.this, exp.Tuple) else None
            if isinstance(first, exp.Anonymous) and first.name.lower() == "values":
                # INSERT VALUES (...) without column names is read as one call of "values".
                row = exp.Tuple(expressions=first.expressions)
                then.set("expression", row)
                names = [one.name for one in target.columns]
                listed = [exp.to_identifier(name, quoted=True) for name in names]
                then.set("this", exp.Tuple(expressions=listed[: len(first.expressions)]))
            else:
                names = [one.name for one in then.this.expressions]
            if isinstance(row, exp.Tuple):
                _fit_row(row, names, target, given=True)


def _column(target: Relation, name: str) -> ColumnOf:
    column = target.column(name)
    if column is None:
        raise RedshiftError(f'ERROR: column "{name}" of relation "{target.name}" does not exist')
    return column
