"""Dates: what is one, how it is written in a query, and that nothing else gets there."""

from __future__ import annotations

import datetime as dt
import logging
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlglot
from hypothesis import example, given, settings
from hypothesis import strategies as st

import batcat_runtime as bc
from batcat_runtime.errors import UserError
from batcat_runtime.io.dates import date_text, date_window
from batcat_runtime.io.statement import Dialect, with_dates

QUERY = "SELECT vin FROM usage WHERE time >= '{}' AND time <= '{}'"
SHANGHAI = dt.timezone(dt.timedelta(hours=8))


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("2022-01-31", "2022-01-31"),
        ("2022/01/31", "2022/01/31"),
        ("2022/1/3", "2022/01/03"),
        ("20220131", "20220131"),
        ("2022-01-31T23:59:59", "2022-01-31T23:59:59"),
        ("2022-01-31 23:59", "2022-01-31 23:59"),
        ("2022/01/31 23:59:59.5", "2022/01/31 23:59:59.5"),
        ("2022-01-31T23:59:59Z", "2022-01-31T23:59:59Z"),
        ("2022-01-31 23:59:59+08:00", "2022-01-31 23:59:59+08:00"),
        (dt.date(2022, 1, 31), "2022-01-31"),
        (dt.date(33, 1, 31), "0033-01-31"),
        (dt.datetime(2022, 1, 31), "2022-01-31 00:00:00"),
        (dt.datetime(2022, 1, 31, 1, 2, 3, 4), "2022-01-31 01:02:03.000004"),
        (dt.datetime(2022, 1, 31, 1, tzinfo=SHANGHAI), "2022-01-30 17:00:00"),
        (pd.Timestamp("2022-01-31 01:02:03"), "2022-01-31 01:02:03"),
        (pd.Timestamp("2022-01-31", tz="Asia/Shanghai"), "2022-01-30 16:00:00"),
    ],
)
def test_a_date_keeps_its_spelling(given: Any, written: str) -> None:
    assert date_text(given).text == written


@pytest.mark.parametrize(
    "given",
    [
        "",
        "today",
        "2022-13-01",
        "2022-02-30",
        "2022-01/31",
        "22-01-31",
        "2022131",
        "2022-01-31 25:00",
        "2022-01-31T23:59:59+99:00",
        "2022-01-31\n",
        " 2022-01-31",
        "2022-01-31' OR '1'='1",
        "2022-01-31'; DROP TABLE usage; --",
        "\N{FULLWIDTH DIGIT TWO}022-01-31",
        "0000-01-01",
        "0001-01-01 00:00:00+08:00",
        20220131,
        1.5,
        True,
        pd.NaT,
        np.datetime64("2022-01-31"),
        b"2022-01-31",
        ["2022-01-31"],
    ],
)
def test_anything_else_is_refused(given: Any) -> None:
    with pytest.raises(UserError, match=r"(?s)date_start.*Fix: Give a datetime.date"):
        date_window(given, None)


def test_a_window_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(UserError, match="date_start=2022-08-01 is later than date_end=2022/01/01"):
        date_window("2022-08-01", "2022/01/01")
    date_window("2022-08-01", "2022-08-01")
    date_window("2022-08-01T08:00:00+08:00", dt.datetime(2022, 8, 1))


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
        (QUERY, "SELECT vin FROM usage WHERE time >= '2022-01-01' AND time <= '2022-08-01'"),
        ("a >= {} AND a < {}", "a >= '2022-01-01' AND a < '2022-08-01'"),
        ("a = date '{}' or b = '{}T00'", "a = date '2022-01-01' or b = '2022-08-01T00'"),
        (
            "a < '{date_end}' and a > {date_start} and b < '{date_end}'",
            "a < '2022-08-01' and a > '2022-01-01' and b < '2022-08-01'",
        ),
        (
            "j = '{}' and a between {date_start} and {date_end}",
            "j = '{}' and a between '2022-01-01' and '2022-08-01'",
        ),
        (
            "a > '{}' /* {} */ and a < '{}' -- '{}'",
            "a > '2022-01-01' /* {} */ and a < '2022-08-01' -- '{}'",
        ),
        ("a > '{}' and \"{}\" < '{}'", "a > '2022-01-01' and \"{}\" < '2022-08-01'"),
        (
            "j = '{\"a\": {\"b\": 1}}' and a > '{}' and a < {}",
            "j = '{\"a\": {\"b\": 1}}' and a > '2022-01-01' and a < '2022-08-01'",
        ),
    ],
)
def test_dates_go_where_they_belong(query: str, written: str) -> None:
    for dialect in ("athena", "redshift"):
        assert with_dates(query, "2022-01-01", "2022-08-01", dialect) == written


