"""Every private hook into moto, in one place.

moto is pinned, and still this module trusts nothing: `verify` compares the signature of each target
with the one that the hook was written for, at every start-up, and refuses to start otherwise.
`install` then replaces what must be replaced. The rest of the embedded AWS reaches moto through the
functions below and through moto's protocol code in `wire.py`, which `verify` checks too.

What is replaced, and until when:

- the factory of Step Functions tasks, until moto knows ``sagemaker:createProcessingJob.sync``;
- the clients of its tasks, until moto makes them with the role of the state machine;
- the context object of an execution, until moto gives ``RedriveCount`` and an ISO start time;
- the end of a stopped execution, until moto's interpreter no longer reports it as FAILED;
- what a Distributed Map does with its items, until moto runs each as an execution of its own;
- whole numbers as ``ToleratedFailurePercentage``, until moto's grammar takes them;
- the error name of a Fail state, and of a branch that ends in one, until moto lets
  ``States.TaskFailed`` through;
- the wait before a retry, for good: a rehearsal does not sit through a back-off of minutes;
- a new bucket's encryption and public access, until moto has what S3 does since 2023;
- the host of a repository in China, until moto writes ``amazonaws.com.cn``;
- the Docker run of a Lambda function, for good: there is no Docker here;
- the targets of a rule, until moto's rules invoke Lambda functions and publish to topics;
- an execution that begins or ends, until moto tells rules of it;
- the parts of an upload that is no more, until moto refuses them instead of crashing;
- UpdateTable with a ``VersionId``, until moto compares it, as Glue does.
"""

from __future__ import annotations

import copy
import functools
import importlib
import importlib.util
import inspect
import re
import sys
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import EmbeddedAWSError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .bucket_places import BucketPlace
    from .clients import Clients
    from .mapruns import MapRuns

_SFN = "moto.stepfunctions.parser"
_TASK = f"{_SFN}.asl.component.state.exec.state_task"
_MAP = f"{_SFN}.asl.component.state.exec.state_map"


@dataclass(frozen=True)
class Target:
    """A piece of moto that we rely on: where it is, and the parameters it must have."""

    module: str
    name: str
    parameters: tuple[str, ...]

    def found(self) -> tuple[str, ...]:
        """Return the parameters that the target has, or raise when it is not there."""
        thing: Any = importlib.import_module(self.module)
        for part in self.name.split("."):
            thing = getattr(thing, part)
        return tuple(inspect.signature(thing).parameters)


