"""Whoever runs ``deploy/deploy.sh``: the stacks, and what CloudFormation does with their rights.

CloudFormation calls every service as its caller, so the deployer needs each action that making,
changing and undoing a resource takes. All of them name this project's resources and nothing else.
There is one document for the project and one for each purpose: a managed policy holds 6,144
characters. With given roles, no action of IAM is in them but passing those roles on.
"""

from __future__ import annotations

from batcat_runtime.config import Config
from batcat_runtime.deploy.naming import Names
from batcat_runtime.deploy.policies.document import (
    NO_RESOURCES,
    Document,
    allow,
    pass_role,
    result_tables,
)

_STACK = [
    "cloudformation:ContinueUpdateRollback",
    "cloudformation:CreateChangeSet",
    "cloudformation:DeleteChangeSet",
    "cloudformation:DeleteStack",
    "cloudformation:DescribeChangeSet",
    "cloudformation:DescribeStackEvents",
    "cloudformation:DescribeStacks",
    "cloudformation:ExecuteChangeSet",
    "cloudformation:GetTemplate",
    "cloudformation:ListStackResources",
]
_ROLE = [
    "iam:DeleteRole",
    "iam:DeleteRolePolicy",
    "iam:GetRole",
    "iam:GetRolePolicy",
    "iam:ListAttachedRolePolicies",
    "iam:ListRolePolicies",
    "iam:TagRole",
    "iam:UntagRole",
    "iam:UpdateAssumeRolePolicy",
    "iam:UpdateRole",
]


def project_statements(names: Names, account: str, bucket: str) -> list[Document]:
    """Return what deploying what all purposes share takes: repository, image, a look at the bucket.

    Parameters
    ----------
    names : Names
        Of any purpose.
    account : str
        The account.
    bucket : str
        The result bucket.
    """
    from batcat_runtime.deploy.codebuild import builder_stack  # which needs the roles

    repository = names.arn("ecr", f"repository/{names.repository}", account)
    # DeleteDatabase is also asked for what could be in it (AWS Glue developer guide, "Specifying
    # AWS Glue resource ARNs").
    tables = [
        *result_tables(names, account),
        names.arn("glue", f"userDefinedFunction/{names.database}/*", account),
    ]
    return [
        stack_changes("TheProjectsStack", [names.project_stack], names, account),
        allow(
            "TheRepository",
            [
                "ecr:CreateRepository",
                "ecr:DeleteRepository",
                "ecr:DescribeImages",
                "ecr:DescribeRepositories",
                "ecr:GetLifecyclePolicy",
                "ecr:GetRepositoryPolicy",
                "ecr:ListTagsForResource",
                "ecr:PutImageScanningConfiguration",
                "ecr:PutImageTagMutability",
                "ecr:PutLifecyclePolicy",
                "ecr:TagResource",
                "ecr:UntagResource",
            ],
            repository,
        ),
        allow(
            "PushTheImage",
            [
                "ecr:BatchCheckLayerAvailability",
                "ecr:BatchGetImage",
                "ecr:CompleteLayerUpload",
                "ecr:InitiateLayerUpload",
                "ecr:PutImage",
                "ecr:UploadLayerPart",
            ],
            repository,
        ),
        allow(
            "IsThereABuilder",
            "cloudformation:DescribeStacks",
            names.arn("cloudformation", f"stack/{builder_stack(names)}/*", account),
        ),
        allow(
            "RemoveTheResultTables",
            ["glue:DeleteDatabase", "glue:DeleteTable", "glue:GetDatabase", "glue:GetTables"],
            tables,
        ),
        allow("SeeTheResultBucket", "s3:ListBucket", names.arn("s3", bucket, "", region="")),
        allow(f"RegistryLogins{NO_RESOURCES}", "ecr:GetAuthorizationToken", "*"),
        allow(f"DefinitionChecks{NO_RESOURCES}", "states:ValidateStateMachineDefinition", "*"),
        allow(f"LogGroupLists{NO_RESOURCES}", "logs:DescribeLogGroups", "*"),
        allow(f"StackLists{NO_RESOURCES}", "cloudformation:ListStacks", "*"),
    ]


