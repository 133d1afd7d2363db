"""`make docs`: the pages build without a warning, and can be read without a network."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import batcat_runtime as bc
from batcat_runtime.commands import app
from tests.conftest import REPOSITORY

# What a browser asks for by itself; a link waits for the reader.
LOADED = re.compile(
    r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=[\"']?(https?:|//)[^>]*"
)

NAMING = ("contributing.md", "security.md")  # the pages that name tests


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(place)]
    done = subprocess.run(build, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return place


def test_no_page_asks_for_anything_outside(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 5
    asked = {page.name: LOADED.findall(page.read_text("utf-8")) for page in pages}
    assert not any(asked.values()), asked
    for sheet in site.rglob("*.css"):
        assert not re.search(r"@import|url\([\"']?(https?:)?//", sheet.read_text("utf-8")), sheet


def test_every_public_function_and_command_has_its_entry(site: Path) -> None:
    functions, commands = (
        (site / f"{name}.html").read_text("utf-8") for name in ("reference", "commands")
    )
    for name in set(bc.__all__) - {"__version__"}:
        assert f'id="batcat_runtime.{name}"' in functions
    for name in app.list_commands(app.make_context("batcat", ["new"], resilient_parsing=True)):
        assert f'id="batcat-{name}' in commands


def test_its_search_works_from_a_disk(site: Path, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    flags = "--headless --no-sandbox --disable-gpu --virtual-time-budget=20000 --dump-dom"
    address = f"{(site / 'io.html').as_uri()}?q=Redshift"
    done = subprocess.run(
        [chromium, *flags.split(), f"--user-data-dir={tmp_path}", address],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert re.search(r"\d+ matching documents", done.stdout)


def test_every_decision_has_a_date_and_a_status() -> None:
    records = sorted((REPOSITORY / "docs" / "decisions").glob("2*.md"))
    assert len(records) > 30
    for path in records:
        title, blank, status = path.read_text("utf-8").splitlines()[:3]
        assert title.startswith("# "), path
        assert not blank, path
        form = rf"{path.name[:10]} · Status: (accepted|superseded)\b.*"
        assert re.fullmatch(form, status), (path, status)


def test_every_test_that_a_page_names_is_there() -> None:
    pages = [(REPOSITORY / "docs" / name).read_text("utf-8") for name in NAMING]
    named = {name for page in pages for name in re.findall(r"`(test_\w+)`", page)}
    assert len(named) > 40
    texts = [path.read_text("utf-8") for path in (REPOSITORY / "tests").rglob("test_*.py")]
    there = {name for text in texts for name in re.findall(r"^ *def (test_\w+)", text, re.M)}
    assert named - there == set()


def test_every_path_is_legal_on_windows() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True
    )
    paths = listed.stdout.decode("utf-8").rstrip("\0").split("\0")
    assert len(paths) > 300
    parts = {part for path in paths for part in path.split("/")}
    keeps = re.compile(
        r'.*[<>:"|?*\\\x00-\x1f].*|.*[ .]|(con|prn|aux|nul|(com|lpt)\d)(\..*)?', re.I
    )
    assert [part for part in parts if keeps.fullmatch(part)] == []
    # 260 characters with a folder to be in; and no two that differ by case only.
    assert max(map(len, paths)) < 160
    assert len({path.lower() for path in paths}) == len(paths)
