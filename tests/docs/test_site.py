"""`make docs`: the pages build without a warning, and can be read without a network."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import batcat_runtime as bc
from batcat_runtime.cli import app
from tests.conftest import REPOSITORY

# What a browser asks for by itself; a link waits for the reader.
LOADED = re.compile(
    r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=[\"']?(https?:|//)[^>]*"
)


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
