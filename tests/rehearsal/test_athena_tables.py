"""Tables of Athena: formats, types, partitions, projection, and the statements that make them."""

from __future__ import annotations

import datetime
import decimal
import gzip
import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from tests.rehearsal.athena_world import HIVE_JSON, LAZY, OPEN_CSV, OPENX, World
from tests.rehearsal.conftest import Cloud


@pytest.fixture(scope="module")
def world(cloud: Cloud) -> World:
    return World(cloud)


def test_text_by_lazy_simple_serde(world: World) -> None:
    columns = {"s": "string", "i": "int", "d": "double", "t": "timestamp", "b": "boolean"}
    columns |= {"dec": "decimal(6,2)"}
    world.put(
        "lazy/a.csv",
        'head\n"q",1,2.5,2020-01-01 00:00:00.1236,TRUE,1.005\n\\N,x,,2020-01-01,t,\nshort\n',
    )
    world.put("lazy/b.csv.gz", gzip.compress(b"head\nz,7,1e3,2020-01-01 00:00:00,false,7,more\n"))
    world.put("lazy/_SUCCESS", "not data")
    world.put("lazy/.hidden/x.csv", "head\nnot data\n")
    options = {"field.delim": ","}
    world.table("lazy", columns, LAZY, **options, **{"skip.header.line.count": "1"})
    assert world.rows("select s, i, d, t, b, dec from lazy order by s") == [
        ['"q"', "1", "2.5", "2020-01-01 00:00:00.124", "true", "1.01"],
        ["short", *[None] * 5],
        ["z", "7", "1000.0", "2020-01-01 00:00:00.000", "false", "7.00"],
        [None] * 6,
    ]


def test_escapes_and_null_format_of_text(world: World) -> None:
    world.put("escaped/a", "a\\|b|NULL\nc|d\\\\\n")
    parameters = {"field.delim": "|", "escape.delim": "\\", "serialization.null.format": "NULL"}
    world.table("escaped", {"x": "string", "y": "string"}, LAZY, **parameters)
    assert world.rows("select * from escaped order by x") == [["a|b", None], ["c", "d\\"]]


def test_csv_by_open_csv_serde(world: World) -> None:
    world.put("open/a.csv", 'h;h;h;h\n"a ""b"" \\"c\\"; d";1;;18262\n\'e\';2;"";0\n')
    columns = {"s": "string", "n": "bigint", "e": "string", "d": "date"}
    parameters = {"separatorChar": ";", "quoteChar": '"', "escapeChar": "\\"}
    world.table("open", columns, OPEN_CSV, **parameters, **{"skip.header.line.count": "1"})
    assert world.rows("select * from open order by n") == [
        ['a "b" "c"; d', "1", "", "2020-01-01"],
        ["'e'", "2", "", "1970-01-01"],
    ]


def test_numbers_that_are_none_fail_open_csv_serde(world: World) -> None:
    world.put("openbad/a.csv", '"a",""\n')
    world.table("openbad", {"s": "string", "n": "int"}, OPEN_CSV)
    assert world.reason("select * from openbad").startswith(
        'HIVE_BAD_DATA: Error Parsing a column in the table: For input string: ""'
    )


@pytest.mark.parametrize("serde", [OPENX, HIVE_JSON])
def test_json(world: World, serde: str) -> None:
    name = "j" + serde.rpartition(".")[2].lower() + str(len(serde))
    world.put(
        f"{name}/a.json",
        '{"A": 1, "b": {"Cc": 1.5}, "t": "2020-01-01 00:00:00", "m": {"k": 1}, "l": [1, null]}\n'
        '{"a": 2, "more": true}\n',
    )
    columns = {"a": "int", "b": "struct<cc:double>", "t": "timestamp", "m": "map<string,int>"}
    world.table(name, {**columns, "l": "array<int>"}, serde)
    assert world.rows(f"select a, b.cc, t, m['k'], l from {name} order by a") == [
        ["1", "1.5", "2020-01-01 00:00:00.000", "1", "[1, null]"],
        ["2", None, None, None, None],
    ]


def test_malformed_json_fails_unless_ignored(world: World) -> None:
    world.put("badjson/a.json", '{"a": 1}\n{"a": \n{"a": 3}\n')
    world.table("badjson", {"a": "int"}, OPENX)
    assert world.reason("select * from badjson").startswith("HIVE_CURSOR_ERROR: Row is not a valid")
    place = f"s3://{world.bucket}/badjson/"
    world.table(
        "somejson", {"a": "int"}, OPENX, location=place, **{"ignore.malformed.json": "true"}
    )
    assert world.rows("select a from somejson where a is not null order by a") == [["1"], ["3"]]


