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

from batcat_runtime.config import CONFIG_PATH, Config, get_config, parse_config, partition_of
from batcat_runtime.errors import ConfigError, UserError
from batcat_runtime.log import get_logger
from batcat_runtime.names import bucket_problem, slug
from batcat_runtime.project import Answers, questions, template_folder

_SUFFIXES = ("amazonaws.com", "amazonaws.com.cn")
# What each function writes below deploy/, as the template has it.
_DOCKER_FILES = ("deploy.sh", "setup_docker.sh", "docker/*", "builder.yaml", "project.yaml")
_WORKFLOW_FILES = ("deploy.sh", "setup_stepfunctions.py", "iam/*", "roles.yaml", "workflow.yaml")
_TRIGGER_FILES = ("deploy.sh", "setup_lambda.py", "lambda/*.py", "trigger.yaml")


def template_docker(
    project: str,
    uri_suffix: str | None = None,
    pip_image: bool = False,
    python_version: str = "3.11",
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
    if uri_suffix not in (None, *_SUFFIXES):
        raise UserError(
            f"{uri_suffix!r} is no domain of an ECR registry.",
            fix=f"Give {' or '.join(_SUFFIXES)}.",
        )
    _known(project, uri_suffix=uri_suffix)
    answers = {
        "project_name": project,
        "python_version": _python(python_version),
        "package_index": "tsinghua" if pip_image else "none",
    }
    return _write(answers, _DOCKER_FILES)


def template_stepfunctions(
    project: str,
    purpose: str,
    result_s3_bucket: str,
    workflow_execution_role: str | None = None,
    *,
    region: str | None = None,
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
    present = _known(project)
    given = {
        "region": region or (present.region if present else _region(workflow_execution_role)),
        "result_s3_bucket": _bucket(result_s3_bucket),
        "workflow_execution_role": workflow_execution_role,
    }
    _known(project, **given)
    config: dict[str, Any] = {
        "title": project,
        "project": slug(project),
        **given,
        "network": None,
        "tags": {},
        "purposes": {
            slug(purpose): {
                "steps": [{"name": slug(purpose), "script": f"{slug(purpose)}.py", "inputs": {}}]
            }
        },
    }
    parse_config(config, source="what you gave")
    if present:  # its other purposes and settings stay
        there = json.loads(CONFIG_PATH.read_text("utf-8"))
        purposes = {**there["purposes"], **config["purposes"], **there["purposes"]}
        config = {**there, "purposes": purposes}
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    answers = {
        "project_name": project,
        "purpose": slug(purpose),
        "region": str(given["region"]),
        "result_s3_bucket": str(given["result_s3_bucket"]),
    }
    return _write(answers, _WORKFLOW_FILES, text)


def template_lambda(
    project: str,
    purpose: str,
    result_s3_bucket: str,
    partition: str | None = None,
) -> list[Path]:
    """Write what makes the trigger: setup_lambda.py and the Lambda function.

    Parameters
    ----------
    project, purpose, result_s3_bucket : str
        As for `template_stepfunctions`, which comes first.
    partition : {"aws", "aws-cn", "aws-us-gov"}, optional
        It follows from the region, so it is only checked against it.

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
    config = _known(
        project,
        purpose=slug(purpose),
        result_s3_bucket=_bucket(result_s3_bucket),
        partition=partition,
    )
    if config is None:
        raise UserError(
            f"There is no {CONFIG_PATH.absolute()} yet.", fix="Call template_stepfunctions first."
        )
    answers = {"project_name": project, "purpose": slug(purpose), "region": config.region}
    return _write(answers, _TRIGGER_FILES)


def _write(answers: dict[str, str], patterns: Iterable[str], config: str = "") -> list[Path]:
    rendered, source = Answers(answers), template_folder() / "{{cookiecutter.project_slug}}"
    paths = (path for pattern in patterns for path in (source / "deploy").glob(pattern))
    files = {
        path.relative_to(source): rendered.render(path.read_text("utf-8")).encode()
        for path in paths
    }
    differing = [
        path.as_posix()
        for path, content in files.items()
        if path.exists() and path.read_bytes() != content
    ]
    if differing:
        raise UserError(
            f"{', '.join(differing)}: there already, with other content; nothing was written.",
            fix="Move away what is there, or use another folder.",
        )
    if config:
        files[CONFIG_PATH] = config.encode()
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)
        if path.suffix == ".sh":
            path.chmod(0o755)
    return sorted(path.absolute() for path in files)


def _known(project: str, **given: str | None) -> Config | None:
    """Return the configuration that is there, if any; refuse what contradicts it."""
    name = slug(project)
    if not CONFIG_PATH.exists():
        return None
    config = get_config(CONFIG_PATH)
    said: dict[str, Iterable[str | None]] = {
        "project": [slug(config.project)],
        "purpose": config.purposes,
        "region": [config.region],
        "partition": [config.partition],
        "uri_suffix": [config.url_suffix],
        "result_s3_bucket": [config.result_s3_bucket],
        "workflow_execution_role": [config.workflow_execution_role],
    }
    for key, value in {"project": name, **given}.items():
        if value not in (None, *said[key]):
            raise UserError(
                f"{key} is {value!r}, but {CONFIG_PATH.absolute()} says "
                f"{', '.join(map(str, said[key]))}; nothing was written.",
                fix="Give the same to template_docker, template_stepfunctions and "
                "template_lambda, or use another folder for another project.",
            )
    return config


def _python(version: str) -> str:
    offered: list[str] = questions()["python_version"]
    found = re.match(r"(\d+)\.(\d+)(?:\.\d+)?(?:-|$)", version)
    if found and f"{found[1]}.{found[2]}" in offered:
        return f"{found[1]}.{found[2]}"
    oldest = offered[0]
    if found is None or (int(found[1]), int(found[2])) > tuple(map(int, oldest.split("."))):
        raise UserError(
            f"There is no image for Python {version!r}.", fix=f"Give one of {', '.join(offered)}."
        )
    get_logger().warning(
        "Python %s is too old for batcat-runtime: the image gets Python %s.", version, oldest
    )
    return oldest


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


def _region(role: str | None) -> str:
    import boto3

    partition = role.split(":")[1] if role and role.count(":") >= 5 else None
    found = os.environ.get("AWS_REGION") or boto3.Session().region_name
    if found and partition in (None, partition_of(found)):
        return str(found)
    if partition == "aws-cn":
        return "cn-northwest-1"
    raise ConfigError(
        "No AWS region is set here, so the configuration cannot name one.",
        fix="Give region='us-east-1' or the like, or run `aws configure`.",
    )
