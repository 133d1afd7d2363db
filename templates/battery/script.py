"""Energy throughput, capacity and pulse resistance of each vehicle's battery, day by day.

Input ``usage``: CSV or Parquet files, one row a measurement. ``vin``; ``usage``: Wh moved in either
direction since the vehicle's previous row; ``time``: ISO 8601, in UTC where it has no offset;
``voltage_v``; ``current_a``: positive while charging. Further columns are left alone.

Result: one row per vehicle and day of `TIME_ZONE`; see `summarise_days`.

Whatever looks at neighbouring rows comes before the date window is cut. So a day's figures do not
depend on the window they were computed in: seven nightly runs and one backfill agree.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path

import batcat_runtime as bc
import pandas as pd

PURPOSE = Path(__file__).stem
COLUMNS = ["vin", "usage", "time", "voltage_v", "current_a"]
TIME_ZONE = "Asia/Shanghai"  # whose midnight begins a day

# The sample is a coin cell's. Set these for your battery.
SESSION_GAP_S = 60.0  # a longer silence ends a session; nothing is integrated across it
FULL_V, EMPTY_V = 4.05, 3.15  # a session that reaches both gives a capacity
REST_A = 1e-5  # no more current than this is rest
STEP_S = 1.0  # a step of current must be seen this fast ...
SETTLED_S = 20.0  # ... after rest, or load, of this length ...
PULSE_S = 10.0  # ... and its resistance is read after this time ...
STEADY = 0.05  # ... in which the current moved by no more than this part of the step


def read_usage(paths: Iterable[Path]) -> pd.DataFrame:
    """Read all files into one table with the columns `COLUMNS`."""
    tables = []
    for path in paths:
        is_parquet = path.suffix == ".parquet"
        table = pd.read_parquet(path) if is_parquet else pd.read_csv(path, dtype={"vin": str})
        if missing := [name for name in COLUMNS if name not in table.columns]:
            found = ", ".join(map(str, table.columns))
            raise ValueError(f"{path.name} has no column {', '.join(missing)}; it has {found}.")
        tables.append(table[COLUMNS])
    return pd.concat(tables, ignore_index=True)


def clean_rows(df: pd.DataFrame) -> pd.DataFrame:
    """Parse, sort by vehicle and time, and drop what cannot be used or came twice."""
    numbers = {
        name: pd.to_numeric(df[name], errors="coerce")
        for name in ("usage", "voltage_v", "current_a")
    }
    time = pd.to_datetime(df["time"], format="ISO8601", utc=True, errors="coerce")
    df = df.assign(**numbers, time=time.dt.tz_convert(TIME_ZONE))
    usable = df.dropna(subset=["vin", "time", "voltage_v", "current_a"])
    rows = usable.drop_duplicates(["vin", "time"], keep="last")
    if len(rows) < len(df):
        unusable, repeated = len(df) - len(usable), len(usable) - len(rows)
        bc.get_logger(PURPOSE).warning(
            "dropped %d unusable and %d repeated rows of %d", unusable, repeated, len(df)
        )
    return rows.sort_values(["vin", "time"], ignore_index=True)


def add_intervals(df: pd.DataFrame) -> pd.DataFrame:
    """Add each row's session, and what passed since the row before it (trapezoidal rule)."""
    seconds = df["time"].diff().dt.total_seconds()
    opens = df["vin"].ne(df["vin"].shift()) | (seconds > SESSION_GAP_S)
    hours = seconds.mask(opens, 0.0) / 3600

    def integral(rate: pd.Series) -> pd.Series:
        return ((rate + rate.shift()) / 2 * hours).fillna(0.0)

    current, power = df["current_a"], df["current_a"] * df["voltage_v"]
    return df.assign(
        session=opens.cumsum(),
        seconds=seconds.mask(opens),
        hours=hours,
        volt_hours=integral(df["voltage_v"]),
        charged_ah=integral(current.clip(lower=0)),
        discharged_ah=integral(current.clip(upper=0).abs()),
        charged_wh=integral(power.clip(lower=0)),
        discharged_wh=integral(power.clip(upper=0).abs()),
    )


def add_capacity(df: pd.DataFrame) -> pd.DataFrame:
    """Add ``capacity_ah``, on the last row of each session that swept from full to empty or back.

    It is the net charge between the session's highest and lowest voltage, at the rate that was
    driven. A session that does not reach both `FULL_V` and `EMPTY_V` says nothing about it.
    """
    net = (df["charged_ah"] - df["discharged_ah"]).groupby(df["session"]).cumsum()
    volts = df.groupby("session")["voltage_v"]
    top, bottom = volts.idxmax(), volts.idxmin()
    capacity = top.map(net) - bottom.map(net)
    deep = volts.max().ge(FULL_V) & volts.min().le(EMPTY_V)
    is_last = ~df["session"].duplicated(keep="last")
    return df.assign(capacity_ah=df["session"].map(capacity.where(deep)).where(is_last))


