"""Many rehearsals in one process: what each leaves behind."""

from __future__ import annotations

import json
import sys

from benchmarks.bench import ROOT, Bench, run
from benchmarks.outcome import Figures, Outcome, Target, quotient

_COUNT = 200
_QUICK_COUNT = 2
_THINGS = ("processes", "descriptors", "threads", "files and folders")


def leaks(bench: Bench) -> Outcome:
    """Rehearse the small example 200 times: the end is compared with the first quarter's end."""
    count = _QUICK_COUNT if bench.quick else _COUNT
    temporary = bench.work / "leaks-tmp"
    temporary.mkdir()
    words = ["new", "--no-input", "region=us-east-1", "--output-dir", str(bench.work / "leaks")]
    run([sys.executable, "-m", "batcat_runtime", *words], ROOT)
    (project,) = (bench.work / "leaks").iterdir()
    bench.say(f"{count} rehearsals")
    command = [sys.executable, "-m", "benchmarks.rehearsals", str(project), str(count)]
    lines = run(command, ROOT, {"TMPDIR": str(temporary)}).splitlines()
    seen = [json.loads(line) for line in lines]
    early, last = seen[: max(1, count // 4)], seen[-1]
    # The first rehearsals fill caches: of modules, of botocore's models, of the allocator.
    memory = quotient(last["memory"], max(one["memory"] for one in early))
    rehearsals = Figures(f"{count} rehearsals", "BatCat")
    rehearsals.seconds = [one["seconds"] for one in seen]
    rehearsals.peak_mb = [one["memory"] for one in seen]
    targets = [
        Target(f"more {thing}", last[thing] - early[-1][thing], 0.0) for thing in _THINGS
    ] + [Target("memory, last / first quarter", memory, 1.1)]
    title = f"Rehearse {count} times in one process"
    return Outcome("leaks", title, [rehearsals], targets)
