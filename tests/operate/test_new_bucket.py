"""`batcat deploy` offers to make the result bucket: in a terminal, by --yes, and not otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.operate.accounts import as_deployer
from tests.operate.buckets import configure
from tests.operate.world import REGIONS, DeployedProject, World


@pytest.mark.parametrize("region", REGIONS)
def test_the_bucket_is_made_when_that_is_wanted(
    worlds: Callable[[str], World], region: str
) -> None:
    project = worlds(region).project(deploy=False)
    bucket = f"new-result-{region}"
    configure(project, result_s3_bucket=bucket)
    text = Path(project.folder / "deploy" / "iam" / "deployer.json").read_text("utf-8")
    policy = text.replace(project.config.result_s3_bucket, bucket)
    (project.folder / "deploy" / "iam" / "deployer.json").write_text(policy, "utf-8")
    as_deployer(project)
    before = buckets(project)
    if region == REGIONS[0]:
        refused(project, bucket)
    done = json.loads(project.batcat("deploy", "--yes", "--json").stdout)
    assert {one["outcome"] for one in done["stacks"]} == {"created"}
    assert buckets(project) == {*before, bucket}
    blocked = project.client("s3").get_public_access_block(Bucket=bucket)
    assert set(blocked["PublicAccessBlockConfiguration"].values()) == {True}
    if region == REGIONS[0]:
        project.batcat("destroy", "--confirm", project.config.project)
        assert bucket in buckets(project), "its data stay"
        assert {one["outcome"] for one in project.json("deploy")["stacks"]} == {"created"}


def refused(project: DeployedProject, bucket: str) -> None:
    before = buckets(project)
    asked = project.batcat("deploy", code=1)
    assert f"The result bucket {bucket} does not exist" in asked.stderr
    assert f"`batcat deploy --yes` makes it; or make it yourself: aws s3 mb s3://{bucket}" in (
        asked.stderr
    )
    terminal = project.terminal("deploy")
    terminal.read_until("Make it? [Y/n]")
    terminal.type("n\n")
    assert terminal.wait() == 1
    assert buckets(project) == before


def buckets(project: DeployedProject) -> set[str]:
    return {one["Name"] for one in project.client("s3").list_buckets()["Buckets"]}
