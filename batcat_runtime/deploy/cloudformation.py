"""From the project's CloudFormation to stacks: which file, with what code, under which name.

What ``aws cloudformation package`` does to a template is done here too: a folder or file that
``Code`` names is put into the bucket, and its place there written into the template.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from batcat_runtime.config import Config
from batcat_runtime.deploy.artifacts import key_of, put_artifact, zipped
from batcat_runtime.deploy.parameters import tags_of
from batcat_runtime.deploy.session import session_for
from batcat_runtime.deploy.stack import Stack, StackChange, deploy_stack
from batcat_runtime.errors import ConfigError
from batcat_runtime.log import report
from batcat_runtime.names import Names

_MOST_BYTES = 51_200  # CloudFormation's limit for a template in the request
_CODE = re.compile(r"^( +)Code: (\S+)/ *$", re.MULTILINE)


def deploy_part(
    config: Config,
    part: str,
    parameters: Mapping[str, str],
    *,
    purpose: str | None = None,
    planned: bool = False,
    pauses: Sequence[float] = (),
) -> StackChange:
    """Deploy one of the project's templates: ``project``, ``roles``, ``workflow``, ``trigger``...

    Parameters
    ----------
    config : Config
        The project.
    part : str
        The template's name without its ending.
    parameters : mapping of str to str
        See `parameters.parameters_of`.
    purpose : str, optional
        Whose stack it is; all purposes share it by default.
    planned, pauses
        See `stack.deploy_stack`.

    Raises
    ------
    ConfigError
        The file is missing.
    StackError
        CloudFormation rolled back, or the stack is not ours.
    """
    names = Names.of(config, purpose or next(iter(config.purposes)))
    shared = {"project": names.project_stack, "builder": names.builder_stack}
    stack = Stack(
        name=names.stack(part) if purpose else shared[part],
        template=_template(config, template_file(config, part, purpose), planned=planned),
        parameters=parameters,
        tags=tags_of(config, purpose),
    )
    client = session_for(config.region).client("cloudformation")
    change = deploy_stack(client, stack, planned=planned, pauses=pauses)
    report(f"stack {change.stack}: {change.outcome}")
    return change


def template_file(config: Config, part: str, purpose: str | None = None) -> Path:
    """Return the template of a part: the purpose's own ``<part>.<purpose>.yaml`` if it has one."""
    folder = config.folder / "deploy"
    own = folder / f"{part}.{purpose}.yaml"
    path = own if purpose and own.is_file() else folder / f"{part}.yaml"
    if not path.is_file():
        raise ConfigError(f"There is no {path}.", fix="Restore it from git or from the template.")
    return path


def _template(config: Config, path: Path, *, planned: bool) -> dict[str, Any]:
    """Return a template as CloudFormation takes it, its code in the bucket."""

    def uploaded(found: re.Match[str]) -> str:
        folder = path.parent / found[2]
        if not folder.is_dir():
            raise ConfigError(
                f"{path} names the code {found[2]}/, and there is no such folder.",
                fix="Restore it from git or from the template.",
            )
        name, data = f"{folder.name}.zip", zipped(folder)
        put = key_of if planned else put_artifact
        place = f"{{S3Bucket: {config.result_s3_bucket}, S3Key: {put(config, name, data)}}}"
        return f"{found[1]}Code: {place}"

    text = _CODE.sub(uploaded, path.read_text(encoding="utf-8"))
    if len(text.encode()) <= _MOST_BYTES:
        return {"TemplateBody": text}
    key = put_artifact(config, path.name, text.encode())
    host = f"{config.result_s3_bucket}.s3.{config.region}.{config.url_suffix}"
    return {"TemplateURL": f"https://{host}/{key}"}
