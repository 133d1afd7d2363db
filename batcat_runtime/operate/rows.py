"""An execution as a row of the list that `batcat status` shows."""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from batcat_runtime.operate.connection import Project
from batcat_runtime.operate.executions import Execution
from batcat_runtime.operate.manifests import Result
from batcat_runtime.operate.origins import origin_of


@dataclass(frozen=True)
class Row:
    """One execution in the list.

    Attributes
    ----------
    execution : Execution
        Its name, status, times, window and parameters.
    origin : str
        What started it: ``schedule``, ``upload``, ``backfill``, ``run``, ``test`` or ``hand``.
    seconds : float
        How long it took, or has been running.
    rows : int or None
        The rows of its result; None when it has none.
    missing : str
        What is missing of the result of an execution that succeeded; empty when nothing is.
    """

    execution: Execution
    origin: str
    seconds: float
    rows: int | None = None
    missing: str = ""


def row_of(execution: Execution, result: Result | None, zone: str, missing: str = "") -> Row:
    """Return an execution as a row of the list, with what it left."""
    if execution.status == "SUCCEEDED" and not missing:
        missing = result.missing if result else "it left no result"
    return Row(
        execution=execution,
        origin=origin_of(execution.name, execution.started.astimezone(ZoneInfo(zone)).date()),
        seconds=execution.seconds,
        rows=result.rows if result else None,
        missing=missing,
    )


def timezone_of(project: Project, purpose: str) -> str:
    """Return the zone that a purpose's windows are reckoned in, and its times are shown in."""
    schedule = project.config.purposes[purpose].schedule
    return schedule.timezone if schedule else "UTC"
