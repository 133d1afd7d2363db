"""Tables, partitions and storage as the Glue catalogue describes them, parsed once."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from batcat_runtime.errors import DataFormatError

from .hive_types import HiveType, parse_hive_type

_VIEW_START, _VIEW_END = "/* Presto View: ", " */"
_FORMATS = {
    # A part of the SerDe's class name, in lower case: what the objects hold.
    "parquethiveserde": "parquet",
    "lazysimpleserde": "text",
    "opencsvserde": "csv",
    "jsonserde": "json",
    "orcserde": "orc",
    "regexserde": "regex",
}


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    type: HiveType
    comment: str = ""


@dataclass(frozen=True)
class Storage:
    """Where data lies and how it is written.

    Attributes
    ----------
    location : str
        An S3 location; empty for views.
    serde : str
        The class name of the SerDe.
    parameters : mapping of str to str
        The SerDe's properties, on top of the table's.
    """

    location: str
    serde: str
    parameters: Mapping[str, str]

    @property
    def format(self) -> str:
        """One of parquet, text, csv, json, orc, regex.

        Raises
        ------
        DataFormatError
            When the embedded AWS cannot read what the SerDe writes.
        """
        name = self.serde.lower()
        for part, found in _FORMATS.items():
            if part in name:
                return found
        raise DataFormatError(
            f"The embedded AWS cannot read what {self.serde or 'no SerDe'} writes.",
            fix="Use Parquet, ORC, CSV (LazySimpleSerDe, OpenCSVSerde), JSON or RegexSerDe.",
        )

    @property
    def skipped_lines(self) -> int:
        """How many lines of each object are a header."""
        return int(self.parameters.get("skip.header.line.count") or 0)


@dataclass(frozen=True)
class Partition:
    """A partition: its values as text, None for NULL, in the order of the table's keys."""

    values: tuple[str | None, ...]
    storage: Storage


@dataclass(frozen=True)
class Table:
    """A table or view of the Glue catalogue.

    Attributes
    ----------
    catalog, database, name : str
        Its full name, in lower case but for the catalogue.
    columns, keys : tuple of Column
        What the objects hold, and the partition keys.
    view_query : str or None
        The query of a view in Trino's dialect.
    parameters : mapping of str to str
        The table's properties.
    description : dict
        What Glue's GetTable said.
    """

    catalog: str
    database: str
    name: str
    columns: tuple[Column, ...]
    keys: tuple[Column, ...]
    storage: Storage
    view_query: str | None
    parameters: Mapping[str, str]
    description: dict[str, Any] = field(repr=False, compare=False)

    @property
    def all_columns(self) -> tuple[Column, ...]:
        """Every column in the order of ``SELECT *``."""
        return (*self.columns, *self.keys)


def read_table(catalog: str, description: dict[str, Any]) -> Table:
    """Read what Glue's GetTable answered.

    Parameters
    ----------
    catalog : str
        The name of the data catalogue that was asked.
    description : dict
        The member `Table` of the answer.

    Raises
    ------
    DataFormatError
        When a column has a type that does not exist.
    """
    parameters = {str(k): str(v) for k, v in (description.get("Parameters") or {}).items()}
    return Table(
        catalog=catalog,
        database=str(description["DatabaseName"]),
        name=str(description["Name"]),
        columns=_columns(description.get("StorageDescriptor") or {}, "Columns"),
        keys=_columns(description, "PartitionKeys"),
        storage=read_storage(description.get("StorageDescriptor") or {}, parameters),
        view_query=_view_query(description),
        parameters=parameters,
        description=description,
    )


def read_storage(descriptor: dict[str, Any], table_parameters: Mapping[str, str]) -> Storage:
    """Read a StorageDescriptor of a table or a partition.

    Parameters
    ----------
    descriptor : dict
        As Glue keeps it.
    table_parameters : mapping of str to str
        Properties of the table, which a SerDe's own override.
    """
    serde = descriptor.get("SerdeInfo") or {}
    own = {str(k): str(v) for k, v in (serde.get("Parameters") or {}).items()}
    return Storage(
        location=str(descriptor.get("Location") or ""),
        serde=str(serde.get("SerializationLibrary") or ""),
        parameters={**table_parameters, **own},
    )


def encode_view(view: dict[str, Any]) -> str:
    """Return the text under which Athena keeps a view in Glue."""
    data = json.dumps(view).encode()
    return f"{_VIEW_START}{base64.b64encode(data).decode()}{_VIEW_END}"


def decode_view(text: str) -> dict[str, Any]:
    """Return the view that a text in Glue stands for; empty when it is none of Athena's."""
    text = text.strip()
    if not text.startswith(_VIEW_START.rstrip()):
        return {}
    inner = text.removeprefix(_VIEW_START.rstrip()).removesuffix(_VIEW_END.lstrip()).strip()
    try:
        return dict(json.loads(base64.b64decode(inner)))
    except (ValueError, binascii.Error):
        return {}


def _view_query(description: dict[str, Any]) -> str | None:
    if description.get("TableType") != "VIRTUAL_VIEW":
        return None
    text = str(description.get("ViewOriginalText") or "")
    return str(decode_view(text).get("originalSql") or description.get("ViewExpandedText") or text)


def _columns(holder: dict[str, Any], member: str) -> tuple[Column, ...]:
    return tuple(
        Column(
            str(one["Name"]).lower(),
            parse_hive_type(str(one.get("Type") or "string")),
            str(one.get("Comment") or ""),
        )
        for one in holder.get(member) or []
    )
