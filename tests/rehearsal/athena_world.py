"""Athena in the embedded AWS, as the tests speak to it: one database, one bucket, plain boto3."""

from __future__ import annotations

import io
import uuid
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from tests.rehearsal.conftest import REGION, Cloud, until

FINAL = ("SUCCEEDED", "FAILED", "CANCELLED")
LAZY = "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe"
OPEN_CSV = "org.apache.hadoop.hive.serde2.OpenCSVSerde"
OPENX = "org.openx.data.jsonserde.JsonSerDe"
HIVE_JSON = "org.apache.hive.hcatalog.data.JsonSerDe"
PARQUET = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"


class World:
    """A database and a bucket of their own, and queries on them."""

    def __init__(self, cloud: Cloud, region: str = REGION) -> None:
        self.cloud, self.region = cloud, region
        self.athena = cloud.client("athena", region)
        self.glue = cloud.client("glue", region)
        self.s3 = cloud.client("s3", region)
        self.bucket = cloud.bucket(region)
        self.database = f"db_{uuid.uuid4().hex[:8]}"
        self.output = f"s3://{self.bucket}/results/"
        self.glue.create_database(DatabaseInput={"Name": self.database})

    def start(self, query: str, **more: Any) -> str:
        request = {
            "QueryExecutionContext": {"Database": self.database},
            "ResultConfiguration": {"OutputLocation": self.output},
            **more,
        }
        return str(
            self.athena.start_query_execution(QueryString=query, **request)["QueryExecutionId"]
        )

    def ended(self, execution: str) -> dict[str, Any]:
        get = self.athena.get_query_execution
        return dict(
            until(
                lambda: get(QueryExecutionId=execution)["QueryExecution"],
                lambda found: found["Status"]["State"] in FINAL,
            )
        )

    def run(self, query: str, **more: Any) -> dict[str, Any]:
        """Run a query that must succeed; return what GetQueryExecution says."""
        found = self.ended(self.start(query, **more))
        assert found["Status"]["State"] == "SUCCEEDED", found["Status"].get("StateChangeReason")
        return found

    def rows(self, query: str, **more: Any) -> list[list[str | None]]:
        """Run a query; return its rows as text, without the header."""
        return self.rows_of(self.start(query, **more))

    def rows_of(self, execution: str) -> list[list[str | None]]:
        """Return the rows of a query that must succeed."""
        found = self.ended(execution)
        assert found["Status"]["State"] == "SUCCEEDED", found["Status"].get("StateChangeReason")
        pages = self.athena.get_paginator("get_query_results")
        rows = [
            [one.get("VarCharValue") for one in row["Data"]]
            for page in pages.paginate(QueryExecutionId=found["QueryExecutionId"])
            for row in page["ResultSet"]["Rows"]
        ]
        return rows[1:] if found["SubstatementType"] == "SELECT" else rows

    def lines(self, query: str) -> list[str]:
        """Run a statement that prints lines."""
        return [str(row[0]) for row in self.rows(query)]

    def reason(self, query: str, **more: Any) -> str:
        """Run a query that must fail; return why."""
        return self._why(self.start(query, **more))

    def unlike(self, reasons: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Run queries that must fail, at once; return those whose reason begins otherwise."""
        started = [(self.start(query), query, reason) for query, reason in reasons]
        found = [(query, self._why(identity), reason) for identity, query, reason in started]
        return [(query, why) for query, why, reason in found if not why.startswith(reason)]

    def _why(self, execution: str) -> str:
        found = self.ended(execution)
        assert found["Status"]["State"] == "FAILED", (found["Query"], found["Status"])
        return str(found["Status"]["StateChangeReason"])

    def put(self, key: str, body: bytes | str) -> None:
        data = body.encode() if isinstance(body, str) else body
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=data)

    def put_parquet(self, key: str, table: pa.Table, **options: Any) -> None:
        buffer = io.BytesIO()
        parquet.write_table(table, buffer, **options)
        self.put(key, buffer.getvalue())

    def keys(self, prefix: str) -> list[str]:
        found = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix)
        return [one["Key"] for one in found.get("Contents", [])]

    def body(self, key: str) -> bytes:
        return bytes(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def table(
        self,
        name: str,
        columns: dict[str, str],
        serde: str = PARQUET,
        *,
        keys: dict[str, str] | None = None,
        location: str | None = None,
        **parameters: str,
    ) -> None:
        """Enter a table; parameters with a dot or of the SerDe go to both places AWS reads."""
        listed = [{"Name": key, "Type": kind} for key, kind in columns.items()]
        self.glue.create_table(
            DatabaseName=self.database,
            TableInput={
                "Name": name,
                "TableType": "EXTERNAL_TABLE",
                "Parameters": {"EXTERNAL": "TRUE", **parameters},
                "PartitionKeys": [
                    {"Name": key, "Type": kind} for key, kind in (keys or {}).items()
                ],
                "StorageDescriptor": {
                    "Columns": listed,
                    "Location": location or f"s3://{self.bucket}/{name}/",
                    "SerdeInfo": {"SerializationLibrary": serde, "Parameters": parameters},
                },
            },
        )
