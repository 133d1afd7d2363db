"""The workflow of a purpose: authored with the SDKs, deployed by CloudFormation.

Stages: the project's ``setup_stepfunctions.py`` chains the purpose's steps, and states of its own;
`definition_of` renders the chain to Amazon States Language and adds as data what the SDK has no
word for; Step Functions checks it; ``deploy/build/`` and the bucket get it; the stacks of the roles
and of the workflow are deployed. In a definition the jobs' role is ``${JobRoleArn}`` and the image
``${ImageUri}``: ``workflow.yaml`` puts them in, so authoring asks AWS nothing.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import runpy
import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from batcat_runtime.account import check_bucket
from batcat_runtime.config import Config, get_config
from batcat_runtime.deploy.cloudformation import (
    check_python,
    deploy_part,
    deployed_stack,
    key_of,
    put_artifact,
    template_file,
)
from batcat_runtime.deploy.definition import Definition, definition_of
from batcat_runtime.deploy.image import kept_image, pinned_image
from batcat_runtime.deploy.parameters import (
    BUILD,
    given_roles,
    parameters_of,
    read_parameters,
    tags_of,
    write_parameters,
)
from batcat_runtime.deploy.processing import quiet_sdk
from batcat_runtime.deploy.spark import artifacts_of
from batcat_runtime.deploy.stack import NEW_ROLE, StackChange, outputs_of
from batcat_runtime.errors import StackError, WorkflowError
from batcat_runtime.io import clients
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.names import Names

Author = Callable[[Config, str], Any]


def setup_workflow(
    config: Config | None = None,
    purpose: str | None = None,
    author: Author | None = None,
) -> StackChange:
    """Deploy a purpose's workflow: its roles, its log group and its state machine.

    Parameters
    ----------
    config : Config, optional
        By default that of the project around the working directory.
    purpose : str, optional
        May be left out when the project has one.
    author : callable, optional
        Takes the configuration and the purpose's name and returns a state or chain of the
        stepfunctions SDK. By default that of the project's ``deploy/setup_stepfunctions.py``.

    Returns
    -------
    StackChange
        ``created``, ``updated`` or ``unchanged``. A changed definition updates the state machine;
        executions that run keep the old one.

    Raises
    ------
    NoSuchBucketError, BucketOwnerError, BucketRegionError
        The result bucket is missing, another account's or in another region; nothing was changed.
    WorkflowError
        AWS does not accept the definition.
    ImageError
        The image was not pushed yet.
    StackError
        CloudFormation rolled back.
    """
    config = config or get_config()
    purpose = config.purpose_name(purpose)
    check_bucket(config)
    definition = authored(config, purpose, author)
    image = pinned_image(config)
    *_, change = deploy_workflow(config, purpose, definition, image)
    return change


def deploy_workflow(
    config: Config,
    purpose: str,
    definition: Definition,
    image: str,
    *,
    planned: bool = False,
) -> Iterator[StackChange]:
    """Deploy the roles of a purpose, unless they are given, and its workflow; yield each."""
    validate_definition(clients.client("stepfunctions", region=config.region), definition)
    put = key_of if planned else put_artifact
    key = put(config, f"{purpose}.asl.json", _text(definition).encode())
    for name, data in artifacts_of(config, purpose):
        put(config, name, data)
    parameters = {
        **parameters_of(config, purpose),
        "DefinitionKey": key,
        "ImageUri": kept_image(config, purpose, key) or image,
    }
    pauses: Sequence[float] = ()
    if not given_roles(config):
        roles = deploy_part(config, "roles", parameters, purpose=purpose, planned=planned)
        pauses = NEW_ROLE if roles.outcome in ("created", "updated") else ()
        yield roles
    parameters |= roles_of(config, purpose, planned=planned)
    write_parameters(config, purpose, parameters)
    yield deploy_part(
        config,
        "workflow",
        parameters,
        purpose=purpose,
        planned=planned,
        pauses=pauses,
    )


def authored(config: Config, purpose: str, author: Author | None = None) -> Definition:
    """Make a purpose's definition, and write it to ``deploy/build/<purpose>.asl.json``.

    Parameters
    ----------
    config : Config
        The project.
    purpose : str
        The purpose's name.
    author : callable, optional
        By default that of the project's ``deploy/setup_stepfunctions.py``.
    """
    with quiet_sdk(config.region):
        chain = (author or author_of(config))(config, purpose)
        definition = definition_of(
            chain,
            comment=f"{config.title}: {purpose}",
            partition=config.partition,
            tags=tags_of(config, purpose),
        )
    path = config.folder / BUILD / f"{purpose}.asl.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_text(definition), encoding="utf-8")
    return definition


def author_of(config: Config) -> Author:
    """Return the function ``author`` of the project's ``deploy/setup_stepfunctions.py``."""
    path = config.folder / "deploy" / "setup_stepfunctions.py"
    check_python(path)
    author = runpy.run_path(str(path), run_name="setup_stepfunctions").get("author")
    if not callable(author):
        raise WorkflowError(
            f"{path} has no function author(config, purpose).",
            fix="Write one that returns the chain of states; the template has an example.",
        )
    return author  # type: ignore[no-any-return]


