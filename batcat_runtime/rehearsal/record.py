"""What a rehearsal leaves behind, as plain data.

`story` fills in one `Rehearsal`; the report and the console summary only read it.
Nothing here knows about AWS, moto or files, so that both can be made, tested and compared from
a record written by hand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from batcat_runtime.operate.loglines import LogLine as LogLine
from batcat_runtime.rehearsal.mails import Mail as Mail

StepKind = Literal["image", "deploy", "data", "trigger", "workflow", "state", "job", "result"]
StepStatus = Literal["succeeded", "failed", "skipped", "stopped"]


@dataclass(frozen=True)
class Step:
    """One thing that the rehearsal did, or did not get to.

    Attributes
    ----------
    name : str
        What a reader calls it: "container image", "usage-analysis".
    kind : {"image", "deploy", "data", "trigger", "workflow", "state", "job", "result"}
        Where it belongs. A state is shown inside its workflow, a job inside its state.
    status : {"succeeded", "failed", "skipped", "stopped"}
        How it ended.
    started : datetime or None
        When it began; None when it never did.
    seconds : float or None
        How long it took; None when it never began.
    detail : str
        One line more: an ARN, a number of rows, a reason.
    inside : int
        How many Parallel or Map states are around it.
    """

    name: str
    kind: StepKind
    status: StepStatus
    started: datetime | None
    seconds: float | None
    detail: str = ""
    inside: int = 0


@dataclass(frozen=True)
class ResultTable:
    """The table that the pipeline wrote.

    Attributes
    ----------
    uri : str
        Where it lies: the ``s3://`` address of the file or prefix.
    rows : int
        Number of rows in the whole table, not in `head`.
    columns : tuple of str
        Column names, in order.
    head : tuple of tuple of str
        The first rows, as text.
    frame : pandas.DataFrame or None
        The table itself, for plotting. It may be None or only a part.
    """

    uri: str
    rows: int
    columns: tuple[str, ...]
    head: tuple[tuple[str, ...], ...]
    frame: Any = None


@dataclass
class Rehearsal:
    """Everything that a rehearsal's report says.

    Attributes
    ----------
    title, project, purpose : str
        The display name, the ASCII identifier and the purpose that was rehearsed.
    region, partition, account_id : str
        Where the embedded AWS pretended to be.
    fired_at : str
        The local time at which the schedule was made to fire, in ISO format.
    window : tuple of (str, str) or None
        The half-open window of dates ``[start, end)``; None means all data.
    status : {"succeeded", "failed"}
        The verdict.
    error : str
        Empty when fine. Otherwise the reason in the first line, and after it the script's own last
        lines.
    started : datetime
        When the rehearsal began; offsets in the report count from here.
    seconds : float
        How long the whole rehearsal took.
    steps : list of Step
        What ran, in order.
    definition : dict
        The state machine in the Amazon States Language.
    state_status : dict of str to str
        State name to "succeeded", "failed" or another status. A state that is missing was not
        reached.
    logs : list of LogLine
        Every line, in any order.
    result : ResultTable or None
        The result, if one was written.
    manifest : dict or None
        The contents of ``_manifest.json``.
    images : list of (str, bytes)
        Name and contents of pictures (PNG, JPEG, GIF, WebP or SVG) that the job itself wrote.
    resources : list of (str, str)
        Type, and ARN or name, of what was deployed.
    versions : dict of str to str
        Software to version.
    mails : list of Mail
        What somebody would have been told by mail.
    hints : list of str
        What is not as on AWS here: packages in other versions, a weaker sandbox.
    """

    title: str
    project: str
    purpose: str
    region: str
    partition: str
    account_id: str
    fired_at: str
    started: datetime
    window: tuple[str, str] | None = None
    status: Literal["succeeded", "failed"] = "succeeded"
    error: str = ""
    seconds: float = 0.0
    steps: list[Step] = field(default_factory=list)
    definition: dict[str, Any] = field(default_factory=dict)
    state_status: dict[str, str] = field(default_factory=dict)
    logs: list[LogLine] = field(default_factory=list)
    result: ResultTable | None = None
    manifest: dict[str, Any] | None = None
    images: list[tuple[str, bytes]] = field(default_factory=list)
    resources: list[tuple[str, str]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    mails: list[Mail] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
