"""Athena's SQL, really executed: functions and types as Trino has them, refusals in its words."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tests.rehearsal.athena_world import World
from tests.rehearsal.conftest import Cloud


@pytest.fixture(scope="module")
def world(cloud: Cloud) -> World:
    world = World(cloud)
    world.put_parquet(
        "t/a.parquet",
        pa.table(
            {
                "vin": ["v1", "v2", "v3"],
                "usage": [1.5, None, 2.5],
                "n": pa.array([1, 2, 3], pa.int32()),
                "big": pa.array([1, 2, 2**60], pa.int64()),
                "day": pa.array([18262, 18263, None], pa.date32()),
                "time": pa.array([1577836800000, 1577840400000, None], pa.timestamp("ms")),
                "tags": [["a", "b"], [], None],
                "m": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
            }
        ),
    )
    columns = {
        "vin": "string",
        "usage": "double",
        "n": "int",
        "big": "bigint",
        "day": "date",
        "time": "timestamp",
        "tags": "array<string>",
        "m": "map<string,bigint>",
    }
    world.table("t", columns)
    return world


GROUPS = {
    "arithmetic": {
        "7 / 2": "3",
        "-7 / 2": "-3",
        "7.0e0 / 2": "3.5",
        "mod(7, 3)": "1",
        "power(2, 3)": "8.0",
        "round(2.5e0)": "3.0",
        "truncate(1.9e0)": "1.0",
        "log(2, 8)": "3.0",
        "try(1 / 0)": None,
        "greatest(1, null)": None,
        "least(3, 2)": "2",
        "is_nan(nan())": "true",
        "100.0 * 2 / 3": "66.7",
        "1.5 * 2": "3.0",
        "avg(decimal '1.25')": "1.25",
    },
    "texts of values": {
        "1e7": "1.0E7",
        "1e-4": "1.0E-4",
        "12345678.9e0": "1.23456789E7",
        "0.1e0 + 0.2e0": "0.30000000000000004",
        "cast(1.1 as real)": "1.1",
        "true": "true",
        "cast(null as varchar)": None,
        "date '2020-01-02'": "2020-01-02",
        "timestamp '2020-01-02 03:04:05.6'": "2020-01-02 03:04:05.600",
        "decimal '1.20'": "1.20",
        "array[1, null, 2]": "[1, null, 2]",
        "map(array['a'], array[1.5e0])": "{a=1.5}",
        "row(1, 'x')": "{field0=1, field1=x}",
        "cast(row(1, 'x') as row(a integer, b varchar))": "{a=1, b=x}",
        "x'6162'": "61 62",
        "interval '25' hour": "1 01:00:00.000",
        "from_unixtime(0)": "1970-01-01 00:00:00.000 UTC",
        "timestamp '2022-01-01 09:22:22 +05:30'": "2022-01-01 03:52:22.000 UTC",
        "timestamp '2022-01-01 09:22:22.5 Asia/Shanghai'": "2022-01-01 01:22:22.500 UTC",
    },
    "casts": {
        "cast(2.5e0 as integer)": "3",
        "cast(-2.5e0 as bigint)": "-3",
        "cast('12' as integer)": "12",
        "try_cast('1.5' as integer)": None,
        "try_cast('x' as double)": None,
        "try(cast('x' as integer))": None,
        "cast(1.5e0 as varchar)": "1.5E0",
        "cast(date '2020-01-01' as varchar)": "2020-01-01",
        "cast(timestamp '2020-01-01 01:02:03' as varchar)": "2020-01-01 01:02:03.000",
        "cast(1234 as varchar(2))": "12",
        "cast('2020-01-01' as date)": "2020-01-01",
        "cast(1152921504606846977 as bigint)": "1152921504606846977",
        "cast(decimal '1.20' as varchar)": "1.20",
        "cast(cast('7' as smallint) as bigint)": "7",
        "cast(true as varchar)": "true",
        "cast(7 as decimal(5,2))": "7.00",
    },
    "dates": {
        "date '2020-01-31' + interval '1' month": "2020-02-29",
        "timestamp '2020-01-01 00:00:00' - interval '3' hour": "2019-12-31 21:00:00.000",
        "date_add('month', 1, date '2020-01-31')": "2020-02-29",
        "date_add('hour', -2, timestamp '2020-01-01 00:00:00')": "2019-12-31 22:00:00.000",
        "date_diff('day', date '2020-01-01', date '2020-03-01')": "60",
        "date_diff('day', timestamp '2020-01-01 12:00:00', timestamp '2020-01-03 11:00:00')": "1",
        "date_trunc('month', date '2020-01-31')": "2020-01-01",
        "date_parse('2020/01/02 03', '%Y/%m/%d %H')": "2020-01-02 03:00:00.000",
        "date_format(timestamp '2020-01-02 03:04:05', '%Y-%m-%d %H:%i:%s')": "2020-01-02 03:04:05",
        "format_datetime(timestamp '2020-01-02 03:04:05', 'yyyy-MM-dd''T''HH:mm')": (
            "2020-01-02T03:04"
        ),
        "from_iso8601_timestamp('2020-01-01T08:00:00+08:00')": "2020-01-01 00:00:00.000 UTC",
        "from_iso8601_date('2020-01-05')": "2020-01-05",
        "to_iso8601(date '2020-01-05')": "2020-01-05",
        "to_unixtime(timestamp '1970-01-01 00:00:01')": "1.0",
        "day_of_week(date '2020-01-05')": "7",
        "week(date '2020-01-05')": "1",
        "quarter(date '2020-05-05')": "2",
        "extract(hour from timestamp '2020-01-01 05:00:00')": "5",
        "last_day_of_month(date '2020-02-03')": "2020-02-29",
        "date(timestamp '2020-01-01 23:00:00')": "2020-01-01",
        "date_format(timestamp '2020-01-01 20:00:00' at time zone 'Asia/Shanghai', '%d %H')": (
            "02 04"
        ),
    },
    "texts": {
        "concat('a', null)": None,
        "concat('a', 'b', 'c')": "abc",
        "'a' || 'b'": "ab",
        "split('a,b', ',')": "[a, b]",
        "split_part('a,b', ',', 2)": "b",
        "split_part('a,b', ',', 3)": None,
        "substr('hello', 2, 3)": "ell",
        "strpos('abc', 'c')": "3",
        "replace('abc', 'b')": "ac",
        "lpad('a', 3, 'x')": "xxa",
        "length('电池')": "2",
        "regexp_like('abc', 'b')": "true",
        "regexp_extract('a1', '([a-z])(\\d)', 2)": "1",
        "regexp_extract('abc', 'z')": None,
        "regexp_replace('a1b2', '\\d')": "ab",
        "regexp_replace('a1', '([a-z])(\\d)', '$2$1')": "1a",
        "format('%05d|%s|%.2f', 3, 'x', 1.5e0)": "00003|x|1.50",
        "url_extract_host('https://u@a.com:80/p/q?x=1&y=2#f')": "a.com",
        "url_extract_path('https://a.com/p/q?x=1')": "/p/q",
        "url_extract_parameter('https://a.com?x=1&y=2', 'y')": "2",
        "url_decode('a%20b')": "a b",
        "to_hex(md5(to_utf8('a')))": "0CC175B9C0F1B6A831C399E269772661",
        "from_utf8(from_base64('YQ=='))": "a",
    },
    "arrays, maps and JSON": {
        "element_at(array[1, 2], 3)": None,
        "element_at(map(array['a'], array[1]), 'b')": None,
        "array[1, 2][1]": "1",
        "cardinality(array[1, 2])": "2",
        "contains(array[1], 1)": "true",
        "transform(array[1, 2], x -> x + 1)": "[2, 3]",
        "filter(array[1, 2], x -> x > 1)": "[2]",
        "reduce(array[1, 2], 0, (s, x) -> s + x, s -> s * 10)": "30",
        "any_match(array[1, 2], x -> x = 2)": "true",
        "none_match(array[1, 2], x -> x = 3)": "true",
        "array_join(array[1, null, 2], '-')": "1-2",
        "array_join(array[1, null], '-', '?')": "1-?",
        "sequence(1, 3)": "[1, 2, 3]",
        "sequence(date '2020-01-01', date '2020-01-02', interval '1' day)": (
            "[2020-01-01, 2020-01-02]"
        ),
        "slice(array[1, 2, 3], 2, 2)": "[2, 3]",
        "slice(array[1, 2, 3], -2, 1)": "[2]",
        "flatten(array[array[1], array[2]])": "[1, 2]",
        "json_extract_scalar('{\"a\": {\"b\": 1}}', '$.a.b')": "1",
        "json_extract_scalar('{\"a\": [1]}', '$.a')": None,
        "json_extract('{\"a\": [1]}', '$.a')": "[1]",
        "json_array_length('[1, 2]')": "2",
        "cast(json_parse('[1, 2]') as array(integer))": "[1, 2]",
        "json_format(cast(array[1] as json))": "[1]",
    },
}


def test_functions(world: World) -> None:
    started = [world.start("select " + ",\n  ".join(wanted)) for wanted in GROUPS.values()]
    for execution, wanted in zip(started, GROUPS.values(), strict=True):
        assert dict(zip(wanted, world.rows_of(execution)[0], strict=True)) == wanted


QUERIES: list[tuple[str, list[list[str | None]]]] = [
        ("select sum(n), avg(n), count(*), sum(big) from t where n < 3", [["3", "1.5", "2", "3"]]),
        ("select arbitrary(n) > 0, max_by(vin, n), min_by(vin, n), count_if(n > 1) from t",
         [["true", "v3", "v1", "2"]]),
        ("select approx_distinct(vin), array_agg(n order by n desc) from t", [["3", "[3, 2, 1]"]]),
        ("select map_agg(vin, n) from t where n = 1", [["{v1=1}"]]),
        ("select count(*) filter (where n > 1), listagg(vin, '+') within group (order by vin) "
         "from t",
         [["2", "v1+v2+v3"]]),
        ("select vin, lag(n) over (order by n), row_number() over (order by n desc) from t "
         "order by vin", [["v1", None, "3"], ["v2", "1", "2"], ["v3", "2", "1"]]),
        ("with a as (select * from t where n > 1) select a.vin, b.vin from a join t b "
         "on a.n = b.n + 1 order by 1", [["v2", "v1"], ["v3", "v2"]]),
        ("select vin, x from t cross join unnest(tags) as u (x) order by 1, 2",
         [["v1", "a"], ["v1", "b"]]),
        ("select x, i from t cross join unnest(tags) with ordinality as u (x, i) order by i",
         [["a", "1"], ["b", "2"]]),
        ("select k, v from t cross join unnest(m) as u (k, v)", [["k", "1"]]),
        ("select x, y from unnest(array[1, 2], array['a']) as u (x, y) order by x",
         [["1", "a"], ["2", None]]),
        ("select a, b from unnest(array[row(1, 'x')]) as u (a, b)", [["1", "x"]]),
        ("select n from t where vin in (select vin from t where n = 2)", [["2"]]),
        ("select n, count(*) from t group by n having n > 2 and count(*) > 0", [["3", "1"]]),
        ("select day + interval '1' day, date_trunc('month', day) from t where n = 2",
         [["2020-01-03", "2020-01-01"]]),
        ("select n, count(*) from t group by grouping sets ((n), ()) order by n nulls last limit 1",
         [["1", "1"]]),
        ("select * from (values (1, 'a'), (2, 'b')) as v (x, y) where x = 2", [["2", "b"]]),
        ("select n from t order by n offset 1 rows fetch first 1 rows only", [["2"]]),
        ("select n from t where n = 1 union all select n from t where n = 3 order by 1",
         [["1"], ["3"]]),
        ("values (1, 'a')", [["1", "a"]]),
        ("(select 1)", [["1"]]),
        ("-- a comment; with a semicolon\nselect /* and another */ 1 -- end\n;", [["1"]]),
    ]  # fmt: skip


def test_queries(world: World) -> None:
    started = [(world.start(query), query, rows) for query, rows in QUERIES]
    for execution, query, rows in started:
        assert world.rows_of(execution) == rows, query


REFUSALS = [
        ("select * from nope", "TABLE_NOT_FOUND: line 1:15: Table 'awsdatacatalog.{db}.nope' does "
         "not exist"),
        ("select * from nodb.t", "SCHEMA_NOT_FOUND: line 1:15: Schema 'nodb' does not exist"),
        ("select * from nocat.x.t", "CATALOG_NOT_FOUND: line 1:15: Catalog 'nocat' does not exist"),
        ("select vin,\n  nope\nfrom t", "COLUMN_NOT_FOUND: line 2:3: Column 'nope' cannot be "
         "resolved or requester is not authorized to access requested resources"),
        ("select vin from t where", "SYNTAX_ERROR: line 1:19: mismatched input"),
        ("select foo(vin) from t", "FUNCTION_NOT_FOUND: line 1:8: Function 'foo' not registered"),
        ("select strlen(vin) from t", "FUNCTION_NOT_FOUND"),
        ("select vin::integer from t", "SYNTAX_ERROR: line 1:11: mismatched input ':'"),
        ("select vin from t where vin ilike 'V%'", "SYNTAX_ERROR: line 1:29"),
        ("select `vin` from t", "SYNTAX_ERROR: line 1:8: backquoted"),
        ("select * from t where time >= '2020-01-01'", "TYPE_MISMATCH: line 1:23: Cannot apply "
         "operator: timestamp(3) >= varchar(10)"),
        ("select * from t where day between '2020-01-01' and '2020-01-02'",
         "TYPE_MISMATCH: line 1:23: Cannot check if date is BETWEEN varchar(10) and varchar(10)"),
        ("select * from t where n = '1'", "TYPE_MISMATCH: line 1:23: Cannot apply operator: "
         "integer = varchar(1)"),
        ("select * from t where n in ('1')", "TYPE_MISMATCH: line 1:23"),
        ("select 'a' || n from t", "FUNCTION_NOT_FOUND: line 1:15: Unexpected parameters "
         "(varchar(1), integer) for function concat"),
        ("select * from (select n + 'x' from t)", "TYPE_MISMATCH: line 1:23"),
        ("with a as (select max(time) m from t) select * from a where m > '2020'",
         "TYPE_MISMATCH: line 1:61: Cannot apply operator: timestamp(3) > varchar(4)"),
        ("select n, count(*) from t group by n having n > 'a'", "TYPE_MISMATCH: line 1:45"),
        ("select * from t where time like '2020%'", "TYPE_MISMATCH: line 1:23: Left side of LIKE"),
        ("select * from t where n", "TYPE_MISMATCH: line 1:23: WHERE clause must evaluate to a "
         "boolean"),
        ("select coalesce(day, '2020-01-01') from t", "TYPE_MISMATCH: line 1:17"),
        ("select case when n = 1 then 'a' else 1 end from t", "TYPE_MISMATCH: line 1:18"),
        ("select n in (select vin from t) from t", "TYPE_MISMATCH"),
        ("select upper(n) from t", "FUNCTION_NOT_FOUND: line 1:14: Unexpected parameters (integer) "
         "for function upper"),
        ("select date_trunc('day', '2020-01-01')", "FUNCTION_NOT_FOUND: line 1:1: Unexpected "
         "parameters (varchar(10)) for function date_trunc"),
        ("select t.nope from t", "COLUMN_NOT_FOUND: line 1:8: Column 't.nope'"),
        ("select upper(vin) u from t where u = 'V1'", "COLUMN_NOT_FOUND: line 1:34: Column 'u'"),
        ("select upper(vin) u, count(*) from t group by u", "COLUMN_NOT_FOUND: line 1:47"),
        ("select n + 1 as k, k + 1 from t", "COLUMN_NOT_FOUND: line 1:20: Column 'k'"),
        ("select vin, count(*) from t", "EXPRESSION_NOT_AGGREGATE: line 1:8: 'vin' must be an "
         "aggregate expression or appear in GROUP BY clause"),
        ("select a.n from t a join t b on a.n = b.n where big = 1", "AMBIGUOUS_NAME: line 1:49"),
        ("select 1 union all select 1, 2", "TYPE_MISMATCH: line 1:10: UNION query has different "
         "number of fields"),
        ("select 1 / 0", "DIVISION_BY_ZERO: Division by zero"),
        ("select cast('x' as integer)", "INVALID_CAST_ARGUMENT: Cannot cast 'x' to INT"),
        ("select cast(vin as date) from t", "INVALID_CAST_ARGUMENT: Value cannot be "
         "cast to date: v1"),
        ("select date_parse(vin, '%Y') from t", 'INVALID_FUNCTION_ARGUMENT: Invalid format: "v1"'),
        ("select cast(big as tinyint) from t", "INVALID_CAST_ARGUMENT: Out of range for tinyint"),
        ("select cast(vin as boolean) from t",
         "INVALID_CAST_ARGUMENT: Cannot cast 'v1' to BOOLEAN"),
        ("select (select n from t)", "SUBQUERY_MULTIPLE_ROWS: Scalar sub-query has returned "
         "multiple rows"),
        ("select * exclude (vin) from t", "SYNTAX_ERROR"),
        ("select * from read_csv('/etc/passwd')", "FUNCTION_NOT_FOUND"),
    ]  # fmt: skip


def test_refusals(world: World) -> None:
    assert world.unlike([(q, reason.format(db=world.database)) for q, reason in REFUSALS]) == []


def test_parameters_are_bound_in_the_order_of_the_text(world: World) -> None:
    query = "with a as (select ? as x) select x, ?, vin from a cross join t where n = ? limit ?"
    found = world.rows(query, ExecutionParameters=["'it''s'", "2.5", "1", "10"])
    assert found == [["it's", "2.5", "v1"]]


def test_parameters_may_have_a_zone(world: World) -> None:
    query = "select vin from t where time > ?"
    for moment in ("2020-01-01 06:30:00.000 +06:00", "2020-01-01 08:30:00 Asia/Shanghai"):
        assert world.rows(query, ExecutionParameters=[f"timestamp '{moment}'"]) == [["v2"]]


CONSTANTS = [
        (["1", "2"], "INVALID_PARAMETER_USAGE: line 1:1: Incorrect number of parameters: expected "
         "1 but found 2"),
        (["vin"], "INVALID_PARAMETER_USAGE"),
        (["(select 1)"], "INVALID_PARAMETER_USAGE"),
        (["1) or (1 = 1"], "SYNTAX_ERROR"),
    ]  # fmt: skip


def test_parameters_are_constants(world: World) -> None:
    for parameters, reason in CONSTANTS:
        found = world.reason("select * from t where (n = ?)", ExecutionParameters=parameters)
        assert found.startswith(reason)


def test_unnamed_and_duplicate_columns(world: World) -> None:
    found = world.run("select 1, n, n, upper(vin) U, count(*) over () from t limit 1")
    answer = world.athena.get_query_results(QueryExecutionId=found["QueryExecutionId"])
    header = [one["VarCharValue"] for one in answer["ResultSet"]["Rows"][0]["Data"]]
    assert header == ["_col0", "n", "n", "U", "_col4"]
