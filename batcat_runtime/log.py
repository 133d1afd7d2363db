"""Logging for scripts and jobs: one line an event, to standard error, in UTC.

SageMaker sends both streams of a container to CloudWatch, so nothing else is needed there. The
level comes from the environment variable ``BATCAT_LOG_LEVEL`` (default ``INFO``).
"""

from __future__ import annotations

import logging
import os
import sys
import time

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
