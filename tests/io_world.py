"""An account as the tutorial's IO section supposes it: buckets, catalogue, cluster, secret."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pandas as pd

import batcat_runtime as bc
from batcat_runtime.rehearsal import EmbeddedAWS
from batcat_runtime.rehearsal.aws.lake.redshift_world import make_clusters, make_tables

REGION = "cn-northwest-1"
BUCKETS = ("2022-rnd-battery", "apac-athena-queryresult")
CLUSTER = "cells"
USER = "awsuser"
PASSWORD = "This_is_a_passw0rd"


def usage() -> pd.DataFrame:
    """Return the rows of the tutorial's table; its times are text, which compares as times do."""
    return pd.DataFrame(
        {
            "vin": ["LB370", "LB371", "LB371"],
            "usage": pd.array([12, None, 7], dtype="Int64"),
            "time": ["2022-01-01 08:00:00", "2022-01-02 08:30:00", "2022-02-01 09:00:00"],
        }
    )


def furnish(aws: EmbeddedAWS) -> dict[str, Any]:
    """Set the account up, and return the names that only it knows.

    Returns
    -------
    dict
        ``host``, ``port``, ``password`` and ``redshift_role``.
    """
    s3 = boto3.client("s3")
    for bucket in BUCKETS:
        place = {"LocationConstraint": REGION}
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=place)
    boto3.client("glue").create_database(DatabaseInput={"Name": "dw_bms"})
    boto3.client("athena").create_data_catalog(
        Name="cdc", Type="GLUE", Parameters={"catalog-id": aws.account_id}
    )
    bc.save_dataset(
        usage(),
        BUCKETS[0],
        "warehouse/battery_usage/",
        database="dw_bms",
        table="battery_usage",
    )
    session = boto3.Session(region_name=REGION)
    login = {"username": USER, "password": PASSWORD, "host": "", "port": 5439}
    login |= {"dbClusterIdentifier": CLUSTER, "dbname": "dev"}
    secrets = make_clusters({"secret/manager": login}, session)
    login = secrets["secret/manager"]
    boto3.client("secretsmanager").create_secret(
        Name="secret/manager", SecretString=json.dumps(login)
    )
    usage().to_parquet(aws.home / "usage.parquet")
    make_tables({"redshift:cdc.dw_bms.battery_usage": "usage.parquet"}, aws.home, session, secrets)
    return {
        "host": login["host"],
        "port": login["port"],
        "password": PASSWORD,
        "redshift_role": _role(),
    }


def _role() -> str:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "redshift.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    trust = {"Version": "2012-10-17", "Statement": [statement]}
    made = boto3.client("iam").create_role(
        RoleName="redshift-copy", AssumeRolePolicyDocument=json.dumps(trust)
    )
    return str(made["Role"]["Arn"])