def test_every_type_of_parquet(world: World) -> None:
    values: dict[str, Any] = {
        "tiny": pa.array([-1, None], pa.int8()),
        "small": pa.array([2, None], pa.int16()),
        "i": pa.array([3, None], pa.int32()),
        "big": pa.array([2**62, None], pa.int64()),
        "f": pa.array([1.5, None], pa.float32()),
        "d": pa.array([1e-5, None], pa.float64()),
        "b": pa.array([True, None]),
        "s": pa.array(["电池", None]),
        "day": pa.array([datetime.date(2020, 1, 1), None]),
        "t": pa.array([1577836800123500, None], pa.timestamp("us")),
        "z": pa.array([1577836800000000, None], pa.timestamp("us", "Asia/Shanghai")),
        "dec": pa.array([decimal.Decimal("12.34"), None], pa.decimal128(20, 2)),
        "bin": pa.array([b"ab", None]),
        "l": pa.array([[1, None], None], pa.list_(pa.int64())),
        "m": pa.array([[("k", 1.5)], None], pa.map_(pa.string(), pa.float64())),
        "st": pa.array([{"x": 1, "y": ["z"]}, None]),
    }
    world.put_parquet("types/a.parquet", pa.table(values), compression="zstd")
    columns = {
        "tiny": "tinyint",
        "small": "smallint",
        "i": "int",
        "big": "bigint",
        "f": "float",
        "d": "double",
        "b": "boolean",
        "s": "varchar(10)",
        "day": "date",
        "t": "timestamp",
        "z": "timestamp",
        "dec": "decimal(20,2)",
        "bin": "binary",
        "l": "array<bigint>",
        "m": "map<string,double>",
        "st": "struct<x:bigint,y:array<string>>",
        "missing": "string",
    }
    world.table("types", columns)
    found = world.run("select * from types")
    answer = world.athena.get_query_results(QueryExecutionId=found["QueryExecutionId"])
    info = answer["ResultSet"]["ResultSetMetadata"]["ColumnInfo"]
    assert {one["Name"]: one["Type"] for one in info} == {
        "tiny": "tinyint",
        "small": "smallint",
        "i": "integer",
        "big": "bigint",
        "f": "float",
        "d": "double",
        "b": "boolean",
        "s": "varchar",
        "day": "date",
        "t": "timestamp",
        "z": "timestamp",
        "dec": "decimal",
        "bin": "varbinary",
        "l": "array",
        "m": "map",
        "st": "row",
        "missing": "varchar",
    }
    by_name = {one["Name"]: one for one in info}
    assert (by_name["dec"]["Precision"], by_name["dec"]["Scale"]) == (20, 2)
    assert by_name["s"]["Precision"] == 2147483647 or by_name["s"]["Precision"] == 10
    first, second = answer["ResultSet"]["Rows"][1:]
    assert [one.get("VarCharValue") for one in first["Data"]] == [
        "-1",
        "2",
        "3",
        "4611686018427387904",
        "1.5",
        "1.0E-5",
        "true",
        "电池",
        "2020-01-01",
        "2020-01-01 00:00:00.124",
        "2020-01-01 00:00:00.000",
        "12.34",
        "61 62",
        "[1, null]",
        "{k=1.5}",
        "{x=1, y=[z]}",
        None,
    ]
    assert second["Data"] == [{}] * len(columns)


def test_a_parquet_field_of_another_type_is_bad_data(world: World) -> None:
    world.put_parquet("wrong/a.parquet", pa.table({"x": [1]}))
    world.table("wrong", {"x": "string"})
    assert world.reason("select * from wrong").startswith(
        "HIVE_BAD_DATA: Field x's type INT64 in parquet file"
    )
    world.table("elsewhere", {"x": "string"}, location="s3://no-such-bucket-here/x/")
    assert "bucket does not exist" in world.reason("select * from elsewhere")


@pytest.fixture(scope="module")
def days(world: World) -> World:
    for day in range(1, 7):
        table = pa.table({"n": pa.array([day] * 1000, pa.int32()), "s": ["x" * 100] * 1000})
        world.put_parquet(f"days/dt=2020-01-0{day}/a.parquet", table, compression="none")
    world.table("days", {"n": "int", "s": "string"}, keys={"dt": "date"})
    return world


def test_repair_finds_partitions(days: World) -> None:
    assert days.rows("select count(*) from days") == [["0"]]
    lines = days.lines("msck repair table days")
    assert "Repair: Added partition to metastore days:dt=2020-01-06" in lines
    assert days.lines("show partitions days")[0] == "dt=2020-01-01"
    assert days.rows("select count(*) from days") == [["6000"]]
    assert days.rows("select sum(n) from days where dt > date '2020-01-04'") == [["11000"]]


