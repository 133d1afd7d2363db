"""What an execution did and what its containers wrote: one tail, in order of time."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from batcat_runtime.errors import NoSuchExecutionError, UserError
from batcat_runtime.operate.connection import Project, open_project
from batcat_runtime.operate.execution_log import ExecutionLog, come_back
from batcat_runtime.operate.executions import Execution, find_execution
from batcat_runtime.operate.happenings import millis
from batcat_runtime.operate.loglines import JOB_LOG_GROUP, LogLine
from batcat_runtime.operate.waiting import Connection

_AGO = re.compile(r"(\d+)\s*([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def logs(
    execution: str | None = None,
    *,
    follow: bool = False,
    since: str | datetime | timedelta | None = None,
    lines: int | None = None,
    every: float = 2.0,
    patience: float = 300.0,
    folder: str | Path | None = None,
    purpose: str | None = None,
    progress: Callable[[str], None] = lambda line: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Generator[LogLine, None, Execution]:
    """Yield what an execution did and what its containers wrote, in order of time.

    Parameters
    ----------
    execution : str, optional
        Its name, the start of it, or its ARN; by default the newest of the project.
    follow : bool
        Whether to go on until the execution ends, and its last lines have arrived.
    since : str, datetime or timedelta, optional
        Nothing older: a time (``2022-01-08T05:00``, of this machine's zone if it names none) or how
        long ago (``10m``, ``2h``, ``1d``).
    lines : int, optional
        Of what is there already only the last lines.
    every : float
        Seconds between two looks, and so the delay of lines that are followed.
    patience : float
        Seconds for which a lost connection is tried again while following.
    folder : str or Path, optional
        The project's folder; by default the working directory.
    purpose : str, optional
        One pipeline of several.
    progress : callable
        Called with what is worth knowing and no line of a log.
    sleep : callable
        Waits, in seconds.

    Returns
    -------
    generator of LogLine
        Lines with `time`, `source` and `text`: one line each, without escape sequences. The last
        one of an execution that has ended says how. The generator returns the `Execution`.

    Raises
    ------
    NoSuchExecutionError
        There is none.
    UserError
        `since` is no time; nothing was asked.
    WaitInterruptedError
        While following: Ctrl-C, or the credentials have expired. The execution goes on.
    ConnectError
        While following: the connection stayed lost. The execution goes on.

    Examples
    --------
    >>> for line in bc.logs(follow=True):  # doctest: +SKIP
    ...     print(line.source, line.text)
    """
    start = _since(since)
    if lines is not None and lines < 0:
        raise UserError(f"lines={lines} is no number of lines.", fix="Give 0 or more.")
    if every <= 0:
        raise UserError(f"every={every:g} is no number of seconds.", fix="Give 2, or less.")
    project = open_project(folder)
    try:
        found = find_execution(project, execution, purpose)
    except NoSuchExecutionError as error:
        if execution:
            raise _still_in_cloudwatch(project, purpose, error) from error
        raise
    connection = Connection(
        project,
        patience=patience if follow else 0.0,
        come_back=come_back(found),
        progress=progress,
        sleep=sleep,
    )
    read = ExecutionLog(connection, found, start=start, lines=lines, progress=progress)
    return read.follow(every, sleep) if follow else read.read()


def _since(since: str | datetime | timedelta | None) -> int:
    """Return the time before which nothing is wanted, in milliseconds; 0 for none."""
    if since is None:
        return 0
    if isinstance(since, str):
        ago = _AGO.fullmatch(since.strip().lower())
        try:
            since = (
                timedelta(**{_UNITS[ago[2]]: int(ago[1])})
                if ago
                else datetime.fromisoformat(since.strip())
            )
        except (ValueError, OverflowError) as error:
            raise UserError(
                f"since={since!r} is no time.",
                fix="Write how long ago (10m, 2h, 1d) or a time (2022-01-31T05:00).",
            ) from error
    try:
        moment = datetime.now(UTC) - since if isinstance(since, timedelta) else since
        return max(0, millis(moment))
    except (OverflowError, ValueError, OSError):
        return 0


def _still_in_cloudwatch(
    project: Project, purpose: str | None, error: NoSuchExecutionError
) -> NoSuchExecutionError:
    """Return the error with where the lines of an execution's jobs are when it is forgotten."""
    config = project.config
    prefixes = dict.fromkeys(
        project.names(one).job_name(step.name)
        for one in project.purposes(purpose)
        for step in config.purposes[one].steps
    )
    return NoSuchExecutionError(
        error.message,
        fix=f"{error.fix}\n  Step Functions forgets an execution 90 days after its end; what its "
        f"jobs wrote stays in CloudWatch, in streams that begin with {' or '.join(prefixes)}: "
        f"`aws logs tail {JOB_LOG_GROUP} --log-stream-name-prefix {next(iter(prefixes))} "
        f"--since 120d --region {config.region}`.",
    )
