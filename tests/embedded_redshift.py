"""A cluster of the embedded AWS with a secret, a role and a staging bucket, for tests."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator
from typing import Any

import boto3

import batcat_runtime as bc
from batcat_runtime.rehearsal import EmbeddedAWS

REGION = "cn-northwest-1"
SECRET = "secret/manager"
PASSWORD = "cAn4ry-Passw0rd"
CLUSTER, WORKGROUP = "battery", "battery-serverless"


class Warehouse:
    """What a test needs of it."""

    def __init__(self, aws: EmbeddedAWS, session: boto3.Session) -> None:
        self.aws = aws
        self.session = session
        self.bucket = f"staging-{uuid.uuid4().hex[:8]}"
        self.staging = f"s3://{self.bucket}/redshift"
        self.s3 = self.client("s3")
        place = {"LocationConstraint": REGION}
        self.s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration=place)
        self.role = self._role()

    def client(self, service: str) -> Any:
        return self.session.client(service, endpoint_url=self.aws.endpoint_url)

    def read(self, query: str, **options: Any) -> Any:
        return bc.read_data_from_redshift_by_secret(
            secret_name=SECRET, region=REGION, query=query, **options
        )

    def unloading(self) -> dict[str, str]:
        return {"iam_role": self.role, "s3_staging_dir": self.staging}

    def staged(self) -> list[str]:
        listed = self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return [one["Key"] for one in listed]

    def statements(self) -> list[dict[str, Any]]:
        answer = self.client("redshift-data").list_statements(Status="ALL", MaxResults=100)
        return list(answer["Statements"])

    def _role(self) -> str:
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "redshift.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
        made = self.client("iam").create_role(
            RoleName="redshift-s3",
            AssumeRolePolicyDocument=json.dumps(
                {"Version": "2012-10-17", "Statement": [statement]}
            ),
        )
        return str(made["Role"]["Arn"])


@contextlib.contextmanager
def running() -> Iterator[Warehouse]:
    with EmbeddedAWS(region=REGION, set_environment=False) as aws:
        session = boto3.Session("testing", "testing", region_name=REGION)
        warehouse = Warehouse(aws, session)
        login = {"username": "awsuser", "password": PASSWORD}
        warehouse.client("redshift").create_cluster(
            ClusterIdentifier=CLUSTER,
            NodeType="ra3.xlplus",
            MasterUsername=login["username"],
            MasterUserPassword=PASSWORD,
            DBName="dev",
        )
        secrets = warehouse.client("secretsmanager")
        known = {**login, "dbClusterIdentifier": CLUSTER, "dbname": "dev", "port": 5439}
        secrets.create_secret(Name=SECRET, SecretString=json.dumps(known))
        yield warehouse
