"""Redshift over its own protocol, by redshift_connector: log in, run, cancel, say what went wrong.

All ways to log in end as one host, user and password. `wr.redshift.connect` and `connect_temp` are
left out: they keep the password to themselves, so that the driver's errors could not be searched
for it (test_what_keeps_one_from_connecting), and know neither a workgroup nor a host besides IAM.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import (
    BatcatError,
    ConnectError,
    CredentialsError,
    NoSuchObjectError,
    QueryTimeoutError,
    UserError,
)
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.io.clients import client
from batcat_runtime.io.parameters import Params, for_wire, with_literals
from batcat_runtime.io.redshift_types import Column, Result, arrow_table, refusal, wire_column
from batcat_runtime.io.secrets import Secret, get_secret, no_bodies_in_logs

if TYPE_CHECKING:
    import boto3
    import pyarrow as pa

PORT, DATABASE, USER = 5439, "dev", "awsuser"
_CONNECT_SECONDS, _GRACE_SECONDS = 30.0, 15.0
_ROWS = 20_000
_CANCEL_REQUEST, _VARBYTE = 80877102, 6551
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_WRONG_LOGIN = {"28P01", "28000"}
_NOT_THERE = ("ClusterNotFound", "ResourceNotFoundException")
_CANCELLED = "57014"


@dataclass(frozen=True)
class Login:
    """Where to connect to, and as whom; its repr has no password."""

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)


def log_in(
    given: Login,
    secret_name: str | None,
    cluster: str | None,
    workgroup: str | None,
    region: str | None,
    session: boto3.Session | None,
) -> Login:
    """Return how to log in, from whichever of the ways was given.

    Raises
    ------
    UserError
        Nothing was given to log in with, or two ways at once.
    NoSuchSecretError, NoSuchObjectError, AccessDeniedError, CredentialsError, ServiceError
        The secret, the cluster or the workgroup could not be asked for.
    """
    names = ("password", "secret_name", "cluster_identifier", "workgroup_name")
    ways = [given.password, secret_name, cluster, workgroup]
    chosen = [name for name, way in zip(names, ways, strict=True) if way]
    if len(chosen) != 1:
        raise UserError(
            f"Redshift was given {' and '.join(chosen) or 'nothing'} to log in with.",
            fix="Give one of: host and password; secret_name; cluster_identifier or "
            "workgroup_name, to log in with IAM.",
        )
    if secret_name:
        return _from_secret(get_secret(secret_name, region, boto3_session=session), given)
    if not given.password:
        return _by_iam(cluster, workgroup, given, region, session)
    if not given.host:
        raise UserError(
            "Redshift's host is missing.",
            fix="Give it, for example 'name.abc.cn-northwest-1.redshift.amazonaws.com.cn'.",
        )
    return given


class Wire:
    """An open connection, in a transaction that ends without a commit unless `together` commits."""

    def __init__(self, opened: Any, login: Login) -> None:
        self._opened, self._login = opened, login

    def run(self, query: str, params: Params | None = None, *, head: str = "") -> Result:
        """Run one statement, its parameters bound by the server; a failed one is rolled back.

        Parameters
        ----------
        query : str
        params : mapping or sequence, optional
        head : str
            What is put before the query, and does not count for the place of an error.

        Raises
        ------
        QueryError, QueryTimeoutError, AccessDeniedError, ConnectError
            Redshift refused the query, or ended it, or the connection broke.
        """
        marked, text, values = _bound(query, params)
        cursor = self._opened.cursor()
        cursor.paramstyle = "qmark"
        try:
            cursor.execute(head + marked, values or None)
        except BaseException as error:
            if not _detail(error):  # Redshift may still be at it, for a caller who gave up
                self._cancel()
            if not isinstance(error, (_driver().Error, OSError, struct.error)):
                raise
            with contextlib.suppress(Exception):
                self._opened.rollback()
            raise _execute_error(error, text, len(head)) from error
        described = cursor.ps["row_desc"] if cursor.ps else ()
        columns = [
            wire_column(row["label"].decode(), row["type_oid"], row["type_modifier"])
            for row in described
        ]
        return Result(columns, _tables(cursor, columns))

    def together(self, statements: Sequence[str]) -> None:
        """Run statements in one transaction: all of them count, or none."""
        self._opened.rollback()  # what was read before would make others' saves conflict with it
        for statement in (*statements, "COMMIT"):
            self.run(statement)

    def _cancel(self) -> None:
        """Ask the server to end what runs here: on another connection, as the protocol has it."""
        key = getattr(self._opened, "_backend_key_data", None)
        place = (self._login.host, self._login.port)
        if key:
            with contextlib.suppress(OSError), socket.create_connection(place, 5) as end:
                end.sendall(struct.pack("!ii", 16, _CANCEL_REQUEST) + key)
                end.recv(1)


@contextlib.contextmanager
def connected(login: Login, *, ssl: bool | None, timeout: float | None) -> Iterator[Wire]:
    """Open a connection; `ssl` by default, but not on loopback.

    Raises
    ------
    ConnectError, CredentialsError
        The host cannot be reached, or does not accept user and password.
    UserError
        redshift_connector is not installed.
    """
    driver, opened = _driver(), None
    encrypted = login.host not in _LOOPBACK if ssl is None else ssl
    try:
        opened = driver.connect(**vars(login), ssl=encrypted, timeout=_CONNECT_SECONDS)
    except Exception as error:
        problem = _connect_error(error, login, encrypted)
        cause = None if login.password in repr(error) else error
    if opened is None:
        raise problem from cause
    wire = Wire(opened, login)
    try:
        # the driver takes its hexadecimal digits for text (test_bytes_are_those_that_were_saved)
        opened.redshift_types[_VARBYTE] = (0, _bytes)
        # it has one timeout, for connecting and for the longest silence of a query
        opened._usock.settimeout(timeout + _GRACE_SECONDS if timeout else None)
        if timeout:
            opened.autocommit = True  # a rollback would take the setting back
            wire.run(f"SET statement_timeout TO {max(int(timeout * 1000), 1)}")
            opened.autocommit = False
        yield wire
    finally:
        with contextlib.suppress(Exception):
            opened.close()


def _from_secret(secret: Secret, given: Login) -> Login:
    """Take from a secret what was not given; arguments that are the defaults were not."""
    host = given.host or secret.get("host")
    if not host or "password" not in secret:
        raise UserError(
            f"{secret!r} lacks {'a password' if host else 'a host'}.",
            fix="Give `host`, or a secret of the kind 'Credentials for Amazon Redshift'.",
        )
    port, database, user = given.port, given.database, given.user
    name = secret.get("dbname") or secret.get("database") or secret.get("db")
    return Login(
        host=str(host),
        port=int(port if port != PORT else secret.get("port") or PORT),
        database=str(database if database != DATABASE else name or DATABASE),
        user=str(user if user != USER else secret.get("username") or secret.get("user") or USER),
        password=str(secret["password"]),
    )


def _by_iam(
    cluster: str | None,
    workgroup: str | None,
    given: Login,
    region: str | None,
    session: boto3.Session | None,
) -> Login:
    """Let Redshift give out a password that is good for a quarter of an hour.

    Not by the driver's `iam=True`: whether to encrypt is known only when the host is.
    """
    what, service = ("cluster", "redshift") if cluster else ("workgroup", "redshift-serverless")
    name, aws = cluster or workgroup, client(service, session, region)
    action = "GetClusterCredentials" if cluster else "GetCredentials"
    place: dict[str, Any] = {"Address": given.host, "Port": given.port}
    with translated(f"the Redshift {what} {name!r}", f"{service}:{action}"), no_bodies_in_logs():
        try:
            if cluster and not given.host:
                place = aws.describe_clusters(ClusterIdentifier=name)["Clusters"][0]["Endpoint"]
            elif not given.host:
                place = aws.get_workgroup(workgroupName=name)["workgroup"]["endpoint"]
            answer = (
                aws.get_cluster_credentials(
                    ClusterIdentifier=name, DbUser=given.user, DbName=given.database
                )
                if cluster
                else aws.get_credentials(workgroupName=name, dbName=given.database)
            )
        except aws.exceptions.ClientError as error:
            if error.response["Error"]["Code"] not in _NOT_THERE:
                raise
            raise NoSuchObjectError(
                f"There is no Redshift {what} {name!r} in {aws.meta.region_name}.",
                fix="Check its name and the region.",
            ) from error
    found = {key.lower(): value for key, value in {**place, **answer}.items()}
    host, port, user = found["address"], found["port"], found["dbuser"]
    return Login(host, int(port), given.database, user, found["dbpassword"])


def _driver() -> Any:
    try:
        import redshift_connector
    except ImportError as error:
        raise UserError(
            "redshift_connector is not installed.",
            fix="Run: pip install 'batcat-runtime[redshift]' (or: pip install redshift_connector).",
        ) from error
    return redshift_connector


def _bound(query: str, params: Params | None) -> tuple[str, str, list[Any]]:
    """Return a query as the driver takes it and as the server gets it, and values to bind.

    The driver looks for each ``?`` with a scanner of its own, which knows no backslash in a
    literal: where it would take another one than we do, the values are written as literals.
    """
    marked, values = for_wire(query, params)
    if not values:
        return marked, marked, []
    from redshift_connector.core import convert_paramstyle

    numbers = itertools.count(1)
    text = re.sub(r"\?", lambda _: f"${next(numbers)}", marked)
    if marked.count("?") == len(values) and convert_paramstyle("qmark", marked)[0] == text:
        return marked, text, values
    plain = with_literals(query, params)
    return plain, plain, []


def _tables(cursor: Any, columns: list[Column]) -> Iterator[pa.Table]:
    """Give the rows that were fetched piece by piece, forgetting each; at least one piece."""
    rows = cursor.fetchmany(_ROWS) if columns else ()
    while True:
        yield arrow_table(columns, rows)
        rows = cursor.fetchmany(_ROWS) if rows else ()
        if not rows:
            return


def _bytes(data: bytes, start: int, length: int) -> bytes:
    return bytes.fromhex(data[start : start + length].decode())


def _detail(error: BaseException) -> dict[str, Any]:
    """Return what the server said of an error, in the protocol's one-letter fields."""
    return error.args[0] if error.args and isinstance(error.args[0], dict) else {}


