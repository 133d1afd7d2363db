"""Saving a table as a dataset: Parquet under a prefix, in folders by partition, known to Athena.

S3 cannot replace many objects at once, and Glue can switch one table or one partition at once. So:

1. all files are written where no reader of the table looks yet, or, when appending, one complete
   object to each partition;
2. then the catalogue is switched: a table without partitions in one request, a partition never seen
   half;
3. only then are the objects that were replaced deleted.

A failure in 1 or 2 takes back the catalogue's changes and deletes the new files. A process that is
killed leaves files behind that no table points to, but for appended ones.
"""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from batcat_runtime.errors import BatcatError, UserError
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.io.glue import (
    Changes,
    GlueTable,
    check_same_columns,
    storage,
    table_definition,
)
from batcat_runtime.io.hive import (
    HiveTable,
    folder,
    hive_table,
    partition_values,
    partitions,
)
from batcat_runtime.io.places import check_bucket
from batcat_runtime.io.upload import delete_keys, object_settings, owner_of
from batcat_runtime.log import get_logger

if TYPE_CHECKING:
    import boto3
    import pandas as pd
    import pyarrow as pa

    from batcat_runtime.io.upload import Target

Mode = Literal["append", "overwrite", "overwrite_partitions"]


def save_dataset(
    df: pd.DataFrame,
    bucket: str,
    prefix: str,
    *,
    database: str,
    table: str,
    partition_columns: Sequence[str] = (),
    mode: Mode = "append",
    compression: str | None = "snappy",
    encryption: str | None = None,
    kms_key_id: str | None = None,
    bucket_key: bool | None = None,
    metadata: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    expected_bucket_owner: str | None = None,
    boto3_session: boto3.Session | None = None,
) -> list[str]:
    """Save a table as Parquet that Athena can query at once.

    Parameters
    ----------
    df : pandas.DataFrame
        The table. An index with names is saved as columns. Column names become lower case.
    bucket, prefix : str
        Where the table's files lie: the bucket's name, and a prefix that belongs to this table
        alone.
    database, table : str
        The table in Glue's catalogue. The database must exist; the table is created if it is not
        there.
    partition_columns : sequence of str
        Columns that become folders, such as ``day=2022-01-01/``, outermost first. Texts, integers,
        dates or booleans.
    mode : {"append", "overwrite", "overwrite_partitions"}
        Add the rows to the table; or replace the table, also by other columns; or replace the
        partitions that occur in `df` and leave the others alone.
    compression : {"snappy", "zstd", "gzip"} or None
        Inside the files.
    encryption, kms_key_id, bucket_key, metadata, tags, expected_bucket_owner, boto3_session
        As for `save_to_bucket`.

    Returns
    -------
    list of str
        The ``s3://`` addresses of the objects that were written: one a partition.

    Raises
    ------
    UserError
        An argument is impossible, there is no such database, or the table lies elsewhere; nothing
        was written.
    DataFormatError
        A column does not fit Athena, or not the table that rows are added to.
    NoSuchBucketError, AccessDeniedError, CredentialsError, ConnectError, ServiceError
        AWS refused; the table is as it was, and what was written has been deleted.

    Notes
    -----
    What a query of Athena sees while a save is under way: of a partition (or of a table without
    partitions) the old rows or the new ones, never both and never a part. Across partitions, a
    query that starts during the few requests of the switch can see some old and some new. A query
    that started before an overwrite and still reads fails when its files are deleted; run it again.
    Who lists the prefix instead of asking the catalogue has no such promise during an overwrite.

    Overwriting puts the new files into a folder of their own below the prefix, so the table's (or
    the partitions') location in Glue changes.

    Examples
    --------
    >>> save_dataset(
    ...     frame,
    ...     "2022-rnd-battery",
    ...     "usage/",
    ...     database="dw_bms",
    ...     table="battery_usage",
    ...     partition_columns=["day"],
    ... )  # doctest: +SKIP
    ['s3://2022-rnd-battery/usage/day=2022-01-01/20220801T020000-1f0c9a7e.parquet']
    """
    from batcat_runtime.io.clients import client
    from batcat_runtime.io.upload import Target

    _check(bucket, prefix, database, table, partition_columns, mode)
    frame = _without_index(df)
    hive = hive_table(frame, partition_columns)
    settings = object_settings(
        encryption=encryption,
        kms_key_id=kms_key_id,
        bucket_key=bucket_key,
        metadata=metadata,
        tags=tags,
    )
    settings["ContentType"] = "application/vnd.apache.parquet"
    target = Target(
        client("s3", boto3_session), bucket, "", owner_of(expected_bucket_owner), settings
    )
    base = f"s3://{bucket}/{prefix.strip('/')}/"
    catalogue = GlueTable(client("glue", boto3_session), database, table)
    plan = _planned(catalogue, hive, base, mode)
    if plan.definition is not None and partition_columns:
        wanted = None if mode == "overwrite" else partition_values(frame, partition_columns)
        plan.old = catalogue.partitions(wanted)
    parts = partitions(frame, hive, partition_columns)
    return _saved(plan, parts, target, compression)


