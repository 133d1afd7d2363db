"""Who may connect to what: secrets, users, clusters, workgroups; and that no password leaks."""

from __future__ import annotations

import json
import socket
import uuid
from typing import Any

import pytest

from tests.rehearsal.conftest import Cloud, error_of
from tests.rehearsal.redshift_world import ADMIN, PASSWORD, House

REGIONS = ("cn-northwest-1", "us-east-1")
CANARY = "Canary-Serverless1"


@pytest.fixture(scope="module")
def house(cloud: Cloud) -> House:
    return House(cloud)


def secret(house: House, content: Any = None, **changes: Any) -> str:
    """Keep a secret and return its ARN."""
    content = content or {
        "username": ADMIN,
        "password": PASSWORD,
        "dbClusterIdentifier": house.name,
        **changes,
    }
    text = content if isinstance(content, str) else json.dumps(content)
    made = house.cloud.client("secretsmanager", house.region).create_secret(
        Name=f"secret/{uuid.uuid4().hex[:8]}", SecretString=text
    )
    return str(made["ARN"])


@pytest.mark.parametrize("region", REGIONS)
def test_a_secret_logs_in(cloud: Cloud, region: str) -> None:
    house = House(cloud, region)
    arn = secret(house)
    done = house.run("SELECT current_user", SecretArn=arn)
    assert house.result(done["Id"])[1] == [[{"stringValue": ADMIN}]]
    assert done["SecretArn"] == arn
    partition = "aws-cn" if region.startswith("cn-") else "aws"
    assert arn.startswith(f"arn:{partition}:secretsmanager:{region}:")
    # A secret's name does as well.
    name = cloud.client("secretsmanager", region).describe_secret(SecretId=arn)["Name"]
    assert house.rows("SELECT 1", SecretArn=name) == [(1,)]


def test_a_wrong_secret_is_refused(house: House) -> None:
    wrong = secret(house, password="Canary-Wrong1")
    assert house.error("SELECT 1", SecretArn=wrong) == (
        f'FATAL: password authentication failed for user "{ADMIN}"'
    )
    target = {"ClusterIdentifier": house.name, "Database": "dev", "Sql": "SELECT 1"}
    for content in ("no json", '["list"]', '{"user": "x"}', '{"username": "a", "password": ""}'):
        arn = secret(house, content)
        code, text = error_of(house.api.execute_statement, SecretArn=arn, **target)
        assert (code, text) == (
            "ValidationException",
            "username and password in secret cannot be empty",
        )
    code, text = error_of(house.api.execute_statement, SecretArn="secret/nowhere", **target)
    assert (code, "Secrets Manager can't find" in text) == ("ValidationException", True)
    other = secret(house, dbClusterIdentifier="another-cluster")
    code, _ = error_of(house.api.execute_statement, SecretArn=other, **target)
    assert code == "ValidationException"
    code, text = error_of(
        house.api.list_schemas,
        SecretArn=wrong,
        ClusterIdentifier=house.name,
        Database="dev",
    )
    assert (code, "authentication failed" in text) == ("DatabaseConnectionException", True)


def test_a_user_of_the_database_logs_in(house: House) -> None:
    house.run("CREATE USER analyst WITH PASSWORD 'Canary-Analyst1'")
    arn = secret(house, username="analyst", password="Canary-Analyst1")
    assert house.rows("SELECT current_user", SecretArn=arn) == [("analyst",)]
    assert house.rows("SELECT current_user", DbUser="analyst") == [("analyst",)]
    assert house.error("SELECT 1", DbUser="nobody") == 'FATAL: user "nobody" does not exist'
    house.run("DROP USER analyst")
    assert "authentication failed" in house.error("SELECT 1", SecretArn=arn)


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"ClusterIdentifier": "{name}"},
        {"ClusterIdentifier": "{name}", "WorkgroupName": "some", "Database": "dev"},
        {"ClusterIdentifier": "nowhere", "Database": "dev"},
        {"WorkgroupName": "nowhere", "Database": "dev"},
        {"ClusterIdentifier": "{name}", "Database": "dev", "SecretArn": "a", "DbUser": "b"},
        {"WorkgroupName": "nowhere", "Database": "dev", "DbUser": "b"},
        {"ClusterIdentifier": "Not A Name", "Database": "dev"},
    ],
)
def test_a_combination_that_aws_does_not_take_is_refused(
    house: House, request_: dict[str, str]
) -> None:
    request_ = {key: value.format(name=house.name) for key, value in request_.items()}
    code, _ = error_of(house.api.execute_statement, Sql="SELECT 1", **request_)
    assert code == "ValidationException"


