"""Athena's API: executions, results in S3 and in pages, work groups, data catalogues."""

from __future__ import annotations

import csv
import io
import uuid
from typing import Any

import pyarrow as pa
import pytest

from tests.rehearsal.athena_world import World
from tests.rehearsal.conftest import REGIONS, Cloud, error_of, until

_SLOW = "select count_if(rand() > 0.5) from t a, t b, t c, t d"


@pytest.fixture(scope="module")
def world(cloud: Cloud) -> World:
    world = World(cloud)
    table = pa.table({"n": pa.array(range(1500), pa.int64()), "s": [f"r{i}" for i in range(1500)]})
    world.put_parquet("t/a.parquet", table)
    world.table("t", {"n": "bigint", "s": "string"})
    return world


def test_an_execution_tells_all(world: World) -> None:
    found = world.run("select count(n) from t")
    assert found["StatementType"] == "DML"
    assert found["SubstatementType"] == "SELECT"
    assert found["Query"] == "select count(n) from t"
    assert found["WorkGroup"] == "primary"
    assert found["QueryExecutionContext"] == {"Database": world.database}
    place = f"{world.output}{found['QueryExecutionId']}.csv"
    assert found["ResultConfiguration"]["OutputLocation"] == place
    assert found["EngineVersion"]["EffectiveEngineVersion"] == "Athena engine version 3"
    statistics = found["Statistics"]
    assert statistics["DataScannedInBytes"] > 0
    assert statistics["TotalExecutionTimeInMillis"] >= statistics["EngineExecutionTimeInMillis"] > 0
    assert statistics["ResultReuseInformation"] == {"ReusedPreviousResult": False}
    assert found["Status"]["CompletionDateTime"] >= found["Status"]["SubmissionDateTime"]


def test_a_failure_tells_why(world: World) -> None:
    found = world.ended(world.start("select nope from t"))
    assert found["Status"]["State"] == "FAILED"
    error = found["Status"]["AthenaError"]
    assert (error["ErrorCategory"], error["Retryable"]) == (2, False)
    assert error["ErrorMessage"] == found["Status"]["StateChangeReason"]
    code, message = error_of(
        world.athena.get_query_results, QueryExecutionId=found["QueryExecutionId"]
    )
    assert code == "InvalidRequestException"
    assert message.startswith("Query did not finish successfully. Final query state: FAILED")


def test_pages_of_a_result(world: World) -> None:
    found = world.run("select n, s from t order by n")
    first = world.athena.get_query_results(QueryExecutionId=found["QueryExecutionId"])
    rows = first["ResultSet"]["Rows"]
    assert len(rows) == 1000
    assert [one["VarCharValue"] for one in rows[0]["Data"]] == ["n", "s"]
    second = world.athena.get_query_results(
        QueryExecutionId=found["QueryExecutionId"], NextToken=first["NextToken"]
    )
    assert "NextToken" not in second
    assert second["ResultSet"]["Rows"][0]["Data"][0]["VarCharValue"] == "999"
    assert len(second["ResultSet"]["Rows"]) == 501
    small = world.athena.get_paginator("get_query_results").paginate(
        QueryExecutionId=found["QueryExecutionId"], PaginationConfig={"PageSize": 7, "MaxItems": 20}
    )
    listed = [row["Data"][0]["VarCharValue"] for page in small for row in page["ResultSet"]["Rows"]]
    assert listed == ["n", *map(str, range(19))]


def test_the_result_file(world: World) -> None:
    query = "select 'a\"b,c\nd' as \"x y\", '' as empty, cast(null as varchar) as none, 1.5e0 as d"
    found = world.run(query)
    key = f"results/{found['QueryExecutionId']}.csv"
    assert world.body(key).decode() == '"x y","empty","none","d"\n"a""b,c\nd","",,"1.5"\n'
    assert f"{key}.metadata" in world.keys("results/")
    assert list(csv.reader(io.StringIO(world.body(key).decode())))[1][0] == 'a"b,c\nd'
    empty = world.run("select n from t where n < 0")
    assert world.body(f"results/{empty['QueryExecutionId']}.csv") == b'"n"\n'
    shown = world.run("show tables")
    assert shown["ResultConfiguration"]["OutputLocation"].endswith(".txt")
    assert world.body(f"results/{shown['QueryExecutionId']}.txt") == b"t\n"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ResultConfiguration": {}}, "No output location provided. An output location is required "
         "either through the Workgroup result configuration setting or as an API input."),
        ({"ResultConfiguration": {"OutputLocation": "https://b/x"}},
         "outputLocation is not a valid S3 path"),
        ({"ResultConfiguration": {"OutputLocation": "s3://no-such-bucket-at-all/x"}},
         "Unable to verify/create output bucket no-such-bucket-at-all"),
        ({"QueryString": "selec 1"}, "line 1:1: mismatched input 'selec'"),
        ({"QueryString": "select 1; select 2"}, "Only one sql statement is allowed"),
        ({"QueryString": " -- nothing\n ; "}, "line 1:1: mismatched input '<EOF>'"),
        ({"QueryString": "create database x"}, "NOT_SUPPORTED: The embedded AWS does not perform "
         "'create database x ...'. Make tables and databases by Glue's API"),
        ({"WorkGroup": "nobody"}, "WorkGroup nobody is not found."),
    ],
)  # fmt: skip
def test_requests_that_are_refused(world: World, changes: dict[str, Any], message: str) -> None:
    request: dict[str, Any] = {
        "QueryString": "select 1",
        "ResultConfiguration": {"OutputLocation": world.output},
        **changes,
    }
    code, text = error_of(world.athena.start_query_execution, **request)
    assert code == "InvalidRequestException"
    assert text.startswith(message)


