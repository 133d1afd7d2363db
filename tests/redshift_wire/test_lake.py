"""UNLOAD and COPY over Redshift's own protocol; S3 is the embedded AWS's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest

import batcat_runtime as bc
from batcat_runtime.errors import QueryError
from tests import embedded_redshift as embedded
from tests.embedded_redshift import REGION

from .conftest import Warehouse
from .lake import attached

TYPES = (
    "SELECT g AS n, (g / 2.0)::numeric(10, 2) AS half, 'it''s \\\\ ' || g AS t, "
    "date '2022-01-01' + g AS d, timestamptz '2022-01-01 00:00+08' AS tz "
    "FROM generate_series(1, 9) g WHERE g < :end"
)


@pytest.fixture(scope="module")
def started() -> Iterator[embedded.Warehouse]:
    with embedded.running() as running:
        yield running


@pytest.fixture
def aws(started: embedded.Warehouse, monkeypatch: pytest.MonkeyPatch) -> embedded.Warehouse:
    for name, value in started.aws.environment().items():
        monkeypatch.setenv(name, value)
    return started


def read(aws: embedded.Warehouse, warehouse: Warehouse, query: str, **options: Any) -> Any:
    return bc.read_data_from_redshift(
        query, region=REGION, **aws.unloading(), **warehouse.login, **options
    )


def test_unload_gives_what_the_wire_gives(aws: embedded.Warehouse, warehouse: Warehouse) -> None:
    params = {"end": 8}
    with attached(warehouse) as unloaded:
        found = read(aws, warehouse, TYPES + " ORDER BY g", params=params)
        chunks = list(read(aws, warehouse, TYPES, params=params, chunksize=4))
    plain = bc.read_data_from_redshift(TYPES + " ORDER BY g", params=params, **warehouse.login)
    assert len(unloaded) == 2
    pd.testing.assert_frame_equal(found, plain)
    assert [len(chunk) for chunk in chunks] == [4, 3]
    pd.testing.assert_frame_equal(pd.concat(chunks, ignore_index=True), plain)
    assert aws.staged() == []


def test_no_rows_keep_columns_and_types(aws: embedded.Warehouse, warehouse: Warehouse) -> None:
    with attached(warehouse) as unloaded:
        none = read(aws, warehouse, TYPES, params={"end": 0})
        some = read(aws, warehouse, TYPES, params={"end": 2})
    assert len(unloaded) == 2
    assert len(none) == 0
    pd.testing.assert_series_equal(none.dtypes, some.dtypes)


def test_what_is_not_read_to_its_end_is_cleaned_up(
    aws: embedded.Warehouse, warehouse: Warehouse
) -> None:
    with attached(warehouse):
        chunks = read(aws, warehouse, TYPES, params={"end": 8}, chunksize=1)
        next(chunks)
        assert aws.staged() != []
        chunks.close()
    assert aws.staged() == []


def test_saving_appends_overwrites_and_upserts(
    aws: embedded.Warehouse, warehouse: Warehouse
) -> None:
    def save(frame: pd.DataFrame, **options: Any) -> None:
        bc.save_df_to_redshift(
            frame, "loaded", region=REGION, **aws.unloading(), **warehouse.login, **options
        )
        assert aws.staged() == []

    def rows() -> list[list[Any]]:
        return warehouse.rows("SELECT vin, n FROM loaded ORDER BY vin, n")

    warehouse.run("DROP TABLE IF EXISTS loaded")
    first = pd.DataFrame({"vin": ["a", "it's \\"], "n": pd.array([1, None], dtype="Int64")})
    with attached(warehouse):
        save(first)
        save(first.head(1))
        assert rows() == [["a", 1], ["a", 1], ["it's \\", None]]
        save(first, mode="overwrite")
        save(pd.DataFrame({"n": [5, 6], "vin": ["a", "b"]}), mode="upsert", primary_keys="vin")
        assert rows() == [["a", 5], ["b", 6], ["it's \\", None]]
        with pytest.raises(QueryError, match="unknown"):
            save(pd.DataFrame({"vin": ["z"], "unknown": [1]}), mode="overwrite")
        assert len(rows()) == 3
