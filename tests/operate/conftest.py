"""One embedded AWS a region and session, and a deployed project in each that tests only read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.faultproxy import proxied_aws
from tests.operate.world import REGIONS, DeployedProject, World, pointed


@pytest.fixture(scope="session")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], World]]:
    """Return the world of a region, made on first use."""
    made: dict[str, World] = {}
    with ExitStack() as stack:

        def world(region: str) -> World:
            if region not in made:
                aws, wire = stack.enter_context(proxied_aws(region, enforce_policies=True))
                made[region] = World(aws, wire, tmp_path_factory.mktemp(f"projects-{region}"))
            return made[region]

        yield world


@pytest.fixture(scope="session")
def _deployed(worlds: Callable[[str], World]) -> Callable[[str], DeployedProject]:
    made: dict[str, DeployedProject] = {}

    def project(region: str) -> DeployedProject:
        if region not in made:
            made[region] = worlds(region).project()
        return made[region]

    return project


@pytest.fixture
def project(
    request: pytest.FixtureRequest,
    _deployed: Callable[[str], DeployedProject],
    monkeypatch: pytest.MonkeyPatch,
) -> DeployedProject:
    """Return a deployed project in China, shared: leave its deployment as it is.

    `IN_EACH_REGION` gives a test those of the other regions too. This process's environment points
    to its AWS, for the functions of `operate`.
    """
    return pointed(_deployed(getattr(request, "param", REGIONS[0])), monkeypatch)


@pytest.fixture
def chinese(worlds: Callable[[str], World]) -> World:
    """Return the world in China, for projects of a test's own."""
    return worlds(REGIONS[0])
