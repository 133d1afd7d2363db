"""`python -m benchmarks.rehearsals PROJECT COUNT`: rehearse a project many times in one process.

After each rehearsal a line of JSON says what this process still holds. Every fourth one is stopped
in the middle of its job. What a child leaves behind when it dies becomes our child, so it is seen.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import tempfile
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
_STOPPED_SECONDS = 1.0


def main(project: Path, count: int) -> None:
    """Rehearse, and print what is held after each time."""
    from batcat_runtime.rehearsal.report import write_report
    from batcat_runtime.rehearsal.seal import seal
    from batcat_runtime.rehearsal.story import DEFAULT_TIMEOUT, rehearse

    unsealed = seal()
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in range(count):
        stopped = number % 4 == 1
        timeout = _STOPPED_SECONDS if stopped else DEFAULT_TIMEOUT
        record = rehearse(project, timeout=timeout, unsealed=unsealed)
        if record.status == "failed" and not stopped:
            sys.exit(f"rehearsal {number + 1} failed: {record.error}")
        write_report(record, project / "report" / "rehearsal.html")
        seconds = record.seconds
        del record
        gc.collect()
        print(json.dumps(held() | {"seconds": seconds}), flush=True)


def held() -> dict[str, float]:
    """Return what this process holds now: MB of memory, and how many of everything else."""
    tasks = list(Path("/proc/self/task").iterdir())
    children = [task / "children" for task in tasks]
    shared = [entry for entry in os.scandir("/dev/shm") if entry.stat().st_uid == os.geteuid()]
    status = Path("/proc/self/status").read_text("ascii").splitlines()
    resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
    return {
        "memory": resident * 1024 / 1e6,
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "threads": len(tasks),
        "processes": sum(len(listed.read_text("ascii").split()) for listed in children),
        "files and folders": len(list(Path(tempfile.gettempdir()).iterdir())) + len(shared),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
