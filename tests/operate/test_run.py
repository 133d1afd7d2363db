"""`batcat run`: from the start of an execution to its first rows, or to why it failed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import batcat_runtime as bc
from batcat_runtime.commands.terminal import params_of
from batcat_runtime.errors import UserError, WaitInterruptedError
from batcat_runtime.log import reporting
from batcat_runtime.operate.executions import list_executions
from tests.faultproxy import Fault
from tests.operate.world import IN_EACH_REGION, PURPOSE, DeployedProject, World

NAME = r"run-\d{8}-\d{6}-[0-9a-f]{6}"


def described(project: DeployedProject, name: str) -> dict[str, Any]:
    names = project.names
    arn = names.arn(
        "states", f"execution:{names.state_machine}:{name}", project.world.aws.account_id
    )
    return dict(project.client("stepfunctions").describe_execution(executionArn=arn))


def stop(project: DeployedProject, name: str) -> None:
    arn = described(project, name)["executionArn"]
    project.client("stepfunctions").stop_execution(executionArn=arn)


@IN_EACH_REGION
def test_a_run_shows_its_states_and_ends_with_place_and_first_rows(
    project: DeployedProject,
) -> None:
    window = ("--date-start", "2022-01-08", "--date-end", "2022-01-09")
    done = project.batcat("run", *window, "--param", "lines=3", "--param", "note=hi there")
    told = done.stderr.splitlines()
    found = re.fullmatch(
        rf"execution ({NAME}) of {PURPOSE}: started, 2022-01-08 to 2022-01-09", told[0]
    )
    assert found, done.stderr
    name = found[1]
    assert told[1] == f"state {PURPOSE}: entered"
    assert re.fullmatch(rf"state {PURPOSE}: succeeded after [\d.]+ s", told[2])
    assert re.fullmatch(rf"execution {name}: succeeded after [\d.]+ s", told[3])
    place = f"s3://{project.config.result_s3_bucket}/{project.names.result_prefix}"
    assert done.stdout.splitlines() == [
        f"Result: {place}/date=2022-01-08/run={name}/",
        "        2 rows, 22 B in 1 file",
        "",
        "vin  usage",
        "A      1.5",
        "B      2.0",
    ]
    given = json.loads(described(project, name)["input"])
    assert given == {
        "date_start": "2022-01-08",
        "date_end": "2022-01-09",
        "params": {"lines": 3, "note": "hi there"},
    }


def test_a_failed_run_says_why_and_status_says_it_again(project: DeployedProject) -> None:
    arguments = ("run", "--param", "fail=no limits", "--param", "lines=30")
    done = project.batcat(*arguments, code=1)
    assert done.stdout == ""
    again = project.batcat("status", "--last", "1").stdout
    for text in (done.stderr, again):
        told = text[text.index("Failed: ") :].partition("\n\nConsole: ")[0].splitlines()
        # The step and what the job said itself, the end of its log, what to do.
        assert told[0] == (
            f"Failed: The script of {PURPOSE} failed (exit code: 1): ValueError: no usage for "
            "None: no limits"
        )
        assert re.fullmatch(
            rf"  The last lines of its log \({PURPOSE}-0-[\w-]+/algo-1-\d+\):", told[1]
        )
        assert told[2].startswith("    line ")
        assert told[-2] == "    ValueError: no usage for None: no limits"
        assert told[-1].startswith(
            f"  Fix: Correct script/{PURPOSE}.py and try it here with `batcat rehearse`"
        )
    [failed] = project.json("status", "--last", "1")
    assert failed["executions"][0]["execution"]["status"] == "FAILED"
    assert failed["executions"][0]["origin"] == "run"
    assert "ValueError: no usage for None: no limits" in failed["failure"]["exit_message"]
    assert failed["failure"]["log"][-1] == "ValueError: no usage for None: no limits"


def test_a_terminal_shows_a_live_table_and_ctrl_c_ends_the_waiting_only(
    project: DeployedProject,
) -> None:
    shown = project.terminal("run", "--date-start", "2022-02-01", "--date-end", "2022-02-02")
    assert shown.wait() == 0
    assert "\x1b[" in shown.shown
    assert re.search(rf"{PURPOSE}.*succeeded", shown.shown)
    assert "date=2022-02-01/run=run-" in shown.shown.replace("\r\n", "")

    cut = project.terminal("run", "--param", "seconds=60")
    cut.read_until("running")
    cut.interrupt()
    assert cut.wait() == 130
    found = re.search(rf"No longer waiting; the execution ({NAME}) goes on", cut.shown)
    assert found, cut.shown
    assert f"batcat logs {found[1]} -f" in cut.shown
    assert f"batcat stop {found[1]}" in cut.shown.replace("\r\n", "")
    assert described(project, found[1])["status"] == "RUNNING"
    stop(project, found[1])


def test_without_waiting_only_the_name_is_printed(project: DeployedProject) -> None:
    done = project.batcat(
        *("run", "--no-wait", "--date-start", "2022-01-08T05:00"),
        *("--date-end", "2022-01-08T06:00", "--param", "ok=true", "--param", "many=[1"),
    )
    name = done.stdout.strip()
    assert re.fullmatch(NAME, name)
    assert f"batcat status {name}" in done.stderr
    given = json.loads(described(project, name)["input"])
    assert (given["date_start"], given["date_end"]) == ("2022-01-08T05:00", "2022-01-08T06:00")
    assert given["params"] == {"ok": True, "many": "[1"}


def test_what_cannot_be_is_refused_before_anything_is_started(
    project: DeployedProject,
) -> None:
    def started() -> int:
        return len(list(list_executions(project.opened, PURPOSE)))

    before = started()
    done = project.batcat("run", "--date-start", "2022-01-08", code=2)
    assert "both date_start and date_end" in done.stderr
    assert done.stdout == ""
    for window, params, purpose, words in (
        (("2022-01-08", "2022-01-08"), {}, None, "window is empty"),
        (("today", "2022-01-08"), {}, None, "is no date"),
        ((None, None), {"limit": [1]}, None, "texts, numbers and booleans"),
        ((None, None), {"note": "x" * 256}, None, "longer than 256"),
        ((None, None), {}, "forecast", "no purpose 'forecast'"),
    ):
        with pytest.raises(UserError, match=words):
            bc.run(*window, params=params, purpose=purpose, folder=project.folder)  # type: ignore[arg-type]
    assert started() == before


def test_a_parameter_is_a_json_scalar_or_text() -> None:
    given = [
        "n=1",
        "x=1.5",
        "yes=true",
        "word=hi there",
        "empty=",
        "many=[1",
        'q="7"',
        "a=b=c",
    ]
    assert params_of(given) == {
        "n": 1,
        "x": 1.5,
        "yes": True,
        "word": "hi there",
        "empty": "",
        "many": "[1",
        "q": "7",
        "a": "b=c",
    }
    for wrong, words in (
        ("limit", "name=value"),
        ("=1", "name=value"),
        ("limit=[1, 2]", "no text, number or boolean"),
        ("limit=null", "no text, number or boolean"),
        ("limit=NaN", "no text, number or boolean"),
    ):
        with pytest.raises(UserError, match=words):
            params_of([wrong])


def test_what_is_not_deployed_says_so_and_several_purposes_want_a_name(chinese: World) -> None:
    project = chinese.project(deploy=False)
    for command in ("run", "status", "stop"):
        done = project.batcat(command, code=1)
        assert f"The pipeline {PURPOSE} is not deployed in cn-northwest-1" in done.stderr
        assert "Fix: Deploy it with `batcat deploy`" in done.stderr
    project.batcat("add", "forecast")
    done = project.batcat("run", code=2)
    assert "several purposes: forecast, usage-analysis" in done.stderr
    assert "--purpose forecast" in done.stderr


def test_credentials_that_expire_while_waiting_leave_the_execution(
    project: DeployedProject,
) -> None:
    keys = project.world.session("operator")
    waiting = project.start(
        *("run", "--param", "seconds=60"),
        AWS_ACCESS_KEY_ID=keys["AccessKeyId"],
        AWS_SECRET_ACCESS_KEY=keys["SecretAccessKey"],
        AWS_SESSION_TOKEN=keys["SessionToken"],
    )
    assert waiting.stderr is not None
    first = waiting.stderr.readline()
    found = re.search(NAME, first)
    assert found, first
    assert waiting.stderr.readline() == f"state {PURPOSE}: entered\n"
    words = "The security token included in the request is expired"
    expired = Fault("stepfunctions", "*", "ExpiredTokenException", words, times=0)
    with project.world.wire.having(expired):
        _, told = waiting.communicate(timeout=60)
    assert waiting.returncode == 1, told
    assert f"The execution {found[0]} goes on, but waiting for it is over" in told
    assert "token included in the request is expired" in told
    assert f"batcat status {found[0]}" in told
    assert described(project, found[0])["status"] == "RUNNING"
    stop(project, found[0])


def test_throttling_is_waited_out(project: DeployedProject) -> None:
    slow = Fault(
        "stepfunctions", "DescribeExecution", "ThrottlingException", "Rate exceeded", times=6
    )
    with project.world.wire.having(slow):
        done = project.batcat("run", "--date-start", "2022-02-03", "--date-end", "2022-02-04")
    assert "succeeded after" in done.stderr
    assert done.stderr.count("AWS asks to slow down; trying again for up to 5 min") == 1
    assert "Rate exceeded" not in done.stderr


def test_a_network_that_is_lost_while_waiting_is_told_and_waited_for(
    project: DeployedProject,
) -> None:
    lost = Fault("stepfunctions", "*", reset=True, after=3, times=6)
    with project.world.wire.having(lost):
        done = project.batcat("run", "--date-start", "2022-02-04", "--date-end", "2022-02-05")
    assert "The connection to AWS is lost; trying again" in done.stderr
    assert "AWS answers again." in done.stderr
    assert "succeeded after" in done.stderr


@pytest.mark.parametrize("words", ["run", "status", "logs", "stop"])
def test_a_network_that_is_not_there_is_told_with_what_to_do(
    project: DeployedProject, words: str
) -> None:
    with project.world.wire.having(Fault("*", "*", reset=True, times=0)):
        told = project.process(words, code=1, timeout=30).stderr
    assert told.startswith("Error: AWS could not be reached for your AWS account: ")
    assert "Fix: Check the network, the region and AWS_ENDPOINT_URL." in told


def test_credentials_that_are_refused_are_no_matter_of_deploying(
    project: DeployedProject,
) -> None:
    words = "The security token included in the request is invalid."
    with project.world.wire.having(Fault("sts", "*", "InvalidClientTokenId", words, 403)):
        told = project.batcat("run", code=1).stderr
    assert "AWS does not accept the credentials in use for your AWS account" in told
    assert "deploying" not in told
    assert "aws sso login" in told


def test_run_and_status_load_few_modules(project: DeployedProject) -> None:
    counted = (
        "import sys; from batcat_runtime.commands import run; code = run(sys.argv[1:]); "
        "print(sum(one.startswith('batcat_runtime') for one in sys.modules), file=sys.stderr)"
    )
    for words in (("run", "--date-start", "2022-02-06", "--date-end", "2022-02-07"), ("status",)):
        done = subprocess.run(
            [sys.executable, "-c", counted, *words],
            cwd=project.folder,
            env=project.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert int(done.stderr.split()[-1]) <= 20, words


def test_a_run_on_the_laptop_takes_the_same_options(
    project: DeployedProject, tmp_path: Path
) -> None:
    shutil.copytree(project.folder, tmp_path / "project")
    local = DeployedProject(project.world, tmp_path / "project", project.config)
    window = ("--date-start", "2022-01-08", "--date-end", "2022-01-09")
    done = local.process("run", "--local", *window, "--param", "lines=1")
    assert "line 0 of 2022-01-08\n" in done.stdout
    [manifest] = (local.folder / "data" / "result").rglob("_manifest.json")
    assert manifest.parent.parent.name == "date=2022-01-08"
    assert json.loads(manifest.read_text("utf-8"))["parameters"] == {"lines": 1}
    assert (
        "both date_start and date_end"
        in local.batcat("run", "--local", window[0], "2022-01-08", code=2).stderr
    )
    failed = local.start("run", "--local", "--param", "fail=x")
    assert "ValueError" in failed.communicate(timeout=60)[1]
    assert failed.returncode == 1
    assert "for a run on AWS" in local.batcat("run", "--local", "--no-wait", code=2).stderr


def test_a_notebook_runs_it_too(project: DeployedProject) -> None:
    lines: list[str] = []
    with reporting(lines.append):
        done = bc.run("2022-03-01", "2022-03-02", folder=project.folder)
        assert done.succeeded
        assert done.result is not None
        assert done.preview is not None
        assert (done.result.rows, done.preview.columns) == (2, ("vin", "usage"))
        assert done.preview.rows == (("A", "1.5"), ("B", "2.0"))
        assert repr(done) == f"{done.execution.name} SUCCEEDED {done.result_uri}"
        assert lines[1] == f"state {PURPOSE}: entered"
        with pytest.raises(WaitInterruptedError, match=r"not ended after 0\.1 s") as late:
            bc.run(params={"seconds": 60}, timeout=0.1, folder=project.folder)
    assert late.value.exit_code == 1
    stop(project, re.findall(NAME, str(late.value))[0])
