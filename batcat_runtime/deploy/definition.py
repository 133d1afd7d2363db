"""From a chain of SDK states to Amazon States Language, complete for production.

The author's chain says what runs. Added here, as data, is what every workflow needs and the SDK
cannot say or nobody wants to write: the partition of its ARNs, which the SDK takes from the
environment; the ``.$`` of what is computed when it runs; tags; defaults for the execution's input;
what to keep of a job's description; a job that was stopped before its end is a failure; every error
that nobody catches ends in a Fail state that carries the job's own reason; full jitter on retries.
In the branches of a Parallel state and in a Map the same holds: a branch ends in a Fail of its own,
which Step Functions makes the error of the whole state, with its reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from batcat_runtime.deploy.processing import Dynamic
from batcat_runtime.errors import WorkflowError
from batcat_runtime.names import shorten

Definition = dict[str, Any]

_STATE_NAME = 80
_COMPLETED = " completed?"
_DEFAULTS = {"date_start": "", "date_end": "", "params": {}}
_MAY_FAIL = {"Task", "Parallel", "Map"}
_JOB = "sagemaker:createProcessingJob.sync"
_KEPT = {
    f"{key}.$": f"$.{key}"
    for key in ("ProcessingJobName", "ProcessingJobArn", "ProcessingJobStatus")
}
# What stands at the end of a level, where it is needed.
_ENDINGS: dict[str, dict[str, str]] = {
    "Stopped": {
        "Type": "Fail",
        "Error": "ProcessingJobStopped",
        "Cause": "The processing job was stopped before its end: by hand, or by its "
        "max_runtime_seconds.",
    },
    "Done": {"Type": "Succeed"},
    "Failed": {"Type": "Fail", "ErrorPath": "$.error.Error", "CausePath": "$.error.Cause"},
}


def definition_of(
    chain: Any,
    *,
    comment: str = "",
    partition: str = "aws",
    tags: Mapping[str, str] | None = None,
) -> Definition:
    """Render a chain of SDK states to a complete state machine.

    Parameters
    ----------
    chain : stepfunctions.steps.Chain or State
        What `processing_steps` gives, and the author's own states.
    comment : str
        The definition's comment.
    partition : str
        Of the ARNs in it.
    tags : mapping of str to str, optional
        For processing jobs that have none.

    Returns
    -------
    dict
        The definition in Amazon States Language.

    Raises
    ------
    WorkflowError
        A state of the author's has a name that is used here.
    """
    from stepfunctions.steps import Chain, Graph, Pass

    start = Pass("Defaults", result=_DEFAULTS, result_path="$.defaults")
    merge = Pass(
        "Input",
        parameters={"input.$": "States.JsonMerge($.defaults, $$.Execution.Input, false)"},
        output_path="$.input",
    )
    try:
        rendered = Graph(Chain([start, merge, chain]), comment=comment).to_dict()
    except ValueError as error:
        raise WorkflowError(
            f"The stepfunctions SDK does not accept the workflow: {error}",
            fix="Look at what deploy/setup_stepfunctions.py adds to the steps.",
        ) from error
    definition: Definition = _written(rendered)
    _finish(definition, "", set(_names(definition)), partition, dict(tags or {}))
    return definition


def _written(node: Any) -> Any:
    """Write the key of everything dynamic with ``.$``, at any depth."""
    if isinstance(node, list):
        return [_written(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        f"{key}.$" if isinstance(item, Dynamic) else key: str(item)
        if isinstance(item, Dynamic)
        else _written(item)
        for key, item in node.items()
    }


def _names(machine: Definition) -> Iterator[str]:
    for name, state in machine["States"].items():
        yield name
        for inner in _inner(state):
            yield from _names(inner)


def _inner(state: dict[str, Any]) -> list[Definition]:
    """Return the machines inside a Parallel or a Map state."""
    if state["Type"] == "Parallel":
        return list(state["Branches"])
    return [state[key] for key in ("ItemProcessor", "Iterator") if key in state]


def _finish(
    machine: Definition, scope: str, taken: set[str], partition: str, tags: dict[str, str]
) -> None:
    """Complete one level of a definition; `scope` makes its own states' names unique."""

    def named(word: str) -> str:
        return shorten(f"{word} ({scope})", _STATE_NAME) if scope else word

    stopped, done, failed = map(named, _ENDINGS)
    endings = dict(zip((stopped, done, failed), _ENDINGS.values(), strict=True))
    states: dict[str, Any] = {}
    added = set()
    for name, state in machine["States"].items():
        states[name] = state
        for inner in _inner(state):
            _finish(inner, str(inner["StartAt"]), taken, partition, tags)
        if "Resource" in state:
            state["Resource"] = re.sub(r"^arn:aws[a-z-]*:", f"arn:{partition}:", state["Resource"])
        if state["Type"] not in _MAY_FAIL:
            continue
        for retry in state.get("Retry", []):
            retry.setdefault("JitterStrategy", "FULL")
        catches = state.setdefault("Catch", [])
        if not any("States.ALL" in one["ErrorEquals"] for one in catches):
            catches.append({"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": failed})
            added.add(failed)
        if str(state.get("Resource", "")).endswith(_JOB):
            listed = [{"Key": key, "Value": text} for key, text in tags.items()]
            state["Parameters"].setdefault("Tags", listed)
            after = done if state.pop("End", False) else state.pop("Next")
            question = f"{shorten(name, _STATE_NAME - len(_COMPLETED))}{_COMPLETED}"
            states[question] = _question(state, after, stopped)
            state |= {"ResultSelector": _KEPT, "Next": question}
            added |= {question, stopped, *([done] if after == done else [])}
    for name in sorted(added & taken):
        if machine["States"].get(name) != endings.get(name):
            raise WorkflowError(
                f"The workflow has a state {name!r} already, a name that BatCat uses for a state "
                "of its own.",
                fix="Call your state in deploy/setup_stepfunctions.py something else.",
            )
    taken |= added
    machine["States"] = states | {name: endings[name] for name in endings if name in added}


def _question(job: dict[str, Any], after: str, stopped: str) -> dict[str, Any]:
    """Return the state that lets the workflow go on after a job only when the job completed."""
    path = job.get("ResultPath", "$")
    if not isinstance(path, str):
        raise WorkflowError(
            "A processing job's state needs a result path: whether the job completed is read "
            "there.",
            fix='Leave result_path="$.job" as processing_step sets it.',
        )
    completed = {"Variable": f"{path}.ProcessingJobStatus", "StringEquals": "Completed"}
    return {"Type": "Choice", "Choices": [{**completed, "Next": after}], "Default": stopped}
