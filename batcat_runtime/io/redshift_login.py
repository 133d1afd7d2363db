"""How to log in to Redshift: a password, a secret, or IAM; all end as one host, user and password.

With IAM, Redshift gives out a password for a quarter of an hour. It is asked for here and not in
redshift_connector, so that the credentials, retries and errors are those of every other call.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import NoSuchObjectError, UserError
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.io.clients import client
from batcat_runtime.io.secrets import Secret, get_secret, no_bodies_in_logs

if TYPE_CHECKING:
    import boto3

PORT, DATABASE, USER = 5439, "dev", "awsuser"
_SECONDS = 900


@dataclass(frozen=True)
class Login:
    """Where to connect to, and as whom; its repr has no password."""

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)


def redshift_login(
    *,
    host: str | None,
    password: str | None,
    port: int,
    database: str,
    user: str,
    secret_name: str | None = None,
    cluster_identifier: str | None = None,
    workgroup_name: str | None = None,
    region: str | None = None,
    boto3_session: boto3.Session | None = None,
) -> Login:
    """Return how to log in, from whichever of the three ways was given.

    Raises
    ------
    UserError
        Nothing was given to log in with, or two ways at once.
    NoSuchSecretError, NoSuchObjectError, AccessDeniedError, CredentialsError, ServiceError
        The secret, the cluster or the workgroup could not be asked for.
    """
    ways = {
        "password": password,
        "secret_name": secret_name,
        "cluster_identifier": cluster_identifier,
        "workgroup_name": workgroup_name,
    }
    given = [name for name, value in ways.items() if value]
    if len(given) != 1:
        raise UserError(
            f"Redshift was given {' and '.join(given) if given else 'nothing'} to log in with.",
            fix="Give one of: host and password; secret_name; cluster_identifier or "
            "workgroup_name, to log in with IAM.",
        )
    if secret_name:
        secret = get_secret(secret_name, region, boto3_session=boto3_session)
        return _from_secret(secret, host, port, database, user)
    if cluster_identifier:
        redshift = client("redshift", boto3_session, region)
        return _from_cluster(redshift, cluster_identifier, host, port, database, user)
    if workgroup_name:
        serverless = client("redshift-serverless", boto3_session, region)
        return _from_workgroup(serverless, workgroup_name, host, port, database)
    if not host:
        raise UserError(
            "Redshift's host is missing.",
            fix="Give it, for example 'name.abc.cn-northwest-1.redshift.amazonaws.com.cn'.",
        )
    return Login(host, int(port), database, user, str(password))


def _from_secret(secret: Secret, host: str | None, port: int, database: str, user: str) -> Login:
    """Take from a secret what was not given; arguments that are the defaults were not."""
    found_host = host or secret.get("host")
    if not found_host or "password" not in secret:
        raise UserError(
            f"{secret!r} lacks {'a password' if found_host else 'a host'}.",
            fix="Give `host`, or a secret of the kind 'Credentials for Amazon Redshift'.",
        )
    name = secret.get("dbname") or secret.get("database") or secret.get("db")
    return Login(
        host=str(found_host),
        port=int(port if port != PORT else secret.get("port") or PORT),
        database=str(database if database != DATABASE else name or DATABASE),
        user=str(user if user != USER else secret.get("username") or secret.get("user") or USER),
        password=str(secret["password"]),
    )


def _from_cluster(
    redshift: Any, cluster: str, host: str | None, port: int, database: str, user: str
) -> Login:
    with translated(f"the Redshift cluster {cluster!r}", "redshift:GetClusterCredentials"):
        try:
            if not host:
                found = redshift.describe_clusters(ClusterIdentifier=cluster)["Clusters"][0]
                host, port = found["Endpoint"]["Address"], found["Endpoint"]["Port"]
            with no_bodies_in_logs():
                answer = redshift.get_cluster_credentials(
                    DbUser=user,
                    DbName=database,
                    ClusterIdentifier=cluster,
                    DurationSeconds=_SECONDS,
                    AutoCreate=False,
                )
        except redshift.exceptions.ClusterNotFoundFault as error:
            raise _missing("cluster", cluster, redshift) from error
    return Login(host, int(port), database, answer["DbUser"], answer["DbPassword"])


def _from_workgroup(
    serverless: Any, workgroup: str, host: str | None, port: int, database: str
) -> Login:
    with translated(f"the Redshift workgroup {workgroup!r}", "redshift-serverless:GetCredentials"):
        try:
            if not host:
                found = serverless.get_workgroup(workgroupName=workgroup)["workgroup"]
                host, port = found["endpoint"]["address"], found["endpoint"]["port"]
            with no_bodies_in_logs():
                answer = serverless.get_credentials(
                    workgroupName=workgroup, dbName=database, durationSeconds=_SECONDS
                )
        except serverless.exceptions.ResourceNotFoundException as error:
            raise _missing("workgroup", workgroup, serverless) from error
    return Login(host, int(port), database, answer["dbUser"], answer["dbPassword"])


def _missing(what: str, name: str, service: Any) -> NoSuchObjectError:
    return NoSuchObjectError(
        f"There is no Redshift {what} {name!r} in {service.meta.region_name}.",
        fix="Check its name and the region.",
    )
