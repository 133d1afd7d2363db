"""What a row gives: the figures of each contender, and whether the targets are met."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Figures:
    """What was measured of one contender.

    Attributes
    ----------
    name : str
        What it is, in a few words.
    role : str
        ``floor``, ``BatCat`` or ``peer``.
    seconds : list of float
        Wall time of each repetition.
    peak_mb : list of float
        The most memory that its process ever had resident while it worked, in MB (10**6 bytes).
    extra_mb : list of float
        By how much that was more than what was resident before.
    size_mb : float
        Where the row is about sizes on the disk.
    cpu, first_call : list of float
        Seconds of processor time; seconds of the first call, on a tiny object, in that process.
    problem : str
        Why it could not be measured.
    """

    name: str
    role: str
    seconds: list[float] = field(default_factory=list)
    peak_mb: list[float] = field(default_factory=list)
    extra_mb: list[float] = field(default_factory=list)
    size_mb: float | None = None
    cpu: list[float] = field(default_factory=list)
    first_call: list[float] = field(default_factory=list)
    problem: str = ""

    @property
    def best(self) -> float | None:
        """The shortest time: what is longer is somebody else's work. None if a turn failed."""
        return None if self.problem else min(self.seconds, default=None)

    @property
    def peak(self) -> float | None:
        """The smallest peak."""
        return None if self.problem else min(self.peak_mb, default=None)

    @property
    def extra(self) -> float | None:
        """The smallest extra memory."""
        return None if self.problem else min(self.extra_mb, default=None)


@dataclass(frozen=True)
class Target:
    """What a row must reach: a figure that must not be above its limit."""

    what: str
    reached: float | None
    limit: float
    unit: str = ""

    @property
    def met(self) -> bool:
        """Whether it is reached; what could not be measured is not."""
        return self.reached is not None and self.reached <= self.limit

    def __str__(self) -> str:
        number = "{:.0f}" if self.unit in {"MB"} else "{:.2f}"
        reached = "not measured" if self.reached is None else number.format(self.reached)
        limit = number.format(self.limit)
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.what} <= {limit}{unit}: {reached}, {'met' if self.met else 'MISSED'}"


@dataclass
class Outcome:
    """One row of the table."""

    row: str
    title: str
    figures: list[Figures]
    targets: list[Target]
    notes: list[str] = field(default_factory=list)

    @property
    def met(self) -> bool:
        """Whether all targets are met."""
        return all(target.met for target in self.targets)

    @property
    def floor(self) -> Figures | None:
        """What the others are compared with."""
        return next((one for one in self.figures if one.role == "floor"), None)

    def ratio(self, figures: Figures) -> float | None:
        """Return a contender's best time, or size, in units of the floor's."""
        return quotient(_measure(figures), _measure(self.floor) if self.floor else None)

    def record(self) -> dict[str, Any]:
        """Return all of it as plain data, every repetition included."""
        return {
            "row": self.row,
            "title": self.title,
            "met": self.met,
            "targets": [{**vars(target), "met": target.met} for target in self.targets],
            "contenders": [{**vars(one), "ratio": self.ratio(one)} for one in self.figures],
            "notes": self.notes,
        }


def quotient(above: float | None, below: float | None) -> float | None:
    """Return a ratio, or nothing where either is unknown."""
    return above / below if above is not None and below else None


def _measure(figures: Figures) -> float | None:
    return figures.best if figures.size_mb is None else figures.size_mb
