"""`script/config.json`: the single source of truth of a project.

The script, the image build, the workflow, the trigger, the policies and the rehearsal all read this
one file. Loading has three stages: find the file, parse the JSON, check every key. Unknown keys,
wrong types and impossible values are errors that name the key; nothing is guessed.

``steps`` of a purpose is read in order. A list within it stands for side by side: each of its
elements is a branch, and a branch is one step or a list of steps in order (in which a list is side
by side again). So every configuration is a workflow that Step Functions can draw, and none can
contradict itself. A step's output is the input of what comes next.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)
from typing_extensions import TypeAliasType

from batcat_runtime.errors import ConfigError
from batcat_runtime.names import Names, slug
from batcat_runtime.names import bucket_problem as bucket_problem
from batcat_runtime.names import partition_of as partition_of

CONFIG_PATH = Path("script") / "config.json"

# What starts a purpose, or pretends to, and who is told: it does not concern what jobs compute.
_STARTERS = {"schedule", "s3_trigger", "rehearsal"}
_OF_THE_PROJECT = {"alert_email", "permissions_boundary"}
_MOST_RETRIES = 9  # a job's name has room for one digit of the attempt


def _like(pattern: str, problem: str, longest: int = 2048) -> AfterValidator:
    """Return what wants a text to match a pattern, and else says `problem`, with the text in it."""

    def check(text: str) -> str:
        if len(text) > longest:
            raise ValueError(f"at most {longest} characters (found {text!r})")
        if not re.fullmatch(pattern, text):
            raise ValueError(problem.format(text))
        return text

    return AfterValidator(check)


def _legal_bucket(name: str) -> str:
    reason = bucket_problem(name)
    if reason:
        raise ValueError(f"{name!r} is no S3 bucket name: {reason}; for example '2022-rnd-battery'")
    return name


def _legal_s3_uri(uri: str) -> str:
    match = re.fullmatch(r"s3://([^/]+)/?(.*)", uri)
    if not match:
        raise ValueError(f"{uri!r} is no S3 place; write it as 's3://bucket/prefix/'")
    _legal_bucket(match[1])
    return uri


Bucket = Annotated[str, AfterValidator(_legal_bucket)]
S3Uri = Annotated[str, AfterValidator(_legal_s3_uri)]
_LOWER = "lower-case letters, digits and hyphens, and first a letter (found {!r})"
_ROLE = "{!r} is no role ARN; it looks like 'arn:aws-cn:iam::123456789012:role/name'"
_POLICY = "a policy's ARN looks like 'arn:aws:iam::123456789012:policy/name' (found {!r})"
_TAG = (
    "{!r} is no tag: letters, digits, spaces and _ . : / = + - @ are allowed, and `aws:` is "
    "reserved"
)
_SCHEDULE = "a schedule looks like 'cron(0 2 * * ? *)' or 'rate(12 hours)' (found {!r})"

Name = Annotated[str, _like(r"[a-z][a-z0-9-]*", _LOWER, 40)]
InputName = Annotated[
    str, _like(r"[a-z][a-z0-9_-]*", _LOWER.replace("and", "underscores and", 1), 40)
]
Region = Annotated[
    str, _like(r"[a-z]{2}(-[a-z]+)+-\d+", "a region looks like 'cn-northwest-1' (found {!r})")
]
RoleArn = Annotated[str, _like(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+", _ROLE)]
PolicyArn = Annotated[str, _like(r"arn:aws[a-z-]*:iam::(\d{12}|aws):policy/[\w+=,.@/-]+", _POLICY)]
KmsKey = Annotated[
    str, _like(r"[a-zA-Z0-9:/_-]+", "a key's ARN, its id, or 'alias/name' (found {!r})")
]
Address = Annotated[
    str,
    _like(
        r"[^@\s,]+@[^@\s,]+\.[^@\s,]+",
        "{!r} is no mail address; write one, such as 'nights@example.com'",
    ),
]
_legal_tag = _like(r"(?!(?i:aws:))[\w\s.:/=+@-]*", _TAG)
Variable = Annotated[
    str,
    _like(
        r"[a-zA-Z_][a-zA-Z0-9_]*",
        "letters, digits and underscores, and first no digit (found {!r})",
        256,
    ),
]
Script = Annotated[
    str, _like(r"\w[\w.-]*\.py", "{!r} is no file in script/; for example 'usage-analysis.py'")
]
InstanceType = Annotated[
    str,
    _like(r"ml\.[a-z0-9-]+\.[a-z0-9]+", "an instance type looks like 'ml.m5.xlarge' (found {!r})"),
]


class Part(BaseModel):
    """Base of everything in the configuration: immutable, and no unknown key."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Network(Part):
    """The VPC that processing jobs run in; with `isolation`, they reach no network at all.

    Without subnets, jobs run outside any VPC of yours.
    """

    subnets: list[str] = Field(default=[], max_length=16)
    security_group_ids: list[str] = Field(default=[], max_length=5)
    isolation: bool = False
    encrypt_traffic: bool = False

    @model_validator(mode="after")
    def _subnets_need_groups(self) -> Network:
        if bool(self.subnets) != bool(self.security_group_ids):
            raise ValueError("give both subnets and security_group_ids, or neither")
        return self


