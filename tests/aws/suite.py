"""The demo in a real account, and what it answers beside what the rehearsal answers.

``make test-aws ACCOUNT=123456789012 REGION=eu-central-1`` runs it with the credentials of the
terminal: never by itself, and only in the account that is named. It makes a project and a bucket of
names that nobody has, tagged ``batcat-test``; deploys the demo and a probe; runs both; asks what
of docs/decisions/not-confirmed.md a run can answer; does the same in an embedded AWS; lists what
differs; and removes all that it made, whatever happens.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3

from batcat_runtime.config import get_config
from batcat_runtime.names import Names
from batcat_runtime.rehearsal import EmbeddedAWS, container_tool
from tests.docs.session import form_of

COST = (
    "It runs four processing jobs of a few minutes on ml.m5.large or ml.m5.xlarge, and keeps an\n"
    "image for the time: less than 1 USD at the prices of November 2026. It takes half an hour."
)
WINDOW = ("--date-start", "2022-01-01", "--date-end", "2022-01-08")
PROBE = '''"""Do what the parameters say."""

import time

import batcat_runtime as bc
import pandas as pd

with bc.processing_job() as job:
    print("a line of the probe", flush=True)
    time.sleep(float(job.parameters.get("seconds", 0)))
    if job.parameters.get("fail"):
        raise ValueError("the probe fails, as it was told")
    job.save(pd.DataFrame({"n": [1]}), "probe.csv")
'''
Answers = dict[str, list[str]]


def answers(folder: Path, region: str) -> Answers:
    """Deploy, run, ask, and remove; return what AWS answered, by question.

    Parameters
    ----------
    folder : pathlib.Path
        Where the project is made; empty.
    region : str
        Of the account that the environment's credentials are for.
    """
    name = f"batcat-test-{secrets.token_hex(4)}"
    account = boto3.client("sts", region_name=region).get_caller_identity()["Account"]
    bucket = f"{name}-{account}"
    _batcat(folder, "new", "--no-input", "--example", "battery", f"project_name={name}",
            "project_slug=demo", f"region={region}", f"result_s3_bucket={bucket}")  # fmt: skip
    project = folder / "demo"
    _batcat(project, "add", "probe")
    (project / "script" / "probe.py").write_text(PROBE, "utf-8")
    path = project / "script" / "config.json"
    content = json.loads(path.read_text("utf-8"))
    content["tags"] = {"batcat-test": name}
    [step] = content["purposes"]["probe"]["steps"]
    step |= {"instance_type": "ml.m5.large", "max_runtime_seconds": 300}
    path.write_text(json.dumps(content, indent=2), "utf-8")
    with _bucket(bucket, region, name):
        try:
            found = {
                question: [form_of(_anonymous(line, name, account)) for line in lines]
                for question, lines in _asked(project)
            }
        finally:
            _batcat(project, "destroy", "--yes", get_config(project).project, "--stop-running")
    return found


def differences(account: Answers, rehearsal: Answers) -> list[str]:
    """Return the lines of a diff of two accounts' answers, question by question."""
    lines = []
    for question in account:
        before, after = rehearsal.get(question, []), account[question]
        diff = list(difflib.unified_diff(before, after, "rehearsal", "account", lineterm="", n=1))
        lines += [f"# {question}", *diff[2:]] if diff else []
    return lines


