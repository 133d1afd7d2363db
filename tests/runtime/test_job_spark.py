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

from tests.spark import CLEAN, NEEDS_SPARK, SHARED, TOTAL, USAGE

pytestmark = NEEDS_SPARK


@pytest.fixture
def project(tmp_path: Path, content: dict[str, Any]) -> Path:
    steps = [
        {"name": "clean", "script": "clean.py", "engine": "spark"},
        {"name": "total", "script": "total.py", "engine": "spark"},
    ]
    steps[0]["inputs"] = {"usage": "s3://2022-rnd-battery/raw/usage/"}  # type: ignore[assignment]
    content["purposes"]["usage-analysis"]["steps"] = steps
    for path, text in {
        "script/config.json": json.dumps(content),
        "script/clean.py": CLEAN,
        "script/shared.py": SHARED,
        "script/total.py": TOTAL,
        "data/raw/usage/usage.csv": USAGE,
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def run(project: Path, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "batcat_runtime", "run", "--local"]
    few = "--master local[2] --conf spark.sql.shuffle.partitions=2 --conf spark.ui.enabled=false"
    told = {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_SUBMIT_ARGS": f"{few} pyspark-shell"}
    return subprocess.run(
        command,
        cwd=project,
        env={**os.environ, **told, **more},
        capture_output=True,
        text=True,
        check=False,
    )


def test_spark_reads_and_writes_the_project_s_folders(project: Path) -> None:
    done = run(project)
    assert done.returncode == 0, done.stderr
    assert f"at file://{project / 'data/raw/usage'} file:///" in done.stdout
    (manifest,) = project.glob("data/result/usage-analysis/date=*/run=*/_manifest.json")
    told = json.loads(manifest.read_text())
    names = [file["name"] for file in told["files"]]
    assert names == ["count.csv", "total-00000.csv", "total-00001.csv"]
    assert sorted(path.name for path in manifest.parent.iterdir()) == ["_manifest.json", *names]
    for file in told["files"]:
        content = (manifest.parent / file["name"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (
            file["bytes"],
            file["sha256"],
        )
    total = pd.concat(pd.read_csv(manifest.parent / name) for name in names[1:])
    assert dict(zip(total["vin"], total["x"], strict=True)) == {"A": 4, "B": 2}
    assert told["rows"] == 3


def test_files_are_spark_s_to_read(project: Path) -> None:
    script = (
        "import batcat_runtime as bc\nwith bc.processing_job() as job: job.input_files('usage')"
    )
    (project / "script" / "clean.py").write_text(script)
    done = run(project)
    assert done.returncode == 1
    assert "spark.read.csv(job.input_uri('usage'), header=True)" in done.stderr


def test_a_laptop_without_java_says_what_to_install(project: Path) -> None:
    done = run(project, PATH="/nowhere", JAVA_HOME="")
    assert done.returncode == 1
    assert "there is no `java` here" in done.stderr
    assert "openjdk-17-jre-headless" in done.stderr
