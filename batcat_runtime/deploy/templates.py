"""The tutorial's three functions: deployment files for a script that lies in any folder.

`template_docker`, `template_stepfunctions` and `template_lambda` write what a generated project has
under ``deploy/`` and ``script/config.json``, from the very same template, into the working
directory. Each works in three stages: check the answers, render the files, put them in place. A
file that is there with other content stops the call before anything is written.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from batcat_runtime.config import CONFIG_PATH, get_config, parse_config, partition_of
from batcat_runtime.errors import ConfigError, UserError
from batcat_runtime.log import get_logger
from batcat_runtime.names import bucket_problem, slug
from batcat_runtime.project import Answers, template_folder

_SUFFIXES = {"amazonaws.com.cn": ("aws-cn",), "amazonaws.com": ("aws", "aws-us-gov")}
_DOCKER_FILES = (
    "deploy/setup_docker.sh",
    "deploy/docker/Dockerfile",
    "deploy/docker/requirements.txt",
    "deploy/docker/requirements.lock",
    "deploy/builder.yaml",
    "deploy/project.yaml",
)
_WORKFLOW_FILES = (
    "deploy/iam/README.md",
    "deploy/iam/deployer.json",
    "deploy/iam/operator.json",
    "deploy/roles.yaml",
    "deploy/setup_stepfunctions.py",
    "deploy/workflow.yaml",
)
_TRIGGER_FILES = (
    "deploy/lambda/lambda_function.py",
    "deploy/setup_lambda.py",
    "deploy/trigger.yaml",
)
_ALL = "deploy/deploy.sh"


def template_docker(
    project: str,
    uri_suffix: str | None = None,
    pip_image: bool = False,
    python_version: str = "3.11",
    *,
    folder: str | Path | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write what builds the image: Dockerfile, requirements with their lock, setup_docker.sh.

    Parameters
    ----------
    project : str
        The project's name, such as ``2022-RnD-battery``; AWS names are derived from it.
    uri_suffix : {"amazonaws.com", "amazonaws.com.cn"}, optional
        The domain of the registry. It follows from the region, so it is only checked against it.
    pip_image : bool
        Whether pip gets packages from a mirror in China (Tsinghua University's).
    python_version : str
        The Python of the image: ``3.11``, ``3.12`` or ``3.13``. Something like ``3.7-slim-buster``
        is understood; a Python that is too old for the runtime becomes 3.11, with a warning.
    folder : path, optional
        Where to write; the working directory by default.
    overwrite : bool
        Replace files that are there with other content.

    Returns
    -------
    list of Path
        The files, all of them: those that were there already, too.

    Raises
    ------
    UserError
        An argument is impossible, or a file is there already with other content; nothing was
        written.

    Examples
    --------
    >>> template_docker("2022-RnD-battery", "amazonaws.com.cn", pip_image=True)  # doctest: +SKIP
    """
    target = Path(folder or Path.cwd())
    _check_suffix(uri_suffix, target)
    _check_project(project, target)
    answers = {
        "project_name": project,
        "python_version": _python(python_version),
        "package_index": "tsinghua" if pip_image else "none",
    }
    return _write(answers, (*_DOCKER_FILES, _ALL), target, overwrite)


def template_stepfunctions(
    project: str,
    purpose: str,
    result_s3_bucket: str,
    workflow_execution_role: str | None = None,
    *,
    region: str | None = None,
    folder: str | Path | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write what makes the workflow: setup_stepfunctions.py and ``script/config.json``.

    Parameters
    ----------
    project, purpose : str
        The project's name, and that of the pipeline: its script is ``<purpose>.py``.
    result_s3_bucket : str
        The bucket for results. Upper case is not legal in S3: ``2022-RnD-battery`` becomes
        ``2022-rnd-battery``.
    workflow_execution_role : str, optional
        The ARN of an existing role. Without it, the deployment creates the roles.
    region : str, optional
        By default the one that AWS clients are set up for here, or ``cn-northwest-1`` for a role in
        the ``aws-cn`` partition.
    folder, overwrite
        See `template_docker`.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    UserError
        An argument is impossible, or a file is there already with other content; nothing was
        written.
    """
    target = Path(folder or Path.cwd())
    _check_project(project, target)
    config = {
        "title": project,
        "project": slug(project),
        "region": region or _region(workflow_execution_role, target),
        "result_s3_bucket": _bucket(result_s3_bucket),
        "workflow_execution_role": workflow_execution_role,
        "network": None,
        "tags": {},
        "purposes": {
            slug(purpose): {
                "steps": [{"name": slug(purpose), "script": f"{slug(purpose)}.py", "inputs": {}}]
            }
        },
    }
    text = json.dumps(_merged(config, target, overwrite), indent=2, ensure_ascii=False) + "\n"
    answers = {
        "project_name": project,
        "purpose": slug(purpose),
        "region": str(config["region"]),
        "result_s3_bucket": str(config["result_s3_bucket"]),
    }
    return _write(answers, (*_WORKFLOW_FILES, _ALL), target, overwrite, config=text)


def template_lambda(
    project: str,
    purpose: str,
    result_s3_bucket: str,
    partition: str | None = None,
    *,
    folder: str | Path | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write what makes the trigger: setup_lambda.py and the Lambda function.

    Parameters
    ----------
    project, purpose, result_s3_bucket : str
        As for `template_stepfunctions`, which comes first.
    partition : {"aws", "aws-cn", "aws-us-gov"}, optional
        It follows from the region, so it is only checked against it.
    folder, overwrite
        See `template_docker`.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    UserError
        An argument contradicts ``script/config.json`` or is impossible, or a file is there already
        with other content; nothing was written.
    """
    target = Path(folder or Path.cwd())
    config = _config(target)
    if config is None:
        raise UserError(
            f"There is no {target / CONFIG_PATH} yet.", fix="Call template_stepfunctions first."
        )
    _check_project(project, target)
    said = {
        "purpose": (slug(purpose), sorted(config.purposes)),
        "result_s3_bucket": (_bucket(result_s3_bucket), [config.result_s3_bucket]),
        "partition": (partition or config.partition, [config.partition]),
    }
    for name, (given, known) in said.items():
        if given not in known:
            raise UserError(
                f"{name} is {given!r}, but {CONFIG_PATH.as_posix()} says {', '.join(known)}.",
                fix="Give the same to template_stepfunctions and template_lambda.",
            )
    answers = {"project_name": project, "purpose": slug(purpose), "region": config.region}
    return _write(answers, (*_TRIGGER_FILES, _ALL), target, overwrite)


def _write(
    answers: dict[str, str],
    names: Iterable[str],
    target: Path,
    overwrite: bool,
    config: str | None = None,
) -> list[Path]:
    rendered, source = Answers(answers), template_folder() / "{{cookiecutter.project_slug}}"
    files = {name: rendered.render((source / name).read_text("utf-8")).encode() for name in names}
    differing = [
        name
        for name, content in files.items()
        if (target / name).exists() and (target / name).read_bytes() != content
    ]
    if differing and not overwrite:
        raise UserError(
            f"{', '.join(differing)}: there already, with other content; nothing was written.",
            fix="Give overwrite=True to replace what is there, or use another folder.",
        )
    if config is not None:
        files[CONFIG_PATH.as_posix()] = config.encode()
    for name, content in sorted(files.items()):
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)
        if path.suffix == ".sh":
            path.chmod(0o755)
    return [target / name for name in sorted(files)]


