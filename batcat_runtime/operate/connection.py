"""The project, the account that it lives in, and its stacks there: what every command begins with.

`open_project` is the one way in: from a folder to the configuration, its purposes, and clients for
the region that it is deployed in. They give up within half a minute when the network is lost.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError

from batcat_runtime.account import account_of
from batcat_runtime.config import Config, find_project, get_config
from batcat_runtime.errors import BatcatError
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.io.clients import client
from batcat_runtime.names import Names

# Where boto3 has other words than IAM.
_SERVICES = {"servicequotas": "service-quotas", "states": "stepfunctions"}
_OPERATIONS = {"ListBucket": "list_objects_v2"}
# States in which a stack holds what its template says.
STANDING = frozenset(
    {
        "CREATE_COMPLETE",
        "UPDATE_COMPLETE",
        "UPDATE_ROLLBACK_COMPLETE",
        "IMPORT_COMPLETE",
        "IMPORT_ROLLBACK_COMPLETE",
    }
)


@dataclass(frozen=True)
class Project:
    """A project, its configuration, and clients for the region that it is deployed in.

    Attributes
    ----------
    folder : Path
        The project's folder.
    config : Config
        Its configuration, checked.
    """

    folder: Path
    config: Config

    def client(self, service: str) -> Any:
        """Return the boto3 client of a service in the project's region, made once."""
        return client(service, region=self.config.region, hasty=True)

    def names(self, purpose: str) -> Names:
        """Return the AWS names of a purpose."""
        return Names.of(self.config, purpose)

    def purposes(self, purpose: str | None = None) -> list[str]:
        """Return the purpose that was named, or all of them in their order."""
        return [self.config.purpose_name(purpose)] if purpose else list(self.config.purposes)

    @cached_property
    def account(self) -> str:
        """The 12-digit account id of the credentials in use."""
        return account_of(self.config)

    def machine_arn(self, purpose: str) -> str:
        """Return the ARN of a purpose's state machine."""
        names = self.names(purpose)
        return names.arn("states", f"stateMachine:{names.state_machine}", self.account)

    def result_uri(self, purpose: str) -> str:
        """Return the ``s3://`` prefix of a purpose's results, without a slash at its end."""
        return f"s3://{self.config.result_s3_bucket}/{self.names(purpose).result_prefix}"

    def option(self, purpose: str) -> str:
        """Return what a command for this purpose needs: `` --purpose NAME``, or nothing."""
        return f" --purpose {purpose}" if len(self.config.purposes) > 1 else ""

    def call(
        self, action: str, place: str, *, absent: Collection[str] = (), **given: Any
    ) -> dict[str, Any]:
        """Return what AWS answers; an empty answer for an error that says that there is nothing.

        Parameters
        ----------
        action : str
            As IAM names it: ``states:DescribeExecution``.
        place : str
            What is asked for, as errors call it.
        absent : collection of str
            Codes of errors that say that it is not there.
        **given
            What boto3 is given.
        """
        service, operation = _operation(action)
        with self.asked(action, place):
            try:
                return dict(getattr(self.client(service), operation)(**given))
            except ClientError as error:
                if error.response["Error"]["Code"] not in absent:
                    raise
                return {}

    def pages(
        self, action: str, place: str, *, absent: Collection[str] = (), **given: Any
    ) -> Iterator[Any]:
        """Yield what AWS lists, of every page; see `call`."""
        service, operation = _operation(action)
        with self.asked(action, place):
            try:
                pages = self.client(service).get_paginator(operation).paginate(**given)
                for page in pages:
                    yield from page.get(pages.result_keys[0].expression, ())
            except ClientError as error:
                if error.response["Error"]["Code"] not in absent:
                    raise

    def asked(self, action: str, place: str) -> contextlib.AbstractContextManager[None]:
        """Turn AWS's refusals into typed errors that name the place and the action needed."""
        return translated(place, action)


def code_of(error: BatcatError) -> str:
    """Return the code that AWS gave an error; empty when it was none of AWS's."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def _operation(action: str) -> tuple[str, str]:
    """Return the service and the operation of an action, as boto3 has them."""
    service, _, name = action.partition(":")
    return _SERVICES.get(service, service), _OPERATIONS.get(name) or xform_name(name)


def open_project(folder: str | Path | None = None) -> Project:
    """Return the project at or above a folder, by default the working directory.

    Raises
    ------
    ConfigError
        There is none, or its configuration is wrong.
    """
    found = find_project(folder)
    return Project(found, get_config(found))
