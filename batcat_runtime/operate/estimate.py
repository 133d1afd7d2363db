"""`batcat plan --estimate`: the jobs and instance hours of a schedule's month, or of a backfill.

Hours are counted at most, from each step's `max_runtime_seconds`: what a run costs is known once it
has ended. Nothing in AWS is asked but its quotas, and the estimate goes without.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from batcat_runtime.config import Config, Purpose
from batcat_runtime.deploy.schedule_expression import next_times
from batcat_runtime.errors import BatcatError, UserError
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.operate.backfill import AT_ONCE, windows_between
from batcat_runtime.operate.connection import open_project

_DAYS = 30
_MOST_RUNS = 50_000
# In the words of the refusals that new accounts got: "The account-level service limit 'Number of
# instances across all processing jobs' is 4 Instances".
_DEFAULT, _DEFAULT_SOURCE = (
    4,
    "new accounts had that for all types together in April 2021; yours could not be read",
)


@dataclass(frozen=True)
class StepEstimate:
    """What a step needs.

    Attributes
    ----------
    step, instance_type : str
        The step, and where it runs.
    instances : int
        Of each of its jobs.
    jobs, most_jobs : int
        When none fails, and when every job fails as often as `retries.failed_jobs` allows.
    hours : float
        Instance hours at most: as if every job ran to its `max_runtime_seconds`.
    """

    step: str
    instance_type: str
    instances: int
    jobs: int
    most_jobs: int
    hours: float


@dataclass(frozen=True)
class Quota:
    """How many instances of a type are needed at once, and how many the account may use.

    Attributes
    ----------
    instance_type : str
        The type.
    needed, allowed : int
        At once.
    source : str
        Who says so: ``Service Quotas``, or what the default is and of when.
    """

    instance_type: str
    needed: int
    allowed: int
    source: str

    @property
    def binds(self) -> bool:
        """Whether fewer are allowed than are needed."""
        return self.needed > self.allowed


@dataclass(frozen=True)
class Estimate:
    """The work of a pipeline in a month of its schedule, or in a backfill.

    Attributes
    ----------
    purpose : str
        The pipeline.
    of : str
        What is estimated, in words.
    runs : int
        How often the workflow runs.
    at_once : int
        How many of these at the same time.
    steps : tuple of StepEstimate
        In the order of the configuration.
    quotas : tuple of Quota
        One for each instance type.
    note : str
        Why nothing is estimated, or what is not counted.
    """

    purpose: str
    of: str
    runs: int
    at_once: int
    steps: tuple[StepEstimate, ...]
    quotas: tuple[Quota, ...]
    note: str = ""

    @property
    def hours(self) -> float:
        """Instance hours at most, of all steps."""
        return sum(step.hours for step in self.steps)


def estimate(
    folder: str | Path | None = None,
    *,
    purpose: str | None = None,
    start: str | date | None = None,
    end: str | date | None = None,
    every: str = "day",
    concurrency: int = AT_ONCE,
) -> list[Estimate]:
    """Count the jobs, the instance hours at most, and the quotas that bind.

    Parameters
    ----------
    folder : path, optional
        The project's folder; by default the one around the working directory.
    purpose : str, optional
        One pipeline; by default all.
    start, end, every, concurrency : str, str, str, int
        A backfill, as in `backfill`, whether its windows have results or not. Without: the
        schedule's next thirty days, be it switched on or not.

    Returns
    -------
    list of Estimate
        One for each pipeline.

    Raises
    ------
    UserError
        There is no such purpose, or no such range.

    Examples
    --------
    >>> estimate(start="2022-01-01", end="2023-01-01")[0].hours  # doctest: +SKIP
    365.0
    """
    project = open_project(folder)
    if (start is None) != (end is None):
        raise UserError(
            "A backfill has two ends.", fix="Give both --date-start and --date-end, or neither."
        )
    config, windows = project.config, 0
    if start is not None and end is not None:
        windows = len(windows_between(start, end, every))
        concurrency = min(concurrency, windows)
    asked = [
        _Asked(name, f"a backfill of {start} to {end} by the {every}", windows, concurrency)
        if windows
        else _month(config, name)
        for name in project.purposes(purpose)
    ]
    needed = {one.purpose: _needed(config.purposes[one.purpose], one.at_once) for one in asked}
    kinds = set().union(*needed.values())
    try:
        allowed = {
            kind: (int(found["Value"]), "Service Quotas")
            for kind, found in quotas_of(project.client("service-quotas"), kinds).items()
        }
    except BatcatError:  # without credentials, rights or a network it says so in the source
        allowed = {}
    return [
        Estimate(
            one.purpose,
            one.of,
            one.runs,
            one.at_once,
            tuple(_steps(config.purposes[one.purpose], one.runs)),
            tuple(
                Quota(kind, count, *allowed.get(kind, (_DEFAULT, _DEFAULT_SOURCE)))
                for kind, count in needed[one.purpose].items()
                if one.runs
            ),
            one.note,
        )
        for one in asked
    ]


@dataclass(frozen=True)
class _Asked:
    """What is to be estimated of a purpose."""

    purpose: str
    of: str
    runs: int
    at_once: int = 1
    note: str = ""


def _month(config: Config, purpose: str) -> _Asked:
    """Return the runs of the next thirty days; those that overlap at their longest run at once."""
    settings, now = config.purposes[purpose], datetime.now(UTC)
    uploads = "Runs that uploads start are not counted." if settings.s3_trigger else ""
    if settings.schedule is None:
        note = uploads or "It has no schedule: give --date-start and --date-end of a backfill."
        return _Asked(purpose, "no schedule", 0, note=note)
    expression, end = settings.schedule.expression, now + timedelta(days=_DAYS)
    found = next_times(expression, settings.schedule.timezone, now, _MOST_RUNS)
    times = [time for time in (one.astimezone(UTC) for one in found) if time <= end]
    longest = timedelta(seconds=sum(step.max_runtime_seconds for step in settings.steps))
    overlaps = (bisect_left(times, time + longest) - i for i, time in enumerate(times))
    at_once = max(overlaps, default=1)
    return _Asked(purpose, f"{_DAYS} days of {expression}", len(times), at_once, uploads)


def _steps(purpose: Purpose, runs: int) -> Iterator[StepEstimate]:
    for step in purpose.steps:
        most = runs * (1 + step.retries.failed_jobs)
        hours = most * step.instance_count * step.max_runtime_seconds / 3600
        yield StepEstimate(step.name, step.instance_type, step.instance_count, runs, most, hours)


def _needed(purpose: Purpose, at_once: int) -> dict[str, int]:
    return {kind: count * at_once for kind, count in instances_at_once(purpose).items()}


def instances_at_once(purpose: Purpose) -> Counter[str]:
    """Return how many instances of each type one run needs at the same time."""
    return _most(purpose.plan)


def _most(sequence: Any) -> Counter[str]:
    """Return the most that any stage of a sequence needs; the branches of one run side by side."""
    most: Counter[str] = Counter()
    for stage in sequence:
        if isinstance(stage, list):
            branches = [_most(one if isinstance(one, list) else [one]) for one in stage]
            most |= sum(branches, Counter())
        else:
            most |= Counter({stage.instance_type: stage.instance_count})
    return most


def quotas_of(client: Any, kinds: set[str]) -> dict[str, dict[str, Any]]:
    """Return SageMaker's quotas for these types: it has thousands, and no search by name."""
    names, found = {f"{kind} for processing job usage": kind for kind in kinds}, {}
    with translated("SageMaker's quotas", "servicequotas:ListServiceQuotas"):
        try:
            pages = client.get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker")
            for one in (quota for page in pages for quota in page["Quotas"]):
                if one["QuotaName"] in names:
                    found[names[one["QuotaName"]]] = one
                if len(found) == len(names):
                    break
        except ClientError as error:
            if error.response["Error"]["Code"] not in (
                "NoSuchResourceException",
                "NotInEmbeddedAWS",
            ):
                raise
    return found
