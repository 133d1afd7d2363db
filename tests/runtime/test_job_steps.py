"""A job of many: steps that feed each other on a laptop, instances that share the work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import batcat_runtime as bc
from batcat_runtime.errors import JobError

SCRIPT = """
import sys
import pandas as pd, batcat_runtime as bc
with bc.processing_job() as job:
    parts = [pd.read_csv(path) for name in {inputs} for path in job.input_files(name)]
    table = pd.concat(parts, ignore_index=True)
    table["way"] = table["way"] + "{name}" + "".join(sys.argv[1:])
    job.save(table, "{name}.csv")
"""
STEPS: list[Any] = [
    {"name": "clean", "script": "clean.py", "inputs": {"usage": "s3://a-bucket/raw/usage/"}},
    [{"name": "left", "script": "left.py"}, {"name": "right", "script": "right.py"}],
    {"name": "join", "script": "join.py", "arguments": ["!"]},
]


@pytest.fixture
def project(tmp_path: Path, content: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project of four steps, two of them side by side."""
    content["purposes"] = {"battery": {"steps": STEPS}}
    (tmp_path / "script").mkdir()
    (tmp_path / "script" / "config.json").write_text(json.dumps(content))
    for name, inputs in (
        ("clean", ["usage"]),
        ("left", ["clean"]),
        ("right", ["clean"]),
        ("join", ["left", "right"]),
    ):
        code = SCRIPT.format(name=name, inputs=inputs)
        (tmp_path / "script" / f"{name}.py").write_text(code)
    (tmp_path / "data" / "raw" / "usage").mkdir(parents=True)
    (tmp_path / "data" / "raw" / "usage" / "a.csv").write_text("way\n>\n")
    monkeypatch.setenv("BATCAT_ML_ROOT", str(tmp_path / "nowhere"))
    return tmp_path


def run(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=project, capture_output=True, text=True, check=False
    )


def manifest_below(folder: Path) -> dict[str, Any]:
    [file] = folder.rglob("_manifest.json")
    return dict(json.loads(file.read_text()))


@pytest.mark.parametrize("named", ["", "Path(__file__).stem"])
def test_make_run_runs_all_steps_in_order(project: Path, named: str) -> None:
    for script in (project / "script").glob("*.py"):
        code = script.read_text().replace("job()", f"job({named})")
        script.write_text(f"from pathlib import Path\n{code}")
    done = run(project, "-m", "batcat_runtime", "run", "--local", "-p", "battery")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("step ")] == [
        "step 1 of 4: clean",
        "step 2 of 4: left",
        "step 3 of 4: right",
        "step 4 of 4: join",
    ]
    [result] = (project / "data" / "result" / "battery").rglob("join.csv")
    assert sorted(pd.read_csv(result)["way"]) == [">cleanleftjoin!", ">cleanrightjoin!"]
    between = sorted(path.name for path in (project / "data" / "tmp" / "battery").iterdir())
    assert between == ["clean", "left", "right"]
    # A manifest names the run, the step, and where its inputs came from.
    last = manifest_below(project / "data" / "result")
    first = manifest_below(project / "data" / "tmp" / "battery" / "clean")
    assert (last["step"], first["step"]) == ("join", "clean")
    assert last["run_id"] == first["run_id"]
    assert [(one["name"], one["files"]) for one in last["inputs"]] == [("left", 1), ("right", 1)]
    assert first["inputs"][0]["source"] == "data/raw/usage"
    assert last["inputs"][0]["source"].startswith("data/tmp/battery/left/date=")


def test_a_step_alone_takes_the_newest_output_of_the_one_before(project: Path) -> None:
    for text in ("old", "new"):
        (project / "data" / "raw" / "usage" / "a.csv").write_text(f"way\n{text}\n")
        assert run(project, "script/clean.py").returncode == 0
    assert run(project, "script/left.py").returncode == 0
    [file] = (project / "data" / "tmp" / "battery" / "left").rglob("left.csv")
    assert pd.read_csv(file)["way"].tolist() == ["newcleanleft"]


def test_a_step_says_which_step_must_run_before_it(project: Path) -> None:
    done = run(project, "script/left.py")
    assert done.returncode == 1
    assert "the output of the step 'clean', which has not run" in done.stderr
    assert "script/clean.py" in done.stderr


def test_the_first_failing_script_ends_it(project: Path) -> None:
    (project / "script" / "left.py").write_text("raise SystemExit(7)")
    done = run(project, "-m", "batcat_runtime", "run", "--local")
    assert done.returncode == 7
    assert "step 3" not in done.stdout
    assert not (project / "data" / "result").exists()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("print('all is well')", "without a result"),
        ("import batcat_runtime as bc\nwith bc.processing_job():\n    pass", "saved no file"),
        (SCRIPT.format(name="clean", inputs=["weather"]), "no input 'weather'"),
        (SCRIPT.format(name="clean", inputs=["left"]), "no input 'left'"),
    ],
)
def test_a_laptop_refuses_what_a_rehearsal_would(project: Path, code: str, said: str) -> None:
    (project / "data" / "raw" / "weather").mkdir()
    (project / "data" / "raw" / "weather" / "a.csv").write_text("way\n>\n")
    (project / "script" / "clean.py").write_text(code)
    done = run(project, "-m", "batcat_runtime", "run", "--local")
    assert done.returncode == 1
    assert said in done.stderr
    assert "step 2" not in done.stdout


