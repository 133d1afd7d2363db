"""Pages of Python: every example runs, in order, and prints what the page says."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from typing import Any

import pytest

from batcat_runtime.rehearsal import EmbeddedAWS
from tests.conftest import REPOSITORY
from tests.io_world import REGION, furnish

DOCS = REPOSITORY / "docs"
EXAMPLE = re.compile(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", re.DOTALL)


@pytest.fixture
def names(clean_environment: None) -> Iterator[dict[str, Any]]:
    with EmbeddedAWS(region=REGION) as aws:
        yield furnish(aws)


def test_every_example_prints_what_its_page_says(names: dict[str, Any]) -> None:
    for page, number in (("io.md", 16), ("how-to/large-data.md", 2)):
        examples = EXAMPLE.findall((DOCS / page).read_text("utf-8"))
        assert len(examples) >= number
        for code, expected in examples:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(code, page, "exec"), names)
            if expected:
                assert printed.getvalue() == expected, code


def test_the_page_shows_each_public_function_of_io() -> None:
    import batcat_runtime as bc

    text = (DOCS / "io.md").read_text("utf-8")
    public = [name for name, home in bc._HOME.items() if home.startswith("io.")]
    assert len(public) > 10
    assert [name for name in public if name not in text] == []