def purpose_statements(
    config: Config, names: Names, account: str, roles: dict[str, str], created: list[str]
) -> list[Document]:
    """Return what deploying a purpose takes.

    Parameters
    ----------
    config : Config
        The project.
    names : Names
        The purpose's.
    account : str
        The account.
    roles : dict of str to str
        The ARN of each role of the purpose.
    created : list of str
        ARNs of those roles that the stacks create.
    """
    machine = names.arn("states", f"stateMachine:{names.state_machine}", account)
    function = names.arn("lambda", f"function:{names.function}", account)
    groups = [
        names.arn("logs", f"log-group:{one}", account)
        for one in (names.workflow_log_group, names.function_log_group)
    ]
    statements = [
        stack_changes(
            "ThePurposesStacks", [names.workflow_stack, names.trigger_stack], names, account
        ),
        allow(
            "TheWorkflow",
            [
                "states:CreateStateMachine",
                "states:DeleteStateMachine",
                "states:DescribeStateMachine",
                "states:ListTagsForResource",
                "states:TagResource",
                "states:UntagResource",
                "states:UpdateStateMachine",
            ],
            machine,
        ),
        allow(
            "SeeWhatRuns",
            "states:ListExecutions",
            [machine, names.arn("states", f"mapRun:{names.state_machine}/*:*", account)],
        ),
        allow(
            "StopWhatRuns",
            "states:StopExecution",
            names.arn("states", f"execution:{names.state_machine}:*", account),
        ),
        allow(
            "IsThereABackfill",
            "cloudformation:DescribeStacks",
            names.arn("cloudformation", f"stack/{names.backfill_stack}/*", account),
        ),
        allow(
            "TheTrigger",
            [
                "lambda:CreateFunction",
                "lambda:DeleteFunction",
                "lambda:GetFunction",
                "lambda:GetFunctionCodeSigningConfig",
                "lambda:GetFunctionRecursionConfig",
                "lambda:GetRuntimeManagementConfig",
                "lambda:ListTags",
                "lambda:TagResource",
                "lambda:UntagResource",
                "lambda:UpdateFunctionCode",
                "lambda:UpdateFunctionConfiguration",
            ],
            function,
        ),
        allow(
            "TheLogs",
            [
                "logs:CreateLogGroup",
                "logs:DeleteLogGroup",
                "logs:ListTagsForResource",
                "logs:PutRetentionPolicy",
                "logs:TagResource",
                "logs:UntagResource",
            ],
            # A group is called with and without what stands for its streams.
            [*groups, *(f"{one}:*" for one in groups)],
        ),
        pass_role("WorkflowsGetTheirRole", roles["workflow"], "states"),
        pass_role("FunctionsGetTheirRole", roles["trigger"], "lambda"),
    ]
    purpose = config.purposes[names.purpose]
    if purpose.schedule is not None:
        statements += _schedule(names, account, roles["schedule"])
    if purpose.s3_trigger is not None:
        statements += _events(names, account, function, purpose.s3_trigger.bucket)
    if created:
        statements += role_making("Roles", config, created)
    return statements


def stack_changes(sid: str, stacks: list[str], names: Names, account: str) -> Document:
    """Return what making, changing and undoing stacks takes."""
    arns = [names.arn("cloudformation", f"stack/{one}/*", account) for one in stacks]
    return allow(sid, _STACK, arns)


def role_making(what: str, config: Config, arns: list[str]) -> list[Document]:
    """Return what making roles takes; with a boundary, none is made or empowered without it."""
    making, limit = ["iam:CreateRole", "iam:PutRolePolicy"], config.permissions_boundary
    if limit is None:
        return [allow(f"The{what}", [*_ROLE, *making], arns)]
    bounded = {"StringEquals": {"iam:PermissionsBoundary": limit}}
    making.append("iam:PutRolePermissionsBoundary")
    return [
        allow(f"The{what}", _ROLE, arns),
        allow(f"Bounded{what}", making, arns, bounded),
    ]


def _schedule(names: Names, account: str, role: str) -> list[Document]:
    return [
        allow(
            "TheSchedule",
            [
                "scheduler:CreateSchedule",
                "scheduler:DeleteSchedule",
                "scheduler:GetSchedule",
                "scheduler:UpdateSchedule",
            ],
            names.arn("scheduler", f"schedule/default/{names.schedule}", account),
        ),
        pass_role("SchedulesGetTheirRole", role, "scheduler"),
    ]


def _events(names: Names, account: str, function: str, bucket: str) -> list[Document]:
    return [
        allow(
            "LetTheBucketReport",
            ["s3:GetBucketNotification", "s3:PutBucketNotification"],
            names.arn("s3", bucket, "", region=""),
        ),
        allow(
            "TheEventRule",
            [
                "events:DeleteRule",
                "events:DescribeRule",
                "events:ListTargetsByRule",
                "events:PutRule",
                "events:PutTargets",
                "events:RemoveTargets",
                "events:TagResource",
            ],
            names.arn("events", f"rule/{names.rule}", account),
        ),
        allow(
            "LetTheRuleInvokeIt",
            ["lambda:AddPermission", "lambda:GetPolicy", "lambda:RemovePermission"],
            function,
        ),
    ]


def builder_statements(config: Config, names: Names, account: str) -> list[Document]:
    """Return what building the image with AWS CodeBuild takes, where no container tool is."""
    from batcat_runtime.deploy import codebuild  # which needs the roles, and these the deployer

    project = codebuild.builder_project(names)
    build = names.arn("codebuild", f"project/{project}", account)
    group = names.arn("logs", f"log-group:/aws/codebuild/{project}", account)
    source = f"{config.result_s3_bucket}/{codebuild.source_prefix(names)}*"
    role = config.build_role or names.arn(
        "iam", f"role/{codebuild.build_role_name(names)}", account, region=""
    )
    statements = [
        stack_changes("TheBuildersStack", [codebuild.builder_stack(names)], names, account),
        allow(
            "TheBuilder",
            [
                "codebuild:BatchGetBuilds",
                "codebuild:BatchGetProjects",
                "codebuild:CreateProject",
                "codebuild:DeleteProject",
                "codebuild:StartBuild",
                "codebuild:UpdateProject",
            ],
            build,
        ),
        allow(
            "ItsLog",
            [
                "logs:CreateLogGroup",
                "logs:DeleteLogGroup",
                "logs:GetLogEvents",
                "logs:ListTagsForResource",
                "logs:PutRetentionPolicy",
                "logs:TagResource",
            ],
            [group, f"{group}:*"],
        ),
        allow(
            "ItsSource",
            ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:PutObject"],
            names.arn("s3", source, "", region=""),
        ),
        pass_role("BuildsGetTheirRole", role, "codebuild"),
    ]
    if config.build_role is None:
        statements += role_making("BuildRole", config, [role])
    return statements
