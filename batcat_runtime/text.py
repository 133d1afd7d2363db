"""Make any text fit to be shown: in a page, in a picture, in a terminal.

Names, log lines and table cells come from users and their scripts. They may hold escape sequences,
control characters, bidirectional overrides or half a surrogate pair. `clean` makes such characters
harmless and visible once, for every place that shows text; the rest of this module formats times
and numbers in the one way that report and console share. Escaping for HTML is not done here: that
is for whoever writes HTML.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any, TypeVar

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
NOTHING = "\N{EN DASH}"

_ESCAPES = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC: window titles, hyperlinks
    r"|\x1b[PX^_].*?(?:\x1b\\|$)"  # DCS, SOS, PM, APC strings
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor movement
    r"|\x1b[ -/]*[0-~]?",
    re.DOTALL,
)
_CONTROLS = {
    **{code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\n\t"},
    0x7F: "\N{SYMBOL FOR DELETE}",
    **dict.fromkeys(range(0x80, 0xA0), "\N{REPLACEMENT CHARACTER}"),
    # They reorder the text around them, and can make a line read as what it is not.
    **{code: f"[U+{code:04X}]" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))},
    # No file in UTF-8 and no XML may hold these.
    **dict.fromkeys((*range(0xD800, 0xE000), 0xFFFE, 0xFFFF), "\N{REPLACEMENT CHARACTER}"),
}


def clean(text: object) -> str:
    r"""Return `text` without escape sequences and with every control character made visible.

    Line feeds and tabs stay. A carriage return acts as in a terminal: what it overwrote is gone,
    so that a progress bar leaves its last state.

    Examples
    --------
    >>> clean("\x1b[31mred\x1b[0m\x00")
    'red␀'
    >>> clean("10 %\r100 %")
    '100 %'
    """
    plain = _ESCAPES.sub("", str(text)).replace("\r\n", "\n")
    if "\r" in plain:
        plain = "\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in plain.split("\n"))
    return plain.translate(_CONTROLS)


def one_line(text: object, limit: int = 0) -> str:
    """Return `text` cleaned and on one line, cut to `limit` columns (0: not cut)."""
    line = " ".join(clean(text).split())
    return shorten(line, limit) if limit else line


def display_width(text: str) -> int:
    """Return how many columns `text` takes: two for a wide character, none for a combining one."""
    return sum(
        0
        if unicodedata.combining(char) or unicodedata.category(char) in ("Cf", "Me", "Mn")
        else 2
        if unicodedata.east_asian_width(char) in "WF"
        else 1
        for char in text
    )


def shorten(text: str, limit: int) -> str:
    """Return `text` in at most `limit` columns, with an ellipsis where something was cut."""
    if display_width(text) <= limit:
        return text
    kept, width = [], 0
    for char in text:
        width += display_width(char)
        if width > limit - 1:
            break
        kept.append(char)
    return "".join(kept).rstrip() + ELLIPSIS


def format_seconds(seconds: float | None) -> str:
    """Return a duration as a reader says it: ``0.42 s``, ``7.3 s``, ``42.0 s``, ``3 min 05 s``."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 0.995 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def seconds_between(start: datetime, end: datetime) -> float:
    """Return the seconds from `start` to `end`; a time without a zone counts as UTC."""
    return (_aware(end) - _aware(start)).total_seconds()


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_MISSING = frozenset({"", "nan", "nat", "none", "null", "<na>"})


def format_column(values: Sequence[str], digits: int = 4) -> tuple[list[str], bool]:
    """Return a column's cells ready to be read, and whether it is a column of numbers.

    Decimal fractions are rounded alike in the whole column, to `digits` significant digits of its
    largest value; whole numbers and text stay as they are. A missing value becomes a dash.

    Examples
    --------
    >>> format_column(["12.34567", "3.9"])
    (['12.35', '3.90'], True)
    >>> format_column(["EV-1", "EV-2"])
    (['EV-1', 'EV-2'], False)
    """
    cells = [one_line(value) for value in values]
    present = [cell for cell in cells if cell.lower() not in _MISSING]
    numeric = bool(present) and all(_NUMBER.fullmatch(cell) for cell in present)
    places = _decimal_places(present, digits) if numeric else None
    if places is None:
        return [cell if cell.lower() not in _MISSING else NOTHING for cell in cells], numeric
    return [
        f"{float(cell):.{places}f}" if cell.lower() not in _MISSING else NOTHING for cell in cells
    ], True


def _decimal_places(cells: Sequence[str], digits: int) -> int | None:
    """Return how many decimals a column needs; None leaves its cells alone."""
    if all(re.fullmatch(r"[+-]?\d+", cell) for cell in cells):
        return None
    numbers = [abs(float(cell)) for cell in cells]
    largest = max(numbers)
    if not math.isfinite(largest) or largest >= 1e9 or 0 < largest < 1e-6:
        return None
    written = max(len(cell.partition(".")[2]) for cell in cells)
    if any("e" in cell.lower() for cell in cells):
        written = digits + 6
    magnitude = math.floor(math.log10(largest)) if largest else 0
    return min(written, max(digits - 1 - magnitude, 0))


Row = TypeVar("Row")


class Table(list[Row]):
    """Rows of plain data, with what of each stands in which column.

    Parameters
    ----------
    rows : iterable
        The data; the list holds them as they are.
    columns : mapping of str to callable
        From a heading to what a row has there; None is shown as a dash.
    """

    def __init__(self, rows: Iterable[Row], columns: Mapping[str, Callable[[Row], Any]]) -> None:
        super().__init__(rows)
        self.columns = dict(columns)

    def cells(self) -> list[list[str]]:
        """Return every cell as a line of text, row by row."""
        found = [[column(row) for column in self.columns.values()] for row in self]
        return [
            [NOTHING if cell in (None, "") else one_line(cell) for cell in row] for row in found
        ]

    def __repr__(self) -> str:
        """Return the rows below their headings."""
        lines = [list(self.columns), *self.cells()]
        wide = [max(map(display_width, column)) for column in zip(*lines, strict=True)]
        padded = (
            "  ".join(
                cell + " " * (width - display_width(cell))
                for cell, width in zip(line, wide, strict=True)
            ).rstrip()
            for line in lines
        )
        return "\n".join(padded)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(name)}</th>" for name in self.columns)
        body = "".join(
            f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>"
            for row in self.cells()
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
