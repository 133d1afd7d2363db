"""The battery analysis on Spark at 1, 2 and 4 partitions, beside pandas: see docs/scale.md.

``python -m benchmarks.spark [COPIES]`` copies the sample that often, as other vehicles, into four
files, and prints seconds, the best of two runs each. Needs the extra ``[spark]`` and Java.
"""

from __future__ import annotations

import runpy
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

REPOSITORY = Path(__file__).resolve().parents[1]
SAMPLE = REPOSITORY / "{{cookiecutter.project_slug}}" / "data" / "raw" / "usage" / "usage.csv.gz"
PARTITIONS = (1, 2, 4)


def main(copies: int) -> None:
    """Measure, and print a table."""
    on_pandas = runpy.run_path(str(REPOSITORY / "templates" / "battery" / "script.py"))
    on_spark = runpy.run_path(str(REPOSITORY / "docs" / "examples" / "battery_on_spark.py"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = write_copies(folder, copies)
        print(f"{rows:,} rows, {5 * copies} vehicles")
        files = sorted(folder.glob("*.csv"))
        print(f"pandas: {best(lambda: on_pandas['analyse'](on_pandas['read_usage'](files))):.1f} s")
        for count in PARTITIONS:
            print(
                f"Spark, {count} partitions: {measure(on_spark, folder, count):.1f} s", flush=True
            )


def write_copies(folder: Path, copies: int) -> int:
    """Write the sample again and again, each time as other vehicles; return the rows."""
    sample = pd.read_csv(SAMPLE, dtype=str)
    for number in range(copies):
        part = sample.assign(vin=sample["vin"] + f"-{number:04d}")
        file = folder / f"usage-{number % 4}.csv"
        part.to_csv(file, mode="a", header=not file.exists(), index=False)
    return len(sample) * copies


def measure(script: dict[str, Any], folder: Path, count: int) -> float:
    """Return the seconds of the analysis in a session of as many threads as partitions."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(f"local[{count}]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.sql.session.timeZone", "UTC")
    spark = builder.config("spark.sql.shuffle.partitions", count).getOrCreate()
    try:
        usage = spark.read.csv(f"file://{folder}", header=True)
        return best(lambda: script["analyse"](usage).write.mode("overwrite").csv(f"{folder}.out"))
    finally:
        spark.stop()


def best(task: Callable[[], object], runs: int = 2) -> float:
    """Return the seconds of the faster run."""
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        task()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