TARGETS: tuple[Target, ...] = (
    Target("moto.core.parse", "RequestParser.parse", ("self", "request_dict")),
    Target(
        "moto.core.serialize",
        "ResponseSerializer.__init__",
        ("self", "operation_model", "context", "pretty_print", "value_picker"),
    ),
    Target("moto.core.serialize", "ResponseSerializer.serialize", ("self", "result")),
    Target("moto.core.serialize", "get_serializer_class", ("service_name", "protocol")),
    Target("moto.core.routing", "ServiceOperationRouter.match", ("self", "request")),
    Target("moto.core.utils", "get_service_model", ("service_name",)),
    Target("moto.core.request", "determine_request_protocol", ("service_model", "content_type")),
    Target(
        "moto.moto_server.werkzeug_app",
        "DomainDispatcherApplication.__init__",
        ("self", "create_app"),
    ),
    Target(f"{_TASK}.state_task_factory", "state_task_service_for", ("service_name",)),
    Target(
        f"{_TASK}.service.state_task_service_callback",
        "StateTaskServiceCallback._after_eval_execution",
        ("self", "env", "resource_runtime_part", "normalised_parameters", "state_credentials"),
    ),
    Target(
        f"{_TASK}.service.state_task_service_callback",
        "StateTaskServiceCallback._is_integration_pattern",
        ("self",),
    ),
    Target(
        f"{_TASK}.service.state_task_service",
        "StateTaskService._eval_service_task",
        ("self", "env", "resource_runtime_part", "normalised_parameters", "state_credentials"),
    ),
    Target(
        f"{_SFN}.models",
        "StepFunctionsParserBackend.start_execution",
        ("self", "state_machine_arn", "name", "execution_input", "trace_header"),
    ),
    Target(f"{_SFN}.models", "StepFunctionsParserBackend._validate_definition", ("definition",)),
    Target(
        f"{_TASK}.service.state_task_service_sfn",
        "StateTaskServiceSfn._build_sync2_resolver",
        ("self", "env", "resource_runtime_part", "normalised_parameters", "state_credentials"),
    ),
    Target(
        f"{_TASK}.service.state_task_service_callback",
        "StateTaskServiceCallback._eval_sync",
        (
            *("self", "env", "sync_resolver", "timeout_seconds", "callback_endpoint"),
            "heartbeat_endpoint",
        ),
    ),
    Target(
        f"{_MAP}.iteration.distributed_iteration_component",
        "DistributedIterationComponent._eval_body",
        ("self", "env"),
    ),
    Target(
        f"{_MAP}.iteration.distributed_iteration_component",
        "DistributedIterationComponentEvalInput.__init__",
        (
            *("self", "state_name", "max_concurrency", "input_items", "parameters"),
            *("item_selector", "item_reader", "tolerated_failure_count"),
            *("tolerated_failure_percentage", "label", "map_run_record"),
        ),
    ),
    Target(
        f"{_MAP}.iteration.itemprocessor.map_run_record",
        "MapRunRecord.update",
        ("self", "max_concurrency", "tolerated_failure_count", "tolerated_failure_percentage"),
    ),
    Target(
        f"{_SFN}.backend.execution",
        "Execution.__init__",
        (
            *("self", "name", "sm_type", "role_arn", "exec_arn", "account_id", "region_name"),
            *("state_machine", "start_date", "cloud_watch_logging_session", "activity_store"),
            *("input_data", "trace_header"),
        ),
    ),
    Target(f"{_SFN}.asl.parse.asl_parser", "AmazonStateLanguageParser.parse", ("definition",)),
    Target(f"{_SFN}.backend.execution", "Execution.stop", ("self", "stop_date", "error", "cause")),
    Target(
        f"{_SFN}.backend.execution_worker",
        "ExecutionWorker._get_evaluation_environment",
        ("self",),
    ),
    Target(
        f"{_SFN}.asl.component.common.retry.retrier_decl",
        "RetrierDecl._eval_body",
        ("self", "env"),
    ),
    Target(f"{_SFN}.asl.eval.environment", "Environment.set_error", ("self", "error")),
    Target(
        f"{_SFN}.asl.component.state.fail.state_fail",
        "CustomErrorName.__init__",
        ("self", "error_name"),
    ),
    Target(
        "moto.stepfunctions.models",
        "StepFunctionBackend.describe_execution",
        ("self", "execution_arn"),
    ),
    Target("moto.awslambda.models", "LambdaFunction._invoke_lambda", ("self", "event")),
    Target("moto.logs.models", "LogEvent.__init__", ("self", "ingestion_time", "log_event")),
    Target("moto.logs.models", "LogStream.put_log_events", ("self", "log_events")),
    Target(
        "moto.ecr.models",
        "Repository.__init__",
        (
            *("self", "account_id", "region_name", "repository_name", "registry_id"),
            *("encryption_config", "image_scan_config", "image_tag_mutability"),
            "image_tag_mutability_exclusion_filters",
        ),
    ),
    Target(
        "moto.events.models",
        "Rule.send_to_targets",
        ("self", "original_event", "transform_input"),
    ),
    Target(f"{_SFN}.backend.execution", "Execution.start", ("self",)),
    Target(f"{_SFN}.backend.execution", "BaseExecutionWorkerCommunication.terminated", ("self",)),
    Target(
        "moto.s3.models",
        "S3Backend.upload_part",
        ("self", "bucket_name", "multipart_id", "part_id", "value"),
    ),
    Target("moto.glue.responses", "GlueResponse.create_table", ("self",)),
    Target("moto.glue.responses", "GlueResponse.update_table", ("self",)),
    Target("moto.glue.models", "GlueBackend.get_table", ("self", "database_name", "table_name")),
    Target(
        "moto.awslambda.models",
        "LambdaBackend.get_function",
        ("self", "function_name_or_arn", "qualifier"),
    ),
    Target(
        "moto.sts.models",
        "STSBackend.get_assumed_role_from_access_key",
        ("self", "access_key_id"),
    ),
    Target(
        "moto.s3.models",
        "FakeBucket.__init__",
        ("self", "name", "account_id", "region_name", "bucket_namespace"),
    ),
    Target(
        "moto.s3.models",
        "PublicAccessBlock.__init__",
        (
            *("self", "block_public_acls", "ignore_public_acls", "block_public_policy"),
            "restrict_public_buckets",
        ),
    ),
    Target("moto.iam.models", "get_account_id_from", ("access_key",)),
    Target(
        "moto.s3.models",
        "S3BackendDict.__init__",
        ("self", "backend", "service_name", "use_boto3_regions", "additional_regions"),
    ),
    Target("moto.iam.models", "IAMBackend.get_role_by_arn", ("self", "arn")),
    Target("moto.iam.models", "IAMBackend.get_user_from_access_key_id", ("self", "access_key_id")),
    Target(
        f"{_SFN}.asl.utils.boto_client",
        "boto_client_for",
        ("region", "service", "state_credentials"),
    ),
)


