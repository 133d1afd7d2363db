"""The template's deploy/iam, made from the runtime: the same policies with Jinja for the answers.

    python -m tests.template.policy_templates        write them

A project is configured with words that stand for the answers, its policies are made, and the words
are replaced. Names that AWS limits are marked with their limit, ``<<64:name>>``; the template's
hook shortens them as `batcat_runtime.deploy.naming` does.
"""

from __future__ import annotations

import copy
from itertools import product
from pathlib import Path
from typing import Any

from batcat_runtime.config import Config, parse_config
from batcat_runtime.deploy.codebuild import build_role_name, builder_project, builder_stack
from batcat_runtime.deploy.naming import Names
from batcat_runtime.deploy.policy_files import all_roles
from batcat_runtime.deploy.roles import BACKFILL, ROLES
from tests.conftest import CONFIG
from tests.template.baking import ROOT

FOLDER = ROOT / "{{cookiecutter.project_slug}}" / "deploy" / "iam"
PROJECT, PURPOSE, BUCKET, REGION = "zzproject", "zzpurpose", "zzbucket", "cn-northwest-1"


def policy_templates() -> dict[str, str]:
    """Return the contents of the template's files by path below deploy/iam."""
    config = _config()
    found = {}
    for one in all_roles(config):
        for path, text in one.files().items():
            found[path.replace(PURPOSE, "{{cookiecutter.purpose}}")] = _with_answers(text, config)
    return found


def _config() -> Config:
    content: dict[str, Any] = copy.deepcopy(CONFIG)
    content |= {"project": PROJECT, "region": REGION, "result_s3_bucket": BUCKET, "tags": {}}
    purpose = content["purposes"].pop("usage-analysis")
    purpose["steps"][0] |= {"name": PURPOSE, "inputs": {"usage": f"s3://{BUCKET}/raw/usage/"}}
    content["purposes"][PURPOSE] = purpose
    return parse_config(content)


def _with_answers(text: str, config: Config) -> str:
    names = Names.of(config)
    limited = {
        **{names.role(role): 64 for role in (*ROLES, BACKFILL)},
        build_role_name(names): 64,
        builder_stack(names): 128,
        builder_project(names): 64,
        names.backfill_stack: 128,
        names.workflow_stack: 128,
        names.trigger_stack: 128,
        names.backfill_stack: 128,
        names.backfill_machine: 80,
        names.project_stack: 128,
        names.function: 64,
        names.schedule: 64,
        names.state_machine: 80,
    }
    # Longest first; what has been marked is out of the way of shorter names within it.
    marks: dict[str, str] = {}
    for number, name in enumerate(sorted(limited, key=len, reverse=True)):
        mark = f"\0{number}\0"
        marks[mark] = f"<<{limited[name]}:{name}>>"
        for before, after in product(('":"', ":", "/"), ('"', "/", ":", '/"')):
            text = text.replace(f"{before}{name}{after}", f"{before}{mark}{after}")
    text = text.replace(f"processing-job/{PURPOSE}-*", f"processing-job/<<24:{PURPOSE}>>-*")
    for mark, name in marks.items():
        text = text.replace(mark, name)
    longer = "{{ '-image' if cookiecutter.__project_id | length == 1 else '' }}"
    text = text.replace(f"repository/{PROJECT}", f"repository/{PROJECT}{longer}")
    text = text.replace(
        f"batcat_{PROJECT}", "batcat_{{ cookiecutter.__project_id | replace('-', '_') }}"
    )
    for word, answer in (
        ("arn:aws-cn:", "arn:{{cookiecutter.__partition}}:"),
        (PROJECT, "{{cookiecutter.__project_id}}"),
        (PURPOSE, "{{cookiecutter.purpose}}"),
        (BUCKET, "{{cookiecutter.result_s3_bucket}}"),
        (REGION, "{{cookiecutter.region}}"),
    ):
        text = text.replace(word, answer)
    return text


def main() -> None:
    """Write the template's files; nothing else under deploy/iam is touched."""
    for name, text in policy_templates().items():
        path = Path(FOLDER, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
