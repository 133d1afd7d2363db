"""Every private hook into moto, in one place.

moto is pinned, and still this module trusts nothing: `verify` compares the signature of each target
with the one that the hook was written for, at every start-up, and refuses to start otherwise.
`install` then replaces what must be replaced. The rest of the embedded AWS reaches moto through the
functions below and through moto's protocol code in `wire.py`, which `verify` checks too.

What is replaced, and until when:

- the factory of Step Functions tasks, until moto knows ``sagemaker:createProcessingJob.sync``;
- the context object of an execution, until moto gives ``RedriveCount`` and an ISO start time;
- the end of a stopped execution, until moto's interpreter no longer reports it as FAILED;
- the error name of a Fail state, until moto lets ``States.TaskFailed`` through;
- the wait before a retry, for good: a rehearsal does not sit through a back-off of minutes;
- the host of a repository in China, until moto writes ``amazonaws.com.cn``;
- the Docker run of a Lambda function, for good: there is no Docker here.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import EmbeddedAWSError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .clients import Clients

_SFN = "moto.stepfunctions.parser"
_TASK = f"{_SFN}.asl.component.state.exec.state_task"


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
        "moto.awslambda.models",
        "LambdaBackend.get_function",
        ("self", "function_name_or_arn", "qualifier"),
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
    hook_context_object()
    hook_stopped_executions()
    hook_fail_state()
    hook_retry_wait()
    hook_lambda_run(run_function)
    hook_registry_host()


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
    custom one and refuses the prefix while the execution runs.
    """
    from moto.stepfunctions.parser.asl.component.common.error_name.error_name import ErrorName

    state_fail = importlib.import_module(f"{_SFN}.asl.component.state.fail.state_fail")

    class PassedOnErrorName(ErrorName):  # type: ignore[misc,unused-ignore]
        def __init__(self, error_name: str | None) -> None:
            super().__init__(error_name=error_name)

    state_fail.CustomErrorName = PassedOnErrorName  # type: ignore[attr-defined]


def hook_retry_wait(longest: float = 1.0) -> None:
    """Wait at most `longest` seconds before a state is tried again, whatever its back-off says."""
    module = importlib.import_module(f"{_SFN}.asl.component.common.retry.retrier_decl")

    def sleep(seconds: float) -> None:
        time.sleep(min(seconds, longest))

    module.time = SimpleNamespace(sleep=sleep)  # type: ignore[attr-defined]


def hook_lambda_run(run_function: Callable[[Any, Any], tuple[str, bool, str]]) -> None:
    """Run a function in a process when another moto service invokes it, never in Docker."""
    function = importlib.import_module("moto.awslambda.models").LambdaFunction

    def _invoke_lambda(self: Any, event: Any = None) -> tuple[str, bool, str]:
        return run_function(self, event)

    function._invoke_lambda = _invoke_lambda


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


def state_machines(account: str, region: str) -> Any:
    """Return the Step Functions backend of a region, the one that executes."""
    from moto.stepfunctions.parser.models import stepfunctions_parser_backends

    return stepfunctions_parser_backends[account][region]


def lambda_function(account: str, region: str, name: str, qualifier: str | None) -> Any:
    """Return moto's Lambda function, or None when there is none of this name."""
    from moto.awslambda.models import lambda_backends
    from moto.core.exceptions import ServiceException
    from werkzeug.exceptions import HTTPException

    try:
        return lambda_backends[account][region].get_function(name, qualifier)
    except (ServiceException, HTTPException, ValueError, KeyError):
        return None


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
