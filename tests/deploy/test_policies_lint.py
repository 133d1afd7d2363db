"""Policy linters with their default rules, on everything that is generated."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from batcat_runtime.config import Config, parse_config
from batcat_runtime.deploy.naming import Names
from batcat_runtime.deploy.policies.document import NO_RESOURCES
from batcat_runtime.deploy.policy_files import all_roles
from batcat_runtime.deploy.roles import ROLES, role_resource

ACCOUNT = "123456789012"
REGIONS = {"us-east-1": "aws", "cn-northwest-1": "aws-cn", "us-gov-west-1": "aws-us-gov"}
# AWS asks for these on `*`, though its reference has begun to list a kind of resource.
_STILL_A_STAR = {"cloudwatch:PutMetricData": {"dataset"}}


def everything(content: dict[str, Any], region: str) -> Config:
    """Return a configuration that switches on every statement there is."""
    key = f"arn:{REGIONS[region]}:kms:{region}:{ACCOUNT}:key/11111111-1111-4111-8111-111111111111"
    content |= {"region": region, "kms": {"volume": key, "output": key}}
    content["network"] = {"subnets": ["subnet-1a2b3c4d"], "security_group_ids": ["sg-1a2b3c4d"]}
    purpose = content["purposes"]["usage-analysis"]
    purpose["s3_trigger"] = {"prefix": "s3://landing-zone/raw/"}
    purpose["permissions"] = {
        "athena": {
            "staging": "s3://staging-zone/queries/",
            "tables": ["battery", "lake.usage"],
            "data": ["s3://lake-zone/"],
            "catalogs": ["cdc"],
            "write": True,
        },
        "redshift": {
            "clusters": ["warehouse"],
            "workgroup_ids": ["4f4dba3d-59c9-4a2d-bc9f-a4a1e0a0a1d5"],
            "user": "etl",
        },
        "secrets": ["battery/redshift"],
        "read": ["s3://landing-zone/a/"],
        "write": ["s3://landing-zone/b/"],
        "kms_keys": [key],
    }
    return parse_config(content)


@cache
def reference() -> dict[str, Any]:
    """Return AWS's service authorization reference, which cfn-lint carries."""
    text = files("cfnlint.data.AdditionalSpecs").joinpath("Policies.json").read_text()
    return dict(json.loads(text))


def statements(config: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    for one in all_roles(config, ACCOUNT):
        for statement in one.policy["Statement"]:
            yield one.stem, statement


def tool(name: str) -> str:
    """Return a linter of the dev extra."""
    path = shutil.which(name, path=str(Path(sys.executable).parent))
    assert path, f"{name} is in the dev extra"
    return path


def listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


@pytest.mark.parametrize("region", REGIONS)
def test_parliament_finds_nothing(content: dict[str, Any], region: str, tmp_path: Path) -> None:
    for one in all_roles(everything(content, region), ACCOUNT):
        path = tmp_path / f"{one.stem.replace('/', '-')}.json"
        path.write_text(json.dumps(one.policy))
    done = subprocess.run(
        [tool("parliament"), "--directory", str(tmp_path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    assert (done.returncode, done.stdout.decode()) == (0, ""), done.stderr.decode()


@pytest.mark.parametrize("region", REGIONS)
def test_a_star_stands_only_where_aws_knows_no_resource(
    content: dict[str, Any], region: str
) -> None:
    for stem, statement in statements(everything(content, region)):
        star = "*" in listed(statement["Resource"])
        assert star == statement["Sid"].endswith(NO_RESOURCES), (stem, statement["Sid"])
        for action in listed(statement["Action"]):
            assert "*" not in action
            service, name = action.lower().split(":")
            known = reference()[service]["Actions"].get(name)
            assert known is not None, f"AWS has no action {action}"
            resources = set(listed(known.get("Resources", [])))
            if star:
                assert resources <= _STILL_A_STAR.get(action, set()), (stem, action)
            else:
                assert resources, f"{action} takes no resource, so {stem} needs a *"


def test_every_arn_carries_the_partition(content: dict[str, Any]) -> None:
    for region, partition in REGIONS.items():
        text = json.dumps([one for _, one in statements(everything(dict(content), region))])
        assert text.count("arn:") == text.count(f"arn:{partition}:") > 50


def test_every_document_is_within_iams_limits(content: dict[str, Any]) -> None:
    content["project"] = "p" * 40
    purpose = content["purposes"].pop("usage-analysis")
    purpose["steps"][0]["name"] = "s" * 40
    content["purposes"]["u" * 40] = purpose
    content["purposes"]["usage-analysis"] = purpose
    for one in all_roles(parse_config(content), ACCOUNT):
        size = len(json.dumps(one.policy, separators=(",", ":")))
        # A managed policy has 6,144 characters, a role's own policies 10,240 together.
        assert size <= (6144 if not one.name else 10_240), (one.stem, size)
        sids = [statement["Sid"] for statement in one.policy["Statement"]]
        assert len(sids) == len(set(sids))
        assert all(sid.isalnum() for sid in sids)


def test_cfn_lint_accepts_the_roles(content: dict[str, Any], tmp_path: Path) -> None:
    config = everything(content, "cn-northwest-1")
    names = Names.of(config)
    resources = {f"{role.capitalize()}Role": role_resource(role, config, names) for role in ROLES}
    template = {"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources}
    path = tmp_path / "roles.json"
    path.write_text(json.dumps(template))
    command = [tool("cfn-lint"), "--regions", "cn-northwest-1", "--", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
