"""A backfill of thirty days, four at once, beside what one run takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

from benchmarks.bench import Bench, ContenderError, clean_environment, run
from benchmarks.outcome import Figures, Outcome, Target, quotient

_PURPOSE = "usage-analysis"
# Takes a fixed time and nearly no processor: what is measured is the order in which days run.
_SCRIPT = """
import time
import batcat_runtime as bc

with bc.processing_job("usage-analysis") as job:
    time.sleep(float(job.parameters["seconds"]))
    (job.output_path / "usage-analysis.csv").write_text(f"day\\n{job.date_start}\\n")
"""


def backfill(bench: Bench) -> Outcome:
    """Compute thirty days with a concurrency of four, on the embedded AWS."""
    from batcat_runtime.rehearsal import EmbeddedAWS

    days, at_once, seconds = (4, 2, 1.0) if bench.quick else (30, 4, 4.0)
    ideal = Figures(f"({days} / {at_once}) x one run", "floor")
    whole = Figures(f"batcat backfill, {days} days, {at_once} at once", "BatCat")
    with EmbeddedAWS(region="us-east-1", set_environment=False, enforce_policies=True) as aws:
        deployed = _Deployed(bench, aws)
        deployed.backfill("2020-01-01", "2020-01-02", 1, 0.0)  # makes its stack
        for turn in range(bench.repeat):
            bench.say(f"backfill ({turn + 1} of {bench.repeat})")
            year = 2021 + turn
            one = deployed.run(f"{year}-12-31", f"{year + 1}-01-01", seconds)
            ideal.seconds.append(days / at_once * one)
            began = time.perf_counter()
            deployed.backfill(f"{year}-01-01", f"{year}-01-{days + 1:02d}", at_once, seconds)
            whole.seconds.append(time.perf_counter() - began)
    title = f"Backfill {days} days whose runs take {seconds:g} s"
    targets = [Target("time / floor", quotient(whole.best, ideal.best), 1.3)]
    figures = [ideal, whole]
    return Outcome("backfill", title, figures, targets)


class _Deployed:
    """A deployed project in an embedded AWS, whose runs take a fixed time."""

    def __init__(self, bench: Bench, aws: Any) -> None:
        from batcat_runtime.rehearsal import container_tool

        home = bench.work / f"backfill-{os.getpid()}"
        home.mkdir()
        answers = ["project_name=backfilled", "region=us-east-1"]
        batcat = [sys.executable, "-m", "batcat_runtime"]
        run([*batcat, "new", "--no-input", *answers, "--output-dir", str(home)], home)
        self.folder = next(home.iterdir())
        tools = container_tool.install(aws.home / "bin").parent
        self.environment = clean_environment() | aws.environment()
        self.environment |= {
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "PYTHON": sys.executable,
        }
        (self.folder / "script" / f"{_PURPOSE}.py").write_text(_SCRIPT, encoding="utf-8")
        self._make_bucket()
        self._do(["bash", "deploy/deploy.sh"])

    def backfill(self, start: str, end: str, at_once: int, seconds: float) -> None:
        """Run `batcat backfill` to its end."""
        options = ["--concurrency", str(at_once), "--param", f"seconds={seconds}", "--force"]
        self._do([sys.executable, "-m", "batcat_runtime", "backfill", start, end, *options])

    def run(self, start: str, end: str, seconds: float) -> float:
        """Run the workflow once, from the same command line; return the execution's seconds."""
        code = f"""
import batcat_runtime as bc
from batcat_runtime.log import reporting
with reporting(lambda line: None):
    run = bc.test_workflow(date_start={start!r}, date_end={end!r}, params={{"seconds": {seconds}}})
assert run.succeeded, run
print(run.seconds)
"""
        return float(self._do([sys.executable, "-c", code]))

    def _make_bucket(self) -> None:
        config = json.loads((self.folder / "script" / "config.json").read_text("utf-8"))
        bucket = config["result_s3_bucket"]
        code = f"""
import boto3
s3 = boto3.client("s3")
s3.create_bucket(Bucket={bucket!r})
s3.put_object(Bucket={bucket!r}, Key="raw/usage/usage.csv", Body=b"vin,usage")
"""
        self._do([sys.executable, "-c", code])

    def _do(self, arguments: list[str]) -> str:
        done = subprocess.run(
            arguments,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            lines = (done.stdout + done.stderr).strip().splitlines()
            raise ContenderError(" / ".join(lines[-2:])[:300])
        return done.stdout
