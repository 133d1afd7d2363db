"""Redshift's own protocol, as AWS's driver speaks it to the embedded AWS."""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Iterator
from typing import Any

import pytest
import redshift_connector

from tests.rehearsal.conftest import Cloud
from tests.rehearsal.redshift_world import ADMIN, House

VALUES = {
    "1::smallint": 1,
    "9223372036854775807::bigint": 9223372036854775807,
    "1.5::float4": 1.5,
    "0.1::float8": 0.1,
    "true": True,
    "12345678901234567890.123::decimal(38,3)": decimal.Decimal("12345678901234567890.123"),
    "-0.0001::decimal(10,4)": decimal.Decimal("-0.0001"),
    "'Batterie « A » 电池'::varchar": "Batterie « A » 电池",
    "'1999-12-31'::date": dt.date(1999, 12, 31),
    "'2022-01-01 08:30:00.25'::timestamp": dt.datetime(2022, 1, 1, 8, 30, 0, 250000),
    "'1999-01-01 08:00:00+08'::timestamptz": dt.datetime(1999, 1, 1, tzinfo=dt.UTC),
    "'08:30:01'::time": dt.time(8, 30, 1),
    "null::int": None,
}


@pytest.fixture(scope="module")
def house(cloud: Cloud) -> House:
    return House(cloud)


@pytest.fixture
def connection(house: House) -> Iterator[Any]:
    with house.connect() as opened:
        yield opened


def rows(connection: Any, sql: str, values: Any = None) -> list[Any]:
    cursor = connection.cursor()
    cursor.execute(sql, values)
    return [list(row) for row in cursor.fetchall()]


def test_each_type_arrives_as_itself(connection: Any) -> None:
    (row,) = rows(connection, f"SELECT {', '.join(VALUES)}")
    assert dict(zip(VALUES, row, strict=True)) == VALUES


def test_parameters_are_bound_with_their_types(connection: Any) -> None:
    given = (5, 2.5, "x'; DROP TABLE t; --", dt.date(2022, 1, 1), None, True)
    given += (decimal.Decimal("-1.50"), dt.datetime(2022, 1, 1, 8))
    query = "SELECT %s + 1, %s, %s, %s::date, %s::int, %s, 1 -%s, %s"
    wanted = [6, *given[1:6], decimal.Decimal("2.50"), given[7]]
    assert rows(connection, query, given) == [wanted]


def test_the_data_api_and_the_wire_see_one_warehouse(house: House, connection: Any) -> None:
    house.run("CREATE TABLE cells (vin varchar(20), usage int)")
    cursor = connection.cursor()
    cursor.executemany("INSERT INTO cells VALUES (%s, %s)", [("A", 1), ("B", 2)])
    assert house.rows("SELECT * FROM cells") == []
    connection.commit()
    assert house.rows("SELECT vin, usage FROM cells ORDER BY vin") == [("A", 1), ("B", 2)]


def test_a_cursor_gives_its_rows_piece_by_piece(connection: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("DECLARE c CURSOR FOR SELECT g FROM generate_series(1, 5) AS s(g) ORDER BY g")
    assert rows(connection, "FETCH FORWARD 3 FROM c") == [[1], [2], [3]]
    assert rows(connection, "FETCH FORWARD 3 FROM c") == [[4], [5]]
    assert rows(connection, "FETCH FORWARD 3 FROM c") == []
    with pytest.raises(redshift_connector.Error, match='cursor "d" does not exist'):
        rows(connection, "FETCH ALL FROM d")


def test_a_failed_statement_aborts_its_transaction(house: House, connection: Any) -> None:
    rows_of = connection.cursor()
    rows_of.execute("CREATE TABLE doomed (a int)")
    with pytest.raises(redshift_connector.ProgrammingError) as caught:
        rows(connection, "SELECT nothing FROM doomed")
    assert (caught.value.args[0]["C"], "nothing" in caught.value.args[0]["M"]) == ("42703", True)
    with pytest.raises(redshift_connector.Error, match="current transaction is aborted"):
        rows(connection, "SELECT 1")
    connection.rollback()
    assert 'relation "doomed" does not exist' in house.error("SELECT * FROM doomed")


def test_two_writers_of_one_row_conflict_as_in_redshift(house: House, connection: Any) -> None:
    house.run("CREATE TABLE contested (a int)", "INSERT INTO contested VALUES (1)")
    assert rows(connection, "SELECT * FROM contested") == [[1]]
    house.run("UPDATE contested SET a = 2")
    with pytest.raises(redshift_connector.Error, match="Serializable isolation violation"):
        connection.cursor().execute("UPDATE contested SET a = 3")
    assert house.rows("SELECT a FROM contested") == [(2,)]


def test_who_may_connect(house: House) -> None:
    for changes, said in (
        ({"password": "wrong"}, "password authentication failed"),
        ({"user": "nobody"}, "password authentication failed"),
        ({"database": "nowhere"}, 'database "nowhere" does not exist'),
    ):
        with pytest.raises(redshift_connector.Error, match=said):
            house.connect(**changes)
    for name, made, known in ((ADMIN, False, True), ("nobody", False, False), ("new", True, True)):
        given = house.redshift.get_cluster_credentials(
            DbUser=name, ClusterIdentifier=house.name, AutoCreate=made
        )
        login = {"user": given["DbUser"], "password": given["DbPassword"]}
        if known:
            with house.connect(**login) as opened:
                assert rows(opened, "SELECT current_user") == [[name]]
        else:
            with pytest.raises(redshift_connector.Error, match='user "nobody" does not exist'):
                house.connect(**login)


def test_a_statement_timeout_ends_the_statement(connection: Any) -> None:
    connection.autocommit = True
    connection.cursor().execute("SET statement_timeout TO 200")
    series = "generate_series(1, 3000000)"
    with pytest.raises(redshift_connector.Error) as caught:
        rows(connection, f"SELECT count(*) FROM (SELECT 1 FROM {series} a, {series} b)")
    assert caught.value.args[0]["C"] == "57014"
