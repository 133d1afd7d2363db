"""What is wrong or missing in moto's interpreter of the Amazon States Language (5.2.5), put right.

moto took the interpreter over from LocalStack, with what LocalStack left open there ("TODO" in its
source); no issue of moto's names any of these. Each function below is one patch. What AWS does is
in the States Language specification and the Step Functions developer guide;
``tests/rehearsal/test_states_language.py`` has the examples of both, and tells when a patch can go.
"""

from __future__ import annotations

import functools
import importlib
import json
import math
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from .patching import wraps, wraps_everywhere

if TYPE_CHECKING:
    from ...clients import Clients

PACKAGE = "moto.stepfunctions.parser"
_ASL = f"{PACKAGE}.asl"
_STATE = f"{_ASL}.component.state"
_COMMON = f"{_ASL}.component.common"
# "will always cause the execution to fail": concepts-error-handling.html
_UNCATCHABLE = ("States.Runtime", "States.DataLimitExceeded")
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def install(clients: Clients) -> None:
    """Put every patch in place.

    Parameters
    ----------
    clients : Clients
        For tasks, which act with the role of their state machine.
    """
    strings_are_json()
    tolerated_percentages_are_numbers()
    intrinsic_functions_unescape()
    intrinsic_functions_fail_by_name()
    paths_are_definite_or_not()
    result_paths_fail_by_name()
    choices_refuse_missing_variables()
    patterns_know_only_the_star()
    timestamps_are_rfc3339()
    runtime_errors_are_not_caught()
    error_names_pass_through()
    jsonata_without_java()
    jsonata_results_have_a_type()
    context_has_iso_times()
    stopped_executions_stay_stopped()
    retries_hardly_wait()
    tasks_act_as_their_role(clients)


def failure(env: Any, error: str, cause: str, event: str = "ExecutionFailed") -> Any:
    """Return the exception with which a state fails.

    Parameters
    ----------
    env : moto's Environment
        Of the execution.
    error, cause : str
        As `DescribeExecution` shows them.
    event : str
        The type of the event in the history.
    """
    from moto.stepfunctions.parser.api import HistoryEventType
    from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
        FailureEvent,
        FailureEventException,
    )

    details: Any = {f"{event[0].lower()}{event[1:]}EventDetails": {"error": error, "cause": cause}}
    name = _any_error_name()(error)
    return FailureEventException(FailureEvent(env, name, HistoryEventType(event), details))


def strings_are_json() -> None:
    r"""Read strings of a definition as JSON: ``\u00fc`` is ü, in names, paths and functions too."""
    tree = importlib.import_module(f"{_ASL}.antlt4utils.antlr4utils")
    preprocessor = importlib.import_module(f"{_ASL}.parse.preprocessor").Preprocessor

    def text_of(_: Any, *arguments: Any, **named: Any) -> Any:
        text = (*arguments, *named.values())[-1].getText()
        return json.loads(text) if text[:1] == '"' or text == "null" else text

    wraps_everywhere(_ASL, tree, "from_string_literal")(text_of)
    wraps(preprocessor, "_inner_string_of")(text_of)


def tolerated_percentages_are_numbers() -> None:
    """Let ``ToleratedFailurePercentage`` be a whole number; the grammar knows fractions only."""
    parser = importlib.import_module(f"{_ASL}.parse.asl_parser").AmazonStateLanguageParser
    whole = re.compile(r'("ToleratedFailurePercentage"\s*:\s*\d+)(?![\d.])')

    @wraps(parser, "parse")
    def parse(original: Callable[[str], Any], definition: str) -> Any:
        return original(whole.sub(r"\1.0", definition))


class _Template(str):
    r"""A literal of an intrinsic function: its value, and what stands between its ``{}``."""

    parts: tuple[str, ...]

    @classmethod
    def of(cls, escaped: str) -> _Template:
        # Reserved are ' { } and \: whatever follows a backslash stands for itself.
        tokens = re.findall(r"\\.|\{\}|[^\\]", escaped, re.DOTALL)
        parts = [""]
        for token in tokens:
            if token == "{}":
                parts.append("")
            else:
                parts[-1] += token[-1]
        made = cls("{}".join(parts))
        made.parts = tuple(parts)
        return made

    def __deepcopy__(self, _: Any) -> _Template:
        return self


