"""The roles in deploy/roles.yaml: enough for all that a pipeline does, and nothing idle in them."""

from __future__ import annotations

import json
import re
from pathlib import Path

from batcat_runtime.rehearsal.aws.iam.trail import read_trail
from tests.conftest import REPOSITORY
from tests.faultproxy import proxied_aws
from tests.operate.world import PURPOSE, World

ROLES = REPOSITORY / "{{cookiecutter.project_slug}}" / "deploy" / "roles.yaml"
SCRIPT = """
import pandas as pd, batcat_runtime as bc
with bc.processing_job() as job:
    job.save(pd.DataFrame({"n": [1]}), "n.csv")
"""
KEY = "arn:aws-cn:kms:cn-northwest-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
# All that switches a statement on.
SETTINGS = {
    "kms": {"volume": KEY, "output": KEY},
    "network": {"subnets": ["subnet-01234567"], "security_group_ids": ["sg-01234567"]},
}


def test_the_roles_are_enough_and_what_is_idle_is_explained(tmp_path: Path) -> None:
    with proxied_aws("cn-northwest-1", enforce_policies=True) as (aws, wire):
        project = World(aws, wire, tmp_path).project(deploy=False, script=SCRIPT)
        path = project.folder / "script" / "config.json"
        content = json.loads(path.read_text("utf-8")) | SETTINGS
        last = {"name": "last", "script": f"{PURPOSE}.py"}
        content["purposes"][PURPOSE]["steps"].append(last)
        path.write_text(json.dumps(content), "utf-8")
        project.deploy()
        project.client("lambda").invoke(FunctionName=project.names.function, Payload=b"{}")
        project.batcat("backfill", "2022-01-01", "2022-01-02")
        iam, idle = project.client("iam"), set()
        described = project.client("cloudformation").describe_stack_resources
        for role in described(StackName=project.names.stack("roles"))["StackResources"]:
            name = role["PhysicalResourceId"]
            [policy] = iam.list_role_policies(RoleName=name)["PolicyNames"]
            document = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
            calls = [entry for entry in read_trail(aws.home) if entry.role.endswith(f"/{name}")]
            denied = {(one.action, one.resource) for one in calls if one.reason != "allowed"}
            assert denied == set(), name
            given = [statement["Action"] for statement in document["Statement"]]
            allowed = {one for each in given for one in ([each] if isinstance(each, str) else each)}
            idle |= allowed - {one.action for one in calls}
    explained = re.findall(r"([a-z0-9]+:[A-Za-z]+)  # \w+", ROLES.read_text("utf-8"))
    assert sorted(idle) == sorted(explained), "beside each in roles.yaml stands what it is for"
