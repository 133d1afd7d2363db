"""The whole way, through the command line: a baked project, deployed and run, three partitions."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from batcat_runtime.project import new_project
from tests.conftest import batcat
from tests.rehearsal.records import rehearsed


@pytest.fixture(scope="module")
def baked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project to copy."""
    place = tmp_path_factory.mktemp("baked")
    return new_project({"example": "battery"}, no_input=True, output_dir=place)


@pytest.fixture
def project(baked: Path, tmp_path: Path) -> Path:
    """Return a project of the test's own."""
    return shutil.copytree(baked, tmp_path / "project_battery")


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> str:
    """Put a mark into the environment by which every process of this test can be found."""
    value = uuid.uuid4().hex
    monkeypatch.setenv("TEST_MARK", value)
    return value


def edit_config(project: Path, change: Callable[[dict[str, Any]], None]) -> None:
    file = project / "script" / "config.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    change(content)
    file.write_text(json.dumps(content, indent=2), encoding="utf-8")


def replace_script(project: Path, code: str) -> None:
    (project / "script" / "usage-analysis.py").write_text(code, encoding="utf-8")


def report_of(project: Path) -> str:
    return (project / "report" / "rehearsal-usage-analysis.html").read_text(encoding="utf-8")


def left_running(mark: str) -> list[str]:
    """Return the command lines of processes that carry the mark, this one's aside."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (
                process.name != str(os.getpid())
                and mark.encode() in (process / "environ").read_bytes()
            ):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def test_a_fresh_project_rehearses_and_agrees_with_the_laptop(project: Path, mark: str) -> None:
    done = batcat("rehearse", "-C", project)
    assert done.returncode == 0, done.stdout + done.stderr
    for step in ("sample data", "container image", "roles", "workflow", "trigger", "fires"):
        assert step in done.stdout
    report, registry = report_of(project), "123456789012.dkr.ecr.cn-northwest-1.amazonaws.com.cn"
    assert set(re.findall(r"arn:(aws[a-z-]*):", report)) == {"aws-cn"}
    assert f"{registry}/battery@sha256:" in report
    path = str(project / "report" / "rehearsal-usage-analysis.html")
    assert path in done.stdout.replace("\n", "")
    (result,) = (project / "data" / "result" / "rehearsal").rglob("usage-analysis.csv")
    assert "date=2022-01-01" in result.parts
    frame = pd.read_csv(result)
    assert frame["vin"].nunique() == 5
    manifest = json.loads(result.with_name("_manifest.json").read_text())
    assert manifest["rows"] == len(frame)
    assert (manifest["date_start"], manifest["date_end"]) == ("2022-01-01", "2022-01-08")
    assert manifest["image"].startswith(f"{registry}/battery@sha256:")
    assert left_running(mark) == []
    window = {"BATCAT_DATE_START": "2022-01-01", "BATCAT_DATE_END": "2022-01-08"}
    environment = {**os.environ, **window, "BATCAT_ML_ROOT": str(project / "nowhere")}
    script = project / "script" / "usage-analysis.py"
    subprocess.run([sys.executable, str(script)], env=environment, check=True)
    local = next((project / "data" / "result" / "usage-analysis").rglob("usage-analysis.csv"))
    assert result.read_bytes() == local.read_bytes()


LEAVE = """
import os, subprocess, sys
from pyarrow import fs
for host, port in (("127.0.0.1", {port}), ("192.0.2.7", 443)):
    code = f"exec 3<>/dev/tcp/{{host}}/{{port}}"
    print(host, subprocess.run(["timeout", "3", "bash", "-c", code]).returncode != 0, flush=True)
try:
    fs.S3FileSystem(endpoint_override="http://127.0.0.1:{port}", connect_timeout=1,
                    access_key="a", secret_key="b").get_file_info("bucket/key")
except OSError as error:
    print("arrow", "connect" in str(error).lower(), flush=True)
