"""The project's stacks as CloudFormation has them, and whether a stack is the project's at all."""

from __future__ import annotations

from dataclasses import dataclass

from botocore.exceptions import ClientError

from batcat_runtime.deploy.parameters import tags_of
from batcat_runtime.operate.project import Project

# States in which a stack holds what its template says.
STANDING = frozenset(
    {
        "CREATE_COMPLETE",
        "UPDATE_COMPLETE",
        "UPDATE_ROLLBACK_COMPLETE",
        "IMPORT_COMPLETE",
        "IMPORT_ROLLBACK_COMPLETE",
    }
)
# States in which it holds nothing: it was never executed, or its creation was undone.
EMPTY = frozenset({"REVIEW_IN_PROGRESS", "ROLLBACK_COMPLETE"})


@dataclass(frozen=True)
class DeployedStack:
    """A stack that exists.

    Attributes
    ----------
    name, arn : str
        The ARN stays valid after the stack was deleted.
    status, reason : str
        Such as ``UPDATE_COMPLETE``; the reason is often empty.
    description : str
        Its template's.
    tags : dict of str to str
        The stack's.
    parameters : dict of str to str
        What its template was given.
    protected : bool
        Whether termination protection is on.
    """

    name: str
    arn: str
    status: str
    reason: str
    description: str
    tags: dict[str, str]
    parameters: dict[str, str]
    protected: bool

    @property
    def busy(self) -> bool:
        """Whether an operation is under way."""
        return self.status.endswith("_IN_PROGRESS") and self.status not in EMPTY


def find_stack(project: Project, name: str) -> DeployedStack | None:
    """Return a stack by name or ARN, or None when there is none.

    Of a deleted stack, only the ARN finds it: its status is ``DELETE_COMPLETE`` then.
    """
    client = project.client("cloudformation")
    with project.asked(f"the stack {name}", "cloudformation:DescribeStacks"):
        try:
            found = client.describe_stacks(StackName=name)["Stacks"][0]
        except ClientError as error:
            if "does not exist" in error.response["Error"].get("Message", ""):
                return None
            raise
    return DeployedStack(
        name=found["StackName"],
        arn=found["StackId"],
        status=found["StackStatus"],
        reason=found.get("StackStatusReason") or "",
        description=found.get("Description") or "",
        tags={one["Key"]: one["Value"] for one in found.get("Tags", [])},
        parameters={
            one["ParameterKey"]: one.get("ParameterValue", "")
            for one in found.get("Parameters", [])
        },
        protected=bool(found.get("EnableTerminationProtection")),
    )


def is_ours(project: Project, stack: DeployedStack) -> bool:
    """Tell whether a stack of one of the project's names was made for this project.

    Its tags say so. A stack that was never executed may have none.
    """
    ours = tags_of(project.config)
    if all(stack.tags.get(key) == ours[key] for key in ("batcat:project", "batcat:bucket")):
        return True
    return stack.status == "REVIEW_IN_PROGRESS" and not stack.description and not stack.tags
