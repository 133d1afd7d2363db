"""`batcat results register`: the Athena tables of results, and SQL over them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import batcat_runtime as bc
from batcat_runtime.errors import DataFormatError, UserError
from batcat_runtime.job import ProcessingJob
from tests.operate.left_results import Fill, Left
from tests.operate.world import PURPOSE, REGIONS, DeployedProject, World, pointed


@pytest.fixture(params=REGIONS)
def empty(
    request: pytest.FixtureRequest,
    worlds: Callable[[str], World],
    monkeypatch: pytest.MonkeyPatch,
) -> DeployedProject:
    """Return a project of its own whose results are all a test's; it is not deployed."""
    return pointed(worlds(request.param).project(deploy=False), monkeypatch)


@pytest.fixture
def one(chinese: World, monkeypatch: pytest.MonkeyPatch) -> DeployedProject:
    """Return such a project in one region only."""
    return pointed(chinese.project(deploy=False), monkeypatch)


def saves(frame: pd.DataFrame, name: str = "usage-analysis.csv") -> Fill:
    return lambda job: job.save(frame, name)


def both(*fills: Fill) -> Fill:
    return lambda job: [fill(job) for fill in fills]


def query(project: DeployedProject, sql: str) -> list[list[Any]]:
    staging = f"s3://{project.config.result_s3_bucket}/asked/"
    frame = bc.read_data_from_athena(
        sql, project.config.region, staging, database=project.names.database
    )
    assert isinstance(frame, pd.DataFrame)
    return [
        [None if pd.isna(cell) else cell for cell in row]
        for row in frame.itertuples(index=False, name=None)
    ]


