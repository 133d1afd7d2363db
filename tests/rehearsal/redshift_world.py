"""A warehouse on the embedded AWS, and the few words that its tests speak."""

from __future__ import annotations

import uuid
from typing import Any

from tests.rehearsal.conftest import REGION, Cloud

ADMIN = "awsuser"
PASSWORD = "Canary-Pa55word"


class House:
    """A cluster in one region, and the Data API to talk to it."""

    def __init__(self, cloud: Cloud, region: str = REGION, **changes: Any) -> None:
        self.cloud = cloud
        self.region = region
        self.name = f"cells-{uuid.uuid4().hex[:8]}"
        self.api = cloud.client("redshift-data", region)
        cloud.client("redshift", region).create_cluster(
            ClusterIdentifier=self.name,
            NodeType="ra3.xlplus",
            ClusterType="single-node",
            MasterUsername=ADMIN,
            MasterUserPassword=PASSWORD,
            **changes,
        )

    def execute(self, sql: str, **more: Any) -> dict[str, Any]:
        """Execute a statement and return its description once it has ended."""
        if "SessionId" not in more:
            more = {"ClusterIdentifier": self.name, "Database": "dev", **more}
        parameters = more.pop("parameters", None)
        if parameters:
            more["Parameters"] = [{"name": k, "value": v} for k, v in parameters.items()]
        answer = self.api.execute_statement(Sql=sql, WaitTimeSeconds=30, **more)
        return dict(self.api.describe_statement(Id=answer["Id"], WaitTimeSeconds=30))

    def run(self, *statements: str, **more: Any) -> dict[str, Any]:
        """Execute statements that must succeed; return the last one's description."""
        done: dict[str, Any] = {}
        for sql in statements:
            done = self.execute(sql, **more)
            assert done["Status"] == "FINISHED", f"{sql}: {done.get('Error')}"
        return done

    def error(self, sql: str, **more: Any) -> str:
        """Execute a statement that must fail, and return its error."""
        done = self.execute(sql, **more)
        assert done["Status"] == "FAILED", f"{sql}: {done['Status']}"
        return str(done["Error"])

    def result(self, identifier: str) -> tuple[list[dict[str, Any]], list[list[Any]]]:
        """Return column metadata and the fields of every row, read page by page."""
        pages = self.api.get_paginator("get_statement_result").paginate(Id=identifier)
        columns: list[dict[str, Any]] = []
        rows: list[list[Any]] = []
        for page in pages:
            columns = page["ColumnMetadata"]
            rows += page["Records"]
        return columns, rows

    def rows(self, sql: str, **more: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query as plain values."""
        done = self.run(sql, **more)
        return [tuple(map(plain, row)) for row in self.result(done["Id"])[1]]

    def value(self, expression: str, **more: Any) -> Any:
        """Return the value of an expression."""
        return self.rows(f"SELECT {expression}", **more)[0][0]


def plain(field: dict[str, Any]) -> Any:
    """Return a field's value; None for null."""
    ((kind, value),) = field.items()
    return None if kind == "isNull" else value
