"""Files of a project as tables: what `rehearsal.tables` of the config asks for."""

from __future__ import annotations

import datetime
from pathlib import Path

import boto3
import pandas as pd
import pytest

import batcat_runtime as bc
from batcat_runtime.errors import ConfigError, QueryError
from batcat_runtime.rehearsal.aws.environment import applied
from batcat_runtime.rehearsal.aws.lake.world import make_tables
from tests.rehearsal.conftest import REGION, Cloud

_QUERY = "SELECT vin, usage, time FROM cdc.dw_bms.battery_usage WHERE time >= {} ORDER BY time"


@pytest.fixture
def session(cloud: Cloud) -> boto3.Session:
    with applied(cloud.aws.environment()):
        yield boto3.Session(region_name=REGION)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.csv").write_text("VIN,usage,time\nLB1,1.5,2022-01-01 08:00:00\n")
    (tmp_path / "data/b.csv").write_text("VIN,usage,time\nLB2,,2022-02-01 09:30:00\n")
    frame = pd.DataFrame({"day": [datetime.date(2022, 1, 1)], "n": [2]})
    frame.to_parquet(tmp_path / "data/c.parquet", index=False)
    return tmp_path


def test_the_tutorial_s_query_asks_files_of_the_project(
    cloud: Cloud, session: boto3.Session, project: Path
) -> None:
    tables = {"cdc.dw_bms.battery_usage": "data/*.csv", "dw_bms.days": "data/*.parquet"}
    for _ in range(2):  # a second rehearsal in the same AWS makes them anew
        made = make_tables(tables, project, session)
    assert made == ["cdc.dw_bms.battery_usage", "awsdatacatalog.dw_bms.days"]
    staging = f"s3://{cloud.bucket()}/athena/"
    found = bc.read_data_from_athena(
        _QUERY.format("timestamp '{}'"), REGION, staging, date_start="2022-01-15"
    )
    assert found["vin"].tolist() == ["LB2"]
    assert found["time"].tolist() == [pd.Timestamp("2022-02-01 09:30:00")]
    days = bc.read_data_from_athena("SELECT * FROM dw_bms.days", REGION, staging)
    assert days["n"].tolist() == [2]
    with pytest.raises(QueryError, match=r"(?s)TYPE_MISMATCH.*Fix: .*timestamp '\{\}'"):
        bc.read_data_from_athena(_QUERY.format("'{}'"), REGION, staging, date_start="2022-01-15")


@pytest.mark.parametrize(
    ("name", "pattern", "said"),
    [
        ("battery_usage", "data/*.csv", "database.table"),
        ("dw_bms.battery_usage", "nowhere/*.csv", "finds no file"),
        ("dw_bms.battery_usage", "data/*", "of one kind"),
        ("dw_bms.battery_usage", "bad.parquet", "cannot be read"),
    ],
)
def test_what_cannot_become_a_table_is_named(
    session: boto3.Session, project: Path, name: str, pattern: str, said: str
) -> None:
    (project / "bad.parquet").write_text("no Parquet")
    with pytest.raises(ConfigError, match=rf"(?s)rehearsal.tables: '{name}' .*{said}"):
        make_tables({name: pattern}, project, session)
