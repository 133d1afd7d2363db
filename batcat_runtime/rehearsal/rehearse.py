"""The rehearsal: a project's whole deployment, run once against an embedded AWS.

Stages, each a step of the record: put buckets and sample data in place; deploy as `batcat deploy`
does; invoke the Lambda function as its schedule would; follow the execution; read the result back.
A stage that fails ends the rehearsal, and the record says where
and why. The embedded AWS is gone at the end, whatever happened.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from zoneinfo import ZoneInfo

from batcat_runtime.config import Config, get_config
from batcat_runtime.deploy.cloudformation import template_file
from batcat_runtime.deploy.limits import check_limits
from batcat_runtime.errors import UserError
from batcat_runtime.rehearsal import EmbeddedAWS, prepare
from batcat_runtime.rehearsal.aws.iam.denials import denied_calls
from batcat_runtime.rehearsal.mails import read_mails
from batcat_runtime.rehearsal.record import LogLine, Rehearsal, Step
from batcat_runtime.rehearsal.stages import EndedError, Notes, Rehearser

DEFAULT_TIMEOUT = 900.0


def rehearse(
    folder: Path,
    purpose: str | None = None,
    *,
    fire_at: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    progress: Callable[[str], None] = lambda line: None,
) -> Rehearsal:
    """Rehearse one purpose of a project, from deployment to result.

    Parameters
    ----------
    folder : Path
        The project's folder.
    purpose : str, optional
        May be left out when the project has one.
    fire_at : str, optional
        The local time, in the schedule's zone, at which the schedule fires: ``2022-01-08T02:00``.
        By default ``rehearsal.fire_at`` of the purpose, else now.
    timeout : float
        Seconds that the execution may take before it is stopped.
    progress : callable
        Called with one line whenever something happened.

    Returns
    -------
    Rehearsal
        The record; its `status` says whether the pipeline succeeded.

    Raises
    ------
    ConfigError, UserError
        The project cannot be rehearsed as it is; nothing was started.
    EmbeddedAWSError
        The embedded AWS did not start.
    """
    config = get_config(folder)
    check_limits(config)
    purpose = config.purpose_name(purpose)
    moment = _firing_time(config, purpose, fire_at)
    samples = prepare.find_samples(config, purpose, folder)
    upload = prepare.find_upload(config, purpose, samples)
    if upload:
        moment = datetime.now(UTC)  # an object arrives when it does
    started = datetime.now(UTC)
    notes = Notes()
    progress(f"starting an embedded AWS for {config.region} ({config.partition})")
    with EmbeddedAWS(region=config.region, enforce_policies=True) as aws:
        rehearsal = Rehearser(config, purpose, folder, aws, notes, progress)
        try:
            rehearsal.prepare(samples)
            rehearsal.deploy()
            execution = rehearsal.upload(*upload) if upload else rehearsal.fire(moment)
            rehearsal.follow(execution, timeout)
        except EndedError:
            pass
        finally:
            rehearsal.read_back()
        roles = template_file(config, "roles", purpose)
        _tell_denials(notes, denied_calls(aws.home, roles))
        mails = tuple(read_mails(aws.home))
        account = aws.account_id
    return Rehearsal(
        title=config.title,
        project=config.project,
        purpose=purpose,
        region=config.region,
        partition=config.partition,
        account_id=account,
        fired_at=moment.isoformat(timespec="minutes"),
        window=notes.window,
        status="failed" if notes.error else "succeeded",
        error=notes.error,
        started=started,
        seconds=(datetime.now(UTC) - started).total_seconds(),
        steps=tuple(notes.steps),
        definition=notes.definition,
        state_status=notes.state_status,
        logs=tuple(sorted(notes.logs, key=lambda line: line.time)),
        result=notes.result.table,
        manifest=notes.result.manifest,
        images=notes.result.images,
        resources=tuple(notes.resources),
        versions=_versions(),
        mails=mails,
    )


def _tell_denials(notes: Notes, denied: list[str]) -> None:
    """Name what roles were refused: in the log, and behind the reason of a failure."""
    now = datetime.now(UTC)
    notes.logs += [LogLine(now, "permissions", line) for line in denied]
    if denied and notes.error:
        notes.error = "\n".join([notes.error, "Refused for want of a permission:", *denied])
    elif denied:
        notes.steps.append(Step("permissions", "result", "failed", now, 0.0, denied[0]))


def _firing_time(config: Config, purpose: str, fire_at: str | None) -> datetime:
    settings = config.purposes[purpose]
    zone = ZoneInfo(settings.schedule.timezone if settings.schedule else "UTC")
    text = fire_at or (settings.rehearsal.fire_at if settings.rehearsal else None)
    if text is None:
        return datetime.now(zone)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UserError(f"{text!r} is no time.", fix="Write it as 2022-01-08T02:00.") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    if moment - datetime.now(UTC) > timedelta(days=3660):
        raise UserError(f"{text} is more than ten years ahead.", fix="Take a time near your data.")
    return moment.astimezone(zone)


def _versions() -> dict[str, str]:
    packages = ("batcat-runtime", "awswrangler", "boto3", "moto", "pandas", "stepfunctions")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}