@dataclass
class _Plan:
    """What there is, what is to be, and what was written so far."""

    catalogue: GlueTable
    hive: HiveTable
    mode: Mode
    base: str
    fresh: str
    definition: dict[str, Any] | None
    written: dict[tuple[str, ...], str] = field(default_factory=dict)
    old: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)


def _planned(catalogue: GlueTable, hive: HiveTable, base: str, mode: Mode) -> _Plan:
    definition = catalogue.found()
    if definition is not None:
        there = definition["StorageDescriptor"].get("Location", "")
        if not (there.rstrip("/") + "/").startswith(base):
            raise UserError(
                f"The Glue table {catalogue.database}.{catalogue.name} lies at {there}, not under "
                f"{base}.",
                fix="Give its own bucket and prefix, or another table's name.",
            )
        check_same_columns(catalogue, definition, hive, only_partitions=mode == "overwrite")
    # an overwrite never writes to where anything may lie already
    fresh = base if mode == "append" else f"{base}{_unique()}/"
    return _Plan(catalogue, hive, mode, base, fresh, definition)


def _saved(
    plan: _Plan,
    parts: Iterator[tuple[tuple[str, ...], pa.Table]],
    target: Target,
    compression: str | None,
) -> list[str]:
    changes = Changes(plan.catalogue)
    try:
        _write(plan, parts, target, compression)
        _switch(plan, changes)
    except BaseException:
        if changes.undo():
            delete_keys(target, list(plan.written.values()))
        raise
    _delete_replaced(plan, target)
    return sorted(f"s3://{target.bucket}/{key}" for key in plan.written.values())


def _write(
    plan: _Plan,
    parts: Iterator[tuple[tuple[str, ...], pa.Table]],
    target: Target,
    compression: str | None,
) -> None:
    from batcat_runtime.io.parquet_write import parquet_pieces
    from batcat_runtime.io.upload import stream_object

    name = f"{_unique()}.parquet"
    for values, rows in parts:
        location = _location(plan, values)
        if not rows.num_rows:
            continue
        key = location.removeprefix(f"s3://{target.bucket}/") + name
        # noted before it is written: a save that fails late may have left it all the same
        plan.written[values] = key
        pieces = parquet_pieces(rows, index=False, compression=compression)
        stream_object(replace(target, key=key), pieces)


def _location(plan: _Plan, values: tuple[str, ...]) -> str:
    """Return where a partition's new file goes; an appended one goes to where the others are."""
    location = plan.fresh + folder(plan.hive, values)
    if plan.mode == "append" and plan.definition is not None:
        if not values:
            location = plan.definition["StorageDescriptor"]["Location"]
        elif values in plan.old:
            location = plan.old[values]["StorageDescriptor"]["Location"]
    return location.rstrip("/") + "/"


