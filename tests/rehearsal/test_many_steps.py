"""A purpose of many steps, rehearsed: side by side, and in shards."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from batcat_runtime.project import new_project
from tests.rehearsal.records import rehearsed

# Ten files for four instances.
CLEAN = """
import pandas as pd, batcat_runtime as bc
with bc.processing_job("usage-analysis") as job:
    usage = pd.concat(map(pd.read_csv, job.input_files("usage")))
    for vin, rows in usage.groupby("vin"):
        for half in (0, 1):
            job.save(rows.iloc[half::2], f"{vin}-{half}.csv")
"""
FEATURES = """
import pandas as pd, batcat_runtime as bc
with bc.processing_job("usage-analysis") as job:
    files = job.input_files("clean")
    print("instance", job.shard.index, "has", len(files), "files")
    rows = [len(pd.read_csv(file)) for file in files]
    names = [file.name for file in files]
    job.save(pd.DataFrame({"file": names, "rows": rows, "shard": job.shard.index}), "features.csv")
"""
LIMITS = """
import pandas as pd, batcat_runtime as bc
with bc.processing_job("usage-analysis") as job:
    job.save(pd.DataFrame({"file": [file.name for file in job.input_files("clean")]}), "limits.csv")
"""
PREDICT = """
import pandas as pd, batcat_runtime as bc
with bc.processing_job("usage-analysis") as job:
    features = pd.concat(map(pd.read_csv, job.input_files("features")))
    limits = pd.concat(map(pd.read_csv, job.input_files("limits")))
    job.save(limits.merge(features, how="outer", on="file"), "usage-analysis.csv")
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project whose purpose cleans, computes features beside limits, and predicts."""
    made = new_project({}, no_input=True, output_dir=tmp_path)
    for name, code in (
        ("clean", CLEAN),
        ("features", FEATURES),
        ("limits", LIMITS),
        ("usage-analysis", PREDICT),
    ):
        (made / "script" / f"{name}.py").write_text(code, encoding="utf-8")
    file = made / "script" / "config.json"
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    purpose = content["purposes"]["usage-analysis"]
    clean = {**purpose["steps"][0], "name": "clean", "script": "clean.py"}
    features = {
        "name": "features",
        "script": "features.py",
        "instance_count": 4,
        "inputs": {"clean": {"step": "clean", "sharded": True}},
    }
    limits = {"name": "limits", "script": "limits.py"}
    predict = {"name": "predict", "script": "usage-analysis.py"}
    purpose["steps"] = [clean, [features, limits], predict]
    file.write_text(json.dumps(content, indent=2), encoding="utf-8")
    return made


def kept(project: Path, pattern: str) -> list[Path]:
    return sorted((project / "data" / "result" / "rehearsal").rglob(pattern))


def indents(output: str) -> dict[str, int]:
    """Return how far each step of the printed table is indented."""
    lines = [line for line in output.splitlines() if "succeeded" in line or "failed" in line]
    return {line.split()[0]: len(line) - len(line.lstrip()) for line in lines if line.strip()}


def test_shards_see_their_own_keys_and_side_by_side_steps_meet(project: Path) -> None:
    done = rehearsed(project)
    assert done.record.status == "succeeded", done.said
    [file] = kept(project, "usage-analysis.csv")
    result = pd.read_csv(file)
    # Every key of the step before was seen, none twice, and all four instances had some.
    assert result["file"].is_unique
    assert result.notna().all().all()
    assert len(result) == 10
    assert sorted(result["shard"].unique()) == [0, 1, 2, 3]
    assert result.groupby("shard").size().max() <= 4

    manifest = json.loads(file.with_name("_manifest.json").read_text())
    assert (manifest["step"], manifest["rows"]) == ("predict", 10)
    sources = {one["name"]: one for one in manifest["inputs"]}
    assert sources["features"]["files"] == 4  # disjoint files of four instances
    for name in ("features", "limits"):
        place = f"/battery/_work/usage-analysis/{name}/run={manifest['run_id']}/"
        assert sources[name]["source"].endswith(place)

    # The console shows what ran inside what.
    levels = indents(done.said)
    assert levels["clean"] == levels["predict"] < levels["features"] == levels["limits"]

    report = done.report
    assert "features and limits" in report
    for number in range(1, 5):
        assert f"job features, instance {number} of 4" in report
    assert "job limits" in report
    assert "4 x ml.m5.xlarge" in report
    # The picture is folded: no questions after jobs in it, but all in the definition.
    picture = report[report.index('<ol class="boxes">') : report.index('id="timeline"')]
    assert "features completed?" not in picture
    assert "features completed?" in report


def test_a_branch_that_fails_is_told_with_its_own_reason(project: Path) -> None:
    (project / "script" / "limits.py").write_text("raise SystemExit('no limits known')")
    slow = "import time\nprint('slow', flush=True)\ntime.sleep(300)\n"
    (project / "script" / "features.py").write_text(slow)
    done = rehearsed(project)
    assert done.record.status == "failed"
    assert "The script of limits failed (exit code: 1): no limits known" in done.said
    report = done.report
    assert "failed at the job “usage-analysis-limits-" in report
    rows = re.findall(r"<li class=.*?</li>", report[report.index('<ol class="timeline">') :])
    outcome = {
        name: next(row for row in rows if f'<span class="name">{name}</span>' in row)
        for name in ("clean", "features and limits", "features", "limits")
    }
    assert "succeeded" in outcome["clean"]
    assert "stopped" in outcome["features"]
    assert "failed" in outcome["limits"]
    assert "failed" in outcome["features and limits"]
    assert not kept(project, "*")


def test_more_instances_than_keys_is_no_failure(project: Path) -> None:
    file = project / "script" / "config.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    shared = {"s3": "s3://project-battery-result/raw/usage/", "sharded": True}
    step = {"name": "count", "script": "count.py", "instance_count": 2, "inputs": {"usage": shared}}
    content["purposes"]["usage-analysis"]["steps"] = [step]
    file.write_text(json.dumps(content), encoding="utf-8")
    (project / "script" / "count.py").write_text(
        "import pandas as pd, batcat_runtime as bc\n"
        "with bc.processing_job('usage-analysis') as job:\n"
        "    job.save(pd.DataFrame({'files': [len(job.input_files('usage'))]}), 'count.csv')\n"
    )
    done = rehearsed(project)
    assert done.record.status == "succeeded", done.said
    assert "got no file of the input usage" in done.report
    assert [path.name for path in kept(project, "count*.csv")] == ["count-00000.csv"]
    assert len(kept(project, "_manifest-0000*.json")) == 2
