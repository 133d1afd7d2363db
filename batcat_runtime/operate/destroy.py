"""`batcat destroy`: a project, or one of its pipelines, taken out of AWS; its data stays.

Stages: take the inventory, refuse what would do harm, have the project's name typed, then remove
stack by stack: what starts things first, then, with leave, what runs is stopped, then what runs
things, then what all share; the Athena tables of results go last. CloudFormation does the work and
is followed. A resource that blocks is left behind, with the command to remove it by hand; missing
rights are no reason to leave anything of a stack. Everything is found anew at each start, so a
second run goes on where the first has ended.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batcat_runtime.deploy.reasons import explain, said
from batcat_runtime.deploy.stack import (
    events_since,
    follow,
    goes_on_without_us,
    newest_event,
)
from batcat_runtime.errors import StackError, UserError
from batcat_runtime.operate.connection import Project, find_stack, open_project, removed_purposes
from batcat_runtime.operate.inventory import (
    Inventory,
    ListedStack,
    Running,
    running_in,
    take_inventory,
)
from batcat_runtime.operate.result_tables import remove_tables

_AGAIN = "`batcat destroy` again goes on where this has ended."
_STOP_PATIENCE = 600.0
_SHOWN = 5
_DENIED = re.compile(r"not authorized to perform|AccessDenied|Forbidden", re.IGNORECASE)
_BY_HAND = {
    "AWS::CodeBuild::Project": "aws codebuild delete-project --name {name}",
    "AWS::ECR::Repository": "aws ecr delete-repository --force --repository-name {name}",
    "AWS::Events::Rule": "aws events remove-targets --rule {name} --ids trigger && "
    "aws events delete-rule --name {name}",
    "AWS::Glue::Database": "aws glue delete-database --name {name}",
    "AWS::Glue::Table": "aws glue delete-table --database-name {database} --name {name}",
    "AWS::IAM::Role": "aws iam delete-role --role-name {name}",
    "AWS::CloudWatch::Alarm": "aws cloudwatch delete-alarms --alarm-names {name}",
    "AWS::SNS::Topic": "aws sns delete-topic --topic-arn {name}",
    "AWS::Lambda::Function": "aws lambda delete-function --function-name {name}",
    "AWS::Logs::LogGroup": "aws logs delete-log-group --log-group-name {name}",
    "AWS::Scheduler::Schedule": "aws scheduler delete-schedule --name {name}",
    "AWS::StepFunctions::StateMachine": "aws stepfunctions delete-state-machine "
    "--state-machine-arn {name}",
}


@dataclass(frozen=True)
class LeftBehind:
    """A resource that AWS could not remove, and that now belongs to no stack.

    Attributes
    ----------
    type, name, reason : str
        What it is, and why it is still there, in AWS's words.
    command : str
        What removes it, once that reason is gone.
    """

    type: str
    name: str
    reason: str
    command: str


@dataclass(frozen=True)
class Destroyed:
    """What `destroy` did.

    Attributes
    ----------
    inventory : Inventory
        What there was, and what stays.
    removed : tuple of str
        The stacks that are gone.
    stopped : tuple of str
        The executions that were stopped.
    left : tuple of LeftBehind
        What could not be removed.
    tables : tuple of str
        The Athena tables of results that are gone, each with its database.
    """

    inventory: Inventory
    removed: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    left: tuple[LeftBehind, ...] = ()
    tables: tuple[str, ...] = ()


def destroy(
    confirm: str | None = None,
    *,
    stop_running: bool = False,
    folder: str | Path | None = None,
    purpose: str | None = None,
    ask: Callable[[Inventory], str | None] | None = None,
    progress: Callable[[str], None] = lambda line: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Destroyed:
    """Remove a project from AWS, or one of its pipelines; the data in its bucket stays.

    Parameters
    ----------
    confirm : str, optional
        The project's name, as a proof that this is meant.
    stop_running : bool
        Stop executions that run; by default nothing is removed while there are any.
    folder : path, optional
        The project's folder; by default the one around the working directory.
    purpose : str, optional
        Remove this pipeline only; it may be one that script/config.json has no longer.
    ask : callable, optional
        Shown what goes and what stays, returns what the reader typed, or None; called when
        `confirm` is not given and there is something to remove.
    progress : callable
        Called with a line when something happens.
    sleep : callable
        Waits, in seconds.

    Returns
    -------
    Destroyed
        What is gone, and what could not be removed. Nothing of both: nothing was there.

    Raises
    ------
    UserError
        The name is not the project's, or executions are running; nothing was changed.
    StackError
        A stack is protected, in somebody else's hands, or cannot be removed with these credentials.
    WaitInterruptedError
        Nobody waited to the end; CloudFormation goes on with one stack.

    Examples
    --------
    >>> destroy("battery", purpose="forecast").removed  # doctest: +SKIP
    ('batcat-battery--forecast--trigger', 'batcat-battery--forecast--workflow', ...)
    """
    project = open_project(folder)
    configured = purpose is None or purpose in project.config.purposes
    if not configured and purpose not in removed_purposes(project):
        project.config.purpose_name(purpose)  # tells which ones there are
    inventory = take_inventory(project, purpose)
    if inventory.empty:
        return Destroyed(inventory)
    _check_stacks(project, inventory)
    if inventory.running and not stop_running:
        raise UserError(
            f"{_listed(inventory.running)} still running; nothing was removed.",
            fix="Wait for the end (`batcat status`), or have them stopped: "
            "`batcat destroy --stop-running`.",
        )
    typed = confirm if confirm is not None else ask(inventory) if ask else None
    if typed != project.config.project:
        only = f"--purpose {purpose} " if purpose else ""
        said = "Nobody has confirmed this" if typed is None else f"{typed!r} is another name"
        raise UserError(
            f"{said}: the project is called {project.config.project!r}. Nothing was removed.",
            fix=f"Confirm with `batcat destroy {only}--confirm {project.config.project}`.",
        )
    return _Removal(project, inventory, stop_running, progress, sleep).run()


def _check_stacks(project: Project, inventory: Inventory) -> None:
    """Refuse, before anything is changed, what must not or cannot be removed now."""
    for listed in inventory.stacks:
        stack = find_stack(project, listed.arn)
        if stack is None:
            continue
        if stack.protected:
            raise StackError(
                f"The stack {stack.name} is protected against deletion; nothing was removed.",
                fix="If it may go: `aws cloudformation update-termination-protection "
                f"--no-enable-termination-protection --stack-name {stack.name} --region "
                f"{project.config.region}`, then again.",
            )
        if stack.busy and stack.status != "DELETE_IN_PROGRESS":
            raise StackError(
                f"Somebody is changing the stack {stack.name} right now ({stack.status}); nothing "
                "was removed.",
                fix="Wait until that has ended, then try again.",
            )


def _listed(found: tuple[Running, ...]) -> str:
    names = [f"{'the backfill ' if one.backfill else ''}{one.name}" for one in found]
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    word = "Execution" if len(names) == 1 else "Executions"
    return f"{word} {', '.join(names[:_SHOWN])}{more} {'is' if len(names) == 1 else 'are'}"


class _Removal:
    """One run: stack after stack, with what was done so far."""

    def __init__(
        self,
        project: Project,
        inventory: Inventory,
        stop_running: bool,
        progress: Callable[[str], None],
        sleep: Callable[[float], None],
    ) -> None:
        self._project = project
        self._inventory = inventory
        self._stop_running = stop_running
        self._progress = progress
        self._sleep = sleep
        self._client = project.client("cloudformation")
        self._removed: list[str] = []
        self._stopped: list[str] = []
        self._left: list[LeftBehind] = []

    def run(self) -> Destroyed:
        for number, stack in enumerate(self._inventory.stacks):
            more = len(self._inventory.stacks) - number - 1
            after = f" {more} more {'is' if more == 1 else 'are'} still there." if more else ""
            with goes_on_without_us(f"The stack {stack.name} is still there.{after}", _AGAIN):
                self._let_nothing_run(stack)
            with goes_on_without_us(
                f"CloudFormation goes on removing the stack {stack.name}.{after}", _AGAIN
            ):
                self._remove(stack)
            self._removed.append(stack.name)
        tables = tuple(self._remove_tables())
        return Destroyed(
            self._inventory,
            tuple(self._removed),
            tuple(self._stopped),
            tuple(self._left),
            tables,
        )

    def _remove_tables(self) -> Iterator[str]:
        """Remove the Athena tables of results; yield those that are gone."""
        listed = self._inventory.tables
        if listed is None:
            return
        kept = list(remove_tables(self._project, listed, self._progress))
        for one in kept:
            command = _BY_HAND[one.type].format(name=one.name, database=listed.database)
            region = f"--region {self._inventory.region}"
            self._left.append(LeftBehind(one.type, one.name, one.reason, f"{command} {region}"))
        names = {one.name for one in kept}
        yield from (f"{listed.database}.{one}" for one in listed.tables if one not in names)

    def _let_nothing_run(self, stack: ListedStack) -> None:
        """Stop what runs in a stack and wait for its end; without leave, refuse to go on.

        A state machine that is removed ends its executions at their next step, and would leave the
        jobs of those steps to themselves.
        """
        waited, pause = 0.0, 0.2
        while found := tuple(running_in(self._project, stack)):
            if not self._stop_running:
                raise StackError(
                    f"{_listed(found)} running: somebody has started that meanwhile. "
                    f"{self._so_far()}",
                    fix="Wait for the end, or have it stopped: `batcat destroy --stop-running`.",
                )
            for one in found:
                self._stop(one)
            if waited > _STOP_PATIENCE:
                raise StackError(
                    f"{_listed(found)} still running, {waited / 60:.0f} minutes after being "
                    f"stopped. {self._so_far()}",
                    fix="See `batcat status`, then run `batcat destroy` again.",
                )
            self._sleep(pause)
            waited, pause = waited + pause, min(5.0, pause * 1.5)

    def _stop(self, one: Running) -> None:
        if one.name in self._stopped:
            return
        client = self._project.client("stepfunctions")
        with self._project.asked(f"the execution {one.name}", "states:StopExecution"):
            client.stop_execution(
                executionArn=one.arn, error="batcat.Destroyed", cause="The pipeline is removed."
            )
        self._stopped.append(one.name)
        self._progress(f"execution {one.name}: stopped")

    def _remove(self, stack: ListedStack) -> None:
        """Have CloudFormation remove a stack; what blocks is left behind, one after the other."""
        retained: dict[str, LeftBehind] = {}
        while True:
            # By its id: the name may be somebody else's new stack by now.
            present = find_stack(self._project, stack.arn)
            if present is None or present.status == "DELETE_COMPLETE":
                break
            since = newest_event(self._client, stack.arn)
            if present.status == "DELETE_IN_PROGRESS":
                self._progress(f"stack {stack.name}: is being removed already; waiting")
            else:
                keep = f", without {', '.join(retained)}" if retained else ""
                self._progress(f"stack {stack.name}: removing it{keep}")
                self._delete(stack, sorted(retained))
            status = follow(self._client, stack.arn, since, self._progress)
            if status != "DELETE_FAILED":
                break
            blocking = self._blocking(stack, events_since(self._client, stack.arn, since))
            if not blocking.keys() - retained.keys():
                raise StackError(
                    f"The stack {stack.name} cannot be removed ({status}). {self._so_far()}",
                    fix="Look at its events in the CloudFormation console.",
                )
            retained |= blocking
        self._left += retained.values()
        self._progress(f"stack {stack.name}: removed")

    def _delete(self, stack: ListedStack, retained: list[str]) -> None:
        options: dict[str, Any] = {"RetainResources": retained} if retained else {}
        with self._project.asked(f"the stack {stack.name}", "cloudformation:DeleteStack"):
            self._client.delete_stack(StackName=stack.arn, **options)

    def _blocking(self, stack: ListedStack, events: list[dict[str, Any]]) -> dict[str, LeftBehind]:
        """Return what could not be removed; raise when that is for want of rights only."""
        found = {}
        for event in events:
            kind, status = event["ResourceType"], event["ResourceStatus"]
            if status != "DELETE_FAILED" or kind == "AWS::CloudFormation::Stack":
                continue
            reason = said(event)
            if _DENIED.search(reason):
                words, _ = explain(event)
                raise StackError(
                    f"The stack {stack.name} could not be removed: {kind} "
                    f"{event['LogicalResourceId']}: {words or reason}\n"
                    f"  Nothing was left behind for that: the stack is there still. "
                    f"{self._so_far()}",
                    fix="Ask the administrator for that right (all that is needed stands in "
                    f"deploy/iam/), then run it again: {_AGAIN}",
                )
            name = event.get("PhysicalResourceId") or event["LogicalResourceId"]
            command = _BY_HAND.get(kind, "")
            found[event["LogicalResourceId"]] = LeftBehind(
                type=kind,
                name=name,
                reason=reason,
                command=f"{command.format(name=name)} --region {self._inventory.region}"
                if command
                else "",
            )
        return found

    def _so_far(self) -> str:
        if not self._removed:
            return "Nothing was removed so far."
        return f"Removed so far: {', '.join(self._removed)}."
