"""`batcat status`: what ran last, and why it failed, whatever it was that went wrong."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

import pytest

import batcat_runtime as bc
from batcat_runtime.operate.history import JOB_LOG_GROUP
from batcat_runtime.text import NOTHING
from tests.faultproxy import Fault
from tests.operate.world import IN_EACH_REGION, PURPOSE, REGIONS, SCRIPT, DeployedProject, World

WINDOW = {"date_start": "2023-01-01", "date_end": "2023-01-02"}


@pytest.fixture(scope="module")
def broken(worlds: Callable[[str], World]) -> DeployedProject:
    """Return a project of this module's own, whose jobs may take eight seconds."""
    world = worlds(REGIONS[0])
    project = world.project(deploy=False, script=f"print('begun', flush=True)\n{SCRIPT}")
    path = project.folder / "script" / "config.json"
    content = json.loads(path.read_text("utf-8"))
    content["purposes"][PURPOSE]["steps"][0]["max_runtime_seconds"] = 8
    path.write_text(json.dumps(content), encoding="utf-8")
    project.deploy()
    return project


def found_page(project: DeployedProject) -> str:
    """Return the workflow's page in the console of the region's partition."""
    region, names = project.config.region, project.names
    host = "console.amazonaws.cn" if region.startswith("cn-") else "console.aws.amazon.com"
    arn = names.arn("states", f"stateMachine:{names.state_machine}", project.world.aws.account_id)
    return f"https://{host}/states/home?region={region}#/statemachines/view/{arn}"


def why(project: DeployedProject) -> str:
    """Return what a newcomer reads who asks for the status."""
    shown = project.batcat("status", "--last", "1").stdout
    return shown[shown.index("Failed: ") :]


@IN_EACH_REGION
def test_executions_are_listed_with_window_rows_and_origin(project: DeployedProject) -> None:
    assert project.execute("2023-01-01_2023-01-02_0a1b2c3d", **WINDOW)["status"] == "SUCCEEDED"
    shown = project.batcat("status", "--last", "1").stdout.splitlines()
    place = f"{project.config.region}, account {project.world.aws.account_id}"
    zone = project.config.purposes[PURPOSE].schedule
    assert zone is not None
    assert shown[0] == (f"{PURPOSE}  {place}; schedule cron(0 2 * * ? *) {zone.timezone}: off")
    assert shown[1].split() == (
        f"Execution State Started ({zone.timezone}) Took Window Rows By".split()
    )
    assert re.fullmatch(
        r"2023-01-01_2023-01-02_0a1b2c3d +SUCCEEDED +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +[\d.]+ s +"
        r"2023-01-01 to 2023-01-02 +2 +hand",
        shown[2],
    )
    assert shown[3:] == ["", f"Console: {found_page(project)}"]
    [found] = listed = bc.status(last=1, folder=project.folder)
    assert repr(listed).split() == (
        f"Pipeline Schedule Newest State Why {PURPOSE} off 2023-01-01_2023-01-02_0a1b2c3d "
        f"SUCCEEDED {NOTHING}".split()
    )
    assert "<td>SUCCEEDED</td>" in listed._repr_html_()
    assert found.executions[0].rows == 2
    assert found.failure is None
    in_terminal = project.terminal("status")
    assert in_terminal.wait() == 0
    assert "SUCCEEDED" in in_terminal.shown


def test_what_started_an_execution_is_told_by_itself(project: DeployedProject) -> None:
    """By hand, a window is the same execution as by the schedule; it is not the schedule's."""
    functions, name = project.client("lambda"), project.names.function

    def invoke(**event: str) -> str:
        answer = functions.invoke(FunctionName=name, Payload=json.dumps(event))
        return str(json.loads(answer["Payload"].read())["execution"])

    by_hand = invoke(date_start="2023-02-01", date_end="2023-02-02")
    scheduled = invoke(scheduled_time="2023-02-03T18:00:00Z")
    for execution, origin in ((by_hand, "hand"), (scheduled, "schedule")):
        assert project.json("status", execution)["row"]["origin"] == origin
    assert "by the schedule" in project.batcat("status", scheduled).stdout


def test_one_execution_is_shown_in_full(project: DeployedProject) -> None:
    project.execute("in-full", **WINDOW, params={"lines": 1})
    shown = project.batcat("status", "in-f").stdout
    for line in (
        r"in-full  SUCCEEDED",
        rf"  pipeline    {PURPOSE}",
        r"  window      2023-01-01 to 2023-01-02",
        r"  params      lines=1",
        r"  started     \d{4}-\d\d-\d\d \d\d:\d\d:\d\d Asia/Shanghai, by hand",
        rf"{PURPOSE} +succeeded +[\d.]+ s +{PURPOSE}-0-\S+ Completed 1 x ml.m5.xlarge",
        r"Result: s3://\S+/date=2023-01-01/run=in-full/",
        r"        usage-analysis.csv  22 B",
    ):
        assert re.search(rf"^{line}$", shown, re.MULTILINE), (line, shown)
    found = project.json("status", "in-full")
    assert found["row"]["rows"] == 2
    assert found["states"][0]["jobs"][0]["status"] == "Completed"
    assert "There is no execution nonsense" in project.batcat("status", "nonsense", code=1).stderr


def test_an_execution_that_is_forgotten_is_told_with_what_is_left(
    project: DeployedProject,
) -> None:
    project.execute("long-ago", **WINDOW)
    gone = Fault("stepfunctions", "DescribeExecution", "ExecutionDoesNotExist", "gone", times=0)
    with project.world.wire.having(gone):
        shown = project.batcat("status", "long-ago", code=1).stderr
        listed = project.batcat("status").stdout
    assert "There is no execution long-ago of usage-analysis." in shown
    assert "90 days after its end: its result stays (`batcat results`)" in shown
    assert "--since 120d --log-stream-name-prefix usage-analysis --region cn-northwest-1" in shown
    assert "Nothing has run yet. Start it with `batcat run`." in listed


