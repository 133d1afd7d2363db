"""`batcat stop`: end a run that turned out to be a mistake, and the job that it is at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from batcat_runtime.errors import NotDeployedError, UserError
from batcat_runtime.log import report
from batcat_runtime.operate.connection import Project, open_project
from batcat_runtime.operate.executions import Execution, describe, find_execution, list_executions

_ERROR, _CAUSE = "Stopped", "Stopped by `batcat stop`"
_SHOWN = 5


def stop(
    execution: str | None = None,
    *,
    folder: str | Path | None = None,
    purpose: str | None = None,
) -> Execution | None:
    """Stop an execution that runs; Step Functions stops the processing jobs that it waits for.

    What its jobs have written so far is no result: there is no manifest for it. A backfill is
    stopped by `backfill("stop")`; here, one of its executions alone.

    Parameters
    ----------
    execution : str, optional
        An ARN, a name, or the start of a name; may be left out when only one runs.
    folder : str or Path, optional
        The project's folder; by default the one around the working directory.
    purpose : str, optional
        Look in this pipeline only.

    Returns
    -------
    Execution or None
        As it is now; one that had ended before is left as it is. None: nothing is running.

    Raises
    ------
    UserError
        Several are running that it may be; nothing was stopped.
    NoSuchExecutionError
        There is nothing of that name.
    NotDeployedError
        No pipeline that could have it is deployed.

    Examples
    --------
    >>> bc.stop("run-20220108-020000").status  # doctest: +SKIP
    'ABORTED'
    """
    project = open_project(folder)
    found = list(_running(project, execution, project.purposes(purpose)))
    names = [arn.rpartition(":")[2] for _, arn in found]
    if len(found) > 1:
        more = f" and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
        raise UserError(
            f"{len(found):,} executions are running: {', '.join(names[:_SHOWN])}{more}. Nothing "
            "was stopped.",
            fix="Name one: `batcat stop NAME`. Those of a backfill: `batcat backfill stop`.",
        )
    if not found:
        if execution is None:
            report("nothing is running")
            return None
        ended = find_execution(project, execution, purpose)
        report(f"execution {ended.name}: had ended already ({ended.status.lower()})")
        return ended
    owner, arn = found[0]
    # Of one that has ended in between, StopExecution changes nothing.
    given = {"executionArn": arn, "error": _ERROR, "cause": _CAUSE}
    project.call("states:StopExecution", f"the execution {names[0]}", **given)
    stopped = describe(project, owner, arn)
    report(f"execution {names[0]}: {'stopped' if stopped.error == _ERROR else 'had just ended'}")
    return stopped


def _running(
    project: Project, execution: str | None, purposes: list[str]
) -> Iterator[tuple[str, str]]:
    """Yield what runs and can be meant: its pipeline and its ARN; a whole name means just that."""
    found, missing = [], None
    for purpose in purposes:
        try:
            found += [
                (purpose, listed["executionArn"])
                for listed in list_executions(project, purpose, status="RUNNING")
                if execution is None
                or listed["name"].startswith(execution)
                or listed["executionArn"] == execution
            ]
        except NotDeployedError as error:
            missing = error
    if missing and len(purposes) == 1:
        raise missing
    exact = [each for each in found if execution in (each[1], each[1].rpartition(":")[2])]
    yield from exact or found