def verify(targets: tuple[Target, ...] = TARGETS) -> None:
    """Check that every target is what its hook was written for.

    Raises
    ------
    EmbeddedAWSError
        Naming moto's version and what differs.
    """
    with _light_batch_package():
        importlib.import_module(f"{_TASK}.state_task_factory")
    wrong = []
    for target in targets:
        try:
            found = target.found()
        except (ImportError, AttributeError) as error:
            wrong.append(f"{target.module}.{target.name}: {error}")
            continue
        if found != target.parameters:
            wrong.append(
                f"{target.module}.{target.name} takes {found}, expected {target.parameters}"
            )
    if wrong:
        import moto

        raise EmbeddedAWSError(
            f"moto {moto.__version__} is not the moto that the embedded AWS was built on:\n  "
            + "\n  ".join(wrong),
            fix="Install the pinned version: pip install 'batcat-runtime[rehearse]'",
        )


def install(clients: Clients, run_function: Callable[[Any, Any], tuple[str, bool, str]]) -> None:
    """Put all hooks in place.

    Parameters
    ----------
    clients : Clients
        For the SageMaker task.
    run_function : callable
        From moto's Lambda function and an event to (payload, failed, log).
    """
    from moto.core.config import default_user_config

    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    hook_sagemaker_task(clients)
    hook_task_credentials(clients)
    hook_context_object()
    hook_stopped_executions()
    hook_fail_state()
    hook_retry_wait()
    hook_lambda_run(run_function)
    hook_registry_host()
    hook_upload_part()
    hook_table_versions()
    hook_new_buckets()
    hook_whole_percentages()


def hook_sagemaker_task(clients: Clients) -> None:
    """Teach the state machine interpreter `sagemaker:createProcessingJob` and `.sync`.

    moto's ``state_task_factory`` imported the name, so the name is replaced there.
    """
    from . import statetask

    module = importlib.import_module(f"{_TASK}.state_task_factory")
    original = getattr(module.state_task_service_for, "original", module.state_task_service_for)
    replacement = statetask.factory(original, clients)
    replacement.original = original  # type: ignore[attr-defined]
    module.state_task_service_for = replacement  # type: ignore[attr-defined]


def hook_task_credentials(clients: Clients) -> None:
    """Let a Task state call other services with the role of its state machine, not as nobody.

    moto's tasks imported the name, each into its own module.
    """

    def boto_client_for(region: str, service: str, state_credentials: Any = None) -> Any:
        if state_credentials is None:
            return clients.get(service, region)
        return clients.as_role(str(state_credentials.role_arn), region).get(service, region)

    for name, module in list(sys.modules.items()):
        if name.startswith(f"{_SFN}.") and hasattr(module, "boto_client_for"):
            module.boto_client_for = boto_client_for  # type: ignore[attr-defined]


def hook_context_object() -> None:
    """Give executions ``$$.Execution.RedriveCount`` and a start time in ISO form."""
    worker = importlib.import_module(f"{_SFN}.backend.execution_worker").ExecutionWorker
    original = worker._get_evaluation_environment
    if hasattr(original, "original"):
        return

    def _get_evaluation_environment(self: Any) -> Any:
        environment = original(self)
        execution = environment.states.context_object.context_object_data["Execution"]
        execution["RedriveCount"] = 0
        start = execution["StartTime"]
        if not isinstance(start, str):
            execution["StartTime"] = f"{start:%Y-%m-%dT%H:%M:%S}.{start.microsecond // 1000:03d}Z"
        return environment

    _get_evaluation_environment.original = original  # type: ignore[attr-defined]
    worker._get_evaluation_environment = _get_evaluation_environment