def _connect_error(error: Exception, login: Login, ssl: bool) -> BatcatError:
    place, detail = f"Redshift at {login.host}:{login.port}", _detail(error)
    said = str(detail.get("M") or ": ".join(map(str, error.args)) or type(error).__name__)
    reason = said.replace(login.password or "\0", "***").rstrip(".")
    if detail.get("C") in _WRONG_LOGIN:
        return CredentialsError(
            f"{place} does not accept the user {login.user!r} with this password ({reason}).",
            fix="Check user and password; for a secret, whether it was rotated.",
        )
    if detail:
        what, fix = f"refused the connection: {reason}", "Check database and user."
    elif "refuses SSL" in reason:
        what, fix = "does not encrypt", "Check the port; or give ssl=False if that is right."
    elif ssl and "certificate" in reason.lower():
        what = f"has a certificate that is not trusted: {reason}"
        fix = "Give the cluster's own host name, and not an address or a tunnel."
    else:
        what = f"cannot be reached: {reason}"
        fix = "Check host and port. A cluster inside a VPC lets nobody in from outside: use "
        fix += "read_data_from_redshift_by_secret, which needs no connection to it."
    return ConnectError(f"{place} {what}.", fix=fix)


def _execute_error(error: BaseException, query: str, before: int) -> BatcatError:
    detail = _detail(error)
    reason = ". ".join(str(detail[key]) for key in ("M", "D", "H") if detail.get(key))
    if detail.get("C") == _CANCELLED or isinstance(error, TimeoutError):
        return QueryTimeoutError(
            f"Redshift ended the query: {reason or 'no answer in time'}.",
            fix="Give a longer `timeout`, or read less: fewer days, fewer columns.",
        )
    if not detail:
        return ConnectError(
            f"The connection to Redshift broke: {error}.", fix="Try again; check the network."
        )
    position = str(detail.get("P", ""))
    return refusal(reason, query, int(position) - before if position.isdigit() else None)
