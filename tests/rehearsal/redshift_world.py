"""A warehouse on the embedded AWS, and the few words that its tests speak."""

from __future__ import annotations

import uuid
from typing import Any

import redshift_connector

from tests.rehearsal.conftest import REGION, Cloud, until

ADMIN, PASSWORD = "awsuser", "Canary-Pa55word"


class House:
    """A cluster in one region, with the Data API and the wire to talk to it."""

    def __init__(self, cloud: Cloud, region: str = REGION, **changes: Any) -> None:
        self.cloud, self.region = cloud, region
        self.name = f"cells-{uuid.uuid4().hex[:8]}"
        self.target = {"ClusterIdentifier": self.name, "Database": "dev"}
        self.api = cloud.client("redshift-data", region)
        self.redshift = cloud.client("redshift", region)
        self.create(**changes)

    def create(self, **changes: Any) -> None:
        """Create the cluster."""
        login = {"MasterUsername": ADMIN, "MasterUserPassword": PASSWORD, **changes}
        kind = {"NodeType": "ra3.xlplus", "ClusterType": "single-node"}
        self.redshift.create_cluster(ClusterIdentifier=self.name, **kind, **login)

    def execute(self, sql: str, parameters: dict[str, str] | None = None, **more: Any) -> Any:
        """Execute a statement and return its description once it has ended."""
        if parameters:
            more["Parameters"] = [{"name": k, "value": v} for k, v in parameters.items()]
        return self.ended(self.api.execute_statement(Sql=sql, **{**self.target, **more})["Id"])

    def batch(self, *statements: str, **more: Any) -> Any:
        """Execute statements as one transaction."""
        request = {**self.target, "Sqls": statements, **more}
        return self.ended(self.api.batch_execute_statement(**request)["Id"])

    def ended(self, identifier: str) -> Any:
        """Wait for a statement's end and return its description."""
        return until(
            lambda: self.api.describe_statement(Id=identifier),
            lambda found: found["Status"] in ("FINISHED", "FAILED", "ABORTED"),
        )

    def run(self, *statements: str, **more: Any) -> Any:
        """Execute statements that must succeed; return the last one's description."""
        done: Any = {}
        for sql in statements:
            done = self.execute(sql, **more)
            assert done["Status"] == "FINISHED", f"{sql}: {done.get('Error')}"
        return done

    def error(self, sql: str, **more: Any) -> str:
        """Execute a statement that must fail, and return its error."""
        done = self.execute(sql, **more)
        assert done["Status"] == "FAILED", f"{sql}: {done['Status']}"
        return str(done["Error"])

    def unlike(self, errors: list[tuple[str, str]]) -> list[tuple[str, Any]]:
        """Execute statements that must fail, at once; return those whose error begins otherwise."""
        started = [(self.api.execute_statement(Sql=s, **self.target)["Id"], e) for s, e in errors]
        ended = [(self.ended(identifier), error) for identifier, error in started]
        return [
            (done["QueryString"], done.get("Error"))
            for done, error in ended
            if not str(done.get("Error")).startswith(error)
        ]

    def result(self, identifier: str) -> tuple[list[dict[str, Any]], list[Any]]:
        """Return column metadata and the fields of every row, read page by page."""
        pages = self.api.get_paginator("get_statement_result").paginate(Id=identifier)
        columns, rows = [], []
        for page in pages:
            columns = page["ColumnMetadata"]
            rows += page["Records"]
        return columns, rows

    def rows(self, sql: str, **more: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query as plain values."""
        found = self.result(self.run(sql, **more)["Id"])[1]
        return [tuple(None if "isNull" in f else next(iter(f.values())) for f in r) for r in found]

    def connect(self, **changes: Any) -> Any:
        """Connect by the wire."""
        described = self.redshift.describe_clusters(ClusterIdentifier=self.name)
        place = described["Clusters"][0]["Endpoint"]
        login = {"user": ADMIN, "password": PASSWORD, "database": "dev", "ssl": False}
        login |= {"host": place["Address"], "port": place["Port"], **changes}
        return redshift_connector.connect(**login)
