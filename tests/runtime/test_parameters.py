"""Parameters: bound where the engine binds, literals elsewhere, and never anything but a value."""

from __future__ import annotations

import datetime as dt
import decimal
import math
import re
import uuid
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlglot
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batcat_runtime.errors import UserError
from batcat_runtime.io.parameters import (
    athena_literal,
    for_athena,
    for_data_api,
    for_wire,
    redshift_literal,
    with_literals,
)
from batcat_runtime.io.statement import is_ordered, is_select, outline, pieces, statement

UTC8 = dt.timezone(dt.timedelta(hours=8))


def test_each_engine_gets_what_it_binds() -> None:
    query = "SELECT a::int FROM t WHERE vin = :vin AND n > :n AND vin <> :vin -- :no"
    params = {"vin": "it's", "n": 3}
    assert for_athena(query, params) == (
        "SELECT a::int FROM t WHERE vin = ? AND n > ? AND vin <> ? -- :no",
        ["'it''s'", "3", "'it''s'"],
    )
    assert for_wire(query, params) == (
        "SELECT a::int FROM t WHERE vin = ? AND n > ? AND vin <> ? -- :no",
        ["it's", 3, "it's"],
    )
    text, values = for_data_api(query, params)
    assert text == "SELECT a::int FROM t WHERE vin = :p1 AND n > :p2 AND vin <> :p3 -- :no"
    assert values == [
        {"name": "p1", "value": "it's"},
        {"name": "p2", "value": "3"},
        {"name": "p3", "value": "it's"},
    ]
    assert with_literals(query, params) == (
        "SELECT a::int FROM t WHERE vin = 'it''s' AND n > 3 AND vin <> 'it''s' -- :no"
    )


def test_question_marks_take_a_list() -> None:
    query = "SELECT '?' FROM t WHERE a = ? AND b = ? /* ? */"
    assert for_athena(query, [1, "x"])[1] == ["1", "'x'"]
    text, values = for_data_api(query, (1, "x"))
    assert text == "SELECT '?' FROM t WHERE a = :p1 AND b = :p2 /* ? */"
    assert [one["value"] for one in values] == ["1", "x"]


def test_nothing_inside_literals_names_and_comments_is_a_parameter() -> None:
    query = """SELECT ':a', ":a", '10:a', x::a, "?" /* :a */ FROM t WHERE b = :a -- :a"""
    assert for_wire(query, {"a": 1})[0] == query.replace("b = :a", "b = ?")


def test_a_query_without_params_stays_as_it_is() -> None:
    query = "SELECT a::int, b[1:n], '{}' FROM t WHERE c = ?"
    for params in (None, {}, []):
        assert for_athena(query, params) == (query, [])
        assert for_wire(query, params) == (query, [])
        assert for_data_api(query, params) == (query, [])


def test_a_list_becomes_several_values() -> None:
    for query in ("vin IN :vins", "vin IN (:vins)", "vin IN ( :vins )"):
        text, values = for_athena(query, {"vins": ["a", "b"]})
        assert text.replace(" ", "") == "vinIN(?,?)"
        assert values == ["'a'", "'b'"]
    with pytest.raises(UserError, match="empty list"):
        for_athena("vin IN :vins", {"vins": []})


@pytest.mark.parametrize(
    ("query", "params", "said"),
    [
        ("a = :a", {"b": 1}, ":a has no value"),
        ("a = 1", {"a": 1}, "'a' has no place"),
        ("a = ':a'", {"a": 1}, "'a' has no place"),
        ("a = ?", [1, 2], "1 question marks for 2 parameters"),
        ("a = ? and b = ?", [1], "2 question marks for 1 parameters"),
        ("a = :a", "x", "params is a str"),
        ("a = :a", 5, "params is a int"),
        ("a = :a", {"a": {"b": 1}}, "is a dict, for which SQL has no type"),
        ("a = :a", {"a": dt.timedelta(1)}, "is a timedelta"),
        ("a = :a", {"a": "\0"}, "NUL"),
        ("a = :a", {"a": decimal.Decimal("NaN")}, "no decimal of SQL"),
    ],
)
def test_wrong_params_are_refused(query: str, params: Any, said: str) -> None:
    for translate in (for_athena, for_wire, for_data_api, with_literals):
        with pytest.raises(UserError, match=re.escape(said)):
            translate(query, params)


@pytest.mark.parametrize(
    ("value", "athena", "redshift"),
    [
        (None, "NULL", "NULL"),
        (pd.NA, "NULL", "NULL"),
        (pd.NaT, "NULL", "NULL"),
        (True, "TRUE", "TRUE"),
        (np.bool_(False), "FALSE", "FALSE"),
        (-7, "-7", "-7"),
        (np.int64(7), "7", "7"),
        (1.5, "1.5E0", "'1.5'::float8"),
        (1e300, "1E+300", "'1e+300'::float8"),
        (math.nan, "CAST('NaN' AS DOUBLE)", "'NaN'::float8"),
        (-math.inf, "CAST('-Infinity' AS DOUBLE)", "'-Infinity'::float8"),
        (decimal.Decimal("-1.50"), "DECIMAL '-1.50'", "'-1.50'::numeric(3, 2)"),
        ("\\'", "'\\'''", "'\\\\'''"),
        (b"\x01\xff", "X'01ff'", "FROM_HEX('01ff')"),
        (dt.date(2022, 1, 2), "DATE '2022-01-02'", "'2022-01-02'::date"),
        (dt.time(1, 2, 3), "TIME '01:02:03'", "'01:02:03'::time"),
        (
            dt.datetime(2022, 1, 2),
            "TIMESTAMP '2022-01-02 00:00:00'",
            "'2022-01-02 00:00:00'::timestamp",
        ),
        (
            dt.datetime(2022, 1, 2, microsecond=1000, tzinfo=UTC8),
            "TIMESTAMP '2022-01-02 00:00:00.001 +08:00'",
            "'2022-01-02 00:00:00.001+08:00'::timestamptz",
        ),
        (pd.Timestamp("2022-01-02"), "TIMESTAMP '2022-01-02 00:00:00'", "'2022-01-02 00:00:00'"),
        (uuid.UUID(int=1), f"'{uuid.UUID(int=1)}'", f"'{uuid.UUID(int=1)}'"),
    ],
)
def test_each_type_has_its_literal(value: Any, athena: str, redshift: str) -> None:
    query, values = for_athena("a = :a", {"a": value})
    assert (values or [query.removeprefix("a = ")]) == [athena]
    assert with_literals("a = :a", {"a": value}).removeprefix("a = ").startswith(redshift)