def intrinsic_functions_unescape() -> None:
    r"""Read ``\'``, ``\{``, ``\\``, null and fractions; refuse what is no call of a function."""
    preprocessor = importlib.import_module(f"{_ASL}.parse.intrinsic.preprocessor").Preprocessor
    arguments = importlib.import_module(f"{_ASL}.component.intrinsic.argument.argument")
    definitions = importlib.import_module(f"{_ASL}.parse.preprocessor").Preprocessor
    expressions = importlib.import_module(f"{_COMMON}.string.string_expression")
    functions = f"{_ASL}.component.intrinsic.function.statesfunction"
    format_ = importlib.import_module(f"{functions}.generic.string_format").StringFormat
    null = re.compile(r"('(?:\\.|[^'\\])*')|(?<![\w.$])null(?=\s*[,)])", re.DOTALL)

    def visitString_intrinsic_function(_: Any, __: Any, ctx: Any) -> Any:  # noqa: N802
        text = json.loads(ctx.STRINGINTRINSICFUNC().getText())
        # The grammar has no null.
        function = _parsed(null.sub(lambda match: match[1] or "$$.BatcatNothing", text))
        return expressions.StringIntrinsicFunction(text, function)

    wraps(definitions, "visitString_intrinsic_function")(visitString_intrinsic_function)
    wraps(preprocessor, "_text_of_str")(lambda _, node: _Template.of(node.getText()[1:-1]))

    @wraps(preprocessor, "visitFunc_arg_context_path")
    def visitFunc_arg_context_path(original: Any, self: Any, ctx: Any) -> Any:  # noqa: N802
        if ctx.getText() == "$$.BatcatNothing":
            return arguments.ArgumentLiteral(None)
        return original(self, ctx)

    @wraps(preprocessor, "visitFunc_arg_float")
    def visitFunc_arg_float(_: Any, __: Any, ctx: Any) -> Any:  # noqa: N802
        return arguments.ArgumentLiteral(float(ctx.getText()))

    @wraps(format_, "_eval_body")
    def _eval_body(_: Any, self: Any, env: Any) -> None:
        self.argument_list.eval(env=env)
        template, *values = env.stack.pop()
        parts = getattr(template, "parts", None) or template.split("{}")
        if len(parts) != len(values) + 1:
            raise ValueError(f"{len(parts) - 1} of {{}} in the template, {len(values)} arguments")
        texts = [format_._to_str_repr(value) for value in values]
        env.stack.append(
            "".join(part + text for part, text in zip(parts, [*texts, ""], strict=True))
        )


def _parsed(text: str) -> Any:
    """Parse a call of an intrinsic function, which moto does without looking at syntax errors."""
    from antlr4 import CommonTokenStream, InputStream

    runtime = f"{_ASL}.antlr.runtime"
    lexer = importlib.import_module(f"{runtime}.ASLIntrinsicLexer").ASLIntrinsicLexer
    grammar = importlib.import_module(f"{runtime}.ASLIntrinsicParser").ASLIntrinsicParser
    preprocessor = importlib.import_module(f"{_ASL}.parse.intrinsic.preprocessor").Preprocessor
    asl = importlib.import_module(f"{_ASL}.parse.asl_parser")
    parser, errors = grammar(CommonTokenStream(lexer(InputStream(text)))), asl.SyntaxErrorListener()
    parser.removeErrorListeners()
    parser.addErrorListener(errors)
    tree = parser.func_decl()
    if errors.errors:
        wrong = f"{text} is no intrinsic function: {errors.errors[0]}"
        raise asl.ASLParserException(errors=[wrong])
    return preprocessor().visit(tree)


def intrinsic_functions_fail_by_name() -> None:
    """Fail with ``States.IntrinsicFailure`` where a function cannot do what it is asked to."""
    expressions = importlib.import_module(f"{_COMMON}.string.string_expression")
    paths = importlib.import_module(f"{_ASL}.utils.json_path")
    events = importlib.import_module(f"{_COMMON}.error_name.failure_event")

    @wraps(expressions.StringIntrinsicFunction, "_eval_body")
    def _eval_body(original: Any, self: Any, env: Any) -> None:
        try:
            original(self, env)
        except (events.FailureEventException, paths.NoSuchJsonPathError):
            raise
        except Exception as error:
            text = f"The function '{self.literal_value}' had the following error: {error}"
            raise failure(env, "States.IntrinsicFailure", text) from error


