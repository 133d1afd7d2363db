"""What every kind of test shares: a configuration, a baked project, a clean environment."""

from __future__ import annotations

import contextlib
import copy
import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import hypothesis
import pytest

from batcat_runtime.commands import run

# How fast a busy machine is says nothing about what is tested.
hypothesis.settings.register_profile("batcat", deadline=None)
hypothesis.settings.load_profile("batcat")

# A shell's background job ignores Ctrl-C, and so would all that the tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parents[1]

CONFIG: dict[str, Any] = {
    "title": "Batterie « A »",
    "project": "2022-RnD-battery",
    "region": "cn-northwest-1",
    "result_s3_bucket": "2022-rnd-battery",
    "workflow_execution_role": None,
    "network": None,
    "tags": {"team": "cells"},
    "purposes": {
        "usage-analysis": {
            "steps": [
                {
                    "name": "usage-analysis",
                    "script": "usage-analysis.py",
                    "inputs": {"usage": "s3://2022-rnd-battery/raw/usage/"},
                }
            ],
            "schedule": {
                "expression": "cron(0 2 * * ? *)",
                "timezone": "Asia/Shanghai",
                "window_days": 7,
            },
        }
    },
}


def batcat(
    *arguments: str | Path, cwd: Path | None = None, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user would, without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "batcat_runtime", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        cwd=cwd,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
    )


def batcat_here(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line as `batcat` does, but within this process, which is quicker."""
    out, err = io.StringIO(), io.StringIO()
    shown = (contextlib.redirect_stdout(out), contextlib.redirect_stderr(err))
    with shown[0], shown[1], contextlib.chdir(cwd):
        code = run([*map(str, arguments)])
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


@pytest.fixture
def content() -> dict[str, Any]:
    """Return the content of a good script/config.json, to be changed at will."""
    return copy.deepcopy(CONFIG)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's own AWS and BatCat settings out of the tests, and each test's too."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    for name in list(os.environ):
        if name.startswith("BATCAT_") or (
            name.startswith("AWS_") and name not in {"AWS_CA_BUNDLE"}
        ):
            monkeypatch.delenv(name)
