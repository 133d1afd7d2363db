"""The role of a backfill's state machine, and what whoever runs `batcat backfill` may do.

A backfill has a stack, a state machine and a role of its own: everyday runs keep their small
policies. Sources: Step Functions developer guide, "IAM policies for using Distributed Map states"
and "IAM policies for AWS Step Functions" (nested workflows).
"""

from __future__ import annotations

from batcat_runtime.config import Config
from batcat_runtime.deploy.naming import Names
from batcat_runtime.deploy.policies.deployer import role_making
from batcat_runtime.deploy.policies.document import (
    Document,
    allow,
    kms_key,
    pass_role,
    steps_of,
)

LABEL = "windows"  # of the Map state, so of its children's ARNs
_RULE = "rule/StepFunctionsGetEventsForStepFunctionsExecutionRule"


def backfill_statements(config: Config, names: Names, account: str) -> list[Document]:
    """Return what the state machine of a purpose's backfills may do."""
    machine, workflow = names.backfill_machine, names.state_machine
    windows = f"{config.result_s3_bucket}/{names.backfill_prefix}/*"
    # The other form is that of Express workflows; without it, linters miss a resource.
    express = names.arn("states", f"express:{workflow}:*:*", account)
    return [
        allow(
            "RunTheWorkflowAndItself",
            "states:StartExecution",
            [
                names.arn("states", f"stateMachine:{workflow}", account),
                names.arn("states", f"stateMachine:{machine}", account),
            ],
        ),
        allow(
            "WaitForThemAndStopThem",
            ["states:DescribeExecution", "states:StopExecution"],
            [
                names.arn("states", f"execution:{workflow}:*", account),
                names.arn("states", f"execution:{machine}:*", account),
                names.arn("states", f"execution:{machine}/{LABEL}:*", account),
                express,
            ],
        ),
        allow(
            "HearWhenTheyEnd",
            ["events:DescribeRule", "events:PutRule", "events:PutTargets"],
            names.arn("events", _RULE, account),
        ),
        allow("ReadTheWindows", "s3:GetObject", names.arn("s3", windows, "", region="")),
    ]


def backfiller_statements(
    config: Config, names: Names, account: str, role: str, *, created: bool
) -> list[Document]:
    """Return what running `batcat backfill` takes.

    Parameters
    ----------
    config : Config
        The project.
    names : Names
        The purpose's.
    account : str
        The account.
    role : str
        The ARN of the backfill's role.
    created : bool
        Whether the stack creates it.
    """
    machine, workflow = names.backfill_machine, names.state_machine
    bucket = config.result_s3_bucket
    its_machine = names.arn("states", f"stateMachine:{machine}", account)
    map_runs = names.arn("states", f"mapRun:{machine}/{LABEL}:*", account)
    children = names.arn("states", f"execution:{machine}/{LABEL}:*", account)
    executions = [
        names.arn("states", f"execution:{machine}:*", account),
        names.arn("states", f"execution:{workflow}:*", account),
    ]
    statements = [
        allow(
            "TheBackfillsStack",
            [
                "cloudformation:CreateChangeSet",
                "cloudformation:DeleteChangeSet",
                "cloudformation:DeleteStack",
                "cloudformation:DescribeChangeSet",
                "cloudformation:DescribeStackEvents",
                "cloudformation:DescribeStacks",
                "cloudformation:ExecuteChangeSet",
            ],
            names.arn("cloudformation", f"stack/{names.backfill_stack}/*", account),
        ),
        allow(
            "TheBackfill",
            [
                "states:CreateStateMachine",
                "states:DeleteStateMachine",
                "states:DescribeStateMachine",
                "states:ListTagsForResource",
                "states:StartExecution",
                "states:TagResource",
                "states:UntagResource",
                "states:UpdateStateMachine",
            ],
            its_machine,
        ),
        allow(
            "SeeWhatRuns",
            "states:ListExecutions",
            [
                its_machine,
                names.arn("states", f"stateMachine:{workflow}", account),
                map_runs,
            ],
        ),
        allow("CountWindows", "states:DescribeMapRun", map_runs),
        allow("FindItsMapRun", "states:ListMapRuns", executions[0]),
        allow(
            "SeeAndStop",
            ["states:DescribeExecution", "states:StopExecution"],
            [*executions, children, names.arn("states", f"express:{workflow}:*:*", account)],
        ),
        allow(
            "WriteTheWindows",
            ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:PutObject"],
            names.arn("s3", f"{bucket}/{names.backfill_prefix}/*", "", region=""),
        ),
        allow("FindResults", "s3:ListBucket", names.arn("s3", bucket, "", region="")),
        allow(
            "ReadManifests",
            "s3:GetObject",
            [
                names.arn("s3", f"{bucket}/{names.result_prefix}/*", "", region=""),
                names.arn("s3", f"{bucket}/{names.backfill_prefix}/*", "", region=""),
            ],
        ),
        pass_role("TheBackfillGetsItsRole", role, "states"),
    ]
    outputs = {config.kms_of(names.purpose, step).output for step in steps_of(config, names)}
    for number, key in enumerate(sorted(one for one in outputs if one), 1):
        statements.append(
            kms_key(f"DecryptManifests{number}", ["kms:Decrypt"], key, names, account)
        )
    return statements + (role_making("BackfillRole", config, [role]) if created else [])
