"""A world to rehearse in: tables and secrets that script/config.json names, asked by a job."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from batcat_runtime.errors import BatcatError
from batcat_runtime.project import new_project
from tests.rehearsal.records import rehearsed

ROWS = "vin,time,kwh\nA,2022-01-01,1.5\nB,2022-01-02,2.5\nC,2022-01-09,9.5\n"
QUERY = "select vin, kwh from dw_bms.battery_usage where time >= '{}' and time < '{}' order by vin"
SCRIPT = """
import batcat_runtime as bc

with bc.processing_job() as job:
    frame = bc.{call}, date_start=job.date_start, date_end=job.date_end)
    raise SystemExit(frame.to_csv(index=False).replace("\\n", ";"))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    made = new_project({"example": "battery"}, no_input=True, output_dir=tmp_path)
    (made / "data" / "test" / "usage.csv").write_text(ROWS)
    return made


def pretend(project: Path, **world: dict[str, str]) -> None:
    """Give the project's rehearsal tables and secrets."""
    file = project / "script" / "config.json"
    content: dict[str, Any] = json.loads(file.read_text("utf-8"))
    content["purposes"]["usage-analysis"]["rehearsal"].update(world)
    file.write_text(json.dumps(content), "utf-8")


def uncomment(project: Path, *statements: str, **names: str) -> None:
    """Let the job role have statements that roles.yaml offers, with other names in them."""
    roles = project / "deploy" / "roles.yaml"
    for statement in statements:
        head, sid, rest = roles.read_text("utf-8").partition(f"# - Sid: {statement}\n")
        assert sid
        block, empty, tail = rest.partition("#\n")
        block = (sid + block).replace("# ", "")
        for old, new in names.items():
            block = block.replace(old.replace("_", "-"), new).replace(old, new)
        roles.write_text(head + block + empty + tail, "utf-8")


def test_a_job_asks_redshift_by_a_secret(project: Path) -> None:
    login = {"username": "awsuser", "password": "Cells-2022", "dbClusterIdentifier": "my-cluster"}
    (project / "data" / "test" / "secret.json").write_text(json.dumps(login))
    pretend(
        project,
        tables={"redshift:dw_bms.battery_usage": "data/test/usage.csv"},
        secrets={"my/secret": "data/test/secret.json"},
    )
    uncomment(project, "Redshift", "Secrets")
    call = f"read_data_from_redshift_by_secret('my/secret', 'cn-northwest-1', {QUERY!r}"
    (project / "script" / "usage-analysis.py").write_text(SCRIPT.format(call=call))
    done = rehearsed(project)
    assert "vin,kwh;A,1.5;B,2.5;" in done.said, done.said


def test_a_job_asks_athena(project: Path) -> None:
    """The tutorial's query: a date beside a text, which Athena has to be told."""
    pretend(project, tables={"dw_bms.battery_usage": "data/test/usage.csv"})
    names = {"my_database": "dw_bms", "my_tables": "batcat-rehearsal-tables-cn-northwest-1"}
    uncomment(project, "Athena", **names, my_athena_results="project-battery-result")
    query = QUERY.replace("'{}'", "date '{}'")
    staging = "s3://project-battery-result/athena/"
    call = f"read_data_from_athena({query!r}, 'cn-northwest-1', {staging!r}"
    (project / "script" / "usage-analysis.py").write_text(SCRIPT.format(call=call))
    done = rehearsed(project)
    assert "vin,kwh;A,1.5;B,2.5;" in done.said, done.said


@pytest.mark.parametrize(
    ("world", "said"),
    [
        ({"tables": {"dw_bms.usage": "data/test/nothing*.csv"}}, "tables.dw_bms.usage names"),
        ({"tables": {"dw_bms.usage": "/etc/passwd"}}, "has no such file"),
        ({"secrets": {"my/secret": "data/test/usage.csv"}}, "which is no JSON"),
        ({"secrets": {"my/secret": "data/test/no.json"}}, "which cannot be read"),
        ({"secret": {"my/secret": "x"}}, "rehearsal.secret"),
    ],
)
def test_a_world_that_is_not_there_is_told_before_anything_starts(
    project: Path, world: dict[str, Any], said: str
) -> None:
    pretend(project, **world)
    with pytest.raises(BatcatError, match=re.escape(said)):
        rehearsed(project)
