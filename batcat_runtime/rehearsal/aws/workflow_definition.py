"""A static check of Amazon States Language, as Step Functions makes it when a definition is stored.

moto's interpreter finds a missing state or an unknown parameter when the execution gets there, or
never. AWS refuses the definition. `definition_errors` walks the definition once, as data, and
reports what AWS would: missing targets, unreachable states, fields that a state of its type and
query language does not have, malformed paths, catchers and retriers, and the parameters of the
service integrations that we have.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from moto.core.utils import get_service_model

_COMMON = {"Type", "Comment", "QueryLanguage", "Assign"}
_JSONPATH = {"InputPath", "OutputPath"}
_PARAMETERS = {"Parameters", "ResultPath"}
_RESULT = {"ResultSelector"}
_FLOW = {"Next", "End"}
_ERRORS = {"Retry", "Catch"}
_TIMES = {"TimeoutSeconds", "HeartbeatSeconds"}
_LIMITS = ("MaxConcurrency", "ToleratedFailurePercentage", "ToleratedFailureCount")
_MAP = {"ItemProcessor", "Iterator", "ItemSelector", "ItemReader", "ItemBatcher", "ResultWriter"}


def _paths(names: Any) -> set[str]:
    return {f"{name}Path" for name in names}


# By type of state: the fields of both query languages, of JSONPath only, and of JSONata only.
_FIELDS: dict[str, tuple[set[str], set[str], set[str]]] = {
    "Task": (
        _FLOW | _ERRORS | _TIMES | {"Resource", "Credentials"},
        _JSONPATH | _PARAMETERS | _RESULT | _paths(_TIMES),
        {"Arguments", "Output"},
    ),
    "Pass": (_FLOW, _JSONPATH | _PARAMETERS | {"Result"}, {"Output"}),
    "Wait": (
        _FLOW | {"Seconds", "Timestamp"},
        _JSONPATH | {"SecondsPath", "TimestampPath"},
        {"Output"},
    ),
    "Choice": ({"Choices", "Default"}, _JSONPATH, {"Output"}),
    "Succeed": (set(), _JSONPATH, {"Output"}),
    "Fail": ({"Error", "Cause"}, {"ErrorPath", "CausePath"}, set()),
    "Parallel": (
        _FLOW | _ERRORS | {"Branches"},
        _JSONPATH | _PARAMETERS | _RESULT,
        {"Arguments", "Output"},
    ),
    "Map": (
        _FLOW | _ERRORS | _MAP | set(_LIMITS) | {"Label"},
        _JSONPATH | _PARAMETERS | _RESULT | _paths(_LIMITS) | {"ItemsPath"},
        {"Items", "Output"},
    ),
}
_TOP = {"Comment", "StartAt", "States", "Version", "TimeoutSeconds", "QueryLanguage"}
_PROCESSOR = {"ProcessorConfig"}
# What only a Map state in DISTRIBUTED mode has.
_DISTRIBUTED = (
    *("ItemReader", "ItemBatcher", "ResultWriter", "Label"),
    *(name + end for name in _LIMITS[1:] for end in ("", "Path")),
)
_LABEL = re.compile(r"[^\s?*<>{}\[\]:;,\\|^~$#%&`\"]{1,40}")
_PATH = re.compile(r"\$.*|States\.\w+\(.*\)", re.DOTALL)
_REFERENCE_PATH = re.compile(r"\$(\.[^.\[\]*?@,:]+|\[\d+\]|\['[^']*'\])*")
_VARIABLE = re.compile(r"[^\W\d]\w{0,79}")
_WAITS = ("Seconds", "Timestamp", "SecondsPath", "TimestampPath")


# The service integrations whose parameters are checked, by the operation that they call.
_INTEGRATIONS = {
    "sagemaker:createProcessingJob": ("sagemaker", "CreateProcessingJob"),
    "states:startExecution": ("stepfunctions", "StartExecution"),
}


@dataclass(frozen=True)
class Problem:
    """One reason to refuse a definition.

    Attributes
    ----------
    code : str
        AWS's code, such as ``MISSING_TRANSITION_TARGET``.
    message : str
        What is wrong.
    location : str
        A JSON pointer into the definition.
    """

    code: str
    message: str
    location: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message} at {self.location or '/'}"


def definition_errors(definition: str, partition: str = "aws") -> list[Problem]:
    """Check a state machine definition.

    Parameters
    ----------
    definition : str
        The definition as JSON.
    partition : str
        The partition that the resources must name.

    Returns
    -------
    list of Problem
        Empty when the definition is sound.
    """
    try:
        machine = json.loads(definition)
    except ValueError as error:
        return [Problem("INVALID_JSON_DESCRIPTION", f"Invalid JSON: {error}", "")]
    if not isinstance(machine, dict):
        return [Problem("SCHEMA_VALIDATION_FAILED", "The definition is not an object", "")]
    jsonata = machine.get("QueryLanguage") == "JSONata"
    return list(_machine(machine, "", partition, jsonata=jsonata, allowed=_TOP))


def _machine(
    machine: dict[str, Any], where: str, partition: str, *, jsonata: bool, allowed: set[str]
) -> Iterator[Problem]:
    missing = [name for name in ("StartAt", "States") if name not in machine]
    if missing:
        yield _schema(f"These fields are required: [{', '.join(missing)}]", where)
        return
    for name in machine:
        if name not in allowed:
            yield _schema(f"Field '{name}' is not supported", f"{where}/{name}")
    states = machine["States"]
    if not isinstance(states, dict) or not states:
        yield _schema("'States' must be an object with at least one state", f"{where}/States")
        return
    if machine["StartAt"] not in states:
        yield _missing(machine["StartAt"], f"{where}/StartAt")
    for name, state in states.items():
        here = f"{where}/States/{name}"
        if len(name) > 80:
            yield _schema("State names must not be longer than 80 characters", here)
        if not isinstance(state, dict) or state.get("Type") not in _FIELDS:
            yield _schema(f"The state's Type must be one of {sorted(_FIELDS)}", here)
            continue
        yield from _state(state, here, states, partition, jsonata=jsonata)
    yield from _unreachable(machine["StartAt"], states, where)


def _state(
    state: dict[str, Any], here: str, states: dict[str, Any], partition: str, *, jsonata: bool
) -> Iterator[Problem]:
    kind = state["Type"]
    if jsonata and state.get("QueryLanguage") == "JSONPath":
        yield _schema("A state of a JSONata state machine cannot be JSONPath", here)
    jsonata = jsonata or state.get("QueryLanguage") == "JSONata"
    both, jsonpath_only, jsonata_only = _FIELDS[kind]
    for field in state:
        if field not in _COMMON | both | (jsonata_only if jsonata else jsonpath_only):
            language = "JSONata" if jsonata else "JSONPath"
            text = f"Field '{field}' is not supported in a {kind} state of {language}"
            yield _schema(text, f"{here}/{field}")
    if "Next" in both and ("Next" in state) == ("End" in state):
        yield _schema("Exactly one of the fields [Next, End] is required", here)
    for target, location in _transitions(state, here):
        if target not in states:
            yield _missing(target, location)
    if jsonata:
        yield from _expressions(state, here)
    else:
        for block in ("Parameters", "ResultSelector", "ItemSelector", "Assign"):
            yield from _payload(state.get(block), f"{here}/{block}")
    path = state.get("ResultPath", "$")
    if path is not None and not (isinstance(path, str) and _REFERENCE_PATH.fullmatch(path)):
        yield _schema("The value of 'ResultPath' must be a reference path", f"{here}/ResultPath")
    for name in state.get("Assign") or {}:
        plain = name.removesuffix(".$")
        if plain == "states" or not _VARIABLE.fullmatch(plain):
            yield _schema(f"'{plain}' cannot be the name of a variable", f"{here}/Assign/{name}")
    yield from _retriers(state, here)
    yield from _KINDS[kind](state, here, partition, jsonata)


def _task(state: dict[str, Any], here: str, partition: str, jsonata: bool) -> Iterator[Problem]:
    resource = state.get("Resource")
    if not isinstance(resource, str):
        yield _schema("These fields are required: [Resource]", here)
        return
    if not resource.startswith(f"arn:{partition}:"):
        yield _schema(
            f"The resource provided {resource} is not recognized. The value is not a valid "
            "resource ARN, or the resource is not available in this region.",
            f"{here}/Resource",
        )
    known = re.search(r":states:::(\w+:\w+)", resource)
    integration = parameters_of(known[1]) if known else None
    arguments = state.get("Arguments" if jsonata else "Parameters", {})
    if integration is None or not isinstance(arguments, dict):
        return
    given = {name.removesuffix(".$") for name in arguments}
    here = f"{here}/Parameters"
    for name in sorted(given - set(integration[0])):
        yield _schema(f'The field "{name}" is not supported by Step Functions', here)
    for name in integration[1]:
        if name not in given:
            yield _schema(f'The field "{name}" is required but was missing', here)


def parameters_of(integration: str) -> tuple[list[str], list[str]] | None:
    """Return what an integration takes and what it needs, or None when it is not one of ours.

    Parameters
    ----------
    integration : str
        Such as ``sagemaker:createProcessingJob``; it takes what the operation does.
    """
    if integration not in _INTEGRATIONS:
        return None
    service, operation = _INTEGRATIONS[integration]
    shape = get_service_model(service).operation_model(operation).input_shape
    takes, requires = (
        [f"{name[0].upper()}{name[1:]}" for name in names]
        for names in (shape.members, shape.required_members)
    )
    return takes, requires


def _choice(state: dict[str, Any], here: str, _: str, __: bool) -> Iterator[Problem]:
    choices = state.get("Choices")
    if not isinstance(choices, list) or not choices:
        yield _schema("A non-empty array is required for [Choices]", here)
        return
    for index, choice in enumerate(choices):
        place = f"{here}/Choices[{index}]"
        if not isinstance(choice, dict) or "Next" not in choice:
            yield _schema("These fields are required: [Next]", place)
            continue
        for inner in _inner_rules(choice):
            if "Next" in inner:
                yield _schema("Field 'Next' is supported in a top-level rule only", place)


def _inner_rules(rule: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for inner in [*rule.get("And", []), *rule.get("Or", []), rule.get("Not")]:
        if isinstance(inner, dict):
            yield inner
            yield from _inner_rules(inner)


def _wait(state: dict[str, Any], here: str, _: str, __: bool) -> Iterator[Problem]:
    if sum(name in state for name in _WAITS) != 1:
        yield _schema(f"Exactly one of the fields [{', '.join(_WAITS)}] is required", here)


def _parallel(state: dict[str, Any], here: str, partition: str, jsonata: bool) -> Iterator[Problem]:
    branches = state.get("Branches")
    if not isinstance(branches, list) or not branches:
        yield _schema("A non-empty array is required for [Branches]", here)
        return
    for index, branch in enumerate(branches):
        place = f"{here}/Branches[{index}]"
        yield from _machine(branch, place, partition, jsonata=jsonata, allowed=_TOP)


def _map(state: dict[str, Any], here: str, partition: str, jsonata: bool) -> Iterator[Problem]:
    name = "ItemProcessor" if "ItemProcessor" in state else "Iterator"
    inner = state.get(name)
    if not isinstance(inner, dict):
        yield _schema("These fields are required: [ItemProcessor]", here)
        return
    allowed = _TOP | _PROCESSOR
    yield from _machine(inner, f"{here}/{name}", partition, jsonata=jsonata, allowed=allowed)
    yield from _mode(state, inner, here, f"{here}/{name}")
    yield from _limits(state, here)
    reader = state.get("ItemReader")
    if isinstance(reader, dict):
        if not str(reader.get("Resource")).startswith(f"arn:{partition}:states:::s3:"):
            yield _schema("The ItemReader's Resource must be one of S3's", f"{here}/ItemReader")
        if not jsonata:
            yield from _payload(reader.get("Parameters"), f"{here}/ItemReader/Parameters")


def _mode(state: dict[str, Any], inner: dict[str, Any], here: str, place: str) -> Iterator[Problem]:
    config = inner.get("ProcessorConfig") or {}
    mode = config.get("Mode", "INLINE")
    if mode not in ("INLINE", "DISTRIBUTED"):
        yield _schema("Mode must be one of [INLINE, DISTRIBUTED]", f"{place}/ProcessorConfig")
    if mode != "DISTRIBUTED":
        for field in _DISTRIBUTED:
            if field in state:
                yield _schema(f"Field '{field}' is not supported in INLINE mode", f"{here}/{field}")
    elif config.get("ExecutionType") not in ("STANDARD", "EXPRESS"):
        yield _schema(
            "ExecutionType must be one of [STANDARD, EXPRESS]", f"{place}/ProcessorConfig"
        )


def _limits(state: dict[str, Any], here: str) -> Iterator[Problem]:
    for field in _LIMITS:
        if field in state and f"{field}Path" in state:
            yield _schema(f"Only one of [{field}, {field}Path] is allowed", here)
        value = state.get(field, 0)
        too_much = field.endswith("Percentage") and isinstance(value, int | float) and value > 100
        if isinstance(value, int | float) and (value < 0 or too_much):
            yield _schema(f"The value {value} is out of range", f"{here}/{field}")
    label = state.get("Label")
    if label is not None and not (isinstance(label, str) and _LABEL.fullmatch(label)):
        yield _schema("A Label has 1 to 40 characters, without special ones", f"{here}/Label")


def _nothing(*_: Any) -> Iterator[Problem]:
    return iter(())


_KINDS: dict[str, Any] = dict.fromkeys(_FIELDS, _nothing) | {
    "Task": _task,
    "Choice": _choice,
    "Wait": _wait,
    "Parallel": _parallel,
    "Map": _map,
}


def _retriers(state: dict[str, Any], here: str) -> Iterator[Problem]:
    for block in ("Retry", "Catch"):
        handlers = state.get(block, [])
        if not isinstance(handlers, list):
            yield _schema(f"'{block}' must be an array", f"{here}/{block}")
            continue
        for index, handler in enumerate(handlers):
            place = f"{here}/{block}[{index}]"
            names = handler.get("ErrorEquals") if isinstance(handler, dict) else None
            if not isinstance(names, list) or not names:
                yield _schema("A non-empty array is required for [ErrorEquals]", place)
            elif "States.ALL" in names and (len(names) > 1 or index < len(handlers) - 1):
                yield _schema("States.ALL must appear alone, and in the last handler", place)
            if block == "Catch" and isinstance(handler, dict) and "Next" not in handler:
                yield _schema("These fields are required: [Next]", place)


def _payload(value: Any, here: str) -> Iterator[Problem]:
    """Check that every key that ends in ``.$`` holds a path or an intrinsic function."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not key.endswith(".$"):
                yield from _payload(item, f"{here}/{key}")
            elif not isinstance(item, str) or not _PATH.fullmatch(item):
                yield _schema(
                    f"The value for the field '{key}' must be a valid JSONPath or a valid "
                    "intrinsic function call",
                    f"{here}/{key}",
                )
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _payload(item, f"{here}[{index}]")


