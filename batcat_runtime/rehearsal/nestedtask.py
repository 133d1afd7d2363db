"""The state machine task `states:startExecution`, which waits for another workflow with `.sync:2`.

moto's own does not give the parameters the names that the API wants (5.2.5), and goes on without a
word when its execution is stopped while it waits. Step Functions then stops the execution that the
task had started, as far as the role allows it ("Run a Job (.sync)" in the developer guide). With
`.sync:2` input and output are JSON, with `.sync` text. Errors are named after the Java SDK.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from botocore.exceptions import ClientError
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
    FailureEventException,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
    state_task_service_sfn as sfn_module,
)

from .taskfailure import task_failed

log = logging.getLogger(__name__)

_POLL_SECONDS: Final = 0.2
_FAILED = "States.TaskFailed"
_MODELLED = {
    "ExecutionAlreadyExists",
    "ExecutionLimitExceeded",
    "InvalidArn",
    "InvalidExecutionInput",
    "InvalidName",
    "StateMachineDeleting",
    "StateMachineDoesNotExist",
}


class NestedExecutionTask(
    sfn_module.StateTaskServiceSfn  # type: ignore[misc,unused-ignore]
):
    """A Task state whose resource is ``states:::states:startExecution``, with or without `.sync`.

    Parameters
    ----------
    client_for : callable
        From a region and a role's ARN to a Step Functions client.
    """

    def __init__(self, client_for: Callable[[str, str], Any]) -> None:
        super().__init__()
        self._client_for = client_for

    def _eval_service_task(
        self,
        env: Any,
        resource_runtime_part: Any,
        normalised_parameters: dict[str, Any],
        state_credentials: Any,
    ) -> None:
        client = self._client_for(resource_runtime_part.region, str(state_credentials.role_arn))
        given = {f"{name[0].lower()}{name[1:]}": v for name, v in normalised_parameters.items()}
        if not isinstance(given.get("input", ""), str):
            given["input"] = json.dumps(given["input"], separators=(",", ":"), ensure_ascii=False)
        env.stack.append(_described(client.start_execution(**given), parsed=False))

    def _build_sync_resolver(
        self,
        env: Any,
        resource_runtime_part: Any,
        normalised_parameters: dict[str, Any],
        state_credentials: Any,
    ) -> Any:
        return self._nested(env, resource_runtime_part, state_credentials, parsed=False)

    def _build_sync2_resolver(
        self,
        env: Any,
        resource_runtime_part: Any,
        normalised_parameters: dict[str, Any],
        state_credentials: Any,
    ) -> Any:
        return self._nested(env, resource_runtime_part, state_credentials, parsed=True)

    def _nested(self, env: Any, part: Any, credentials: Any, *, parsed: bool) -> _Nested:
        client = self._client_for(part.region, str(credentials.role_arn))
        return _Nested(client, str(env.stack.pop()["ExecutionArn"]), parsed=parsed)

    def _eval_sync(
        self,
        env: Any,
        sync_resolver: Any,
        timeout_seconds: Any,
        callback_endpoint: Any,
        heartbeat_endpoint: Any,
    ) -> Any:
        # No task token is given out with `.sync`, so unlike moto's this waits for none.
        while env.is_running():
            found = sync_resolver.look()
            if found is not None:
                if found["Status"] == "SUCCEEDED":
                    return found
                cause = json.dumps(found, separators=(",", ":"), ensure_ascii=False)
                raise FailureEventException(task_failed(self, env, _FAILED, cause))
            time.sleep(_POLL_SECONDS)
        # Time-out, or somebody stopped the execution: the nested one goes with it.
        sync_resolver.stop()
        return None

    def _from_error(self, env: Any, ex: Exception) -> Any:
        if not isinstance(ex, ClientError):
            return super()._from_error(env=env, ex=ex)
        details, meta = ex.response["Error"], ex.response["ResponseMetadata"]
        code = details["Code"]
        modelled = code in _MODELLED
        name = f"StepFunctions.{code if modelled else 'AWSStepFunctions'}Exception"
        cause = (
            f"{details['Message']} (Service: AWSStepFunctions; Status Code: "
            f"{meta['HTTPStatusCode']}; Error Code: {code}; Request ID: "
            f"{meta.get('RequestId', '')}; Proxy: null)"
        )
        return task_failed(self, env, name, cause)


class _Nested:
    """An execution that a task has started: whether it has ended, and how to stop it."""

    def __init__(self, client: Any, arn: str, *, parsed: bool) -> None:
        self._client = client
        self._arn = arn
        self._parsed = parsed

    def look(self) -> dict[str, Any] | None:
        answer = self._client.describe_execution(executionArn=self._arn)
        running = answer["status"] in ("RUNNING", "PENDING_REDRIVE")
        return None if running else _described(answer, parsed=self._parsed)

    def stop(self) -> None:
        try:
            self._client.stop_execution(executionArn=self._arn)
        except ClientError as error:
            log.info("Execution %s was not stopped: %s", self._arn, error)


def _described(answer: dict[str, Any], *, parsed: bool) -> dict[str, Any]:
    """Return an answer of the API as Step Functions hands it on: capitals, times in ms."""
    found: dict[str, Any] = {}
    for name, value in answer.items():
        if name == "ResponseMetadata":
            continue
        if isinstance(value, datetime):
            value = int(value.timestamp() * 1000)
        if parsed and name in ("input", "output"):
            value = json.loads(value)
        found[f"{name[0].upper()}{name[1:]}"] = value
    return found