@pytest.mark.parametrize("named", ["", "'battery'"])
def test_a_script_that_is_no_step_has_no_job(project: Path, named: str) -> None:
    code = f"import batcat_runtime as bc\nwith bc.processing_job({named}):\n    pass"
    (project / "script" / "other.py").write_text(code)
    done = run(project, "script/other.py")
    assert done.returncode == 1
    assert "No step in script/config.json runs other.py" in done.stderr


def test_one_script_for_two_purposes_is_told_by_its_name_or_by_make_run(project: Path) -> None:
    file = project / "script" / "config.json"
    content = json.loads(file.read_text())
    content["purposes"]["other"] = {"steps": STEPS[:1]}
    file.write_text(json.dumps(content))
    assert "BATCAT_PURPOSE=battery BATCAT_STEP=clean" in run(project, "script/clean.py").stderr
    assert run(project, "-m", "batcat_runtime", "run", "--local", "-p", "other").returncode == 0
    assert (project / "data" / "result" / "other").is_dir()
    script = project / "script" / "clean.py"
    script.write_text(script.read_text().replace("job()", "job('battery')"))
    assert run(project, "script/clean.py").returncode == 0
    assert (project / "data" / "tmp" / "battery" / "clean").is_dir()


def test_one_script_for_two_steps_must_be_told_which_it_is(project: Path) -> None:
    file = project / "script" / "config.json"
    file.write_text(file.read_text().replace("right.py", "left.py"))
    assert run(project, "script/clean.py").returncode == 0
    done = run(project, "script/left.py")
    assert "BATCAT_STEP=left" in done.stderr
    environment = {**os.environ, "BATCAT_STEP": "right"}
    script = [sys.executable, "script/left.py"]
    assert subprocess.run(script, cwd=project, env=environment, check=False).returncode == 0
    assert (project / "data" / "tmp" / "battery" / "right").is_dir()
    assert run(project, "-m", "batcat_runtime", "run", "--local").returncode == 0


# --- several instances ----------------------------------------------------------------------------


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the /opt/ml of the third of four instances, with one input."""
    root = tmp_path / "opt" / "ml"
    (root / "processing" / "input" / "usage").mkdir(parents=True)
    (root / "processing" / "output").mkdir()
    (root / "config").mkdir()
    hosts = [f"algo-{number}" for number in range(1, 5)]
    resources = {"current_host": "algo-3", "hosts": hosts}
    (root / "config" / "resourceconfig.json").write_text(json.dumps(resources))
    uri = "s3://a-bucket/steps/clean/run=r/"
    place = {"S3Uri": uri, "S3DataDistributionType": "ShardedByS3Key"}
    job = {"ProcessingInputs": [{"InputName": "usage", "S3Input": place}]}
    (root / "config" / "processingjobconfig.json").write_text(json.dumps(job))
    monkeypatch.setenv("BATCAT_ML_ROOT", str(root))
    monkeypatch.setenv("BATCAT_RUN_ID", "r")
    monkeypatch.setenv("BATCAT_STEP", "features")
    monkeypatch.setenv("BATCAT_RUN_STARTED", "2022-01-08T23:59:59.123Z")
    return root


def result_of(root: Path) -> Path:
    """Return where the result is: without a window, below the day on which the run began."""
    return root / "processing" / "output" / "date=2022-01-08" / "run=r"


def test_instances_write_disjoint_files_their_own_ones_too(instance: Path) -> None:
    (instance / "processing" / "input" / "usage" / "a.csv").write_text("x\n1\n")
    with bc.processing_job("battery") as job:
        assert len(job.input_files("usage")) == 1
        job.save(pd.DataFrame({"x": [1, 2]}), "features.csv")
        (job.output_path / "plot.svg").write_text("<svg/>")
    names = sorted(path.name for path in result_of(instance).iterdir())
    assert names == ["_manifest-00002.json", "features-00002.csv", "plot-00002.svg"]
    manifest = json.loads((result_of(instance) / "_manifest-00002.json").read_text())
    assert manifest["shard"] == {"index": 2, "count": 4}
    assert (manifest["run_id"], manifest["step"], manifest["rows"]) == ("r", "features", 2)
    assert manifest["inputs"] == [
        {"name": "usage", "source": "s3://a-bucket/steps/clean/run=r/", "files": 1, "bytes": 4}
    ]
    assert [one["name"] for one in manifest["files"]] == ["features-00002.csv", "plot-00002.svg"]


def test_an_instance_that_got_no_key_has_nothing_to_do(
    instance: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (instance / "processing" / "input" / "usage" / "_manifest.json").write_text("{}")
    with bc.processing_job("battery") as job:
        job.input_files("usage", "*.csv")
        pytest.fail("there is nothing to do")
    assert [path.name for path in result_of(instance).iterdir()] == ["_manifest-00002.json"]
    manifest = json.loads((result_of(instance) / "_manifest-00002.json").read_text())
    assert (manifest["files"], manifest["rows"]) == ([], 0)
    assert "instance 3 of 4 got no file of the input usage" in caplog.text


def test_files_that_do_not_match_are_still_an_error(instance: Path) -> None:
    (instance / "processing" / "input" / "usage" / "a.parquet").write_text("x")
    with (
        pytest.raises(JobError, match="holds no file that matches"),
        bc.processing_job("battery") as job,
    ):
        job.input_files("usage", "*.csv")
    assert not result_of(instance).exists()
