"""A cluster of the embedded AWS with a secret, a role and a staging bucket, for tests."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import boto3

import batcat_runtime as bc
from batcat_runtime.rehearsal import EmbeddedAWS

REGION = "cn-northwest-1"
SECRET = "secret/manager"
PASSWORD = "cAn4ry-Passw0rd"
CLUSTER, WORKGROUP = "battery", "battery-serverless"
BUCKET = "redshift-staging"
LOGIN = {"username": "awsuser", "password": PASSWORD}


class Warehouse:
    """A cluster and a serverless workgroup."""

    def __init__(self, aws: EmbeddedAWS) -> None:
        self.aws = aws
        self.staging = f"s3://{BUCKET}/redshift"
        self.s3 = self.client("s3")
        place = {"LocationConstraint": REGION}
        self.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
        statement = {"Effect": "Allow", "Action": "sts:AssumeRole"}
        statement |= {"Principal": {"Service": "redshift.amazonaws.com"}}
        trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        made = self.client("iam").create_role(
            RoleName="redshift-s3", AssumeRolePolicyDocument=trust
        )
        self.role = str(made["Role"]["Arn"])
        self.client("redshift").create_cluster(
            ClusterIdentifier=CLUSTER,
            NodeType="ra3.xlplus",
            MasterUsername=LOGIN["username"],
            MasterUserPassword=PASSWORD,
            DBName="dev",
        )
        serverless = self.client("redshift-serverless")
        serverless.create_namespace(
            namespaceName="battery",
            adminUsername=LOGIN["username"],
            adminUserPassword=PASSWORD,
            dbName="dev",
        )
        serverless.create_workgroup(workgroupName=WORKGROUP, namespaceName="battery")
        self.keep(SECRET, dbClusterIdentifier=CLUSTER, dbname="dev", port=5439)

    def session(self) -> boto3.Session:
        return boto3.Session(*self.aws.keys[:2], region_name=REGION)

    def client(self, service: str) -> Any:
        return self.session().client(service, endpoint_url=self.aws.endpoint_url)

    def keep(self, name: str, **more: Any) -> None:
        """Keep a login in Secrets Manager."""
        text = json.dumps({**LOGIN, **more})
        self.client("secretsmanager").create_secret(Name=name, SecretString=text)

    def read(self, query: str, **options: Any) -> Any:
        return bc.read_data_from_redshift_by_secret(SECRET, REGION, query, **options)

    def unloading(self) -> dict[str, str]:
        return {"iam_role": self.role, "s3_staging_dir": self.staging}

    def staged(self) -> list[str]:
        listed = self.s3.list_objects_v2(Bucket=BUCKET, Prefix="redshift/")
        return [found["Key"] for found in listed.get("Contents", [])]

    def status_of(self, query: str) -> str:
        answer = self.client("redshift-data").list_statements(Status="ALL", MaxResults=100)
        known = answer["Statements"]
        return next((each["Status"] for each in known if each.get("QueryString") == query), "")


@contextlib.contextmanager
def running() -> Iterator[Warehouse]:
    with EmbeddedAWS(region=REGION, set_environment=False) as aws:
        yield Warehouse(aws)
