"""The data that is read and saved: made once, the same everywhere, kept in a git-ignored folder.

Telemetry of electric vehicles as a fleet would send it: 13 columns of identifiers, times, readings
with 3 to 4 decimals, counters, a state, and a column that is mostly empty. A seed per table, so a
table is the same however many others are made. It runs in a process of its own, since numpy and
pyarrow in the process that starts the contenders would be counted as memory of theirs.
"""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 1  # raise it when the data changes, so that nobody compares two kinds
BUCKET = "battery"
COLUMNS = 13
_SEED = 20220101
_STATES = ["charging", "driving", "parked", "plugged-in", "fault"]


@dataclass(frozen=True)
class Scale:
    """How much of everything there is, in rows and files."""

    csv_one: int  # rows of the one large CSV file
    parquet_one: int
    files: int  # files under a prefix
    csv_part: int  # rows of each such CSV file
    parquet_part: int
    saved: int  # rows of the table that is saved
    chunked: tuple[int, int, int]  # rows of the three files that are read in chunks
    chunk: int  # rows of a chunk
    keys: tuple[int, int, int]  # keys of the three listings


FULL = Scale(
    csv_one=2_900_000,
    parquet_one=3_800_000,
    files=400,
    csv_part=4_780,
    parquet_part=6_100,
    saved=1_450_000,
    chunked=(725_000, 1_450_000, 2_900_000),
    chunk=100_000,
    keys=(10_000, 100_000, 1_000_000),
)
QUICK = Scale(
    csv_one=40_000,
    parquet_one=50_000,
    files=12,
    csv_part=1_000,
    parquet_part=1_000,
    saved=30_000,
    chunked=(20_000, 40_000, 80_000),
    chunk=5_000,
    keys=(1_000, 5_000, 20_000),
)
SCALES = {"full": FULL, "quick": QUICK}


def part(kind: str, number: int) -> str:
    """Return the key of one file of many."""
    return f"{kind}-many/part-{number:03}.{kind}"


def is_made(folder: Path, scale: Scale) -> bool:
    """Tell whether a folder holds this data, whole: its stamp is written last."""
    stamp = folder / "stamp.json"
    return stamp.exists() and json.loads(stamp.read_text()) == _stamp(scale)


def make(folder: Path, scale: Scale) -> None:
    """Make all data in a folder, anew."""
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    bare = pa_csv.WriteOptions(quoting_style="needed")
    shutil.rmtree(folder, ignore_errors=True)
    objects = folder / "objects" / BUCKET
    for name in ("csv-one", "csv-many", "parquet-one", "parquet-many", "chunked", "saved"):
        (objects / name).mkdir(parents=True)
    whole = telemetry(scale.parquet_one)
    pa_csv.write_csv(whole.slice(0, scale.csv_one), objects / "csv-one/usage.csv", bare)
    pq.write_table(whole, objects / "parquet-one/usage.parquet", row_group_size=250_000)
    for position, rows in enumerate(scale.chunked):
        pa_csv.write_csv(whole.slice(0, rows), objects / f"chunked/size-{position}.csv", bare)
        (folder / f"frame-{position}.pickle").write_bytes(
            pickle.dumps(whole.slice(0, rows).to_pandas(), protocol=5)
        )
    (folder / "frame.pickle").write_bytes(
        pickle.dumps(whole.slice(0, scale.saved).to_pandas(), protocol=5)
    )
    for number in range(scale.files):
        csv_rows, parquet_rows = scale.csv_part, scale.parquet_part
        cut = whole.slice(number * csv_rows, csv_rows)
        pa_csv.write_csv(cut, objects / part("csv", number), bare)
        cut = whole.slice(number * parquet_rows, parquet_rows)
        pq.write_table(cut, objects / part("parquet", number))
    for kind in ("csv", "parquet"):  # for the call before the one that is timed
        (objects / f"tiny-{kind}").mkdir()
        for number in range(2):
            first = objects / part(kind, number)
            shutil.copyfile(first, objects / f"tiny-{kind}" / first.name)
    sizes = {str(path.relative_to(objects)): path.stat().st_size for path in objects.rglob("*.*")}
    (folder / "sizes.json").write_text(json.dumps(sizes))
    (folder / "stamp.json").write_text(json.dumps(_stamp(scale)))


def telemetry(rows: int) -> pa.Table:
    """Return so many rows of telemetry.

    Parameters
    ----------
    rows : int
        How many.

    Returns
    -------
    pyarrow.Table
        13 columns: text, timestamp[s], float64 (one with nine gaps in ten), int64.
    """
    import numpy as np
    import pyarrow as pa

    random = np.random.default_rng(_SEED)
    vins = pa.array([f"LNBVX4A{number * 7919 % 10**10:010}" for number in range(5_000)])
    vehicle = random.integers(0, 5_000, rows)
    seconds = np.datetime64("2022-01-01T00:00:00", "s") + np.arange(rows) * 11
    soc = random.uniform(5, 100, rows)
    resistance = np.round(random.normal(1.9, 0.2, rows), 4)
    columns = {
        "vin": pa.DictionaryArray.from_arrays(vehicle.astype("int32"), vins).cast(pa.string()),
        "time": pa.array(seconds),
        "voltage": pa.array(np.round(3.0 + soc / 83 + random.normal(0, 0.01, rows), 3)),
        "current": pa.array(np.round(random.normal(0, 42, rows), 3)),
        "temperature": pa.array(np.round(random.normal(24, 8, rows), 3)),
        "soc": pa.array(np.round(soc, 3)),
        "soh": pa.array(np.round(1 - random.beta(2, 18, rows), 4)),
        "energy": pa.array(np.round(random.uniform(0, 90_000, rows), 3)),
        "odometer": pa.array(np.round(random.uniform(0, 250_000, rows), 2)),
        "resistance": pa.array(resistance, mask=random.random(rows) < 0.9),
        "cycle": pa.array(random.integers(0, 2_500, rows)),
        "pack": pa.array(random.integers(10**9, 2 * 10**9, rows)),
        "state": pa.DictionaryArray.from_arrays(
            random.integers(0, len(_STATES), rows).astype("int32"), pa.array(_STATES)
        ).cast(pa.string()),
    }
    return pa.table(columns)


def _stamp(scale: Scale) -> dict[str, object]:
    from importlib.metadata import version

    # a pickled frame belongs to the pandas that pickled it
    made = {"version": VERSION, **asdict(scale), "pandas": version("pandas")}
    return dict(json.loads(json.dumps(made)))


if __name__ == "__main__":
    make(Path(sys.argv[1]), SCALES[sys.argv[2]])
