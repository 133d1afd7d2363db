"""Redshift's SQL as the embedded AWS executes it: what analysts write, and what goes wrong."""

from __future__ import annotations

import re

import pytest

from tests.rehearsal.conftest import Cloud
from tests.rehearsal.redshift_world import House


@pytest.fixture(scope="module")
def house(cloud: Cloud) -> House:
    made = House(cloud)
    made.run(
        "CREATE TABLE usage (vin varchar(17), usage double precision, n int, big bigint, "
        "price decimal(10,2), day date, ts timestamp, tz timestamptz, ok boolean, doc super)",
        "INSERT INTO usage VALUES "
        "('LRW1', 1.5, 1, 10, 2.50, '2022-01-31', '2022-01-31 10:20:30', "
        '\'2022-01-31 10:20:30+08\', true, json_parse(\'{"cell":{"id":7},"t":[1,2]}\')),'
        "('LRW2', 2.5, 2, 20, 3.00, '2022-02-28', '2022-02-28 00:00:00', "
        "'2022-02-28 00:00:00+00', false, null),"
        "('LRW3', null, 4, 40, 1.25, '2022-03-01', '2022-03-01 23:59:59.5', null, null, null)",
    )
    return made


VALUES: dict[str, object] = {
    # integers stay integers, decimals keep an exact scale
    **{"7 / 2": 3, "7.0 / 2": "3.5000", "1 / 3.0": "0.3333", "2 ^ 10": 1024.0, "3.7::int": 4},
    # text
    **{"'a' || 1 || null": None, "nvl(null, 'x')": "x", "nvl2(1, 'a', 'b')": "a"},
    **{"decode(2, 1, 'one', 2, 'two', 'more')": "two", "charindex('b', 'abc')": 2},
    **{"split_part('a.b.c', '.', 2)": "b", "regexp_substr('cell-12', '[0-9]+')": "12"},
    **{"regexp_replace('a1b1', '[0-9]', '#')": "a#b#", "regexp_count('a1b2', '[0-9]')": 2},
    **{"'Battery' ILIKE 'bat%'": True, "'abc' SIMILAR TO '(a|b)%'": True, "'abc' ~ 'b'": True},
    **{"'abcdef'::varchar(3)": "abc", "'äöü'::varchar(4)": "äö", "'it''s'": "it's"},
    # time
    "dateadd(month, 1, '2022-01-31'::date)": "2022-02-28 00:00:00",
    "datediff(day, '2022-01-01', '2022-01-31')": 30,
    "date_trunc('month', '2022-02-15'::date)": "2022-02-01 00:00:00",
    "trunc('2022-02-15 10:00:00'::timestamp)": "2022-02-15",
    "date_part(dow, '2022-02-13'::date)": 0,
    "extract(epoch from '1970-01-02'::timestamp)": 86400,
    "'2022-01-31'::date - '2022-01-01'::date": 30,
    "convert_timezone('Asia/Shanghai', '2022-01-01'::timestamp)": "2022-01-01 08:00:00",
    "to_char('2022-02-03 04:05:06'::timestamp, 'YYYY-MM-DD HH24:MI:SS')": "2022-02-03 04:05:06",
    "to_char('2022-02-03'::date, 'DD Mon YYYY')": "03 Feb 2022",
    "to_date('03 Feb 2022', 'DD Mon YYYY')": "2022-02-03",
    "to_timestamp('2022-02-03 04', 'YYYY-MM-DD HH24')": "2022-02-03 04:00:00+00",
    **{"getdate() > '2020-01-01'": True, "sysdate >= getdate()": True},
    # JSON and SUPER
    "json_extract_path_text('{\"a\":{\"b\":5}}', 'a', 'b')": "5",
    "json_extract_array_element_text('[10,20]', 1)": "20",
    **{"json_array_length('[1,2,3]')": 3, "is_valid_json('{\"a\":1}')": True},
    **{"json_serialize(object('a', 1))": '{"a":1}', "json_typeof(json_parse('[1]'))": "array"},
    **{"current_database()": "dev", "current_schema()": "public", "current_user": "IAM:root"},
}


def test_expressions_have_redshifts_values(house: House) -> None:
    expressions = ", ".join(VALUES)
    (row,) = house.rows(f"SELECT {expressions}")
    assert dict(zip(VALUES, row, strict=True)) == VALUES


