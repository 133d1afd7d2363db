"""Make the sample that every generated project starts with.

    python tests/data/make_sample.py [TARGET]

From the five battery records beside this file to ``data/raw/usage/usage.csv.gz`` of the template.
Stages, each a function from data to data:

1. `read_record`: the record as ampworks publishes it. Two columns have one name and sign in all
   five (volts; amperes, negative while discharging), so nothing has to be turned round. ``Ah``
   is a running sum without a sign and is left out.
2. `deal_out`: cut the record into sessions and give each a start. Within a session every interval
   stays as recorded, to the millisecond. The gaps between sessions are ours.
3. `add_usage`: the energy that passed since the session's previous row.
4. `write_sample`: text with a stated number of decimals, gzip without a time stamp. So the same
   records give the same bytes, which ``tests/template/test_sample.py`` checks.
"""

from __future__ import annotations

import gzip
import io
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent
RECORDS = HERE / "battery"
SAMPLE = HERE.parents[1] / "{{cookiecutter.project_slug}}/data/raw/usage/usage.csv.gz"
TIME_ZONE = "Asia/Shanghai"
DECIMALS = {"usage": 9, "voltage_v": 6, "current_a": 8}


@dataclass(frozen=True)
class Deal:
    """How one record becomes one vehicle.

    ``starts`` are local times, one a session. ``cuts`` are seconds of the record: the first row at
    or after a cut opens the next session. The current is zero on both sides of every cut, or the
    row before it is the last of a rest.
    """

    record: str
    vin: str
    starts: tuple[str, ...]
    cuts: tuple[float, ...] = ()


# Every vin is invented. It has 17 characters and a right check digit, and begins with 0, which
# stands for no region of the world: no vehicle can have it.
DEALS = (
    Deal("cell1_rough", "0BCBAT012N0000001", ("2022-01-01T08:00",)),
    Deal("cell2_rough", "0BCBAT014N0000002", ("2022-01-02T20:00",)),
    Deal(
        "hppc_discharge",
        "0BCBAT016N0000003",
        (
            "2022-01-01T09:00",
            "2022-01-03T09:00",
            "2022-01-04T22:30",
            "2022-01-06T09:00",
            "2022-01-07T20:00",
        ),
        # Half-way through an hour of rest each.
        (11_280, 20_880, 30_480, 40_080),
    ),
    Deal("ici_charge", "0BCBAT018N0000004", ("2022-01-04T19:30",)),
    Deal(
        "ici_discharge",
        "0BCBAT01XN0000005",
        ("2022-01-02T08:00", "2022-01-03T08:00", "2022-01-05T08:00", "2022-01-06T08:00"),
        # Between the end of a ten-second interruption and the next load.
        (10_830.067, 21_060.133, 31_290.199),
    ),
)


def read_record(name: str) -> pd.DataFrame:
    """Return one record as ``seconds``, ``voltage_v``, ``current_a``, rounded to `DECIMALS`."""
    raw = pd.read_csv(RECORDS / f"{name}.csv.gz")
    table = pd.DataFrame(
        {"seconds": raw["Seconds"], "voltage_v": raw["Volts"], "current_a": raw["Amps"]}
    )
    # Adding zero turns the records' -0.0 into 0.0.
    return table.round(DECIMALS) + 0.0


def deal_out(table: pd.DataFrame, deal: Deal) -> pd.DataFrame:
    """Give every row its vehicle, session and time."""
    session = pd.Series(0, index=table.index)
    for cut in deal.cuts:
        session += table["seconds"] >= cut
    offset = table["seconds"] - table.groupby(session)["seconds"].transform("first")
    start = session.map(pd.Series(pd.to_datetime(list(deal.starts)).tz_localize(TIME_ZONE)))
    time = start + pd.to_timedelta((offset * 1000).round().astype("int64"), unit="ms")
    return table.assign(vin=deal.vin, session=session, time=time)


def add_usage(table: pd.DataFrame) -> pd.DataFrame:
    """Add ``usage``: Wh moved in either direction since the session's previous row.

    By the trapezoidal rule over abs(V I), from the rounded columns, so that anybody can check it;
    0 on a session's first row.
    """
    watts = (table["voltage_v"] * table["current_a"]).abs()
    seconds = table.groupby("session")["time"].diff().dt.total_seconds()
    usage = (watts + watts.shift()) / 2 * seconds / 3600
    return table.assign(usage=usage.fillna(0.0))


def make_sample() -> pd.DataFrame:
    """Return the whole sample, in order of vehicle and time."""
    vehicles = [
        read_record(deal.record)
        .pipe(deal_out, deal)
        .pipe(add_usage)[["vin", "usage", "time", "voltage_v", "current_a"]]
        for deal in DEALS
    ]
    return pd.concat(vehicles, ignore_index=True)


def as_text(sample: pd.DataFrame) -> str:
    """Return the sample as CSV, every number with its own count of decimals."""
    text = sample.assign(
        # ISO 8601 with milliseconds and +08:00; the offset is the same all year.
        time=sample["time"].dt.tz_localize(None).dt.strftime("%Y-%m-%dT%H:%M:%S.%f").str[:-3]
        + "+08:00",
        **{name: sample[name].map(f"{{:.{places}f}}".format) for name, places in DECIMALS.items()},
    )
    return text.to_csv(index=False, lineterminator="\n")


def compress(text: str) -> bytes:
    """Return `text` gzipped, without the time and the file name that gzip would add."""
    target = io.BytesIO()
    with gzip.GzipFile(fileobj=target, mode="wb", compresslevel=9, mtime=0, filename="") as stream:
        stream.write(text.encode("ascii"))
    return target.getvalue()


def main() -> None:
    """Write the sample and say what was written."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLE
    sample = make_sample()
    data = compress(as_text(sample))
    target.write_bytes(data)
    print(f"{target}: {len(sample):,} rows, {len(data):,} bytes")


if __name__ == "__main__":
    main()
