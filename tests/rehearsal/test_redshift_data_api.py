"""The Data API's own behaviour: statements, results, pages, batches, sessions, cancelling."""

from __future__ import annotations

import csv
import io
import json
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from batcat_runtime.rehearsal.clients import Clients
from batcat_runtime.rehearsal.sql.catalogue import Catalogue
from batcat_runtime.rehearsal.sql.data_api import DataApi
from batcat_runtime.rehearsal.sql.redshift_external import World
from batcat_runtime.rehearsal.sql.redshift_serverless import Serverless
from batcat_runtime.rehearsal.sql.redshift_targets import Targets
from batcat_runtime.rehearsal.wire import Call, ServiceError
from tests.rehearsal.conftest import Cloud, error_of, until
from tests.rehearsal.redshift_world import House

TYPES = [
    # Expression, typeName, the Field's key, its value.
    ("1::smallint", "int2", "longValue", 1),
    ("1::integer", "int4", "longValue", 1),
    ("9223372036854775807::bigint", "int8", "longValue", 9223372036854775807),
    ("0.1::real", "float4", "doubleValue", 0.1),
    ("0.1::double precision", "float8", "doubleValue", 0.1),
    ("12345678901234567890.123::numeric(38,3)", "numeric", "stringValue",
     "12345678901234567890.123"),
    ("true", "bool", "booleanValue", True),
    ("'text'::varchar(10)", "varchar", "stringValue", "text"),
    ("'2022-01-31'::date", "date", "stringValue", "2022-01-31"),
    ("'2022-01-31 01:02:03.5'::timestamp", "timestamp", "stringValue", "2022-01-31 01:02:03.5"),
    ("'2022-01-31 01:02:03+08'::timestamptz", "timestamptz", "stringValue",
     "2022-01-30 17:02:03+00"),
    ("'01:02:03'::time", "time", "stringValue", "01:02:03"),
    ("json_parse('[1,2]')", "super", "stringValue", "[1,2]"),
    ("to_varbyte('abc', 'utf8')", "varbyte", "blobValue", b"abc"),
    ("null::integer", "int4", "isNull", True),
    ("'NaN'::float", "float8", "stringValue", "NaN"),
]  # fmt: skip


@pytest.fixture(scope="module")
def house(cloud: Cloud) -> House:
    return House(cloud)


@pytest.mark.parametrize(("expression", "name", "key", "value"), TYPES)
def test_each_type_has_its_field_and_its_metadata(
    house: House, expression: str, name: str, key: str, value: object
) -> None:
    columns, rows = house.result(house.run(f"SELECT {expression} AS v")["Id"])
    assert rows == [[{key: value}]]
    assert (columns[0]["typeName"], columns[0]["name"], columns[0]["nullable"]) == (name, "v", 1)


def test_metadata_follows_a_column_back_to_its_table(house: House) -> None:
    house.run(
        "CREATE TABLE lineage (id int NOT NULL, name varchar(12), code char(3), price decimal(9,3))"
    )
    done = house.run("SELECT l.name AS label, id, code, price, upper(name) FROM lineage l")
    label, number, code, price, upper = house.result(done["Id"])[0]
    assert (label["tableName"], label["schemaName"], label["length"]) == ("lineage", "public", 12)
    assert (label["typeName"], label["isCaseSensitive"], label["isSigned"]) == (
        "varchar",
        True,
        False,
    )
    assert (number["nullable"], number["precision"], number["isSigned"]) == (0, 10, True)
    assert (code["typeName"], code["length"]) == ("bpchar", 3)
    assert (price["typeName"], price["precision"], price["scale"]) == ("numeric", 9, 3)
    assert (upper["tableName"], upper["typeName"]) == ("", "varchar")


