"""Loading what COPY read: raw text becomes typed values, or says why it cannot.

Text is converted by DuckDB, a column at a time, with `TRY`; rows that cannot be converted are
counted against MAXERROR and recorded in `stl_load_errors`, where Redshift's message sends the
reader.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from .redshift_changes import fitting_select
from .redshift_macros import LIBRARY
from .redshift_query import ColumnOf, Relation, aliases
from .redshift_raw import LINE, RawFile
from .redshift_words import RedshiftError

if TYPE_CHECKING:
    import pyarrow as pa

    from .redshift_copy import CopyPlan
    from .redshift_session import Session

_FILE = "file_number"
_DATE_CODES = (
    ("YYYY", "%Y"),
    ("MM", "%m"),
    ("DD", "%d"),
    ("HH24", "%H"),
    ("HH12", "%I"),
    ("HH", "%H"),
    ("MI", "%M"),
    ("SS", "%S"),
    ("MON", "%b"),
    ("YY", "%y"),
    ("AM", "%p"),
    ("PM", "%p"),
    ("OF", "%z"),
    ("MS", "%g"),
    ("US", "%f"),
)
_AUTO_DATES = ("%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%m/%d/%Y", "%d-%b-%Y", "%b-%d-%Y", "%B %d, %Y")


def load_typed(
    session: Session, relation: Relation, names: list[str], tables: list[pa.Table], sql: str
) -> int:
    """Store tables whose columns already have the target's types; returns the number of rows."""
    total = 0
    for table in tables:
        plain = table.rename_columns([f"c{number}" for number in range(len(names))])
        for number, name in enumerate(names):
            column = relation.column(name)
            if column is not None and column.type.name == "super":
                plain = plain.set_column(number, f"c{number}", _as_json(plain.column(number)))
        source = f"batcat_{uuid.uuid4().hex}"
        session.connection.register(source, plain)
        try:
            _store(session, relation, names, f'SELECT * FROM "{source}"', sql)
        finally:
            session.connection.unregister(source)
        total += table.num_rows
    return total


def load_text(
    session: Session,
    relation: Relation,
    names: list[str],
    files: list[RawFile],
    plan: CopyPlan,
    sql: str,
) -> int:
    """Convert and store text; returns the number of rows."""
    import pyarrow as pa

    numbered = [
        one.table.append_column(_FILE, pa.array([number] * one.table.num_rows, pa.int32()))
        for number, one in enumerate(files)
    ]
    raw = pa.concat_tables(numbered)
    source = f"batcat_{uuid.uuid4().hex}"
    session.connection.register(source, raw)
    try:
        columns = [(f"c{number}", _need(relation, name)) for number, name in enumerate(names)]
        checks = [(name, column, _converted(name, column, plan)) for name, column in columns]
        bad = [
            f"({_given(name, column, plan)} AND TRY({made}) IS NULL)"
            for name, column, made in checks
        ]
        wrong = " OR ".join(["is_ragged", *bad])
        errors = _errors(session, source, wrong, checks, files, plan)
        if len(errors) > plan.max_errors:
            _record(session, errors, relation)
            raise RedshiftError(
                f"ERROR: Load into table '{relation.name}' failed.  Check 'stl_load_errors' system "
                "table for details."
            )
        _record(session, errors, relation)
        kept = f"WHERE NOT ({wrong})" if errors else ""
        made = ", ".join(f"{one} AS {name}" for name, _, one in checks)
        select = f'SELECT {made} FROM "{source}" {kept}'
        if "NOLOAD" not in plan.flags:
            _store(session, relation, names, select, sql)
        return int(raw.num_rows - len({(one[0], one[1]) for one in errors}))
    finally:
        session.connection.unregister(source)


def _store(session: Session, relation: Relation, names: list[str], source: str, sql: str) -> None:
    target = ".".join(aliases([part]) for part in relation.place)
    select = fitting_select(source, names, relation)
    session.execute(f"INSERT INTO {target} ({aliases(names)}) {select}", sql)


def _as_json(column: Any) -> Any:
    import pyarrow as pa

    texts = [
        None
        if value is None
        else value
        if isinstance(value, str)
        else json.dumps(value, default=str, ensure_ascii=False)
        for value in column.to_pylist()
    ]
    return pa.array(texts, pa.string())


def _given(name: str, column: ColumnOf, plan: CopyPlan) -> str:
    """Return the condition that a raw value is there at all."""
    return f"({_raw_value(name, column, plan)}) IS NOT NULL"


def _raw_value(name: str, column: ColumnOf, plan: CopyPlan) -> str:
    null = exp.Literal.string(plan.null).sql("duckdb")
    value = name if plan.format == "JSON" else f"nullif({name}, {null})"
    if not column.type.is_text:
        return f"nullif(trim({value}), '')"
    if "TRIMBLANKS" in plan.flags:
        value = f"rtrim({value}, ' ')"
    if "BLANKSASNULL" in plan.flags:
        return f"CASE WHEN trim({value}) = '' THEN NULL ELSE {value} END"
    return f"nullif({value}, '')" if "EMPTYASNULL" in plan.flags else value


