"""The state machine task `sagemaker:createProcessingJob`, which moto's interpreter lacks.

The task calls the SageMaker API of this very server, with the region of the execution, so a job
from a state machine passes the same examination as one from boto3. With `.sync` it polls until the
job has ended: Completed gives the job's description, Failed and Stopped raise `States.TaskFailed`
with the description as the cause. Errors of the API are named as Step Functions names them, after
the Java SDK: `SageMaker.AmazonSageMakerException` unless the model has the error.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
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
    state_task_service as plain_module,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
    state_task_service_callback as callback_module,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.resource import (
    ResourceCondition,
)

from .asl import PROCESSING_JOB_PARAMETERS
from .clients import Clients
from .nestedtask import NestedExecutionTask
from .taskfailure import task_failed

log = logging.getLogger(__name__)

_POLL_SECONDS: Final = 0.1
# SageMaker's modelled errors, and the names that Step Functions gives them.
_ERROR_NAMES = {
    "ConflictException": "SageMaker.ConflictException",
    "ResourceInUse": "SageMaker.ResourceInUseException",
    "ResourceLimitExceeded": "SageMaker.ResourceLimitExceededException",
    "ResourceNotFound": "SageMaker.ResourceNotFoundException",
}


class ProcessingJobTask(
    callback_module.StateTaskServiceCallback  # type: ignore[misc,unused-ignore]
):
    """A Task state whose resource is ``states:::sagemaker:createProcessingJob`` or its `.sync`.

    Parameters
    ----------
    clients : Clients
        Gives the SageMaker client of the execution's region and role.
    """

    def __init__(self, clients: Clients) -> None:
        super().__init__(supported_integration_patterns={ResourceCondition(ResourceCondition.Sync)})
        self._clients = clients

    def _get_supported_parameters(self) -> set[str] | None:
        if self.resource.api_action != "createProcessingJob":
            return None
        return set(PROCESSING_JOB_PARAMETERS)

    def _eval_service_task(
        self,
        env: Any,
        resource_runtime_part: Any,
        normalised_parameters: dict[str, Any],
        state_credentials: Any,
    ) -> None:
        client = self._client(resource_runtime_part.region, state_credentials)
        response = client.create_processing_job(**normalised_parameters)
        meta = response.pop("ResponseMetadata", {})
        response["SdkResponseMetadata"] = {"RequestId": meta.get("RequestId", "")}
        response["SdkHttpMetadata"] = {"HttpStatusCode": meta.get("HTTPStatusCode", 200)}
        env.stack.append(response)

    def _after_eval_execution(
        self,
        env: Any,
        resource_runtime_part: Any,
        normalised_parameters: dict[str, Any],
        state_credentials: Any,
    ) -> None:
        # moto's own version ends in `_eval_integration_pattern`, which calls interrupt_all() on a
        # callback endpoint that only tasks with a token have (5.2.5): a task that is sync and
        # nothing else crashes there. This one polls instead.
        if self.resource.condition is not None:
            self._note_submitted(env)
            client = self._client(resource_runtime_part.region, state_credentials)
            if not self._wait(env, client, str(normalised_parameters["ProcessingJobName"])):
                return
        plain_module.StateTaskService._after_eval_execution(
            self, env, resource_runtime_part, normalised_parameters, state_credentials
        )

    def _client(self, region: str, state_credentials: Any) -> Any:
        role = str(state_credentials.role_arn)
        return self._clients.as_role(role, region).get("sagemaker", region)

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

    def _wait(self, env: Any, client: Any, name: str) -> bool:
        """Put the finished job on top of the stack; False when the state has ended before it."""
        while env.is_running():
            job = client.describe_processing_job(ProcessingJobName=name)
            if job["ProcessingJobStatus"] in ("Completed", "Failed", "Stopped"):
                env.stack.pop()
                env.stack.append(self._outcome(env, job))
                return True
            time.sleep(_POLL_SECONDS)
        # Time-out, or somebody stopped the execution: the job goes with it.
        stop_quietly(client, name)
        return False

    def _outcome(self, env: Any, job: dict[str, Any]) -> dict[str, Any]:
        job.pop("ResponseMetadata", None)
        description = json.loads(json.dumps(job, default=_java_value))
        if job["ProcessingJobStatus"] == "Completed":
            return dict(description)
        cause = json.dumps(description, separators=(",", ":"), ensure_ascii=False)
        raise FailureEventException(task_failed(self, env, "States.TaskFailed", cause))

    def _from_error(self, env: Any, ex: Exception) -> Any:
        if isinstance(ex, ClientError):
            return task_failed(self, env, error_name(ex), java_cause(ex))
        if isinstance(ex, ParamValidationError | TypeError | BotoCoreError):
            # What the client cannot even send, AWS refuses while it fills in the parameters.
            return task_failed(self, env, "States.Runtime", str(ex))
        return super()._from_error(env=env, ex=ex)


def error_name(error: ClientError) -> str:
    """Name an API error as Step Functions does, such as ``SageMaker.AmazonSageMakerException``."""
    code = error.response["Error"]["Code"]
    return _ERROR_NAMES.get(code, "SageMaker.AmazonSageMakerException")


def java_cause(error: ClientError) -> str:
    """Write an API error as the Java SDK prints it, which is what the cause of a failure holds."""
    details, meta = error.response["Error"], error.response["ResponseMetadata"]
    return (
        f"{details['Message']} (Service: AmazonSageMaker; Status Code: "
        f"{meta['HTTPStatusCode']}; Error Code: {details['Code']}; Request ID: "
        f"{meta.get('RequestId', '')}; Proxy: null)"
    )


def stop_quietly(client: Any, name: str) -> None:
    """Stop a job that may have ended already."""
    try:
        client.stop_processing_job(ProcessingJobName=name)
    except ClientError as error:
        log.info("Job %s was not stopped: %s", name, error)


def factory(original: Callable[..., Any], clients: Clients) -> Callable[..., Any]:
    """Wrap moto's factory of service tasks so that it knows SageMaker and nested workflows.

    Parameters
    ----------
    original : callable
        moto's ``state_task_service_for``.
    clients : Clients
        For the tasks.
    """

    def state_task_service_for(service_name: str) -> Any:
        if service_name == "sagemaker":
            return ProcessingJobTask(clients)
        if service_name == "states":
            return NestedExecutionTask(
                lambda region, role: clients.as_role(role, region).get("stepfunctions", region)
            )
        return original(service_name=service_name)

    return state_task_service_for


def _java_value(value: Any) -> Any:
    # Jackson writes dates as milliseconds since the epoch.
    if isinstance(value, datetime):
        return int(value.timestamp() * 1000)
    raise TypeError(type(value).__name__)