def paths_are_definite_or_not() -> None:
    """Give one value for a path that can have no more, and an array for one with a wildcard.

    moto goes by how many values there are, and by what stands last in the path.
    """
    from jsonpath_ng import Child, Descendants, Fields, Index, Root, This
    from jsonpath_ng.ext.parser import parse

    parsed = functools.lru_cache(maxsize=1024)(parse)

    def definite(path: Any) -> bool:
        if isinstance(path, Child) and not isinstance(path, Descendants):
            return definite(path.left) and definite(path.right)
        if isinstance(path, Fields):
            return len(path.fields) == 1 and path.fields[0] != "*"
        return isinstance(path, Root | This) or (
            isinstance(path, Index) and len(getattr(path, "indices", (0,))) == 1
        )

    json_path = importlib.import_module(f"{_ASL}.utils.json_path")

    @wraps_everywhere(PACKAGE, json_path, "extract_json")
    def extract_json(_: Any, path: str, data: Any) -> Any:
        expression = parsed(path)
        values = [match.value for match in expression.find(data)]
        if definite(expression):
            if not values:
                raise json_path.NoSuchJsonPathError(json_path=path, data=data)
            return values[0]
        # One element by its number is unpacked even after a wildcard.
        return values[0] if len(values) == 1 and re.search(r"\[\d+\]$", path) else values


def result_paths_fail_by_name() -> None:
    """Fail with ``States.ResultPathMatchFailure`` where a result cannot be put into the input."""
    result_path = importlib.import_module(f"{_COMMON}.path.result_path").ResultPath

    @wraps(result_path, "_eval_body")
    def _eval_body(original: Any, self: Any, env: Any) -> None:
        try:
            original(self, env)
        except (TypeError, AttributeError, IndexError, KeyError) as error:
            text = f"Unable to apply the ResultPath '{self.result_path_src}' to the input: {error}"
            raise failure(env, "States.ResultPathMatchFailure", text) from error


def choices_refuse_missing_variables() -> None:
    """Fail where a choice asks for what is not there, or where nothing matches.

    moto lets a comparison with a missing variable be false, and its opposite be true.
    """
    comparison = f"{_STATE}.choice.comparison"
    variable = importlib.import_module(f"{comparison}.variable")
    comparing = importlib.import_module(f"{comparison}.comparison_variable").ComparisonVariable
    choice = importlib.import_module(f"{_STATE}.choice.state_choice").StateChoice
    operators = importlib.import_module(f"{comparison}.comparison_operator_type")
    paths = importlib.import_module(f"{_ASL}.utils.json_path")

    @wraps(variable.Variable, "_eval_body")
    def evaluate(_: Any, self: Any, env: Any) -> None:
        try:
            self.string_sampler.eval(env=env)
        except paths.NoSuchJsonPathError:
            env.stack.append(variable.NoSuchVariable(self.string_sampler.literal_value))

    @wraps(comparing, "_eval_body")
    def compare(_: Any, self: Any, env: Any) -> None:
        self.variable.eval(env)
        found, function = env.stack[-1], self.comparison_function
        present = operators.ComparisonOperatorType.IsPresent
        if isinstance(found, variable.NoSuchVariable) and function.operator_type != present:
            text = "The choice state's condition path references an invalid value."
            raise failure(env, "States.Runtime", f"Invalid path '{found.path}': {text}")
        function.eval(env)

    @wraps(choice, "_eval_state")
    def choose(original: Any, self: Any, env: Any) -> None:
        try:
            original(self, env)
        except RuntimeError as error:
            if not str(error.args[0]).startswith("No branching option"):
                raise
            text = f"Failed to transition out of the state. The state '{self.name}' does not have"
            text += " a choice that matches, nor a Default"
            raise failure(env, "States.NoChoiceMatched", text) from None


def patterns_know_only_the_star() -> None:
    r"""Match ``StringMatches`` as AWS does: ``*`` is anything, ``\*`` a star, all else itself."""
    operators = f"{_STATE}.choice.comparison.operator.implementations.string_operators"
    matches = importlib.import_module(operators).StringMatches

    @wraps(matches, "_compare")
    def _compare(_: Any, variable: Any, comparison_value: str) -> bool:
        tokens = re.findall(r"\\.|.", comparison_value, re.DOTALL)
        pattern = "".join(".*" if t == "*" else re.escape(t[-1]) for t in tokens)
        return isinstance(variable, str) and bool(re.fullmatch(pattern, variable, re.DOTALL))