def test_csv_becomes_a_typed_view_of_what_counts(
    empty: DeployedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = Left(empty, monkeypatch)
    frame = pd.DataFrame(
        {
            "VIN": ['A, "the first"', "B\\n"],
            "usage-kWh": [1.5, None],
            "n": pd.array([1, None], dtype="Int64"),
            "good": [True, False],
            "at": [pd.Timestamp("2022-01-08 05:06:07"), pd.Timestamp("2022-01-08 05:06:07.250")],
            "zoned": pd.to_datetime(["2022-01-08 05:00+08:00", None]),
            "date": [dt.date(2022, 1, 8), None],
            "电压": [3.5, 3.75],
            "nothing": [None, None],
        }
    )
    left("2022-01-08", "2022-01-09", "a-old", saves(frame.assign(n=[100, 100])))
    left("2022-01-08", "2022-01-09", "b-new", saves(frame))
    # Another day has fractions where this one has whole numbers, and is compressed.
    later = frame.assign(n=[2.5, 3.0])[:1]
    left("2022-01-09", "2022-01-10", "day-9", saves(later, "usage-analysis.csv.gz"))
    left.lose(left("2022-01-10", "2022-01-11", "no-manifest", saves(frame)) + "_manifest.json")
    shown = empty.batcat("results", "register")
    database = empty.names.database
    assert f"{database}.usage_analysis  (from usage-analysis.csv, without 2 runs" in shown.stdout
    assert "VIN is vin, usage-kWh is usage_kwh, date is date_1" in shown.stderr
    example = shown.stdout.split('athena("')[1].split('"')[0]
    assert len(query(empty, example)) == 3
    found = query(empty, "SELECT * FROM usage_analysis ORDER BY date, vin")
    day, zoned = pd.Timestamp(2022, 1, 8), pd.Timestamp("2022-01-07 21:00")
    at = pd.Timestamp("2022-01-08 05:06:07")
    assert found == [
        ['A, "the first"', 1.5, 1.0, True, at, zoned, day, 3.5, None, "b-new", day],
        [
            *("B\\n", None, None, False, at.replace(microsecond=250_000), None, None, 3.75, None),
            *("b-new", day),
        ],
        [
            *('A, "the first"', 1.5, 2.5, True, at, zoned, day, 3.5, None),
            *("day-9", pd.Timestamp(2022, 1, 9)),
        ],
    ]
    every = "SELECT date, count(*) AS n FROM usage_analysis_runs GROUP BY date ORDER BY date"
    assert [count for _, count in query(empty, every)] == [4, 1, 2]
    # What is computed again counts after the next call, and an earlier day widens the projection.
    left("2022-01-09", "2022-01-10", "z-again", saves(frame))
    left("2021-12-31", "2022-01-01", "earlier", saves(frame))
    made = empty.json("results", "register")
    assert (made[0]["excluded"], made[0]["columns"]["电压"]) == (3, "double")
    counted = query(empty, "SELECT run, count(*) FROM usage_analysis GROUP BY run ORDER BY run")
    assert counted == [["b-new", 2], ["earlier", 2], ["z-again", 2]]
    # Nothing of Athena's stays.
    prefix = f"{empty.names.query_prefix}/"
    listed = empty.client("s3").list_objects_v2(Bucket=empty.config.result_s3_bucket, Prefix=prefix)
    assert listed["KeyCount"] == 0


def test_parquet_keeps_its_own_types(one: DeployedProject, monkeypatch: pytest.MonkeyPatch) -> None:
    left = Left(one, monkeypatch)
    frame = pd.DataFrame(
        {
            "vin": ["A", "B"],
            "soc": [[0.5, 0.25], []],
            "at": pd.to_datetime(["2022-01-08 05:06:07", None]),
            "n": pd.array([1, None], dtype="Int32"),
            "nothing": [None, None],
        }
    )
    left("2022-01-08", "2022-01-09", "a", saves(frame, "usage.parquet"))
    # Rows of two instances; a column more on another day, which is found by its name.
    more = saves(frame.assign(more=1), "usage.parquet")
    left("2022-01-09", "2022-01-10", "b", more, instances=2, version="2")
    made = bc.register_results(folder=one.folder)[0]
    assert (made.name, made.file) == ("usage_analysis_usage", "usage.parquet")
    assert list(made.columns.items()) == [
        ("vin", "string"),
        ("soc", "array<double>"),
        ("at", "timestamp"),
        ("n", "int"),
        ("more", "bigint"),
    ]
    assert made.notes == ("nothing: left out, since no value is in the newest runs.",)
    sql = "SELECT date, count(*), sum(n), sum(cardinality(soc)), sum(more) FROM {}"
    found = query(one, f"{sql.format(made.name)} GROUP BY date ORDER BY date")
    days = pd.Timestamp(2022, 1, 8), pd.Timestamp(2022, 1, 9)
    assert found == [[days[0], 2, 1, 2, None], [days[1], 4, 2, 4, 4]]
    assert len(bc.read_results(folder=one.folder)) == 6
    other = pd.DataFrame({"Usage-kWh": [1.5], "date": [1], "vin": ["A"]})
    left("2022-01-10", "2022-01-11", "c", saves(other, "usage.parquet"), version="3")
    with pytest.raises(DataFormatError, match=r"those of usage\.parquet by their places"):
        bc.register_results(folder=one.folder)


def test_parquet_names_that_athena_cannot_have(
    one: DeployedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = Left(one, monkeypatch)
    frame = pd.DataFrame({"Usage-kWh": [1.5], "date": [1], "vin": ["A"]})
    left("2022-01-08", "2022-01-09", "a", saves(frame, "usage-analysis.parquet"))
    bc.register_results(folder=one.folder)
    assert query(one, "SELECT usage_kwh, date_1, vin FROM usage_analysis") == [[1.5, 1, "A"]]
    bad = frame.assign(**{"Usage-kWh": ["much"]})
    left("2022-01-09", "2022-01-10", "b", saves(bad, "usage-analysis.parquet"))
    with pytest.raises(DataFormatError, match="string in some Parquet results and double in"):
        bc.register_results(folder=one.folder)


def test_csv_of_another_version_with_other_columns_is_left_out(
    one: DeployedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = Left(one, monkeypatch)
    left("2022-01-08", "2022-01-09", "a", saves(pd.DataFrame({"usage": [1], "vin": ["A"]})))
    newer = saves(pd.DataFrame({"vin": ["B"], "usage": [2]}))
    left("2022-01-09", "2022-01-10", "b", newer, version="2")
    made = bc.register_results(folder=one.folder)[0]
    assert "1 results of the code" in made.notes[0]
    assert query(one, "SELECT vin, usage FROM usage_analysis") == [["B", 2]]
    frame = bc.read_results(folder=one.folder)
    assert sorted(frame["usage"]) == [1, 2]
    # One version that saves other columns on another day has no columns that are known.
    left("2022-01-10", "2022-01-11", "c", saves(pd.DataFrame({"usage": [3]})), version="2")
    with pytest.raises(DataFormatError, match="have other columns than usage"):
        bc.register_results(folder=one.folder)


def test_several_files_in_a_result(one: DeployedProject, monkeypatch: pytest.MonkeyPatch) -> None:
    left = Left(one, monkeypatch)
    daily = saves(pd.DataFrame({"vin": ["A"], "usage": [1]}))
    summary = saves(pd.DataFrame({"mean": [1.0], "most": [2.0], "n": [3]}), "summary.csv")

    def plot(job: ProcessingJob) -> None:
        (job.output_path / "usage.png").write_bytes(b'\x89PNG\r\n\x1a\n\x00\xff,"\n')

    left("2022-01-08", "2022-01-09", "a", both(daily, summary, plot))
    with pytest.raises(UserError, match=r"tables: summary\.csv, usage-analysis\.csv"):
        bc.register_results(folder=one.folder)
    made = bc.register_results(file="summary.csv", folder=one.folder)[0]
    assert made.name == "usage_analysis_summary"
    assert "summary.csv: the view leaves the rows out" in made.notes[0]
    assert query(one, "SELECT mean, n FROM usage_analysis_summary") == [[1.0, 3]]
    bc.register_results(file="usage-analysis.csv", folder=one.folder)
    assert query(one, "SELECT vin, usage FROM usage_analysis") == [["A", 1]]
    with pytest.raises(UserError, match=r"has no table 'usage\.png'"):
        bc.register_results(file="usage.png", folder=one.folder)
    parquet = saves(pd.DataFrame({"vin": ["A"]}), "usage-analysis.parquet")
    left("2022-01-09", "2022-01-10", "b", both(parquet, plot))
    with pytest.raises(DataFormatError, match=r"usage\.png lies beside usage-analysis\.parquet"):
        bc.register_results(folder=one.folder)
    broken = saves(pd.DataFrame({"note": ["one\ntwo"]}))
    left("2022-01-10", "2022-01-11", "c", broken)
    with pytest.raises(DataFormatError, match="line breaks within a cell"):
        bc.register_results(folder=one.folder)


def test_last_steps_side_by_side_have_a_table_each(
    one: DeployedProject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = one.folder / "script" / "config.json"
    content = json.loads(path.read_text("utf-8"))
    for name in ("mean", "most"):
        (one.folder / "script" / f"{name}.py").write_text("")
    content["purposes"][PURPOSE]["steps"] = [
        [{"name": "mean", "script": "mean.py"}, {"name": "most", "script": "most.py"}]
    ]
    path.write_text(json.dumps(content), encoding="utf-8")
    left = Left(one, monkeypatch)
    fill = saves(pd.DataFrame({"n": [1]}), "n.csv")
    left("2022-01-08", "2022-01-09", "a", fill, step="mean", instances=2)
    with pytest.raises(bc.BatcatError, match="no whole result"):
        bc.register_results(folder=one.folder)
    left("2022-01-08", "2022-01-09", "a", fill, step="most")
    left("2022-01-08", "2022-01-10", "b", fill, step="mean")
    left("2022-01-08", "2022-01-10", "b", fill, step="most")
    made = bc.register_results(folder=one.folder)
    assert [table.name for table in made] == ["usage_analysis_mean_n", "usage_analysis_most_n"]
    assert "Windows overlap (2022-01-08 to 2022-01-09 and 2022-01-08 to" in made[0].notes[0]
    sql = "SELECT (SELECT sum(n) FROM usage_analysis_mean_n), sum(n) FROM usage_analysis_most_n"
    assert query(one, sql) == [[3, 2]]
    found = bc.get_results("2022-01-08", "2022-01-09", to=tmp_path, folder=one.folder)
    assert [(got.files, got.folder) for got in found] == [(3, tmp_path)]
    assert (tmp_path / "mean/date=2022-01-08/run=a/n-00001.csv").is_file()
    assert len(bc.read_results(step="mean", folder=one.folder)) == 3


def test_what_is_in_the_way_stays_and_denials_say_what_is_needed(
    one: DeployedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    Left(one, monkeypatch)("2022-01-08", "2022-01-09", "a")
    given = one.world.session("no-database", "glue:CreateDatabase")
    said = one.batcat(
        *("results", "register"),
        code=1,
        AWS_ACCESS_KEY_ID=given["AccessKeyId"],
        AWS_SECRET_ACCESS_KEY=given["SecretAccessKey"],
        AWS_SESSION_TOKEN=given["SessionToken"],
    ).stderr
    assert f"There is no Glue database {one.names.database}, and it may not be created" in said
    assert "glue:CreateDatabase" in said
    assert "aws glue create-database --region cn-northwest-1" in said
    glue, database = one.client("glue"), one.names.database
    glue.create_database(DatabaseInput={"Name": database})
    theirs = {"Name": "usage_analysis", "StorageDescriptor": {"Columns": []}}
    glue.create_table(DatabaseName=database, TableInput=theirs)
    said = one.batcat("results", "register", code=2).stderr
    assert f"{database}.usage_analysis already" in said
    tables = glue.get_tables(DatabaseName=database)["TableList"]
    assert [(table["Name"], table.get("Parameters")) for table in tables] == [
        ("usage_analysis", None)
    ]
    ours = bc.register_results(table="mine", folder=one.folder)[0]
    assert (ours.name, ours.runs_table) == ("mine", "mine_runs")
    for name in ("mine", "mine_runs"):
        marks = glue.get_table(DatabaseName=database, Name=name)["Table"]["Parameters"]
        assert marks["batcat:bucket"] == one.config.result_s3_bucket
    with pytest.raises(UserError, match="no name of a table"):
        bc.register_results(table="Mine!", folder=one.folder)
