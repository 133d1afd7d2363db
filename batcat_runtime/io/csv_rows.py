"""Where rows of CSV end: a line end within quotes ends none.

A quote opens a cell only where the cell begins; one that stands elsewhere, as in ``5" pipe``, is a
character like any other. Arrow reads it the same way.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LINE_FEED, _RETURN = b"\n\r"


def first_row_end(data: bytes, sep: str, quote: str | None, *, is_last: bool) -> int | None:
    """Return where the first row ends, behind its line end, or None if more must be read.

    Parameters
    ----------
    data : bytes
        It begins with a row.
    sep, quote : str
        What parts cells, and what encloses them.
    is_last : bool
        Whether no more bytes follow.
    """
    found = _row(sep.encode(), (quote or "").encode()).match(data)
    end = found.end() if found else 0
    line_end = 2 if data[end : end + 2] == b"\r\n" else 1
    if is_last:
        return min(end + line_end, len(data))
    # a carriage return at the very end may have its line feed still to come
    is_open = end == len(data) or (data[end:] == b"\r")
    return None if is_open else end + line_end


def last_row_end(data: bytes, sep: str, quote: str | None) -> int:
    """Return where the last complete row ends, behind its line end; 0 if none is complete.

    Parameters
    ----------
    data : bytes
        It begins with a row.
    sep, quote : str
        What parts cells, and what encloses them.
    """
    sign = (quote or "").encode()
    if not sign or sign not in data:
        return _line_end_before(data, 0, len(data))
    quotes = _paired_quotes(data, sep.encode(), sign)
    if quotes is None:
        return _last_row_end_by_cells(data, sep.encode(), sign)
    stop = len(data)
    while stop:
        end = _line_end_before(data, 0, stop)
        before = int(quotes.searchsorted(end))
        if before % 2 == 0:
            return end
        stop = int(quotes[before - 1])  # it lies within quotes: go to where these open
    return 0


def seems_to_go_over_lines(data: bytes, quote: str | None) -> bool:
    """Whether some row seems to go over lines, because a cell in quotes holds a line end."""
    import numpy as np

    sign = (quote or "").encode()
    if not sign or sign not in data:
        return False
    characters = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(characters == sign[0])
    line_ends = np.flatnonzero((characters == _LINE_FEED) | (characters == _RETURN))
    return bool((quotes.searchsorted(line_ends) % 2).any())


def _paired_quotes(data: bytes, sep: bytes, quote: bytes) -> NDArray[np.intp] | None:
    """Return where quotes are if each one opens or closes a cell in turn; None if one does not.

    A doubled quote within a cell counts as one that closes and one that opens.
    """
    import numpy as np

    ends = np.zeros(256, bool)
    ends[[*sep, *quote, _LINE_FEED, _RETURN]] = True
    is_end = ends[np.frombuffer(b"\n" + data + b"\n", np.uint8)]
    quotes = np.flatnonzero(np.frombuffer(data, np.uint8) == quote[0])
    # the character before the one at n is is_end[n], the one behind it is_end[n + 2]
    if is_end[quotes[::2]].all() and is_end[quotes[1::2] + 2].all():
        return quotes
    return None


def _last_row_end_by_cells(data: bytes, sep: bytes, quote: bytes) -> int:
    """Do the same where quotes stand within cells too: slowly, cell by cell."""
    spans = [
        (found.start(), found.end())
        for found in _quoted(sep, quote).finditer(data)
        if b"\n" in found[1] or b"\r" in found[1] or not found[2]
    ]
    stop = len(data)
    for start, end in reversed(spans):
        if place := _line_end_before(data, end, stop):
            return place
        stop = start + 1  # the line end that the cell begins behind may be the one
    return _line_end_before(data, 0, stop)


def _line_end_before(data: bytes, start: int, stop: int) -> int:
    """Return the place behind the last line end in ``data[start:stop]``, or 0."""
    line_feed = data.rfind(b"\n", start, stop)
    if line_feed >= 0:
        return line_feed + 1
    # the carriage return that ends the data may be half of a line end
    return data.rfind(b"\r", start, min(stop, len(data) - 1)) + 1


@functools.cache
def _row(sep: bytes, quote: bytes) -> re.Pattern[bytes]:
    plain = rb"[^%b\r\n]*+" % re.escape(sep)
    if not quote:
        return re.compile(rb"[^\r\n]*+")
    sign = re.escape(quote)
    enclosed = rb"%b[^%b]*+(?:%b%b[^%b]*+)*+(?:%b|\Z)" % ((sign,) * 6)
    cell = rb"(?:%b)?+%b" % (enclosed, plain)
    return re.compile(rb"%b(?:%b%b)*+" % (cell, re.escape(sep), cell))


@functools.cache
def _quoted(sep: bytes, quote: bytes) -> re.Pattern[bytes]:
    """Match a cell in quotes: its inside, and the quote that closes it, if any."""
    sign = re.escape(quote)
    inside = rb"([^%b]*+(?:%b%b[^%b]*+)*+)" % ((sign,) * 4)
    return re.compile(rb"(?:\A|[%b\r\n])%b%b(%b|\Z)" % (re.escape(sep), sign, inside, sign))
