"""COPY and UNLOAD of Parquet: objects of S3 into a table, and a query's rows into objects.

S3 is asked with the rights of the role, or of the keys, that the statement names. Parquet is loaded
as strictly as Redshift does it: by position, and a file's type must be the column's own.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ...clients import Clients
from ..rules import trusts
from .engine import literal, quoted
from .objects import Objects, StoredObject, split_location
from .redshift_errors import RedshiftError, syntax_error
from .redshift_sql import Relation, Translated, tokens_of
from .redshift_types import Columns, RedshiftType
from .writing import write_files

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

TrustPolicy = Callable[[str, str], dict[str, Any] | None]
_ROLE = re.compile(r"arn:(aws[a-z-]*):iam::\d{12}:role/[\w+=,.@/-]+")
_KEYS = ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN")
_VALUED = {"FORMAT", "IAM_ROLE", "MAXFILESIZE", "PARALLEL", "REGION", *_KEYS}
_FLAGS = {"ALLOWOVERWRITE", "COMPUPDATE", "ENCRYPTED", "PARQUET"}
_FLAGS |= {"SERIALIZETOJSON", "STATUPDATE"}
_NOT_PERFORMED = {"CLEANPATH", "KMS_KEY_ID", "MANIFEST", "PARTITION BY"}
_FILLERS = {"AS", "BY", "FALSE", "GB", "MB", "OFF", "ON", "TRUE"}
_NOT_EMPTY = (
    "ERROR: Specified unload destination on S3 is not empty. Consider using a different bucket / "
    "prefix, manually removing the target files in S3, or using the ALLOWOVERWRITE option."
)


@dataclass(frozen=True)
class Access:
    """A cluster's way to S3.

    Attributes
    ----------
    clients : Clients
        The server's own.
    home : pathlib.Path
        The server's work directory.
    region, partition : str
        Where the cluster is.
    roles : tuple of str
        The roles that it has, the default one first.
    trust_policy : callable
        From region and role ARN to the role's trust policy, or None without such a role.
    """

    clients: Clients
    home: Path
    region: str
    partition: str
    roles: tuple[str, ...]
    trust_policy: TrustPolicy

    def copy(
        self,
        connection: duckdb.DuckDBPyConnection,
        sql: str,
        table: Callable[[tuple[str, ...]], Relation],
    ) -> int:
        """Perform COPY; returns how many rows were loaded."""
        words = _Words(sql, 1)
        relation = table(tuple(words.names()))
        columns = [relation.column(name) for name in words.group()] or list(relation.columns)
        words.expect("FROM")
        location = words.text()
        options = words.options()
        objects = self._objects(options, "COPY")
        self._check_region(location, options)
        total = 0
        for stored in self._sources(objects, location):
            path = objects.file(self.region, stored)
            _check_schema(path, stored, [(column.name, column.type) for column in columns])
            places = [f"c{number}" for number in range(len(columns))]
            values = ", ".join(
                f"to_json({place})" if column.type.name == "super" else place
                for place, column in zip(places, columns, strict=True)
            )
            names = ", ".join(quoted(column.name) for column in columns)
            count = connection.execute(
                f"INSERT INTO {relation.sql} ({names}) SELECT {values} "
                f"FROM read_parquet({literal(str(path))}) AS s({', '.join(places)})"
            ).fetchall()
            total += int(count[0][0])
        return total

    def unload(
        self,
        connection: duckdb.DuckDBPyConnection,
        sql: str,
        query: Callable[[str], tuple[Translated, Columns]],
    ) -> int:
        """Perform UNLOAD; returns how many rows were written."""
        words = _Words(sql, 1)
        words.expect("(")
        text = words.text()
        words.expect(")", "TO")
        location = words.text()
        options = words.options()
        translated, columns = query(text)
        names = [name for name, _ in columns]
        for name in names:
            if names.count(name) > 1:
                raise RedshiftError(
                    f'ERROR: duplicate column name "{name}" is not supported with PARQUET'
                )
        objects = self._objects(options, "UNLOAD")
        self._check_region(location, options)
        self._check_empty(objects, location, options)
        folder = self.home / "redshift" / uuid.uuid4().hex
        plain = ", ".join(
            f"CAST({quoted(name)} AS VARCHAR) AS {quoted(name)}"
            if kind.name == "super"
            else quoted(name)
            for name, kind in columns
        )
        select = f"SELECT {plain} FROM ({translated.sql})"
        try:
            rows = write_files(connection, select, folder)
            self._upload(objects, folder, location, options)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return rows

    def _objects(self, options: dict[str, str], verb: str) -> Objects:
        """Return S3 as the role or the keys of a statement may use it."""
        if "ACCESS_KEY_ID" in options:
            key, secret, token = (options.get(name, "") for name in _KEYS)
            return Objects(Clients(self.clients.endpoint_url, (key, secret, token)), self.home)
        given = options.get("IAM_ROLE")
        if given is None:
            raise RedshiftError(f"ERROR: {verb} requires an IAM_ROLE: none was given")
        if given.lower() == "default":
            if not self.roles:
                raise RedshiftError(
                    "ERROR: Cannot find default IAM role. Please set an IAM role as the default "
                    "for the cluster."
                )
            given = self.roles[0]
        match = _ROLE.fullmatch(given)
        if match is None or match[1] != self.partition:
            raise RedshiftError(f"ERROR: Invalid IAM role ARN '{given}'")
        policy = self.trust_policy(self.region, given)
        services = ("redshift.amazonaws.com", "redshift-serverless.amazonaws.com")
        if policy is None or not any(trusts(policy, service) for service in services):
            raise RedshiftError(
                f"ERROR: User arn:{self.partition}:redshift:{self.region}:123456789012:"
                f"dbuser:warehouse/user is not authorized to assume IAM Role {given}"
            )
        return Objects(self.clients.as_role(given, self.region, "redshift"), self.home)

    def _check_region(self, location: str, options: dict[str, str]) -> None:
        """Refuse a bucket of another region, unless the statement names that region."""
        try:
            bucket, _ = split_location(location)
            answer = self.clients.get("s3", self.region).get_bucket_location(Bucket=bucket)
        except ValueError as error:
            raise RedshiftError(f"ERROR: The S3 location '{location}' is not valid") from error
        found = answer.get("LocationConstraint") or "us-east-1"
        if found != options.get("REGION", self.region):
            raise RedshiftError(
                "ERROR: S3ServiceException:The S3 bucket addressed by the query is in a different "
                f"region from this cluster.,Status 301,Error PermanentRedirect: {bucket} is in "
                f"{found}"
            )

    def _sources(self, objects: Objects, location: str) -> list[StoredObject]:
        found = [one for one in objects.under(self.region, location) if not one.key.endswith("/")]
        if not found:
            _, prefix = split_location(location)
            raise RedshiftError(f"ERROR: The specified S3 prefix '{prefix}' does not exist")
        return found

    def _check_empty(self, objects: Objects, location: str, options: dict[str, str]) -> None:
        """See that the destination may be written to."""
        if "ALLOWOVERWRITE" not in options and objects.under(self.region, location):
            raise RedshiftError(_NOT_EMPTY)

    def _upload(
        self, objects: Objects, folder: Path, location: str, options: dict[str, str]
    ) -> None:
        parallel = options.get("PARALLEL", "").upper() not in ("OFF", "FALSE")

        def named(inside: Path, number: int) -> str:
            return f"{number:04d}_part_00.parquet" if parallel else f"{number:03d}.parquet"

        list(objects.upload(self.region, folder, location, named))


class _Words:
    """The words of COPY or UNLOAD, read from left to right."""

    def __init__(self, sql: str, at: int) -> None:
        self._sql, self._at, self._tokens = sql, at, tokens_of(sql)

    def next(self) -> Any:
        if self._at >= len(self._tokens):
            raise syntax_error(self._sql, len(self._sql))
        self._at += 1
        return self._tokens[self._at - 1]

    def take(self, word: str) -> bool:
        """Read a word if it comes next."""
        found = self._at < len(self._tokens) and self._tokens[self._at].text.upper() == word
        self._at += found
        return found

    def expect(self, *words: str) -> None:
        for word in words:
            if not self.take(word):
                raise syntax_error(self._sql, self.next().start)

    def text(self) -> str:
        """Read a literal."""
        token = self.next()
        if token.token_type.name not in ("STRING", "HEREDOC_STRING"):
            raise syntax_error(self._sql, token.start)
        return str(token.text)

    def names(self) -> list[str]:
        """Read a dotted name, folded."""
        names = [self.next().text.lower()]
        while self.take("."):
            names.append(self.next().text.lower())
        return names

    def group(self) -> list[str]:
        """Read names in parentheses, if they come next."""
        names = []
        if self.take("("):
            while not self.take(")"):
                names += self.names()
                self.take(",")
        return names

    def options(self) -> dict[str, str]:
        """Read the rest: options and their values, by names in capitals."""
        found: dict[str, str] = {}
        while self._at < len(self._tokens):
            token = self.next()
            name = token.text.upper()
            if name in _VALUED:
                self.take("AS")
                found[name] = str(self.next().text)
            elif name in _FLAGS:
                found[name] = name
            elif name in _NOT_PERFORMED:
                raise RedshiftError(
                    f"ERROR: The embedded AWS does not perform COPY and UNLOAD with {name}"
                )
            elif name not in _FILLERS:
                raise syntax_error(self._sql, token.start)
        form = found.get("FORMAT", found.get("PARQUET", "text"))
        if form.upper() != "PARQUET":
            raise RedshiftError(
                "ERROR: The embedded AWS does COPY and UNLOAD of PARQUET only (FORMAT AS PARQUET), "
                f"not of {form}"
            )
        return found


@contextlib.contextmanager
def s3_in_redshift_words() -> Iterator[None]:
    """Say what Redshift says when S3 refuses a request."""
    try:
        yield
    except ClientError as error:
        told = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
        raise RedshiftError(
            f"ERROR: S3ServiceException:{told.get('Message')},Status {status},"
            f"Error {told.get('Code')}"
        ) from error


def _check_schema(path: Path, stored: StoredObject, columns: Sequence[Any]) -> None:
    """Refuse a file whose columns are not the table's, as Redshift does."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    place = f"https://s3.amazonaws.com/{stored.bucket}/{stored.key}"
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise _scan_error(f"File '{place}' has an invalid version number.") from error
    if len(schema) != len(columns):
        raise _scan_error(
            f"Unmatched number of columns between table and file. Table columns: {len(columns)}, "
            f"Data columns: {len(schema)}, File name: {place}"
        )
    for (name, kind), found in zip(columns, schema, strict=True):
        if not _is_compatible(kind, found.type):
            raise _scan_error(
                f"File '{place}' has an incompatible Parquet schema for column '{stored.uri}."
                f"{name}'. Column type: {kind.sql.upper()}, Parquet schema: optional {found.type} "
                f"{found.name}"
            )


def _scan_error(detail: str) -> RedshiftError:
    return RedshiftError(f"ERROR: Spectrum Scan Error\n  Detail: {detail}")


def _is_compatible(kind: RedshiftType, found: pa.DataType) -> bool:
    """Tell whether COPY loads a Parquet column of this type into a column of that."""
    import pyarrow.types as t

    if t.is_dictionary(found):
        found = found.value_type
    if t.is_null(found):
        return True
    if kind.name == "numeric":
        return bool(t.is_decimal(found) and found.scale == kind.scale)
    if kind.name == "super" and t.is_nested(found):
        return True
    return str(found).partition("[")[0].removeprefix("large_") in _PARQUET.get(kind.name, ())


_INTEGERS = ("int8", "int16", "int32")
_PARQUET = {  # Arrow's names of the types that COPY loads into a column
    **{"int2": _INTEGERS, "int4": _INTEGERS, "int8": ("int64",)},
    **{"float4": ("float",), "float8": ("double",), "bool": ("bool",)},
    **{"varchar": ("string",), "bpchar": ("string",), "super": ("string",)},
    **{"date": ("date32", "date64"), "varbyte": ("binary",)},
    **{"timestamp": ("timestamp",), "timestamptz": ("timestamp",)},
}
