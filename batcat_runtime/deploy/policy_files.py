"""The policies as files under ``deploy/iam``, and as one text for an administrator.

Files say ``${AccountId}`` where an account's 12 digits go: a project is made before anybody knows
its account, and the same files serve a test account and the real one. They follow from
``script/config.json`` alone, so `differences` can tell whether they are in step with it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batcat_runtime.config import Config
from batcat_runtime.deploy.codebuild import build_policy, build_role_name, build_trust
from batcat_runtime.deploy.naming import Names
from batcat_runtime.deploy.policies.document import Document
from batcat_runtime.deploy.roles import (
    BACKFILL,
    analyst_policy,
    backfill_policies,
    deployer_policies,
    existing_role,
    operator_policy,
    policy,
    roles_of,
    trust,
)
from batcat_runtime.errors import UserError

PLACEHOLDER = "${AccountId}"
_SUFFIXES = (".policy.json", ".trust.json")


@dataclass(frozen=True)
class RoleFiles:
    """A role, or a kind of user, with its documents.

    Attributes
    ----------
    stem : str
        The start of its files below ``deploy/iam``: ``usage-analysis/job``.
    name : str
        The role's name; empty for the deployer, operators and analysts, whose names are the
        administrator's choice.
    given : str or None
        The ARN of a role that exists, as the configuration names it.
    trust : dict or None
        Who may assume it; None for those without a name.
    policy : dict
        What it may do.
    """

    stem: str
    name: str
    given: str | None
    trust: Document | None
    policy: Document

    def files(self) -> dict[str, str]:
        """Return the files' contents by path below ``deploy/iam``."""
        found = {f"{self.stem}.policy.json": _text(self.policy)}
        if self.trust is not None:
            found[f"{self.stem}.trust.json"] = _text(self.trust)
        return found


def all_roles(config: Config, account: str = PLACEHOLDER) -> list[RoleFiles]:
    """Return every role of a project, the deployer's parts first.

    Parameters
    ----------
    config : Config
        The project.
    account : str
        The 12-digit account id, or what stands in its place.
    """
    found = []
    for part, document in deployer_policies(config, account).items():
        stem = {"": "deployer", "build": "deployer-build"}.get(part, f"{part}/deployer")
        found.append(RoleFiles(stem, "", None, None, document))
    for purpose, document in backfill_policies(config, account).items():
        found.append(RoleFiles(f"{purpose}/deployer-backfill", "", None, None, document))
    first = Names.of(config, next(iter(config.purposes)))
    build = build_policy(config, first, account)
    found.append(
        RoleFiles("build", build_role_name(first), config.build_role, build_trust(account), build)
    )
    for purpose in config.purposes:
        names = Names.of(config, purpose)
        operator = operator_policy(config, purpose, account)
        found.append(RoleFiles(f"{purpose}/operator", "", None, None, operator))
        analyst = analyst_policy(config, purpose, account)
        found.append(RoleFiles(f"{purpose}/analyst", "", None, None, analyst))
        found += [
            RoleFiles(
                f"{purpose}/{role}",
                names.role(role),
                existing_role(config, role),
                trust(role, names, account),
                policy(role, config, names, account),
            )
            for role in (*roles_of(config, purpose), BACKFILL)
        ]
    return sorted(found, key=lambda one: (one.stem.partition("/")[::2], one.stem))


def write_policies(config: Config, folder: Path, account: str = PLACEHOLDER) -> list[Path]:
    """Write every role's trust and permissions as readable JSON.

    Parameters
    ----------
    config : Config
        The project.
    folder : Path
        By custom ``deploy/iam``; made if missing.
    account : str
        The 12-digit account id; by default the placeholder stays.

    Returns
    -------
    list of Path
        The files, written or as they were.
    """
    written = []
    for name, text in _wanted(config, account).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8", newline="\n")
        written.append(path)
    return written


def differences(config: Config, folder: Path) -> list[str]:
    """Say how the files differ from what the configuration asks for; nothing when they do not.

    Parameters
    ----------
    config : Config
        The project.
    folder : Path
        By custom ``deploy/iam``.

    Returns
    -------
    list of str
        A line for each file that is missing, differs or belongs to nothing any more.
    """
    wanted = _wanted(config, PLACEHOLDER)
    found = []
    for name, text in wanted.items():
        path = folder / name
        if not path.is_file():
            found.append(f"{name} is missing")
        elif path.read_text(encoding="utf-8") != text:
            found.append(f"{name} is not what script/config.json asks for")
    present = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.json")
        if path.name.endswith(_SUFFIXES)
    }
    found += [f"{name} belongs to nothing in script/config.json" for name in present - set(wanted)]
    return sorted(found)


def printed(config: Config, account: str = PLACEHOLDER) -> str:
    """Return all documents as one text, with the names of the roles and what to do with each."""
    parts = [_HEAD.format(project=config.project, region=config.region, account=account)]
    for one in all_roles(config, account):
        parts.append(f"## {one.stem}\n\n{_about(one)}\n")
        if one.trust is not None:
            parts.append(f"Trust policy ({one.stem}.trust.json):\n\n{_text(one.trust)}")
        parts.append(f"Permissions ({one.stem}.policy.json):\n\n{_text(one.policy)}")
    return "\n".join(parts)


def checked_account(account: str) -> str:
    """Return a 12-digit account id, or refuse it.

    Raises
    ------
    UserError
        It is no account id.
    """
    if not re.fullmatch(r"\d{12}", account):
        raise UserError(
            f"{account!r} is no AWS account id: it has 12 digits, such as 123456789012.",
            fix="Ask `aws sts get-caller-identity --query Account --output text`.",
        )
    return account


def _wanted(config: Config, account: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in all_roles(config, account):
        found |= one.files()
    return found


def _about(one: RoleFiles) -> str:
    if one.stem.endswith("/operator"):
        return (
            "For the user or role that runs and watches this pipeline, and changes nothing. Make a "
            "customer managed policy of it."
        )
    if one.stem.endswith("/analyst"):
        return (
            "For the user or role that asks this pipeline's results in Athena (`batcat results "
            "query`). Make a customer managed policy of it."
        )
    if one.name == "":
        if one.stem.endswith("deployer-backfill"):
            return (
                "For the user or role that runs `batcat backfill`. Make a customer managed policy."
            )
        return (
            "For the user or role that runs deploy/deploy.sh. Make a customer managed policy of it"
            + (", only if AWS CodeBuild shall build the image." if "build" in one.stem else ".")
        )
    if one.given:
        return f"The configuration names a role that exists: {one.given}. It needs what follows."
    return f"Role name: {one.name}"


def _text(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


_HEAD = """\
# Roles of the BatCat project {project} in {region}, account {account}

deploy/deploy.sh creates these roles itself when whoever runs it may. Otherwise create each by hand
(docs/roles.md says how, in the console and with the AWS CLI) and put the ARNs into
script/config.json: workflow_execution_role, job_role, trigger_role, schedule_role, build_role.
"""
