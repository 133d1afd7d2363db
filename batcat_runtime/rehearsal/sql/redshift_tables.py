"""CREATE TABLE and ALTER TABLE, read word by word.

Distribution, sort keys and encodings say how Redshift stores a table, not what is in it: they are
read and left out. Keys are left out too, since Redshift does not enforce them either. Identity
columns become sequences; declared types are kept as comments (`redshift_types`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .redshift_dialect import Words
from .redshift_query import aliases
from .redshift_types import RedshiftType, UnknownTypeError, parse_type
from .redshift_words import RedshiftError

_AFTER_TYPE = {
    "DEFAULT",
    "IDENTITY",
    "GENERATED",
    "ENCODE",
    "DISTKEY",
    "SORTKEY",
    "COLLATE",
    "NOT",
    "NULL",
    "UNIQUE",
    "PRIMARY",
    "REFERENCES",
    ",",
    "",
}
_MAX_COLUMNS = 1600


@dataclass
class ColumnPlan:
    """A column to be created.

    Attributes
    ----------
    default : str or None
        The expression of its default, in Redshift's SQL.
    identity : tuple of int or None
        Seed and step.
    strict : bool
        Whether Redshift alone may set an identity's value.
    """

    name: str
    type: RedshiftType
    default: str | None = None
    not_null: bool = False
    identity: tuple[int, int] | None = None
    strict: bool = True

    @property
    def comment(self) -> str:
        """What is noted about the column: its declared type, and that it is an identity."""
        return self.type.comment + (" identity" if self.identity and self.strict else "")


@dataclass
class TablePlan:
    """A table to be created.

    Attributes
    ----------
    query : str or None
        For CREATE TABLE AS: the query.
    like : tuple of str or None
        For CREATE TABLE (LIKE ...): the parent's name.
    """

    name: tuple[str, ...]
    temporary: bool = False
    if_not_exists: bool = False
    columns: list[ColumnPlan] = field(default_factory=list)
    query: str | None = None
    query_names: list[str] = field(default_factory=list)
    like: tuple[str, ...] | None = None
    like_defaults: bool = False


def read_create_table(words: Words) -> TablePlan:
    """Read CREATE [TEMP] TABLE, from after CREATE.

    Raises
    ------
    RedshiftError
        When it is not as Redshift's grammar has it.
    """
    words.take("LOCAL")
    temporary = words.take("TEMPORARY") or words.take("TEMP")
    words.expect("TABLE")
    plan = TablePlan((), temporary)
    plan.if_not_exists = words.take("IF", "NOT", "EXISTS")
    plan.name = words.names()
    if plan.name[-1].startswith("#"):
        plan.temporary = True
    if words.starts("("):
        inside = words.group()
        if _is_column_list(inside):
            plan.query_names = [part.strip().strip('"').lower() for part in inside.split(",")]
            _read_columns_unless_query(words, plan, inside)
        else:
            _read_columns(plan, inside)
    _skip_attributes(words)
    if words.take("AS"):
        plan.query = words.rest()
    elif not words.done:
        raise words.error()
    if plan.query is None and not plan.columns and plan.like is None:
        raise words.error()
    return plan


def column_sql(column: ColumnPlan, default: str | None) -> str:
    """Return the definition of a column for DuckDB."""
    parts = [aliases([column.name]), column.type.duck]
    if default is not None:
        parts.append(f"DEFAULT ({default})")
    if column.not_null:
        parts.append("NOT NULL")
    return " ".join(parts)


def read_column(words: Words) -> ColumnPlan:
    """Read one column definition."""
    name = words.name()
    kind = _read_type(words)
    column = ColumnPlan(name, kind)
    while not words.done and not words.starts(","):
        _read_attribute(words, column)
    return column


def _is_column_list(inside: str) -> bool:
    """Tell whether parentheses hold bare names only, as before AS in CREATE TABLE t (a, b) AS."""
    return all(re.fullmatch(r'\s*("[^"]*"|\w+)\s*', part) for part in inside.split(","))


def _read_columns_unless_query(words: Words, plan: TablePlan, inside: str) -> None:
    mark = words.at
    _skip_attributes(words)
    is_query = words.starts("AS")
    words.at = mark
    if not is_query:
        plan.query_names = []
        _read_columns(plan, inside)


def _read_columns(plan: TablePlan, inside: str) -> None:
    words = Words(inside)
    while True:
        if words.take("LIKE"):
            plan.like = words.names()
            if words.take("INCLUDING", "DEFAULTS"):
                plan.like_defaults = True
            else:
                words.take("EXCLUDING", "DEFAULTS")
        elif not _skip_constraint(words):
            plan.columns.append(read_column(words))
        if words.done:
            break
        words.expect(",")
    names = [one.name for one in plan.columns]
    for name in names:
        if names.count(name) > 1:
            raise RedshiftError(f'ERROR: column "{name}" duplicated')
    if len(names) > _MAX_COLUMNS:
        raise RedshiftError(f"ERROR: tables can have at most {_MAX_COLUMNS} columns")


def _skip_constraint(words: Words) -> bool:
    """Read a table constraint, which Redshift does not enforce."""
    if words.take("CONSTRAINT"):
        words.name()
    if words.take("UNIQUE") or words.take("PRIMARY", "KEY"):
        words.group()
        return True
    if words.take("FOREIGN", "KEY"):
        words.group()
        words.expect("REFERENCES")
        words.names()
        if words.starts("("):
            words.group()
        return True
    return False


def _read_type(words: Words) -> RedshiftType:
    text: list[str] = []
    depth = 0
    while not words.done:
        word = words.peek()
        if depth == 0 and text and (word in _AFTER_TYPE or word == ")"):
            break
        depth += (word == "(") - (word == ")")
        text.append(str(words.next().text))
    try:
        return parse_type(" ".join(text))
    except UnknownTypeError as error:
        raise RedshiftError(f"ERROR: {error}") from error


def _read_attribute(words: Words, column: ColumnPlan) -> None:
    if words.take("DEFAULT"):
        column.default = _read_expression(words)
    elif words.take("IDENTITY"):
        column.identity = _read_steps(words)
        column.not_null = True
    elif words.take("GENERATED", "BY", "DEFAULT", "AS", "IDENTITY"):
        column.identity, column.strict = _read_steps(words), False
        column.not_null = True
    elif words.take("NOT", "NULL") or words.take("PRIMARY", "KEY"):
        column.not_null = True
    elif words.take("ENCODE") or words.take("COLLATE"):
        words.next()
    elif words.take("REFERENCES"):
        words.names()
        if words.starts("("):
            words.group()
    elif not (
        words.take("NULL") or words.take("UNIQUE") or words.take("DISTKEY") or words.take("SORTKEY")
    ):
        raise words.error()


def _read_steps(words: Words) -> tuple[int, int]:
    inside = Words(words.group())
    seed = inside.number()
    inside.expect(",")
    return seed, inside.number()


def _read_expression(words: Words) -> str:
    """Read an expression up to the next attribute or comma at its own depth."""
    start, depth = words.at, 0
    while not words.done:
        word = words.peek()
        stop = words.at > start and depth == 0
        if stop and (word == "," or word in _AFTER_TYPE - {"NULL", ""}):
            break
        depth += (word == "(") - (word == ")")
        words.next()
    if words.at == start:
        raise words.error()
    return words.sql[words.tokens[start].start : words.tokens[words.at - 1].end]


def _skip_attributes(words: Words) -> None:
    while not words.done and not words.starts("AS"):
        if words.take("BACKUP"):
            if not (words.take("YES") or words.take("NO")):
                raise words.error()
        elif words.take("DISTSTYLE"):
            if words.peek() not in ("AUTO", "EVEN", "KEY", "ALL"):
                raise words.error()
            words.next()
        elif words.take("DISTKEY"):
            words.group()
        elif words.take("ENCODE", "AUTO"):
            continue
        elif words.take("COMPOUND") or words.take("INTERLEAVED"):
            words.expect("SORTKEY")
            words.group()
        elif words.take("SORTKEY"):
            if not words.take("AUTO"):
                words.group()
        elif words.take("ON", "COMMIT"):
            words.next()
            words.next()
        else:
            raise words.error()
