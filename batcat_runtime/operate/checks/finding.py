"""What one check found, before it has a name: how serious it is, in words, and what mends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes
    ----------
    status : {"ok", "warning", "failed", "skipped"}
        Skipped is what could not be looked at.
    found : str
        What is there.
    fix : str
        A command to paste, or what to do; empty when nothing needs to be done.
    """

    status: Status
    found: str
    fix: str = ""


def ok(found: str) -> Finding:
    """Return that all is well."""
    return Finding("ok", found)


def warning(found: str, fix: str = "") -> Finding:
    """Return what works, but not as it should."""
    return Finding("warning", found, fix)


def failed(found: str, fix: str) -> Finding:
    """Return what does not work."""
    return Finding("failed", found, fix)


def skipped(found: str, fix: str = "") -> Finding:
    """Return what could not be looked at, with the reason."""
    return Finding("skipped", found, fix)
