"""What started an execution, as its name tells: every way of starting one has a form of its own.

The schedule and a backfill give the same window the same name, so that it is never computed twice.
The schedule does so on the day on which the window ends; later it was a backfill.
"""

from __future__ import annotations

import re
from datetime import date, timedelta

_FORMS = (
    # The Lambda function names a run after its window, and an upload after its object.
    ("schedule", re.compile(r"\d{4}-\d\d-\d\d_(?P<end>\d{4}-\d\d-\d\d)_[0-9a-f]{8}")),
    # A backfill's windows may have hours; each attempt but the first has its number.
    (
        "backfill",
        re.compile(r"\d{4}-\d\d-\d\d(T\d{4})?_\d{4}-\d\d-\d\d(T\d{4})?_[0-9a-f]{8}(_b\d+)?"),
    ),
    ("upload", re.compile(r"upload_[0-9a-f]{32}")),
    ("test", re.compile(r"test-\d{8}T\d{6}-[0-9a-f]{6}")),
    ("run", re.compile(r"run-\d{8}-\d{6}-[0-9a-f]{6}")),
)
OTHER = "hand"
WORDS = {
    "schedule": "by the schedule",
    "upload": "by an upload",
    "backfill": "by a backfill",
    "test": "by a test",
    "run": "by `batcat run`",
    OTHER: "by hand",
}
# A schedule that could not fire is tried again for a day.
_LATE = timedelta(days=1)


def origin_of(name: str, day: date) -> str:
    """Return what started an execution: schedule, upload, backfill, test, run; else hand.

    Parameters
    ----------
    name : str
        The execution's name.
    day : datetime.date
        The day on which it was started, in the schedule's own zone.

    Examples
    --------
    >>> origin_of("2022-01-07_2022-01-08_0a1b2c3d", date(2022, 1, 8))
    'schedule'
    >>> origin_of("2022-01-07_2022-01-08_0a1b2c3d", date(2022, 3, 1))
    'backfill'
    >>> origin_of("run-20220108-091500-0a1b2c", date(2022, 1, 8))
    'run'
    >>> origin_of("my own", date(2022, 1, 8))
    'hand'
    """
    for origin, form in _FORMS:
        found = form.fullmatch(name)
        if found and (origin != "schedule" or _ends_on(found["end"], day)):
            return origin
    return OTHER


def _ends_on(end: str, day: date) -> bool:
    try:
        return timedelta(0) <= day - date.fromisoformat(end) <= _LATE
    except ValueError:
        return False