def timestamps_are_rfc3339() -> None:
    """Read timestamps with fractions and offsets, and wait until them in UTC, not local time."""
    operators = f"{_STATE}.choice.comparison.operator.implementations.is_operator"
    is_timestamp = importlib.import_module(operators).IsTimestamp
    waiting = importlib.import_module(f"{_STATE}.wait.wait_function.timestamp").Timestamp

    def moment(_: Any, text: Any) -> datetime | None:
        try:
            return datetime.fromisoformat(text) if _TIMESTAMP.fullmatch(text) else None
        except (TypeError, ValueError):
            return None

    wraps(is_timestamp, "string_to_timestamp")(moment)
    wraps(waiting, "_from_timestamp_string")(
        lambda original, timestamp: moment(original, timestamp)
    )

    @wraps(waiting, "_get_wait_seconds")
    def _get_wait_seconds(_: Any, self: Any, env: Any) -> int:
        self.string.eval(env=env)
        text = env.stack.pop()
        until = moment(None, text)
        if until is None:
            events = importlib.import_module(f"{_COMMON}.error_name.failure_event")
            raise events.FailureEventException(self._create_failure_event(env, text))
        return math.ceil((until - datetime.now(UTC)).total_seconds())


def runtime_errors_are_not_caught() -> None:
    """Let no retrier or catcher take ``States.Runtime``, and ``States.TaskFailed`` all others."""
    declared = importlib.import_module(f"{_COMMON}.error_name.error_equals_decl").ErrorEqualsDecl

    @wraps(declared, "_eval_body")
    def _eval_body(_: Any, self: Any, env: Any) -> None:
        error = env.stack.pop().error_name
        names = {name.error_name for name in self.error_names}
        taken_by = {error, "States.ALL"}
        if error != "States.Timeout":
            taken_by.add("States.TaskFailed")
        env.stack.append(error not in _UNCATCHABLE and bool(names & taken_by))


@functools.cache
def _any_error_name() -> type[Any]:
    from moto.stepfunctions.parser.asl.component.common.error_name.error_name import ErrorName

    class AnyErrorName(ErrorName):  # type: ignore[misc,unused-ignore]
        def __init__(self, error_name: str | None) -> None:
            super().__init__(error_name=error_name)

    return AnyErrorName


def error_names_pass_through() -> None:
    """Let a Fail state, a branch and an iteration end with ``States.TaskFailed`` and the like.

    That is what a Catch with ``ErrorPath: $.error.Error`` leads to; moto refuses the prefix.
    """
    for name in (
        "fail.state_fail",
        "exec.state_parallel.branches_decl",
        "exec.state_map.iteration.iteration_worker",
    ):
        module: Any = importlib.import_module(f"{_STATE}.{name}")
        module.CustomErrorName = _any_error_name()


def jsonata_without_java() -> None:
    """Evaluate JSONata with `jsonata`, and variables of JSONPath states as paths."""
    expressions = importlib.import_module(f"{_COMMON}.string.string_expression")
    paths = importlib.import_module(f"{_ASL}.utils.json_path")

    def variables_of(env: Any) -> dict[str, Any]:
        store = env.variable_store
        return {**store._outer_scope, **store._inner_scope}

    @wraps(expressions.StringJSONata, "_eval_body")
    def _eval_body(_: Any, self: Any, env: Any) -> None:
        from . import jsonata  # takes a while, and few ask for it

        variables = variables_of(env) | {"states": env.states._states_data}
        try:
            env.stack.append(jsonata.evaluate(self.expression, variables))
        except jsonata.JSONataError as error:
            text = f"The JSONata expression '{self.expression}' {error}."
            raise evaluation_failed(env, text) from error

    @wraps(expressions.StringVariableSample, "_eval_body")
    def sample(_: Any, self: Any, env: Any) -> None:
        name = re.findall(r"\w+", self.expression)[0]
        rest = self.expression.removeprefix(f"${name}")
        variables = variables_of(env)
        if name not in variables:
            raise paths.NoSuchJsonPathError(json_path=self.expression, data=variables)
        env.stack.append(paths.extract_json(f"${rest}", variables[name]))


def evaluation_failed(env: Any, cause: str) -> Any:
    """Return the exception of a query that failed, and note it in the history."""
    from moto.stepfunctions.parser.api import HistoryEventType

    error = failure(env, "States.QueryEvaluationError", cause, "EvaluationFailed")
    details: Any = {"evaluationFailedEventDetails": error.get_evaluation_failed_event_details()}
    env.event_manager.add_event(
        context=env.event_history_context,
        event_type=HistoryEventType.EvaluationFailed,
        event_details=details,
    )
    return error


