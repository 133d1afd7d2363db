"""Dates and parameters, by every way a query can go: what is one, and that nothing else gets in."""

from __future__ import annotations

import contextlib
import datetime as dt
import decimal
import logging
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlglot
from hypothesis import example, given, settings
from hypothesis import strategies as st

import batcat_runtime as bc
from batcat_runtime.errors import UserError
from batcat_runtime.rehearsal import EmbeddedAWS
from tests.athena_server import ScriptedAthena, serve_athena
from tests.io_world import REGION, USER, furnish

Read = Callable[..., pd.DataFrame]
STAGING = "s3://apac-athena-queryresult/ATHENA_QUERY"
SHANGHAI = dt.timezone(dt.timedelta(hours=8))
LOCAL = dt.timezone(dt.timedelta(hours=8, seconds=43))  # as before there were time zones
EVENING = dt.datetime(2022, 1, 2, microsecond=1, tzinfo=SHANGHAI)
WAYS = ["athena", "unloaded", "wire", "redshift unloaded", "data api"]


@pytest.fixture(scope="module")
def world() -> Iterator[dict[str, Any]]:
    with EmbeddedAWS(region=REGION) as aws:
        yield {**furnish(aws), "environment": aws.environment()}


@pytest.fixture(params=WAYS)
def read(
    request: pytest.FixtureRequest, world: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Read:
    """Return what reads a query by one of the ways."""
    for name, value in world["environment"].items():
        monkeypatch.setenv(name, value)
    way = request.param
    unload = {"iam_role": world["redshift_role"], "s3_staging_dir": STAGING}

    def reading(query: str, **options: Any) -> Any:
        if way in ("athena", "unloaded"):
            return bc.read_data_from_athena(
                query, REGION, STAGING, unload=way == "unloaded", **options
            )
        if way == "data api":
            return bc.read_data_from_redshift_by_secret("secret/manager", REGION, query, **options)
        if way == "redshift unloaded":
            options = {**unload, **options}
        login = {"port": world["port"], "database": "dev", "user": USER}
        return bc.read_data_from_redshift(
            query, world["host"], world["password"], **login, **options
        )

    return reading


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Read:
    """Return what reads a query where nothing listens: what is refused was not asked of AWS."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    return lambda query, **options: bc.read_data_from_athena(query, REGION, STAGING, **options)


@pytest.fixture(scope="module")
def asked() -> Iterator[Callable[..., dict[str, Any]]]:
    """Return what runs a query and returns what Athena was asked."""
    with serve_athena(ScriptedAthena()) as athena:

        def run(query: str, **options: Any) -> dict[str, Any]:
            with pytest.MonkeyPatch.context() as patch:
                for name, value in athena.environment().items():
                    patch.setenv(name, value)
                bc.read_data_from_athena(query, REGION, STAGING, reuse_minutes=0, **options)
            return athena.queries()[-1]

        yield run


SPELLINGS = [
    ("2022-01-31", "2022-01-31"),
    ("2022/01/31", "2022/01/31"),
    ("20220131", "20220131"),
    ("2022-01-31T23:59:59", "2022-01-31T23:59:59"),
    ("2022/01/31 23:59:59.5", "2022/01/31 23:59:59.5"),
    ("2022-01-31T23:59:59Z", "2022-01-31T23:59:59Z"),
    ("2022-01-31 23:59:59+08:00", "2022-01-31 23:59:59+08:00"),
    (dt.date(2022, 1, 31), "2022-01-31"),
    (dt.date(33, 1, 31), "0033-01-31"),
    (dt.datetime(2022, 1, 31, 1, 2, 3, 4), "2022-01-31 01:02:03.000004"),
    (dt.datetime(2022, 1, 31, 1, tzinfo=SHANGHAI), "2022-01-30 17:00:00"),
    (pd.Timestamp("2022-01-31", tz="Asia/Shanghai"), "2022-01-30 16:00:00"),
]


@pytest.mark.parametrize(("given", "written"), SPELLINGS)
def test_a_date_keeps_its_spelling(asked: Any, given: Any, written: str) -> None:
    assert asked("SELECT '{}'", date_start=given)["QueryString"] == f"SELECT '{written}'"


def test_dates_arrive_by_every_way(read: Read) -> None:
    query = "SELECT '{date_start}' AS a, {date_end} AS b -- '{date_end}'"
    found = read(query, date_start="2022/01/31", date_end=dt.date(2022, 8, 1))
    assert found.iloc[0].tolist() == ["2022/01/31", "2022-08-01"]


NO_DATES: list[Any] = [
    "",
    "today",
    "2022-13-01",
    "2022-02-30",
    "2022-01/31",
    "22-01-31",
    "2022/1/3",
]
NO_DATES += ["2022131", "2022111", "2022-01-31 25:00", "2022-01-31 24:00", "0000-01-01"]
NO_DATES += ["2022-01-31T23:59:59+99:00", "2022-01-31T23:59:59+08:60", "0001-01-01 00:00:00+08:00"]
NO_DATES += ["2022-01-31\n", " 2022-01-31", "2022-W01-1", "\N{FULLWIDTH DIGIT TWO}022-01-31"]
NO_DATES += ["2022-01-31' OR '1'='1", "2022-01-31'; DROP TABLE usage; --"]
NO_DATES += [20220131, True, pd.NaT, np.datetime64("2022-01-31"), b"2022-01-31", ["2022-01-31"]]


@pytest.mark.parametrize("given", NO_DATES)
def test_what_is_no_date_is_refused_before_anything_is_asked(refuse: Read, given: Any) -> None:
    with pytest.raises(UserError, match=r"(?s)date_start.*Fix: Give a datetime.date"):
        refuse("SELECT '{}'", date_start=given)


def test_a_window_that_ends_before_it_starts_is_refused(refuse: Read, asked: Any) -> None:
    with pytest.raises(UserError, match="date_start=2022-08-01 is later than date_end=2022/01/01"):
        refuse("SELECT '{}', '{}'", date_start="2022-08-01", date_end="2022/01/01")
    start = "2022-08-01T08:00:00+08:00"
    asked("SELECT '{}', '{}'", date_start=start, date_end=dt.datetime(2022, 8, 1))


def test_the_date_some_days_ago() -> None:
    evening = dt.datetime(2022, 1, 8, 18, tzinfo=dt.UTC)
    assert bc.get_date_with_delta(7, now=evening) == "2022/01/01"
    assert bc.get_date_with_delta(7, "%Y-%m-%d", tz="Asia/Shanghai", now=evening) == "2022-01-02"
    assert bc.get_date_with_delta(-1, now=evening) == "2022/01/09"
    today = dt.datetime.now(dt.UTC).date()
    assert dt.date.fromisoformat(bc.get_date_with_delta(0, "%Y-%m-%d")) - today <= dt.timedelta(1)


@pytest.mark.parametrize(
    ("delta", "tz"), [("7", "UTC"), (1.5, "UTC"), (7, "Middle/Earth"), (7, ""), (10**9, "UTC")]
)
def test_impossible_deltas_are_refused(delta: Any, tz: str) -> None:
    with pytest.raises(UserError):
        bc.get_date_with_delta(delta, tz=tz)


@pytest.mark.parametrize(
    ("query", "written"),
    [
        ("a >= {} AND b = '{}T00'", "a >= '2022-01-01' AND b = '2022-08-01T00'"),
        (
            "a < '{date_end}' and a > {date_start} and b < '{date_end}' and j = '{}'",
            "a < '2022-08-01' and a > '2022-01-01' and b < '2022-08-01' and j = '{}'",
        ),
        (
            "a > '{}' /* {} */ and \"{}\" < 'x {} y' -- '{}'\n-- it's {}\n and b",
            "a > '2022-01-01' /* {} */ and \"{}\" < 'x 2022-08-01 y' -- '{}'\n-- it's {}\n and b",
        ),
        (
            "j = '{\"a\": {\"b\": 1}}' and a > '{}' and a < {}",
            "j = '{\"a\": {\"b\": 1}}' and a > '2022-01-01' and a < '2022-08-01'",
        ),
        (r"a = 'b\' AND c = '{}', '{}'", r"a = 'b\' AND c = '2022-01-01', '2022-08-01'"),
    ],
)
def test_dates_go_where_they_belong(asked: Any, query: str, written: str) -> None:
    said = asked(query, date_start="2022-01-01", date_end="2022-08-01")
    assert said["QueryString"] == written


@pytest.mark.parametrize(
    ("query", "window", "said"),
    [
        ("SELECT '{}'", ("2022-01-01", "2022-08-01"), "1 places"),
        ("SELECT 1 -- '{}'", ("2022-01-01", None), "0 places"),
        ("SELECT '{date_start}'", ("2022-01-01", "2022-08-01"), "date_end=2022-08-01 has no place"),
        ("'{date_start}{date_end}'", ("2022-01-01", None), "no date_end was given"),
        ("SELECT * FROM usage_{}", ("2022-01-01", None), "a value, not part of a name"),
        ("  ", (None, None), "The query is empty"),
        (None, (None, None), "The query is empty"),
        (" -- nothing", (None, None), "holds no statement"),
        ("SELECT 1; SELECT 2", (None, None), "more than one statement"),
    ],
)
def test_dates_without_a_place_are_refused(
    refuse: Read, query: Any, window: Any, said: str
) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        refuse(query, date_start=window[0], date_end=window[1])


def test_places_without_dates_are_left_with_one_warning(
    asked: Any, caplog: pytest.LogCaptureFixture
) -> None:
    logger = bc.get_logger()
    logger.addHandler(caplog.handler)
    try:
        for query, warnings in (("SELECT '{}', '{}'", 1), ("SELECT '{\"a\": { }}', '{0}'", 0)):
            caplog.clear()
            assert asked(query)["QueryString"] == query
            assert sum(record.levelno == logging.WARNING for record in caplog.records) == warnings
    finally:
        logger.removeHandler(caplog.handler)


def test_what_belongs_to_a_statement(asked: Any) -> None:
    assert asked("SELECT ';' ; -- done;\n")["QueryString"] == "SELECT ';'"


HOSTILE = ["it's", "\\", "\\' OR 1=1 --", "' OR ''='", "a :b ? $1", "--", "/*", '"', "中文", " x "]
VALUES = [True, -7, 2**62, 1.5, 1e300, decimal.Decimal("-1.50")]
DAYS = [dt.date(2022, 1, 2), dt.datetime(2022, 1, 2, 3, 4, 5, 6000)]


def test_texts_arrive_as_they_are_by_every_way(read: Read) -> None:
    texts = [*HOSTILE, "y" * 1500]
    columns = ", ".join(f"CAST(:p{i} AS varchar(2000)) AS p{i}" for i in range(len(texts)))
    found = read(f"SELECT {columns} -- :no", params={f"p{i}": text for i, text in enumerate(texts)})
    assert found.iloc[0].tolist() == texts


def test_values_of_every_type_arrive_by_every_way(read: Read) -> None:
    kinds = ["boolean", "int", "bigint", "double precision", "double precision", "decimal(9, 2)"]
    kinds += ["date", "timestamp"]
    columns = ", ".join(f"CAST(:p{i} AS {kind}) AS p{i}" for i, kind in enumerate(kinds))
    params = {f"p{i}": value for i, value in enumerate([*VALUES, *DAYS])}
    found = read(f"SELECT {columns}, CAST(:none AS int) AS n", params={**params, "none": pd.NA})
    values = [*VALUES, *map(pd.Timestamp, DAYS)]
    assert found.astype(object).iloc[0].tolist()[:-1] == values
    assert found["n"].isna().all()


def test_lists_and_question_marks_by_every_way(read: Read) -> None:
    rows = "(SELECT 1 AS n UNION ALL SELECT 2 UNION ALL SELECT 3) AS t"
    for query in ("n IN :ns", "n IN (:ns)", "n IN ( :ns ) -- :x"):
        assert len(read(f"SELECT n FROM {rows} WHERE {query}", params={"ns": {1, 3}})) == 2
    found = read(f"SELECT n, '?' AS q FROM {rows} WHERE n > ? AND n < ? /* ? */", params=(1, 3))
    assert found.iloc[0].tolist() == [2, "?"]


@pytest.mark.parametrize("read", ["redshift unloaded"], indirect=True)
def test_redshift_escapes_nests_comments_and_quotes_by_dollars(read: Read) -> None:
    query = r"SELECT 'b\'{}' AS a, /* 'x /* '{}' */ :x */ $$ :x '' $$ AS b, $t$'$t$ AS c, :x AS d"
    found = read(query, params={"x": "y"}, date_start="2022-01-01")
    assert found.iloc[0].tolist() == ["b'2022-01-01", " :x '' ", "'", "y"]
    with pytest.raises(UserError, match="a date is a value"):  # the literal goes on to the next one
        read(r"SELECT 'b\' AND c = '{}'", date_start="2022-01-01")


def test_a_literal_does_not_grow_together_with_its_neighbours(read: Read) -> None:
    assert read("SELECT 1 -:n AS a", params={"n": -1})["a"].tolist() == [2]


@pytest.mark.parametrize(
    ("query", "params", "said"),
    [
        ("a = :a", {"b": 1}, ":a has no value"),
        ("a = ':a'", {"a": 1}, "'a' has no place"),
        ("a = ?", [1, 2], "1 question marks for 2 parameters"),
        ("a = :a", "x", "params is a str"),
        ("a = :a", {"a": {"b": 1}}, "is a dict, for which SQL has no type"),
        ("a = :a", {"a": np.timedelta64(1, "ns")}, "is a timedelta64"),
        ("a = :a", {"a": "\0"}, "NUL"),
        ("a = :a", {"a": decimal.Decimal("NaN")}, "no decimal of SQL"),
        ("a IN :a", {"a": []}, "empty list"),
    ],
)
def test_wrong_params_are_refused(refuse: Read, query: str, params: Any, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        refuse(query, params=params)


@pytest.mark.parametrize(
    ("value", "literal"),
    [
        (pd.NA, "NULL"),
        (pd.NaT, "NULL"),
        (np.bool_(False), "false"),
        (np.int64(7), "7"),
        (math.nan, "DOUBLE 'NaN'"),
        (-math.inf, "DOUBLE '-Infinity'"),
        (decimal.Decimal("1E+3"), "DECIMAL '1000'"),
        ("\\'", "'\\'''"),
        (b"\x01\xff", "X'01ff'"),
        (dt.date(2022, 1, 2), "DATE '2022-01-02'"),
        (dt.time(1, 2, 3), "TIME '01:02:03.000'"),
        (dt.time(1, 2, 3, tzinfo=SHANGHAI), "TIME '01:02:03.000 +08:00'"),
        (EVENING, "TIMESTAMP '2022-01-02 00:00:00.000001 +08:00'"),
        (EVENING.replace(tzinfo=LOCAL), "TIMESTAMP '2022-01-01 15:59:17.000001 +00:00'"),
        (pd.Timestamp("2022-01-02"), "TIMESTAMP '2022-01-02 00:00:00.000'"),
        (np.datetime64("2022-01-02", "ns"), "TIMESTAMP '2022-01-02 00:00:00.000'"),
    ],
)
def test_each_type_is_bound_as_its_literal(asked: Any, value: Any, literal: str) -> None:
    rest = "':a', \":a\", '10:a', x::a -- :a\n/* :a */ FROM t"
    said = asked(f"SELECT :a, {rest}", params={"a": value})
    assert said["QueryString"] == f"SELECT ?, {rest}"
    assert said["ExecutionParameters"] == [literal]


def test_a_query_without_params_stays_as_it_is(asked: Any) -> None:
    query = "SELECT a::int, b[1:n], '{}' FROM t WHERE c = ? AND d = /* /* */ :x"
    for params in (None, {}, []):
        said = asked(query, params=params)
        assert (said["QueryString"], said.get("ExecutionParameters", [])) == (query, [])


ANY = st.one_of(
    st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    st.text(alphabet="'\"\\-/*;:?{}()$pn 0123456789TZ+.\n", max_size=30),
    st.builds("2022-01-{}{}".format, st.integers(1, 31), st.text(alphabet="'\\-; Z:0", max_size=6)),
)


@settings(max_examples=60, deadline=None)
@given(ANY)
@example("' OR 1=1 --")
@example("2022-01-01' OR ''='")
@example("\\")
def test_no_text_as_a_parameter_or_a_date_changes_the_query(asked: Any, text: str) -> None:
    query = "SELECT a FROM t WHERE a = :a AND b = 'x' /* :a */ AND c >= '{}'"
    said = asked(query, params={"a": text}, date_start="2022-01-01")
    [literal] = said["ExecutionParameters"]
    tree = sqlglot.parse_one(f"SELECT {literal}", read="athena")
    assert [node.this for node in tree.find_all(sqlglot.exp.Literal)] == [text]
    assert said["QueryString"] == query.replace(":a AND", "? AND").replace("{}", "2022-01-01")
    with contextlib.suppress(UserError):
        said = asked("SELECT '{}', {} > a", date_start=text, date_end="9999-12-31")
        written = r"SELECT '[0-9/: .TZ+-]+', '9999-12-31' > a"
        assert re.fullmatch(written, said["QueryString"])
