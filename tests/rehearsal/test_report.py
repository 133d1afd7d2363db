from __future__ import annotations

import re
import shutil
import subprocess
import sys
import warnings
import zlib
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from batcat_runtime.rehearsal.record import LogLine, Rehearsal, Step
from batcat_runtime.rehearsal.report import render_report, write_report
from tests.rehearsal.records import (
    START,
    failed_rehearsal,
    hostile_rehearsal,
    rehearsal,
    result_of,
    task,
    usage_frame,
)

VOID = {"meta", "link", "img", "wbr", "br"}
REFERENCES = ("src", "href", "action", "srcset", "data", "poster", "background", "xlink:href")


class Page(HTMLParser):
    """Reads a page as a browser does, and fails where its elements do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute twice in <{tag}>"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def every(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


RECORDS = {
    "passed": rehearsal,
    "failed": lambda: failed_rehearsal(error="\n".join(f"line {n} of a log" for n in range(40))),
    "hostile": hostile_rehearsal,
    "bare": lambda: rehearsal(
        steps=(), definition={}, logs=(), result=None, manifest=None, resources=(), versions={}
    ),
}


@pytest.fixture(params=RECORDS)
def any_record(request: pytest.FixtureRequest) -> Rehearsal:
    return RECORDS[request.param]()


def test_every_page_is_well_formed_and_its_ids_are_unique(any_record: Rehearsal) -> None:
    page = Page(render_report(any_record))
    ids = Counter(attributes["id"] for _, attributes in page.tags if "id" in attributes)
    assert [name for name, count in ids.items() if count > 1] == []
    for _, attributes in page.tags:
        for name in re.findall(r"url\(#([^)]+)\)", " ".join(filter(None, attributes.values()))):
            assert name in ids
        for name in (attributes.get("aria-labelledby") or "").split():
            assert name in ids
        if (attributes.get("href") or "").startswith("#"):
            assert (attributes["href"] or "")[1:] in ids


def test_a_page_asks_for_nothing_from_outside_and_runs_nothing(any_record: Rehearsal) -> None:
    page = Page(render_report(any_record))
    for tag, attributes in page.tags:
        assert tag not in ("script", "iframe", "object", "embed", "form", "base")
        assert not any(name.startswith("on") for name in attributes)
        assert "style" not in attributes
        for name in REFERENCES:
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
    assert [a.get("rel") for a in page.every("link")] == ["icon"]
    (policy,) = (
        a["content"] for a in page.every("meta") if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert (policy or "").startswith("default-src 'none'; style-src 'sha256-")
    assert "url(" not in (Path(__file__).parents[2] / CSS).read_text("utf-8")


CSS = "batcat_runtime/rehearsal/report/report.css"


def test_hostile_text_is_only_ever_text() -> None:
    html = render_report(hostile_rehearsal())
    page = Page(html)
    assert "<script" not in html
    assert "alert(1)" in page.text
    assert "{{ 7*7 }}" in page.text
    assert "电池🔋 שלום" in page.text
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", html
    )
    assert all("onerror" not in attributes for _, attributes in page.tags)


def test_a_failure_says_its_reason_and_the_last_lines_before_anything_else() -> None:
    text = Page(render_report(failed_rehearsal())).text
    reason = text.index("The job ended with exit code 1: KeyError: 'amps'")
    assert reason < text.index("line 88, in <module>") < text.index("Data window")
    assert "failed at the job “battery-usage-analysis-4c1f”" in text


def test_headings_are_in_order_and_tables_have_headers(any_record: Rehearsal) -> None:
    page = Page(render_report(any_record))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert all(a.get("scope") in ("col", "row") for a in page.every("th"))
    assert all(a.get("alt") for a in page.every("img"))


def test_a_hundred_thousand_lines_are_cut_and_the_cut_is_said() -> None:
    lines = tuple(
        LogLine(START + timedelta(milliseconds=n), "job", f"line {n} " + "<&\"'>" * 40)
        for n in range(100_000)
    )
    wide = LogLine(START, "wide", "電" * 1_000_000)
    html = render_report(rehearsal(logs=(*lines, wide)))
    assert len(html.encode()) < 8_000_000
    text = Page(html).text
    assert "line 0 " in text
    assert "line 99999 " in text
    assert re.search(r"9\d,\d{3} lines are left out here", text)
    assert "(line cut)" in text


def test_everything_large_at_once_stays_a_page() -> None:
    many = 3_000
    html = render_report(
        rehearsal(
            logs=tuple(LogLine(START, f"source {n}", "&" * 5000) for n in range(2000)),
            steps=tuple(
                Step("&" * 999, "job", "failed", START, 1.0, "&" * 9999) for _ in range(many)
            ),
            manifest={str(n): "<" * 100 for n in range(many)},
            resources=tuple(("<" * 999, "&" * 9999) for _ in range(many)),
            images=tuple((f"{n}.png", b"\x89PNG\r\n\x1a\n" + bytes(400_000)) for n in range(9)),
            definition={"StartAt": "0", "States": {str(n): {"Type": "Pass"} for n in range(many)}},
            versions={str(n): "&" * 999 for n in range(many)},
        )
    )
    assert len(html.encode()) < 8_000_000
    assert "too large to be put in here" in html
    assert "more logs are not shown" in html


def test_a_log_with_an_error_stands_open_after_a_failure_only() -> None:
    line = (LogLine(START, "job", "ERROR no input"),)
    assert Page(render_report(failed_rehearsal(logs=line))).every("details")[0] == {"open": None}
    assert Page(render_report(rehearsal(logs=line))).every("details")[0] == {}


def test_pictures_of_the_job_are_put_in_as_data() -> None:
    rows = b"\x00\xff\x00\x00"
    png = b"\x89PNG\r\n\x1a\n" + zlib.compress(rows)
    images = (("plot.png", png), ("notes.txt", b"not a picture"))
    page = Page(render_report(rehearsal(images=images)))
    assert [a["alt"] for a in page.every("img")][-1] == "plot.png"
    assert "notes.txt is not a picture" in page.text


def test_a_table_that_cannot_be_drawn_does_not_cost_the_report() -> None:
    frame = usage_frame()
    broken = result_of(frame).__class__("s3://b/k", 1, ("a",), (("1",),), frame="not a frame")
    assert "No plot:" in Page(render_report(rehearsal(result=broken))).text


def test_a_report_is_written_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = write_report(rehearsal(), tmp_path / "report" / "电池 rehearsal.html")
    assert [child.name for child in path.parent.iterdir()] == ["电池 rehearsal.html"]
    before = path.read_bytes()
    with pytest.raises(AttributeError):
        write_report(None, path)  # type: ignore[arg-type]
    assert path.read_bytes() == before
    assert [child.name for child in path.parent.iterdir()] == ["电池 rehearsal.html"]


PROBE = """<title>probe</title>{frames}<script>onload = () => {{
document.title = [...document.querySelectorAll("iframe")].map(frame => {{
const page = frame.contentDocument, card = page.querySelector(".card");
const whole = element => element.scrollWidth <= element.clientWidth
    && element.scrollHeight <= element.clientHeight;
return [frame.name, page.documentElement.scrollWidth <= frame.clientWidth,
[...page.querySelectorAll(".reason pre, .reason h2, .uri, h1")].every(whole),
frame.contentWindow.getComputedStyle(card).borderTopLeftRadius].join(" "); }}).join("; "); }}
</script>"""


def test_a_browser_shows_it_without_overflow_on_phone_and_desk(tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    frames, expected = "", []
    for name, make in RECORDS.items():
        path = write_report(make(), tmp_path / f"{name}.html")
        for width in (320, 390, 1280):
            frames += f'<iframe name="{name}-{width}" src="{path.name}" width="{width}"></iframe>'
            # No wider than its window, the reason is seen whole, its style passed its own policy.
            expected.append(f"{name}-{width} true true 12px")
    probe = tmp_path / "probe.html"
    probe.write_text(PROBE.format(frames=frames))
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
        "--disable-background-networking --disable-component-update "
        "--allow-file-access-from-files --dump-dom"
    )
    done = subprocess.run(
        [chromium, *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", probe.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    title = re.search("<title>(.*?)</title>", done.stdout)
    assert title is not None
    assert title[1].split("; ") == expected


# ---------------------------------------------------------------- the workflow


def page_of(definition: dict[str, Any], status: dict[str, str]) -> str:
    return Page(render_report(rehearsal(definition=definition, state_status=status))).text


def test_the_workflow_has_its_states_in_order_with_what_is_inside_them() -> None:
    definition = {
        "StartAt": "Defaults",
        "States": {
            "Defaults": {"Type": "Pass", "Next": "Input"},
            "Input": {"Type": "Pass", "Next": "clean"},
            "both": {
                "Type": "Parallel",
                "Branches": [
                    {"StartAt": "left", "States": {"left": task()}},
                    {"StartAt": "right", "States": {"right": task()}},
                ],
                "Next": "Enough?",
            },
            "clean": task("clean completed?"),
            "clean completed?": {"Type": "Choice", "Choices": [], "Default": "both"},
            "Enough?": {
                "Type": "Choice",
                "Choices": [
                    {"Variable": "$.rows", "NumericGreaterThan": 0, "Next": "write"},
                    {"And": [{"Variable": "$.a", "IsNull": False}], "Next": "write"},
                ],
                "Default": "Failed",
            },
            "write": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": True},
            "Failed": {"Type": "Fail"},
        },
    }
    text = page_of(definition, {"clean": "succeeded", "both": "failed", "left": "failed"})
    text = text[text.index("Workflow clean") : text.index("Timeline sample")]
    for one, other in pairwise(["clean processing job", "both all at", "left", "right", "Enough?"]):
        assert text.index(one) < text.index(other)
    assert "clean processing job · ✓ succeeded" in text
    assert "left processing job · ✗ failed" in text
    assert "→ write or Failed" in text
    assert "write Lambda function · \N{EN DASH} not reached" in text
    assert not re.search(r"Defaults|completed\?|ends in failure", text)


@pytest.mark.parametrize(
    "definition",
    [
        {"States": {"a": {"Next": "nowhere"}, "b": []}},
        {"StartAt": "x", "States": {"a": {"Type": "Map", "Next": "a"}}},
        {"StartAt": 1, "States": "no"},
    ],
)
def test_a_broken_definition_is_shown_as_far_as_it_goes(definition: dict[str, Any]) -> None:
    assert "passed its rehearsal" in page_of(definition, {})


# ---------------------------------------------------------------- charts


def test_the_example_gives_one_line_a_vehicle() -> None:
    page = Page(render_report(rehearsal()))
    titles = [a["alt"] for a in page.every("img")]
    assert len(titles) == 4
    assert re.match(r"energy_charged_wh\. [\d.]+ to [\d.]+$", titles[0] or "")
    assert "one line for each vin" in page.text


@pytest.mark.parametrize(
    ("columns", "note"),
    [
        ({}, "There is no result table."),
        ({"x": []}, "no column of numbers, or no rows."),
        ({"a": ["x"]}, "no column of numbers, or no rows."),
        ({"x": [float("nan")] * 3}, "no column of numbers, or no rows."),
        ({"cell": list("abab"), "x": [1, 2, 3, 5]}, "One bar for each cell. Each is the mean"),
        ({"x": [1.0, 2, 3, 9]}, "How many rows have which value."),
        ({"day": ["2022-01-01", "2022-01-02"], "x": [1, 2]}, "Along the axis: day, 2022-01-01 to"),
        ({"day": ["2022-01-01", "9999-12-31"], "x": [1, 2]}, "How many rows"),
        ({"ok": [True, False], "x": [Decimal("1.5"), None]}, "One bar for each ok"),
        ({"t": pd.to_timedelta([1, 2], unit="h"), "k": ["$a$", "电"]}, "One bar for each k"),
        ({"x": [float("inf"), 1.0, 2.0]}, "How many rows"),
        ({"day": pd.period_range("2022-01", periods=3, freq="M"), "x": [1, 2, 4]}, "Along the"),
    ],
)
def test_any_table_is_drawn_or_said_why_not(columns: dict[str, Any], note: str) -> None:
    frame = pd.DataFrame(columns)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert note in Page(render_report(rehearsal(result=result_of(frame)))).text


def test_many_rows_are_gathered_and_the_picture_stays_small() -> None:
    times = pd.date_range("2022-01-01", periods=100_000, freq="min")
    frame = pd.DataFrame({"time": times, "x_v": range(100_000), "cell": ["a", "b"] * 50_000})
    html = render_report(rehearsal(result=result_of(frame), logs=()))
    assert "Each point is the mean of its rows." in html
    assert len(html) < 300_000


def test_importing_the_report_does_not_import_pandas() -> None:
    code = "import batcat_runtime.rehearsal.report as r, sys; print({'pandas'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