def test_who_may_not_read_logs_and_jobs_still_learns_the_reason(
    project: DeployedProject,
) -> None:
    project.execute("may-not", params={"fail": "no limits", "lines": 1})
    keys = project.world.session(
        *("reader", "logs:*", "sagemaker:*", "scheduler:*", "states:GetExecutionHistory")
    )
    shown = project.batcat(
        *("status", "--last", "1"),
        AWS_ACCESS_KEY_ID=keys["AccessKeyId"],
        AWS_SECRET_ACCESS_KEY=keys["SecretAccessKey"],
        AWS_SESSION_TOKEN=keys["SessionToken"],
    ).stdout
    assert "Asia/Shanghai: unknown" in shown
    assert f"Failed: The script of {PURPOSE} failed (exit code: 1): ValueError: no usage" in shown
    assert "  The job's own exit message:\n    line 0 of None\n" in shown
    assert "  Its log could not be read: AWS denied access" in shown


def test_nothing_has_run_yet_and_a_job_that_takes_too_long(broken: DeployedProject) -> None:
    assert "Nothing has run yet. Start it with `batcat run`." in broken.batcat("status").stdout
    assert broken.json("status")[0]["executions"] == []
    broken.execute("too-long", params={"seconds": 60})
    told = why(broken)
    stood = rf"Failed: The step {PURPOSE} was stopped at {PURPOSE}\.py, line \d+ in <module>: "
    assert re.match(rf"{stood}Processing job runtime", told)
    assert "    begun\n" in told
    assert "max_runtime_seconds is 8" in told
    assert "Fix: Raise max_runtime_seconds" in told


def test_a_job_that_was_stopped_by_hand(broken: DeployedProject) -> None:
    logs = broken.client("logs")
    asked = {"logGroupName": JOB_LOG_GROUP, "filterPattern": '"line 1 of"'}
    before = len(logs.filter_log_events(**asked)["events"])
    broken.execute("stopped", wait=False, params={"seconds": 60})
    sagemaker = broken.client("sagemaker")
    deadline = time.monotonic() + 60
    while len(logs.filter_log_events(**asked)["events"]) <= before:
        assert time.monotonic() < deadline
    running = sagemaker.list_processing_jobs(StatusEquals="InProgress")["ProcessingJobSummaries"]
    running = [job for job in running if job["ProcessingJobName"].startswith(PURPOSE)]
    sagemaker.stop_processing_job(ProcessingJobName=running[0]["ProcessingJobName"])
    ended(broken, "stopped")
    told = why(broken)
    stood = rf"Failed: The step {PURPOSE} was stopped at {PURPOSE}\.py, line \d+ in <module>: "
    assert re.match(f"{stood}before its end\n", told)
    assert "Somebody stopped the job by hand" in told


def test_too_few_instances_are_a_matter_of_the_quota(broken: DeployedProject) -> None:
    quota = "ml.m5.xlarge for processing job usage"
    words = (
        f"The account-level service limit '{quota}' is 0 Instances, with current utilization of 0 "
        "Instances and a request delta of 1 Instances. Please use AWS Service Quotas."
    )
    limit = Fault("sagemaker", "CreateProcessingJob", "ResourceLimitExceeded", words, times=0)
    with broken.world.wire.having(limit):
        broken.execute("quota")
    told = why(broken)
    assert told.startswith(
        f"Failed: The step {PURPOSE} could not be started: The account-level service limit '"
        f"{quota}'"
    )
    assert "The account may use 0 of ml.m5.xlarge at once in this region" in told
    assert "aws service-quotas request-service-quota-increase --region cn-northwest-1" in told
    assert f"QuotaName=='{quota}'" in told


def test_a_role_that_lost_its_trust(broken: DeployedProject) -> None:
    iam = broken.client("iam")
    described = broken.client("cloudformation").describe_stack_resources(
        StackName=broken.names.stack("roles")
    )["StackResources"]
    role = {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in described}["JobRole"]
    trust = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    nobody = json.loads(json.dumps(trust).replace("sagemaker.amazonaws", "glue.amazonaws"))
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(nobody))
    try:
        broken.execute("no-trust")
        told = why(broken)
    finally:
        iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(trust))
    assert told.startswith(
        f"Failed: The step {PURPOSE} could not be started: Could not assume role"
    )
    assert f"SageMaker may not act as the role {role}" in told
    assert f"delete-stack --stack-name {broken.names.stack('roles')}, then `batcat deploy`" in told


def test_an_image_that_is_gone(broken: DeployedProject) -> None:
    ecr, repository = broken.client("ecr"), broken.names.repository
    images = ecr.list_images(repositoryName=repository)["imageIds"]
    ecr.batch_delete_image(repositoryName=repository, imageIds=images)
    broken.execute("no-image")
    told = why(broken)
    assert "manifest unknown" in told.splitlines()[0]
    assert "no longer in ECR" in told
    assert "Fix: Build and push it again with `batcat deploy`" in told
    earlier = broken.batcat("status").stdout
    assert "Why an earlier one failed: `batcat status no-trust`" in earlier
    assert broken.batcat("status", "no-trust").stdout.count("Failed: ") == 1


def ended(project: DeployedProject, name: str) -> None:
    arn = project.names.arn(
        "states",
        f"execution:{project.names.state_machine}:{name}",
        project.world.aws.account_id,
    )
    deadline = time.monotonic() + 60
    describe = project.client("stepfunctions").describe_execution
    while describe(executionArn=arn)["status"] == "RUNNING":
        assert time.monotonic() < deadline
        time.sleep(0.1)
