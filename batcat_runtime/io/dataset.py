"""Saving a table as a dataset: Parquet under a prefix, in folders by partition, known to Athena.

S3 cannot replace many objects at once, and Glue can switch one table or one partition at once. So:

1. All files go into a fresh folder, ``<prefix>/<name of the save>/``, to which no table points.
   ``<prefix>/_unfinished/<name of the save>`` says what is about to be replaced by what; while it
   is there, BatCat's readers of the prefix leave that folder out (`batcat_runtime.io.places`).
   Rows for a partition or a table that is there are added to it as one complete object each.
2. A first save creates the table, an overwrite changes it by UpdateTable with the version that it
   saw: of several at once one wins, and the others take their files away. For a table without
   partitions this is the switch.
3. Partitions are made, moved and taken out, in this order, up to 100 by one request. Then the save
   looks whether they lie where it wants them; if another save came in between, it takes its own
   back. An append starts over then, and the others fail.
4. One request deletes the mark and the objects that were replaced (one for each 1,000 objects).

Each of these steps leaves a right state behind, so a save that is killed needs no log of what to
undo. Killed in 1, it leaves the old table and a hidden folder; the next overwrite deletes that (or,
after a week, any save: a folder of `overwrite_partitions` may belong to one that is still alive).
Killed in 2 or 4, it leaves the new table to the catalogue and the old one to readers of the prefix,
until the next save does step 4 in its place. Killed in 3, it leaves each partition old or new, to
the catalogue; overwriting again puts that right. Glue has no request for many partitions.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from batcat_runtime.errors import (
    AccessDeniedError,
    BatcatError,
    DataFormatError,
    NoSuchObjectError,
    ObjectChangedError,
    UserError,
)
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.io.catalogue import GlueTable, Values, dataset_table, location
from batcat_runtime.io.parquet_write import parquet_pieces
from batcat_runtime.io.places import check_bucket
from batcat_runtime.io.upload import (
    Target,
    delete_keys,
    object_settings,
    owner_of,
    stream_object,
)
from batcat_runtime.log import get_logger

if TYPE_CHECKING:
    import boto3
    import pandas as pd
    import pyarrow as pa

Mode = Literal["append", "overwrite", "overwrite_partitions"]

_TRIES = 20
_KEPT = dt.timedelta(days=7)


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
        A column does not fit Athena, or not the table that rows are added to; nothing was written.
    ObjectChangedError
        Another save of the table or of these partitions came in between.
    NoSuchBucketError, AccessDeniedError, CredentialsError, ConnectError, ServiceError
        AWS refused; the table is as it was, and what was written has been deleted, or the message
        says what may be there.

    Notes
    -----
    What a query of Athena sees while a save is under way: of a partition (or of a table without
    partitions) the old rows or the new ones, never both and never a part. Across partitions, a
    query that starts during the few requests of the switch can see some old and some new. A query
    that started before an overwrite and still reads fails when its files are deleted; run it again.
    `read_parquet_from_bucket` of the prefix sees the old table or the new one, also when a save was
    killed (if at most 999 objects are replaced; more take several requests). Other tools that list
    the prefix may see both while an overwrite is under way.

    Overwriting puts the new files into a folder of their own below the prefix, so the table's (or
    the partitions') location in Glue changes. Of several saves that overwrite a table at once one
    wins; appends at once all add their rows, and saves that overwrite different partitions do not
    disturb each other.

    Partitions: a gap is ``__HIVE_DEFAULT_PARTITION__``, as for Hive; an empty text is refused,
    since Athena could not tell it from a gap. Files carry the types of these columns, so that
    `read_parquet_from_bucket` gives the types that Athena does.

    Rows that are added take the types of the table, where that changes no value.

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
    ['s3://2022-rnd-battery/usage/20220801T020000-1f0c9a7e/day=2022-01-01/20220801T020000-1f0c9a7e.parquet']
    """
    from batcat_runtime.io.clients import client

    _check(bucket, prefix, database, table, partition_columns, mode)
    frame = _without_index(df)
    settings = object_settings(
        encryption=encryption,
        kms_key_id=kms_key_id,
        bucket_key=bucket_key,
        metadata=metadata,
        tags=tags,
    )
    settings["ContentType"] = "application/vnd.apache.parquet"
    owner = owner_of(expected_bucket_owner)
    s3, glue = client("s3", boto3_session), client("glue", boto3_session)
    target = Target(s3, bucket, f"{prefix.strip('/')}/", owner, settings)
    for attempt in range(1, _TRIES + 1):
        save = _Save(GlueTable(glue, database, table), target, mode, compression)
        try:
            return _saved(save, frame, partition_columns)
        except ObjectChangedError:
            if mode != "append" or attempt == _TRIES:
                raise
    raise AssertionError


