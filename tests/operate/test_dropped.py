"""Pipelines that were taken out of script/config.json while they were deployed: none is lost."""

from __future__ import annotations

import json
from typing import Any

from tests.operate.test_destroy import put, stacks, tags_of
from tests.operate.world import PURPOSE, DeployedProject, World

NEW = "forecast"


def renamed(project: DeployedProject) -> None:
    """Give the project's only purpose another name, as somebody who edits the file does."""
    path = project.folder / "script" / "config.json"
    content = json.loads(path.read_text("utf-8"))
    content["purposes"] = {NEW: content["purposes"][PURPOSE]}
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")


def found_by_doctor(project: DeployedProject, **keys: str) -> dict[str, Any]:
    done = project.batcat("doctor", "--json", code=None, **keys)
    return next(one for one in json.loads(done.stdout) if "no longer" in one["name"])


def test_it_is_told_and_can_be_removed(chinese: World) -> None:
    project = chinese.project()
    names, name = project.names, project.config.project
    assert found_by_doctor(project)["status"] == "ok"
    project.execute("long", wait=False, params={"seconds": 120})
    renamed(project)
    neighbour = f"batcat-{name}--{PURPOSE}--other"
    put(project, neighbour, tags_of(project) | {"batcat:bucket": "another-result"})
    told = f"The pipeline {PURPOSE} is still deployed, though script/config.json does not have it"
    planned = project.json("plan")
    assert [line.startswith(told) for line in planned["dropped"]] == [True]
    assert told in project.batcat("plan").stdout
    assert found_by_doctor(project) | {"name": ""} == {
        "name": "",
        "status": "warning",
        "found": f"{PURPOSE} is still deployed, and runs",
        "fix": f"batcat destroy --purpose {PURPOSE}",
    }
    refused = project.batcat("destroy", "--purpose", "other", code=2)
    assert "has no purpose 'other'; it has: forecast" in refused.stderr
    remove = ("destroy", "--purpose", PURPOSE, "--confirm", name)
    assert "Execution long is still running" in project.batcat(*remove, code=2).stderr
    done = project.json(*remove, "--stop-running")
    assert done["removed"] == [names.trigger_stack, names.workflow_stack, names.stack("roles")]
    assert (done["stopped"], done["left"]) == (["long"], [])
    kept = done["inventory"]["kept"][0]
    assert kept["why"] == f"all of its data stays; counted under {name}/{PURPOSE}/"
    mine = [one for one in stacks(project) if one != neighbour]
    assert mine == [names.project_stack]
    assert project.json("plan")["dropped"] == []
    assert "has no purpose" in project.batcat(*remove, code=2).stderr


def test_it_goes_with_the_project(chinese: World) -> None:
    project = chinese.project(deploy=False)
    names, name = project.names, project.config.project
    put(project, names.project_stack)
    put(project, names.stack("roles"))
    put(project, names.trigger_stack)
    put(project, f"batcat-{name}-site")
    renamed(project)
    blind = chinese.session("blind", "cloudformation:ListStacks")
    keys = {
        "AWS_ACCESS_KEY_ID": blind["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": blind["SecretAccessKey"],
        "AWS_SESSION_TOKEN": blind["SessionToken"],
    }
    assert found_by_doctor(project, **keys)["found"] == "you lack cloudformation:ListStacks"
    shown = project.batcat("destroy", code=2, **keys)
    assert "pipelines that script/config.json has no longer: if there are any" in shown.stdout
    assert names.trigger_stack not in shown.stdout
    done = project.json("destroy", "--confirm", name)
    assert done["removed"] == [names.trigger_stack, names.stack("roles"), names.project_stack]
    assert list(stacks(project)) == [f"batcat-{name}-site"]


def test_a_deployment_reminds_of_it(chinese: World) -> None:
    project = chinese.project(deploy=False)
    names = project.names
    put(project, names.trigger_stack)
    renamed(project)
    done = project.batcat("deploy")
    assert f"until `batcat destroy --purpose {PURPOSE}`" in done.stderr
    assert stacks(project)[names.trigger_stack] == "CREATE_COMPLETE"
