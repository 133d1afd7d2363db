"""What a statement did: the rows that it returned, or how many it changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .redshift_types import RedshiftType

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class ResultColumn:
    """A column of a result, and where its values come from if they are passed on unchanged."""

    name: str
    type: RedshiftType
    schema: str = ""
    table: str = ""
    nullable: bool | None = None


@dataclass(frozen=True)
class Outcome:
    """What a statement did.

    Attributes
    ----------
    columns : list of ResultColumn or None
        None when the statement has no result set.
    table : pyarrow.Table or None
        The rows of the result set.
    rows : int
        How many rows were returned or affected.
    """

    columns: list[ResultColumn] | None = None
    table: pa.Table | None = None
    rows: int = 0


def text_result(name: str, lines: list[str]) -> Outcome:
    """Return a result of one column of text."""
    import pyarrow as pa

    table: pa.Table = pa.table({name: pa.array(lines, pa.string())})
    return Outcome([ResultColumn(name, RedshiftType("varchar"))], table, len(lines))