@dataclass
class _Save:
    """One try to save: where to, and the keys that it wrote so far."""

    glue: GlueTable
    target: Target  # its key is the prefix
    mode: Mode
    compression: str | None
    written: list[str] = field(default_factory=list)
    name: str = field(
        default_factory=lambda: f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
    )

    def folder(self, name: str) -> str:
        """Return where the fresh files of a save lie."""
        return f"{self.target.uri}{name}/"

    def mark(self, name: str) -> str:
        """Return the key of what says that a save is not finished, and what it is about to do."""
        return f"{self.target.key}_unfinished/{name}"

    def listed(self, place: str) -> dict[str, dt.datetime]:
        """Return the keys that lie at an address, and since when."""
        prefix = place.removeprefix(f"s3://{self.target.bucket}/")
        # wr.s3.list_objects takes a "[" in the prefix for a pattern
        with translated(place, "s3:ListBucket"):
            pages = self.target.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.target.bucket, Prefix=prefix, **self.target.owner
            )
            found = [entry for page in pages for entry in page.get("Contents", [])]
        return {entry["Key"]: entry["LastModified"] for entry in found}


def _saved(save: _Save, frame: pd.DataFrame, partition_columns: Sequence[str]) -> list[str]:
    """Save once; an ObjectChangedError if another save came in between."""
    glue, definition, whole = save.glue, save.glue.found(), save.mode == "overwrite"
    known = _known_types(save, frame, partition_columns, definition)
    table = dataset_table(frame, partition_columns, known, glue.title)
    old = _places(save, definition, None if whole else list(table.groups))
    doomed, left = _unfinished(save, definition, old)
    kept = old if save.mode == "append" else {}
    fresh = save.folder(save.name)
    wanted = {values: kept.get(values, fresh + table.folder(values)) for values in table.groups}
    moved = {values: place for values, place in wanted.items() if values not in kept}
    replaced = [*left, *(() if kept else old.items())]
    claims = whole or definition is None
    stage = "writing"
    try:
        if moved or claims:
            _note(save, {"claims": claims, "moved": [*moved.items()], "replaced": replaced})
        for values, place in wanted.items():
            _write(save, table.part(values), place)
        stage = "claiming"
        if claims:
            glue.put(table.definition(fresh), definition)
        stage = "moving"
        if table.keys:
            gone = [values for values in old if whole and values not in moved]
            replaced += glue.move_partitions(moved, gone).items()
        if not whole and _places(save, glue.found(), [*wanted]) != wanted:
            raise glue.changed()
    except BaseException as error:
        harmless = stage == "writing" or not (moved or claims)
        refused = isinstance(error, (AccessDeniedError, ObjectChangedError))
        if harmless or (refused and (stage == "claiming" or not whole)):
            _take_back(save, moved if table.keys and stage == "moving" else {}, old)
        elif isinstance(error, BatcatError):
            error.message += (
                f" The new files stay under {fresh}, and {glue.title} may point to some of them "
                "already; the next save deletes what does not belong to the table then."
            )
        raise
    if moved or claims:
        _tidy(save, save.name, [place for _, place in replaced], fresh)
    for name in doomed:
        _tidy(save, name, [save.folder(name)], fresh)
    return sorted(f"s3://{save.target.bucket}/{key}" for key in save.written)


def _known_types(
    save: _Save,
    frame: pd.DataFrame,
    partition_columns: Sequence[str],
    definition: Mapping[str, Any] | None,
) -> dict[str, str]:
    """Return the types that the table has already, and refuse a DataFrame with other columns."""
    names = list(map(str, frame.columns))
    missing = [name for name in partition_columns if name not in names]
    if missing or len(set(partition_columns)) == len(names):
        raise UserError(
            f"There is no column {missing[0]!r} to partition by."
            if missing
            else "All columns are partition columns, so the files would be empty.",
            fix=f"Choose some of: {', '.join(names)}.",
        )
    if definition is None:
        return {}
    if not location(definition).startswith(save.target.uri):
        raise UserError(
            f"{save.glue.title} lies at {location(definition)}, not under {save.target.uri}.",
            fix="Give its own bucket and prefix, or another table's name.",
        )
    keys, columns = (
        {column["Name"]: column["Type"].replace(" ", "") for column in described}
        for described in (
            definition.get("PartitionKeys", []),
            definition["StorageDescriptor"]["Columns"],
        )
    )
    if [*keys] != [name.lower() for name in partition_columns]:
        raise DataFormatError(
            f"{save.glue.title} is partitioned by {', '.join(keys) or 'nothing'}.",
            fix="Give the same partition_columns in the same order, or delete the table first.",
        )
    if save.mode == "overwrite":
        return keys
    here, there = {name.lower() for name in names}, {**columns, **keys}
    for name in sorted(here ^ there.keys()):
        where, other = ("the data", save.glue.title)[:: 1 if name in here else -1]
        raise DataFormatError(
            f"Column {name!r} is in {where}, and missing in {other}.",
            fix="Add or drop it, or replace the whole table with mode='overwrite'.",
        )
    return there


