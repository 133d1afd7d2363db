"""Redshift's own protocol on the embedded AWS, by its driver and by psql."""

from __future__ import annotations

import datetime as dt
import decimal
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import redshift_connector

from tests.rehearsal.conftest import REGION, Cloud
from tests.rehearsal.redshift_world import ADMIN, PASSWORD, House


@pytest.fixture(scope="module")
def house(cloud: Cloud) -> House:
    return House(cloud)


def endpoint(house: House) -> dict[str, Any]:
    redshift = house.cloud.client("redshift", house.region)
    found = redshift.describe_clusters(ClusterIdentifier=house.name)["Clusters"][0]["Endpoint"]
    return {"host": found["Address"], "port": found["Port"]}


def connect(house: House, **changes: Any) -> Any:
    login = {"user": ADMIN, "password": PASSWORD, "database": "dev", "ssl": False}
    return redshift_connector.connect(**endpoint(house), **{**login, **changes})


@pytest.fixture
def connection(house: House) -> Iterator[Any]:
    with connect(house) as opened:
        yield opened


VALUES = {
    "1::smallint": 1,
    "2::int": 2,
    "9223372036854775807::bigint": 9223372036854775807,
    "1.5::float4": 1.5,
    "0.1::float8": 0.1,
    "true": True,
    "12345678901234567890.123::decimal(38,3)": decimal.Decimal("12345678901234567890.123"),
    "-0.0001::decimal(10,4)": decimal.Decimal("-0.0001"),
    "0::decimal(10,2)": decimal.Decimal("0.00"),
    "10000::decimal(10,0)": decimal.Decimal("10000"),
    "'Batterie « A » 电池'::varchar": "Batterie « A » 电池",
    "'1999-12-31'::date": dt.date(1999, 12, 31),
    "'2022-01-01 08:30:00.25'::timestamp": dt.datetime(2022, 1, 1, 8, 30, 0, 250000),
    "'2022-01-01 08:00:00+08'::timestamptz": dt.datetime(2022, 1, 1, tzinfo=dt.UTC),
    "'08:30:01'::time": dt.time(8, 30, 1),
    "null::int": None,
}


@pytest.mark.parametrize("expression", VALUES)
def test_each_type_arrives_as_itself(connection: Any, expression: str) -> None:
    cursor = connection.cursor()
    cursor.execute(f"SELECT {expression} AS v")
    assert cursor.description[0][0] == "v"
    assert cursor.fetchone()[0] == VALUES[expression]


def test_parameters_are_bound_with_their_types(connection: Any) -> None:
    cursor = connection.cursor()
    hostile = "x'; DROP TABLE cells; --"
    given = (5, 2.5, hostile, dt.date(2022, 1, 1), None, True)
    cursor.execute("SELECT %s + 1, %s, %s, %s::date, %s::int, %s", given)
    assert list(cursor.fetchone()) == [6, 2.5, hostile, dt.date(2022, 1, 1), None, True]


def test_the_data_api_and_the_wire_see_one_warehouse(house: House, connection: Any) -> None:
    house.run("CREATE TABLE cells (vin varchar(20), usage int)")
    cursor = connection.cursor()
    cursor.executemany("INSERT INTO cells VALUES (%s, %s)", [("A", 1), ("B", 2)])
    connection.commit()
    assert house.rows("SELECT vin, usage FROM cells ORDER BY vin") == [("A", 1), ("B", 2)]
    cursor.execute("SELECT * FROM cells ORDER BY vin")
    assert [list(row) for row in cursor.fetchall()] == [["A", 1], ["B", 2]]


def test_a_failed_statement_aborts_its_transaction(house: House, connection: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE doomed (a int)")
    with pytest.raises(redshift_connector.ProgrammingError) as caught:
        cursor.execute("SELECT nothing FROM doomed")
    detail = caught.value.args[0]
    assert detail["C"] == "42703"
    assert "nothing" in detail["M"]
    with pytest.raises(redshift_connector.Error, match="current transaction is aborted"):
        cursor.execute("SELECT 1")
    connection.rollback()
    assert 'relation "doomed" does not exist' in house.error("SELECT * FROM doomed")


def test_a_syntax_error_tells_its_place(connection: Any) -> None:
    with pytest.raises(redshift_connector.ProgrammingError) as caught:
        connection.cursor().execute("SELECT 1 FORM x")
    assert caught.value.args[0]["C"] == "42601"
    assert int(caught.value.args[0]["P"]) == 15


def test_who_has_no_right_password_is_refused(house: House) -> None:
    with pytest.raises(redshift_connector.Error, match="password authentication failed"):
        connect(house, password="wrong")
    with pytest.raises(redshift_connector.Error, match='database "nowhere" does not exist'):
        connect(house, database="nowhere")


def test_a_temporary_password_opens_the_door(house: House) -> None:
    redshift = house.cloud.client("redshift", house.region)
    answer = redshift.get_cluster_credentials(
        DbUser=ADMIN, ClusterIdentifier=house.name, DbName="dev"
    )
    with connect(house, user=answer["DbUser"], password=answer["DbPassword"]) as opened:
        cursor = opened.cursor()
        cursor.execute("SELECT current_user")
        assert cursor.fetchone()[0] == ADMIN
    stranger = redshift.get_cluster_credentials(DbUser="nobody", ClusterIdentifier=house.name)
    with pytest.raises(redshift_connector.Error, match='user "nobody" does not exist'):
        connect(house, user=stranger["DbUser"], password=stranger["DbPassword"])


def test_a_statement_timeout_ends_the_statement(house: House) -> None:
    with connect(house) as opened:
        opened.autocommit = True
        cursor = opened.cursor()
        cursor.execute("SET statement_timeout TO 200")
        with pytest.raises(redshift_connector.Error) as caught:
            cursor.execute(
                "SELECT count(*) FROM (SELECT 1 FROM generate_series(1, 3000000) a, "
                "generate_series(1, 3000000) b)"
            )
        assert caught.value.args[0]["C"] == "57014"


def test_psql_is_content_too(house: House) -> None:
    psql = shutil.which("psql")
    if psql is None:
        pytest.skip("psql is not here: apt-get install postgresql-client")
    place = endpoint(house)
    done = subprocess.run(
        [
            *(psql, "-h", place["host"], "-p", str(place["port"]), "-U", ADMIN, "-d", "dev"),
            *("-At", "-c", "SELECT 1, 'a', 2.50::decimal(5,2); SELECT true"),
        ],
        env={**os.environ, "PGPASSWORD": PASSWORD, "PGSSLMODE": "disable"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["1|a|2.50", "t"]


def test_two_clusters_are_two_warehouses(house: House, cloud: Cloud) -> None:
    other = House(cloud, region=REGION)
    with connect(other) as opened:
        opened.cursor().execute("CREATE TABLE only_here (a int)")
        opened.commit()
    assert "does not exist" in house.error("SELECT * FROM only_here")
    assert other.rows("SELECT count(*) FROM only_here") == [(0,)]
