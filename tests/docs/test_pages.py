"""Every page that tells what to type: typed, in order, by a reader with an embedded AWS."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.docs.page import Reader

DOCS = REPOSITORY / "docs"
PAGES = [DOCS / "tutorial.md", *sorted((DOCS / "how-to").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_reader_who_types_the_page_sees_what_it_says(page: Path, tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    try:
        reader.read(page.read_text("utf-8"))
    finally:
        reader.close()


def test_what_the_readme_types_is_typed_on_a_page() -> None:
    def typed(path: Path) -> set[str]:
        lines = re.findall(r"^ *\$ (.*?)(?: +#.*)?$", path.read_text("utf-8"), re.MULTILINE)
        return {" ".join(line.split()[:2]) for line in lines if "$ pip" not in line}

    elsewhere = {"make demo", "make docs", "make test", "pip install"}  # its own two commands
    pages = set().union(*map(typed, DOCS.rglob("*.md")))
    assert typed(REPOSITORY / "README.md") - pages - elsewhere == set()
