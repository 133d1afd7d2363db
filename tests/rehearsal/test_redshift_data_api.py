"""The Data API's own behaviour: types, parameters, pages, batches, cancelling, and logins."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests.rehearsal.conftest import Cloud, error_of, until
from tests.rehearsal.redshift_world import ADMIN, PASSWORD, House

TYPES = [  # expression, typeName, the field's key, its value
    ("1::smallint", "int2", "longValue", 1),
    ("9223372036854775807::bigint", "int8", "longValue", 9223372036854775807),
    ("0.1::real", "float4", "doubleValue", 0.1),
    ("0.1::float", "float8", "doubleValue", 0.1),
    ("12345678901234567890.123::numeric(38,3)", "numeric", "stringValue",
     "12345678901234567890.123"),
    ("true", "bool", "booleanValue", True),
    ("'text'::varchar(10)", "varchar", "stringValue", "text"),
    ("'ab'::char(4)", "bpchar", "stringValue", "ab  "),
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


def test_each_type_has_its_field_and_its_metadata(house: House) -> None:
    expressions = ", ".join(f"{row[0]} AS c{number}" for number, row in enumerate(TYPES))
    columns, rows = house.result(house.run(f"SELECT {expressions}")["Id"])
    assert rows == [[{key: value} for _, _, key, value in TYPES]]
    assert [one["typeName"] for one in columns] == [name for _, name, _, _ in TYPES]


def test_a_description_tells_all(house: House) -> None:
    done = house.run("SELECT 1 AS a WHERE 1 = :one", parameters={"one": "1"}, StatementName="first")
    assert (done["Status"], done["ResultRows"], done["HasResultSet"]) == ("FINISHED", 1, True)
    assert (done["QueryString"], done["DbUser"]) == ("SELECT 1 AS a WHERE 1 = :one", "IAM:root")
    assert done["RedshiftPid"] > 0
    failed = house.execute("SELECT nothing")
    assert (failed["Status"], failed["ResultRows"], failed["HasResultSet"]) == ("FAILED", -1, False)


def test_parameters_take_the_type_that_they_are_compared_with(house: House) -> None:
    house.run("CREATE TABLE typed (n int, d date, p decimal(8,2), t timestamp)")
    values = {"n": "7", "d": "2022-01-31", "p": "1.50", "t": "2022-01-31 10:00:00"}
    house.run("INSERT INTO typed VALUES (:n, :d, :p, :t)", parameters=values)
    where = "n = :n AND d >= :d AND p <= :p AND t BETWEEN :d AND :t AND n IN (:n, 9)"
    assert house.rows(f"SELECT n + :n FROM typed WHERE {where}", parameters=values) == [(14,)]
    assert "invalid input syntax for type integer" in house.error(
        "SELECT * FROM typed WHERE n = :n", parameters={"n": "x"}
    )
    one = [{"name": "a", "value": "1"}]
    for sql in ("SELECT 1", "SELECT ':a'", "SELECT 1 -- :a", "SELECT 'x'::a"):
        code, text = error_of(house.api.execute_statement, Sql=sql, Parameters=one, **house.target)
        assert (code, "Unused parameters: [a]" in text) == ("ValidationException", True)
    request = {"Sql": "SELECT :a, :b", "Parameters": one, **house.target}
    assert error_of(house.api.execute_statement, **request)[1] == "Cannot find parameter: b"


def test_a_result_comes_in_pages(house: House) -> None:
    sql = "SELECT g AS n, repeat('x', 400) AS t FROM generate_series(1, 5000) AS s(g) ORDER BY 1"
    done = house.run(sql)
    first = house.api.get_statement_result(Id=done["Id"])
    assert (first["TotalNumRows"], 0 < len(first["Records"]) < 5000) == (5000, True)
    assert [row[0]["longValue"] for row in house.result(done["Id"])[1]] == list(range(1, 5001))
    other = {"Id": house.run("SELECT 1")["Id"], "NextToken": first["NextToken"]}
    assert error_of(house.api.get_statement_result, **other)[1] == "NextToken is invalid."


def test_a_batch_is_one_transaction(house: House) -> None:
    parameters = [{"name": "a", "value": "5"}]
    done = house.batch(
        *("CREATE TABLE batch (a int)", "INSERT INTO batch VALUES (:a)", "SELECT * FROM batch"),
        Parameters=parameters,
    )
    assert done["Status"] == "FINISHED", done
    steps = [(one["Id"], one["HasResultSet"]) for one in done["SubStatements"]]
    assert steps == [(f"{done['Id']}:{n}", n == 3) for n in (1, 2, 3)]
    assert house.result(f"{done['Id']}:3")[1] == [[{"longValue": 5}]]
    assert error_of(house.api.get_statement_result, Id=done["Id"])[0] == "ValidationException"
    done = house.batch("INSERT INTO batch VALUES (6)", "SELECT nothing", "SELECT 1")
    assert (done["Status"], "nothing" in done["Error"]) == ("FAILED", True)
    assert [one["Status"] for one in done["SubStatements"]] == ["FINISHED", "FAILED", "ABORTED"]
    assert house.rows("SELECT a FROM batch") == [(5,)]


def test_a_running_statement_can_be_cancelled(house: House) -> None:
    slow = "SELECT count(*) FROM generate_series(1, 200000) a, generate_series(1, 2000000) b"
    made = house.api.execute_statement(Sql=slow, **house.target)["Id"]
    describe = house.api.describe_statement
    until(lambda: describe(Id=made)["Status"], lambda status: status == "STARTED")
    code, text = error_of(house.api.get_statement_result, Id=made)
    assert (code, "does not have result" in text) == ("ResourceNotFoundException", True)
    assert house.rows("SELECT 1") == [(1,)]  # others are served while it runs
    assert house.api.cancel_statement(Id=made)["Status"] is True
    done = house.ended(made)
    assert (done["Status"], done["Error"]) == ("ABORTED", "Query cancelled on user's request")
    code, text = error_of(house.api.cancel_statement, Id=made)
    assert (code, "already in ABORTED state" in text) == ("ValidationException", True)


def test_limits_are_those_of_the_data_api(house: House) -> None:
    execute, token = house.api.execute_statement, str(uuid.uuid4())
    text = error_of(execute, Sql="SELECT '" + "x" * 102_400 + "'", **house.target)[1]
    assert "100 KB" in text
    code, _ = error_of(house.api.batch_execute_statement, Sqls=["SELECT 1"] * 41, **house.target)
    assert code == "ValidationException"
    code, text = error_of(house.api.describe_statement, Id=str(uuid.uuid4()))
    assert (code, text) == ("ResourceNotFoundException", "Query does not exist.")
    kept = {"Sql": "SELECT 1", "SessionKeepAliveSeconds": 60, **house.target}
    assert (
        "does not perform statements with SessionKeepAliveSeconds" in error_of(execute, **kept)[1]
    )
    once = {"Sql": "SELECT 1", "ClientToken": token, **house.target}
    assert execute(**once)["Id"] == execute(**once)["Id"]


def secret(house: House, content: Any = None, **changes: Any) -> str:
    """Keep a secret and return its ARN."""
    login = {"username": ADMIN, "password": PASSWORD, "dbClusterIdentifier": house.name}
    text = content or json.dumps({**login, **changes})
    client = house.cloud.client("secretsmanager", house.region)
    made = client.create_secret(Name=f"secret/{uuid.uuid4().hex[:8]}", SecretString=text)
    return str(made["ARN"])


def test_a_wrong_secret_is_refused_and_shown_nowhere(house: House) -> None:
    wrong = secret(house, password="Canary-Wrong1")
    done = house.execute("SELECT 1", SecretArn=wrong)
    assert done["Error"] == f'FATAL: password authentication failed for user "{ADMIN}"'
    assert house.rows("SELECT current_user", SecretArn=secret(house)) == [(ADMIN,)]
    assert house.error("SELECT 1", DbUser="nobody") == 'FATAL: user "nobody" does not exist'
    execute = house.api.execute_statement
    for content in ("no json", '["list"]', '{"user": "x"}', '{"username": "a", "password": ""}'):
        request = {**house.target, "SecretArn": secret(house, content), "Sql": "SELECT 1"}
        assert error_of(execute, **request)[1] == "username and password in secret cannot be empty"
    for arn, said in (
        ("secret/nowhere", "can't find"),
        (secret(house, dbClusterIdentifier="x"), ""),
    ):
        code, text = error_of(execute, SecretArn=arn, Sql="SELECT 1", **house.target)
        assert (code, said in text) == ("ValidationException", True)
    log = house.cloud.aws.log_path.read_text()
    assert "serving" in log
    assert "Canary" not in log + json.dumps(done, default=str)


def test_a_combination_that_aws_does_not_take_is_refused(house: House) -> None:
    named, dev = {"ClusterIdentifier": house.name}, {"Database": "dev"}
    for request in (
        {},
        named,
        {**named, **dev, "WorkgroupName": "some"},
        {**named, **dev, "SecretArn": "a", "DbUser": "b"},
        {**dev, "ClusterIdentifier": "nowhere"},
        {**dev, "WorkgroupName": "nowhere"},
    ):
        code, _ = error_of(house.api.execute_statement, Sql="SELECT 1", **request)
        assert code == "ValidationException", request


def test_a_deleted_cluster_takes_its_data_along(cloud: Cloud) -> None:
    house = House(cloud)
    house.run("CREATE TABLE gone (a int)")
    house.redshift.delete_cluster(ClusterIdentifier=house.name, SkipFinalClusterSnapshot=True)
    code, text = error_of(house.api.execute_statement, Sql="SELECT 1", **house.target)
    assert (code, "doesn't exist in this region" in text) == ("ValidationException", True)
    house.create()
    assert house.error("SELECT * FROM gone") == 'ERROR: relation "gone" does not exist'