def test_a_description_tells_all(house: House) -> None:
    done = house.run("SELECT 1 AS a WHERE 1 = :one", parameters={"one": "1"}, StatementName="first")
    assert done["Status"] == "FINISHED"
    assert (done["ResultRows"], done["HasResultSet"], done["ClusterIdentifier"]) == (
        1,
        True,
        house.name,
    )
    assert done["QueryString"] == "SELECT 1 AS a WHERE 1 = :one"
    assert done["QueryParameters"] == [{"name": "one", "value": "1"}]
    assert done["Duration"] > 0
    assert done["ResultSize"] > 0
    assert done["RedshiftPid"] > 0
    assert (done["Database"], done["DbUser"]) == ("dev", "IAM:root")
    ddl = house.run("CREATE TABLE described (a int)")
    assert (ddl["HasResultSet"], ddl["ResultRows"]) == (False, 0)
    assert house.run("INSERT INTO described VALUES (1), (2)")["ResultRows"] == 2
    failed = house.execute("SELECT nothing")
    assert (failed["Status"], failed["ResultRows"], failed["HasResultSet"]) == ("FAILED", -1, False)
    listed = house.api.list_statements(StatementName="fir", ClusterIdentifier=house.name)
    assert [one["Id"] for one in listed["Statements"]] == [done["Id"]]
    failures = house.api.list_statements(Status="FAILED", ClusterIdentifier=house.name)
    assert failed["Id"] in [one["Id"] for one in failures["Statements"]]


