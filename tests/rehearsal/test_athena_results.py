"""What the tables of results ask of Athena: paths within views, Parquet by place, odd CSV."""

from __future__ import annotations

import gzip

import pyarrow as pa
import pytest

from tests.rehearsal.athena_world import OPEN_CSV, PARQUET, World
from tests.rehearsal.conftest import Cloud

HEADER = {"skip.header.line.count": "1", "escapeChar": "\x01"}
PROJECTED = {
    "projection.enabled": "true",
    "projection.date.type": "date",
    "projection.date.range": "2022-01-08,NOW+1DAYS",
    "projection.date.format": "yyyy-MM-dd",
    "projection.date.interval": "1",
    "projection.date.interval.unit": "DAYS",
}


@pytest.fixture(scope="module")
def world(cloud: Cloud) -> World:
    return World(cloud)


def test_a_view_may_ask_for_the_path_of_what_lies_deep_in_a_projected_day(world: World) -> None:
    for day, run in ((8, "a"), (8, "b"), (9, "a")):
        place = f"res/date=2022-01-0{day}/run={run}"
        world.put(f"{place}/x.csv", f'n,s\n{day},"{run}, ""quoted"" \\ more"\n')
        world.put(f"{place}/_manifest.json", "{}")
    template = {"storage.location.template": f"s3://{world.bucket}/res/date=${{date}}/"}
    columns, keys = {"n": "string", "s": "string"}, {"date": "date"}
    world.table("res", columns, OPEN_CSV, keys=keys, **HEADER, **PROJECTED, **template)
    world.run(
        "create view res_latest as select cast(n as bigint) n, "
        'regexp_extract("$path", \'/run=([^/]+)/\', 1) run, "date" from res '
        "where regexp_extract(\"$path\", '/date=([^/]+/run=[^/]+)/', 1) not in ('2022-01-08/a')"
    )
    query = "select * from res_latest where date <= date '2022-01-08' order by run"
    assert world.rows(query) == [["8", "a", "2022-01-08"], ["8", "b", "2022-01-08"]]
    text = "select s, count(*) over () from res where \"$path\" like '%date=2022-01-09%'"
    assert world.rows(text) == [['a, "quoted" \\ more', "1"]]
    # The view's own path is not the outer query's column, nor the table's.
    both = (
        'select res.*, run from res join res_latest latest on res."date" = latest."date" '
        "where res.\"date\" = date '2022-01-09'"
    )
    assert world.rows(both) == [["9", 'a, "quoted" \\ more', "2022-01-09", "a"]]
    every = "select *, \"$path\" from res where date = date '2022-01-09'"
    path = f"s3://{world.bucket}/res/date=2022-01-09/run=a/x.csv"
    assert world.rows(every) == [["9", 'a, "quoted" \\ more', "2022-01-09", path]]


def test_parquet_columns_are_found_by_place_if_the_table_says_so(world: World) -> None:
    world.put_parquet("place/a.parquet", pa.table({"usage-kWh": [1.5], "VIN": ["A"]}))
    world.table("by_name", {"usage_kwh": "double", "vin": "string"}, location=_at(world, "place"))
    assert world.rows("select * from by_name") == [[None, "A"]]
    world.table(
        "by_place",
        {"usage_kwh": "double", "v": "string", "later": "int"},
        PARQUET,
        location=_at(world, "place"),
        **{"parquet.column.index.access": "true"},
    )
    assert world.rows("select * from by_place") == [["1.5", "A", None]]


def test_rows_of_other_widths_and_files_that_are_no_text(world: World) -> None:
    world.put("odd/a.csv", "n,s\n1,x\n")
    world.put("odd/b.csv.gz", gzip.compress(b"n,s,t\n2,y,more\n3\n"))
    world.put("odd/c.png", b'\x89PNG\r\n\x1a\n\x00\x00"\xff\xfe,\n"\x00,,"')
    world.table("odd", {"n": "string", "s": "string"}, OPEN_CSV, **HEADER)
    query = "select n, s from odd where \"$path\" not like '%.png' order by n"
    assert world.rows(query) == [["1", "x"], ["2", "y"], ["3", None]]


def _at(world: World, name: str) -> str:
    return f"s3://{world.bucket}/{name}/"
