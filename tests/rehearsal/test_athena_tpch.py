"""TPC-H's 22 queries through PyAthena, each with the rows that plain DuckDB has for it."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from batcat_runtime.rehearsal.aws.environment import applied
from tests.rehearsal.athena_world import World
from tests.rehearsal.conftest import REGION, Cloud

pyathena = pytest.importorskip("pyathena")

_DATA = Path(__file__).parent.parent / "data"
_QUERIES = (_DATA / "tpch_queries.sql").read_text(encoding="utf-8").split(";")[:-1]
_TYPES = {"INTEGER": "int", "BIGINT": "bigint", "VARCHAR": "string", "DATE": "date"}


@pytest.fixture(scope="module")
def plain() -> Any:
    connection = duckdb.connect()
    connection.execute((_DATA / "tpch_tables.sql").read_text(encoding="utf-8"))
    return connection


@pytest.fixture(scope="module")
def cursor(cloud: Cloud, plain: Any) -> Any:
    world = World(cloud)
    for (name,) in plain.execute("SHOW TABLES").fetchall():
        columns = plain.execute(f"DESCRIBE {name}").fetchall()
        world.put_parquet(f"{name}/a.parquet", plain.execute(f"FROM {name}").to_arrow_table())
        kinds = {str(row[0]): _TYPES.get(row[1], str(row[1]).lower()) for row in columns}
        world.table(name, kinds)
    with applied(cloud.aws.environment()):
        yield pyathena.connect(
            s3_staging_dir=world.output,
            region_name=REGION,
            schema_name=world.database,
            poll_interval=0.05,
        ).cursor()


@pytest.mark.parametrize("number", range(1, 23))
def test_tpch(cursor: Any, plain: Any, number: int) -> None:
    query = _QUERIES[number - 1]
    wanted = plain.execute(query).fetchall()
    found = cursor.execute(query).fetchall()
    assert wanted, "a query that finds nothing shows nothing"
    assert [list(map(_rounded, row)) for row in found] == [
        list(map(_rounded, row)) for row in wanted
    ]


def test_shares_are_decimals_with_the_digits_that_trino_gives_them(cursor: Any, plain: Any) -> None:
    for number, digits in ((8, 4), (14, 6)):
        found = cursor.execute(_QUERIES[number - 1]).fetchall()[-1][-1]
        wanted = plain.execute(_QUERIES[number - 1]).fetchall()[-1][-1]
        assert wanted > 0
        assert found == round(decimal.Decimal(wanted), digits)
        assert found.as_tuple().exponent == -digits


def _rounded(value: Any) -> Any:
    """Athena's averages of decimals have two digits after the point, DuckDB's are doubles."""
    if isinstance(value, float | decimal.Decimal):
        return pytest.approx(float(value), abs=0.006)
    return value.isoformat() if isinstance(value, datetime.date) else value