def test_the_data_api_gets_texts_that_are_not_empty() -> None:
    query, values = for_data_api(
        "f(:a, :b, :c, :d, :e)", {"a": None, "b": "", "c": True, "d": 1.5, "e": dt.date(2022, 1, 2)}
    )
    assert query == "f(NULL, '', :p1, :p2, :p3)"
    assert [one["value"] for one in values] == ["true", "1.5", "2022-01-02"]


def test_a_long_value_is_part_of_the_query_since_athena_binds_none() -> None:
    value = "it's " * 300
    query, values = for_athena("a = :a AND b = :b", {"a": value, "b": 1})
    assert query == f"a = {athena_literal(value)} AND b = ?"
    assert values == ["1"]


def test_a_literal_does_not_grow_together_with_its_neighbours() -> None:
    assert with_literals("a -:n", {"n": -1}) == "a - -1"
    assert with_literals("'x':a'y'", {"a": "z"}) == "'x' 'z' 'y'"


HOSTILE = st.one_of(
    st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    st.text(alphabet="'\"\\-/*;:?{}()$pn \n", max_size=30),
)


@settings(max_examples=500, deadline=None)
@given(HOSTILE)
@example("' OR 1=1 --")
@example("\\' OR 1=1 --")
@example("\\")
@example("'")
def test_no_text_as_a_parameter_changes_the_query(text: str) -> None:
    query = "SELECT a FROM t WHERE a = :a AND b = 'x' /* :a */ AND c = :a"
    placed = with_literals(query, {"a": text})
    literals = _literals(placed, "redshift")
    assert literals == [text, "x", text]
    assert _shape(placed, "redshift") == _shape(with_literals(query, {"a": "y"}), "redshift")
    bound, values = for_athena(query, {"a": text})
    if values:
        assert bound == for_athena(query, {"a": "y"})[0]
        assert _literals(f"SELECT {values[0]}", "athena") == [text]
    else:  # too long for Athena to bind
        assert _literals(bound, "athena") == [text, "x", text]
    assert for_wire(query, {"a": text}) == (for_wire(query, {"a": "y"})[0], [text, text])


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="'\"\\-/*;:?{}()$ab \n`", max_size=40))
def test_pieces_are_the_query_again(query: str) -> None:
    for dialect in ("athena", "redshift"):
        assert "".join(piece.text for piece in pieces(query, dialect)) == query
        assert len(outline(query, dialect)) == len(query)


def test_one_statement_and_its_kind() -> None:
    assert statement("SELECT ';' ; -- done;\n", "athena") == "SELECT ';'"
    for several in ("SELECT 1; SELECT 2", "; ;", " -- nothing"):
        with pytest.raises(UserError):
            statement(several, "redshift")
    assert is_select("/* x */ (WITH a AS (SELECT 1) SELECT * FROM a)", "athena")
    assert not is_select("SHOW TABLES", "athena")
    assert not is_select("-- SELECT\nINSERT INTO t SELECT 1", "redshift")
    assert is_ordered("(SELECT a FROM t ORDER BY a)", "athena")
    assert not is_ordered("SELECT 'order by', array_agg(a ORDER BY a) FROM t", "athena")
    assert is_ordered("SELECT a FROM (SELECT 1 a) order -- x\n by a LIMIT 3", "athena")


def test_redshift_comments_nest_and_dollars_quote() -> None:
    query = "SELECT /* a /* b */ :x */ $$ :x $$, $t$ ' $t$, a$1, :x"
    assert for_wire(query, {"x": 1})[0] == query[:-2] + "?"
    assert for_athena("/* /* */ :x", {"x": 1})[0] == "/* /* */ ?"


def _literals(query: str, dialect: str) -> list[str]:
    trees = sqlglot.parse(query, read=dialect)
    assert len(trees) == 1
    return [str(node.this) for node in trees[0].find_all(sqlglot.exp.Literal, bfs=False)]


def _shape(query: str, dialect: str) -> str:
    tree = sqlglot.parse_one(query, read=dialect)
    blank = sqlglot.exp.Literal.string("")
    return repr(
        tree.transform(lambda node: blank if isinstance(node, sqlglot.exp.Literal) else node)
    )


def test_redshift_reads_its_literals_back() -> None:
    for text in ("\\", "a\\'b", "''", "\\\\n", "中"):
        assert _literals(f"SELECT {redshift_literal(text)}", "redshift") == [text]
