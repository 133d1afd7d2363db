"""`batcat destroy` and the Athena tables of results: ours go, all others stay."""

from __future__ import annotations

from typing import Any

import pytest

import batcat_runtime as bc
from tests.operate.left_results import Left
from tests.operate.world import PURPOSE, DeployedProject, World


@pytest.fixture
def entered(chinese: World, monkeypatch: pytest.MonkeyPatch) -> DeployedProject:
    """Return a project whose results have tables, and of which nothing is deployed."""
    project = chinese.project(deploy=False)
    for name, value in chinese.aws.environment().items():
        monkeypatch.setenv(name, value)
    Left(project, monkeypatch)("2022-01-08", "2022-01-09", "a")
    bc.register_results(folder=project.folder)
    return project


def databases(project: DeployedProject) -> dict[str, list[str]]:
    """Return the tables of the project's database, by its name; nothing when it is gone."""
    glue, name = project.client("glue"), project.names.database
    there = [one["Name"] for one in glue.get_databases()["DatabaseList"]]
    if name not in there:
        return {}
    return {name: sorted(one["Name"] for one in glue.get_tables(DatabaseName=name)["TableList"])}


def keys_of(given: dict[str, Any]) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
        "AWS_SESSION_TOKEN": given["SessionToken"],
    }


def test_they_go_with_their_database(entered: DeployedProject) -> None:
    database, name = entered.names.database, entered.config.project
    both = ["usage_analysis", "usage_analysis_runs"]
    assert databases(entered) == {database: both}
    shown = entered.batcat("destroy", code=2).stdout
    assert "Athena tables of the results, with its database" in shown
    assert f"    {database}.usage_analysis_runs" in shown
    done = entered.batcat("destroy", "--confirm", name)
    assert f"removed  Athena table {database}.usage_analysis\n" in done.stdout
    assert "1 object" not in done.stdout  # a manifest and what it tells of
    assert databases(entered) == {}
    assert f"Nothing of {name} is deployed" in entered.batcat("destroy").stdout
    # The results are there still, and so the tables can be.
    assert bc.register_results(folder=entered.folder)[0].name == "usage_analysis"


def test_those_of_others_stay_and_keep_the_database(entered: DeployedProject) -> None:
    glue, database = entered.client("glue"), entered.names.database
    theirs = {"Name": "theirs", "StorageDescriptor": {"Columns": []}}
    glue.create_table(DatabaseName=database, TableInput=theirs)
    done = entered.json("destroy", "--confirm", entered.config.project, "--purpose", PURPOSE)
    assert done["tables"] == [f"{database}.usage_analysis", f"{database}.usage_analysis_runs"]
    assert databases(entered) == {database: ["theirs"]}
    assert entered.json("destroy")["inventory"]["tables"] is None


def test_without_the_right_they_are_told_with_a_command(entered: DeployedProject) -> None:
    name, database = entered.config.project, entered.names.database
    blind = keys_of(entered.world.session("no-glue", "glue:GetDatabase"))
    assert "glue:GetDatabase" in entered.batcat("destroy", **blind).stdout
    keys = keys_of(entered.world.session("no-delete", "glue:DeleteTable"))
    done = entered.batcat("destroy", "--confirm", name, **keys)
    command = f"aws glue delete-table --database-name {database} --name usage_analysis_runs"
    assert f"{command} --region cn-northwest-1" in done.stdout
    assert len(databases(entered)[database]) == 2
