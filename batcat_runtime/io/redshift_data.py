"""Redshift by the Data API: the tutorial's `read_data_from_redshift_by_secret`.

No connection to the cluster is opened, so a VPC around it is no obstacle, and no password is seen
here: the API is given the secret's name. What the API sends as text (numerics, dates, timestamps)
gets the type that the API says the column has.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from batcat_runtime.errors import QueryError, QueryTimeoutError, UserError
from batcat_runtime.io.clients import client
from batcat_runtime.io.parameters import Params, for_data_api, with_literals
from batcat_runtime.io.query import DateLike, statement, with_dates
from batcat_runtime.io.redshift_data_api import DataApi
from batcat_runtime.io.redshift_login import DATABASE
from batcat_runtime.io.redshift_unload import DATA, schema_sql, unload_sql, wants_unload
from batcat_runtime.io.results import check_result_options, chunks, whole
from batcat_runtime.io.secrets import Secret, get_secret
from batcat_runtime.io.staging import Staging
from batcat_runtime.io.types import DtypeBackend
from batcat_runtime.log import get_logger

if TYPE_CHECKING:
    import boto3
    import pandas as pd
    import pyarrow as pa

_SERVERLESS = ".redshift-serverless."
_PROVISIONED = ".redshift."


def read_data_from_redshift_by_secret(
    secret_name: str,
    region: str | None,
    query: str,
    date_start: DateLike | None = None,
    date_end: DateLike | None = None,
    *,
    params: Params | None = None,
    cluster_identifier: str | None = None,
    workgroup_name: str | None = None,
    database: str | None = None,
    chunksize: int | None = None,
    dtype_backend: DtypeBackend | None = None,
    timeout: float | None = None,
    iam_role: str | None = None,
    s3_staging_dir: str | None = None,
    boto3_session: boto3.Session | None = None,
) -> pd.DataFrame | Iterator[pd.DataFrame]:
    """Read the result of a query from Redshift, with a login that Secrets Manager keeps.

    Parameters
    ----------
    secret_name : str
        Name or ARN of the secret, of the kind "Credentials for Amazon Redshift".
    region : str or None
        Where secret and warehouse are; None for the session's region.
    query : str
        One statement; ``'{}'``, ``'{date_start}'`` and ``'{date_end}'`` are places for dates,
        ``:name`` or ``?`` for parameters.
    date_start, date_end : datetime.date or datetime.datetime or str, optional
        The window of dates, such as ``2022-01-01`` or ``2022/01/01``.
    params : mapping or sequence, optional
        Values for the parameters; bound by the server, never pasted. A list becomes several values.
    cluster_identifier, workgroup_name : str, optional
        The cluster or the serverless workgroup; by default the one that the secret names.
    database : str, optional
        By default the one that the secret names, and otherwise ``dev``.
    chunksize : int, optional
        Rows per DataFrame: an iterator is returned.
    dtype_backend : {"numpy_nullable", "pyarrow"}, optional
        See `batcat_runtime.io.types.to_pandas`.
    timeout : float, optional
        Seconds that the query may take; then it is cancelled. No limit by default.
    iam_role, s3_staging_dir : str, optional
        Both together let Redshift UNLOAD the result to a prefix of its own there, which is deleted
        again. Needed for a result above what the API carries, which is some 100 MB.
    boto3_session : boto3.Session, optional
        Whose credentials to use; by default those of the environment.

    Returns
    -------
    pandas.DataFrame or iterator of pandas.DataFrame
        Types as Redshift declares them, the same as from `read_data_from_redshift`.

    Raises
    ------
    UserError
        A date, parameter or option is wrong, or the secret does not say which warehouse it is for.
    NoSuchSecretError
        There is no such secret in this region.
    QueryError
        Redshift refused the query; with its words and the line that they are about.
    QueryTimeoutError
        The query took longer than `timeout`.
    ResultTooLargeError
        The result is more than the API carries.
    AccessDeniedError, CredentialsError, ThrottledError, ServiceError
        AWS refused.

    Examples
    --------
    >>> read_data_from_redshift_by_secret(
    ...     secret_name="secret/manager",
    ...     region="cn-northwest-1",
    ...     query="SELECT vin, usage FROM battery_usage",
    ... )  # doctest: +SKIP
    """
    text = statement(with_dates(query, date_start, date_end, "redshift"), "redshift")
    check_result_options(chunksize, dtype_backend, timeout)
    for_data_api(text, params)  # refuses what it has to before anything is asked of AWS
    staging = None
    if wants_unload(text, iam_role, s3_staging_dir) and s3_staging_dir:
        staging = Staging(s3_staging_dir, region=region, boto3_session=boto3_session)
    api = data_api(
        secret_name,
        region,
        cluster_identifier=cluster_identifier,
        workgroup_name=workgroup_name,
        database=database,
        timeout=timeout,
        boto3_session=boto3_session,
    )
    tables = _tables(api, text, params, staging, iam_role or "", chunksize is None)
    if chunksize is not None:
        return chunks(tables, chunksize, dtype_backend)
    return whole(tables, dtype_backend)


def data_api(
    secret_name: str,
    region: str | None,
    *,
    cluster_identifier: str | None = None,
    workgroup_name: str | None = None,
    database: str | None = None,
    timeout: float | None = None,
    boto3_session: boto3.Session | None = None,
) -> DataApi:
    """Return the Data API for the warehouse that a secret is for.

    Raises
    ------
    UserError
        Both a cluster and a workgroup were given; or neither, and the secret names none.
    NoSuchSecretError, AccessDeniedError, CredentialsError, ServiceError
        The secret could not be read.
    """
    if cluster_identifier and workgroup_name:
        raise UserError(
            "Both a cluster and a workgroup were given.",
            fix="Give cluster_identifier or workgroup_name.",
        )
    secret = get_secret(secret_name, region, boto3_session=boto3_session)
    if not cluster_identifier and not workgroup_name:
        cluster_identifier, workgroup_name = _warehouse(secret)
    named = database or secret.get("dbname") or secret.get("database") or secret.get("db")
    target = {"SecretArn": secret.arn, "Database": str(named or DATABASE)}
    if cluster_identifier:
        target["ClusterIdentifier"] = cluster_identifier
    else:
        target["WorkgroupName"] = str(workgroup_name)
    service = client("redshift-data", boto3_session, region)
    return DataApi(service, target, timeout)


def _warehouse(secret: Secret) -> tuple[str | None, str | None]:
    """Return the cluster or the workgroup that a secret names, if only by its host."""
    cluster = secret.get("dbClusterIdentifier") or secret.get("clusterIdentifier")
    workgroup = secret.get("workgroupName") or secret.get("workgroup")
    host = str(secret.get("host") or "")
    first = host.partition(".")[0]
    if not cluster and not workgroup and _SERVERLESS in host:
        workgroup = first
    elif not cluster and not workgroup and _PROVISIONED in host:
        cluster = first
    if workgroup:
        return None, str(workgroup)
    if cluster:
        return str(cluster), None
    raise UserError(
        f"{secret!r} names neither a cluster nor a workgroup.",
        fix="Give cluster_identifier or workgroup_name.",
    )


def _tables(
    api: DataApi,
    query: str,
    params: Params | None,
    staging: Staging | None,
    iam_role: str,
    in_one: bool,
) -> Iterator[pa.Table]:
    if staging is not None:
        with staging:
            if _unloaded(api, unload_sql(with_literals(query, params), staging.uri, iam_role)):
                empty = True
                for table in staging.tables(DATA, whole=in_one):
                    empty = False
                    yield table
                if empty:
                    yield from api.tables(api.run(schema_sql(query), params))
                return
    yield from api.tables(api.run(query, params))


def _unloaded(api: DataApi, unload: str) -> bool:
    """Try to UNLOAD; a query that is wrong itself fails again, in its own words, without it."""
    try:
        api.run(unload)
    except QueryTimeoutError:
        raise
    except QueryError as error:
        get_logger().warning("Redshift cannot UNLOAD, so rows come one by one: %s", error.message)
        return False
    return True