HOSTILE = [
    "'; DROP TABLE bound; --",
    "' OR 1=1 --",
    "\\' OR 1=1",
    "x' UNION SELECT 'y",
    ":a",
    "$p_a",
    "$1",
    "{}",
    "汉字 ümlaut \n new line",
    '"quoted"',
    "--",
    "/* no comment */",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_parameter_is_a_value_whatever_it_holds(house: House, text: str) -> None:
    house.run("CREATE TABLE IF NOT EXISTS bound (a varchar(100))", "TRUNCATE bound")
    house.run("INSERT INTO bound VALUES (:a)", parameters={"a": text})
    assert house.rows("SELECT a FROM bound WHERE a = :a", parameters={"a": text}) == [(text,)]
    assert house.rows("SELECT a FROM bound WHERE a = :a", parameters={"a": text + "!"}) == []


def test_parameters_take_the_type_that_they_are_compared_with(house: House) -> None:
    house.run("CREATE TABLE typed (n int, d date, p decimal(8,2), t timestamp)")
    house.run(
        "INSERT INTO typed VALUES (:n, :d, :p, :t)",
        parameters={"n": "7", "d": "2022-01-31", "p": "1.50", "t": "2022-01-31 10:00:00"},
    )
    where = "n = :n AND d >= :d AND p < :p AND t BETWEEN :d AND :t AND n IN (:n, 9)"
    values = {"n": "7", "d": "2022-01-01", "p": "2", "t": "2022-02-01"}
    assert house.rows(f"SELECT n + :n FROM typed WHERE {where}", parameters=values) == [(14,)]
    assert "invalid input syntax for type integer" in house.error(
        "SELECT * FROM typed WHERE n = :n", parameters={"n": "x"}
    )
    assert house.value(":a::date + 1", parameters={"a": "2022-01-31"}) == "2022-02-01"


def test_parameters_must_match_the_statement(house: House) -> None:
    target = {"ClusterIdentifier": house.name, "Database": "dev"}
    one = [{"name": "a", "value": "1"}]
    code, text = error_of(house.api.execute_statement, Sql="SELECT 1", Parameters=one, **target)
    assert code == "ValidationException"
    assert text == "Parameters list contains unused parameters. Unused parameters: [a]"
    for sql in ("SELECT ':a'", "SELECT 1 -- :a", "SELECT 'x'::a"):
        code, _ = error_of(house.api.execute_statement, Sql=sql, Parameters=one, **target)
        assert code == "ValidationException"
    code, text = error_of(
        house.api.execute_statement, Sql="SELECT :a, :b", Parameters=one, **target
    )
    assert (code, text) == ("ValidationException", "Cannot find parameter: b")


def test_a_result_comes_in_pages(house: House) -> None:
    sql = "SELECT g AS n, repeat('x', 400) AS t FROM generate_series(1, 5000) AS s(g) ORDER BY 1"
    done = house.run(sql)
    first = house.api.get_statement_result(Id=done["Id"])
    assert first["TotalNumRows"] == 5000
    assert 0 < len(first["Records"]) < 5000
    assert first["NextToken"]
    _, rows = house.result(done["Id"])
    assert [row[0]["longValue"] for row in rows] == list(range(1, 5001))
    other = house.run("SELECT 1")
    code, text = error_of(
        house.api.get_statement_result, Id=other["Id"], NextToken=first["NextToken"]
    )
    assert (code, text) == ("ValidationException", "NextToken is invalid.")


def test_a_result_comes_as_csv(house: House) -> None:
    done = house.run(
        "SELECT 1 AS a, 'x,\"y\"' AS b, null AS c, true AS d UNION ALL SELECT 2, 'z', 'c', false "
        "ORDER BY 1",
        ResultFormat="CSV",
    )
    assert done["ResultFormat"] == "CSV"
    page = house.api.get_statement_result_v2(Id=done["Id"])
    text = "".join(one["CSVRecords"] for one in page["Records"])
    assert list(csv.reader(io.StringIO(text))) == [
        ["a", "b", "c", "d"],
        ["1", 'x,"y"', "", "t"],
        ["2", "z", "c", "f"],
    ]
    assert page["ResultFormat"] == "CSV"
    code, _ = error_of(house.api.get_statement_result, Id=done["Id"])
    assert code == "ValidationException"


def test_a_batch_is_one_transaction(house: House) -> None:
    target = {"ClusterIdentifier": house.name, "Database": "dev"}
    made = house.api.batch_execute_statement(
        Sqls=["CREATE TABLE batch (a int)", "INSERT INTO batch VALUES (:a)", "SELECT * FROM batch"],
        Parameters=[{"name": "a", "value": "5"}],
        **target,
    )
    done = house.api.describe_statement(Id=made["Id"], WaitTimeSeconds=30)
    assert done["Status"] == "FINISHED", done
    assert [one["Id"] for one in done["SubStatements"]] == [f"{made['Id']}:{n}" for n in (1, 2, 3)]
    assert [one["HasResultSet"] for one in done["SubStatements"]] == [False, False, True]
    assert house.result(f"{made['Id']}:3")[1] == [[{"longValue": 5}]]
    assert error_of(house.api.get_statement_result, Id=made["Id"])[0] == "ValidationException"

    failing = house.api.batch_execute_statement(
        Sqls=["INSERT INTO batch VALUES (6)", "SELECT nothing", "SELECT 1"], **target
    )
    done = house.api.describe_statement(Id=failing["Id"], WaitTimeSeconds=30)
    assert done["Status"] == "FAILED"
    assert "nothing" in done["Error"]
    assert [one["Status"] for one in done["SubStatements"]] == ["FINISHED", "FAILED", "ABORTED"]
    assert house.rows("SELECT a FROM batch") == [(5,)]

    apart = house.api.batch_execute_statement(
        Sqls=["INSERT INTO batch VALUES (7)", "SELECT nothing"],
        ExecutionMode="AUTO_COMMIT",
        **target,
    )
    house.api.describe_statement(Id=apart["Id"], WaitTimeSeconds=30)
    assert house.rows("SELECT a FROM batch ORDER BY 1") == [(5,), (7,)]


def test_a_running_statement_can_be_cancelled(house: House) -> None:
    slow = "SELECT count(*) FROM generate_series(1, 200000) a, generate_series(1, 2000000) b"
    made = house.api.execute_statement(
        Sql=slow, ClusterIdentifier=house.name, Database="dev", StatementName="slow"
    )
    describe = house.api.describe_statement
    until(lambda: describe(Id=made["Id"])["Status"], lambda status: status == "STARTED")
    code, text = error_of(house.api.get_statement_result, Id=made["Id"])
    assert code == "ResourceNotFoundException"
    assert text == "Query does not have result. Please check query status with DescribeStatement."
    # Others are served while it runs.
    assert house.value("1") == 1
    began = time.monotonic()
    assert house.api.cancel_statement(Id=made["Id"])["Status"] is True
    done = describe(Id=made["Id"], WaitTimeSeconds=10)
    assert (done["Status"], done["Error"]) == ("ABORTED", "Query cancelled on user's request")
    assert time.monotonic() - began < 30
    code, text = error_of(house.api.cancel_statement, Id=made["Id"])
    assert code == "ValidationException"
    assert "already in ABORTED state" in text


def test_a_session_lives_as_long_as_asked(house: House) -> None:
    made = house.run("CREATE TEMP TABLE mine (a int)", SessionKeepAliveSeconds=60)
    session = made["SessionId"]
    house.run("INSERT INTO mine VALUES (1)", "BEGIN", "INSERT INTO mine VALUES (2)",
              "ROLLBACK", SessionId=session)  # fmt: skip
    assert house.rows("SELECT * FROM mine", SessionId=session) == [(1,)]
    assert house.error("SELECT * FROM mine") == 'ERROR: relation "mine" does not exist'
    listed = house.api.list_sessions(SessionId=session)["Sessions"]
    assert [one["Status"] for one in listed] == ["AVAILABLE"]
    code, _ = error_of(
        house.api.execute_statement, Sql="SELECT 1", SessionId=session, Database="dev"
    )
    assert code == "ValidationException"
    short = house.run("SELECT 1", SessionKeepAliveSeconds=1)["SessionId"]
    time.sleep(1.2)
    code, text = error_of(house.api.execute_statement, Sql="SELECT 1", SessionId=short)
    assert (code, "not available" in text) == ("ValidationException", True)


def test_the_same_token_starts_one_statement(house: House) -> None:
    house.run("CREATE TABLE once (a int)")
    token = str(uuid.uuid4())
    request: dict[str, Any] = {
        "Sql": "INSERT INTO once VALUES (1)",
        "ClusterIdentifier": house.name,
        "Database": "dev",
        "ClientToken": token,
        "WaitTimeSeconds": 20,
    }
    assert (
        house.api.execute_statement(**request)["Id"] == house.api.execute_statement(**request)["Id"]
    )
    assert house.value("count(*) FROM once") == 1


def test_limits_are_those_of_the_data_api(house: House) -> None:
    target = {"ClusterIdentifier": house.name, "Database": "dev"}
    code, text = error_of(
        house.api.execute_statement, Sql="SELECT '" + "x" * 102_400 + "'", **target
    )
    assert (code, "100 KB" in text) == ("ValidationException", True)
    assert house.error("SELECT repeat('x', 65537)").startswith("Packet for query is too large")
    code, _ = error_of(house.api.batch_execute_statement, Sqls=["SELECT 1"] * 41, **target)
    assert code == "ValidationException"
    code, text = error_of(house.api.describe_statement, Id=str(uuid.uuid4()))
    assert (code, text) == ("ResourceNotFoundException", "Query does not exist.")


def test_two_writers_of_one_row_conflict_as_in_redshift(house: House) -> None:
    house.run("CREATE TABLE contested (a int)", "INSERT INTO contested VALUES (1)")
    sessions = [house.run("SELECT 1", SessionKeepAliveSeconds=60)["SessionId"] for _ in range(2)]
    for session in sessions:
        house.run("BEGIN", "SELECT * FROM contested", SessionId=session)
    house.run("UPDATE contested SET a = 2", "COMMIT", SessionId=sessions[0])
    assert "Serializable isolation violation" in house.error(
        "UPDATE contested SET a = 3", SessionId=sessions[1]
    )
    house.run("ROLLBACK", SessionId=sessions[1])
    assert house.rows("SELECT a FROM contested") == [(2,)]


def test_the_catalogue_operations_list_what_there_is(house: House) -> None:
    target = {"ClusterIdentifier": house.name, "Database": "dev"}
    house.run("CREATE SCHEMA inventory", "CREATE TABLE inventory.part (id int, name varchar(9))",
              "CREATE VIEW inventory.parts AS SELECT id FROM inventory.part")  # fmt: skip
    assert "dev" in house.api.list_databases(**target)["Databases"]
    schemas = house.api.list_schemas(SchemaPattern="inv%", **target)["Schemas"]
    assert schemas == ["inventory"]
    tables = house.api.list_tables(SchemaPattern="inventory", **target)["Tables"]
    assert [(one["name"], one["type"]) for one in tables] == [("part", "TABLE"), ("parts", "VIEW")]
    page = house.api.list_tables(SchemaPattern="inventory", MaxResults=1, **target)
    rest = house.api.list_tables(
        SchemaPattern="inventory", MaxResults=1, NextToken=page["NextToken"], **target
    )
    assert [one["name"] for one in page["Tables"] + rest["Tables"]] == ["part", "parts"]
    described = house.api.describe_table(Schema="inventory", Table="part", **target)
    assert described["TableName"] == "part"
    assert [(one["name"], one["typeName"], one["length"]) for one in described["ColumnList"]] == [
        ("id", "int4", 0),
        ("name", "varchar", 9),
    ]


def test_an_event_tells_that_a_statement_has_ended(house: House) -> None:
    cloud, region = house.cloud, house.region
    queue = cloud.client("sqs", region).create_queue(QueueName=f"ended-{uuid.uuid4().hex[:6]}")
    arn = cloud.client("sqs", region).get_queue_attributes(
        QueueUrl=queue["QueueUrl"], AttributeNames=["QueueArn"]
    )["Attributes"]["QueueArn"]
    events = cloud.client("events", region)
    events.put_rule(
        Name="ended",
        EventPattern=json.dumps(
            {"source": ["aws.redshift-data"], "detail": {"state": ["FINISHED"]}}
        ),
    )
    events.put_targets(Rule="ended", Targets=[{"Id": "queue", "Arn": arn}])
    done = house.run("SELECT 1", WithEvent=True, StatementName="told")
    url = queue["QueueUrl"].replace(queue["QueueUrl"].split("/")[2], cloud.endpoint_url[7:])
    receive = cloud.client("sqs", region).receive_message
    messages = until(lambda: receive(QueueUrl=url).get("Messages"), bool)
    detail = json.loads(messages[0]["Body"])["detail"]
    assert (detail["statementId"], detail["statementName"], detail["rows"]) == (
        done["Id"],
        "told",
        1,
    )


def test_awswrangler_reads_through_the_data_api(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    wr = pytest.importorskip("awswrangler")
    for name, value in house.cloud.aws.environment().items():
        monkeypatch.setenv(name, value)
    house.run(
        "CREATE TABLE wrangled (a int, b varchar(9), c date)",
        "INSERT INTO wrangled VALUES (1, 'x', '2022-01-31'), (2, null, null)",
    )
    connection = wr.data_api.redshift.connect(
        cluster_id=house.name, database="dev", boto3_session=boto3.Session(region_name=house.region)
    )
    with connection as con:
        frame = wr.data_api.redshift.read_sql_query(
            "SELECT * FROM wrangled WHERE a >= :a ORDER BY a",
            con,
            parameters=[{"name": "a", "value": "1"}],
        )
        assert frame["a"].tolist() == [1, 2]
        assert frame["b"].fillna("-").tolist() == ["x", "-"]
        assert frame["c"].iloc[0] == "2022-01-31"
        with pytest.raises(Exception, match='relation "nowhere" does not exist'):
            wr.data_api.redshift.read_sql_query("SELECT * FROM nowhere", con)


def test_a_result_is_kept_for_a_day_and_bounded(cloud: Cloud, tmp_path: Path) -> None:
    clock = [datetime(2026, 1, 1, tzinfo=UTC)]
    clients = Clients(cloud.endpoint_url)
    cluster = SimpleNamespace(
        status="available",
        create_time=clock[0],
        db_name="dev",
        master_username="a",
        master_user_password="b",
        iam_roles_arn=[],
    )
    targets = Targets(
        clients,
        Serverless(lambda key: "IAM:root", lambda *_: 0, lambda *_: ("", clock[0])),
        tmp_path,
        lambda region, name: cluster,
        lambda key: None,
    )
    world = World(clients, Catalogue(clients, tmp_path), tmp_path / "work", lambda *_: None)
    api = DataApi(targets, world, now=lambda: clock[0], max_result_bytes=1000)

    def call(operation: str, **params: Any) -> dict[str, Any]:
        made = Call("redshift-data", operation, "us-east-1", "json", None, params)
        return dict(api.operations()["redshift-data", operation](made))

    def execute(sql: str) -> dict[str, Any]:
        started = call("ExecuteStatement", Sql=sql, ClusterIdentifier="c", Database="dev")
        return call("DescribeStatement", Id=started["Id"], WaitTimeSeconds=30)

    try:
        small, large = execute("SELECT 1"), execute("SELECT repeat('x', 2000)")
        assert small["Status"] == "FINISHED"
        assert large["Status"] == "FAILED"
        assert large["Error"].startswith("Database response exceeded size limit")
        clock[0] += timedelta(hours=23, minutes=59)
        assert call("GetStatementResult", Id=small["Id"])["TotalNumRows"] == 1
        clock[0] += timedelta(minutes=2)
        with pytest.raises(ServiceError, match="Query does not exist"):
            call("GetStatementResult", Id=small["Id"])
    finally:
        api.shut_down(5)
