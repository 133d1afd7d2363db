"""Redshift's part of the world to rehearse in: clusters from secrets, tables from files.

A secret of `rehearsal.secrets` that names a cluster or a workgroup makes it, with that login; the
tables of `rehearsal.tables` that begin with ``redshift:`` are saved in each of them.
"""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import ConfigError, QueryError
from batcat_runtime.io.redshift_data import data_api
from batcat_runtime.io.redshift_save import save_df_to_redshift

from .engine import quoted
from .world import as_parquet

if TYPE_CHECKING:
    import boto3

PREFIX = "redshift:"
_ROLE = "batcat-rehearsal-redshift"
_HOST = re.compile(r"([^.]+)\..*\.(redshift|redshift-serverless)\.")
_TRUST = {
    "Effect": "Allow",
    "Principal": {"Service": "redshift.amazonaws.com"},
    "Action": "sts:AssumeRole",
}
_MAY = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}


def make_clusters(secrets: Mapping[str, Any], session: boto3.Session) -> dict[str, Any]:
    """Make the clusters and workgroups that secrets name.

    Parameters
    ----------
    secrets : mapping of str to Any
        The contents of secrets by their names, as Secrets Manager is to keep them.
    session : boto3.Session
        Of the embedded AWS.

    Returns
    -------
    dict of str to Any
        The contents, with the name, host and port of what was made.
    """
    made = dict(secrets)
    for name, content in secrets.items():
        cluster, workgroup = _warehouse(content)
        if cluster or workgroup:
            make = _make_workgroup if workgroup else _make_cluster
            place = make(session, str(workgroup or cluster), content)
            named = {"workgroupName": workgroup} if workgroup else {"dbClusterIdentifier": cluster}
            made[name] = {**content, **named, "host": place["address"], "port": place["port"]}
    return made


def make_tables(
    tables: Mapping[str, str],
    folder: Path,
    session: boto3.Session,
    secrets: Mapping[str, Any],
) -> list[str]:
    """Save files as tables in the warehouses that secrets name; the secrets are there already.

    Parameters
    ----------
    tables : mapping of str to str
        From ``redshift:schema.table`` or ``redshift:database.schema.table`` to a glob of CSV or
        Parquet files.
    folder : pathlib.Path
        Where the globs begin.
    session : boto3.Session
        Of the embedded AWS.
    secrets : mapping of str to Any
        As `make_clusters` returned them.

    Returns
    -------
    list of str
        The names.

    Raises
    ------
    ConfigError
        A name or a glob is wrong, a file cannot be read, or no secret names a warehouse.
    """
    logins = {name: _warehouse(content) for name, content in secrets.items()}
    logins = {name: found for name, found in logins.items() if any(found)}
    if tables and not logins:
        raise ConfigError(
            f"rehearsal.tables has {', '.join(tables)}, and no secret names a cluster for it.",
            fix='Add to rehearsal.secrets {"username": ..., "password": ..., "dbClusterIdentifier":'
            ' ..., "dbname": "dev"}, under the name that the script reads.',
        )
    import pyarrow.parquet as pq

    staging, role = _staging(session) if tables else ("", "")
    for key, pattern in tables.items():
        parts = key.removeprefix(PREFIX).split(".")
        if len(parts) not in (2, 3) or not all(parts):
            raise ConfigError(
                f"rehearsal.tables: {key!r} is no table of Redshift's.",
                fix="Name it redshift:schema.table or redshift:database.schema.table.",
            )
        with tempfile.TemporaryDirectory() as temporary:
            frame = pq.read_table(as_parquet(key, pattern, folder, Path(temporary))[0])
        schema, table = parts[-2:]
        for secret, warehouse in logins.items():
            database = parts[0] if len(parts) == 3 else secrets[secret].get("dbname") or "dev"
            login = (secret, session.region_name, *warehouse)
            if len(parts) == 3:
                with contextlib.suppress(QueryError):  # it is there already
                    data_api(*login, None, None, session).run(f"CREATE DATABASE {quoted(database)}")
            data_api(*login, database, None, session).run(
                f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}"
            )
            save_df_to_redshift(
                frame,
                f"{schema}.{table}",
                s3_staging_dir=staging,
                iam_role=role,
                secret_name=secret,
                cluster_identifier=warehouse[0],
                workgroup_name=warehouse[1],
                database=database,
                region=session.region_name,
                boto3_session=session,
            )
    return list(tables)


def _warehouse(secret: Any) -> tuple[str | None, str | None]:
    """Return the cluster or the workgroup that a secret names, if only by its host."""
    if not isinstance(secret, Mapping) or not secret.get("password"):
        return None, None
    host = _HOST.match(str(secret.get("host") or ""))
    named = host[1] if host else None
    serverless = host is not None and host[2] == "redshift-serverless"
    workgroup = secret.get("workgroupName") or (named if serverless else None)
    cluster = secret.get("dbClusterIdentifier") or (None if serverless else named)
    return (None, str(workgroup)) if workgroup else (cluster, None)


def _make_cluster(session: boto3.Session, name: str, secret: Mapping[str, Any]) -> dict[str, Any]:
    redshift = session.client("redshift")
    with contextlib.suppress(redshift.exceptions.ClusterAlreadyExistsFault):
        redshift.create_cluster(
            ClusterIdentifier=name,
            NodeType="ra3.xlplus",
            MasterUsername=str(secret.get("username") or "awsuser"),
            MasterUserPassword=str(secret["password"]),
            DBName=str(secret.get("dbname") or "dev"),
        )
    found = redshift.describe_clusters(ClusterIdentifier=name)["Clusters"][0]["Endpoint"]
    return {"address": found["Address"], "port": found["Port"]}


def _make_workgroup(session: boto3.Session, name: str, secret: Mapping[str, Any]) -> dict[str, Any]:
    serverless = session.client("redshift-serverless")
    with contextlib.suppress(serverless.exceptions.ConflictException):
        serverless.create_namespace(
            namespaceName=name,
            adminUsername=str(secret.get("username") or "admin"),
            adminUserPassword=str(secret["password"]),
            dbName=str(secret.get("dbname") or "dev"),
        )
        serverless.create_workgroup(workgroupName=name, namespaceName=name)
    return dict(serverless.get_workgroup(workgroupName=name)["workgroup"]["endpoint"])


def _staging(session: boto3.Session) -> tuple[str, str]:
    """Return a place in S3 and a role of Redshift's that may read it, both made if need be."""
    region = str(session.region_name)
    s3, iam, bucket = session.client("s3"), session.client("iam"), f"batcat-rehearsal-{region}"
    place: Any = {"CreateBucketConfiguration": {"LocationConstraint": region}}
    with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket=bucket, **(place if region != "us-east-1" else {}))
    with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_role(RoleName=_ROLE, AssumeRolePolicyDocument=_policy(_TRUST))
    iam.put_role_policy(RoleName=_ROLE, PolicyName="s3", PolicyDocument=_policy(_MAY))
    return f"s3://{bucket}/redshift", str(iam.get_role(RoleName=_ROLE)["Role"]["Arn"])


def _policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
