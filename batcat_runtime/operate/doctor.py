"""Look at everything that a pipeline depends on, and say what is wrong with the command to mend it.

The checks are in `checks`, one function each. They run beside each other, each for a limited time;
one that crashes is reported, and the others go on. Nothing is changed.
"""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from batcat_runtime.config import find_project, get_config
from batcat_runtime.errors import (
    AccessDeniedError,
    BatcatError,
    ConfigError,
    ConnectError,
    CredentialsError,
)
from batcat_runtime.operate.checks import LOCAL, ON_AWS, CheckFunction
from batcat_runtime.operate.checks.finding import Finding, Status, failed, skipped
from batcat_runtime.operate.checks.patient import Patient

TIME_LIMIT = 20.0
_PATIENCE = 2.0
_POLICY = "deploy/iam/operator.json has all that these checks need"
_ACTION = re.compile(r"not authorized to perform:? ([a-z0-9-]+:\w+)")
_NEEDED = re.compile(r"needs ([a-z0-9-]+:\w+)")


@dataclass(frozen=True)
class Check:
    """What one check found.

    Attributes
    ----------
    name : str
        What is as it should be, in words: ``"AWS accepts the credentials in use"``.
    status : {"ok", "warning", "failed", "skipped"}
        Warnings do not keep a pipeline from running; skipped is what could not be looked at.
    found : str
        What is there instead, or in detail.
    fix : str
        A command to paste; empty when nothing needs to be done.
    """

    name: str
    status: Status
    found: str
    fix: str = ""


def doctor(
    *,
    folder: str | Path | None = None,
    purpose: str | None = None,
    time_limit: float = TIME_LIMIT,
    progress: Callable[[str], None] = lambda line: None,
) -> list[Check]:
    """Look at credentials, region, bucket, roles, image, quota, clock, network and configuration.

    Parameters
    ----------
    folder : path, optional
        The project's folder; by default the one around the working directory.
    purpose : str, optional
        The one pipeline to look at; by default all.
    time_limit : float
        Seconds that a check may take.
    progress : callable
        Called with a line while AWS is asked.

    Returns
    -------
    list of Check
        In a fixed order: what needs no credentials first. Without any, the rest is skipped.

    Raises
    ------
    ConfigError
        There is no project here, or no such purpose in it. A broken configuration is a finding.

    Examples
    --------
    >>> [one.name for one in bc.doctor() if one.status == "failed"]  # doctest: +SKIP
    ["This machine's clock is AWS's, so that signatures are valid"]
    """
    place = find_project(folder)
    patient = Patient(place, None, purpose=purpose)
    try:
        patient.config = get_config(place)
    except ConfigError as error:
        patient.broken = error
    else:
        patient.purpose = patient.config.purpose_name(purpose) if purpose else None
    return _examined(patient, (*LOCAL, *ON_AWS), time_limit, progress)


def _examined(
    patient: Patient,
    checks: tuple[CheckFunction, ...],
    time_limit: float,
    progress: Callable[[str], None],
) -> list[Check]:
    found: queue.Queue[tuple[int, list[Finding]]] = queue.Queue()

    def work(number: int, check: CheckFunction) -> None:
        found.put((number, _findings(patient, check)))

    for number, check in enumerate(checks):
        # Daemons: one that hangs must not keep us from ending.
        threading.Thread(target=work, args=(number, check), daemon=True).start()
    results: dict[int, list[Finding]] = {}
    deadline = time.monotonic() + time_limit
    progress(f"looking at {len(checks)} things")
    while len(results) < len(checks) and time.monotonic() < deadline:
        left = max(0.0, deadline - time.monotonic())
        try:
            number, findings = found.get(timeout=min(_PATIENCE, left))
        except queue.Empty:
            waiting = [_name(one) for each, one in enumerate(checks) if each not in results]
            progress(f"still looking: {waiting[0]}")
            continue
        results[number] = findings
    slow = [failed(f"no answer within {time_limit:g} s", "batcat doctor   (again, a little later)")]
    return [
        Check(_name(check), one.status, one.found, one.fix)
        for number, check in enumerate(checks)
        for one in results.get(number, slow)
    ]


def _findings(patient: Patient, check: CheckFunction) -> list[Finding]:
    """Return what a check finds; what it stumbles over is a finding as well."""
    try:
        if check in ON_AWS and patient.config is not None:
            _ = patient.identity
        result = check(patient)
    except AccessDeniedError as error:
        found = _ACTION.search(error.message) or _NEEDED.search(error.fix)
        action = found[1] if found else "a permission"
        return [skipped(f"you lack {action}", f"ask your administrator for {action}; {_POLICY}")]
    except CredentialsError:
        return [skipped("needs credentials that AWS accepts")]
    except ConnectError:
        return [skipped("AWS is out of reach")]
    except ConfigError:
        return [skipped("needs a valid script/config.json")]
    except BatcatError as error:
        return [failed(error.message, error.fix or "batcat --debug doctor")]
    except Exception as error:
        text = f"the check itself broke: {type(error).__name__}: {error}"
        return [failed(text, "batcat --debug doctor   (and report it: this is not your mistake)")]
    return result if isinstance(result, list) else [result]


def _name(check: CheckFunction) -> str:
    return _first_line(check.__doc__ or check.__name__).removesuffix(".")


def _first_line(text: str) -> str:
    return text.strip().split("\n")[0]