def add_resistance(df: pd.DataFrame) -> pd.DataFrame:
    """Add ``resistance_ohm``, on the first row after each usable step between rest and load.

    It is dV/dI between the row before the step and the row `PULSE_S` after it: the pulse resistance
    of the HPPC test (Battery Test Manual For Electric Vehicles, Rev. 3, INL/EXT-15-34184, 2015,
    doi:10.2172/1186745), taken alike at a pulse and at an interruption of the current (the ICI
    method; Geng et al., Electrochim. Acta 404 (2022) 139727, doi:10.1016/j.electacta.2021.139727).
    ICI extrapolates to the moment of the step. This does not, so it includes 10 s of diffusion.
    """
    rests = df["current_a"].abs() <= REST_A
    opens = df["session"].ne(df["session"].shift())
    steps = rests.ne(rests.shift()) & ~opens
    phase = (steps | opens).cumsum()
    elapsed = (df["time"] - df.groupby(phase)["time"].transform("first")).dt.total_seconds()
    usable = steps & (df["seconds"] <= STEP_S) & (elapsed.shift() >= SETTLED_S)

    pulse = df.assign(elapsed=elapsed)[elapsed <= PULSE_S].groupby(phase)
    ends = pulse[["elapsed", "voltage_v", "current_a"]].last()
    spread = pulse["current_a"].max() - pulse["current_a"].min()
    volts = phase.map(ends["voltage_v"]) - df["voltage_v"].shift()
    amperes = phase.map(ends["current_a"]) - df["current_a"].shift()
    usable &= phase.map(ends["elapsed"]) >= 0.95 * PULSE_S  # the pulse lasted, and was sampled
    usable &= phase.map(spread) <= STEADY * amperes.abs()
    return df.assign(resistance_ohm=(volts / amperes).where(usable))


def within_window(df: pd.DataFrame, start: date | None, end: date | None) -> pd.DataFrame:
    """Keep the rows of ``[start, end)``, days or date-times of `TIME_ZONE`; None: no limit."""
    kept = pd.Series(True, index=df.index)
    if start is not None:
        kept &= df["time"] >= pd.Timestamp(start, tz=TIME_ZONE)
    if end is not None:
        kept &= df["time"] < pd.Timestamp(end, tz=TIME_ZONE)
    if not kept.any():
        span = f"{df['time'].min()} to {df['time'].max()}" if len(df) else "no time at all"
        raise ValueError(f"No rows in the window [{start}, {end}): the data span {span}.")
    return df[kept]


def summarise_days(df: pd.DataFrame) -> pd.DataFrame:
    """Return one row per vehicle and day; an interval counts for the day on which it ends.

    Voltages are of the rows, their mean weighted by time. Capacity and resistance are medians of
    the sweeps that ended and the pulses that began that day, and missing if there were none.
    """
    days = df.groupby(["vin", df["time"].dt.date.rename("date")])
    result = days.agg(
        rows=("time", "size"),
        sessions=("session", "nunique"),
        hours=("hours", "sum"),
        usage_wh=("usage", "sum"),
        charged_wh=("charged_wh", "sum"),
        discharged_wh=("discharged_wh", "sum"),
        charged_ah=("charged_ah", "sum"),
        discharged_ah=("discharged_ah", "sum"),
        capacity_ah=("capacity_ah", "median"),
        voltage_mean_v=("volt_hours", "sum"),
        voltage_min_v=("voltage_v", "min"),
        voltage_max_v=("voltage_v", "max"),
        resistance_ohm=("resistance_ohm", "median"),
        pulses=("resistance_ohm", "count"),
    )
    result["voltage_mean_v"] /= result["hours"].where(result["hours"] > 0)
    return result.round(9).reset_index()


def analyse(df: pd.DataFrame, start: date | None = None, end: date | None = None) -> pd.DataFrame:
    """Return the daily figures of the days ``[start, end)`` from rows as they were read."""
    return (
        df.pipe(clean_rows)
        .pipe(add_intervals)
        .pipe(add_capacity)
        .pipe(add_resistance)
        .pipe(within_window, start, end)
        .pipe(summarise_days)
    )


def main() -> None:
    """Run as a processing job: on a laptop, in the rehearsal or in SageMaker."""
    log = bc.get_logger(PURPOSE)
    with bc.processing_job() as job:
        usage = read_usage(job.input_files("usage"))
        result = analyse(usage, job.date_start, job.date_end)
        log.info("%d rows, %d vehicles, %d days", len(usage), result["vin"].nunique(), len(result))
        job.save(result, f"{PURPOSE}.csv")


if __name__ == "__main__":
    main()