def _expressions(value: Any, here: str) -> Iterator[Problem]:
    """Check the syntax of every JSONata expression in a state, not in those inside of it."""
    from .moto.jsonata import syntax_error

    if isinstance(value, dict):
        for key, item in value.items():
            if key not in ("Branches", "ItemProcessor", "Iterator"):
                yield from _expressions(item, f"{here}/{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _expressions(item, f"{here}[{index}]")
    elif isinstance(value, str) and value.startswith("{%") and value.endswith("%}"):
        wrong = syntax_error(value[2:-2].strip())
        if wrong:
            yield _schema(f"'{value}' is no JSONata expression: {wrong}", here)


def _transitions(state: dict[str, Any], here: str) -> Iterator[tuple[str, str]]:
    for field in ("Next", "Default"):
        if isinstance(state.get(field), str):
            yield state[field], f"{here}/{field}"
    for block in ("Choices", "Catch"):
        for index, item in enumerate(state.get(block) or []):
            if isinstance(item, dict) and isinstance(item.get("Next"), str):
                yield item["Next"], f"{here}/{block}[{index}]/Next"


def _unreachable(start: str, states: dict[str, Any], where: str) -> Iterator[Problem]:
    seen, waiting = set(), [start]
    while waiting:
        name = waiting.pop()
        if name in seen or not isinstance(states.get(name), dict):
            continue
        seen.add(name)
        waiting += [target for target, _ in _transitions(states[name], "")]
    for name in states:
        if name not in seen:
            yield Problem(
                "MISSING_TRANSITION_TARGET",
                f'State "{name}" is not reachable.',
                f"{where}/States/{name}",
            )


def _schema(message: str, where: str) -> Problem:
    return Problem("SCHEMA_VALIDATION_FAILED", message, where)


def _missing(target: Any, where: str) -> Problem:
    return Problem("MISSING_TRANSITION_TARGET", f"Missing 'Next' target: {target}", where)