class KmsKeys(Part):
    """KMS keys, by ARN, id or alias: of the instances' volumes, and of what jobs write to S3."""

    volume: KmsKey | None = None
    output: KmsKey | None = None


class Retries(Part):
    """How often a step is tried again, and after how long.

    `count` is for what AWS itself refuses or fails: throttling, a limit of instances, an internal
    error. `failed_jobs` is for jobs that ended as failed, by default none: a script that failed
    once costs the same time and money again.
    """

    count: Annotated[int, Field(ge=0, le=_MOST_RETRIES)] = 4
    interval_seconds: Annotated[int, Field(ge=1, le=86_400)] = 20
    backoff: Annotated[float, Field(ge=1.0, le=10.0, strict=False)] = 2.0
    failed_jobs: Annotated[int, Field(ge=0, le=_MOST_RETRIES)] = 0

    @model_validator(mode="after")
    def _attempts_fit_a_name(self) -> Retries:
        if self.count + self.failed_jobs > _MOST_RETRIES:
            raise ValueError(f"count and failed_jobs may be {_MOST_RETRIES} together, not more")
        return self


class Input(Part):
    """Where an input comes from: an S3 prefix, or the output of an earlier step.

    ``"s3://bucket/prefix/"`` is short for ``{"s3": "s3://bucket/prefix/"}``. With `sharded`, each
    instance of the step gets its own keys (``ShardedByS3Key``); otherwise each gets all of them.
    """

    s3: S3Uri | None = None
    step: Name | None = None
    sharded: bool = False

    @model_validator(mode="before")
    @classmethod
    def _text_is_a_prefix(cls, value: Any) -> Any:
        return {"s3": _legal_s3_uri(value)} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _comes_from_one_place(self) -> Input:
        if (self.s3 is None) == (self.step is None):
            raise ValueError(
                "an input is either {'s3': 's3://bucket/prefix/'} or {'step': 'name'}, one of both"
            )
        return self


class Step(Part):
    """One processing job of a purpose."""

    name: Name
    script: Script
    inputs: dict[InputName, Input] = {}
    instance_type: InstanceType = "ml.m5.xlarge"
    instance_count: Annotated[int, Field(ge=1, le=100)] = 1
    volume_size_gb: Annotated[int, Field(ge=1, le=16384)] = 30
    max_runtime_seconds: Annotated[int, Field(ge=1, le=777_600)] = 3600
    # SageMaker takes 100; the rest are the runtime's own.
    environment: dict[Variable, Annotated[str, Field(max_length=256)]] = Field(
        default={}, max_length=80
    )
    arguments: list[Annotated[str, Field(min_length=1, max_length=256)]] = Field(
        default=[], max_length=100
    )
    network: Network | None = None
    kms: KmsKeys | None = None
    retries: Retries = Retries()

    @field_validator("environment")
    @classmethod
    def _environment_is_the_users(cls, value: dict[str, str]) -> dict[str, str]:
        reserved = sorted(name for name in value if name.upper().startswith("BATCAT_"))
        if reserved:
            raise ValueError(f"{', '.join(reserved)}: names that start with BATCAT_ are reserved")
        return value

    @property
    def places(self) -> list[str]:
        """The S3 prefixes that this step reads, the outputs of other steps aside."""
        return [source.s3 for source in self.inputs.values() if source.s3 is not None]


def _kind(value: Any) -> str:
    return "[list]" if isinstance(value, list | tuple) else "[step]"


