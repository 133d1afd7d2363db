"""`script/config.json`: the single source of truth of a project.

The script, the image build, the workflow, the trigger, the policies and the rehearsal all read this
one file. Loading has three stages: find the file, parse the JSON, check every key. Unknown keys,
wrong types and impossible values are errors that name the key; nothing is guessed.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PrivateAttr, ValidationError, model_validator

from batcat_runtime.errors import ConfigError
from batcat_runtime.names import Names, slug
from batcat_runtime.names import bucket_problem as bucket_problem
from batcat_runtime.names import partition_of as partition_of
from batcat_runtime.purpose import (
    INPUT_PATTERN,
    INSTANCE_PATTERN,
    KMS_PATTERN,
    NAME_PATTERN,
    SCHEDULE_PATTERN,
    VARIABLE_PATTERN,
    Name,
    Part,
    RehearsalSettings,
    legal_bucket,
)
from batcat_runtime.purpose import Input as Input
from batcat_runtime.purpose import KmsKeys as KmsKeys
from batcat_runtime.purpose import Network as Network
from batcat_runtime.purpose import Purpose as Purpose
from batcat_runtime.purpose import Retries as Retries
from batcat_runtime.purpose import S3Trigger as S3Trigger
from batcat_runtime.purpose import Schedule as Schedule
from batcat_runtime.purpose import Step as Step

CONFIG_PATH = Path("script") / "config.json"

# What starts a purpose, or pretends to, and who is told: it does not concern what jobs compute.
_STARTERS = {"schedule", "s3_trigger", "rehearsal"}
_OF_THE_PROJECT = {"alert_email", "permissions_boundary"}
_REGION_PATTERN = r"^[a-z]{2}(-[a-z]+)+-\d+$"
_POLICY_PATTERN = r"^arn:aws[a-z-]*:iam::(\d{12}|aws):policy/[\w+=,.@/-]+$"
_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+")


def _legal_role(arn: str) -> str:
    if not _ROLE_ARN.fullmatch(arn):
        raise ValueError(
            f"{arn!r} is no role ARN; it looks like 'arn:aws-cn:iam::123456789012:role/name'"
        )
    return arn


def _legal_tag(text: str) -> str:
    if not re.fullmatch(r"[\w\s.:/=+@-]*", text) or text.lower().startswith("aws:"):
        raise ValueError(
            f"{text!r} is no tag: letters, digits, spaces and _ . : / = + - @ are allowed, and "
            "`aws:` is reserved"
        )
    return text


def _legal_address(text: str) -> str:
    if not re.fullmatch(r"[^@\s,]+@[^@\s,]+\.[^@\s,]+", text):
        raise ValueError(f"{text!r} is no mail address; write one, such as 'nights@example.com'")
    return text


Bucket = Annotated[str, AfterValidator(legal_bucket)]
RoleArn = Annotated[str, AfterValidator(_legal_role)]
PolicyArn = Annotated[str, Field(pattern=_POLICY_PATTERN, max_length=2048)]


class Config(Part):
    """A project's configuration, checked.

    Attributes
    ----------
    title : str
        The project's name as people write it.
    project : str
        The name from which AWS names are derived.
    region : str
        The AWS region; the partition follows from it.
    result_s3_bucket : str
        The bucket for results.
    workflow_execution_role, job_role, trigger_role, schedule_role : str or None
        ARNs of existing roles. With `workflow_execution_role` given, nothing tries to create a
        role, and the other three default to it.
    build_role : str or None
        The ARN of an existing role for AWS CodeBuild, which builds the image where no container
        tool is at hand.
    permissions_boundary : str or None
        The ARN of a policy that limits every role that is created.
    alert_email : str or None
        Who gets a mail when a night fails.
    network : Network or None
        The VPC for the jobs; a purpose or a step may have its own.
    kms : KmsKeys or None
        Keys for volumes and outputs; likewise.
    tags : dict of str to str
        Tags for every resource.
    purposes : dict of str to Purpose
        The pipelines, by name.
    """

    title: Annotated[str, Field(min_length=1, max_length=200)]
    project: Annotated[str, Field(min_length=1, max_length=128)]
    region: Annotated[str, Field(pattern=_REGION_PATTERN)]
    result_s3_bucket: Bucket
    workflow_execution_role: RoleArn | None = None
    job_role: RoleArn | None = None
    trigger_role: RoleArn | None = None
    schedule_role: RoleArn | None = None
    build_role: RoleArn | None = None
    permissions_boundary: PolicyArn | None = None
    alert_email: Annotated[str, AfterValidator(_legal_address)] | None = None
    network: Network | None = None
    kms: KmsKeys | None = None
    tags: dict[
        Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_legal_tag)],
        Annotated[str, Field(max_length=256), AfterValidator(_legal_tag)],
    ] = Field(default={})
    purposes: dict[Name, Purpose] = Field(min_length=1)
    _folder: Path | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _roles_fit_together(self) -> Config:
        others = (self.job_role, self.trigger_role, self.schedule_role, self.build_role)
        if self.workflow_execution_role is None and any(others):
            raise ValueError(
                "job_role, trigger_role, schedule_role and build_role need workflow_execution_role"
            )
        wrong = [
            arn
            for arn in (self.workflow_execution_role, *others, self.permissions_boundary)
            if arn and arn.split(":")[1] != self.partition
        ]
        if wrong:
            raise ValueError(
                f"{wrong[0]} is in another partition than {self.region} ({self.partition})"
            )
        return self

    @model_validator(mode="after")
    def _purposes_stay_apart(self) -> Config:
        slugs = [slug(name) for name in self.purposes]
        twice = sorted(name for name in self.purposes if slugs.count(slug(name)) > 1)
        if twice:
            raise ValueError(f"purposes: {', '.join(twice)} would have the same names in AWS")
        for name, purpose in self.purposes.items():
            trigger = purpose.s3_trigger
            if trigger is None or trigger.bucket != self.result_s3_bucket:
                continue
            names = Names(self.project, name, self.region)
            for mine in (f"{names.result_prefix}/", names.work_prefix("")):
                if mine.startswith(trigger.key_prefix) or trigger.key_prefix.startswith(mine):
                    raise ValueError(
                        f"purposes.{name}.s3_trigger.prefix: a run writes to "
                        f"s3://{self.result_s3_bucket}/{mine}, so each run would start the next; "
                        "watch another prefix, such as "
                        f"'s3://{self.result_s3_bucket}/raw/'"
                    )
        return self

    @property
    def folder(self) -> Path:
        """The project's folder: that which the configuration was read from.

        Raises
        ------
        ConfigError
            It was not read from a project.
        """
        if self._folder is None:
            raise ConfigError(
                "This configuration was not read from a project's folder.",
                fix="Read it with get_config(folder).",
            )
        return self._folder

    @property
    def partition(self) -> str:
        """The partition of the region: ``aws``, ``aws-cn`` or ``aws-us-gov``."""
        return partition_of(self.region)

    @property
    def url_suffix(self) -> str:
        """The domain of AWS there: ``amazonaws.com``, or ``amazonaws.com.cn`` in China."""
        return "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"

    @cached_property
    def sha256(self) -> str:
        """Hex digest of the configuration's content, for manifests."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def sha256_of(self, purpose: str) -> str:
        """Return the hex digest of what a purpose's jobs compute by.

        Neither other purposes change it, nor what starts this one: a switched schedule is no change
        of the workflow.
        """
        content = self.model_dump(mode="json", exclude=_OF_THE_PROJECT)
        mine = content["purposes"][purpose]
        content["purposes"] = {
            purpose: {key: value for key, value in mine.items() if key not in _STARTERS}
        }
        text = json.dumps(content, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def network_of(self, purpose: str, step: Step) -> Network | None:
        """Return the network of a step: its own, else its purpose's, else the project's."""
        return step.network or self.purposes[purpose].network or self.network

    def kms_of(self, purpose: str, step: Step) -> KmsKeys:
        """Return the keys of a step; each its own, else its purpose's, else the project's."""
        given = [one for one in (step.kms, self.purposes[purpose].kms, self.kms) if one is not None]
        return KmsKeys(
            volume=next((one.volume for one in given if one.volume), None),
            output=next((one.output for one in given if one.output), None),
        )

    def purpose(self, name: str | None = None) -> Purpose:
        """Return a purpose by name.

        Parameters
        ----------
        name : str, optional
            May be left out when the project has a single purpose.

        Raises
        ------
        ConfigError
            No purpose has this name, or there are several and none was named.
        """
        return self.purposes[self.purpose_name(name)]

    def purpose_name(self, name: str | None = None) -> str:
        """Return the purpose's name, which may be left out when there is only one."""
        known = ", ".join(sorted(self.purposes))
        if name is None and len(self.purposes) == 1:
            return next(iter(self.purposes))
        if name is None:
            raise ConfigError(
                f"This project has several purposes: {known}.",
                fix=f"Name one: `--purpose {min(self.purposes)}`, or in Python "
                f"purpose={min(self.purposes)!r}.",
            )
        if name not in self.purposes:
            raise ConfigError(
                f"This project has no purpose {name!r}; it has: {known}.",
                fix=f"Take one of these, or add {name!r} to {CONFIG_PATH.as_posix()}.",
            )
        return name


def find_project(start: str | Path | None = None) -> Path:
    """Return the project folder: the nearest one at or above `start` with `script/config.json`.

    Parameters
    ----------
    start : str or Path, optional
        Where to look first; the working directory by default.

    Raises
    ------
    ConfigError
        There is none.
    """
    here = Path(start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / CONFIG_PATH).is_file():
            return folder
    raise ConfigError(
        f"{here} is not inside a BatCat project: no {CONFIG_PATH.as_posix()} there or above.",
        fix="Change into the project's folder, or make one with `batcat new`.",
    )


def get_config(path: str | Path | None = None) -> Config:
    """Load and check a project's configuration.

    Parameters
    ----------
    path : str or Path, optional
        The JSON file, or a project folder. By default the nearest ``script/config.json`` at or
        above the working directory.

    Returns
    -------
    Config
        Immutable.

    Raises
    ------
    ConfigError
        The file is missing, is no JSON, or a key in it is unknown, of the wrong type or impossible.
        Every problem is listed, each with its key.

    Examples
    --------
    >>> get_config("project_battery").region  # doctest: +SKIP
    'cn-northwest-1'
    """
    file = Path(path) if path is not None else find_project() / CONFIG_PATH
    if file.is_dir():
        file = file / CONFIG_PATH
    try:
        content = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=_unique_keys)
    except ConfigError:
        raise
    except FileNotFoundError as error:
        raise ConfigError(
            f"There is no {file}.", fix="Name the project's folder or its script/config.json."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}.", fix="Save it as UTF-8.") from error
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{file} is no JSON: line {error.lineno}, column {error.colno}: {error.msg}.",
            fix="Look for a missing comma or quote just before that place.",
        ) from error
    except (RecursionError, ValueError) as error:
        raise ConfigError(
            f"{file} cannot be read: it is nested too deeply, or a number in it is too long.",
            fix="Look for a bracket or a number that is not meant.",
        ) from error
    return parse_config(content, source=os.fspath(file), folder=file.resolve().parent.parent)


