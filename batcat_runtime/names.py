"""Every AWS name and ARN of a project, derived once and checked against the service's own rule.

A project is called what people call it; AWS services each allow something else. `Names` takes the
project, the purpose and the region, lowers and hyphenates them, shortens what is too long and adds
a hash so that two long names never meet. Two hyphens part the project from the purpose, and either
from what stands behind it: a slug has single ones only, so the purpose ``analysis`` of
``battery-usage`` never meets ``usage-analysis`` of ``battery``. Nothing else in BatCat writes an
AWS name or ``arn:`` by hand.

Limits: botocore's service models (ECR ``RepositoryName``, SageMaker ``ProcessingJobName``, Lambda
``FunctionName``, IAM ``roleNameType``, EventBridge Scheduler ``Name``), and the Step Functions
developer guide for state machines (80).
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batcat_runtime.errors import NamingError

if TYPE_CHECKING:
    from batcat_runtime.config import Config

_HASH_LENGTH = 8
_PARTITIONS = (("cn-", "aws-cn"), ("us-gov-", "aws-us-gov"))


def partition_of(region: str) -> str:
    """Return the AWS partition of a region: ``aws``, ``aws-cn`` or ``aws-us-gov``."""
    return next((name for prefix, name in _PARTITIONS if region.startswith(prefix)), "aws")


def slug(text: str) -> str:
    """Return `text` in lower case, with everything but ASCII letters and digits as single hyphens.

    Accents are dropped. Raises `NamingError` when nothing is left.

    Examples
    --------
    >>> slug("2022-RnD-battery")
    '2022-rnd-battery'
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if not name:
        raise NamingError(
            f"No AWS name can be made of {text!r}: it has no Latin letter or digit.",
            fix="Set `project` in script/config.json to one, e.g. 'battery'; keep `title`.",
        )
    return name


def shorten(name: str, limit: int) -> str:
    """Return `name` if it has at most `limit` characters, else its start and a hash of the whole.

    Examples
    --------
    >>> shorten("a" * 30, 20)
    'aaaaaaaaaaa-3a54fc0c'
    """
    if len(name) <= limit:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{name[: limit - _HASH_LENGTH - 1].rstrip('-')}-{digest}"


@dataclass(frozen=True)
class Names:
    """The AWS names of one purpose of a project in one region.

    Parameters
    ----------
    project, purpose : str
        As in the configuration.
    region : str
        The AWS region.
    """

    project: str
    purpose: str
    region: str

    @classmethod
    def of(cls, config: Config, purpose: str | None = None) -> Names:
        """Return the names for a purpose of a configuration."""
        return cls(config.project, config.purpose_name(purpose), config.region)

    @property
    def partition(self) -> str:
        """``aws``, ``aws-cn`` or ``aws-us-gov``."""
        return partition_of(self.region)

    @property
    def _stem(self) -> str:
        return f"{slug(self.project)}--{slug(self.purpose)}"

    @property
    def repository(self) -> str:
        """The ECR repository of the project: 2 to 256 lower-case characters."""
        name = shorten(slug(self.project), 256)
        return name if len(name) > 1 else f"{name}-image"

    @property
    def builder(self) -> str:
        """The CodeBuild project that builds the image where no container tool is at hand."""
        return shorten(f"{slug(self.project)}--image", 150)

    @property
    def state_machine(self) -> str:
        """The state machine: at most 80 characters."""
        return shorten(self._stem, 80)

    @property
    def backfill_machine(self) -> str:
        """The state machine that runs the workflow for many windows: at most 80 characters."""
        return shorten(f"{self._stem}--backfill", 80)

    @property
    def function(self) -> str:
        """The Lambda function that starts the workflow: at most 64 characters."""
        return shorten(f"{self._stem}--trigger", 64)

    @property
    def schedule(self) -> str:
        """The EventBridge schedule: at most 64 characters."""
        return shorten(f"{self._stem}--schedule", 64)

    @property
    def rule(self) -> str:
        """The EventBridge rule for uploads: at most 64 characters."""
        return shorten(f"{self._stem}--upload", 64)

    @property
    def project_stack(self) -> str:
        """The CloudFormation stack that all purposes share: at most 128 characters."""
        return shorten(f"batcat-{slug(self.project)}", 128)

    @property
    def builder_stack(self) -> str:
        """The stack of the build project."""
        return shorten(f"batcat-{slug(self.project)}--builder", 128)

    def stack(self, part: str) -> str:
        """Return the stack of a part of the purpose: ``roles``, ``workflow`` or ``trigger``."""
        return shorten(f"batcat-{self._stem}--{part}", 128)

    @property
    def workflow_stack(self) -> str:
        """The stack of the state machines, their log group and the alert."""
        return self.stack("workflow")

    @property
    def trigger_stack(self) -> str:
        """The stack of the Lambda function and its schedule."""
        return self.stack("trigger")

    @property
    def workflow_log_group(self) -> str:
        """The log group of the state machine.

        Under ``/aws/vendedlogs/`` because the resource policy that lets Step Functions write has a
        size limit, and that prefix needs one statement only.
        """
        return f"/aws/vendedlogs/states/{self.state_machine}"

    @property
    def function_log_group(self) -> str:
        """The log group that Lambda writes to."""
        return f"/aws/lambda/{self.function}"

    @property
    def job_prefix(self) -> str:
        """What the names of all processing jobs of the purpose begin with."""
        return slug(self.purpose)[:15].rstrip("-")

    def job_name(self, step: str) -> str:
        """Return the start of a step's processing-job names.

        A job name has at most 63 characters: this start (24), a hyphen, the attempt (1 digit), a
        hyphen and a UUID (36).
        """
        purpose = slug(self.purpose)
        return shorten(f"{purpose}-{slug(step)}" if slug(step) != purpose else purpose, 24)

    @property
    def result_prefix(self) -> str:
        """The key prefix of the purpose's results in the result bucket."""
        return f"{slug(self.project)}/{slug(self.purpose)}"

    @property
    def query_prefix(self) -> str:
        """The key prefix of what Athena writes while its results are read."""
        return f"{slug(self.project)}/_work/_athena"

    @property
    def build_prefix(self) -> str:
        """The key prefix of what deployments put into the bucket: definitions, code, contexts."""
        return f"{slug(self.project)}/_build"

    @property
    def database(self) -> str:
        """The Glue database of the project's tables: lower case, digits, underscores; 255 at most.

        It begins with a letter, so that SQL needs no quotes around it.
        """
        return shorten(f"batcat-{slug(self.project)}", 255).replace("-", "_")

    def table(self, part: str = "") -> str:
        """Return the table of the purpose's results, or of a part of them: a step, a file."""
        name = f"{slug(self.purpose)}-{slug(part)}" if part else slug(self.purpose)
        # Room for the ending of the table below the view; a digit at the start would need quotes.
        return shorten(name if name[0].isalpha() else f"t-{name}", 240).replace("-", "_")

    def work_prefix(self, step: str) -> str:
        """Return the key prefix of what a step that is not the last hands on."""
        return f"{slug(self.project)}/_work/{slug(self.purpose)}/{step}"

    @property
    def backfill_prefix(self) -> str:
        """The key prefix of the lists of windows of the purpose's backfills."""
        return self.work_prefix("_backfill")

    def arn(self, service: str, resource: str, account: str, *, region: str | None = None) -> str:
        """Return an ARN in this partition; `region` may be ``""`` for global services."""
        place = self.region if region is None else region
        return f"arn:{self.partition}:{service}:{place}:{account}:{resource}"


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
