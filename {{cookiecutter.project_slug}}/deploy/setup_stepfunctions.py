"""The workflow: authored here with the sagemaker and stepfunctions SDKs, deployed by CloudFormation
(workflow.yaml). Meant to be edited.

Every step of a purpose in script/config.json is one SageMaker processing job; steps that run side
by side are one Parallel state. Add states of your own in `author`, in plain SDK code; what fails
without a Catch of yours ends the execution as failed. What your states call in AWS needs rights:
WorkflowRole in roles.yaml.
"""

from __future__ import annotations

import sys

import batcat_runtime as bc
from batcat_runtime.deploy.project import run_as_script


def author(config: bc.Config, purpose: str):
    """Return the states of a purpose: its processing jobs, in their order."""
    from stepfunctions.steps import Chain

    return Chain(bc.processing_steps(config, purpose))


def main() -> None:
    """Deploy the workflow of every purpose."""
    config = bc.get_config()
    for purpose in config.purposes:
        bc.setup_workflow(config, purpose, author)


if __name__ == "__main__":
    sys.exit(run_as_script(main))
