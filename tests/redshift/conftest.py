"""Two Redshifts: the embedded AWS's, and PostgreSQL behind a proxy for the wire alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redshift_connector

import batcat_runtime as bc

from . import embedded, postgres
from .proxy import RedshiftProxy


class Wire:
    """PostgreSQL as Redshift's driver sees it, and how to log in."""

    def __init__(self, proxy: RedshiftProxy) -> None:
        self.proxy = proxy
        self.login: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": proxy.port,
            "user": postgres.USER,
            "password": postgres.PASSWORD,
            "database": postgres.DATABASE,
            "ssl": False,
        }

    def run(self, *statements: str) -> list[Any]:
        """Run statements as an administrator would; returns the last one's rows."""
        with redshift_connector.connect(**self.login) as opened, opened.cursor() as cursor:
            opened.autocommit = True
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    def read(self, query: str, **options: Any) -> Any:
        return bc.read_data_from_redshift(query, **{**self.login, **options})

    def is_running(self, what: str) -> bool:
        query = "SELECT query FROM pg_stat_activity WHERE state = 'active'"
        return any(what in row[0] for row in self.run(query))


@pytest.fixture(scope="session")
def wire() -> Iterator[Wire]:
    reason = postgres.missing()
    if reason:
        pytest.skip(reason)
    with postgres.running() as socket:
        proxy = RedshiftProxy(socket)
        try:
            yield Wire(proxy)
        finally:
            proxy.close()


@pytest.fixture(scope="session")
def started() -> Iterator[embedded.Warehouse]:
    with embedded.running() as warehouse:
        yield warehouse


@pytest.fixture
def aws(started: embedded.Warehouse, monkeypatch: pytest.MonkeyPatch) -> embedded.Warehouse:
    for name, value in started.aws.environment().items():
        monkeypatch.setenv(name, value)
    return started


def until(done: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)
