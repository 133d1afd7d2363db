"""What started an execution, as its name tells: every way of starting one has a form of its own."""

from __future__ import annotations

import re

_FORMS = (
    # The Lambda function names a run after its window, and an upload after its object.
    ("schedule", re.compile(r"\d{4}-\d\d-\d\d_\d{4}-\d\d-\d\d_[0-9a-f]{8}")),
    ("upload", re.compile(r"upload_[0-9a-f]{32}")),
    ("backfill", re.compile(r"backfill\b.*")),
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


def origin_of(name: str) -> str:
    """Return what started an execution: schedule, upload, backfill, test, run; else hand.

    Examples
    --------
    >>> origin_of("2022-01-07_2022-01-08_0a1b2c3d")
    'schedule'
    >>> origin_of("run-20220108-091500-0a1b2c")
    'run'
    >>> origin_of("my own")
    'hand'
    """
    return next((origin for origin, form in _FORMS if form.fullmatch(name)), OTHER)
