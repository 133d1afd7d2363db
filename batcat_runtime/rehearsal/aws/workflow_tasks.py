"""The tasks `sagemaker:createProcessingJob` and `states:startExecution`, also with `.sync`.

moto has no SageMaker task, and its nested workflows go on without a word when their execution is
stopped while they wait. Step Functions starts the job or execution, polls it, hands its description
on as output, fails with it as cause, and stops it when the task times out or the execution is
stopped ("Run a Job (.sync)" in the developer guide). Errors are named as in the Java SDK.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
from moto.stepfunctions.parser.api import (
    HistoryEventExecutionDataDetails,
    HistoryEventType,
    TaskSubmittedEventDetails,
)
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
    FailureEventException,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
    state_task_service as plain,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
    state_task_service_callback as callback,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.resource import (
    ResourceCondition,
)

from ..clients import Clients
from .moto.interpreter import failure
from .workflow_definition import parameters_of

log = logging.getLogger(__name__)

_POLL_SECONDS: Final = 0.1
_ENDED = ("Completed", "Failed", "Stopped")


def factory(original: Callable[..., Any], clients: Clients) -> Callable[..., Any]:
    """Wrap moto's factory of service tasks so that it knows SageMaker and nested workflows.

    Parameters
    ----------
    original : callable
        moto's ``state_task_service_for``.
    clients : Clients
        For the tasks.
    """
    ours = {"sagemaker": ProcessingJobTask, "states": NestedExecutionTask}

    def state_task_service_for(service_name: str) -> Any:
        kind = ours.get(service_name)
        return kind(clients) if kind else original(service_name=service_name)

    return state_task_service_for


class _SyncTask(callback.StateTaskServiceCallback):  # type: ignore[misc,unused-ignore]
    """A task that starts something and, with `.sync`, waits until that has ended."""

    service: str
    error_prefix: str
    java_name: str
    # The modelled errors of the service; every other one has the name of its Java base class.
    modelled: Mapping[str, str]
    base_error: str

    def __init__(self, clients: Clients) -> None:
        patterns = (ResourceCondition.Sync, ResourceCondition.Sync2)
        super().__init__(supported_integration_patterns=set(patterns))
        self._clients = clients

    def start(self, client: Any, given: dict[str, Any]) -> dict[str, Any]:
        """Call the API; the answer is the output of a task that does not wait."""
        raise NotImplementedError

    def look(self, client: Any, started: dict[str, Any]) -> tuple[bool, dict[str, Any]] | None:
        """Return whether what was started has succeeded and its description; None: it runs."""
        raise NotImplementedError

    def stop(self, client: Any, started: dict[str, Any]) -> None:
        """Stop what was started."""
        raise NotImplementedError

    def _get_supported_parameters(self) -> set[str] | None:
        known = parameters_of(f"{self.resource.service_name}:{self.resource.api_action}")
        return set(known[0]) if known else None

    def _eval_service_task(
        self,
        env: Any,
        resource_runtime_part: Any,
        normalised_parameters: dict[str, Any],
        state_credentials: Any,
    ) -> None:
        client = self._client(resource_runtime_part.region, state_credentials)
        env.stack.append(self.start(client, normalised_parameters))

    def _after_eval_execution(
        self,
        env: Any,
        resource_runtime_part: Any,
        normalised_parameters: dict[str, Any],
        state_credentials: Any,
    ) -> None:
        # moto's own ends in interrupt_all() of a callback endpoint that only tasks with a token
        # have; a task that is sync and nothing else crashes there.
        if self.resource.condition is not None:
            self._note_submitted(env)
            client = self._client(resource_runtime_part.region, state_credentials)
            started = {**normalised_parameters, **env.stack[-1]}
            while (ended := self.look(client, started)) is None and env.is_running():
                time.sleep(_POLL_SECONDS)
            if ended is None:  # time-out, or somebody stopped the execution
                self._stop_quietly(client, started)
                return
            env.stack.pop()
            succeeded, description = ended
            if not succeeded:
                cause = json.dumps(description, separators=(",", ":"), ensure_ascii=False)
                raise FailureEventException(self._failed(env, "States.TaskFailed", cause))
            env.stack.append(description)
        plain.StateTaskService._after_eval_execution(
            self, env, resource_runtime_part, normalised_parameters, state_credentials
        )

    def _client(self, region: str, state_credentials: Any) -> Any:
        role = str(state_credentials.role_arn)
        return self._clients.as_role(role, region).get(self.service, region)

    def _note_submitted(self, env: Any) -> None:
        details = TaskSubmittedEventDetails(
            resource=self._get_sfn_resource(),
            resourceType=self._get_sfn_resource_type(),
            output=json.dumps(env.stack[-1], separators=(",", ":")),
            outputDetails=HistoryEventExecutionDataDetails(truncated=False),
        )
        env.event_manager.add_event(
            context=env.event_history_context,
            event_type=HistoryEventType.TaskSubmitted,
            event_details={"taskSubmittedEventDetails": details},
        )

    def _stop_quietly(self, client: Any, started: dict[str, Any]) -> None:
        try:
            self.stop(client, started)
        except ClientError as error:
            log.info("%s was not stopped: %s", started, error)

    def _failed(self, env: Any, error: str, cause: str) -> Any:
        event = failure(env, error, cause, "TaskFailed").failure_event
        event.event_details["taskFailedEventDetails"] |= {
            "resource": self._get_sfn_resource(),
            "resourceType": self._get_sfn_resource_type(),
        }
        return event

    def _from_error(self, env: Any, ex: Exception) -> Any:
        if isinstance(ex, ClientError):
            details, meta = ex.response["Error"], ex.response["ResponseMetadata"]
            name = self.modelled.get(details["Code"], self.base_error)
            cause = (
                f"{details['Message']} (Service: {self.java_name}; Status Code: "
                f"{meta['HTTPStatusCode']}; Error Code: {details['Code']}; Request ID: "
                f"{meta.get('RequestId', '')}; Proxy: null)"
            )
            return self._failed(env, f"{self.error_prefix}.{name}Exception", cause)
        if isinstance(ex, ParamValidationError | TypeError | BotoCoreError):
            # What the client cannot even send, AWS refuses while it fills in the parameters.
            return self._failed(env, "States.Runtime", str(ex))
        return super()._from_error(env=env, ex=ex)


class ProcessingJobTask(_SyncTask):
    """``states:::sagemaker:createProcessingJob``."""

    service = "sagemaker"
    error_prefix, java_name, base_error = "SageMaker", "AmazonSageMaker", "AmazonSageMaker"
    modelled: Mapping[str, str] = {
        "ConflictException": "Conflict",
        "ResourceInUse": "ResourceInUse",
        "ResourceLimitExceeded": "ResourceLimitExceeded",
        "ResourceNotFound": "ResourceNotFound",
    }

    def start(self, client: Any, given: dict[str, Any]) -> dict[str, Any]:
        """Create the job."""
        answer = dict(client.create_processing_job(**given))
        meta = answer.pop("ResponseMetadata", {})
        return answer | {
            "SdkResponseMetadata": {"RequestId": meta.get("RequestId", "")},
            "SdkHttpMetadata": {"HttpStatusCode": meta.get("HTTPStatusCode", 200)},
        }

    def look(self, client: Any, started: dict[str, Any]) -> tuple[bool, dict[str, Any]] | None:
        """Return a job that has ended."""
        job = client.describe_processing_job(ProcessingJobName=started["ProcessingJobName"])
        status = job["ProcessingJobStatus"]
        if status not in _ENDED:
            return None
        job.pop("ResponseMetadata", None)
        return status == "Completed", json.loads(json.dumps(job, default=_milliseconds))

    def stop(self, client: Any, started: dict[str, Any]) -> None:
        """Stop the job, which may have ended already."""
        client.stop_processing_job(ProcessingJobName=started["ProcessingJobName"])


class NestedExecutionTask(_SyncTask):
    """``states:::states:startExecution``; with `.sync:2` input and output are JSON, else text."""

    service = "stepfunctions"
    error_prefix, java_name, base_error = "StepFunctions", "AWSStepFunctions", "AWSStepFunctions"
    modelled: Mapping[str, str] = {
        name: name
        for name in (
            "ExecutionAlreadyExists",
            "ExecutionLimitExceeded",
            "InvalidArn",
            "InvalidExecutionInput",
            "InvalidName",
            "StateMachineDeleting",
            "StateMachineDoesNotExist",
        )
    }

    def start(self, client: Any, given: dict[str, Any]) -> dict[str, Any]:
        """Start the execution."""
        named = {f"{name[0].lower()}{name[1:]}": value for name, value in given.items()}
        if not isinstance(named.get("input", ""), str):
            named["input"] = json.dumps(named["input"], separators=(",", ":"), ensure_ascii=False)
        return self._described(client.start_execution(**named))

    def look(self, client: Any, started: dict[str, Any]) -> tuple[bool, dict[str, Any]] | None:
        """Return an execution that has ended."""
        answer = client.describe_execution(executionArn=started["ExecutionArn"])
        if answer["status"] in ("RUNNING", "PENDING_REDRIVE"):
            return None
        if self.resource.condition == ResourceCondition.Sync2:
            answer |= {
                name: json.loads(answer[name]) for name in ("input", "output") if name in answer
            }
        return answer["status"] == "SUCCEEDED", self._described(answer)

    def stop(self, client: Any, started: dict[str, Any]) -> None:
        """Stop the execution."""
        client.stop_execution(executionArn=started["ExecutionArn"])

    @staticmethod
    def _described(answer: dict[str, Any]) -> dict[str, Any]:
        """Return an answer of the API as Step Functions hands it on."""
        named = {
            f"{name[0].upper()}{name[1:]}": value
            for name, value in answer.items()
            if name != "ResponseMetadata"
        }
        return dict(json.loads(json.dumps(named, default=_milliseconds)))


def _milliseconds(value: Any) -> Any:
    # Jackson writes dates as milliseconds since the epoch.
    if isinstance(value, datetime):
        return int(value.timestamp() * 1000)
    raise TypeError(type(value).__name__)