def _one_step(steps: list[Any]) -> list[Any]:
    if not steps:
        raise ValueError("there is no step in it; name at least one")
    return steps


def _two_branches(branches: list[Any]) -> list[Any]:
    if len(branches) < 2:
        raise ValueError(
            "a list within `steps` holds what runs side by side: two steps or more, or lists of "
            "steps"
        )
    return branches


# Recursive, which mypy cannot read. pydantic picks the member by the value's kind, so that an error
# names one key and not every possibility.
if TYPE_CHECKING:
    Sequence = list[Any]
else:

    def _steps_and(lists: str, check: Callable[[list[Any]], list[Any]]) -> Any:
        member = Annotated[Step, Tag("[step]")] | Annotated[lists, Tag("[list]")]
        return Annotated[list[Annotated[member, Discriminator(_kind)]], AfterValidator(check)]

    Sequence = TypeAliasType("Sequence", _steps_and("SideBySide", _one_step))
    SideBySide = TypeAliasType("SideBySide", _steps_and("Sequence", _two_branches))


class Schedule(Part):
    """When a purpose runs by itself; off until `enabled` is true.

    `expression` is EventBridge Scheduler's: ``cron(minutes hours day month weekday year)`` or
    ``rate(1 day)``, read in `timezone` (an IANA name). A run covers the `window_days` whole days
    that end at the day on which it fires.
    """

    expression: Annotated[str, _like(r"(cron|rate)\([^()]+\)", _SCHEDULE, 256)]
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


class S3Trigger(Part):
    """Run once for each object that arrives under `prefix`; off until `enabled` is true.

    The run has no window of dates; `job.parameters` holds ``s3_bucket`` and ``s3_key``.
    """

    prefix: S3Uri
    enabled: bool = False

    @property
    def bucket(self) -> str:
        """The bucket that is watched."""
        return self.prefix.removeprefix("s3://").partition("/")[0]

    @property
    def key_prefix(self) -> str:
        """What the keys begin with; may be empty."""
        return self.prefix.removeprefix("s3://").partition("/")[2]


