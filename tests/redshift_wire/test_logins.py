"""Ways to log in to Redshift, and that no password is ever shown on any of them."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest

import batcat_runtime as bc
from batcat_runtime.errors import NoSuchObjectError, NoSuchSecretError, QueryError, UserError
from batcat_runtime.io.redshift_login import Login, redshift_login
from tests import embedded_redshift as embedded
from tests.embedded_redshift import CLUSTER, REGION, WORKGROUP

from . import postgres
from .conftest import Warehouse

SECRET = "wire/login"


@pytest.fixture(scope="module")
def started() -> Iterator[embedded.Warehouse]:
    with embedded.running() as running:
        yield running


@pytest.fixture
def aws(started: embedded.Warehouse, monkeypatch: pytest.MonkeyPatch) -> embedded.Warehouse:
    for name, value in started.aws.environment().items():
        monkeypatch.setenv(name, value)
    return started


@pytest.fixture
def secret(aws: embedded.Warehouse, warehouse: Warehouse) -> str:
    secrets = aws.client("secretsmanager")
    login = warehouse.login
    content = {
        "username": login["user"],
        "password": login["password"],
        "host": login["host"],
        "port": login["port"],
        "dbname": login["database"],
    }
    if SECRET not in [one["Name"] for one in secrets.list_secrets()["SecretList"]]:
        secrets.create_secret(Name=SECRET, SecretString=json.dumps(content))
    return SECRET


def test_a_secret_instead_of_host_and_password(secret: str) -> None:
    found = bc.read_data_from_redshift(
        "SELECT current_user::text AS u, current_database()::text AS d",
        secret_name=secret,
        region=REGION,
        ssl=False,
    )
    assert found.iloc[0].tolist() == [postgres.USER, postgres.DATABASE]
    with pytest.raises(NoSuchSecretError, match="'nothing'"):
        bc.read_data_from_redshift("SELECT 1", secret_name="nothing", region=REGION)


def test_what_is_given_counts_more_than_the_secret(secret: str) -> None:
    with pytest.raises(bc.BatcatError, match='database "other" does not exist'):
        bc.read_data_from_redshift(
            "SELECT 1", secret_name=secret, region=REGION, database="other", ssl=False
        )


def test_a_secret_without_a_host(aws: embedded.Warehouse) -> None:
    content = {"username": "u", "password": postgres.PASSWORD}
    aws.client("secretsmanager").create_secret(Name="bare", SecretString=json.dumps(content))
    with pytest.raises(UserError, match="lacks a host") as caught:
        bc.read_data_from_redshift("SELECT 1", secret_name="bare", region=REGION)
    assert postgres.PASSWORD not in str(caught.value)


def _login(**changes: Any) -> Login:
    given = {"host": None, "password": None, "port": 5439, "database": "dev", "user": "awsuser"}
    return redshift_login(**{**given, "region": REGION, **changes})


def test_iam_gives_a_password_for_a_cluster(aws: embedded.Warehouse) -> None:
    login = _login(cluster_identifier=CLUSTER)
    assert login.user == "IAM:awsuser"
    assert login.host == "127.0.0.1"
    found = bc.read_data_from_redshift(
        "SELECT current_user AS name", cluster_identifier=CLUSTER, region=REGION
    )
    assert list(found["name"]) == ["awsuser"]
    assert len(login.password) > 16
    assert login.password not in f"{login} {login!r}"
    assert _login(cluster_identifier=CLUSTER, host="10.0.0.1", port=1234).host == "10.0.0.1"
    with pytest.raises(NoSuchObjectError, match="no Redshift cluster 'nothing' in cn-northwest-1"):
        _login(cluster_identifier="nothing")


def test_iam_gives_a_password_for_a_workgroup(aws: embedded.Warehouse) -> None:
    serverless = aws.client("redshift-serverless")
    serverless.create_namespace(namespaceName="battery", dbName="dev")
    serverless.create_workgroup(workgroupName=WORKGROUP, namespaceName="battery")
    login = _login(workgroup_name=WORKGROUP)
    assert login.user == "IAM:root"
    found = bc.read_data_from_redshift(
        "SELECT current_user AS name", workgroup_name=WORKGROUP, region=REGION
    )
    assert list(found["name"]) == ["IAM:root"]
    with pytest.raises(NoSuchObjectError, match="no Redshift workgroup 'nothing'"):
        _login(workgroup_name="nothing")


def test_no_password_in_any_log_or_error(
    secret: str, warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    bc.get_logger().addHandler(caplog.handler)  # the first call sets its level
    loggers = [logging.getLogger(name) for name in ("", "botocore", "redshift_connector", "batcat")]
    levels = [one.level for one in loggers]
    shown = []
    try:
        for one in loggers:
            one.setLevel(logging.DEBUG)
        caplog.handler.setLevel(logging.DEBUG)
        bc.read_data_from_redshift("SELECT 1", **warehouse.login)
        bc.read_data_from_redshift("SELECT 1", secret_name=secret, region=REGION, ssl=False)
        for changes in (
            {"query": "SELECT nonsense"},
            {"database": "other"},
            {"port": 1},
            {"ssl": True},
            {"user": "x"},
            {"password": "cAn4ry-2"},
        ):
            with pytest.raises(bc.BatcatError) as caught:
                bc.read_data_from_redshift(**{"query": "SELECT 1", **warehouse.login, **changes})
            shown.append("".join(traceback.format_exception(caught.value)))
    finally:
        bc.get_logger().removeHandler(caplog.handler)
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)
    assert "redshift_connector" in {record.name.partition(".")[0] for record in caplog.records}
    for canary in (postgres.PASSWORD, json.dumps(postgres.PASSWORD)[1:-1], "cAn4ry-2"):
        assert canary not in caplog.text
        assert canary not in "".join(shown)


def test_a_load_that_fails_changes_nothing(aws: embedded.Warehouse, warehouse: Warehouse) -> None:
    """PostgreSQL has no COPY from S3, so the transaction ends there, and is rolled back."""
    with pytest.raises(QueryError, match="syntax error"):
        bc.save_df_to_redshift(
            pd.DataFrame({"vin": ["a"]}),
            "never_made",
            s3_staging_dir=aws.staging,
            iam_role=aws.role,
            region=REGION,
            **warehouse.login,
        )
    assert warehouse.rows("SELECT count(*) FROM pg_tables WHERE tablename = 'never_made'") == [[0]]
    assert aws.staged() == []


def test_a_query_that_cannot_be_unloaded_is_read_all_the_same(
    aws: embedded.Warehouse, warehouse: Warehouse
) -> None:
    """PostgreSQL has no UNLOAD: what any refusal of it leads to."""
    found = bc.read_data_from_redshift(
        "SELECT :n::int AS n", params={"n": 7}, region=REGION, **aws.unloading(), **warehouse.login
    )
    assert found["n"].tolist() == [7]
    assert aws.staged() == []
