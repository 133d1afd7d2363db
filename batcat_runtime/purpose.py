"""A purpose of the project: its steps, how they follow on each other, and what starts it.

``steps`` in ``script/config.json`` is read in order. A list within it stands for side by side:
each of its elements is a branch, and a branch is one step or a list of steps in order (in which a
list is side by side again). So every configuration is a workflow that Step Functions can draw, and
none can contradict itself. A step's output is the input of what comes next.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)
from typing_extensions import TypeAliasType

from batcat_runtime.names import bucket_problem

NAME_PATTERN = r"^[a-z][a-z0-9-]*$"
INPUT_PATTERN = r"^[a-z][a-z0-9_-]*$"
INSTANCE_PATTERN = r"^ml\.[a-z0-9-]+\.[a-z0-9]+$"
VARIABLE_PATTERN = r"^[a-zA-Z_][a-zA-Z0-9_]*$"
SCHEDULE_PATTERN = r"^(cron|rate)\([^()]+\)$"
KMS_PATTERN = r"^[a-zA-Z0-9:/_-]+$"
_S3_URI = re.compile(r"s3://([^/]+)/?(.*)")
_MOST_RETRIES = 9  # a job's name has room for one digit of the attempt


def legal_bucket(name: str) -> str:
    """Return a bucket's name, or raise a ValueError that says what is wrong with it."""
    reason = bucket_problem(name)
    if reason:
        raise ValueError(f"{name!r} is no S3 bucket name: {reason}; for example '2022-rnd-battery'")
    return name


def _legal_s3_uri(uri: str) -> str:
    match = _S3_URI.fullmatch(uri)
    if not match:
        raise ValueError(f"{uri!r} is no S3 place; write it as 's3://bucket/prefix/'")
    legal_bucket(match[1])
    return uri


S3Uri = Annotated[str, AfterValidator(_legal_s3_uri)]
KmsKey = Annotated[str, Field(pattern=KMS_PATTERN, max_length=2048)]
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=40)]
InputName = Annotated[str, Field(pattern=INPUT_PATTERN, max_length=40)]


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
    """One processing job of a purpose.

    `engine` is what runs its script: ``python`` in the project's own image, or ``spark`` on all
    instances together, in the image that AWS has for it.
    """

    name: Name
    script: str
    engine: Literal["python", "spark"] = "python"
    inputs: dict[InputName, Input] = {}
    instance_type: Annotated[str, Field(pattern=INSTANCE_PATTERN)] = "ml.m5.xlarge"
    instance_count: Annotated[int, Field(ge=1, le=100)] = 1
    volume_size_gb: Annotated[int, Field(ge=1, le=16384)] = 30
    max_runtime_seconds: Annotated[int, Field(ge=1, le=777_600)] = 3600
    environment: dict[
        Annotated[str, Field(pattern=VARIABLE_PATTERN, max_length=256)],
        Annotated[str, Field(max_length=256)],
    ] = Field(default={}, max_length=80)  # SageMaker takes 100; the rest are the runtime's own
    arguments: list[Annotated[str, Field(min_length=1, max_length=256)]] = Field(
        default=[], max_length=100
    )
    network: Network | None = None
    kms: KmsKeys | None = None
    retries: Retries = Retries()

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

    @model_validator(mode="after")
    def _spark_shares_its_inputs_out(self) -> Step:
        sharded = [name for name, one in self.inputs.items() if one.sharded]
        if self.engine == "spark" and sharded:
            raise ValueError(
                f"inputs.{sharded[0]}.sharded: Spark shares out what it reads; remove the key"
            )
        return self

    @property
    def places(self) -> list[str]:
        """The S3 prefixes that this step reads, the outputs of other steps aside."""
        return [one.s3 for one in self.inputs.values() if one.s3 is not None]


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
    Sequence = TypeAliasType(
        "Sequence",
        Annotated[
            list[
                Annotated[
                    "Annotated[Step, Tag('[step]')] | Annotated[SideBySide, Tag('[list]')]",
                    Discriminator(_kind),
                ]
            ],
            AfterValidator(_one_step),
        ],
    )
    SideBySide = TypeAliasType(
        "SideBySide",
        Annotated[
            list[
                Annotated[
                    "Annotated[Step, Tag('[step]')] | Annotated[Sequence, Tag('[list]')]",
                    Discriminator(_kind),
                ]
            ],
            AfterValidator(_two_branches),
        ],
    )


class Schedule(Part):
    """When a purpose runs by itself; off until `enabled` is true.

    `expression` is EventBridge Scheduler's: ``cron(minutes hours day month weekday year)`` or
    ``rate(1 day)``, read in `timezone` (an IANA name). A run covers the `window_days` whole days
    that end at the day on which it fires.
    """

    expression: Annotated[str, Field(pattern=SCHEDULE_PATTERN, max_length=256)]
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


@dataclass(frozen=True)
class Place:
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
            for name, one in self.inputs_of(step).items():
                if one.step is not None and one.step not in self._places[step.name].ended:
                    raise ValueError(_not_before(step, name, one.step, names))
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
        if not any(one.step for one in inputs.values()):
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


def _flat(plan: Any) -> Iterator[Step]:
    for one in plan:
        if isinstance(one, Step):
            yield one
        else:
            yield from _flat(one)


def _walk(
    sequence: Any, before: tuple[str, ...], ended: frozenset[str], places: dict[str, Place]
) -> tuple[tuple[str, ...], frozenset[str]]:
    """Note the place of every step; return which steps end the sequence, and all that ended."""
    for one in sequence:
        if isinstance(one, Step):
            places[one.name] = Place(before, ended)
            before, ended = (one.name,), ended | {one.name}
            continue
        branches = [
            _walk([branch] if isinstance(branch, Step) else branch, before, ended, places)
            for branch in one
        ]
        before = tuple(name for ends, _ in branches for name in ends)
        ended = ended.union(*(all_of_it for _, all_of_it in branches))
    return before, ended


def _not_before(step: Step, name: str, wanted: str, names: list[str]) -> str:
    start = f"step {step.name!r}: the input {name!r} wants the output of "
    if wanted not in names:
        return f"{start}{wanted!r}, which is no step of this purpose ({', '.join(names)})"
    return f"{start}{wanted!r}, which has not ended when {step.name!r} starts"