def hook_stopped_executions() -> None:
    """Keep an execution ABORTED or TIMED_OUT when its last task fails on the way out."""
    environment = importlib.import_module(f"{_SFN}.asl.eval.environment").Environment
    state = importlib.import_module(f"{_SFN}.asl.eval.program_state")
    original = environment.set_error
    if hasattr(original, "original"):
        return

    def set_error(self: Any, error: Any) -> None:
        if not isinstance(self.program_state(), state.ProgramStopped | state.ProgramTimedOut):
            original(self, error)

    set_error.original = original  # type: ignore[attr-defined]
    environment.set_error = set_error


def hook_fail_state() -> None:
    """Let a Fail state pass on an error name of Step Functions' own, such as States.TaskFailed.

    That is what a Catch with ``ErrorPath: $.error.Error`` leads to; moto takes the name for a
    custom one and refuses the prefix while the execution runs. A branch of a Parallel state and an
    iteration of a Map that end so hand the name up, through modules that imported the class.
    """
    from moto.stepfunctions.parser.asl.component.common.error_name.error_name import ErrorName

    states = f"{_SFN}.asl.component.state"

    class PassedOnErrorName(ErrorName):  # type: ignore[misc,unused-ignore]
        def __init__(self, error_name: str | None) -> None:
            super().__init__(error_name=error_name)

    for name in (
        "fail.state_fail",
        "exec.state_parallel.branches_decl",
        "exec.state_map.iteration.iteration_worker",
    ):
        module = importlib.import_module(f"{states}.{name}")
        module.CustomErrorName = PassedOnErrorName  # type: ignore[attr-defined]


def hook_retry_wait(longest: float = 1.0) -> None:
    """Wait at most `longest` seconds before a state is tried again, whatever its back-off says."""
    module = importlib.import_module(f"{_SFN}.asl.component.common.retry.retrier_decl")

    def sleep(seconds: float) -> None:
        time.sleep(min(seconds, longest))

    module.time = SimpleNamespace(sleep=sleep)  # type: ignore[attr-defined]


def hook_distributed_map(runs: MapRuns) -> None:
    """Let a Distributed Map run each item as a child execution; see `mapruns`.

    moto's own body notes in the history that the Map Run started and how it ended; so does this.
    """
    from botocore.exceptions import ClientError
    from moto.stepfunctions.parser.api import HistoryEventType, MapRunStatus
    from moto.stepfunctions.parser.asl.component.common.error_name import failure_event
    from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import (
        StatesErrorName,
    )
    from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import (
        StatesErrorNameType,
    )

    from .mapruns import MapRunFailedError

    module = importlib.import_module(f"{_MAP}.iteration.distributed_iteration_component")

    def note(env: Any, kind: Any, **details: Any) -> None:
        env.event_manager.add_event(
            context=env.event_history_context, event_type=kind, event_details=details or None
        )

    def failure(env: Any, error: str, cause: str) -> Any:
        kinds = (one for one in StatesErrorNameType if one.to_name() == error)
        return failure_event.FailureEventException(
            failure_event.FailureEvent(
                env=env,
                error_name=StatesErrorName(next(kinds)),
                event_type=HistoryEventType.MapRunFailed,
                event_details={"mapRunFailedEventDetails": {"error": error, "cause": cause}},  # type: ignore[typeddict-item,unused-ignore]
            )
        )

    def items_of(env: Any, given: Any) -> list[Any]:
        if not given.item_reader:
            return list(given.input_items)
        try:
            given.item_reader.eval(env=env)
        except ClientError as error:
            raise failure(env, "States.ItemReaderFailed", str(error)) from error
        return list(env.stack.pop())

    def select_from(env: Any, given: Any) -> Callable[[int, Any], Any]:
        def select(index: int, item: Any) -> Any:
            chosen = given.item_selector or given.parameters
            if not chosen:
                return item
            frame = env.open_inner_frame()
            try:
                context = frame.states.context_object.context_object_data
                context["Map"] = {"Item": {"Index": index, "Value": item}}
                frame.states.reset(input_value=env.states.get_input())
                frame.stack.append(frame.states.get_input())
                chosen.eval(frame)
                return frame.stack[-1]
            finally:
                env.delete_frame(frame)

        return select

    def _eval_body(self: Any, env: Any) -> None:
        given = env.stack.pop()
        record = given.map_run_record
        started = {"mapRunArn": record.map_run_arn}
        note(env, HistoryEventType.MapRunStarted, mapRunStartedEventDetails=started)
        try:
            outputs = runs.perform(
                env, record, given.state_name, lambda: items_of(env, given), select_from(env, given)
            )
        except (MapRunFailedError, failure_event.FailureEventException) as error:
            if isinstance(error, MapRunFailedError):
                error = failure(env, error.error, error.cause)
            name, cause = error.extract_error_cause_pair() or ("", "")
            details = {"error": name, "cause": cause}
            note(env, HistoryEventType.MapRunFailed, mapRunFailedEventDetails=details)
            record.set_stop(status=MapRunStatus.FAILED)
            raise error from None
        if outputs is None:
            note(env, HistoryEventType.MapRunAborted)
            record.set_stop(status=MapRunStatus.ABORTED)
        else:
            note(env, HistoryEventType.MapRunSucceeded)
            record.set_stop(status=MapRunStatus.SUCCEEDED)
        env.stack.append(outputs or [])

    module.DistributedIterationComponent._eval_body = _eval_body


