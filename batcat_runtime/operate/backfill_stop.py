"""Stop a backfill, and everything that it has started.

Step Functions stops the children of a Map Run with its parent, and what a `.sync` task has started
with the task, each "as best it can" (developer guide, "Run a Job"). So what is left is stopped here
by name. A window that ended meanwhile keeps its result.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from botocore.exceptions import ClientError

from batcat_runtime.operate.backfill_record import Backfill, Record, read_record
from batcat_runtime.operate.backfill_watch import list_children, map_run_of, outcome
from batcat_runtime.operate.connection import Project
from batcat_runtime.operate.executions import execution_arn

_CAUSE = "Stopped by `batcat backfill stop`"
_ERROR = "Stopped"
_LOOKS = 60


def stop_backfill(
    project: Project,
    purpose: str,
    record: Record,
    *,
    progress: Callable[[str], None],
    sleep: Callable[[float], None],
) -> Backfill:
    """Stop a backfill, its children and their executions of the workflow; return what is left.

    One that has ended already is only looked at.
    """
    if not record.running:
        progress(f"the backfill {record.name} had ended already")
        return outcome(project, purpose, record)
    progress(f"stopping the backfill {record.name}")
    _stop(project, record.arn)
    pause = 0.2
    for _ in range(_LOOKS):
        # A child that started at the last moment shows up a little later.
        left = _stop_children(project, purpose, record)
        record = read_record(project, purpose, record.arn)
        if not left and not record.running:
            break
        sleep(pause)
        pause = min(2.0, pause * 1.5)
    return outcome(project, purpose, record)


def _stop_children(project: Project, purpose: str, record: Record) -> int:
    """Stop children that run, and what those that were stopped had started; return how many."""
    map_run = map_run_of(project, record.arn)
    if not map_run:
        return 0
    left = 0
    for child in list_children(project, map_run, "RUNNING"):
        left += 1
        _stop(project, child["executionArn"])
    for child in list_children(project, map_run, "ABORTED"):
        name = json.loads(child["input"])["name"]
        left += _stop(project, execution_arn(project, purpose, name))
    return left


def _stop(project: Project, arn: str) -> int:
    """Stop an execution if it runs; return whether it did."""
    client = project.client("stepfunctions")
    with project.asked(f"the execution {arn.rpartition(':')[2]}", "states:StopExecution"):
        try:
            if client.describe_execution(executionArn=arn)["status"] != "RUNNING":
                return 0
            client.stop_execution(executionArn=arn, error=_ERROR, cause=_CAUSE)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ExecutionDoesNotExist":
                raise
            return 0
    return 1
