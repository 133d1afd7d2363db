"""The battery analysis of `batcat new --example battery`, as a step on Spark.

The same figures from the same columns, for more rows than a machine's memory holds: every function
of pandas there has its window function here, per vehicle, so that vehicles are shared out.
"""

from __future__ import annotations

from datetime import date
from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession, Window, WindowSpec
from pyspark.sql import functions as F

import batcat_runtime as bc

TIME_ZONE = "Asia/Shanghai"  # whose midnight begins a day

# The sample is a coin cell's. Set these for your battery.
SESSION_GAP_S = 60.0  # a longer silence ends a session; nothing is integrated across it
FULL_V, EMPTY_V = 4.05, 3.15  # a session that reaches both gives a capacity
REST_A = 1e-5  # no more current than this is rest
STEP_S = 1.0  # a step of current must be seen this fast ...
SETTLED_S = 20.0  # ... after rest, or load, of this length ...
PULSE_S = 10.0  # ... and its resistance is read after this time ...
STEADY = 0.05  # ... in which the current moved by no more than this part of the step


def before(column: Column | str) -> Column:
    """Return the value of the vehicle's row before."""
    return F.lag(column).over(in_order())


def in_order() -> WindowSpec:
    """Return the rows of a vehicle in the order of their times, up to each."""
    return Window.partitionBy("vin").orderBy("time")


def clean_rows(usage: DataFrame) -> DataFrame:
    """Parse, and drop what cannot be used or came twice; of two rows the later one stays."""
    numbers = [F.col(name).cast("double") for name in ("usage", "voltage_v", "current_a")]
    place = F.struct(
        "_metadata.file_path", "_metadata.file_block_start", F.monotonically_increasing_id()
    )
    read = usage.select("vin", F.col("time").cast("timestamp"), *numbers, place.alias("place"))
    usable = read.dropna(subset=["vin", "time", "voltage_v", "current_a"])
    twice = Window.partitionBy("vin", "time").orderBy(F.col("place").desc())
    kept = usable.withColumn("copy", F.row_number().over(twice)).where("copy = 1")
    return kept.withColumn("micros", F.unix_micros("time")).drop("copy", "place")


def add_intervals(df: DataFrame) -> DataFrame:
    """Add each row's session, and what passed since the row before it (trapezoidal rule)."""
    seconds = (F.col("micros") - before("micros")) / 1e6
    df = df.withColumn("gap", seconds)
    opens = F.col("gap").isNull() | (F.col("gap") > SESSION_GAP_S)
    df = df.withColumn("hours", F.when(opens, 0.0).otherwise(F.col("gap") / 3600))
    power = F.col("current_a") * F.col("voltage_v")

    def integral(rate: Column) -> Column:
        return F.coalesce((rate + before(rate)) / 2 * F.col("hours"), F.lit(0.0))

    return df.withColumns(
        {
            "session": F.sum(opens.cast("int")).over(in_order()),
            "seconds": F.when(~opens, F.col("gap")),
            "volt_hours": integral(F.col("voltage_v")),
            "charged_ah": integral(F.greatest("current_a", F.lit(0.0))),
            "discharged_ah": integral(-F.least("current_a", F.lit(0.0))),
            "charged_wh": integral(F.greatest(power, F.lit(0.0))),
            "discharged_wh": integral(-F.least(power, F.lit(0.0))),
        }
    )


def add_capacity(df: DataFrame) -> DataFrame:
    """Add ``capacity_ah``, on the last row of each session that swept from full to empty."""
    session = Window.partitionBy("vin", "session")
    df = df.withColumn(
        "net", F.sum(F.col("charged_ah") - F.col("discharged_ah")).over(session.orderBy("time"))
    )
    top = F.max_by("net", F.struct("voltage_v", -F.col("micros"))).over(session)
    bottom = F.min_by("net", F.struct("voltage_v", "micros")).over(session)
    deep = (F.max("voltage_v").over(session) >= FULL_V) & (
        F.min("voltage_v").over(session) <= EMPTY_V
    )
    is_last = ~F.lead("session").over(in_order()).eqNullSafe(F.col("session"))
    return df.withColumn("capacity_ah", F.when(deep & is_last, top - bottom))


