"""A world to rehearse in: files of the project that become tables of the Glue catalogue.

`rehearsal.tables` in the config names them, `{"dw_bms.battery_usage": "data/raw/usage/*.csv"}`.
Whatever a file is, the table is Parquet with the types that DuckDB finds in it.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from batcat_runtime.errors import ConfigError

from .athena_definitions import table_input
from .catalogue import GLUE_CATALOG
from .engine import connect, literal, quoted
from .objects import error_code
from .types import base, duckdb_name, from_duckdb, hive_name

if TYPE_CHECKING:
    import boto3

_NAME = re.compile(r"(?:([a-z0-9_-]+)\.)?([a-z0-9_-]+)\.([a-z0-9_]+)")
_BUCKET = "batcat-rehearsal-tables-{region}"
_READERS = {".csv": "read_csv_auto", ".gz": "read_csv_auto", ".parquet": "read_parquet"}
# Glue has none of these; what a column holds becomes text, or a moment in UTC.
_IN_GLUE = {"time": "VARCHAR", "json": "VARCHAR", "uuid": "VARCHAR", "unknown": "VARCHAR"}


def make_tables(tables: Mapping[str, str], folder: Path, session: boto3.Session) -> list[str]:
    """Make tables of the Glue catalogue out of files.

    Parameters
    ----------
    tables : mapping of str to str
        From a table, as ``database.table`` or ``catalog.database.table``, to a pattern of CSV or
        Parquet files. A catalog becomes a data catalogue of Athena's. Names that begin with
        ``redshift:`` are left to `redshift_world`.
    folder : pathlib.Path
        The project, below which the patterns look.
    session : boto3.Session
        Of the embedded AWS.

    Returns
    -------
    list of str
        The names of the tables, catalogue included.

    Raises
    ------
    ConfigError
        Naming the table, when its name is none, no file is there, or one cannot be read.
    """
    s3, glue, athena = (session.client(name) for name in ("s3", "glue", "athena"))
    bucket = _BUCKET.format(region=session.region_name)
    made = []
    for name, pattern in tables.items():
        if name.startswith("redshift:"):
            continue
        match = _NAME.fullmatch(name)
        if match is None:
            raise _wrong(
                name,
                "is no name of a table",
                "Write database.table in lower case, or put the data "
                "catalog before it: catalog.database.table.",
            )
        catalog, database, table = match[1] or GLUE_CATALOG, match[2], match[3]
        with tempfile.TemporaryDirectory() as temporary:
            file, columns = as_parquet(name, pattern, folder, Path(temporary))
            place = {"CreateBucketConfiguration": {"LocationConstraint": session.region_name}}
            with _unless("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                s3.create_bucket(
                    Bucket=bucket, **(place if session.region_name != "us-east-1" else {})
                )
            s3.upload_file(str(file), bucket, f"{database}/{table}/data.parquet")
        if catalog != GLUE_CATALOG:
            account = session.client("sts").get_caller_identity()["Account"]
            with _unless("InvalidRequestException"):
                parameters = {"catalog-id": account}
                athena.create_data_catalog(Name=catalog, Type="GLUE", Parameters=parameters)
        with _unless("AlreadyExistsException"):
            glue.create_database(DatabaseInput={"Name": database})
        with _unless("EntityNotFoundException"):
            glue.delete_table(DatabaseName=database, Name=table)
        location = f"s3://{bucket}/{database}/{table}/"
        described = table_input(table, columns, location=location)
        glue.create_table(DatabaseName=database, TableInput=described)
        made.append(f"{catalog}.{database}.{table}")
    return made


def as_parquet(
    name: str, pattern: str, folder: Path, target: Path
) -> tuple[Path, list[tuple[str, str]]]:
    """Write the rows of CSV or Parquet files into one Parquet file.

    Parameters
    ----------
    name : str
        The table, for messages.
    pattern : str
        The files, below the folder.
    folder, target : pathlib.Path
        The project, and where the file is written.

    Returns
    -------
    tuple
        The file, and its columns as (name, Hive type): names in lower case.

    Raises
    ------
    ConfigError
        When no file is there, or one cannot be read.
    """
    import duckdb

    files = sorted(path.resolve() for path in folder.glob(pattern) if path.is_file())
    readers = {_READERS.get(path.suffix.lower()) for path in files}
    if not files:
        raise _wrong(name, f"{pattern!r} finds no file in {folder}", "Check the pattern.")
    if None in readers or len(readers) > 1:
        fix = "Give CSV files (.csv, .csv.gz) or Parquet files (.parquet), of one kind."
        raise _wrong(name, f"{pattern!r} finds other files than CSV or Parquet", fix)
    listed = "[" + ", ".join(literal(str(path)) for path in files) + "]"
    source = f"{readers.pop()}({listed}, union_by_name=true)"
    try:
        with connect(target, *{path.parent for path in files}) as connection:
            rows = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
            kinds = {str(row[0]): from_duckdb(str(row[1])) for row in rows}
            chosen = ", ".join(
                f"CAST({quoted(column)} AS {_IN_GLUE.get(base(kind), duckdb_name(kind))}) AS "
                f"{quoted(column.lower())}"
                for column, kind in kinds.items()
            )
            file = target / "data.parquet"
            rows_of = f"SELECT {chosen} FROM {source}"
            connection.execute(f"COPY ({rows_of}) TO {literal(str(file))} (FORMAT parquet)")
    except duckdb.Error as error:
        said = str(error).partition("\n")[0]
        raise _wrong(name, f"{pattern!r} cannot be read: {said}", "Check the files.") from error
    columns = [
        (column.lower(), hive_name(kind).replace(" with time zone", ""))
        for column, kind in kinds.items()
    ]
    return file, columns


def _wrong(name: str, what: str, fix: str) -> ConfigError:
    return ConfigError(f"rehearsal.tables: {name!r} {what}.", fix=fix)


@contextlib.contextmanager
def _unless(*codes: str) -> Any:
    """Go on when a service says that something is there already, or is not there."""
    try:
        yield
    except ClientError as error:
        if error_code(error) not in codes:
            raise