def test_a_request_token_starts_one_query(world: World) -> None:
    token = uuid.uuid4().hex
    first = world.start("select 1", ClientRequestToken=token)
    assert world.start("select 1", ClientRequestToken=token) == first
    code, message = error_of(
        world.athena.start_query_execution,
        QueryString="select 2",
        ResultConfiguration={"OutputLocation": world.output},
        ClientRequestToken=token,
    )
    assert code == "InvalidRequestException"
    assert "Idempotent" in message


def test_a_result_is_reused_when_asked(world: World) -> None:
    reuse = {"ResultReuseByAgeConfiguration": {"Enabled": True, "MaxAgeInMinutes": 5}}
    query = "select sum(n) as reused from t"
    first = world.run(query, ResultReuseConfiguration=reuse)
    second = world.run(query, ResultReuseConfiguration=reuse)
    assert first["Statistics"]["ResultReuseInformation"] == {"ReusedPreviousResult": False}
    assert second["Statistics"]["ResultReuseInformation"] == {"ReusedPreviousResult": True}
    assert second["Statistics"]["DataScannedInBytes"] == 0
    assert second["ResultConfiguration"] == first["ResultConfiguration"]
    assert world.rows(query, ResultReuseConfiguration=reuse) == [["1124250"]]
    third = world.run(query)
    assert third["Statistics"]["ResultReuseInformation"] == {"ReusedPreviousResult": False}


def test_a_query_is_cancelled_while_others_run(world: World) -> None:
    slow = world.start(_SLOW)
    get = world.athena.get_query_execution
    until(
        lambda: get(QueryExecutionId=slow)["QueryExecution"]["Status"]["State"],
        lambda state: state == "RUNNING",
    )
    _, message = error_of(world.athena.get_query_results, QueryExecutionId=slow)
    assert message == "Query has not yet finished. Current state: RUNNING"
    assert world.rows("select 1") == [["1"]]
    world.athena.stop_query_execution(QueryExecutionId=slow)
    found = world.ended(slow)
    assert found["Status"]["State"] == "CANCELLED"
    assert found["Status"]["StateChangeReason"] == "Query cancelled by user"
    world.athena.stop_query_execution(QueryExecutionId=slow)


def test_work_groups(world: World) -> None:
    group = f"group-{uuid.uuid4().hex[:6]}"
    place = f"s3://{world.bucket}/of-the-group/"
    world.athena.create_work_group(
        Name=group,
        Configuration={
            "EnforceWorkGroupConfiguration": True,
            "ResultConfiguration": {
                "OutputLocation": place,
                "EncryptionConfiguration": {"EncryptionOption": "SSE_S3"},
            },
        },
    )
    found = world.run("select 1", WorkGroup=group)
    assert found["WorkGroup"] == group
    assert found["ResultConfiguration"]["OutputLocation"].startswith(place)
    assert found["ResultConfiguration"]["EncryptionConfiguration"] == {"EncryptionOption": "SSE_S3"}
    assert world.keys(f"of-the-group/{found['QueryExecutionId']}.csv")
    ids = world.athena.list_query_executions(WorkGroup=group)["QueryExecutionIds"]
    assert ids == [found["QueryExecutionId"]]


def test_batch_and_list(world: World) -> None:
    one, other = world.run("select 1"), world.run("select 2")
    ids = [one["QueryExecutionId"], other["QueryExecutionId"], str(uuid.uuid4())]
    answer = world.athena.batch_get_query_execution(QueryExecutionIds=ids)
    assert [found["Query"] for found in answer["QueryExecutions"]] == ["select 1", "select 2"]
    assert answer["UnprocessedQueryExecutionIds"][0]["QueryExecutionId"] == ids[2]
    listed = world.athena.list_query_executions(MaxResults=2)
    assert listed["QueryExecutionIds"] == [ids[1], ids[0]]
    assert listed["NextToken"]
    code, message = error_of(world.athena.get_query_execution, QueryExecutionId=ids[2])
    assert (code, message) == (
        "InvalidRequestException",
        f"QueryExecution {ids[2]} was not found",
    )


def test_a_data_catalogue_of_this_account_shows_the_same_tables(world: World) -> None:
    name = f"cdc_{uuid.uuid4().hex[:6]}"
    account = {"catalog-id": "123456789012"}
    world.athena.create_data_catalog(Name=name, Type="GLUE", Parameters=account)
    assert world.rows(f"select count(*) from {name}.{world.database}.t") == [["1500"]]
    assert world.rows("select count(*) from t", QueryExecutionContext={
        "Catalog": name, "Database": world.database,
    }) == [["1500"]]  # fmt: skip
    joined = f"select count(*) from t a join {name}.{world.database}.t b on a.n = b.n"
    assert world.rows(joined) == [["1500"]]


@pytest.mark.parametrize("region", [one for one in REGIONS if one != "cn-northwest-1"])
def test_other_regions(cloud: Cloud, region: str) -> None:
    world = World(cloud, region)
    world.run("create table made as select 1 as a")
    assert world.rows("select * from made") == [["1"]]
