"""docs/operate.md: a week with a pipeline, each command run in order against the embedded AWS."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from batcat_runtime.commands import GROUPS
from batcat_runtime.config import get_config
from batcat_runtime.project import new_project
from tests.conftest import REPOSITORY
from tests.docs.session import commands_of, form_of, rewrite
from tests.faultproxy import Fault, proxied_aws
from tests.operate.world import DeployedProject, World, in_process

PAGE = REPOSITORY / "docs" / "operate.md"
# Long enough for the next line to find it running.
SLOW = Fault("s3", "GetObject", delay=6)


@contextmanager
def week() -> Iterator[Callable[[str], str]]:
    """Yield what runs a line of the page and returns all that it prints."""
    with (
        tempfile.TemporaryDirectory(prefix="batcat-docs-") as temporary,
        proxied_aws("cn-northwest-1", enforce_policies=True) as (aws, wire),
    ):
        home = Path(temporary)
        answers = {"project_name": "battery", "region": aws.region}
        folder = new_project(answers, no_input=True, output_dir=home)
        project = DeployedProject(World(aws, wire, home), folder, get_config(folder))
        keys = _keys_of_ada(project.client("iam"))
        project.environment |= {**keys, "XDG_RUNTIME_DIR": temporary}
        yield lambda line: _run(project, line)


def _keys_of_ada(iam: Any) -> dict[str, str]:
    """Return the keys of a user, as most people have them who deploy."""
    iam.create_user(UserName="ada")
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [everything]})
    iam.put_user_policy(UserName="ada", PolicyName="all", PolicyDocument=document)
    key = iam.create_access_key(UserName="ada")["AccessKey"]
    return {
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
    }


def _run(project: DeployedProject, line: str) -> str:
    if "--no-wait" in line:
        project.world.wire.set(SLOW)
    # Where the project and its tools lie is of no interest to a reader.
    places = {
        str(project.folder): "~/project_battery",
        str(project.world.aws.home / "bin"): "/usr/bin",
    }
    text = _typed(project, line)
    for place, shown in places.items():
        text = text.replace(place, shown)
    return text


def _typed(project: DeployedProject, line: str) -> str:
    if re.fullmatch(r"batcat (?!local |results register)[\w ./:-]+", line):
        said = io.StringIO()  # a process of its own would show the same, later
        in_process(line.split()[1:], project.folder, project.environment, said, said)
        return said.getvalue()
    command = f'batcat() {{ "{sys.executable}" -m batcat_runtime "$@"; }}\n{line}'
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=project.folder,
        env={**project.environment, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        timeout=180,
        check=False,
    )
    return done.stdout


def test_every_command_prints_what_the_page_says() -> None:
    commands = commands_of(PAGE.read_text("utf-8"))
    with week() as run:
        for command in commands:
            assert form_of(run(command.line)) == form_of(command.output), command.line


def test_the_page_shows_every_command() -> None:
    typed = {command.line.split()[1] for command in commands_of(PAGE.read_text("utf-8"))}
    assert {*GROUPS["Operate"], "plan", "deploy", "destroy"} <= typed


if __name__ == "__main__":
    with week() as run_line:
        rewrite(PAGE, run_line)
