"""Actions that no rehearsal shows, each with the page of AWS's that asks for it.

Every other action of a policy is one that a rehearsal records (a test takes each away in turn and
sees a call fail). docs/roles.md lists this table for whoever reviews the policies.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """Why an action is needed: the page that says so, and in a few words what for."""

    page: str
    url: str
    why: str


_SAGEMAKER = (
    "SageMaker AI developer guide, How to use SageMaker AI execution roles (CreateProcessingJob)",
    "https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html",
)
_UPLOADS = (
    "Amazon S3 user guide, Multipart upload API and permissions",
    "https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html",
)
_ECR = (
    "Amazon ECR user guide, IAM permissions for pushing an image",
    "https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html",
)
_SCHEMA = (
    "CloudFormation, permissions of the resource type's handlers (describe-type)",
    "https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-schema.html",
)
_CODEBUILD = (
    "CodeBuild user guide, CodeBuild permissions reference",
    "https://docs.aws.amazon.com/codebuild/latest/userguide/auth-and-access-control-permissions-reference.html",
)
_BUILD_ROLE = (
    "CodeBuild user guide, Allow CodeBuild to interact with other AWS services",
    "https://docs.aws.amazon.com/codebuild/latest/userguide/setting-up-service-role.html",
)


def _group(
    role: str, actions: tuple[str, ...], page: tuple[str, str], why: str
) -> dict[tuple[str, str], Source]:
    return {(role, action): Source(*page, why) for action in actions}


SOURCES: dict[tuple[str, str], Source] = {
    **_group(
        "job", ("logs:DescribeLogStreams",), _SAGEMAKER, "SageMaker looks for a job's log streams"
    ),
    **_group(
        "job", ("s3:AbortMultipartUpload",), _UPLOADS, "an upload that fails leaves no parts behind"
    ),
    **_group(
        "deployer",
        (
            "ecr:BatchCheckLayerAvailability",
            "ecr:CompleteLayerUpload",
            "ecr:InitiateLayerUpload",
            "ecr:UploadLayerPart",
        ),
        _ECR,
        "docker push uploads layers; the rehearsal's images have none",
    ),
    **_group(
        "deployer",
        (
            "ecr:GetLifecyclePolicy",
            "ecr:GetRepositoryPolicy",
            "events:ListTargetsByRule",
            "iam:GetRolePolicy",
            "lambda:GetFunction",
            "lambda:GetFunctionCodeSigningConfig",
            "lambda:GetFunctionRecursionConfig",
            "lambda:GetPolicy",
            "lambda:GetRuntimeManagementConfig",
            "logs:DescribeLogGroups",
        ),
        _SCHEMA,
        "CloudFormation reads a resource back after it has made or changed it",
    ),
    **_group(
        "deployer",
        ("codebuild:BatchGetProjects", "codebuild:UpdateProject"),
        _CODEBUILD,
        "CloudFormation changes the build project, and looks at it",
    ),
    **_group(
        "deployer",
        ("s3:AbortMultipartUpload",),
        _UPLOADS,
        "an upload of the build's source that fails leaves no parts behind",
    ),
    **_group(
        "build",
        (
            "ecr:BatchCheckLayerAvailability",
            "ecr:CompleteLayerUpload",
            "ecr:InitiateLayerUpload",
            "ecr:UploadLayerPart",
        ),
        _ECR,
        "docker push uploads layers; the rehearsal's images have none",
    ),
    **_group(
        "build",
        ("s3:GetObjectVersion",),
        _BUILD_ROLE,
        "the result bucket may keep versions",
    ),
    **_group(
        "backfiller",
        (
            "cloudformation:DeleteChangeSet",
            "cloudformation:DeleteStack",
            "iam:DeleteRole",
            "iam:DeleteRolePolicy",
            "iam:GetRolePolicy",
            "iam:ListAttachedRolePolicies",
            "iam:ListRolePolicies",
            "states:DeleteStateMachine",
        ),
        _SCHEMA,
        "CloudFormation undoes a backfill's stack that fails, and reads its role back",
    ),
    **_group(
        "backfiller",
        ("s3:AbortMultipartUpload", "s3:DeleteObject"),
        _UPLOADS,
        "a list of windows that is not needed after all leaves nothing behind",
    ),
}
