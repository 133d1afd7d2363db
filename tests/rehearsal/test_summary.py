from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from batcat_runtime.rehearsal.record import Mail, Rehearsal
from batcat_runtime.rehearsal.report.summary import print_summary
from batcat_runtime.text import clean, display_width, format_column, format_seconds
from tests.rehearsal.records import (
    failed_rehearsal,
    hostile_rehearsal,
    rehearsal,
    result_of,
    usage_frame,
)

REPORT = Path("/home/me/project_battery/report/rehearsal-usage-analysis-with-a-long-name.html")


def printed(
    record: Rehearsal, *, width: int = 80, terminal: bool = False, encoding: str = "utf-8"
) -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    console = Console(file=file, width=width, force_terminal=terminal, _environ={})
    print_summary(record, REPORT, console)
    file.flush()
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("width", [80, 120])
def test_a_table_fits_the_width_and_the_path_is_the_last_line(width: int) -> None:
    lines = printed(rehearsal(), width=width).splitlines()
    uncut = [line for line in lines if not line.startswith(("s3://", "Report:"))]
    assert max(map(display_width, uncut)) <= width
    assert lines[-1] == f"Report: {REPORT}"
    assert any(line.split()[:3] == ["container", "image", "succeeded"] for line in lines)
    assert "Seconds" in lines[1]
    assert "usage-analysis passed its rehearsal in 12.7 s." in lines


def test_columns_that_do_not_fit_are_named() -> None:
    narrow, wide = printed(rehearsal(), width=80), printed(rehearsal(), width=160)
    assert "more columns: " in narrow
    assert "n_pulses" in narrow
    assert "more columns" not in wide
    assert "resistance_ohm" in wide


def test_numbers_are_rounded_alike_and_stand_on_the_right() -> None:
    lines = printed(rehearsal(), width=160).splitlines()
    first = [line for line in lines if line.startswith("LBC001  2022-01-0")]
    assert len(first) == 6
    assert len({len(line) for line in first}) == 1
    assert first[0].split()[-3].startswith("4.8")


def test_without_a_terminal_there_are_no_escapes() -> None:
    assert "\x1b" not in printed(rehearsal())
    assert "\x1b" in printed(rehearsal(), terminal=True)


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp936"])
def test_any_encoding_prints_any_record(encoding: str, terminal: bool) -> None:
    for record in (rehearsal(), failed_rehearsal(), hostile_rehearsal()):
        text = printed(record, encoding=encoding, terminal=terminal)
        assert text.splitlines()[-1].endswith(".html" if not terminal else "m")
        if encoding == "ascii" and not terminal:
            assert all(char.isprintable() or char == "\n" for char in text)


def test_a_failure_shows_the_mail_that_would_have_been_sent() -> None:
    record = replace(failed_rehearsal(), mails=(Mail("me@example.com", "Night", "It failed."),))
    lines = printed(record).splitlines()
    where = lines.index("On AWS, me@example.com would get a mail:")
    assert lines[where + 1] == "  It failed."
    assert lines[-1].startswith("Report:")


def test_a_failure_says_its_reason_and_the_last_lines_whole() -> None:
    error = "The job ended with exit code 1\n" + "x" * 200 + "\nKeyError: 'amps'"
    lines = printed(failed_rehearsal(error=error)).splitlines()
    assert lines[-3:-1] == [
        "usage-analysis failed its rehearsal after 12.7 s.",
        "The job ended with exit code 1",
    ]
    assert "  " + "x" * 200 in lines
    assert "  KeyError: 'amps'" in lines


def test_hostile_text_cannot_steer_the_terminal() -> None:
    text = printed(hostile_rehearsal(), width=200)
    assert not any(char in text for char in ("\x1b", "\x00", "\x07", "\x9b", "\u202e"))
    assert "{{ 7*7 }}" in text


def test_brackets_are_text_and_not_markup() -> None:
    frame = pd.DataFrame({"k": ["[red]a[/red]", "[/]"], "x": [1, 2]})
    record = rehearsal(title="[bold]", purpose="[link=x]y", result=result_of(frame))
    text = printed(record, terminal=True)
    assert "[red]a[/red]" in text
    assert "[link=x]y passed" in text


@pytest.mark.parametrize("width", [20, 40])
def test_a_narrow_window_is_survived(width: int) -> None:
    assert "passed its rehearsal" in printed(rehearsal(), width=width)


def test_no_result_and_no_steps_are_survived() -> None:
    assert "passed" in printed(rehearsal(result=None, steps=()))
    assert "passed" in printed(rehearsal(result=result_of(usage_frame().iloc[:0])))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("10 %\r100 %\r\n", "100 %\n"),
        ("a\x00b\x7f", "a␀b␡"),
        ("\ud800", "\N{REPLACEMENT CHARACTER}"),
        ("\u202eevil", "[U+202E]evil"),
        ("tab\tand\nline", "tab\tand\nline"),
    ],
)
def test_clean(text: str, shown: str) -> None:
    assert clean(text) == shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "\N{EN DASH}"), (0.418, "0.42 s"), (7.31, "7.3 s"), (59.94, "59.9 s"),
     (59.96, "1 min 00 s"), (185, "3 min 05 s"), (7260, "2 h 01 min")],
)  # fmt: skip
def test_format_seconds(seconds: float | None, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        (["12.34567", "3.9"], ["12.35", "3.90"]),
        (["0.0231", "nan"], ["0.0231", "\N{EN DASH}"]),
        (["2022", "1999"], ["2022", "1999"]),
        (["1e-9", "2e-9"], ["1e-9", "2e-9"]),
        (["1234567.891"], ["1234568"]),
    ],
)
def test_columns_are_rounded_alike(cells: list[str], shown: list[str]) -> None:
    assert format_column(cells) == (shown, True)