def hook_whole_percentages() -> None:
    """Let ``ToleratedFailurePercentage`` be a whole number; moto's grammar knows fractions only."""
    parser = importlib.import_module(f"{_SFN}.asl.parse.asl_parser").AmazonStateLanguageParser
    original = getattr(parser.parse, "original", parser.parse)
    whole = re.compile(r'("ToleratedFailurePercentage"\s*:\s*\d+)(?![\d.])')

    def parse(definition: str) -> Any:
        return original(whole.sub(r"\1.0", definition))

    parse.original = original  # type: ignore[attr-defined]
    parser.parse = staticmethod(parse)


def child_machine(machine: Any, arn: str, definition: str) -> Any:
    """Return a state machine of moto's for the children of a Distributed Map."""
    child = copy.copy(machine)
    child.arn, child.definition, child.executions = arn, definition, []
    child.name = arn.rpartition(":")[2]
    return child


def start_child(backend: Any, machine: Any, name: str, given: str) -> Any:
    """Start an execution of a state machine that the backend does not list; return it."""
    from moto.stepfunctions.parser.backend.execution import Execution

    place = machine.arn.replace(":stateMachine:", ":execution:")
    execution = Execution(
        name=name,
        sm_type=machine.sm_type,
        role_arn=machine.roleArn,
        exec_arn=f"{place}:{name}",
        account_id=backend.account_id,
        region_name=backend.region_name,
        state_machine=machine,
        start_date=datetime.now(UTC),
        cloud_watch_logging_session=None,
        activity_store={},
        input_data=given,
    )
    execution.start()
    return execution


def stop_execution(
    execution: Any, error: str | None = None, cause: str | None = None, seconds: float = 5.0
) -> None:
    """Stop an execution; its tasks notice a little later."""
    deadline = time.monotonic() + seconds
    # The interpreter makes its environment in a thread of its own; it may not be there yet, or may
    # not have begun.
    while time.monotonic() < deadline and execution.status == "RUNNING":
        env = execution.exec_worker.env
        if env is not None and env.is_running():
            break
        time.sleep(0.02)
    execution.stop(stop_date=datetime.now(UTC), error=error, cause=cause)


def hook_lambda_run(run_function: Callable[[Any, Any], tuple[str, bool, str]]) -> None:
    """Run a function in a process when another moto service invokes it, never in Docker."""
    function = importlib.import_module("moto.awslambda.models").LambdaFunction

    def _invoke_lambda(self: Any, event: Any = None) -> tuple[str, bool, str]:
        return run_function(self, event)

    function._invoke_lambda = _invoke_lambda


def _for_moto(event: dict[str, Any]) -> dict[str, Any]:
    """Return an event whose time is in seconds, as moto's own targets want it."""
    moment = event.get("time")
    if not isinstance(moment, str):
        return event
    return {**event, "time": datetime.fromisoformat(moment).timestamp()}