def test_a_backslash_ends_a_literal_in_athena_only() -> None:
    query = r"a = 'b\' AND c = '{}'"
    assert with_dates(query, "2022-01-01", None, "athena") == r"a = 'b\' AND c = '2022-01-01'"
    # to Redshift the first literal goes on to where the second seems to begin
    with pytest.raises(UserError, match="a date is a value"):
        with_dates(query, "2022-01-01", None, "redshift")
    assert with_dates(r"a = 'b\'{}'", "2022-01-01", None, "redshift") == r"a = 'b\'2022-01-01'"


@pytest.mark.parametrize(
    ("query", "window", "said"),
    [
        ("SELECT 1", ("2022-01-01", None), "0 places"),
        ("SELECT '{}'", ("2022-01-01", "2022-08-01"), "1 places"),
        ("SELECT '{}', '{}', '{}'", ("2022-01-01", "2022-08-01"), "3 places"),
        ("SELECT 1 -- '{}'", ("2022-01-01", None), "0 places"),
        ("SELECT '{date_start}'", ("2022-01-01", "2022-08-01"), "date_end=2022-08-01 has no place"),
        ("'{date_start}{date_end}'", ("2022-01-01", None), "no date_end was given"),
        ("SELECT * FROM usage_{}", ("2022-01-01", None), "a value, not part of a name"),
        ("SELECT 'a'{}'b'", ("2022-01-01", None), "a value, not part of a name"),
        ("  ", (None, None), "The query is empty"),
        (None, (None, None), "The query is empty"),
    ],
)
def test_dates_without_a_place_are_refused(query: Any, window: Any, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        with_dates(query, *window, "athena")


def test_places_without_dates_are_left_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    logger = bc.get_logger()
    logger.addHandler(caplog.handler)
    try:
        assert with_dates(QUERY, None, None, "redshift") == QUERY
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        caplog.clear()
        own = "SELECT json_parse('{\"a\": {}}'), '{0}', '{date}'".replace("{}", "{ }")
        assert with_dates(own, None, None, "athena") == own
        assert caplog.records == []
    finally:
        logger.removeHandler(caplog.handler)


HOSTILE = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="'\"\\-/*;:?{}()$ 0123456789TZ+.\n", max_size=30),
    st.builds("2022-01-{}{}".format, st.integers(1, 31), st.text(alphabet="'\\-; Z:0", max_size=6)),
    st.dates().map(str),
    st.datetimes().map(str),
)


@settings(max_examples=500, deadline=None)
@given(HOSTILE, st.sampled_from(["athena", "redshift"]))
@example("2022-01-01' OR ''='", "athena")
@example("2022-01-01\\", "redshift")
def test_no_text_in_place_of_a_date_changes_the_query(text: str, dialect: Dialect) -> None:
    template = "SELECT a FROM t WHERE a >= '{}' /* c */ AND b = 'x' AND {} > a"
    reference = with_dates(template, "2022-01-01", "2022-01-02", dialect)
    try:
        query = with_dates(template, text, "9999-12-31", dialect)
    except UserError:
        return
    assert _shape(query, dialect) == _shape(reference, dialect)


def _shape(query: str, dialect: str) -> str:
    trees = sqlglot.parse(query, read=dialect)
    assert len(trees) == 1
    masked = trees[0].transform(
        lambda node: (
            sqlglot.exp.Literal.string("date")
            if isinstance(node, sqlglot.exp.Literal) and node.this[:1].isdigit()
            else node
        )
    )
    return repr(masked)