def add_resistance(df: DataFrame) -> DataFrame:
    """Add ``resistance_ohm``, on the first row after each usable step between rest and load."""
    df = df.withColumn("rests", F.abs("current_a") <= REST_A)
    opens = ~before("session").eqNullSafe(F.col("session"))
    df = df.withColumn("step", (F.col("rests") != before("rests")) & ~opens)
    df = df.withColumn("phase", F.sum((F.col("step") | opens).cast("int")).over(in_order()))
    phase = Window.partitionBy("vin", "phase")
    df = df.withColumn("elapsed", (F.col("micros") - F.min("micros").over(phase)) / 1e6)

    def within_pulse(column: str) -> Column:
        return F.when(F.col("elapsed") <= PULSE_S, F.col(column))

    def at_end(column: str) -> Column:
        return F.max_by(within_pulse(column), within_pulse("micros")).over(phase)

    current = within_pulse("current_a")
    volts = at_end("voltage_v") - before("voltage_v")
    amperes = at_end("current_a") - before("current_a")
    usable = [
        F.col("step"),
        F.col("seconds") <= STEP_S,
        before("elapsed") >= SETTLED_S,
        at_end("elapsed") >= 0.95 * PULSE_S,  # the pulse lasted, and was sampled
        F.max(current).over(phase) - F.min(current).over(phase) <= STEADY * F.abs(amperes),
    ]
    return df.withColumn("resistance_ohm", F.when(reduce(Column.__and__, usable), volts / amperes))


def summarise_days(df: DataFrame, start: date | None, end: date | None) -> DataFrame:
    """Return one row per vehicle and day of ``[start, end)``."""
    local = F.from_utc_timestamp("time", TIME_ZONE)
    if start is not None:
        df = df.where(local >= F.lit(start))
    if end is not None:
        df = df.where(local < F.lit(end))
    sums = ("charged_wh", "discharged_wh", "charged_ah", "discharged_ah")
    hours = F.sum("hours")
    figures = {
        "hours": hours,
        "usage_wh": F.sum("usage"),
        **{name: F.sum(name) for name in sums},
        "capacity_ah": F.percentile("capacity_ah", F.lit(0.5)),
        "voltage_mean_v": F.sum("volt_hours") / F.when(hours > 0, hours),
        "voltage_min_v": F.min("voltage_v"),
        "voltage_max_v": F.max("voltage_v"),
        "resistance_ohm": F.percentile("resistance_ohm", F.lit(0.5)),
    }
    return df.groupBy("vin", F.to_date(local).alias("date")).agg(
        F.count("*").alias("rows"),
        F.countDistinct("session").alias("sessions"),
        *(F.round(figure, 9).alias(name) for name, figure in figures.items()),
        F.count("resistance_ohm").alias("pulses"),
    )


def analyse(usage: DataFrame, start: date | None = None, end: date | None = None) -> DataFrame:
    """Return the daily figures of the days ``[start, end)`` from rows as they were read."""
    rows = clean_rows(usage).transform(add_intervals).transform(add_capacity)
    return summarise_days(add_resistance(rows), start, end)


def main() -> None:
    """Run as a processing job: on a laptop, in the rehearsal or in SageMaker."""
    spark = SparkSession.builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()
    with bc.processing_job() as job:
        usage = spark.read.csv(job.input_uri("usage"), header=True, pathGlobFilter="*.csv*")
        days = analyse(usage, job.date_start, job.date_end).cache()
        if days.isEmpty():
            raise ValueError(f"No rows in the window [{job.date_start}, {job.date_end}).")
        job.save(days.repartition(1).sortWithinPartitions("vin", "date"), f"{job.purpose}.csv")


if __name__ == "__main__":
    main()
