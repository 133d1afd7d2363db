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
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from batcat_runtime.errors import ConfigError

CONFIG_PATH = Path("script") / "config.json"

_PARTITIONS = (("cn-", "aws-cn"), ("us-gov-", "aws-us-gov"))
_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+")
_S3_URI = re.compile(r"s3://([^/]+)/?(.*)")


def partition_of(region: str) -> str:
    """Return the AWS partition of a region: ``aws``, ``aws-cn`` or ``aws-us-gov``."""
    return next((name for prefix, name in _PARTITIONS if region.startswith(prefix)), "aws")


def _legal_bucket(name: str) -> str:
    reason = bucket_problem(name)
    if reason:
        raise ValueError(f"{name!r} is no S3 bucket name: {reason}; for example '2022-rnd-battery'")
    return name


def bucket_problem(name: str) -> str:
    """Return why S3 would refuse a general-purpose bucket name, or ``""`` when it is legal.

    The rules are those of the Amazon S3 user guide, "General purpose bucket naming rules".
    """
    rules = (
        (not 3 <= len(name) <= 63, "it must have 3 to 63 characters"),
        (
            not re.fullmatch(r"[a-z0-9.-]*", name),
            "only lower-case letters, digits, dots and hyphens are allowed",
        ),
        (
            not re.fullmatch(r"[a-z0-9].*[a-z0-9]", name, re.DOTALL),
            "it must begin and end with a letter or digit",
        ),
        (".." in name, "two dots may not stand side by side"),
        (re.fullmatch(r"\d+\.\d+\.\d+\.\d+", name) is not None, "it looks like an IP address"),
        (
            name.startswith(("xn--", "sthree-", "amzn-s3-demo-")),
            "this prefix is reserved by S3",
        ),
        (
            # account-regional buckets are called <name>-<account>-<region>-an; nothing else is
            name.endswith("-an") and not re.fullmatch(r".+-\d{12}-[a-z0-9-]+-an", name),
            "the suffix -an is reserved by S3",
        ),
        (
            name.endswith(("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")),
            "this suffix is reserved by S3",
        ),
    )
    return next((reason for broken, reason in rules if broken), "")


def _legal_s3_uri(uri: str) -> str:
    match = _S3_URI.fullmatch(uri)
    if not match:
        raise ValueError(f"{uri!r} is no S3 place; write it as 's3://bucket/prefix/'")
    _legal_bucket(match[1])
    return uri


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


Bucket = Annotated[str, AfterValidator(_legal_bucket)]
S3Uri = Annotated[str, AfterValidator(_legal_s3_uri)]
RoleArn = Annotated[str, AfterValidator(_legal_role)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Network(_Part):
    """The VPC that processing jobs run in."""

    subnets: list[str] = Field(min_length=1, max_length=16)
    security_group_ids: list[str] = Field(min_length=1, max_length=5)
    isolation: bool = False


class Step(_Part):
    """One processing job of a purpose."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=40)]
    script: str
    inputs: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=40)], S3Uri] = {}
    instance_type: Annotated[str, Field(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9]+$")] = "ml.m5.xlarge"
    instance_count: Annotated[int, Field(ge=1, le=100)] = 1
    volume_size_gb: Annotated[int, Field(ge=1, le=16384)] = 30
    max_runtime_seconds: Annotated[int, Field(ge=1, le=777_600)] = 3600
    environment: dict[
        Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")],
        Annotated[str, Field(max_length=256)],
    ] = {}
    arguments: list[Annotated[str, Field(max_length=256)]] = []

    @field_validator("script")
    @classmethod
    def _script_is_a_file_name(cls, value: str) -> str:
        if not re.fullmatch(r"[\w][\w.-]*\.py", value):
            raise ValueError(f"{value!r} is no file in script/; for example 'usage-analysis.py'")
        return value

    @field_validator("environment")
    @classmethod
    def _environment_is_the_users(cls, value: dict[str, str]) -> dict[str, str]:
        reserved = sorted(name for name in value if name.upper().startswith("BATCAT_"))
        if reserved:
            raise ValueError(f"{', '.join(reserved)}: names that start with BATCAT_ are reserved")
        return value


class Schedule(_Part):
    """When a purpose runs by itself; off until `enabled` is true.

    `expression` is EventBridge Scheduler's: ``cron(minutes hours day month weekday year)`` or
    ``rate(1 day)``, read in `timezone` (an IANA name). A run covers the `window_days` whole days
    that end at the day on which it fires.
    """

    expression: Annotated[str, Field(pattern=r"^(cron|rate)\([^()]+\)$", max_length=256)]
    timezone: str = "UTC"
    enabled: bool = False
    window_days: Annotated[int, Field(ge=1, le=366)] = 1

    @field_validator("timezone")
    @classmethod
    def _timezone_exists(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(
                f"there is no time zone {value!r}; for example 'Asia/Shanghai' or 'UTC'"
            ) from error
        return value


class RehearsalSettings(_Part):
    """What a rehearsal pretends: the local time, in the schedule's zone, at which it fires."""

    fire_at: str

    @field_validator("fire_at")
    @classmethod
    def _fire_at_is_a_time(cls, value: str) -> str:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError as error:
            raise ValueError(f"{value!r} is no time; write '2022-01-08T02:00:00'") from error
        if moment.tzinfo is not None:
            raise ValueError(f"{value!r} has an offset; leave it out: the schedule's zone counts")
        return value


class Purpose(_Part):
    """A pipeline of the project: steps in order, and what starts it."""

    steps: list[Step] = Field(min_length=1)
    schedule: Schedule | None = None
    rehearsal: RehearsalSettings | None = None

    @model_validator(mode="after")
    def _step_names_differ(self) -> Purpose:
        names = [step.name for step in self.steps]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"steps need different names; {', '.join(twice)} stands twice")
        return self


