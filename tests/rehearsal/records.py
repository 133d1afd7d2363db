"""Records written by hand, for the tests of the report, the plots and the console summary."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from rich.console import Console

from batcat_runtime.rehearsal.record import LogLine, Rehearsal, ResultTable, Step
from batcat_runtime.rehearsal.report import render_report
from batcat_runtime.rehearsal.report.summary import print_summary
from batcat_runtime.rehearsal.story import rehearse

START = datetime(2026, 3, 1, 17, 30, 12, 412000, tzinfo=UTC)
TRACEBACK = """\
Traceback (most recent call last):
  File "/opt/batcat/script/usage-analysis.py", line 88, in <module>
    main()
KeyError: 'amps'"""

# What users, scripts and data may hold, and no page or terminal may take for more than text.
HOSTILE = (
    "</script></title></style><script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;"
    "{{ 7*7 }}{% raw %}\x1b[31mred\x1b[0m\x1b]0;title\x07\x00\x08\x9b1m\u202eevil\u2066"
    "电池🔋 שלום\ud800\ufffe"
)


class Rehearsed(NamedTuple):
    """A rehearsal in this process: its record, what the terminal says, and the report."""

    record: Rehearsal
    said: str
    report: str


def rehearsed(project: Path, **options: Any) -> Rehearsed:
    """Rehearse a project as the command does, but for the network, which stays."""
    record = rehearse(project, **options)
    console = Console(file=io.StringIO(), width=200)
    print_summary(record, project / "report.html", console)
    return Rehearsed(record, console.file.getvalue(), render_report(record))


def usage_frame(vehicles: int = 3, days: int = 7) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    rows = []
    for vehicle in range(vehicles):
        for day in range(days):
            energy = 9 + 2.2 * vehicle + rng.normal(0, 0.7)
            rows.append(
                {
                    "vin": f"LBC{vehicle + 1:03d}",
                    "date": str(date(2022, 1, 1) + timedelta(day)),
                    "energy_charged_wh": energy * 1.06,
                    "energy_discharged_wh": energy,
                    "charge_throughput_ah": energy / 1.85,
                    "capacity_ah": 4.86 - 0.07 * vehicle - 0.006 * day + rng.normal(0, 0.006),
                    "resistance_ohm": 0.0231 + 0.0013 * vehicle + rng.normal(0, 0.0002),
                    "n_pulses": int(rng.integers(4, 14)),
                }
            )
    return pd.DataFrame(rows)


def task(following: str | None = None) -> dict[str, Any]:
    ending: dict[str, Any] = {"Next": following} if following else {"End": True}
    return {
        "Type": "Task",
        "Resource": "arn:aws-cn:states:::sagemaker:createProcessingJob.sync",
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Failed"}],
        **ending,
    }


ONE_STEP: dict[str, Any] = {
    "Comment": "battery: usage-analysis",
    "StartAt": "usage-analysis",
    "States": {"usage-analysis": task(), "Failed": {"Type": "Fail"}},
}


def result_of(frame: pd.DataFrame) -> ResultTable:
    head = tuple(tuple(str(value) for value in row) for row in frame.head(6).to_numpy())
    uri = "s3://project-battery-result/battery/usage-analysis/date=2022-01-01/run=r/usage.csv"
    return ResultTable(uri, len(frame), tuple(map(str, frame.columns)), head, frame)


def steps(outcome: str) -> tuple[Step, ...]:
    def step(name: str, kind: Any, at: float, seconds: float, detail: str = "") -> Step:
        late = kind in ("workflow", "state", "job")
        status: Any = outcome if late else "succeeded"
        return Step(name, kind, status, START + timedelta(seconds=at), seconds, detail)

    done = (
        step("sample data", "data", 0.1, 0.31, "1 file to s3://project-battery-result/raw/usage/"),
        step("container image", "image", 0.45, 0.92),
        step("workflow stack", "deploy", 1.4, 4.9, "battery-usage-analysis-workflow"),
        step("schedule fires", "trigger", 8.6, 0.62),
        step("execution", "workflow", 9.1, 3.31),
        step("usage-analysis", "state", 9.15, 3.22),
        step("battery-usage-analysis-4c1f", "job", 9.3, 2.96, "ml.m5.xlarge x 1"),
    )
    if outcome == "failed":
        return (*done, Step("result", "result", "skipped", None, None, "no manifest"))
    return (*done, step("result", "result", 12.45, 0.11, "21 rows"))


def rehearsal(**changes: Any) -> Rehearsal:
    fields: dict[str, Any] = {
        "title": "battery",
        "project": "battery",
        "purpose": "usage-analysis",
        "region": "cn-northwest-1",
        "partition": "aws-cn",
        "account_id": "123456789012",
        "fired_at": "2022-01-08T02:00:00",
        "window": ("2022-01-01", "2022-01-08"),
        "status": "succeeded",
        "error": "",
        "started": START,
        "seconds": 12.7,
        "steps": steps("succeeded"),
        "definition": ONE_STEP,
        "state_status": {"usage-analysis": "succeeded"},
        "logs": (
            LogLine(START + timedelta(seconds=10), "/aws/sagemaker/ProcessingJobs", "28,512 rows"),
            LogLine(START + timedelta(seconds=1), "deploy.sh", "\x1b[33mimage pushed\x1b[0m"),
        ),
        "result": result_of(usage_frame()),
        "manifest": {"run_id": "r", "files": [{"name": "usage.csv", "rows": 21}]},
        "resources": (("AWS::IAM::Role", "arn:aws-cn:iam::123456789012:role/battery-job"),),
        "versions": {"batcat-runtime": "0.1.0"},
    }
    return Rehearsal(**{**fields, **changes})


def failed_rehearsal(**changes: Any) -> Rehearsal:
    fields: dict[str, Any] = {
        "status": "failed",
        "error": f"The job ended with exit code 1: KeyError: 'amps'\n{TRACEBACK}",
        "steps": steps("failed"),
        "state_status": {"usage-analysis": "failed", "Failed": "failed"},
        "result": None,
        "manifest": None,
        "logs": (LogLine(START, "/aws/sagemaker/ProcessingJobs", TRACEBACK),),
    }
    return rehearsal(**{**fields, **changes})


def hostile_rehearsal() -> Rehearsal:
    """Put the hostile text wherever a user, a script or a table may put text."""
    bad = HOSTILE
    name = bad.replace("\ud800", "")  # pandas keeps names in Arrow, which refuses half a pair
    frame = pd.DataFrame(
        {
            name: pd.Series([bad, f"{bad}2", bad], dtype=object),
            "date": ["2022-01-01", "2022-01-02", "2022-01-03"],
            f"x{name}_wh": [1.0, 2.0, 3.0],
        }
    )
    definition = {
        "Comment": bad,
        "StartAt": bad,
        "States": {
            bad: {
                "Type": "Choice",
                "Choices": [{"Variable": bad, "StringEquals": bad, "Next": f"{bad}2"}],
                "Default": "Failed",
            },
            f"{bad}2": {
                **task(),
                "Resource": f"arn:aws:states:::{bad}",
                "Catch": [{"ErrorEquals": [bad], "Next": "Failed"}],
            },
            "Failed": {"Type": bad},
        },
    }
    return failed_rehearsal(
        **dict.fromkeys(
            ("title", "project", "purpose", "region", "partition", "account_id", "fired_at"), bad
        ),
        window=(bad, bad),
        error=f"{bad}\n{bad}\n{bad}",
        steps=(Step(bad, "job", "failed", START, 1.0, bad),),
        definition=definition,
        state_status={bad: bad},
        logs=(LogLine(START, bad, bad),),
        result=result_of(frame),
        manifest={bad: bad},
        images=((bad, b"\x89PNG\r\n\x1a\n"), (bad, f"<svg>{bad}</svg>".encode("utf-8", "replace"))),
        resources=((bad, bad),),
        versions={bad: bad},
    )