class RehearsalSettings(Part):
    """What a rehearsal pretends.

    The local time, in the schedule's zone, at which it fires; tables (``dw_bms.battery_usage``,
    ``catalog.db.table``, ``redshift:schema.table``) and the files with their rows; secrets, and the
    JSON files with their content. File names count from the project's folder.
    """

    fire_at: str | None = None
    tables: dict[str, str] = {}
    secrets: dict[str, str] = {}

    @field_validator("fire_at")
    @classmethod
    def _fire_at_is_a_time(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            moment = datetime.fromisoformat(value)
        except ValueError as error:
            raise ValueError(f"{value!r} is no time; write '2022-01-08T02:00:00'") from error
        if moment.tzinfo is not None:
            raise ValueError(f"{value!r} has an offset; leave it out: the schedule's zone counts")
        return value


class Place(NamedTuple):
    """Where a step stands in the workflow.

    Attributes
    ----------
    before : tuple of str
        The steps right before it, whose outputs it gets unless its inputs say otherwise.
    ended : frozenset of str
        Every step that has ended when it starts.
    """

    before: tuple[str, ...]
    ended: frozenset[str]


class Purpose(Part):
    """A pipeline of the project: its steps, and what starts it."""

    plan: Sequence = Field(alias="steps")
    schedule: Schedule | None = None
    s3_trigger: S3Trigger | None = None
    rehearsal: RehearsalSettings | None = None
    network: Network | None = None
    kms: KmsKeys | None = None

    @model_validator(mode="after")
    def _steps_fit_together(self) -> Purpose:
        names = [step.name for step in self.steps]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"steps need different names; {', '.join(twice)} stands twice")
        for step in self.steps:
            for name, source in self.inputs_of(step).items():
                if source.step is None or source.step in self._places[step.name].ended:
                    continue
                why = f"which has not ended when {step.name!r} starts"
                if source.step not in names:
                    why = f"which is no step of this purpose ({', '.join(names)})"
                raise ValueError(
                    f"step {step.name!r}: the input {name!r} wants the output of {source.step!r}, "
                    f"{why}"
                )
        return self

    @property
    def steps(self) -> list[Step]:
        """All steps, in the order in which the configuration has them."""
        return list(_flat(self.plan))

    @property
    def last_steps(self) -> list[str]:
        """The steps after which nothing comes: their outputs are the purpose's results."""
        return list(self._walked[1])

    def step(self, name: str) -> Step:
        """Return a step by name."""
        return next(step for step in self.steps if step.name == name)

    def inputs_of(self, step: Step) -> dict[str, Input]:
        """Return a step's inputs: what it says, and the output of what comes right before it.

        A step that takes any step's output by itself gets no other added.
        """
        inputs = dict(step.inputs)
        if not any(source.step for source in inputs.values()):
            for before in self._places[step.name].before:
                if before in inputs:
                    raise ValueError(
                        f"step {step.name!r}: the input {before!r} has the name of the step before "
                        "it, whose output it gets under that name; call the input something else"
                    )
                inputs[before] = Input(step=before)
        return inputs

    @property
    def _places(self) -> dict[str, Place]:
        return self._walked[0]

    @cached_property
    def _walked(self) -> tuple[dict[str, Place], tuple[str, ...]]:
        places: dict[str, Place] = {}
        ends, _ = _walk(self.plan, (), frozenset(), places)
        return places, ends


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
    region: Region
    result_s3_bucket: Bucket
    workflow_execution_role: RoleArn | None = None
    job_role: RoleArn | None = None
    trigger_role: RoleArn | None = None
    schedule_role: RoleArn | None = None
    build_role: RoleArn | None = None
    permissions_boundary: PolicyArn | None = None
    alert_email: Address | None = None
    network: Network | None = None
    kms: KmsKeys | None = None
    tags: dict[
        Annotated[str, Field(min_length=1, max_length=128), _legal_tag],
        Annotated[str, Field(max_length=256), _legal_tag],
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
        given = [keys for keys in (step.kms, self.purposes[purpose].kms, self.kms) if keys]
        return KmsKeys(
            volume=next((keys.volume for keys in given if keys.volume), None),
            output=next((keys.output for keys in given if keys.output), None),
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
        problems = [_problem(details) for details in error.errors(include_url=False)]
        raise ConfigError(
            f"{source} has {len(problems)} problem{'s' if len(problems) > 1 else ''}:\n"
            + "\n".join(f"  - {problem}" for problem in problems),
            fix="Mend the keys named above; nothing was changed.",
        ) from error


# What pydantic puts into the place of an error beside the keys.
_NO_KEYS = {"[key]", "[step]", "[list]"}


def _problem(details: Any) -> str:
    key = ".".join(str(part) for part in details["loc"] if part not in _NO_KEYS) or "(top level)"
    kind = details["type"]
    if kind == "extra_forbidden" and details["loc"][-1] == "permissions":
        return (
            f"{key}: the rights of a pipeline stand in deploy/roles.yaml now, and those of "
            "one purpose in deploy/roles.<purpose>.yaml. Statements for Athena, Redshift, secrets "
            "and S3 are there, commented out: uncomment them, then take this key away"
        )
    if kind == "extra_forbidden":
        keys = {
            field.alias or name
            for part in Part.__subclasses__()
            for name, field in part.model_fields.items()
        }
        near = difflib.get_close_matches(str(details["loc"][-1]), sorted(keys), n=1)
        return f"{key}: unknown key" + (f"; did you mean {near[0]!r}?" if near else "")
    if kind == "missing":
        return f"{key}: missing"
    message = str(details["msg"]).removeprefix("Value error, ")
    if message.startswith("purposes."):  # it names its key itself
        return message
    given = details.get("input")
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


def _flat(plan: Any) -> Iterator[Step]:
    for member in plan:
        if isinstance(member, Step):
            yield member
        else:
            yield from _flat(member)


def _walk(
    sequence: Any, before: tuple[str, ...], ended: frozenset[str], places: dict[str, Place]
) -> tuple[tuple[str, ...], frozenset[str]]:
    """Note the place of every step; return which steps end the sequence, and all that ended."""
    for member in sequence:
        if isinstance(member, Step):
            places[member.name] = Place(before, ended)
            before, ended = (member.name,), ended | {member.name}
            continue
        branches = [
            _walk([branch] if isinstance(branch, Step) else branch, before, ended, places)
            for branch in member
        ]
        before = tuple(name for ends, _ in branches for name in ends)
        ended = ended.union(*(all_of_it for _, all_of_it in branches))
    return before, ended
