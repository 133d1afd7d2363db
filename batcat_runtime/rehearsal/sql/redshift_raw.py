"""Text that COPY reads: delimited lines, CSV and JSON, as rows of raw text."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .redshift_words import RedshiftError

if TYPE_CHECKING:
    import pyarrow as pa

    from .redshift_copy import CopyPlan

LINE = "line_number"


@dataclass(frozen=True)
class RawFile:
    """The rows of one object, every value as text.

    Attributes
    ----------
    table : pyarrow.Table
        Columns c0, c1, ...: text or null; and the line where each row begins.
    """

    uri: str
    table: pa.Table


def read_delimited(uri: str, body: bytes, names: list[str], plan: CopyPlan) -> RawFile:
    """Read CSV, or text with a delimiter."""
    text = body.decode("utf-8-sig", errors="replace")
    lines: list[int] = []
    rows: list[list[str | None]] = []
    for line, values in _records(text, plan):
        if line <= plan.header:
            continue
        if values in ([], [""]) and ("IGNOREBLANKLINES" in plan.flags or len(names) > 1):
            continue
        if len(values) < len(names) and "FILLRECORD" in plan.flags:
            values = [*values, *[None] * (len(names) - len(values))]
        if len(values) == len(names) + 1 and values[-1] == "" and plan.format != "CSV":
            values = values[:-1]
        lines.append(line)
        rows.append(list(values))
    return RawFile(uri, _table(rows, lines, len(names)))


def read_json(uri: str, body: bytes, names: list[str], plan: CopyPlan) -> RawFile:
    """Read JSON objects, one after the other."""
    text = body.decode("utf-8-sig", errors="replace")
    decoder = json.JSONDecoder()
    at, rows, lines = 0, [], []
    while at < len(text):
        while at < len(text) and text[at] in " \t\r\n,[]":
            at += 1
        if at >= len(text):
            break
        line = text.count("\n", 0, at) + 1
        try:
            found, at = decoder.raw_decode(text, at)
        except ValueError as error:
            raise RedshiftError(f"ERROR: Invalid JSON in {uri}, line {line}: {error}") from error
        lines.append(line)
        rows.append(_json_row(found, names, plan))
    return RawFile(uri, _table(rows, lines, len(names)))


def _records(text: str, plan: CopyPlan) -> Any:
    """Yield the line where a record begins, and its values."""
    if plan.format == "CSV":
        reader = csv.reader(
            io.StringIO(text, newline=""), delimiter=plan.delimiter, quotechar=plan.quote
        )
        line = 1
        for values in reader:
            yield line, values
            line = reader.line_num + 1
        return
    for line, content in enumerate(text.splitlines(), 1):
        yield line, _delimited(content, plan)


def _delimited(content: str, plan: CopyPlan) -> list[str]:
    """Split a line at its delimiter, minding ESCAPE and REMOVEQUOTES."""
    values, current, quote, at = [], "", "", 0
    while at < len(content):
        char = content[at]
        if char == "\\" and "ESCAPE" in plan.flags and at + 1 < len(content):
            current += content[at + 1]
            at += 2
            continue
        if "REMOVEQUOTES" in plan.flags and char in "\"'" and (not quote and not current):
            quote = char
        elif quote and char == quote:
            quote = ""
        elif not quote and content.startswith(plan.delimiter, at):
            values.append(current)
            current = ""
            at += len(plan.delimiter)
            continue
        else:
            current += char
        at += 1
    return [*values, current]


def _table(rows: list[list[str | None]], lines: list[int], width: int) -> pa.Table:
    import pyarrow as pa

    ragged = [len(row) != width for row in rows]
    padded = [(row + [None] * width)[:width] for row in rows]
    columns = [pa.array([row[place] for row in padded], pa.string()) for place in range(width)]
    names = [f"c{place}" for place in range(width)]
    return pa.table(
        [*columns, pa.array(lines, pa.int64()), pa.array(ragged, pa.bool_())],
        names=[*names, LINE, "is_ragged"],
    )


def _json_row(found: Any, names: list[str], plan: CopyPlan) -> list[str | None]:
    if plan.json_path.lower() == "noshred":
        return [json.dumps(found, ensure_ascii=False)]
    if not isinstance(found, dict):
        return []
    fold = plan.json_path.lower() == "auto ignorecase"
    values = {(str(key).lower() if fold else str(key)): value for key, value in found.items()}
    row: list[str | None] = []
    for name in names:
        value = values.get(name)
        if value is None or isinstance(value, str):
            row.append(value)
        elif isinstance(value, bool):
            row.append("true" if value else "false")
        else:
            row.append(json.dumps(value, ensure_ascii=False))
    return row
