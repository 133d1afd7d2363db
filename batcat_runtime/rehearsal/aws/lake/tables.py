"""Tables, partitions and views as the Glue catalogue describes them, parsed once."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp

from .types import from_hive

_VIEW_START, _VIEW_END = "/* Presto View: ", " */"


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    type: exp.DataType
    comment: str = ""


@dataclass(frozen=True)
class Partition:
    """A partition: its values as text, None for NULL, in the order of the keys, and its place."""

    values: tuple[str | None, ...]
    location: str


@dataclass(frozen=True)
class Table:
    """A table or view of the Glue catalogue.

    Attributes
    ----------
    columns, keys : tuple of Column
        What the objects hold, and the partition keys.
    location, serde : str
        An S3 location that ends in a slash, and the class name of the SerDe; empty for views.
    parameters : mapping of str to str
        The table's properties, and on top of them the SerDe's.
    view_query : str or None
        The query of a view in Trino's dialect.
    description : dict
        What Glue's GetTable said.
    """

    catalog: str
    database: str
    name: str
    columns: tuple[Column, ...]
    keys: tuple[Column, ...]
    location: str
    serde: str
    parameters: Mapping[str, str]
    view_query: str | None
    description: dict[str, Any] = field(repr=False, compare=False)

    @property
    def full_name(self) -> str:
        """Catalogue, database and name, with dots between."""
        return f"{self.catalog}.{self.database}.{self.name}"

    @property
    def all_columns(self) -> tuple[Column, ...]:
        """Every column in the order of ``SELECT *``."""
        return (*self.columns, *self.keys)

    @property
    def is_projected(self) -> bool:
        """Whether its partitions are computed instead of kept in Glue."""
        return bool(self.keys) and self.parameters.get("projection.enabled", "").lower() == "true"


def encode_view(view: dict[str, Any]) -> str:
    """Return the text under which Athena keeps a view in Glue."""
    return _VIEW_START + base64.b64encode(json.dumps(view).encode()).decode() + _VIEW_END


def read_table(catalog: str, description: dict[str, Any]) -> Table:
    """Read the member `Table` of what Glue's GetTable answered.

    Raises
    ------
    DataFormatError
        When a column has a type that does not exist.
    """
    storage = description.get("StorageDescriptor") or {}
    serde = storage.get("SerdeInfo") or {}
    own = {**(description.get("Parameters") or {}), **(serde.get("Parameters") or {})}
    return Table(
        catalog=catalog,
        database=str(description["DatabaseName"]),
        name=str(description["Name"]),
        columns=_columns(storage.get("Columns")),
        keys=_columns(description.get("PartitionKeys")),
        location=folder(str(storage.get("Location") or "")),
        serde=str(serde.get("SerializationLibrary") or ""),
        parameters={str(key): str(value) for key, value in own.items()},
        view_query=_view_query(description),
        description=description,
    )


def _columns(listed: list[dict[str, Any]] | None) -> tuple[Column, ...]:
    return tuple(
        Column(
            str(one["Name"]).lower(),
            from_hive(str(one.get("Type") or "string")),
            str(one.get("Comment") or ""),
        )
        for one in listed or []
    )


def _view_query(description: dict[str, Any]) -> str | None:
    if description.get("TableType") != "VIRTUAL_VIEW":
        return None
    text = str(description.get("ViewOriginalText") or "").strip()
    try:
        inner = text.removeprefix(_VIEW_START).removesuffix(_VIEW_END)
        return str(json.loads(base64.b64decode(inner))["originalSql"])
    except (ValueError, KeyError, binascii.Error):
        return str(description.get("ViewExpandedText") or text)


def folder(location: str) -> str:
    """Return a location with a slash at its end; an empty one stays empty."""
    return location if not location or location.endswith("/") else location + "/"