def parse_config(
    content: Any, *, source: str = "the configuration", folder: Path | None = None
) -> Config:
    """Check a configuration that is already in memory; see `get_config`.

    Parameters
    ----------
    content : dict
        What `script/config.json` holds.
    source : str
        What to call it in errors.
    folder : Path, optional
        The project that it is of.
    """
    if not isinstance(content, Mapping):
        raise ConfigError(f"{source} must hold a JSON object, not {type(content).__name__}.")
    try:
        config = Config.model_validate(dict(content))
        config._folder = folder
        return config
    except ValidationError as error:
        problems = [_problem(one) for one in error.errors(include_url=False)]
        raise ConfigError(
            f"{source} has {len(problems)} problem{'s' if len(problems) > 1 else ''}:\n"
            + "\n".join(f"  - {problem}" for problem in problems),
            fix="Mend the keys named above; nothing was changed.",
        ) from error


_KEYS = sorted(
    {
        field.alias or name
        for part in (
            *(Config, Purpose, Step, Input, Retries, Schedule, S3Trigger),
            *(RehearsalSettings, Network, KmsKeys),
        )
        for name, field in part.model_fields.items()
    }
)


# In the place of "String should match pattern ...": what that means.
_PATTERNS = {
    NAME_PATTERN: "lower-case letters, digits and hyphens, and first a letter",
    INPUT_PATTERN: "lower-case letters, digits, hyphens and underscores, and first a letter",
    INSTANCE_PATTERN: "an instance type looks like 'ml.m5.xlarge'",
    VARIABLE_PATTERN: "letters, digits and underscores, and first no digit",
    SCHEDULE_PATTERN: "a schedule looks like 'cron(0 2 * * ? *)' or 'rate(12 hours)'",
    KMS_PATTERN: "a key's ARN, its id, or 'alias/name'",
    _REGION_PATTERN: "a region looks like 'cn-northwest-1'",
    _POLICY_PATTERN: "a policy's ARN looks like 'arn:aws:iam::123456789012:policy/name'",
}
# What pydantic puts into the place of an error beside the keys.
_NO_KEYS = {"[key]", "[step]", "[list]"}