def _switch(plan: _Plan, changes: Changes) -> None:
    """Make the catalogue point to the new files."""
    catalogue, hive = plan.catalogue, plan.hive
    partitioned = bool(hive.partition_columns)
    new = table_definition(catalogue.name, hive, plan.base if partitioned else plan.fresh)
    if plan.definition is None:
        changes.create_table(new)
    elif plan.mode == "overwrite":
        new["Parameters"] = {**plan.definition.get("Parameters", {}), **new["Parameters"]}
        changes.update_table(plan.definition, new)
    if not partitioned:
        return
    entries = {
        values: {
            "Values": list(values),
            "StorageDescriptor": storage(hive, plan.fresh + folder(hive, values)),
        }
        for values in plan.written
    }
    changes.create_partitions([one for values, one in entries.items() if values not in plan.old])
    if plan.mode == "append":
        return
    changes.update_partitions(
        plan.old, [one for values, one in entries.items() if values in plan.old]
    )
    changes.delete_partitions([one for values, one in plan.old.items() if values not in entries])


def _delete_replaced(plan: _Plan, target: Target) -> None:
    """Delete the objects that no longer belong to the table; they are out of every reader's way."""
    if plan.mode == "append" or plan.definition is None:
        return
    if plan.hive.partition_columns:
        descriptors = [one["StorageDescriptor"] for one in plan.old.values()]
    else:
        descriptors = [plan.definition["StorageDescriptor"]]
    new = set(plan.written.values())
    for one in descriptors:
        location = one["Location"].rstrip("/") + "/"
        if not location.startswith(plan.base):
            get_logger().warning("%s was replaced but lies elsewhere, so it was kept", location)
            continue
        old = _keys_below(target, location.removeprefix(f"s3://{target.bucket}/"))
        delete_keys(target, [key for key in old if key not in new])


def _keys_below(target: Target, prefix: str) -> list[str]:
    """Return all keys under a prefix; none, and a line in the log, if AWS refuses."""
    where = f"s3://{target.bucket}/{prefix}"
    try:
        with translated(where, "s3:ListBucket"):
            pages = target.client.get_paginator("list_objects_v2").paginate(
                Bucket=target.bucket, Prefix=prefix, **target.owner
            )
            return [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    except BatcatError as error:
        get_logger().warning("What lies under %s cannot be deleted: %s", where, error)
        return []


def _unique() -> str:
    return f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"


def _without_index(df: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    if not isinstance(df, pd.DataFrame):
        raise UserError(
            f"A {type(df).__name__} is no DataFrame.",
            fix="Give a pandas DataFrame; an Arrow table becomes one with `.to_pandas()`.",
        )
    if df.columns.nlevels > 1:
        raise UserError(
            f"The table has {df.columns.nlevels} levels of column names; Athena has one.",
            fix="Join them: df.columns = ['_'.join(map(str, names)) for names in df.columns].",
        )
    named = any(name is not None for name in df.index.names)
    return df.reset_index() if named else df


def _check(
    bucket: str,
    prefix: str,
    database: str,
    table: str,
    partition_columns: Sequence[str],
    mode: str,
) -> None:
    check_bucket(bucket)
    if not prefix.strip("/"):
        raise UserError(
            "The dataset needs a prefix of its own.", fix="For example 'usage/', not ''."
        )
    for what, name in (("database", database), ("table", table)):
        if not re.fullmatch(r"[a-z0-9_]{1,255}", name):
            raise UserError(
                f"{name!r} is no name of a {what} that Athena can query.",
                fix="Use lower-case letters, digits and underscores, for example 'battery_usage'.",
            )
    if isinstance(partition_columns, str):
        raise UserError(
            f"partition_columns is one text, {partition_columns!r}.",
            fix=f"Give a list: [{partition_columns!r}].",
        )
    if mode not in ("append", "overwrite", "overwrite_partitions"):
        raise UserError(
            f"There is no mode {mode!r}.",
            fix="Give 'append', 'overwrite' or 'overwrite_partitions'.",
        )
    if mode == "overwrite_partitions" and not partition_columns:
        raise UserError(
            "mode='overwrite_partitions' needs partition_columns.", fix="Give them, or 'overwrite'."
        )