def _converted(name: str, column: ColumnOf, plan: CopyPlan) -> str:
    """Return DuckDB's expression that makes a raw value one of the column's type."""
    kind, value = column.type, _raw_value(name, column, plan)
    if kind.is_text:
        length = kind.length or 0
        if "TRUNCATECOLUMNS" in plan.flags:
            return f"rs_cut({value}, {length})"
        # Null, not an error: TRY takes no function that raises one.
        return (
            f"CASE WHEN strlen(rtrim({value}, ' ')) <= {length} THEN rs_cut({value}, {length}) END"
        )
    if kind.name == "date":
        return _moment(value, plan.date_format, "DATE")
    if kind.name in ("timestamp", "timestamptz"):
        if plan.time_format.lower() in ("epochsecs", "epochmillisecs"):
            scale = 1 if plan.time_format.lower() == "epochmillisecs" else 1000
            return f"CAST(epoch_ms(CAST({value} AS BIGINT) * {scale}) AS {kind.duck})"
        return _moment(value, plan.time_format, kind.duck)
    if kind.name == "super" and "JSON" not in plan.format:
        return f"CAST({value} AS JSON)"
    if kind.name == "super":
        return f"CASE WHEN json_valid({value}) THEN CAST({value} AS JSON) ELSE to_json({value}) END"
    if kind.name == "bool":
        return (
            f"CASE lower({value}) WHEN 'yes' THEN true WHEN 'y' THEN true WHEN 'no' THEN false "
            f"WHEN 'n' THEN false ELSE CAST({value} AS BOOLEAN) END"
        )
    return f"CAST({value} AS {kind.duck})"


def _moment(value: str, form: str, duck: str) -> str:
    if form.lower() != "auto":
        pattern = exp.Literal.string(strptime_format(form)).sql("duckdb")
        return f"CAST(strptime({value}, {pattern}) AS {duck})"
    known = ", ".join(f"'{one}'" for one in _AUTO_DATES)
    other = f"try_strptime({value}, [{known}])"
    return f"coalesce(TRY(CAST({value} AS {duck})), CAST({other} AS {duck}))"


def strptime_format(form: str) -> str:
    """Translate a DATEFORMAT or TIMEFORMAT for strptime.

    Parameters
    ----------
    form : str
        Such as ``YYYY-MM-DD HH:MI:SS``.
    """
    made, at = "", 0
    while at < len(form):
        for code, found in _DATE_CODES:
            if form[at : at + len(code)].upper() == code:
                made += found
                at += len(code)
                break
        else:
            made += "%%" if form[at] == "%" else form[at]
            at += 1
    return made


def _errors(
    session: Session,
    source: str,
    wrong: str,
    checks: list[tuple[str, ColumnOf, str]],
    files: list[RawFile],
    plan: CopyPlan,
) -> list[tuple[str, int, str, str, str, str]]:
    """Return file, line, column, type, value and reason of each row that cannot be loaded."""
    texts = ", ".join(name for name, _, _ in checks)
    verdicts = ", ".join(
        f"({_given(name, column, plan)} AND TRY({made}) IS NULL)" for name, column, made in checks
    )
    rows = session.connection.execute(
        f'SELECT {_FILE}, {LINE}, is_ragged, [{texts}], [{verdicts}] FROM "{source}" '
        f"WHERE {wrong} ORDER BY 1, 2"
    ).fetchall()
    found = []
    for file, line, ragged, values, bad in rows:
        uri = files[file].uri
        if ragged:
            found.append((uri, line, "", "", "", "Delimiter not found or extra column(s) found"))
            continue
        place = list(bad).index(True)
        column = checks[place][1]
        found.append(
            (uri, line, column.name, column.type.name, str(values[place]), _reason(column))
        )
    return found


def _reason(column: ColumnOf) -> str:
    kind = column.type
    if kind.is_text:
        return "String length exceeds DDL length"
    if kind.name == "date":
        return "Invalid Date Format - length must be 10 or more"
    if kind.name in ("timestamp", "timestamptz"):
        return "Invalid timestamp format or value [YYYY-MM-DD HH24:MI:SS]"
    return f"Invalid digit, Type: {kind.standard_name.capitalize()}"


def _record(
    session: Session,
    errors: list[tuple[str, int, str, str, str, str]],
    relation: Relation,
) -> None:
    now = datetime.now(UTC).replace(tzinfo=None)
    # Not in the session's transaction: what went wrong must be there after its rollback.
    connection = session.warehouse.cursor()
    try:
        for uri, line, column, kind, value, reason in errors:
            connection.execute(
                f"INSERT INTO {LIBRARY}.main.stl_load_errors VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [now, session.pid, relation.name, uri, line, column, kind, value, reason],
            )
    finally:
        connection.close()


def _need(relation: Relation, name: str) -> ColumnOf:
    found = relation.column(name)
    if found is None:
        raise RedshiftError(f'ERROR: column "{name}" of relation "{relation.name}" does not exist')
    return found
