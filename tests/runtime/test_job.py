"""The processing-job contract, through its two doors: the script's and the container's."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import batcat_runtime as bc
from batcat_runtime.errors import JobError

GOOD = """
import pandas as pd, batcat_runtime as bc
with bc.processing_job("usage-analysis") as job:
    rows = sum(len(pd.read_csv(path)) for path in job.input_files("usage"))
    print("rows", rows)
    job.save(pd.DataFrame({"rows": [rows], "day": [job.date_start]}), "usage-analysis.csv")
"""

SLOW = """
import os, time, batcat_runtime as bc
def wait():
    print("ready", flush=True)
    time.sleep(60)
with bc.processing_job("usage-analysis") as job:
    wait()
"""


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder laid out as /opt/ml, with one input, and tell the runtime where it is."""
    root = tmp_path / "opt" / "ml"
    (root / "processing" / "input" / "usage").mkdir(parents=True)
    (root / "processing" / "output").mkdir()
    (root / "config").mkdir()
    (root / "processing" / "input" / "usage" / "a.csv").write_text("x\n1\n2\n")
    monkeypatch.setenv("BATCAT_ML_ROOT", str(root))
    monkeypatch.setenv("BATCAT_RUN_ID", "run-1")
    monkeypatch.setenv("BATCAT_DATE_START", "2022-01-01")
    monkeypatch.setenv("BATCAT_DATE_END", "2022-01-08")
    return root


def results(root: Path) -> Path:
    return root / "processing" / "output" / "date=2022-01-01" / "run=run-1"