def _config(target: Path) -> Any:
    path = target / CONFIG_PATH
    return get_config(path) if path.exists() else None


def _merged(config: dict[str, Any], target: Path, overwrite: bool) -> dict[str, Any]:
    """Return the configuration to write: with the purposes that are there already."""
    parse_config(config, source="what you gave")
    path = target / CONFIG_PATH
    if not path.exists() or overwrite:
        return config
    present: dict[str, Any] = json.loads(path.read_text("utf-8"))
    for name in ("project", "region", "result_s3_bucket", "workflow_execution_role"):
        if present.get(name) != config[name]:
            raise UserError(
                f"{name} is {config[name]!r}, but {path} says {present.get(name)!r}; nothing was "
                "written.",
                fix="Give what it says, or overwrite=True to start it anew.",
            )
    for name, purpose in config["purposes"].items():
        present.setdefault("purposes", {}).setdefault(name, purpose)
    return present


def _check_project(project: str, target: Path) -> None:
    name, config = slug(project), _config(target)
    if config is not None and slug(config.project) != name:
        raise UserError(
            f"{target / CONFIG_PATH} is of the project {config.project!r}, not {project!r}.",
            fix="Use another folder for another project.",
        )


def _check_suffix(suffix: str | None, target: Path) -> None:
    if suffix is None:
        return
    if suffix not in _SUFFIXES:
        raise UserError(
            f"{suffix!r} is no domain of an ECR registry.", fix=f"Give {' or '.join(_SUFFIXES)}."
        )
    config = _config(target)
    if config is not None and config.partition not in _SUFFIXES[suffix]:
        raise UserError(
            f"Registries in {config.region} do not end in {suffix!r}.",
            fix=f"Leave uri_suffix out, or change `region` in {CONFIG_PATH.as_posix()}.",
        )


def _python(version: str) -> str:
    from batcat_runtime.project import template_folder

    offered: list[str] = json.loads((template_folder() / "cookiecutter.json").read_text("utf-8"))[
        "python_version"
    ]
    found = re.match(r"(\d+)\.(\d+)(?:\.\d+)?(?:-|$)", version)
    if found is None:
        raise UserError(f"{version!r} is no Python version.", fix="For example '3.12'.")
    wanted = (int(found[1]), int(found[2]))
    oldest = offered[0]
    if wanted < tuple(map(int, oldest.split("."))):
        get_logger().warning(
            "Python %s is too old for batcat-runtime, which needs %s or later: the image gets "
            "Python %s.",
            version,
            oldest,
            oldest,
        )
        return oldest
    name = f"{wanted[0]}.{wanted[1]}"
    if name not in offered:
        raise UserError(
            f"There is no image for Python {version} yet.", fix=f"Give one of {', '.join(offered)}."
        )
    return name


def _bucket(name: str) -> str:
    if not bucket_problem(name):
        return name
    legal = slug(name)
    reason = bucket_problem(legal)
    if reason:
        raise UserError(
            f"{name!r} is no S3 bucket name: {reason}.", fix="For example '2022-rnd-battery'."
        )
    get_logger().info("No S3 bucket can be called %s; taking %s.", name, legal)
    return legal


def _region(role: str | None, target: Path) -> str:
    config = _config(target)
    if config is not None:
        return str(config.region)
    partition = role.split(":")[1] if role and role.count(":") >= 5 else None
    import boto3

    found = os.environ.get("AWS_REGION") or boto3.Session().region_name
    if found and partition in (None, partition_of(found)):
        return str(found)
    if partition == "aws-cn":
        return "cn-northwest-1"
    raise ConfigError(
        "No AWS region is set here, so the configuration cannot name one.",
        fix="Give region='us-east-1' or the like, or run `aws configure`.",
    )
