"""Buckets that a project should not have: in another region, of another account."""

from __future__ import annotations

import json
import uuid
from typing import Any

import boto3

from tests.operate.world import DeployedProject, World

STRANGER = "210987654321"


def elsewhere(region: str) -> str:
    """Return another region of the same partition."""
    return "cn-north-1" if region.startswith("cn-") else "eu-west-1"


def bucket_elsewhere(world: World) -> str:
    """Return a bucket of ours in another region."""
    region, name = elsewhere(world.aws.region), f"elsewhere-{uuid.uuid4().hex[:12]}"
    _make(world.client("s3", region), name, region)
    return name


def foreign_bucket(world: World) -> str:
    """Return a bucket of another account, which lets nobody in."""
    region, name = world.aws.region, f"foreign-{uuid.uuid4().hex[:12]}"
    role = f"arn:{world.aws.partition}:iam::{STRANGER}:role/other"
    given = world.client("sts").assume_role(RoleArn=role, RoleSessionName="other")["Credentials"]
    s3 = boto3.Session().client(
        "s3",
        region_name=region,
        endpoint_url=world.aws.endpoint_url,
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
    )
    _make(s3, name, region)
    return name


def configure(project: DeployedProject, **changes: Any) -> None:
    """Change keys of a project's script/config.json."""
    path = project.folder / "script" / "config.json"
    content = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(content | changes, indent=2), encoding="utf-8")


def _make(s3: Any, name: str, region: str) -> None:
    place = {"CreateBucketConfiguration": {"LocationConstraint": region}}
    s3.create_bucket(Bucket=name, **({} if region == "us-east-1" else place))