def run_job(tmp_path: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "script.py"
    script.write_text(code, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "batcat_runtime.job", str(script), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def message(root: Path) -> str:
    return (root / "output" / "message").read_text(encoding="utf-8")


def test_a_result_is_written_with_its_manifest(container: Path) -> None:
    frame = pd.DataFrame({"vin": ["a", "b"], "wh": [1.5, None]})
    with bc.processing_job("usage-analysis") as job:
        job.input_files("usage")
        job.save(frame, "usage-analysis.csv")
        job.save(frame, "usage-analysis.parquet")
    folder = results(container)
    pd.testing.assert_frame_equal(pd.read_csv(folder / "usage-analysis.csv"), frame)
    manifest = json.loads((folder / "_manifest.json").read_text())
    assert manifest["rows"] == 4
    assert (manifest["date_start"], manifest["date_end"]) == ("2022-01-01", "2022-01-08")
    assert manifest["inputs"] == [{"name": "usage", "source": "", "files": 1, "bytes": 6}]
    for file in manifest["files"]:
        data = (folder / file["name"]).read_bytes()
        assert file["bytes"] == len(data)
        assert file["sha256"] == hashlib.sha256(data).hexdigest()
    assert names_in(container / "processing") == ["input", "output"]


def test_an_exception_leaves_nothing_behind(container: Path) -> None:
    def script() -> None:
        with bc.processing_job("usage-analysis") as job:
            job.save(pd.DataFrame({"a": [1]}), "usage-analysis.csv")
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        script()
    assert list((container / "processing" / "output").rglob("*")) == []
    assert names_in(container / "processing") == ["input", "output"]


def test_no_saved_file_is_an_error(container: Path) -> None:
    with pytest.raises(JobError, match="saved no file"), bc.processing_job("usage-analysis"):
        pass
    assert list((container / "processing" / "output").iterdir()) == []


def test_a_second_run_of_the_same_window_is_beside_the_first(
    container: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for run in ("run-1", "run-2"):
        monkeypatch.setenv("BATCAT_RUN_ID", run)
        with bc.processing_job("usage-analysis") as job:
            job.save(pd.DataFrame({"a": [1]}), "a.csv")
    assert names_in(results(container).parent) == ["run=run-1", "run=run-2"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("BATCAT_DATE_START", "yesterday", "BATCAT_DATE_START='yesterday' is no date"),
        ("BATCAT_DATE_START", "2022-01-01T05:00+08:00", "has an offset"),
        ("BATCAT_DATE_END", "2022-01-01", "window is empty"),
        ("BATCAT_DATE_END", "2022-01-01T00:00", "window is empty"),
        ("BATCAT_PARAMETERS", "{", "is no JSON"),
        ("BATCAT_PARAMETERS", '{"a": [1]}', "must be an object"),
    ],
)
def test_impossible_settings_are_refused(
    container: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(JobError, match=said), bc.processing_job("usage-analysis"):
        pytest.fail("the block must not run")


def test_a_window_may_have_hours_and_its_folder_is_the_first_day(
    container: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCAT_DATE_START", "2022-01-01T23:00")
    monkeypatch.setenv("BATCAT_DATE_END", "2022-01-02")
    with bc.processing_job("usage-analysis") as job:
        assert job.date_start == datetime(2022, 1, 1, 23)
        assert job.date_end == datetime(2022, 1, 2)
        assert isinstance(job.date_end, datetime), "both ends are of one kind"
        job.save(pd.DataFrame({"a": [1]}), "a.csv")
    manifest = json.loads((results(container) / "_manifest.json").read_text())
    window = (manifest["date_start"], manifest["date_end"])
    assert window == ("2022-01-01T23:00", "2022-01-02T00:00")


def test_without_a_window_everything_is_asked_for(
    container: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCAT_DATE_START", "")
    monkeypatch.setenv("BATCAT_DATE_END", "")
    monkeypatch.setenv("BATCAT_PARAMETERS", '{"limit": 3, "deep": true}')
    with bc.processing_job("usage-analysis") as job:
        assert (job.date_start, job.date_end) == (None, None)
        assert job.parameters == {"limit": 3, "deep": True}
        job.save(pd.DataFrame({"a": [1]}), "a.csv")


@pytest.mark.parametrize("name", ["a.xlsx", "../a.csv", "_a.csv", "sub/a.csv", ".csv"])
def test_file_names_that_cannot_be_a_result(container: Path, name: str) -> None:
    with pytest.raises(JobError), bc.processing_job("usage-analysis") as job:
        job.save(pd.DataFrame({"a": [1]}), name)


def test_inputs_skip_hidden_files_and_name_what_is_missing(container: Path) -> None:
    folder = container / "processing" / "input" / "usage"
    (folder / "_README.md").write_text("not data")
    (folder / ".partial").write_text("not data")
    (folder / "day=1").mkdir()
    (folder / "day=1" / "b.csv").write_text("x\n")
    with bc.processing_job("usage-analysis") as job:
        names = [path.name for path in job.input_files("usage")]
        assert names == ["a.csv", "b.csv"]
        assert [path.name for path in job.input_files("usage", "b*")] == ["b.csv"]
        with pytest.raises(JobError, match="no input 'weather'"):
            job.input_path("weather")
        with pytest.raises(JobError, match="holds no file that matches"):
            job.input_files("usage", "*.parquet")
        job.save(pd.DataFrame({"a": [1]}), "a.csv")


def test_shards_are_numbered_as_hosts_are(container: Path) -> None:
    hosts = [f"algo-{number}" for number in range(1, 13)]
    resources = {"current_host": "algo-10", "hosts": sorted(hosts)}
    (container / "config" / "resourceconfig.json").write_text(json.dumps(resources))
    with bc.processing_job("usage-analysis") as job:
        assert (job.shard.index, job.shard.count) == (9, 12)
        job.save(pd.DataFrame({"a": [1]}), "usage-analysis.csv")
    found = sorted(path.name for path in results(container).iterdir())
    assert found == ["_manifest-00009.json", "usage-analysis-00009.csv"]


def test_on_a_laptop_data_raw_goes_in_and_data_result_comes_out(
    tmp_path: Path, content: dict[str, Any]
) -> None:
    (tmp_path / "script").mkdir()
    (tmp_path / "script" / "config.json").write_text(json.dumps(content))
    (tmp_path / "data" / "raw" / "usage").mkdir(parents=True)
    (tmp_path / "data" / "raw" / "usage" / "a.csv").write_text("x\n1\n")
    script = tmp_path / "script" / "usage-analysis.py"
    script.write_text(GOOD, encoding="utf-8")
    environment = {**os.environ, "BATCAT_ML_ROOT": str(tmp_path / "nowhere")}
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = list((tmp_path / "data" / "result" / "usage-analysis").rglob("*.csv"))
    assert len(found) == 1
    assert found[0].parent.name.startswith("run=local-")


def test_the_entry_point_runs_a_good_script(container: Path, tmp_path: Path) -> None:
    done = run_job(tmp_path, GOOD)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rows 2" in done.stdout
    assert pd.read_csv(results(container) / "usage-analysis.csv")["rows"].tolist() == [2]
    assert not (container / "output" / "message").exists()


def test_a_container_tells_its_purpose_and_step(
    container: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(JobError, match="BATCAT_PURPOSE is not set"), bc.processing_job():
        pytest.fail("the block must not run")
    monkeypatch.setenv("BATCAT_PURPOSE", "battery")
    monkeypatch.setenv("BATCAT_STEP", "cleaning")
    with bc.processing_job("cleaning") as job:
        assert (job.purpose, job.step) == ("battery", "cleaning")
        job.save(pd.DataFrame({"a": [1]}), "a.csv")
    assert json.loads((results(container) / "_manifest.json").read_text())["purpose"] == "battery"


def test_arguments_reach_the_script(container: Path, tmp_path: Path) -> None:
    done = run_job(tmp_path, "import sys; print(sys.argv[1:])" + GOOD, "--deep", "a b")
    assert "['--deep', 'a b']" in done.stdout


def test_a_failing_script_leaves_its_last_lines(container: Path, tmp_path: Path) -> None:
    done = run_job(tmp_path, "print('x' * 5000)\nraise ValueError('no such column: 电压')")
    assert done.returncode == 1
    assert message(container).endswith("ValueError: no such column: 电压")
    assert len(message(container).encode()) <= 1024


def test_of_a_long_message_the_exceptions_own_line_stands_first(
    container: Path, tmp_path: Path
) -> None:
    many = "'these columns are missing:\\n' + '\\n'.join('column %d' % n for n in range(150))"
    assert run_job(tmp_path, f"raise ValueError({many})").returncode == 1
    lines = message(container).splitlines()
    assert (lines[0], lines[-1]) == ("ValueError: these columns are missing:", "column 149")
    assert len(message(container).encode()) <= 1024


def test_an_exit_code_is_passed_on(container: Path, tmp_path: Path) -> None:
    assert run_job(tmp_path, "import sys; sys.exit('I gave up')").returncode == 1
    assert message(container) == "I gave up"
    assert run_job(tmp_path, "import os; os._exit(7)").returncode == 7


def test_a_script_without_a_result_fails(container: Path, tmp_path: Path) -> None:
    done = run_job(tmp_path, "print('all is well')")
    assert done.returncode == 1
    assert "without a result" in done.stderr
    assert "all is well" in message(container)
    assert "without a result" in message(container)


def test_a_killed_script_says_which_signal(container: Path, tmp_path: Path) -> None:
    done = run_job(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert done.returncode == 128 + 9
    assert "SIGKILL" in message(container)


def test_a_missing_script_is_named(container: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "batcat_runtime.job", "/nowhere/x.py"], check=False
    )
    assert done.returncode == 2
    assert "/nowhere/x.py" in message(container)


def test_stopping_the_container_stops_the_script(container: Path, tmp_path: Path) -> None:
    script = tmp_path / "slow.py"
    script.write_text(SLOW, encoding="utf-8")
    job = subprocess.Popen(
        [sys.executable, "-m", "batcat_runtime.job", str(script)], stdout=subprocess.PIPE, text=True
    )
    assert job.stdout is not None
    assert job.stdout.readline() == "ready\n"
    started = time.monotonic()
    job.send_signal(signal.SIGTERM)
    assert job.wait(timeout=20) == 128 + signal.SIGTERM
    assert time.monotonic() - started < 20
    ended = "The script was ended by signal 15 (SIGTERM) at slow.py, line 5 in wait."
    assert message(container).splitlines()[-1] == ended
    assert list((container / "processing" / "output").iterdir()) == [], "it would be uploaded"
    job.stdout.close()


def test_what_a_killed_run_has_left_is_removed_by_the_next(container: Path, tmp_path: Path) -> None:
    output, script = container / "processing" / "output", tmp_path / "killed.py"
    script.write_text(SLOW.replace("time.sleep(60)", "os.kill(os.getpid(), 9)"), encoding="utf-8")
    assert subprocess.run([sys.executable, str(script)], check=False).returncode == -9
    assert [path.name[:8] for path in output.iterdir()] == [".batcat-"]
    with bc.processing_job("usage-analysis") as job:
        job.save(pd.DataFrame({"a": [1]}), "a.csv")
    assert [path.name for path in output.iterdir()] == ["date=2022-01-01"]


def test_the_same_run_twice_is_refused_and_the_first_stays(container: Path) -> None:
    def save(value: int) -> None:
        with bc.processing_job("usage-analysis") as job:
            job.save(pd.DataFrame({"a": [value]}), "a.csv")

    save(1)
    with pytest.raises(JobError, match=r"The run run-1 has left a result already: .*run=run-1"):
        save(2)
    assert (results(container) / "a.csv").read_text("utf-8") == "a\n1\n"
