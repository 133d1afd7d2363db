"""An account for the tests of a file that deploy into it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from batcat_runtime.rehearsal import EmbeddedAWS, container_tool


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedAWS]:
    """Return an account in China, and a container tool beside it."""
    home = tmp_path_factory.mktemp("aws")
    with EmbeddedAWS(region="cn-northwest-1", home=home, set_environment=False) as running:
        (home / "bin").mkdir()
        container_tool.install(home / "bin")
        yield running