def _places(
    save: _Save, definition: Mapping[str, Any] | None, wanted: list[Values] | None
) -> dict[Values, str]:
    """Return where the table's partitions lie; a table without any is one without values."""
    if definition is None:
        return {}
    if definition.get("PartitionKeys"):
        return save.glue.partitions(wanted)
    return {(): location(definition)}


def _unfinished(
    save: _Save, definition: Mapping[str, Any] | None, old: Mapping[Values, str]
) -> tuple[list[str], list[tuple[Values, str]]]:
    """Look after the saves that left a mark.

    One that the catalogue knows already is finished in its place. Of the others are returned:
    those that can only fail, once this one has won, and what they wanted to replace.
    """
    doomed, left = [], []
    whole, week_ago = save.mode == "overwrite", dt.datetime.now(dt.UTC) - _KEPT
    here = [*old.values(), *([location(definition)] if definition else [])]
    for key, since in save.listed(f"{save.target.uri}_unfinished/").items():
        name = key.rpartition("/")[2]
        is_known = any(place.startswith(save.folder(name)) for place in here)
        if since < week_ago and not is_known:
            doomed.append(name)
        plan = _noted(save, name) if whole or is_known else None
        if plan is None:
            continue
        moved, replaced = (
            [(tuple(values), place) for values, place in plan[part]]
            for part in ("moved", "replaced")
        )
        now = _places(save, definition, list(dict([*moved, *replaced])))
        if is_known and now.items() >= dict(moved).items():
            gone = [place for values, place in replaced if now.get(values) != place]
            _tidy(save, name, gone, save.folder(name))
            continue
        left += [(values, place) for values, place in replaced if whole or values in old]
        if whole and plan["claims"]:
            doomed.append(name)
    return doomed, left


def _note(save: _Save, plan: Mapping[str, Any]) -> None:
    mark = replace(save.target, key=save.mark(save.name))
    settings = {**mark.settings, "ContentType": "application/json"}
    with translated(mark.uri, "s3:PutObject"):
        mark.client.put_object(
            Bucket=mark.bucket,
            Key=mark.key,
            Body=json.dumps(plan).encode(),
            **mark.owner,
            **settings,
        )


def _noted(save: _Save, name: str) -> dict[str, Any] | None:
    """Return what another save is about to do; None if it has finished in the meantime."""
    mark = replace(save.target, key=save.mark(name))
    with contextlib.suppress(NoSuchObjectError), translated(mark.uri, "s3:GetObject"):
        found = mark.client.get_object(Bucket=mark.bucket, Key=mark.key, **mark.owner)
        return dict(json.loads(found["Body"].read()))
    return None


def _write(save: _Save, rows: pa.Table, place: str) -> None:
    """Save one object; wr.s3.to_parquet publishes half of it on Ctrl-C (test_io_save_atomic)."""
    if not rows.num_rows:
        return
    key = place.removeprefix(f"s3://{save.target.bucket}/") + f"{save.name}.parquet"
    # noted before it is written: a save that fails late may have left it all the same
    save.written.append(key)
    pieces = parquet_pieces(rows, index=False, compression=save.compression)
    stream_object(replace(save.target, key=key), pieces)


def _take_back(save: _Save, moved: Mapping[Values, str], old: Mapping[Values, str]) -> None:
    """Let the partitions that point to this save's files lie where they lay; delete the files."""
    if moved:
        now = save.glue.partitions([*moved])
        ours = [values for values, place in now.items() if place == moved[values]]
        back = {values: old[values] for values in ours if values in old}
        save.glue.move_partitions(back, [values for values in ours if values not in old])
    delete_keys(save.target, [*save.written, save.mark(save.name)])


def _tidy(save: _Save, name: str, places: Sequence[str], kept: str) -> None:
    """Delete a save's mark and what is replaced at once: readers of the prefix see old or new."""
    keys = [save.mark(name)]
    for place in places:
        if not place.startswith(save.target.uri):
            get_logger().warning("%s was replaced but lies elsewhere, so it was kept", place)
            continue
        try:
            found = save.listed(place)
            keys += [
                key for key in found if not f"s3://{save.target.bucket}/{key}".startswith(kept)
            ]
        except BatcatError as error:
            get_logger().warning("What lies under %s cannot be deleted: %s", place, error)
    delete_keys(save.target, keys)


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
