"""The energy that passed through each battery, day by day.

Input ``usage``: CSV files, one row a measurement: ``vin``, ``time`` (ISO 8601), ``usage`` (Wh since
the row before). Result: one row per vehicle and day of `TIME_ZONE`.
"""

import batcat_runtime as bc
import pandas as pd

TIME_ZONE = "Asia/Shanghai"  # whose midnight begins a day


def analyse(usage: pd.DataFrame, start=None, end=None) -> pd.DataFrame:
    """Return rows and energy of each vehicle and day in ``[start, end)``; None means no limit."""
    time = pd.to_datetime(usage["time"], format="ISO8601", utc=True)
    time = time.dt.tz_convert(TIME_ZONE).dt.tz_localize(None)
    kept = time >= pd.Timestamp(start or pd.Timestamp.min)
    kept &= time < pd.Timestamp(end or pd.Timestamp.max)
    if not kept.any():
        raise ValueError(f"No rows in [{start}, {end}): they span {time.min()} to {time.max()}.")
    days = usage[kept].groupby(["vin", time[kept].dt.date.rename("date")])
    return days.agg(rows=("usage", "size"), usage_wh=("usage", "sum")).round(9).reset_index()


def main() -> None:
    """Run as a processing job: on a laptop, in the rehearsal or in SageMaker."""
    with bc.processing_job() as job:
        usage = pd.concat(map(pd.read_csv, job.input_files("usage")), ignore_index=True)
        job.save(analyse(usage, job.date_start, job.date_end), f"{job.purpose}.csv")


if __name__ == "__main__":
    main()