def hook_rule_targets(
    complete: Callable[[dict[str, Any]], dict[str, Any]],
    deliver: Callable[[str, str, dict[str, Any], dict[str, Any]], None],
) -> None:
    """Let a rule of EventBridge reach Lambda functions and topics, targets that moto lacks.

    Parameters
    ----------
    complete : callable
        Words an event as EventBridge does.
    deliver : callable
        From the rule's ARN, the region, the target and the event.
    """
    rule = importlib.import_module("moto.events.models").Rule
    original = getattr(rule.send_to_targets, "original", rule.send_to_targets)

    def send_to_targets(self: Any, original_event: Any, transform_input: bool = True) -> None:
        event = complete(original_event)
        mine = [one for one in self.targets if one["Arn"].split(":")[2] in ("lambda", "sns")]
        if mine and self.state == "ENABLED" and self.event_pattern.matches_event(event):
            for target in mine:
                deliver(self.arn, self.region_name, target, event)
        others = [one for one in self.targets if one not in mine]
        if others:
            kept, self.targets = self.targets, others
            try:
                original(self, _for_moto(event), transform_input)
            finally:
                self.targets = kept

    send_to_targets.original = original  # type: ignore[attr-defined]
    rule.send_to_targets = send_to_targets


def hook_status_changes(event_of: Callable[[Any, str], dict[str, Any]]) -> None:
    """Tell EventBridge's rules of every execution that begins or ends.

    Parameters
    ----------
    event_of : callable
        From moto's execution and its status to the event.
    """
    execution_module = importlib.import_module(f"{_SFN}.backend.execution")
    ended, begun = execution_module.BaseExecutionWorkerCommunication, execution_module.Execution
    original_end = getattr(ended.terminated, "original", ended.terminated)
    original_start = getattr(begun.start, "original", begun.start)

    def tell(execution: Any, status: str) -> None:
        from moto.events.models import events_backends

        buses = events_backends[execution.account_id][execution.region_name].event_buses
        for rule in list(buses["default"].rules.values()):
            rule.send_to_targets(event_of(execution, status), transform_input=False)

    def start(self: Any) -> None:
        original_start(self)
        tell(self, "RUNNING")  # whatever has become of it by now

    def terminated(self: Any) -> None:
        original_end(self)
        tell(self.execution, self.execution.status)

    start.original, terminated.original = original_start, original_end  # type: ignore[attr-defined]
    begun.start, ended.terminated = start, terminated


def hook_registry_host() -> None:
    """Give repositories in China the host that they have there, ``...amazonaws.com.cn``."""
    repository = importlib.import_module("moto.ecr.models").Repository
    original = repository.__init__
    if hasattr(original, "original"):
        return

    @functools.wraps(original)
    def __init__(self: Any, *arguments: Any, **named: Any) -> None:  # noqa: N807
        original(self, *arguments, **named)
        if self.region_name.startswith("cn-"):
            self.uri = self.uri.replace(".amazonaws.com/", ".amazonaws.com.cn/", 1)

    __init__.original = original  # type: ignore[attr-defined]
    repository.__init__ = __init__


def hook_new_buckets() -> None:
    """Encrypt new buckets by default and close them to the public, as S3 does since April 2023."""
    models = importlib.import_module("moto.s3.models")
    original = models.FakeBucket.__init__
    if hasattr(original, "original"):
        return

    @functools.wraps(original)
    def __init__(self: Any, *arguments: Any, **named: Any) -> None:  # noqa: N807
        original(self, *arguments, **named)
        by_default = {"SSEAlgorithm": "AES256"}
        self.encryption = {
            "Rule": {"ApplyServerSideEncryptionByDefault": by_default, "BucketKeyEnabled": False}
        }
        self.public_access_block = models.PublicAccessBlock(True, True, True, True)

    __init__.original = original  # type: ignore[attr-defined]
    models.FakeBucket.__init__ = __init__