def _problem(one: Any) -> str:
    key = ".".join(str(part) for part in one["loc"] if part not in _NO_KEYS) or "(top level)"
    kind: Literal["extra_forbidden"] | str = one["type"]
    if kind == "extra_forbidden" and one["loc"][-1] == "permissions":
        return (
            f"{key}: the rights of a pipeline stand in deploy/roles.yaml now, and those of "
            "one purpose in deploy/roles.<purpose>.yaml. Statements for Athena, Redshift, secrets "
            "and S3 are there, commented out: uncomment them, then take this key away"
        )
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(one["loc"][-1]), _KEYS, n=1)
        return f"{key}: unknown key" + (f"; did you mean {near[0]!r}?" if near else "")
    if kind == "missing":
        return f"{key}: missing"
    message = _PATTERNS.get(
        one.get("ctx", {}).get("pattern", ""), str(one["msg"]).removeprefix("Value error, ")
    )
    if message.startswith("purposes."):  # it names its key itself
        return message
    given = one.get("input")
    shown = f" (found {given!r})" if isinstance(given, str | int | float | bool) else ""
    return f"{key}: {message}" + (shown if kind != "value_error" else "")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise ConfigError(
                f"The key {key!r} stands twice in the same object of the configuration.",
                fix="Keep one of the two.",
            )
        content[key] = value
    return content
