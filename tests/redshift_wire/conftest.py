"""One PostgreSQL behind one proxy for all tests of Redshift's wire."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from . import postgres
from .proxy import RedshiftProxy


class Warehouse:
    """Where the tests' Redshift is, and how to log in."""

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

    def run(self, *statements: str) -> None:
        """Run statements as an administrator would."""
        import redshift_connector

        with redshift_connector.connect(**self.login) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)

    def rows(self, query: str) -> list[list[Any]]:
        """Return the rows of a query, straight from the driver."""
        import redshift_connector

        with redshift_connector.connect(**self.login) as opened, opened.cursor() as cursor:
            cursor.execute(query)
            return [list(row) for row in cursor.fetchall()]


@pytest.fixture(scope="session")
def warehouse() -> Iterator[Warehouse]:
    reason = postgres.missing()
    if reason:
        pytest.skip(reason)
    with postgres.running() as socket:
        proxy = RedshiftProxy(socket)
        try:
            yield Warehouse(proxy)
        finally:
            proxy.close()