QUERIES: list[tuple[str, list[tuple[object, ...]]]] = [
        ("SELECT avg(n), sum(n), sum(big), avg(price), avg(usage), sum(price) FROM usage",
         [(2, 7, "70", "2.25", 2.0, "6.75")]),
        ("SELECT listagg(vin, ',') WITHIN GROUP (ORDER BY n DESC), listagg(DISTINCT 'a', '|') "
         "FROM usage", [("LRW3,LRW2,LRW1", "a")]),
        # nulls are larger than anything, as in PostgreSQL
        ("SELECT vin FROM usage ORDER BY usage DESC LIMIT 1", [("LRW3",)]),
        ("SELECT n + 1 AS m, m * 2 AS k FROM usage WHERE n = 1", [(2, 4)]),
        ("WITH a AS (SELECT n FROM usage), b AS (SELECT max(n) AS m FROM a) SELECT m FROM b",
         [(4,)]),
        ("SELECT U.VIN FROM public.USAGE AS U WHERE \"N\" = 1", [("LRW1",)]),
        ("SELECT u.doc.cell.id, doc.t[1] FROM usage u WHERE n = 1", [("7", "2")]),
        ("SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY n), median(n) FROM usage",
         [(2.0, 2.0)]),
    ]  # fmt: skip


def test_a_query_has_redshifts_rows(house: House) -> None:
    for query, expected in QUERIES:
        assert house.rows(query) == expected, query


def test_columns_are_named_and_typed_as_redshift_does(house: House) -> None:
    query = "SELECT count(*), 1, 'a'::varchar(5), n::bigint, upper(vin), n Total, max(n) OVER (), "
    query += "CASE WHEN n = 1 THEN 2 END, vin, price FROM usage GROUP BY n, vin, price"
    columns, _ = house.result(house.run(query)["Id"])
    found = [(one["name"], one["typeName"]) for one in columns]
    names = "count ?column? varchar n upper total max case vin price"
    kinds = "int8 int4 varchar int8 varchar int4 int4 int4 varchar numeric"
    assert found == list(zip(names.split(), kinds.split(), strict=True))
    assert [(one["length"], one["precision"], one["scale"]) for one in columns[-2:]] == [
        (17, 17, 0),
        (0, 10, 2),
    ]


ERRORS = [
        ("SELECT * FROM s.nowhere", 'ERROR: relation "s.nowhere" does not exist'),
        ("SELECT n FORM usage", 'ERROR: syntax error at or near "usage"\n  Position: 15;'),
        ("SELEC 1", 'ERROR: syntax error at or near "SELEC"\n  Position: 1;'),
        ("SELECT n FROM usage WHERE", "ERROR: syntax error at end of input\n  Position: 26;"),
        ("SELECT 'abc", "ERROR: unterminated quoted string"),
        ("SELECT nothing FROM usage", 'ERROR: column "nothing" does not exist in usage'),
        ("SELECT x.n FROM usage", 'ERROR: missing FROM-clause entry for table "x"'),
        ("SELECT strftime(ts, '%Y') FROM usage", "ERROR: function strftime does not exist"),
        ("SELECT * FROM read_csv('/etc/passwd')", "ERROR: function read_csv does not exist"),
        ("SELECT vin, count(*) FROM usage",
         'ERROR: column "vin" must appear in the GROUP BY clause or be used in an aggregate'),
        ("SELECT vin::int FROM usage", 'ERROR: invalid input syntax for type integer: "LRW'),
        ("SELECT '2022-13-01'::date", 'ERROR: date/time field value out of range: "2022-13-01"'),
        ("SELECT n / 0 FROM usage", "ERROR: Divide by zero"),
        ("SELECT sum(vin) FROM usage", "ERROR: function sum(character varying) does not exist"),
        ("SELECT to_char(1234.5, '9,999.99')", "ERROR: The embedded AWS does to_char for dates"),
        ("SELECT 1; SELECT 2", "ERROR: cannot insert multiple commands into a prepared statement"),
        ("CREATE TABLE usage (a int)", 'ERROR: Relation "usage" already exists'),
        ("CREATE TABLE x (a string)", 'ERROR: type "string" does not exist'),
        ("CREATE TABLE x (a varchar(70000))", "ERROR: length for type varchar cannot exceed 65535"),
        ("CREATE TABLE x (a int DISTKEY)",
         "ERROR: The embedded AWS does not perform this statement: CREATE TABLE with DISTKEY"),
        ("CREATE TABLE nowhere.x (a int)", 'ERROR: schema "nowhere" does not exist'),
        ("INSERT INTO usage (nothing) VALUES (1)",
         'ERROR: column "nothing" of relation "usage" does not exist'),
        ("INSERT INTO usage (n, vin) VALUES (1)", "ERROR: INSERT has more target columns"),
        ("DROP TABLE nowhere", "ERROR: Table nowhere does not exist"),
        ("MERGE INTO usage USING usage ON true", "ERROR: The embedded AWS does not perform"),
    ]  # fmt: skip


