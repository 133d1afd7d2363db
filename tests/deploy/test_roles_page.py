"""docs/roles.md says what the code does."""

from __future__ import annotations

import re

import pytest

from batcat_runtime.deploy.policies.sources import SOURCES
from batcat_runtime.permissions import AthenaPermissions, Permissions, RedshiftPermissions
from tests.conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "roles.md"
BEGIN, END = "<!-- sources: begin -->\n", "<!-- sources: end -->"


def source_table() -> str:
    """Return the table of actions that no rehearsal shows, one row a role and reason."""
    rows: dict[tuple[str, str, str, str], list[str]] = {}
    for (role, action), source in SOURCES.items():
        rows.setdefault((role, source.why, source.page, source.url), []).append(action)
    lines = ["| Role | Actions | Why | Source |", "|---|---|---|---|"]
    for (role, why, page, url), actions in rows.items():
        listed = ", ".join(f"`{one}`" for one in actions)
        lines.append(f"| {role} | {listed} | {why} | [{page}]({url}) |")
    return "\n".join(lines) + "\n"


def test_the_page_lists_every_action_that_no_rehearsal_shows() -> None:
    text = PAGE.read_text(encoding="utf-8")
    found = text.partition(BEGIN)[2].partition(END)[0]
    assert found == source_table(), "put this there:\n" + source_table()


@pytest.mark.parametrize(
    ("part", "prefix"),
    [(Permissions, ""), (AthenaPermissions, "athena."), (RedshiftPermissions, "redshift.")],
)
def test_the_page_explains_every_permission(part: type[Permissions], prefix: str) -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in part.model_fields:
        if name not in ("athena", "redshift"):
            assert re.search(rf"`{re.escape(prefix)}{name}`", text), f"{prefix}{name}"