def jsonata_results_have_a_type() -> None:
    """Fail with ``States.QueryEvaluationError`` where a field gets a value that it cannot have."""
    expressions = importlib.import_module(f"{_COMMON}.string.string_expression")
    texts = expressions.StringJSONata

    class Typed(texts):  # type: ignore[misc,valid-type]
        def __init__(self, plain: Any, fits: Callable[[Any], bool], wanted: str) -> None:
            super().__init__(plain.expression)
            self.fits, self.wanted = fits, wanted

        def _eval_body(self, env: Any) -> None:
            super()._eval_body(env)
            if not self.fits(env.stack[-1]):
                text = f"The JSONata expression '{self.expression}' returned "
                raise evaluation_failed(env, text + f"{env.stack[-1]!r}, not {self.wanted}.")

    def whole(least: int) -> Callable[[Any], bool]:
        return lambda value: type(value) is int and value >= least

    fields: tuple[tuple[str, str, Callable[[Any], bool], str], ...] = (
        ("state.choice.comparison.comparison", "ConditionStringJSONata",
         lambda value: isinstance(value, bool), "a boolean"),
        ("common.timeouts.timeout", "TimeoutSecondsJSONata", whole(1), "a positive integer"),
        ("common.timeouts.heartbeat", "HeartbeatSecondsJSONata", whole(1), "a positive integer"),
        ("state.wait.wait_function.seconds", "SecondsJSONata", whole(0), "an integer from 0 on"),
        ("state.exec.state_map.max_concurrency", "MaxConcurrencyJSONata", whole(0),
         "an integer from 0 on"),
    )  # fmt: skip
    for module, name, fits, wanted in fields:
        field = getattr(importlib.import_module(f"{_ASL}.component.{module}"), name)

        def made(
            original: Any, self: Any, string_jsonata: Any,
            fits: Callable[[Any], bool] = fits, wanted: str = wanted,
        ) -> None:  # fmt: skip
            original(self, string_jsonata=Typed(string_jsonata, fits, wanted))

        wraps(field, "__init__")(made)


def context_has_iso_times() -> None:
    """Give executions ``$$.Execution.RedriveCount`` and a start time in ISO form."""
    worker = importlib.import_module(f"{PACKAGE}.backend.execution_worker").ExecutionWorker

    @wraps(worker, "_get_evaluation_environment")
    def _get_evaluation_environment(original: Any, self: Any) -> Any:
        environment = original(self)
        execution = environment.states.context_object.context_object_data["Execution"]
        execution["RedriveCount"] = 0
        start = execution["StartTime"]
        if not isinstance(start, str):
            execution["StartTime"] = f"{start:%Y-%m-%dT%H:%M:%S}.{start.microsecond // 1000:03d}Z"
        return environment


def stopped_executions_stay_stopped() -> None:
    """Keep an execution ABORTED or TIMED_OUT when its last task fails on the way out."""
    environment = importlib.import_module(f"{_ASL}.eval.environment").Environment
    state = importlib.import_module(f"{_ASL}.eval.program_state")

    @wraps(environment, "set_error")
    def set_error(original: Any, self: Any, error: Any) -> None:
        if not isinstance(self.program_state(), state.ProgramStopped | state.ProgramTimedOut):
            original(self, error)


def retries_hardly_wait(longest: float = 1.0) -> None:
    """Wait at most `longest` seconds before a retry, whatever its back-off says."""
    module: Any = importlib.import_module(f"{_COMMON}.retry.retrier_decl")
    module.time = SimpleNamespace(sleep=lambda seconds: time.sleep(min(seconds, longest)))


def tasks_act_as_their_role(clients: Clients) -> None:
    """Let a task call other services with the role of its state machine, not as nobody.

    And teach the interpreter `sagemaker:createProcessingJob` and our nested workflows.
    """
    from .. import workflow_tasks

    factory: Any = importlib.import_module(f"{_STATE}.exec.state_task.state_task_factory")
    factory.state_task_service_for = workflow_tasks.factory(factory.state_task_service_for, clients)
    boto = importlib.import_module(f"{_ASL}.utils.boto_client")

    @wraps_everywhere(PACKAGE, boto, "boto_client_for")
    def boto_client_for(_: Any, region: str, service: str, state_credentials: Any = None) -> Any:
        if state_credentials is None:
            return clients.get(service, region)
        return clients.as_role(str(state_credentials.role_arn), region).get(service, region)
