"""`batcat destroy`: a project, or one of its pipelines, taken out of AWS; its data stay.

Stages: list the project's stacks, the executions that run and the tables of results; refuse what
would do harm; have the project's name confirmed; stop what runs, if that is allowed; remove stack
by stack, what starts things first and what all share last. CloudFormation does the work and is
followed. All is looked up anew at each start, so a second run goes on where the first has ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from batcat_runtime.deploy.parameters import given_roles, tags_of
from batcat_runtime.deploy.reasons import explained
from batcat_runtime.deploy.stack import (
    events_since,
    follow,
    goes_on_without_us,
    newest_event,
    refuse_foreign,
    wait_until,
)
from batcat_runtime.errors import StackError, UserError
from batcat_runtime.log import report
from batcat_runtime.names import Names, slug
from batcat_runtime.operate.connection import Project, open_project
from batcat_runtime.operate.stacks import ProjectStack, marks_of, project_stacks

_AGAIN = "`batcat destroy` again goes on where this has ended."
_STOP_SECONDS = 600.0


@dataclass(frozen=True)
class Inventory:
    """What `destroy` would remove, and what it would leave.

    Attributes
    ----------
    project, account, region : str
        Whose it is, and where.
    stacks : tuple of str
        The stacks that go, in that order.
    running : tuple of str
        The executions that run.
    tables : tuple of str
        The tables of results that go, each with its database.
    kept : tuple of str
        What stays, and why.
    """

    project: str
    account: str
    region: str
    stacks: tuple[str, ...] = ()
    running: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


def destroy(
    confirm: str | None = None,
    *,
    purpose: str | None = None,
    stop_running: bool = False,
    folder: str | Path | None = None,
) -> Inventory:
    """Remove a project from AWS, or one of its pipelines; the data in its bucket stay.

    Parameters
    ----------
    confirm : str, optional
        The project's name, as a proof that this is meant.
    purpose : str, optional
        Remove this pipeline only; it may be one that script/config.json has no longer.
    stop_running : bool
        Stop executions that run; by default nothing is removed while there are any.
    folder : path, optional
        The project's folder; by default the one around the working directory.

    Returns
    -------
    Inventory
        What is gone, and what stays. Without stacks and tables: nothing was there.

    Raises
    ------
    UserError
        The name is not the project's, or executions are running; nothing was changed.
    StackError
        A stack is somebody else's, protected, being changed, or cannot be removed.
    WaitInterruptedError
        Nobody waited to the end; CloudFormation goes on with one stack.

    Examples
    --------
    >>> bc.destroy("battery", purpose="forecast").stacks  # doctest: +SKIP
    ('batcat-battery--forecast--trigger', 'batcat-battery--forecast--workflow', ...)
    """
    return Removal(open_project(folder), purpose).run(confirm, stop_running)


class Removal:
    """What is to be removed, looked up once: first shown, then removed.

    Parameters
    ----------
    project : Project
        Whose.
    purpose : str, optional
        The one pipeline.

    Attributes
    ----------
    inventory : Inventory
        What there is.
    """

    def __init__(self, project: Project, purpose: str | None = None) -> None:
        found = project_stacks(project)
        wanted = slug(purpose) if purpose else None
        here = [stack for stack in found if wanted in (None, stack.purpose)]
        if not any(stack.ours for stack in here):
            for stack in here:
                refuse_foreign(stack.described, tags_of(project.config))
            if purpose:
                project.config.purpose_name(purpose)  # tells which ones there are
        self._project, self._client = project, project.client("cloudformation")
        given = given_roles(project.config)
        self._stacks = [one for one in here if one.ours and not (given and one.part == "roles")]
        self._tables = list(_tables(project, wanted))
        bucket = project.config.result_s3_bucket
        self.inventory = Inventory(
            project=project.config.project,
            account=project.account,
            region=project.config.region,
            stacks=tuple(stack.name for stack in self._stacks),
            running=tuple(arn.rpartition(":")[2] for arn in self._running()),
            tables=tuple(f"{database}.{table}" for database, table in self._tables),
            kept=(
                f"s3://{bucket}: all of its data",
                *(f"the role {arn}: script/config.json gives it" for arn in set(given.values())),
                *(f"the stack {one.name}: another project's" for one in here if not one.ours),
            ),
        )

    def check(self, stop_running: bool) -> None:
        """Refuse, before anything is changed, what must not or cannot be removed now."""
        for stack in self._stacks:
            if stack.described.get("EnableTerminationProtection"):
                raise StackError(
                    f"The stack {stack.name} is protected against deletion; nothing was removed.",
                    fix="If it may go: `aws cloudformation update-termination-protection "
                    f"--no-enable-termination-protection --stack-name {stack.name} --region "
                    f"{self.inventory.region}`, then again.",
                )
            if stack.status.endswith("_IN_PROGRESS") and not stack.status.startswith(
                ("DELETE", "REVIEW")
            ):
                raise StackError(
                    f"Somebody is changing the stack {stack.name} right now ({stack.status}); "
                    "nothing was removed.",
                    fix="Wait until that has ended, then try again.",
                )
        running = self.inventory.running
        if running and not stop_running:
            raise UserError(
                f"{len(running)} still running: {', '.join(running[:5])}. Nothing was removed.",
                fix="Wait for the end (`batcat status`), or have them stopped: "
                "`batcat destroy --stop-running`.",
            )

    def run(self, confirm: str | None, stop_running: bool) -> Inventory:
        """Remove it all, once the project's name was given; return what was removed."""
        name, purposes = self.inventory.project, {one.purpose for one in self._stacks} - {""}
        if not self._stacks and not self._tables:
            return self.inventory
        self.check(stop_running)
        if confirm != name:
            whole = any(one.part == "project" for one in self._stacks) or len(purposes) != 1
            only = "" if whole else f"--purpose {min(purposes)} "
            wrong = f"{confirm!r} is another name" if confirm else "Nobody has confirmed this"
            raise UserError(
                f"{wrong}: the project is called {name!r}. Nothing was removed.",
                fix=f"Confirm with `batcat destroy {only}--confirm {name}`.",
            )
        for number, stack in enumerate(self._stacks):
            left = len(self._stacks) - number
            with goes_on_without_us(
                f"CloudFormation goes on; {left} of the stacks were left.", _AGAIN
            ):
                self._let_nothing_run(stack, stop_running)
                self._remove(stack)
        call = self._project.call
        for database, table in self._tables:
            place = f"the Glue table {database}.{table}"
            call("glue:DeleteTable", place, DatabaseName=database, Name=table)
            report(f"table {database}.{table}: removed")
            if not call("glue:GetTables", place, DatabaseName=database)["TableList"]:
                call("glue:DeleteDatabase", f"the Glue database {database}", Name=database)
        return self.inventory

    def _running(self) -> Iterator[str]:
        """Yield the ARNs of executions that run; backfills first, which would start others anew."""
        account, absent = self._project.account, {"StateMachineDoesNotExist"}
        for purpose in sorted({one.purpose for one in self._stacks if one.part == "workflow"}):
            names = Names(self._project.config.project, purpose, self._project.config.region)
            for machine in (names.backfill_machine, names.state_machine):
                place, arn = f"the state machine {machine}", f"stateMachine:{machine}"
                asked = {"stateMachineArn": names.arn("states", arn, account)}
                for listed in self._project.pages(
                    "states:ListExecutions", place, absent=absent, statusFilter="RUNNING", **asked
                ):
                    yield listed["executionArn"]

    def _let_nothing_run(self, stack: ProjectStack, stop_running: bool) -> None:
        """Stop what runs before its state machine goes, which would leave the jobs alone."""
        if stack.part != "workflow":
            return
        stopped: set[str] = set()

        def look() -> list[str]:
            found = list(self._running())
            for arn in sorted(set(found) - stopped) if stop_running else []:
                why = {"error": "batcat.Destroyed", "cause": "The pipeline is removed."}
                place = f"the execution {arn}"
                self._project.call("states:StopExecution", place, executionArn=arn, **why)
                stopped.add(arn)
                report(f"execution {arn.rpartition(':')[2]}: stopped")
            return found

        found = wait_until(look, lambda there: not there or not stop_running, seconds=_STOP_SECONDS)
        if found:
            raise StackError(
                f"The stack {stack.name} stays: {found[0].rpartition(':')[2]} is running.",
                fix="Wait for its end, or have it stopped: `batcat destroy --stop-running`.",
            )

    def _remove(self, stack: ProjectStack) -> None:
        """Have CloudFormation remove a stack, by its id: its name may be a new one's by now."""
        since = newest_event(self._client, stack.arn)
        report(f"stack {stack.name}: removing it")
        with self._project.asked("cloudformation:DeleteStack", f"the stack {stack.name}"):
            self._client.delete_stack(StackName=stack.arn)
            status = follow(self._client, stack.arn, since)
        if status != "DELETE_FAILED":
            report(f"stack {stack.name}: removed")
            return
        failed = [
            event
            for event in events_since(self._client, stack.arn, since)
            if event["ResourceStatus"] == "DELETE_FAILED"
            and event["ResourceType"] != "AWS::CloudFormation::Stack"
        ]
        lines, fix = explained(failed)
        keep = " ".join(one["LogicalResourceId"] for one in failed)
        keep = f"--stack-name {stack.name} --retain-resources {keep}"
        by_hand = (
            "Mend that; or leave these resources to yourself: `aws cloudformation delete-stack "
            f"{keep} --region {self.inventory.region}`."
        )
        raise StackError(
            "\n".join([f"The stack {stack.name} could not be removed.", *lines]),
            fix=f"{fix or by_hand} {_AGAIN}",
        )


def _tables(project: Project, purpose: str | None) -> Iterator[tuple[str, str]]:
    """Yield database and name of the tables that `batcat results register` made."""
    ours = marks_of(project, purpose)
    database = project.names(next(iter(project.config.purposes))).database
    place, absent = f"the Glue database {database}", {"EntityNotFoundException"}
    found = project.pages("glue:GetTables", place, absent=absent, DatabaseName=database)
    # A view goes before what it reads.
    for table in sorted(found, key=lambda one: one.get("TableType") != "VIRTUAL_VIEW"):
        if ours.items() <= (table.get("Parameters") or {}).items():
            yield database, table["Name"]
