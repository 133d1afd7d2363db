"""What is deployed: the stacks and the schedule."""

from __future__ import annotations

from typing import Any

from batcat_runtime.deploy.parameters import given_roles
from batcat_runtime.deploy.stack import stack_status
from batcat_runtime.operate.checks.finding import Finding, failed, ok, skipped, warning
from batcat_runtime.operate.checks.patient import Patient
from batcat_runtime.operate.connection import Project, removed_purposes

_SOUND = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE"}


def stacks_stand(patient: Patient) -> list[Finding]:
    """Every stack is deployed, and none is stuck."""
    wanted = [patient.names().project_stack]
    for purpose in patient.purposes:
        names = patient.names(purpose)
        made = () if given_roles(patient.settings) else (names.stack("roles"),)
        wanted += [*made, names.workflow_stack, names.trigger_stack]
    client = patient.client("cloudformation")
    states: dict[str, str | None] = {}
    for name in wanted:
        with patient.asked(f"the stack {name}", "cloudformation:DescribeStacks"):
            states[name] = stack_status(client, name)
    present = [name for name, state in states.items() if state not in (None, "REVIEW_IN_PROGRESS")]
    if not present:
        return [warning("nothing is deployed yet", "batcat deploy")]
    findings = [one for one in (_stack(patient, *item) for item in states.items()) if one]
    return findings or [ok(f"{len(wanted)} stacks: {', '.join(wanted)}")]


def schedule_is_as_configured(patient: Patient) -> list[Finding]:
    """The schedule is the one of script/config.json."""
    findings = [_schedule(patient, one) for one in patient.purposes]
    wrong = [one for one in findings if one.status != "ok"]
    return wrong or [ok("; ".join(one.found for one in findings))]


def no_dropped_pipeline_runs(patient: Patient) -> list[Finding]:
    """Nothing is deployed that script/config.json has no longer."""
    found = removed_purposes(Project(patient.folder, patient.settings))
    return [
        warning(f"{one} is still deployed, and runs", f"batcat destroy --purpose {one}")
        for one in found
    ] or [ok("no other stack in this region is the project's")]


def _stack(patient: Patient, name: str, state: str | None) -> Finding | None:
    """Return what is wrong with a stack; None when nothing is."""
    region = patient.settings.region
    if state in _SOUND:
        return None
    if state in (None, "REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE"):
        how = "was never made whole" if state == "ROLLBACK_COMPLETE" else "is not deployed"
        return failed(f"{name} {how}", "batcat deploy")
    if str(state).endswith("IN_PROGRESS"):
        return warning(
            f"{name} is being changed right now ({state})",
            f"aws cloudformation describe-stack-events --stack-name {name} --region {region} "
            "--max-items 5",
        )
    if state == "UPDATE_ROLLBACK_FAILED":
        return failed(f"{name} is stuck in {state}", "batcat deploy   (it ends the rollback first)")
    command = f"aws cloudformation delete-stack --stack-name {name} --region {region}"
    return failed(f"{name} is stuck in {state}", f"{command}   (then: batcat deploy)")


def _schedule(patient: Patient, purpose: str) -> Finding:
    wanted = patient.settings.purposes[purpose].schedule
    if wanted is None:
        return ok(f"{purpose} has none")
    name = patient.names(purpose).schedule
    present = _present(patient, name)
    if present is None:
        return skipped(f"the schedule of {purpose} is not deployed yet")
    there = (present["ScheduleExpression"], present.get("ScheduleExpressionTimezone") or "UTC")
    asked = (wanted.expression, wanted.timezone)
    if there != asked:
        return warning(
            f"{purpose} fires at {' '.join(there)}, script/config.json says {' '.join(asked)}",
            "batcat deploy",
        )
    enabled = present["State"] == "ENABLED"
    if enabled != wanted.enabled:
        now, then = ("on", "off") if enabled else ("off", "on")
        return warning(
            f"the schedule of {purpose} is {now}, script/config.json says {then}",
            f"batcat schedule {then} --purpose {purpose}",
        )
    return ok(f"{purpose}: {' '.join(asked)}, {'on' if enabled else 'off'}")


def _present(patient: Patient, name: str) -> dict[str, Any] | None:
    from botocore.exceptions import ClientError

    with patient.asked(f"the schedule {name}", "scheduler:GetSchedule"):
        try:
            return dict(patient.client("scheduler").get_schedule(Name=name))
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return None
            raise
