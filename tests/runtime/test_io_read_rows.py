"""Where rows of CSV end: compared, cut by cut, with a reader that goes letter by letter."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from batcat_runtime.io.csv_rows import first_row_end, last_row_end, seems_to_go_over_lines


def row_ends(data: str) -> list[int]:
    """Return the places behind each line end that ends a row."""
    ends, is_quoted, at_start, place = [], False, True, 0
    while place < len(data):
        letter = data[place]
        if is_quoted:
            if letter == '"' and data[place + 1 : place + 2] == '"':
                place += 1
            elif letter == '"':
                is_quoted = False
        elif letter == '"' and at_start:
            is_quoted = True
        elif letter in "\r\n":
            if data[place : place + 2] == "\r\n":
                place += 1
            ends.append(place + 1)
        at_start = not is_quoted and letter in ",\r\n"
        place += 1
    return ends


CSV = st.text('a,"\n', max_size=40)


@settings(deadline=None)
@given(CSV)
@example('a,"b\nc"\n"d')
@example('5" pipe,"a\nb"\n')
@example('"a""\n",b\n"')
@example('a"",\n"b\n')
def test_the_last_row_end(data: str) -> None:
    assert last_row_end(data.encode(), ",", '"') == (row_ends(data) or [0])[-1]
    lines = [place + 1 for place, letter in enumerate(data) if letter == "\n"]
    assert last_row_end(data.encode(), ",", None) == (lines or [0])[-1]


@settings(deadline=None)
@given(CSV)
@example('"a\n')
def test_the_first_row_end(data: str) -> None:
    ends = row_ends(data)
    if ends:
        assert first_row_end(data.encode(), ",", '"', is_last=False) == ends[0]
    else:
        assert first_row_end(data.encode(), ",", '"', is_last=False) is None
        assert first_row_end(data.encode(), ",", '"', is_last=True) == len(data)


def test_line_ends_of_every_kind() -> None:
    for line_end in (b"\n", b"\r\n", b"\r"):
        data = line_end.join([b"a,b", b'"1', b'2",3', b"4"])
        assert first_row_end(data, ",", '"', is_last=False) == 3 + len(line_end)
        assert last_row_end(data, ",", '"') == len(data) - 1
    assert first_row_end(b"a,b\r", ",", '"', is_last=False) is None
    assert first_row_end(b"a,b\r", ",", '"', is_last=True) == 4
    assert last_row_end(b"a\r", ",", '"') == 0


@settings(deadline=None)
@given(st.text('a,"\n', max_size=30))
def test_rows_that_go_over_lines_are_noticed(data: str) -> None:
    regular = data.count('"') == 0
    assert not (regular and seems_to_go_over_lines(data.encode(), '"'))
    assert seems_to_go_over_lines(b'1,"a\nb"\n', '"')
    assert not seems_to_go_over_lines(b'1,"a"\n"b"\n', '"')