def _asked(project: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each question with the lines of its answer."""
    config = get_config(project)
    _batcat(project, "deploy")
    yield "what is deployed", list(_resources(config))
    yield "a second deployment changes nothing", _batcat(project, "deploy").splitlines()[-1:]
    _batcat(project, "data", "push")

    demo, probe = config.purposes
    execution = _run(project, demo, *WINDOW)
    yield "the demo's states", _states(execution)
    yield "the demo's job", _job(project, demo)
    yield "the demo's result", _results(config, demo)

    failed = _run(project, probe, "--param", "fail=yes")
    yield "a script that fails: states", _states(failed)
    yield "a script that fails: job", _job(project, probe)
    yield "a script that fails: is anything uploaded?", _results(config, probe)

    yield (
        "a job that somebody stops: states",
        _states(_run(project, probe, "--param", "seconds=250", stop_job=True)),
    )
    yield "a job that somebody stops: job", _job(project, probe)

    _clear_inputs(config)
    yield "an input without objects: states", _states(_run(project, probe))
    yield "an input without objects: job", _job(project, probe)


def _run(project: Path, purpose: str, *options: str, stop_job: bool = False) -> dict[str, Any]:
    """Run a purpose to its end; return the execution's description."""
    config = get_config(project)
    states, sagemaker = _client("stepfunctions", config), _client("sagemaker", config)
    name = _batcat(project, "run", "--no-wait", "-p", purpose, *options).split("\n")[-2]
    account = _client("sts", config).get_caller_identity()["Account"]
    machine = Names.of(config, purpose).state_machine
    arn = f"arn:{config.partition}:states:{config.region}:{account}:execution:{machine}:{name}"
    deadline = time.monotonic() + 1800
    while True:
        execution: dict[str, Any] = states.describe_execution(executionArn=arn)
        if execution["status"] != "RUNNING":
            return execution
        if time.monotonic() > deadline:
            raise TimeoutError(f"{name} did not end within half an hour")
        if stop_job:
            for job in _jobs(sagemaker, config, purpose, StatusEquals="InProgress"):
                if _wrote(config, job["ProcessingJobName"]):  # else the script may not run yet
                    sagemaker.stop_processing_job(ProcessingJobName=job["ProcessingJobName"])
                    stop_job = False
        time.sleep(0.5 if "AWS_ENDPOINT_URL" in os.environ else 10)


def _jobs(sagemaker: Any, config: Any, purpose: str, **more: Any) -> list[dict[str, Any]]:
    """Return a purpose's processing jobs, the newest first."""
    newest = {"SortBy": "CreationTime", "SortOrder": "Descending"}
    part = Names.of(config, purpose).job_name(config.purposes[purpose].steps[0].name)
    found = sagemaker.list_processing_jobs(NameContains=part, **newest, **more)
    return list(found["ProcessingJobSummaries"])


def _wrote(config: Any, job: str) -> bool:
    """Whether a job's script has written its line."""
    logs = _client("logs", config)
    try:
        found = logs.filter_log_events(
            logGroupName="/aws/sagemaker/ProcessingJobs", logStreamNamePrefix=f"{job}/"
        )
    except logs.exceptions.ResourceNotFoundException:  # the region's first job
        return False
    return bool(found["events"])


def _states(execution: dict[str, Any]) -> list[str]:
    states = boto3.client("stepfunctions", region_name=execution["executionArn"].split(":")[3])
    pages = states.get_paginator("get_execution_history")
    events = [
        event["type"]
        for page in pages.paginate(executionArn=execution["executionArn"])
        for event in page["events"]
    ]
    cause = execution.get("cause", "none")
    with contextlib.suppress(ValueError):  # a job's description, for a task that failed
        cause = json.dumps(json.loads(cause), indent=1, sort_keys=True)
    return [*events, execution["status"], execution.get("error", "none"), *cause.splitlines()]


def _job(project: Path, purpose: str) -> list[str]:
    config = get_config(project)
    sagemaker = _client("sagemaker", config)
    [job, *_rest] = _jobs(sagemaker, config, purpose)
    told = sagemaker.describe_processing_job(ProcessingJobName=job["ProcessingJobName"])
    told.pop("ResponseMetadata")
    words = [f"{key}: {told.get(key, 'none')}" for key in ("ProcessingJobStatus", "FailureReason")]
    return [*words, *str(told.get("ExitMessage", "")).splitlines(), *sorted(told)]


def _results(config: Any, purpose: str) -> list[str]:
    """Return the files of a purpose's results with their ETags; manifests differ by their times."""
    pages = _client("s3", config).get_paginator("list_objects_v2")
    names = Names.of(config, purpose)
    found = pages.paginate(Bucket=config.result_s3_bucket, Prefix=f"{names.result_prefix}/")
    return [
        f"{item['Key']} {'' if item['Key'].endswith('.json') else item['ETag']}"
        for page in found
        for item in page.get("Contents", [])
    ]


def _resources(config: Any) -> Iterator[str]:
    """Yield the resources of the project's stacks; that of CodeBuild depends on the machine."""
    formation = _client("cloudformation", config)
    for page in formation.get_paginator("describe_stacks").paginate():
        for stack in page["Stacks"]:
            tags = {tag["Key"]: tag["Value"] for tag in stack["Tags"]}
            if tags.get("batcat-test") and "builder" not in stack["StackName"]:
                held = formation.describe_stack_resources(StackName=stack["StackName"])
                for resource in held["StackResources"]:
                    words = ("LogicalResourceId", "ResourceType", "ResourceStatus")
                    yield " ".join([stack["StackName"], *(resource[word] for word in words)])


def _clear_inputs(config: Any) -> None:
    """Remove the inputs, but not the results."""
    bucket = boto3.resource("s3", region_name=config.region).Bucket(config.result_s3_bucket)
    bucket.objects.filter(Prefix="raw/").delete()


@contextlib.contextmanager
def _bucket(name: str, region: str, tag: str) -> Iterator[None]:
    """Have a bucket for as long as the context lasts."""
    s3 = boto3.client("s3", region_name=region)
    place = {"CreateBucketConfiguration": {"LocationConstraint": region}}
    s3.create_bucket(Bucket=name, **({} if region == "us-east-1" else place))
    s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": [{"Key": "batcat-test", "Value": tag}]})
    try:
        yield
    finally:
        bucket = boto3.resource("s3", region_name=region).Bucket(name)
        bucket.object_versions.delete()
        bucket.delete()


def _client(service: str, config: Any) -> Any:
    return boto3.client(service, region_name=config.region)


def _batcat(folder: Path, *arguments: str) -> str:
    """Run `batcat`; return what it prints to standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "batcat_runtime", *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"batcat {' '.join(arguments)}: exit code {done.returncode}")
    return done.stdout


def _anonymous(line: str, name: str, account: str) -> str:
    """Return a line without what is new in every run or every account."""
    line = line.replace(account, "<account>").replace(name, "<project>")
    line = re.sub(r"\b[\w-]*-[0-9a-f]{8}-[0-9a-f-]{27}\b", "<job>", line)
    return re.sub(r"\b(roles-\w+Role)-\w+", r"\1-<new>", line)  # CloudFormation's own names


def _elsewhere(folder: Path, region: str, environment: dict[str, str]) -> Answers:
    """Ask in another process, whose environment says which AWS."""
    folder.mkdir()
    command = [
        sys.executable,
        "-m",
        "tests.aws.suite",
        "--answers",
        str(folder),
        "--region",
        region,
    ]
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, encoding="utf-8", check=True
    )
    found: Answers = json.loads(done.stdout)
    return found


def main() -> None:
    """Compare the account that is named with an embedded AWS."""
    parser = argparse.ArgumentParser(prog="make test-aws", description=COST)
    parser.add_argument("--account", help="12 digits; the credentials must be this account's")
    parser.add_argument("--region", required=True)
    parser.add_argument("--yes", action="store_true", help="ask nothing")
    parser.add_argument("--answers", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.answers:
        print(json.dumps(answers(given.answers, given.region)))
        return
    mine = boto3.client("sts", region_name=given.region).get_caller_identity()["Account"]
    if mine != given.account:
        raise SystemExit(f"The credentials are of account {mine}, not {given.account}. Stopped.")
    print(f"This deploys to the account {mine}, {given.region}.\n{COST}", flush=True)
    if not given.yes and input("Type the account's number to begin: ") != mine:
        raise SystemExit("Nothing was done.")
    with (
        tempfile.TemporaryDirectory() as temporary,
        EmbeddedAWS(region=given.region, set_environment=False, enforce_policies=True) as aws,
    ):
        home = Path(temporary)
        there = _elsewhere(home / "account", given.region, dict(os.environ))
        here = rehearsed(aws, home / "rehearsal")
    lines = differences(there, here)
    print("\n".join(lines) or "The account answers as the rehearsal does.")
    raise SystemExit(bool(lines))


def rehearsed(aws: EmbeddedAWS, folder: Path) -> Answers:
    """Return what an embedded AWS answers, with the rehearsal's docker."""
    tools = aws.home / "bin"
    tools.mkdir(exist_ok=True)
    container_tool.install(tools)
    kept = {name: text for name, text in os.environ.items() if not name.startswith("AWS_")}
    environment = {**kept, **aws.environment(), "PATH": f"{tools}:{os.environ['PATH']}"}
    return _elsewhere(folder, aws.region, environment)


if __name__ == "__main__":
    main()