class Config(_Part):
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
    network : Network or None
        The VPC for the jobs.
    tags : dict of str to str
        Tags for every resource.
    purposes : dict of str to Purpose
        The pipelines, by name.
    """

    title: Annotated[str, Field(min_length=1, max_length=200)]
    project: Annotated[str, Field(min_length=1, max_length=128)]
    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d+$")]
    result_s3_bucket: Bucket
    workflow_execution_role: RoleArn | None = None
    job_role: RoleArn | None = None
    trigger_role: RoleArn | None = None
    schedule_role: RoleArn | None = None
    network: Network | None = None
    tags: dict[
        Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_legal_tag)],
        Annotated[str, Field(max_length=256), AfterValidator(_legal_tag)],
    ] = {}
    purposes: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=40)], Purpose] = (
        Field(min_length=1)
    )

    @model_validator(mode="after")
    def _roles_fit_together(self) -> Config:
        others = (self.job_role, self.trigger_role, self.schedule_role)
        if self.workflow_execution_role is None and any(others):
            raise ValueError(
                "job_role, trigger_role and schedule_role need workflow_execution_role"
            )
        wrong = [
            arn
            for arn in (self.workflow_execution_role, *others)
            if arn and arn.split(":")[1] != self.partition
        ]
        if wrong:
            raise ValueError(
                f"{wrong[0]} is in another partition than {self.region} ({self.partition})"
            )
        return self

    @property
    def partition(self) -> str:
        """The partition of the region: ``aws``, ``aws-cn`` or ``aws-us-gov``."""
        return partition_of(self.region)

    @cached_property
    def sha256(self) -> str:
        """Hex digest of the configuration's content, for manifests."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

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
            raise ConfigError(f"This project has several purposes: {known}.", fix="Name one.")
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
    return parse_config(content, source=os.fspath(file))


def parse_config(content: Any, *, source: str = "the configuration") -> Config:
    """Check a configuration that is already in memory; see `get_config`."""
    if not isinstance(content, Mapping):
        raise ConfigError(f"{source} must hold a JSON object, not {type(content).__name__}.")
    try:
        return Config.model_validate(dict(content))
    except ValidationError as error:
        problems = [_problem(one) for one in error.errors(include_url=False)]
        raise ConfigError(
            f"{source} has {len(problems)} problem{'s' if len(problems) > 1 else ''}:\n"
            + "\n".join(f"  - {problem}" for problem in problems),
            fix="Mend the keys named above; nothing was changed.",
        ) from error


_KEYS = sorted(
    {
        name
        for part in (Config, Purpose, Step, Schedule, RehearsalSettings, Network)
        for name in part.model_fields
    }
)


def _problem(one: Any) -> str:
    key = ".".join(str(part) for part in one["loc"] if part != "[key]") or "(top level)"
    kind: Literal["extra_forbidden"] | str = one["type"]
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(one["loc"][-1]), _KEYS, n=1)
        return f"{key}: unknown key" + (f"; did you mean {near[0]!r}?" if near else "")
    if kind == "missing":
        return f"{key}: missing"
    message = one["msg"].removeprefix("Value error, ")
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
