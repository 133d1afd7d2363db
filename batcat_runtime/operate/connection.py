"""The project, the account that it lives in, and its stacks there: what every command begins with.

`open_project` is the one way in: from a folder to the configuration, its purposes, and clients for
the region that it is deployed in. They give up within half a minute when the network is lost.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from batcat_runtime.account import account_of
from batcat_runtime.config import Config, find_project, get_config
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.io.clients import client
from batcat_runtime.names import Names

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

    def asked(self, place: str, action: str) -> contextlib.AbstractContextManager[None]:
        """Turn AWS's refusals into typed errors that name the place and the action needed."""
        return translated(place, action)


def open_project(folder: str | Path | None = None) -> Project:
    """Return the project at or above a folder, by default the working directory.

    Raises
    ------
    ConfigError
        There is none, or its configuration is wrong.
    """
    found = find_project(folder)
    return Project(found, get_config(found))
