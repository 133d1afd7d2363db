"""UNLOAD and COPY for PostgreSQL, as far as the tests need them: the proxy hands them over."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq

from batcat_runtime.io.redshift_types import Column, arrow_table, wire_column

from .conftest import Warehouse

_UNLOAD = re.compile(
    r"UNLOAD \('(?P<query>.*)'\) TO 's3://(?P<bucket>[^/]+)/(?P<prefix>[^']+)' "
    r"IAM_ROLE '[^']+' FORMAT AS PARQUET(?P<serial> PARALLEL OFF)?",
    re.DOTALL,
)
_COPY = re.compile(
    r"COPY (?P<table>\S+) FROM 's3://(?P<bucket>[^/]+)/(?P<prefix>[^']+)' "
    r"IAM_ROLE '[^']+' FORMAT AS PARQUET"
)


@contextlib.contextmanager
def attached(warehouse: Warehouse) -> Iterator[list[str]]:
    """Let UNLOAD and COPY work for a while; yields what has been unloaded."""
    unloaded: list[str] = []

    def rewrite(query: str) -> str:
        if found := _UNLOAD.fullmatch(query):
            inner = re.sub(r"''|\\\\", lambda twice: twice[0][0], found["query"])
            unloaded.append(inner)
            _unload(warehouse, inner, found["bucket"], found["prefix"])
            return "SELECT 1 WHERE false"
        if found := _COPY.fullmatch(query):
            return _insert(found["table"], found["bucket"], found["prefix"])
        return query

    warehouse.proxy.rewrite = rewrite
    try:
        yield unloaded
    finally:
        warehouse.proxy.rewrite = str


def _unload(warehouse: Warehouse, query: str, bucket: str, prefix: str) -> None:
    import redshift_connector

    with redshift_connector.connect(**warehouse.login) as opened, opened.cursor() as cursor:
        cursor.execute(query)
        columns: list[Column] = [
            wire_column(one["label"].decode(), one["type_oid"], one["type_modifier"])
            for one in cursor.ps["row_desc"]
        ]
        rows = cursor.fetchall()
    half = len(rows) // 2
    for number, part in enumerate((rows[:half], rows[half:])):
        if part:  # Redshift writes nothing where there are no rows
            body = io.BytesIO()
            pq.write_table(arrow_table(columns, part), body)
            key = f"{prefix}{number:04d}_part_00.parquet"
            boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=body.getvalue())


def _insert(table: str, bucket: str, prefix: str) -> str:
    s3 = boto3.client("s3")
    keys = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]]
    bodies = [s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys]
    data = pa.concat_tables(pq.read_table(io.BytesIO(body)) for body in bodies)
    rows = [", ".join(map(_literal, row.values())) for row in data.to_pylist()]
    if not rows:
        return "SELECT 1 WHERE false"
    return f"INSERT INTO {table} VALUES " + ", ".join(f"({row})" for row in rows)


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    return "'" + str(value).replace("\\", "\\\\").replace("'", "''") + "'"
