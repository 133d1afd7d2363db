"""How a task of the embedded Step Functions fails: the event that its history gets."""

from __future__ import annotations

from typing import Any

from moto.stepfunctions.parser.api import HistoryEventType, TaskFailedEventDetails
from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import (
    CustomErrorName,
)
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import (
    StatesErrorName,
)
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import (
    StatesErrorNameType,
)


def task_failed(task: Any, env: Any, error: str, cause: str) -> Any:
    """Return the event of a task that failed, under any error name.

    Parameters
    ----------
    task : moto's StateTaskService
        Which task.
    env : moto's Environment
        Of the execution.
    error, cause : str
        Why.
    """
    details = TaskFailedEventDetails(
        resource=task._get_sfn_resource(),
        resourceType=task._get_sfn_resource_type(),
        error=error,
        cause=cause,
    )
    event: Any = {"taskFailedEventDetails": details}
    known = next((one for one in StatesErrorNameType if one.to_name() == error), None)
    return FailureEvent(
        env=env,
        error_name=StatesErrorName(known) if known else CustomErrorName(error),
        event_type=HistoryEventType.TaskFailed,
        event_details=event,
    )
