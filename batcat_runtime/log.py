"""What a script logs, and what a function that takes long says meanwhile.

A script's log is one line an event, to standard error, in UTC. SageMaker sends both streams of a
container to CloudWatch, so nothing else is needed there. The level comes from the environment
variable ``BATCAT_LOG_LEVEL`` (default ``INFO``).
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

_show: Callable[[str], None] = print
_FORMAT = "%(asctime)sZ %(levelname)s %(name)s: %(message)s"


def get_logger(name: str = "batcat") -> logging.Logger:
    """Return a logger that writes one line an event to standard error.

    Parameters
    ----------
    name : str
        Who speaks; by custom the purpose.

    Returns
    -------
    logging.Logger
        Configured once: a second call with the same name returns the same logger unchanged. It does
        not pass its lines on to the root logger, so that no line appears twice.
    """
    logger = logging.getLogger(name)
    if not any(getattr(handler, "_batcat", False) for handler in logger.handlers):
        handler = logging.StreamHandler(sys.stderr)
        handler._batcat = True  # type: ignore[attr-defined]
        formatter = logging.Formatter(_FORMAT, datefmt="%Y-%m-%dT%H:%M:%S")
        formatter.converter = time.gmtime
        handler.setFormatter(formatter)
        logger.addHandler(handler)
        logger.setLevel(os.environ.get("BATCAT_LOG_LEVEL", "INFO").upper())
        logger.propagate = False
    return logger


def exception_in(lines: Iterable[str]) -> str:
    """Return the line that names the last exception of an output, or ``""``.

    Its message may have several lines, and a script may write more after it.
    """
    found, inside = "", False
    for line in lines:
        if line.startswith("Traceback (most recent call last)"):
            inside = True
        elif inside and line and not line[0].isspace():
            found, inside = line, False
    return found


def human_size(size: float) -> str:
    """Return a number of bytes in decimal units, such as ``346.1 MB``."""
    unit = 0
    while size >= 1000 and unit < 4:
        size, unit = size / 1000, unit + 1
    return f"{size:.{min(unit, 1)}f} {('B', 'kB', 'MB', 'GB', 'TB')[unit]}"


def report(line: str) -> None:
    """Say what is going on, to whoever waits: printed, unless `reporting` says otherwise."""
    _show(line)


@contextmanager
def reporting(show: Callable[[str], None]) -> Iterator[None]:
    """Let `show` have what is reported, for as long as the context lasts."""
    global _show
    before, _show = _show, show
    try:
        yield
    finally:
        _show = before