def test_path_pseudo_column(days: World) -> None:
    days.run("msck repair table days")
    query = "select distinct \"$path\" from days where dt = date '2020-01-01'"
    assert days.rows(query) == [[f"s3://{days.bucket}/days/dt=2020-01-01/a.parquet"]]


def test_projection(days: World) -> None:
    parameters = {
        "projection.enabled": "true",
        "projection.dt.type": "date",
        "projection.dt.range": "2020-01-01,NOW",
        "projection.dt.format": "yyyy-MM-dd",
        "storage.location.template": f"s3://{days.bucket}/days/dt=${{dt}}",
    }
    days.table("projected", {"n": "int"}, keys={"dt": "string"}, **parameters)
    assert days.rows("select dt, max(n) from projected group by dt order by dt limit 2") == [
        ["2020-01-01", "1"],
        ["2020-01-02", "2"],
    ]
    assert days.rows("select sum(n) from projected where dt = '2020-01-03'") == [["3000"]]


def test_projection_of_integers_and_enums(world: World) -> None:
    for site in ("north", "south", "west"):
        for hour in (1, 12):
            key = f"p/site={site}/h={hour:02}/a.parquet"
            world.put_parquet(key, pa.table({"n": pa.array([hour], pa.int32())}))
    parameters = {
        "projection.enabled": "true",
        "projection.site.type": "enum",
        "projection.site.values": "north,south",
        "projection.h.type": "integer",
        "projection.h.range": "5,23",
        "projection.h.digits": "2",
    }
    keys = {"site": "string", "h": "int"}
    world.table("p", {"n": "int"}, keys=keys, **parameters)
    assert world.rows("select site, h, n from p order by 1") == [
        ["north", "12", "12"],
        ["south", "12", "12"],
    ]
    world.table("injected", {"n": "int"}, keys=keys, location=f"s3://{world.bucket}/p/", **{
        **parameters, "projection.site.type": "injected",
    })  # fmt: skip
    assert "NOT_SUPPORTED: The embedded AWS does not project column site" in world.reason(
        "select * from injected"
    )


_REFUSED = [
        ("show partitions nope", "FAILED: SemanticException [Error 10001]"),
        ("drop table nope", "FAILED: SemanticException [Error 10001]"),
        ("show tables in nope", "FAILED: SemanticException [Error 10072]"),
    ]  # fmt: skip


def test_definitions_that_are_refused(world: World) -> None:
    assert world.unlike(_REFUSED) == []


def test_create_table_as_and_insert(world: World) -> None:
    query = "select 'a' as s, 1 as n, date '2020-01-01' as dt"
    place = f"s3://{world.bucket}/made/"
    found = world.run(
        f"create table made with (format = 'PARQUET', external_location = '{place}', "
        f"partitioned_by = ARRAY['dt'], write_compression = 'SNAPPY') as {query}"
    )
    assert (found["StatementType"], found["SubstatementType"]) == ("DDL", "CREATE_TABLE_AS_SELECT")
    manifest = found["Statistics"]["DataManifestLocation"]
    assert manifest == f"{world.output}{found['QueryExecutionId']}-manifest.csv"
    listed = world.body(manifest.removeprefix(f"s3://{world.bucket}/")).decode().splitlines()
    assert listed == [f"s3://{world.bucket}/{key}" for key in world.keys("made/")]
    assert world.lines("show partitions made") == ["dt=2020-01-01"]
    assert "TABLE_ALREADY_EXISTS" in world.reason(f"create table made as {query}")
    world.run(f"create table if not exists made as {query}")
    world.run("insert into made values ('b', 2, date '2020-01-02'), ('c', null, date '2020-01-02')")
    world.run("insert into made (n, dt) select 4, date '2020-01-01'")
    assert world.rows("select s, n, dt from made order by n nulls last") == [
        ["a", "1", "2020-01-01"],
        ["b", "2", "2020-01-02"],
        [None, "4", "2020-01-01"],
        ["c", None, "2020-01-02"],
    ]
    assert world.reason("insert into made select 1, 2, 3").startswith(
        "TYPE_MISMATCH: line 1:1: Insert query has mismatched column types: Table: [varchar, "
        "integer, date], Query: [integer, integer, integer]"
    )
    assert world.reason(
        "insert into made (n, dt) select cast(n as varchar), dt from made"
    ).startswith(
        "TYPE_MISMATCH: line 1:1: Insert query has mismatched column types: Table: [integer"
    )
    world.run("create table bare as select 1 as x with no data")
    assert world.rows("select * from bare") == []


