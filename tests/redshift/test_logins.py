"""Ways to log in to Redshift, and that no password is ever shown on any of them."""

from __future__ import annotations

import json
import logging
import traceback

import pytest

import batcat_runtime as bc
from batcat_runtime.errors import NoSuchObjectError, NoSuchSecretError, UserError

from . import postgres
from .conftest import Wire
from .embedded import CLUSTER, REGION, WORKGROUP, Warehouse


@pytest.fixture
def secret(aws: Warehouse, wire: Wire) -> str:
    known = aws.client("secretsmanager").list_secrets()["SecretList"]
    if "wire/login" not in [each["Name"] for each in known]:
        names = {"user": "username", "database": "dbname"}
        content = {names.get(name, name): value for name, value in wire.login.items()}
        aws.keep("wire/login", **content)
    return "wire/login"


def test_a_secret_instead_of_host_and_password(secret: str) -> None:
    query = "SELECT current_user::text AS u, current_database()::text AS d"
    found = bc.read_data_from_redshift(query, secret_name=secret, region=REGION)
    assert found.iloc[0].tolist() == [postgres.USER, postgres.DATABASE]
    with pytest.raises(NoSuchSecretError, match="'nothing'"):
        bc.read_data_from_redshift("SELECT 1", secret_name="nothing", region=REGION)


def test_what_is_given_counts_more_than_the_secret(secret: str) -> None:
    with pytest.raises(bc.BatcatError, match='database "other" does not exist'):
        bc.read_data_from_redshift(
            "SELECT 1", secret_name=secret, region=REGION, database="other", ssl=False
        )


def test_a_secret_without_a_host(aws: Warehouse) -> None:
    aws.keep("no-host", password=postgres.PASSWORD)
    with pytest.raises(UserError, match="lacks a host") as caught:
        bc.read_data_from_redshift("SELECT 1", secret_name="no-host", region=REGION)
    assert postgres.PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    ("way", "name", "user"),
    [("cluster", CLUSTER, "awsuser"), ("workgroup", WORKGROUP, "IAM:root")],
)
def test_iam_gives_a_password(aws: Warehouse, way: str, name: str, user: str) -> None:
    argument = "cluster_identifier" if way == "cluster" else "workgroup_name"
    query = "SELECT current_user AS name"
    found = bc.read_data_from_redshift(query, **{argument: name}, region=REGION)
    assert found["name"].tolist() == [user]
    with pytest.raises(NoSuchObjectError, match=f"no Redshift {way} 'nothing' in {REGION}"):
        bc.read_data_from_redshift(query, **{argument: "nothing"}, region=REGION)
    where = {"host": "127.0.0.1", "port": 1}
    with pytest.raises(bc.BatcatError, match=r"127\.0\.0\.1:1 cannot be reached"):
        bc.read_data_from_redshift(query, **{argument: name}, **where, region=REGION)


def test_no_password_in_any_log_or_error(
    secret: str, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    bc.get_logger().addHandler(caplog.handler)  # the first call sets its level
    loggers = [logging.getLogger(name) for name in ("", "botocore", "redshift_connector", "batcat")]
    levels = [logger.level for logger in loggers]
    shown = []
    try:
        for logger in loggers:
            logger.setLevel(logging.DEBUG)
        caplog.handler.setLevel(logging.DEBUG)
        wire.read("SELECT 1")
        bc.read_data_from_redshift("SELECT 1", secret_name=secret, region=REGION)
        bc.read_data_from_redshift("SELECT 1", cluster_identifier=CLUSTER, region=REGION)
        for changes in (
            {"query": "SELECT nonsense"},
            {"database": "other"},
            {"port": 1},
            {"ssl": True},
            {"user": "x"},
            {"password": "cAn4ry-2"},
        ):
            with pytest.raises(bc.BatcatError) as caught:
                wire.read(**{"query": "SELECT 1", **changes})
            shown.append("".join(traceback.format_exception(caught.value)))
    finally:
        bc.get_logger().removeHandler(caplog.handler)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    assert "redshift_connector" in {record.name.partition(".")[0] for record in caplog.records}
    for canary in (
        postgres.PASSWORD,
        json.dumps(postgres.PASSWORD)[1:-1],
        "cAn4ry-2",
        "DbPassword",
    ):
        assert canary not in caplog.text
        assert canary not in "".join(shown)