def hook_upload_part() -> None:
    """Refuse a part of an upload that was aborted, or never was, as S3 does."""
    from moto.s3.exceptions import NoSuchUpload
    from moto.s3.models import S3Backend

    original = S3Backend.upload_part
    if hasattr(original, "original"):
        return

    @functools.wraps(original)
    def upload_part(self: Any, bucket_name: str, multipart_id: str, *rest: Any) -> Any:
        if multipart_id not in self.get_bucket(bucket_name).multiparts:
            raise NoSuchUpload(upload_id=multipart_id)
        return original(self, bucket_name, multipart_id, *rest)

    upload_part.original = original  # type: ignore[attr-defined]
    S3Backend.upload_part = upload_part


def hook_table_versions() -> None:
    """Refuse to change a table of Glue that is no longer of the version that the caller saw.

    Tables are created and changed one at a time, so that of several callers one wins.
    """
    from moto.glue.exceptions import GlueClientError
    from moto.glue.responses import GlueResponse

    if hasattr(GlueResponse.update_table, "original"):
        return
    one_at_a_time = threading.Lock()

    def alone(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
        @functools.wraps(original)
        def request(self: Any) -> Any:
            with one_at_a_time:
                seen = self.parameters.get("VersionId")
                if seen is not None:
                    name = self.parameters["TableInput"]["Name"]
                    table = self.glue_backend.get_table(self.parameters["DatabaseName"], name)
                    if seen != table.as_dict()["VersionId"]:
                        raise GlueClientError(
                            "ConcurrentModificationException",
                            "Update table failed due to concurrent modifications.",
                        )
                return original(self)

        request.original = original  # type: ignore[attr-defined]
        return request

    GlueResponse.create_table = alone(GlueResponse.create_table)
    GlueResponse.update_table = alone(GlueResponse.update_table)


def bucket_notifications(account: str, bucket: str) -> Any:
    """Return what a bucket reports to whom, as moto keeps it; None when it was never set."""
    from moto.s3.models import s3_backends
    from moto.utilities.utils import PARTITION_NAMES

    for partition in PARTITION_NAMES:
        found = s3_backends[account][partition].buckets.get(bucket)
        if found is not None:
            return found.notification_configuration
    return None


def bucket_place(bucket: str) -> BucketPlace | None:
    """Return where a bucket lies and whose it is, as moto keeps it; None when there is none."""
    from moto.s3.models import s3_backends

    from .bucket_places import BucketPlace

    owner = s3_backends.bucket_accounts.get(bucket)
    if owner is None:
        return None
    partition, account = owner
    found = s3_backends[account][partition].buckets.get(bucket)
    if found is None:
        return None
    return BucketPlace(partition, str(found.region_name), account, _text(found.policy))


def account_of_key(access_key: str) -> str:
    """Return the account that an access key belongs to; ours for one that nobody gave out."""
    from moto.iam.models import get_account_id_from

    return str(get_account_id_from(access_key))


def state_machines(account: str, region: str) -> Any:
    """Return the Step Functions backend of a region, the one that executes."""
    from moto.stepfunctions.parser.models import stepfunctions_parser_backends

    return stepfunctions_parser_backends[account][region]


def log_group(account: str, region: str, name: str) -> Any:
    """Return moto's log group with its streams and their events, or None."""
    from moto.logs.models import logs_backends

    return logs_backends[account][region].groups.get(name)


def lambda_function(account: str, region: str, name: str, qualifier: str | None) -> Any:
    """Return moto's Lambda function, or None when there is none of this name."""
    from moto.awslambda.models import lambda_backends
    from moto.core.exceptions import ServiceException
    from werkzeug.exceptions import HTTPException

    try:
        return lambda_backends[account][region].get_function(name, qualifier)
    except (ServiceException, HTTPException, ValueError, KeyError):
        return None


def redshift_cluster(account: str, region: str, identifier: str) -> Any:
    """Return moto's Redshift cluster, or None; only it knows the administrator's password."""
    from moto.redshift.models import redshift_backends

    return redshift_backends[account][region].clusters.get(identifier)


def redshift_clusters(account: str, region: str, host: str) -> list[Any]:
    """Return moto's Redshift clusters of a region, which from now on say that `host` is theirs.

    Their host is checked and replaced here, and not at start-up: importing them takes a second.
    """
    from moto.redshift.models import Cluster, redshift_backends

    if not isinstance(vars(Cluster).get("address"), property):
        raise EmbeddedAWSError("moto's Redshift clusters have no property `address` any more.")
    Cluster.address = property(lambda cluster: host)
    return list(redshift_backends[account][region].clusters.values())


def holder_of_key(account: str, access_key: str) -> tuple[str, Any] | None:
    """Return who holds an access key: the session's or user's ARN, and moto's role or user.

    None for a key that IAM did not give out. The role is None when it has been deleted since.
    """
    from moto.core.exceptions import ServiceException
    from moto.iam.models import iam_backends
    from moto.sts.models import sts_backends
    from moto.utilities.utils import PARTITION_NAMES
    from werkzeug.exceptions import HTTPException

    for partition in PARTITION_NAMES:
        session = sts_backends[account][partition].get_assumed_role_from_access_key(access_key)
        iam = iam_backends[account][partition]
        if session is None:
            user = iam.get_user_from_access_key_id(access_key)
            if user is not None:
                return str(user.arn), user
            continue
        try:
            return str(session.arn), iam.get_role_by_arn(session.role_arn)
        except (ServiceException, HTTPException):
            return str(session.arn), None
    return None


def partition_of_key(account: str, access_key: str) -> str | None:
    """Return the partition whose IAM or STS gave an access key out; None if none did."""
    held = holder_of_key(account, access_key)
    return held[0].split(":")[1] if held else None


def policies_of_arn(arn: str) -> tuple[list[str], str | None] | None:
    """Return what `policies_of` does, by the ARN of a user or role; None when there is none."""
    from moto.iam.models import iam_backends

    parts = arn.split(":")
    if len(parts) < 6:
        return None
    iam = iam_backends[parts[4]][parts[1]]
    held = [*iam.roles.values(), *iam.users.values()]
    found = next((one for one in held if one.arn == arn), None)
    return policies_of(found) if found is not None else None


def expiry_of_key(account: str, access_key: str) -> datetime | None:
    """Return when the session ends that STS gave a key out with; None for every other key."""
    from moto.sts.models import sts_backends
    from moto.utilities.utils import PARTITION_NAMES

    for partition in PARTITION_NAMES:
        session = sts_backends[account][partition].get_assumed_role_from_access_key(access_key)
        if session is not None:
            # moto's times have no zone, and are in UTC.
            return datetime.combine(session.expiration.date(), session.expiration.time(), UTC)
    return None


def policies_of(identity: Any) -> tuple[list[str], str | None]:
    """Return the policy documents of moto's role or user, and its permissions boundary, as text."""
    from moto.iam.models import iam_backends

    arn = str(identity.arn).split(":")
    iam = iam_backends[arn[4]][arn[1]]
    is_user = arn[5].startswith("user/")
    holders = [identity, *(iam.get_groups_for_user(identity.name) if is_user else [])]
    texts = [text for one in holders for text in one.policies.values()]
    texts += [_document(one) for holder in holders for one in holder.managed_policies.values()]
    boundary = getattr(identity, "permissions_boundary_arn", None)
    if not boundary:
        return texts, None
    policy = iam.managed_policies.get(boundary)
    # A boundary that does not exist allows nothing, as on AWS.
    return texts, _document(policy) if policy else '{"Version": "2012-10-17", "Statement": []}'


def _text(policy: Any) -> str:
    return policy.decode() if isinstance(policy, bytes) else str(policy or "")


def _document(policy: Any) -> str:
    default = policy.default_version_id
    return next(str(one.document) for one in policy.versions if one.version_id == default)


@contextmanager
def _light_batch_package() -> Iterator[None]:
    """Import Step Functions without EC2, which costs more than a second and is not needed.

    The task for AWS Batch imports ``moto.batch.utils`` for one enumeration, and the package's
    ``__init__`` imports EC2. While this lasts, ``moto.batch`` is a bare package over the same
    folder; afterwards it is forgotten, and whoever imports it gets the real one.
    """
    spec = importlib.util.find_spec("moto")
    if "moto.batch" in sys.modules or spec is None or not spec.submodule_search_locations:
        yield
        return
    bare = ModuleType("moto.batch")
    bare.__path__ = [str(Path(place) / "batch") for place in spec.submodule_search_locations]
    sys.modules["moto.batch"] = bare
    try:
        yield
    finally:
        for name in [one for one in sys.modules if one.split(".")[:2] == ["moto", "batch"]]:
            del sys.modules[name]
