"""The Lambda function's role, and the schedule's: one starts the workflow, one the function."""

from __future__ import annotations

from batcat_runtime.deploy.naming import Names
from batcat_runtime.deploy.policies.document import Document, allow


def trigger_statements(names: Names, account: str) -> list[Document]:
    """Return what the Lambda function of a purpose may do."""
    log_group = names.arn("logs", f"log-group:{names.function_log_group}", account)
    return [
        allow(
            "StartTheWorkflow",
            "states:StartExecution",
            names.arn("states", f"stateMachine:{names.state_machine}", account),
        ),
        allow("Log", ["logs:CreateLogStream", "logs:PutLogEvents"], f"{log_group}:*"),
    ]


def schedule_statements(names: Names, account: str) -> list[Document]:
    """Return what EventBridge Scheduler may do for a purpose."""
    return [
        allow(
            "InvokeTheTrigger",
            "lambda:InvokeFunction",
            names.arn("lambda", f"function:{names.function}", account),
        )
    ]
