"""Redshift by the Data API: the tutorial's `read_data_from_redshift_by_secret`.

No connection to the cluster is opened, so a VPC around it is no obstacle, and no password is seen
here: the API is given the secret's name. What the API sends as text (numerics, dates, timestamps)
gets the type that the API says the column has.

Plain boto3: `wr.data_api.redshift` gives up after 328 s, leaves the statement running when it does
(test_a_statement_that_takes_too_long_is_cancelled), and returns dates and numerics as the texts
that the API sends (test_every_column_has_the_type_that_redshift_declares).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import (
    BatcatError,
    QueryTimeoutError,
    ResultTooLargeError,
    UserError,
)
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.io.clients import client
from batcat_runtime.io.parameters import Params, for_data_api
from batcat_runtime.io.progress import Progress
from batcat_runtime.io.query import DateLike, query_error, statement, with_dates
from batcat_runtime.io.redshift import Unload, unload_of
from batcat_runtime.io.redshift_types import Column, Result, arrow_table, data_api_column, refusal
from batcat_runtime.io.redshift_wire import DATABASE
from batcat_runtime.io.results import check_result_options, chunks, whole
from batcat_runtime.io.secrets import Secret, get_secret
from batcat_runtime.io.types import DtypeBackend
from batcat_runtime.log import get_logger

if TYPE_CHECKING:
    import boto3
    import pandas as pd
    import pyarrow as pa

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_STOPPING_LOOKS, _STOPPING_PAUSE = 20, 0.2
_ENDED = ("FINISHED", "FAILED", "ABORTED")
_POSITION = re.compile(r"\s*Position: (\d+);?\s*")
_TOO_LARGE = re.compile(r"result.*(too large|exceed|maximum|limit)", re.IGNORECASE | re.DOTALL)
_HOST = re.compile(r"([^.]+)\..*\.(redshift|redshift-serverless)\.")


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
    unload = unload_of(text, iam_role, s3_staging_dir, region, boto3_session)
    api = data_api(
        secret_name, region, cluster_identifier, workgroup_name, database, timeout, boto3_session
    )
    tables = _tables(api, text, params, unload, chunksize is None)
    if chunksize is not None:
        return chunks(tables, chunksize, dtype_backend)
    return whole(tables, dtype_backend)


def data_api(
    secret_name: str,
    region: str | None,
    cluster: str | None,
    workgroup: str | None,
    database: str | None,
    timeout: float | None,
    session: boto3.Session | None,
) -> DataApi:
    """Return the Data API for the warehouse that a secret is for.

    Raises
    ------
    UserError
        Both a cluster and a workgroup were given; or neither, and the secret names none.
    NoSuchSecretError, AccessDeniedError, CredentialsError, ServiceError
        The secret could not be read.
    """
    if cluster and workgroup:
        raise UserError(
            "Both a cluster and a workgroup were given.",
            fix="Give cluster_identifier or workgroup_name.",
        )
    secret = get_secret(secret_name, region, boto3_session=session)
    if not cluster and not workgroup:
        cluster, workgroup = _warehouse(secret)
    named = database or secret.get("dbname") or secret.get("database") or secret.get("db")
    target = {"SecretArn": secret.arn, "Database": str(named or DATABASE)}
    target["StatementName"] = "batcat"
    if workgroup:
        target["WorkgroupName"] = workgroup
    else:
        target["ClusterIdentifier"] = str(cluster)
    return DataApi(client("redshift-data", session, region), target, timeout)


@dataclass(frozen=True)
class DataApi:
    """A warehouse as the Data API reaches it.

    Attributes
    ----------
    service : botocore client
        Of ``redshift-data``.
    target : dict
        ClusterIdentifier or WorkgroupName, Database, SecretArn: as statements are sent there.
    timeout : float or None
        Seconds that a statement may take.
    """

    service: Any
    target: dict[str, str]
    timeout: float | None = None

    def run(self, query: str, params: Params | None = None) -> Result:
        """Run one statement, its parameters bound by the server, and wait until it is done.

        Raises
        ------
        QueryError, QueryTimeoutError, ResultTooLargeError, AccessDeniedError
            Redshift refused it, or it took longer than `timeout` and was cancelled.
        CredentialsError, ThrottledError, ServiceError
            AWS refused.
        """
        text, values = for_data_api(query, params)
        request: dict[str, Any] = {"Sql": text, **self.target}
        if values:
            request["Parameters"] = values
        description = self._ended(self._ask("ExecuteStatement", request)["Id"], text)
        if not description.get("HasResultSet"):
            return Result([], iter(()))
        page = self._ask("GetStatementResult", {"Id": description["Id"]})
        columns = [data_api_column(metadata) for metadata in page["ColumnMetadata"]]
        return Result(columns, self._pages(description["Id"], page, columns))

    def together(self, statements: Sequence[str]) -> None:
        """Run statements in one transaction: all of them count, or none."""
        request = {"Sqls": list(statements), **self.target}
        self._ended(self._ask("BatchExecuteStatement", request)["Id"], "")

    def _pages(
        self, number: str, page: dict[str, Any], columns: list[Column]
    ) -> Iterator[pa.Table]:
        while True:
            rows = [[_value(field) for field in record] for record in page["Records"]]
            yield arrow_table(columns, rows)
            if not page.get("NextToken"):
                return
            request = {"Id": number, "NextToken": page["NextToken"]}
            page = self._ask("GetStatementResult", request)

    def _ask(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        from botocore import xform_name

        place = self.target.get("ClusterIdentifier") or self.target.get("WorkgroupName")
        call = getattr(self.service, xform_name(action))
        with translated(f"Redshift's Data API for {place!r}", f"redshift-data:{action}"):
            return dict(call(**request))

    def _ended(self, number: str, query: str) -> dict[str, Any]:
        try:
            description = self._wait(number)
        except BaseException:  # also when the user interrupts
            self._cancel(number)
            raise
        if description["Status"] != "FINISHED":
            parts = [part for part in description.get("SubStatements", ()) if part.get("Error")]
            failed = parts[0] if parts else description
            raise _failure(description["Status"], failed, failed.get("QueryString") or query)
        return description

    def _wait(self, number: str) -> dict[str, Any]:
        started, pause = time.monotonic(), _FIRST_PAUSE
        with Progress("Redshift") as progress:
            while True:
                description = self._ask("DescribeStatement", {"Id": number})
                if description["Status"] in _ENDED:
                    return description
                progress.add(note=description["Status"])
                if self.timeout is not None and time.monotonic() - started > self.timeout:
                    raise QueryTimeoutError(
                        f"Redshift took longer than {self.timeout:g} s; the statement was "
                        "cancelled.",
                        fix="Give a longer `timeout`, or read less: fewer days, fewer columns.",
                    )
                time.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _cancel(self, number: str) -> None:
        """Cancel a statement and wait for its end: what it still writes could not be cleaned up."""
        try:
            self._ask("CancelStatement", {"Id": number})
            for _ in range(_STOPPING_LOOKS):
                if self._ask("DescribeStatement", {"Id": number})["Status"] in _ENDED:
                    return
                time.sleep(_STOPPING_PAUSE)
        except BatcatError as error:
            get_logger().warning("The statement %s may still run: %s", number, error.message)


def _tables(
    api: DataApi, query: str, params: Params | None, unload: Unload | None, in_one: bool
) -> Iterator[pa.Table]:
    if unload is not None:
        yield from unload.tables(api.run, query, params, whole=in_one)
    if unload is None or not unload.done:
        yield from api.run(query, params).tables


def _warehouse(secret: Secret) -> tuple[str | None, str | None]:
    """Return the cluster or the workgroup that a secret names, if only by its host."""
    cluster = secret.get("dbClusterIdentifier") or secret.get("clusterIdentifier")
    workgroup = secret.get("workgroupName") or secret.get("workgroup")
    host = _HOST.match(str(secret.get("host") or ""))
    if not cluster and not workgroup and host:
        cluster, workgroup = (host[1], None) if host[2] == "redshift" else (None, host[1])
    if not cluster and not workgroup:
        raise UserError(
            f"{secret!r} names neither a cluster nor a workgroup.",
            fix="Give cluster_identifier or workgroup_name.",
        )
    return (None, str(workgroup)) if workgroup else (str(cluster), None)


def _value(field: dict[str, Any]) -> Any:
    return None if field.get("isNull") else next(iter(field.values()), None)


def _failure(status: str, failed: dict[str, Any], query: str) -> BatcatError:
    reason = str(failed.get("Error") or status)
    if status == "ABORTED":
        return query_error("Redshift", f"it was cancelled ({reason})")
    if _TOO_LARGE.search(reason):
        return ResultTooLargeError(
            f"The result is more than Redshift's Data API carries: {reason}",
            fix="Give iam_role and s3_staging_dir, so that it goes by UNLOAD; or read less.",
        )
    found = _POSITION.search(reason)
    return refusal(_POSITION.sub(" ", reason), query, int(found[1]) if found else None)
