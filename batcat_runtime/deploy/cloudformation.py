"""From the project's CloudFormation to stacks: which file, with what code, under which name.

What ``aws cloudformation package`` does to a template is done here too: a folder or file that
``Code`` names is put into the bucket, and its place there written into the template. All that a
deployment puts there lies under a key that follows from its content, so that the same content is
there once, and CloudFormation sees another key exactly when something has changed.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from batcat_runtime.config import Config
from batcat_runtime.deploy.parameters import tags_of
from batcat_runtime.deploy.stack import Stack, StackChange, deploy_stack, describe_stack
from batcat_runtime.errors import ConfigError
from batcat_runtime.io import clients
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.log import report
from batcat_runtime.names import Names

_MOST_BYTES = 51_200  # CloudFormation's limit for a template in the request
_EPOCH = (1980, 1, 1, 0, 0, 0)
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
    client = clients.client("cloudformation", region=config.region)
    change = deploy_stack(client, stack, planned=planned, pauses=pauses)
    report(f"stack {change.stack}: {change.outcome}")
    return change


def deployed_stack(config: Config, name: str) -> dict[str, Any]:
    """Return a stack of the project's region as DescribeStacks has it; empty if there is none."""
    with translated(f"the stack {name}", "cloudformation:DescribeStacks"):
        return describe_stack(clients.client("cloudformation", region=config.region), name)


def template_file(config: Config, part: str, purpose: str | None = None) -> Path:
    """Return the template of a part: the purpose's own ``<part>.<purpose>.yaml`` if it has one."""
    folder = config.folder / "deploy"
    own = folder / f"{part}.{purpose}.yaml"
    path = own if purpose and own.is_file() else folder / f"{part}.yaml"
    _text_of(path)
    return path


def check_python(path: Path) -> None:
    """Refuse a file of the project that is missing or no Python."""
    try:
        compile(_text_of(path), path, "exec")
    except SyntaxError as error:
        raise ConfigError(f"{path} is no Python: line {error.lineno}: {error.msg}.") from error


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(
            f"There is no {path}.", fix="Restore it from git or from the template."
        ) from error


def key_of(config: Config, name: str, data: bytes) -> str:
    """Return the key of an artifact: its content's digest, then its name."""
    names = Names.of(config, next(iter(config.purposes)))
    return f"{names.build_prefix}/{hashlib.sha256(data).hexdigest()[:16]}-{name}"


def put_artifact(config: Config, name: str, data: bytes) -> str:
    """Put an artifact into the result bucket unless it is there already; return its key."""
    key, bucket = key_of(config, name, data), config.result_s3_bucket
    s3 = clients.client("s3", region=config.region)
    with translated(f"s3://{bucket}/{key}", "s3:PutObject"):
        try:
            s3.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response["ResponseMetadata"].get("HTTPStatusCode") not in (403, 404):
                raise
            s3.put_object(Bucket=bucket, Key=key, Body=data)
    return key


def zipped(folder: Path) -> bytes:
    """Return a folder as a zip archive: the same bytes for the same files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if not path.is_file() or "__pycache__" in path.parts:
                continue
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), date_time=_EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


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
