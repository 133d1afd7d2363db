"""One measurement: a fresh process that calls one contender and prints what it took, as JSON.

The contender is first called on a tiny object, so that imports and clients are not in the figures:
they have rows of their own. Then the kernel's high-water mark of memory is reset, the clock
started and the contender called. What it gave back is judged after the clock has stopped.
"""

from __future__ import annotations

import gc
import json
import pickle
import resource
import sys
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.job import Job

_STATUS = Path("/proc/self/status")


def main() -> None:
    """Read a task from the command line, carry it out, print its figures."""
    task = json.loads(sys.argv[1])
    module, name = task["contender"].split(":")
    contender = getattr(import_module(f"benchmarks.contenders.{module}"), name)
    job = Job(objects=Path(task["objects"]), key=task["key"], **task["settings"])
    frame = pickle.loads(Path(task["frame"]).read_bytes()) if task["frame"] else None
    started = time.perf_counter()
    if task["tiny"]:
        head = frame.head(100) if frame is not None else None
        contender(replace(job, key=task["tiny"], frame=head))
    first_call = time.perf_counter() - started
    gc.collect()
    job = replace(job, frame=frame)
    reset_high_water()
    before, cpu = resident_mb(), time.process_time()
    started = time.perf_counter()
    result = contender(job)
    seconds = time.perf_counter() - started
    figures: dict[str, Any] = {
        "seconds": seconds,
        "cpu": time.process_time() - cpu,
        "first_call": first_call,
        "peak_mb": high_water_mb(),
        "before_mb": before,
    }
    figures["found"] = found(job, result)  # after the peak was read: it takes memory itself
    print(json.dumps(figures))


def found(job: Job, result: Any) -> dict[str, int]:
    """Return what was read or written, to be compared between the contenders of a row."""
    if isinstance(result, int):
        return {"rows": result}
    if hasattr(result, "columns"):
        return _content(result)
    from pyarrow import csv, parquet

    read = parquet.read_table if job.path.suffix == ".parquet" else csv.read_csv
    return _content(read(job.path).to_pandas())


def _content(frame: Any) -> dict[str, int]:
    whole = {"rows": len(frame), "columns": len(frame.columns), "pack": int(frame["pack"].sum())}
    return {**whole, "gaps": int(frame["resistance"].isna().sum())}


def reset_high_water() -> None:
    """Let the high-water mark start from what is resident now; only Linux can."""
    if _STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")


def high_water_mb() -> float:
    """Return the most memory that was ever resident, in MB."""
    if _STATUS.exists():
        return _status_mb("VmHWM")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def resident_mb() -> float:
    """Return the memory that is resident now, in MB; unknown, so 0, where there is no /proc."""
    return _status_mb("VmRSS") if _STATUS.exists() else 0.0


def _status_mb(field: str) -> float:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError(f"{_STATUS} has no {field}")


if __name__ == "__main__":
    main()
