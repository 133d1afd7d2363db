"""A query runs with the rights of whoever started it, as on AWS."""

from __future__ import annotations

import json
import uuid
from typing import Any

import boto3
import pyarrow as pa
import pytest
from botocore.config import Config

from tests.rehearsal.athena_world import World
from tests.rehearsal.conftest import REGION, Cloud, error_of, trust

_QUERY = "athena:StartQueryExecution"
_READ_GLUE = ("glue:GetTable", "glue:GetDatabase", "glue:GetPartitions")


@pytest.fixture(scope="module")
def world(enforcing: Cloud) -> World:
    world = World(enforcing)
    world.put_parquet("t/a.parquet", pa.table({"n": [1, 2]}))
    world.table("t", {"n": "bigint"})
    return world


def _as_role(world: World, *statements: tuple[tuple[str, ...], str]) -> World:
    """Return the same world as a role with only these rights sees it."""
    name = f"role-{uuid.uuid4().hex[:8]}"
    iam = world.cloud.client("iam")
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust("ec2")))["Role"]
    listed = [
        {"Effect": "Allow", "Action": list(actions), "Resource": resource}
        for actions, resource in statements
    ]
    document = json.dumps({"Version": "2012-10-17", "Statement": listed})
    iam.put_role_policy(RoleName=name, PolicyName="only", PolicyDocument=document)
    sts = world.cloud.client("sts")
    keys = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="tester")["Credentials"]
    seen = World.__new__(World)
    seen.__dict__.update(world.__dict__)
    options: dict[str, Any] = {"config": Config(retries={"total_max_attempts": 1})}
    seen.athena = boto3.Session().client(
        "athena",
        region_name=REGION,
        endpoint_url=world.cloud.endpoint_url,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
        **options,
    )
    return seen


def _objects(world: World, prefix: str) -> str:
    return f"arn:aws-cn:s3:::{world.bucket}/{prefix}*"


def test_rights_that_suffice_and_each_that_lacks(world: World) -> None:
    bucket = f"arn:aws-cn:s3:::{world.bucket}"
    athena = (("athena:*",), "*")
    glue = (_READ_GLUE, "*")
    listing = (("s3:ListBucket", "s3:GetBucketLocation"), bucket)
    reading = (("s3:GetObject",), _objects(world, "t/"))
    writing = (("s3:PutObject",), _objects(world, "results/"))
    able = _as_role(world, athena, glue, listing, reading, writing)
    assert able.rows("select sum(n) from t") == [["3"]]
    blind = _as_role(world, athena, listing, reading, writing)
    reason = blind.reason("select sum(n) from t")
    assert reason.startswith("Insufficient permissions to execute the query.")
    assert "glue:GetTable" in reason
    # What another has fetched already is no way round one's own rights.
    unread = _as_role(world, athena, glue, listing, writing)
    assert "Insufficient permissions" in unread.reason("select sum(n) from t")
    mute = _as_role(world, athena, glue, listing, reading)
    assert mute.reason("select sum(n) from t").startswith(
        "Access denied when writing output to url"
    )


def test_a_query_needs_its_own_right(world: World) -> None:
    nobody = _as_role(world, (("s3:*",), "*"))
    code, message = error_of(
        nobody.athena.start_query_execution,
        QueryString="select 1",
        ResultConfiguration={"OutputLocation": world.output},
    )
    assert code == "AccessDeniedException"
    assert _QUERY in message