def roles_of(config: Config, purpose: str, *, planned: bool = False) -> dict[str, str]:
    """Return the ARNs of a purpose's roles: as given, or as the stack of the roles says.

    Raises
    ------
    StackError
        The roles are not deployed yet.
    """
    given = given_roles(config)
    if given:
        return given
    name = Names.of(config, purpose).stack("roles")
    found = outputs_of(deployed_stack(config, name))
    if not found and planned:
        kinds = ("Workflow", "Job", "Trigger")
        start = f"arn:{config.partition}:iam::000000000000:role"
        found = {f"{kind}RoleArn": f"{start}/{name}-{kind}Role" for kind in kinds}
    if not found:
        raise StackError(
            f"The roles of {purpose} are not deployed: there is no stack {name}.",
            fix="Run `batcat deploy`; or have an administrator deploy deploy/roles.yaml.",
        )
    return {**found, "ScheduleRoleArn": found["TriggerRoleArn"]}


def roles_commands(config: Config) -> Iterator[str]:
    """Yield what an administrator types to make the roles, and where their ARNs belong."""
    yield "# For who may make roles, in the project's folder:"
    for purpose in config.purposes:
        parameters = write_parameters(config, purpose, parameters_of(config, purpose))
        template = template_file(config, "roles", purpose)
        tags = " ".join(
            shlex.quote(f"{key}={text}") for key, text in tags_of(config, purpose).items()
        )
        yield (
            f"aws cloudformation deploy --region {config.region} --capabilities CAPABILITY_IAM "
            f"--template-file {template.relative_to(config.folder).as_posix()} "
            f"--stack-name {Names.of(config, purpose).stack('roles')} --parameter-overrides "
            f"file://{parameters.relative_to(config.folder).as_posix()} --tags {tags}"
        )
    yield (
        "# The outputs of each stack go into script/config.json, as workflow_execution_role, "
        "job_role and trigger_role."
    )


def validate_definition(client: Any, definition: Definition) -> None:
    """Let Step Functions itself check a definition before anything is changed.

    Raises
    ------
    WorkflowError
        It found errors; each is listed with its place.
    """
    with translated("the workflow", "states:ValidateStateMachineDefinition"):
        answer = client.validate_state_machine_definition(definition=json.dumps(definition))
    errors = [one for one in answer.get("diagnostics", []) if one.get("severity") == "ERROR"]
    if answer["result"] == "FAIL":
        raise WorkflowError(
            "Step Functions does not accept the workflow's definition:\n"
            + "\n".join(f"  - {one.get('location', '')}: {one['message']}" for one in errors),
            fix="Look at what deploy/setup_stepfunctions.py adds to the steps.",
        )


def definition_diff(config: Config, purpose: str) -> str:
    """Return how the definition in ``deploy/build/`` differs from the one that is deployed."""
    stack = deployed_stack(config, Names.of(config, purpose).workflow_stack)
    arn, before = outputs_of(stack).get("StateMachineArn"), ""
    states = clients.client("stepfunctions", region=config.region)
    if arn:
        with (
            translated(f"the workflow {arn}", "states:DescribeStateMachine"),
            contextlib.suppress(states.exceptions.StateMachineDoesNotExist),
        ):
            found = states.describe_state_machine(stateMachineArn=arn)
            before = _text(json.loads(found["definition"]))
    parameters = read_parameters(config, purpose)
    after = (config.folder / BUILD / f"{purpose}.asl.json").read_text("utf-8")
    for name in ("ImageUri", "JobRoleArn"):
        after = after.replace(f"${{{name}}}", parameters[name])
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=3, lineterm="")
    return "\n".join(list(lines)[2:])  # without the two lines of file names


def _text(definition: Definition) -> str:
    return json.dumps(definition, indent=2, ensure_ascii=False) + "\n"