import pandas
pandas.read_csv("{laptop}")  # whose traceback is longer than what is shown
"""


def test_nothing_leaves_a_rehearsal_and_a_job_sees_no_laptop(project: Path) -> None:
    """Not even what opens sockets in C, nor another server on this very machine."""
    probe = [sys.executable, "-c", "from batcat_runtime.rehearsal.seal import seal; print(seal())"]
    reason = subprocess.run(probe, capture_output=True, text=True, check=True).stdout.strip()
    if reason:
        pytest.skip(f"no network namespace here: {reason}")
    laptop = project / "data" / "raw" / "usage" / "usage.csv.gz"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        replace_script(project, LEAVE.format(port=port, laptop=laptop))
        done = batcat("rehearse", "-C", project)
        listening.settimeout(0.01)
        with pytest.raises(TimeoutError):
            listening.accept()
    assert done.returncode == 1
    text = report_of(project)
    for line in ("127.0.0.1 True", "192.0.2.7 True", "arrow True"):
        assert line in text, done.stdout
    reason = f"FileNotFoundError: [Errno 2] No such file or directory: &#39;{laptop}&#39;"
    assert f"(exit code: 1): {reason} Fix: read it with job.input_files" in text


def test_a_script_without_a_result_fails_the_rehearsal(project: Path) -> None:
    replace_script(project, "print('nothing to say')\n")
    done = rehearsed(project)
    assert done.record.status == "failed"
    assert "without a result" in done.said
    assert "nothing to say" in done.report


def test_a_rehearsal_has_a_time_limit_of_its_own(project: Path, mark: str) -> None:
    replace_script(project, "import time\ntime.sleep(600)\n")
    done = batcat("rehearse", "-C", project, "--timeout", "3")
    assert done.returncode == 1
    assert "--timeout" in done.stdout
    assert left_running(mark) == []


def test_ctrl_c_leaves_nothing_running(project: Path, mark: str) -> None:
    replace_script(project, "import time\nprint('hanging', flush=True)\ntime.sleep(600)\n")
    running = subprocess.Popen(
        [sys.executable, "-m", "batcat_runtime", "rehearse", "-v", "-C", str(project)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert running.stdout is not None
    for line in running.stdout:
        if "state usage-analysis entered" in line:
            break
    time.sleep(1)
    os.killpg(running.pid, signal.SIGINT)
    rest = running.stdout.read()
    assert running.wait(timeout=30) == 130, rest
    assert "Traceback" not in rest
    running.stdout.close()
    deadline = time.monotonic() + 10
    while left_running(mark) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left_running(mark) == []


def test_a_broken_template_is_reported(project: Path) -> None:
    template = project / "deploy" / "workflow.yaml"
    template.write_text(template.read_text().replace("RetentionInDays: 90", "RetentionInDays: 91"))
    done = rehearsed(project)
    assert done.record.status == "failed"
    assert "AWS::Logs::LogGroup LogGroup: " in done.said
    assert "deployment" in done.said


def test_a_failing_script_is_told_with_its_last_lines_and_by_mail(project: Path, mark: str) -> None:
    edit_config(project, lambda content: content.update(alert_email="nights@example.com"))
    replace_script(project, "print('reading')\nraise KeyError('no column 电压')\n")
    done = rehearsed(project)
    assert done.record.status == "failed"
    first = "The script of usage-analysis failed (exit code: 1): KeyError: 'no column 电压'"
    assert first in done.said.splitlines()
    report = done.report
    assert report.index("no column 电压") < report.index("reading")
    assert not (project / "data" / "result" / "rehearsal").exists()
    assert left_running(mark) == []
    told = done.said.partition("On AWS, nights@example.com would get a mail:\n")[2]
    assert re.match(r'  "battery--usage-analysis: the execution \S+ ended FAILED\."\n', told), told
    assert "KeyError: 'no column 电压'" in told


def test_a_trigger_that_fails_is_told_by_mail(project: Path) -> None:
    edit_config(project, lambda content: content.update(alert_email="nights@example.com"))
    function = project / "deploy" / "lambda" / "lambda_function.py"
    function.write_text("def lambda_handler(event, context):\n    raise ValueError('no day')\n")
    done = rehearsed(project)
    assert done.record.status == "failed"
    assert "ValueError: no day" in done.said
    assert "On AWS, nights@example.com would get a mail:" in done.said
    assert "battery--usage-analysis--trigger failed" in done.said


def test_a_weaker_sandbox_is_told_and_given_roles_are_used(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCAT_SANDBOX", "paths")
    arn = "arn:aws-cn:iam::123456789012:role/team/batcat"
    edit_config(project, lambda content: content.update(workflow_execution_role=arn))
    done = batcat("rehearse", "-C", project)
    assert done.returncode == 0, done.stdout
    assert "AWS::IAM::Role" not in report_of(project)
    told = "Jobs could read all files of this machine: BATCAT_SANDBOX asks for it."
    assert told in done.stdout
    assert told in report_of(project)


def test_hostile_names_rehearse_in_another_partition(tmp_path: Path) -> None:
    answers = {"project_name": "电池 'A' \"B\" <b> $HOME `x`", "region": "us-east-1"}
    project = new_project(answers, no_input=True, output_dir=tmp_path)
    done = rehearsed(project)
    assert done.record.status == "succeeded", done.said
    report = done.report
    assert "电池" in report
    assert "<b> $HOME" not in report
    assert set(re.findall(r"arn:(aws[a-z-]*):", report)) == {"aws"}
    assert ".dkr.ecr.us-east-1.amazonaws.com/" in report


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda project: (project / "script" / "config.json").write_text("{"), "is no JSON"),
        (
            lambda project: [one.unlink() for one in (project / "data" / "raw").rglob("*.gz")],
            "There are no data",
        ),
    ],
)
def test_mistakes_are_told_before_anything_starts(
    project: Path, break_it: Callable[[Path], Any], said: str
) -> None:
    break_it(project)
    done = batcat("rehearse", "-C", project)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((project / "report").glob("*.html"))


def test_impossible_options_are_told(project: Path) -> None:
    for arguments, said in (
        (("--at", "tomorrow"), "is no time"),
        (("--purpose", "forecast"), "no purpose 'forecast'"),
        (("--timeout", "0"), "timeout"),
    ):
        done = batcat("rehearse", "-C", project, *arguments)
        assert done.returncode == 2
        assert said in done.stderr
