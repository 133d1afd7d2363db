"""CREATE VIEW: bound early, as DuckDB does it, or late, as text put in place by each query."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from .redshift_dialect import Words
from .redshift_outcome import Outcome
from .redshift_query import aliases
from .redshift_words import RedshiftError, syntax_error

if TYPE_CHECKING:
    from .redshift_session import Session

Place = tuple[str, str, str]


def create_view(session: Session, words: Words, *, replace: bool) -> Outcome:
    """Perform CREATE VIEW, from after these words."""
    parts = words.names()
    place = session.place(parts)
    names = []
    if words.starts("("):
        names = [one.strip().strip('"').lower() for one in words.group().split(",")]
    while not words.done and not words.starts("AS"):
        words.next()
        if words.starts("("):
            words.group()
    words.expect("AS")
    query = words.rest()
    late = " ".join(query.upper().split()).endswith("WITH NO SCHEMA BINDING")
    if late:
        query = query[: query.upper().rindex("WITH")].rstrip()
    tree = session.parse(query)
    if not isinstance(tree, exp.Query):
        raise syntax_error(query, 0)
    existing = session.find(parts)
    if existing is not None and not replace:
        raise RedshiftError(f'ERROR: Relation "{parts[-1]}" already exists')
    if late:
        _keep_late_view(session, place, query, names)
        return Outcome()
    forget_late_view(session, place)
    translated = session.translated(tree)
    if any(one.place[0].startswith("ext_") for one in translated.relations.values()):
        raise RedshiftError(
            "ERROR: External tables are not supported in views: use WITH NO SCHEMA BINDING"
        )
    name = ".".join(aliases([part]) for part in place)
    listed = f" ({aliases(names)})" if names else ""
    verb = "CREATE OR REPLACE VIEW" if replace else "CREATE VIEW"
    session.execute(f"{verb} {name}{listed} AS {translated.sql}", words.sql)
    return Outcome()


def _keep_late_view(session: Session, place: Place, query: str, names: list[str]) -> None:
    views = session.warehouse.notes[place[0]].late_views
    if names:
        query = f"SELECT * FROM ({query}) AS late ({aliases(names)})"
    before = views.get(place[1:])
    views[place[1:]] = query

    def undo() -> None:
        views.pop(place[1:], None)
        if before is not None:
            views[place[1:]] = before

    session.note(undo)


def forget_late_view(session: Session, place: Place) -> bool:
    """Drop a view that is bound late; returns whether there was one."""
    views = session.warehouse.notes[place[0]].late_views
    before = views.pop(place[1:], None)
    if before is None:
        return False
    session.note(lambda: views.__setitem__(place[1:], before))
    return True
