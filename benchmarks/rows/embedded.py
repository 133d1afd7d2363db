"""The embedded AWS: how soon it answers, and what it holds in memory."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

from benchmarks.bench import Bench, clean_environment, run
from benchmarks.outcome import Figures, Outcome, Target

_UP_SECONDS = 1.5
_IDLE_MB = 120.0
_AFTER_MB = 250.0
_BATCAT = [sys.executable, "-m", "batcat_runtime"]


def embedded(bench: Bench) -> Outcome:
    """Start an embedded AWS, look at its memory, and again when a project has run on it."""
    from batcat_runtime.rehearsal import EmbeddedAWS, container_tool

    idle = Figures("an embedded AWS, idle", "BatCat")
    after = Figures("the same, after a deployment and a run", "BatCat")
    for turn in range(bench.repeat):
        bench.say(f"an embedded AWS ({turn + 1} of {bench.repeat})")
        home = bench.work / f"embedded-{os.getpid()}-{turn}"
        home.mkdir()
        began = time.perf_counter()
        with EmbeddedAWS(region="us-east-1", set_environment=False) as aws:
            idle.seconds.append(time.perf_counter() - began)
            idle.peak_mb.append(_resident_mb(aws.pid))
            run([*_BATCAT, "new", "--no-input", "--example", "battery", "region=us-east-1"], home)
            tools = container_tool.install(home / "bin").parent
            path = f"{tools}{os.pathsep}{os.environ['PATH']}"
            environment = clean_environment() | aws.environment() | {"PATH": path}
            (project,) = home.glob("project_*")
            began = time.perf_counter()
            for words in ("deploy --yes", "data push", "run"):
                run([*_BATCAT, *words.split()], project, environment)
            after.seconds.append(time.perf_counter() - began)
            after.peak_mb.append(_resident_mb(aws.pid))
        shutil.rmtree(home)
    targets = [
        Target("up", idle.best, _UP_SECONDS, "s"),
        Target("idle", idle.peak, _IDLE_MB, "MB"),
        Target("after the demo", after.peak, _AFTER_MB, "MB"),
    ]
    return Outcome(
        "embedded", "Start an embedded AWS, and run the demo on it", [idle, after], targets
    )


def _resident_mb(pid: int | None) -> float:
    """Return what a process has resident now, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) * 1024 / 1e6