def test_an_error_is_in_redshifts_words(house: House) -> None:
    assert house.unlike(ERRORS) == []


CHANGES = (
    "INSERT INTO typed (n) SELECT vin FROM usage",
    "INSERT INTO typed SELECT upper('1'), day FROM usage",
    "INSERT INTO typed VALUES ('1'::varchar, '2022-01-01')",
    "INSERT INTO typed (d) SELECT to_char(day, 'YYYY-MM-DD') FROM usage",
    "UPDATE typed SET n = 'a' || 'b'",
)


def test_a_text_is_no_number_and_no_date_without_a_cast(house: House) -> None:
    """DuckDB would cast what Redshift refuses; a bare literal takes the column's type in both."""
    house.run("CREATE TABLE typed (n bigint, d date)")
    expected = r'column "[nd]" is of type (bigint|date) but expression is of type character varying'
    for change in CHANGES:
        assert re.search(expected, house.error(change)), change
    house.run("INSERT INTO typed VALUES ('1', '2022-01-31')")
    house.run("INSERT INTO typed SELECT '2', NULL", "UPDATE typed SET n = '3' WHERE n = '2'")
    house.run("INSERT INTO typed SELECT strpos(vin, '1'), day FROM usage WHERE n = 1")
    house.run("INSERT INTO typed (n) SELECT CAST(right(vin, 1) AS bigint) FROM usage WHERE n = 2")
    assert house.rows("SELECT n FROM typed ORDER BY n") == [(1,), (2,), (3,), (4,)]


def test_a_table_keeps_what_its_definition_says(house: House) -> None:
    house.run(
        "CREATE TABLE cells (id bigint, name varchar(5) ENCODE zstd DEFAULT 'new', "
        "kind char(3) NOT NULL, made date, PRIMARY KEY (id), UNIQUE (name)) "
        "DISTSTYLE KEY DISTKEY (made) COMPOUND SORTKEY (made, kind)",
        "INSERT INTO cells (id, kind) VALUES (1, 'a'), (1, 'bb')",  # keys are not enforced
        "CREATE TEMP TABLE mine (LIKE cells)",
        "CREATE TABLE copy DISTKEY (id) AS SELECT id, upper(name) AS name, kind FROM cells",
    )
    assert house.rows("SELECT * FROM cells ORDER BY kind")[1] == (1, "new", "bb ", None)
    for sql, said in (
        ("INSERT INTO cells (name) VALUES ('x')", "Cannot insert a NULL value into column kind"),
        ("INSERT INTO cells (kind) SELECT 'long'", "value too long for type character(3)"),
        ("UPDATE cells SET name = 'äöü'", "value too long for type character varying(5)"),
        ("INSERT INTO copy (kind) VALUES ('long')", "value too long for type character(3)"),
        ("SELECT * FROM mine", 'relation "mine" does not exist'),  # it went with its session
    ):
        assert house.error(sql) == f"ERROR: {said}"
    house.run("DROP TABLE IF EXISTS copy, nowhere", "CREATE VIEW seen AS SELECT id FROM cells")
    assert house.rows("SELECT * FROM seen") == [(1,), (1,)]


def test_rows_are_changed_as_asked(house: House) -> None:
    house.run(
        "CREATE SCHEMA s",
        "CREATE TABLE s.stock (k int, v varchar(10))",
        "CREATE TABLE delta (LIKE s.stock)",
        "INSERT INTO s.stock VALUES (1, 'a'), (2, 'b'), (3, 'c')",
        "INSERT INTO delta VALUES (2, 'B'), (4, 'D')",
        "UPDATE s.stock SET v = stock.v || '!' FROM delta WHERE stock.k = delta.k",
        "DELETE FROM s.stock USING (SELECT 3 AS k) AS old WHERE s.stock.k = old.k",
        "ALTER TABLE s.stock ADD COLUMN w varchar(3)",
    )
    assert house.rows("SELECT * FROM s.stock ORDER BY k") == [(1, "a", None), (2, "b!", None)]
    assert house.run("UPDATE s.stock SET v = 'z' WHERE k > 1")["ResultRows"] == 1
    house.run("CREATE DATABASE cdc", "TRUNCATE s.stock", "ANALYZE s.stock", "VACUUM s.stock")
    house.run("CREATE TABLE t AS SELECT 5 AS n", Database="cdc")
    assert house.rows("SELECT c.n FROM cdc.public.t c LEFT JOIN s.stock ON true") == [(5,)]
