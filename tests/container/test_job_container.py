"""The example's image, really built and run: the same result as on the laptop."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Containers

WINDOW = {"BATCAT_DATE_START": "2022-01-01", "BATCAT_DATE_END": "2022-01-08"}


@pytest.fixture
def ml(tmp_path: Path, project: Path) -> Path:
    """Make a folder laid out as SageMaker lays out /opt/ml, with the sample as input."""
    root = tmp_path / "ml"
    (root / "processing" / "output").mkdir(parents=True)
    (root / "output").mkdir()
    shutil.copytree(project / "data" / "raw" / "usage", root / "processing" / "input" / "usage")
    return root


@pytest.fixture(scope="session")
def expected(project: Path) -> bytes:
    """Return the result of the same script, run on this machine."""
    environment = {**os.environ, **WINDOW, "BATCAT_ML_ROOT": str(project / "nowhere")}
    script = project / "script" / "usage-analysis.py"
    subprocess.run([sys.executable, str(script)], env=environment, check=True)
    return next((project / "data" / "result").rglob("usage-analysis.csv")).read_bytes()


def result(ml: Path) -> Path:
    return ml / "processing" / "output" / "date=2022-01-01" / "run=r-1"


@pytest.mark.parametrize(
    "options",
    [(), ("--user=1234:1234", "--read-only")],
    ids=["as root", "as another user, read-only"],
)
def test_the_job_runs_without_network(
    containers: Containers, job_image: str, ml: Path, expected: bytes, options: tuple[str, ...]
) -> None:
    if options:
        for path in [ml, *ml.rglob("*")]:
            os.chown(path, 1234, 1234)
    done = containers.run_job(job_image, ml, *options, BATCAT_RUN_ID="r-1", **WINDOW)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (result(ml) / "usage-analysis.csv").read_bytes() == expected
    assert json.loads((result(ml) / "_manifest.json").read_text())["rows"] == 15


def test_a_failing_job_leaves_its_reason(containers: Containers, job_image: str, ml: Path) -> None:
    shutil.rmtree(ml / "processing" / "input")
    done = containers.run_job(job_image, ml, BATCAT_RUN_ID="r-1", **WINDOW)
    assert done.returncode == 1
    assert "There is no input 'usage'" in (ml / "output" / "message").read_text()
    assert list((ml / "processing" / "output").iterdir()) == []