def test_a_deleted_cluster_takes_its_data_along(cloud: Cloud) -> None:
    house = House(cloud)
    house.run("CREATE TABLE gone (a int)")
    redshift = cloud.client("redshift", house.region)
    redshift.delete_cluster(ClusterIdentifier=house.name, SkipFinalClusterSnapshot=True)
    code, text = error_of(
        house.api.execute_statement, Sql="SELECT 1", ClusterIdentifier=house.name, Database="dev"
    )
    assert (code, text) == (
        "ValidationException",
        "Redshift endpoint doesn't exist in this region.",
    )
    redshift.create_cluster(
        ClusterIdentifier=house.name, NodeType="ra3.xlplus", ClusterType="single-node",
        MasterUsername=ADMIN, MasterUserPassword=PASSWORD,
    )  # fmt: skip
    assert house.error("SELECT * FROM gone") == 'ERROR: relation "gone" does not exist'


@pytest.mark.parametrize("region", REGIONS)
def test_serverless_serves_a_workgroup(cloud: Cloud, region: str) -> None:
    serverless = cloud.client("redshift-serverless", region)
    api = cloud.client("redshift-data", region)
    name = f"wg-{uuid.uuid4().hex[:8]}"
    role = cloud.role("redshift", region)
    namespace = serverless.create_namespace(
        namespaceName=f"ns-{name}", adminUsername="chief", adminUserPassword=CANARY, dbName="cells",
        iamRoles=[role], defaultIamRoleArn=role,
    )["namespace"]  # fmt: skip
    assert (namespace["status"], namespace["dbName"]) == ("AVAILABLE", "cells")
    assert "Canary" not in json.dumps(namespace, default=str)
    group = serverless.create_workgroup(workgroupName=name, namespaceName=f"ns-{name}")["workgroup"]
    assert group["endpoint"]["address"] == "127.0.0.1"
    with socket.create_connection(("127.0.0.1", group["endpoint"]["port"]), 5):
        pass
    assert serverless.get_workgroup(workgroupName=name)["workgroup"]["status"] == "AVAILABLE"
    made = cloud.client("secretsmanager", region).create_secret(
        Name=f"secret/{name}",
        SecretString=json.dumps({"username": "chief", "password": CANARY, "namespaceName": "x"}),
    )
    for login in ({}, {"SecretArn": made["ARN"]}):
        started = api.execute_statement(
            Sql="SELECT current_user, current_database()", WorkgroupName=name, Database="cells",
            WaitTimeSeconds=20, **login,
        )  # fmt: skip
        assert started["Status"] == "FINISHED"
        row = api.get_statement_result(Id=started["Id"])["Records"][0]
        assert row[0]["stringValue"] == ("chief" if login else "IAM:root")
        assert row[1]["stringValue"] == "cells"
    found = api.list_databases(WorkgroupName=group["workgroupArn"], Database="cells")
    assert found["Databases"] == ["cells"]
    given = serverless.get_credentials(workgroupName=name, dbName="cells")
    assert (given["dbUser"], len(given["dbPassword"]) > 20) == ("IAM:root", True)
    assert error_of(serverless.create_workgroup, workgroupName=name, namespaceName=f"ns-{name}")[
        0
    ] == ("ConflictException")
    assert error_of(serverless.delete_namespace, namespaceName=f"ns-{name}")[0] == (
        "ConflictException"
    )
    serverless.delete_workgroup(workgroupName=name)
    serverless.delete_namespace(namespaceName=f"ns-{name}")
    assert error_of(serverless.get_namespace, namespaceName=f"ns-{name}")[0] == (
        "ResourceNotFoundException"
    )


def test_a_cluster_gives_temporary_credentials(house: House) -> None:
    redshift = house.cloud.client("redshift", house.region)
    given = redshift.get_cluster_credentials(
        ClusterIdentifier=house.name, DbUser=ADMIN, DurationSeconds=900
    )
    assert given["DbUser"] == f"IAM:{ADMIN}"
    assert given["DbPassword"]
    mine = redshift.get_cluster_credentials_with_iam(ClusterIdentifier=house.name, DbName="dev")
    assert (mine["DbUser"], bool(mine["DbPassword"])) == ("IAM:root", True)
    assert mine["Expiration"] > mine["NextRefreshTime"]
    code, _ = error_of(redshift.get_cluster_credentials_with_iam, ClusterIdentifier="nowhere")
    assert "ClusterNotFound" in code


def test_no_password_reaches_the_servers_log(house: House) -> None:
    arn = secret(house, password="Canary-Wrong2")
    house.error("SELECT 1", SecretArn=arn)
    house.run("CREATE USER logged WITH PASSWORD 'Canary-Logged1'")
    house.error("CREATE USER logged WITH PASSWORD 'Canary-Logged1'")
    house.error("CREATE USER broken PASSWORD 'Canary-Broken1")
    log = house.cloud.aws.log_path.read_text()
    assert "serving" in log
    assert "Canary" not in log
    done = house.execute("SELECT 1", SecretArn=arn)
    assert "Canary" not in json.dumps(done, default=str)
