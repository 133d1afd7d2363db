"""`batcat open`: links of the right partition, encoded as the console wants them."""

from __future__ import annotations

import re
from pathlib import Path

import batcat_runtime as bc
from batcat_runtime.operate.open import HOSTS, Pages, open  # noqa: A004
from tests.operate.world import PURPOSE, DeployedProject, World


def test_every_link_is_of_the_projects_partition_and_region(project: DeployedProject) -> None:
    links = {one["what"]: one["url"] for one in project.json("open")}
    host = {"cn-northwest-1": "console.amazonaws.cn", "us-east-1": "console.aws.amazon.com"}
    region = project.config.region
    for url in links.values():
        assert url.startswith(f"https://{host[region]}/")
        assert f"?region={region}" in url
    arn = project.opened.machine_arn(PURPOSE)
    assert links["workflow"].endswith(f"/states/home?region={region}#/statemachines/view/{arn}")
    assert links["function"].endswith(f"#/functions/{project.names.function}")
    assert links["schedule"].endswith(f"#schedules/default/{project.names.schedule}")
    assert f"/s3/buckets/{project.config.result_s3_bucket}?region=" in links["results"]
    assert links["results"].endswith(f"&prefix={project.names.result_prefix}/")
    assert links["workflow-logs"].endswith(
        f"$252Faws$252Fvendedlogs$252Fstates$252F{project.names.state_machine}"
    )
    assert f"/ecr/repositories/private/123456789012/{project.names.repository}?" in links["images"]
    # It comes with the first backfill, and another test may have run one.
    assert "backfill" in links
    shown = project.batcat("open").stdout
    assert f"workflow       {PURPOSE}  {links['workflow']}\n" in shown
    assert f"athena         {'':<{len(PURPOSE)}}  {links['athena']}\n" in shown


def test_one_thing_opens_in_the_browser(project: DeployedProject, tmp_path: Path) -> None:
    told = tmp_path / "opened"
    browser = tmp_path / "browser.sh"
    browser.write_text(f'#!/bin/sh\necho "$1" >> {told}\n', encoding="utf-8")
    browser.chmod(0o755)
    done = project.batcat("open", "results", BROWSER=f"{browser} %s")
    url = done.stdout.strip()
    assert told.read_text(encoding="utf-8").strip() == url
    assert "opening results s3://" in done.stderr
    assert (
        project.batcat("open", "results", "--print", BROWSER=f"{browser} %s").stdout == f"{url}\n"
    )
    assert len(told.read_text(encoding="utf-8").splitlines()) == 1


def test_an_execution_is_found_by_name_with_its_jobs(project: DeployedProject) -> None:
    described = project.execute("open-me", date_start="2020-01-01", date_end="2020-01-02")
    terminal = project.terminal("open", "open-me", "--print")
    assert terminal.wait() == 0
    first, job = terminal.shown.split()
    assert first.endswith(f"#/v2/executions/details/{described['executionArn']}")
    assert re.search(r"/sagemaker/home\?region=[\w-]+#/processing-jobs/usage-analysis-0-", job)
    newest = project.json("open", "execution")
    assert [one["what"] for one in newest] == ["execution", "job"]
    unknown = project.batcat("open", "nothing", code=1)
    assert "There is nothing that is called 'nothing'" in unknown.stderr
    assert "workflow, results, function" in unknown.stderr


def test_names_are_encoded_and_every_partition_has_its_host() -> None:
    pages = Pages("aws-us-gov", "us-gov-west-1", "1")
    assert pages.log_group("/a b/[$LATEST]") == (
        "https://console.amazonaws-us-gov.com/cloudwatch/home?region=us-gov-west-1"
        "#logsV2:log-groups/log-group/$252Fa$2520b$252F$255B$2524LATEST$255D"
    )
    assert pages.objects("b", "a b/ü").endswith("&prefix=a%20b/%C3%BC")
    assert set(HOSTS) == {"aws", "aws-cn", "aws-us-gov"}


def test_of_several_pipelines_one_must_be_named(chinese: World) -> None:
    project = chinese.project(deploy=False)
    project.batcat("add", "forecast")
    refused = project.batcat("open", "workflow", "--print", code=2)
    assert "several purposes" in refused.stderr
    named = project.batcat("open", "workflow", "--purpose", "forecast", "--print")
    assert named.stdout.strip().endswith(f":stateMachine:{project.config.project}--forecast")
    assert len(project.json("open", "images")) == 1


def test_a_star_import_leaves_pythons_open_alone() -> None:
    assert bc.open is open
    assert "open" not in bc.__all__
