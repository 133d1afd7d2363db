"""Steps on Spark on a laptop: a real Spark, and the contract of any job."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.spark import FEW, NEEDS_SPARK, shown_files

USAGE = "vin,usage\nA,1\nB,2\nA,3\nC,-1\n"
INPUT_FILES = (
    "import batcat_runtime as bc\nwith bc.processing_job() as job: job.input_files('usage')"
)


@pytest.fixture
def project(tmp_path: Path, content: dict[str, Any]) -> Path:
    """Return a project with the two steps of docs/scale.md."""
    files = shown_files()
    content["purposes"]["usage-analysis"] |= json.loads(f"{{{files.pop('script/config.json')}}}")
    files |= {"script/config.json": json.dumps(content), "data/raw/usage/usage.csv": USAGE}
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def run(project: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "batcat_runtime", "run", "--local"],
        cwd=project,
        env={**os.environ, **FEW, **more},
        capture_output=True,
        text=True,
        check=False,
    )


@NEEDS_SPARK
def test_the_steps_of_the_page_read_and_write_the_project_s_folders(project: Path) -> None:
    done = run(project)
    assert done.returncode == 0, done.stderr
    (manifest,) = project.glob("data/result/usage-analysis/date=*/run=*/_manifest.json")
    found = json.loads(manifest.read_text())
    names = [file["name"] for file in found["files"]]
    assert names == ["usage-analysis-00000.csv"]
    assert sorted(path.name for path in manifest.parent.iterdir()) == ["_manifest.json", *names]
    (file,) = found["files"]
    content = (manifest.parent / names[0]).read_bytes()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["sha256"])
    total = pd.read_csv(manifest.parent / names[0])
    assert dict(zip(total["vin"], total["sum(usage)"], strict=True)) == {"A": 4, "B": 2}
    assert found["rows"] == 2


@NEEDS_SPARK
def test_files_are_spark_s_to_read(project: Path) -> None:
    (project / "script" / "clean.py").write_text(INPUT_FILES)
    done = run(project)
    assert done.returncode == 1
    assert "spark.read.csv(job.input_uri('usage'), header=True)" in done.stderr


def test_a_laptop_without_java_or_pyspark_says_what_to_install(project: Path) -> None:
    done = run(project, PATH="/nowhere", JAVA_HOME="")
    assert done.returncode == 1
    assert "Run `pip install" in done.stderr or "openjdk-17-jre-headless" in done.stderr
