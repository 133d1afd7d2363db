"""The whole way, through the command line: a baked project, deployed and run, three partitions."""

from __future__ import annotations

import json
import os
import re
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

Bake = Callable[..., Path]


@pytest.fixture
def bake(tmp_path: Path) -> Bake:
    """Return a function that makes a project."""

    def make(**answers: str) -> Path:
        return new_project({"example": "battery", **answers}, no_input=True, output_dir=tmp_path)

    return make


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


@pytest.mark.parametrize(
    ("region", "partition", "suffix"),
    [
        ("us-east-1", "aws", "amazonaws.com"),
        ("cn-northwest-1", "aws-cn", "amazonaws.com.cn"),
    ],
)
def test_a_fresh_project_rehearses(
    bake: Bake, mark: str, region: str, partition: str, suffix: str
) -> None:
    project = bake(region=region)
    done = batcat("rehearse", "-C", project)
    assert done.returncode == 0, done.stdout + done.stderr
    for step in ("sample data", "container image", "roles", "workflow", "trigger", "fires"):
        assert step in done.stdout
    report = report_of(project)
    arns = set(re.findall(r"arn:(aws[a-z-]*):", report))
    assert arns == {partition}
    assert f".dkr.ecr.{region}.{suffix}/battery@sha256:" in report
    assert str(project / "report" / "rehearsal-usage-analysis.html") in done.stdout.replace(
        "\n", ""
    )
    results = list((project / "data" / "result" / "rehearsal").rglob("usage-analysis.csv"))
    assert len(results) == 1
    assert "date=2022-01-01" in results[0].parts
    frame = pd.read_csv(results[0])
    assert frame["vin"].nunique() == 5
    manifest = json.loads(results[0].with_name("_manifest.json").read_text())
    assert manifest["rows"] == len(frame)
    assert (manifest["date_start"], manifest["date_end"]) == ("2022-01-01", "2022-01-08")
    assert manifest["image"].startswith(f"123456789012.dkr.ecr.{region}.{suffix}/battery@sha256:")
    assert left_running(mark) == []


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
open("{laptop}")
"""


def test_nothing_leaves_a_rehearsal_and_a_job_sees_no_laptop(bake: Bake, tmp_path: Path) -> None:
    """Not even what opens sockets in C, nor another server on this very machine."""
    probe = [sys.executable, "-c", "from batcat_runtime.rehearsal.seal import seal; print(seal())"]
    reason = subprocess.run(probe, capture_output=True, text=True, check=True).stdout.strip()
    if reason:
        pytest.skip(f"no network namespace here: {reason}")
    project = bake()
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


def test_the_rehearsal_and_the_laptop_agree(bake: Bake) -> None:
    project = bake()
    assert batcat("rehearse", "-C", project).returncode == 0
    environment = {
        **os.environ,
        "BATCAT_DATE_START": "2022-01-01",
        "BATCAT_DATE_END": "2022-01-08",
        "BATCAT_ML_ROOT": str(project / "nowhere"),
    }
    script = project / "script" / "usage-analysis.py"
    subprocess.run([sys.executable, str(script)], env=environment, check=True)
    rehearsed, local = (
        next((project / "data" / "result" / folder).rglob("usage-analysis.csv")).read_bytes()
        for folder in ("rehearsal", "usage-analysis")
    )
    assert rehearsed == local


def test_a_script_without_a_result_fails_the_rehearsal(bake: Bake) -> None:
    project = bake()
    replace_script(project, "print('nothing to say')\n")
    done = batcat("rehearse", "-C", project)
    assert done.returncode == 1
    assert "without a result" in done.stdout
    assert "nothing to say" in report_of(project)


def test_a_rehearsal_has_a_time_limit_of_its_own(bake: Bake, mark: str) -> None:
    project = bake()
    replace_script(project, "import time\ntime.sleep(600)\n")
    done = batcat("rehearse", "-C", project, "--timeout", "3")
    assert done.returncode == 1
    assert "--timeout" in done.stdout
    assert left_running(mark) == []


def test_ctrl_c_leaves_nothing_running(bake: Bake, mark: str) -> None:
    project = bake()
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


def test_a_broken_template_is_reported(bake: Bake) -> None:
    project = bake()
    template = project / "deploy" / "workflow.yaml"
    template.write_text(template.read_text().replace("RetentionInDays: 90", "RetentionInDays: 91"))
    done = batcat("rehearse", "-C", project)
    assert done.returncode == 1
    assert "AWS::Logs::LogGroup LogGroup: " in done.stdout
    assert "deployment" in done.stdout


def test_a_failing_script_is_told_with_its_last_lines_and_by_mail(bake: Bake, mark: str) -> None:
    project = bake()
    edit_config(project, lambda content: content.update(alert_email="nights@example.com"))
    replace_script(project, "print('reading')\nraise KeyError('no column 电压')\n")
    done = batcat("rehearse", "-C", project)
    assert done.returncode == 1
    first = "The script of usage-analysis failed (exit code: 1): KeyError: 'no column 电压'"
    assert first in done.stdout.splitlines()
    report = report_of(project)
    assert report.index("no column 电压") < report.index("reading")
    assert not (project / "data" / "result" / "rehearsal").exists()
    assert left_running(mark) == []
    told = done.stdout.partition("On AWS, nights@example.com would get a mail:\n")[2]
    assert re.match(r'  "battery--usage-analysis: the execution \S+ ended FAILED\."\n', told), told
    assert "KeyError: 'no column 电压'" in told


def test_a_trigger_that_fails_is_told_by_mail(bake: Bake) -> None:
    project = bake()
    edit_config(project, lambda content: content.update(alert_email="nights@example.com"))
    function = project / "deploy" / "lambda" / "lambda_function.py"
    function.write_text("def lambda_handler(event, context):\n    raise ValueError('no day')\n")
    done = batcat("rehearse", "-C", project)
    assert done.returncode == 1
    assert "ValueError: no day" in done.stdout
    assert "On AWS, nights@example.com would get a mail:" in done.stdout
    assert "battery--usage-analysis--trigger failed" in done.stdout


def test_a_name_that_aws_refuses_fails_the_rehearsal_too(bake: Bake) -> None:
    project = bake()
    network = {"subnets": ["subnet_1"], "security_group_ids": ["sg-1"]}
    edit_config(project, lambda content: content.update(network=network))
    done = batcat("rehearse", "-C", project)
    assert done.returncode == 1
    assert "subnet_1" in done.stdout
    assert "regular expression" in done.stdout


def test_a_weaker_sandbox_is_told_and_given_roles_are_used(
    bake: Bake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCAT_SANDBOX", "paths")
    project = bake()
    arn = "arn:aws-cn:iam::123456789012:role/team/batcat"
    edit_config(project, lambda content: content.update(workflow_execution_role=arn))
    done = batcat("rehearse", "-C", project)
    assert done.returncode == 0, done.stdout
    assert "AWS::IAM::Role" not in report_of(project)
    told = "Jobs could read all files of this machine: BATCAT_SANDBOX asks for it."
    assert told in done.stdout
    assert told in report_of(project)


@pytest.mark.parametrize(
    ("answers", "title"),
    [
        ({"project_name": "电池 'A' \"B\" <b> $HOME `x`"}, "电池"),
    ],
)
def test_hostile_names_rehearse(bake: Bake, answers: dict[str, str], title: str) -> None:
    project = bake(**answers)
    done = batcat("rehearse", "-C", project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert title in report_of(project)
    assert "<b> $HOME" not in report_of(project)


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
    bake: Bake, break_it: Callable[[Path], Any], said: str
) -> None:
    project = bake()
    break_it(project)
    done = batcat("rehearse", "-C", project)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((project / "report").glob("*.html"))


def test_impossible_options_are_told(bake: Bake) -> None:
    project = bake()
    for arguments, said in (
        (("--at", "tomorrow"), "is no time"),
        (("--purpose", "forecast"), "no purpose 'forecast'"),
        (("--timeout", "0"), "timeout"),
    ):
        done = batcat("rehearse", "-C", project, *arguments)
        assert done.returncode == 2
        assert said in done.stderr
