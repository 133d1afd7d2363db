"""`batcat stop`: a run that turned out to be a mistake, and the job that it is at."""

from __future__ import annotations

import time

import batcat_runtime as bc
from tests.operate.world import IN_EACH_REGION, PURPOSE, DeployedProject

LONG = {"seconds": 120}


def job_status(project: DeployedProject, run: str) -> str:
    """Return the status of the processing job that a run has started, once it has."""
    states = project.client("stepfunctions")
    arn = project.names.arn(
        "states",
        f"execution:{project.names.state_machine}:{run}",
        project.world.aws.account_id,
    )
    for _ in range(300):
        history = states.get_execution_history(executionArn=arn)["events"]
        for event in history:
            submitted = event.get("taskSubmittedEventDetails", {}).get("output", "")
            if "processing-job/" in submitted:
                name = submitted.split("processing-job/")[1].split('"')[0]
                described = project.client("sagemaker").describe_processing_job(
                    ProcessingJobName=name
                )
                return str(described["ProcessingJobStatus"])
        time.sleep(0.1)
    raise AssertionError("no job was started")


def stopped(project: DeployedProject, run: str) -> bool:
    for _ in range(300):
        if job_status(project, run) == "Stopped":
            return True
        time.sleep(0.1)
    return False


@IN_EACH_REGION
def test_a_run_and_its_job_are_stopped(project: DeployedProject) -> None:
    window = {"date_start": "2016-01-08", "date_end": "2016-01-09"}
    for name in ("mistake-1", "mistake-12", "right"):
        project.execute(name, wait=False, params=LONG, **window)
        assert job_status(project, name) == "InProgress"
    refused = project.batcat("stop", code=2).stderr
    assert "3 executions are running: " in refused
    assert "Nothing was stopped" in refused
    assert "2 executions are running" in project.batcat("stop", "mist", code=2).stderr
    done = project.batcat("stop", "mistake-1")
    assert done.stderr == "execution mistake-1: stopped\n"
    assert done.stdout == "mistake-1 leaves no result of 2016-01-08 to 2016-01-09.\n"
    assert stopped(project, "mistake-1")
    terminal = project.terminal("stop", "mist")
    assert terminal.wait() == 0
    assert "mistake-12: stopped" in terminal.shown
    assert job_status(project, "right") == "InProgress"
    ended = project.json("stop")
    assert (ended["name"], ended["status"], ended["error"]) == ("right", "ABORTED", "Stopped")
    assert ended["cause"] == "Stopped by `batcat stop`"
    assert stopped(project, "right")
    assert project.json("results", "--first", "2016-01-08", "--last", "2016-01-08") == []
    assert project.batcat("stop").stderr == "nothing is running\n"
    again = project.batcat("stop", "right")
    assert again.stderr == "execution right: had ended already (aborted)\n"
    assert "There is no execution wrong" in project.batcat("stop", "wrong", code=1).stderr
    assert bc.stop(folder=project.folder, purpose=PURPOSE) is None