_NO_TABLES = [
        ("create table n1 as select 1", "MISSING_COLUMN_NAME: line 1:1"),
        ("create table n2 as select 1 as a, 2 as a", "DUPLICATE_COLUMN_NAME"),
        (
            "create table n3 as select current_timestamp as a",
            "NOT_SUPPORTED: Unsupported Hive type",
        ),
        ("create table n4 with (nonsense = 'x') as select 1 as a", "INVALID_TABLE_PROPERTY"),
        ("create table n5 with (format = 'XML') as select 1 as a", "NOT_SUPPORTED"),
        (
            "create table n6 with (partitioned_by = array['a']) as select 1 as a, 2 as b",
            "HIVE_COLUMN_ORDER_MISMATCH",
        ),
        ("create table nodb.x as select 1 as a", "SCHEMA_NOT_FOUND"),
    ]  # fmt: skip


def test_tables_that_cannot_be_made(world: World) -> None:
    assert world.unlike(_NO_TABLES) == []
    known = [one["Name"] for one in world.glue.get_tables(DatabaseName=world.database)["TableList"]]
    assert not {f"n{number}" for number in range(1, 7)} & set(known)


def test_unload(world: World) -> None:
    query = "select * from (values ('a', 1, 1.5e0), ('b', null, null)) as v (s, n, d)"
    unload = f"UNLOAD ({query})\nTO 's3://{world.bucket}/unload/a/'\nWITH (format = 'PARQUET')"
    found = world.run(unload)
    assert found["SubstatementType"] == "UNLOAD"
    (key,) = world.keys("unload/a/")
    rows = parquet.read_table(io.BytesIO(world.body(key))).to_pylist()
    assert rows == [{"s": "a", "n": 1, "d": 1.5}, {"s": "b", "n": None, "d": None}]
    manifest = f"results/{found['QueryExecutionId']}-manifest.csv"
    assert world.body(manifest).decode().split() == [f"s3://{world.bucket}/{key}"]
    assert world.reason(unload).startswith("HIVE_PATH_ALREADY_EXISTS")


def test_unload_of_no_rows_writes_no_file(world: World) -> None:
    query = "select * from (values (1)) as v (a) where a > 1"
    found = world.run(
        f"unload ({query}) to 's3://{world.bucket}/unload/none/' with (format = 'PARQUET')"
    )
    assert world.keys("unload/none/") == []
    assert world.body(f"results/{found['QueryExecutionId']}-manifest.csv") == b""


_NO_UNLOADS = [
        ("unload (select 1) to 's3://{b}/u1/' with (format = 'PARQUET')", "MISSING_COLUMN_NAME"),
        ("unload (select 1 a, 2 a) to 's3://{b}/u2/' with (format = 'PARQUET')", "DUPLICATE"),
        ("unload (select now() a) to 's3://{b}/u3/' with (format = 'PARQUET')", "NOT_SUPPORTED"),
        ("unload (select 1 a) to 'https://{b}/u4/' with (format = 'PARQUET')", "INVALID_PROPERTY"),
        ("unload (select 1 a) to 's3://{b}/u5/'", "INVALID_PROPERTY_VALUE"),
        ("unload (select 1 a) to 's3://{b}/u7/' with (format = 'JSON')", "NOT_SUPPORTED"),
        ("unload (select nope) to 's3://{b}/u6/' with (format = 'PARQUET')",
         "COLUMN_NOT_FOUND: line 1:16"),
    ]  # fmt: skip


def test_unloads_that_are_refused(world: World) -> None:
    named = [(query.format(b=world.bucket), reason) for query, reason in _NO_UNLOADS]
    assert world.unlike(named) == []


def test_views(world: World) -> None:
    world.put_parquet("base/a.parquet", pa.table({"n": pa.array([1, 2], pa.int64())}))
    world.table("base", {"n": "bigint"})
    world.run("create view v1 as select n, n * 2 as twice from base")
    kept = world.glue.get_table(DatabaseName=world.database, Name="v1")["Table"]
    assert kept["TableType"] == "VIRTUAL_VIEW"
    assert kept["ViewOriginalText"].startswith("/* Presto View: ")
    world.run("create view v2 as select max(twice) as top from v1")
    assert world.rows("select top from v2") == [["4"]]
    assert "ALREADY_EXISTS" in world.reason("create view v1 as select 1 as a")
    assert "MISSING_COLUMN_NAME" in world.reason("create view v3 as select n + 1 from base")
    assert "COLUMN_NOT_FOUND" in world.reason("create view v3 as select nope from base")
    assert world.lines(f"show tables in {world.database} 'v*'") == ["v1", "v2"]
    world.run("create or replace view v1 as select n as other from base")
    assert world.reason("select * from v2").startswith("INVALID_VIEW")
    world.run("drop view v2")
    assert "VIEW_NOT_FOUND" in world.reason("drop view v2")
    world.run("drop view if exists v2")
