"""Redshift's SQL as the embedded AWS executes it: what analysts write, and what goes wrong."""

from __future__ import annotations

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


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        # Arithmetic: integers stay integers, decimals keep an exact scale.
        ("7 / 2", 3),
        ("7.0 / 2", "3.5000"),
        ("1 / 3.0", "0.3333"),
        ("2 ^ 10", 1024.0),
        ("mod(7, 3)", 1),
        ("round(2.567, 1)", "2.6"),
        ("3.7::int", 4),
        # Text.
        ("'a' || 1 || null", None),
        ("nvl(null, 'x')", "x"),
        ("coalesce(null, 'y')", "y"),
        ("isnull(null, 3)", 3),
        ("nvl2(1, 'a', 'b')", "a"),
        ("decode(2, 1, 'one', 2, 'two', 'more')", "two"),
        ("charindex('b', 'abc')", 2),
        ("strpos('abc', 'c')", 3),
        ("len('battery')", 7),
        ("left('battery', 3) || right('battery', 2)", "batry"),
        ("lpad('7', 3, '0')", "007"),
        ("initcap('cell one')", "Cell One"),
        ("btrim('  x ')", "x"),
        ("split_part('a.b.c', '.', 2)", "b"),
        ("translate('abc', 'ab', 'xy')", "xyc"),
        ("reverse('abc')", "cba"),
        ("regexp_substr('cell-12', '[0-9]+')", "12"),
        ("regexp_replace('a1b1', '[0-9]', '#')", "a#b#"),
        ("regexp_count('a1b2', '[0-9]')", 2),
        ("regexp_instr('ab1', '[0-9]')", 3),
        ("'Battery' ILIKE 'bat%'", True),
        ("'abc' SIMILAR TO '(a|b)%'", True),
        ("'abc' ~ 'b'", True),
        ("strtol('ff', 16)", 255),
        ("md5('a')", "0cc175b9c0f1b6a831c399e269772661"),
        ("'abcdef'::varchar(3)", "abc"),
        ("'äöü'::varchar(4)", "äö"),
        ("'it''s'", "it's"),
        ("quote_ident('a')", '"a"'),
        # Time.
        ("dateadd(day, 1, '2022-01-31'::date)", "2022-02-01 00:00:00"),
        ("dateadd(month, 1, '2022-01-31'::date)", "2022-02-28 00:00:00"),
        ("datediff(day, '2022-01-01', '2022-01-31')", 30),
        ("datediff(month, '2022-01-31'::date, '2022-02-01'::date)", 1),
        ("date_trunc('month', '2022-02-15'::date)", "2022-02-01 00:00:00"),
        ("trunc('2022-02-15 10:00:00'::timestamp)", "2022-02-15"),
        ("trunc(2.7)", "2"),
        ("date_part(year, '2022-02-15'::date)", 2022),
        ("date_part(dow, '2022-02-13'::date)", 0),
        ("extract(month from '2022-02-15'::date)", 2),
        ("extract(epoch from '1970-01-02'::timestamp)", 86400),
        ("last_day('2024-02-03'::date)", "2024-02-29"),
        ("add_months('2022-01-31'::date, 1)", "2022-02-28 00:00:00"),
        ("next_day('2022-02-13', 'Mon')", "2022-02-14"),
        ("'2022-01-31'::date - '2022-01-01'::date", 30),
        ("'2022-01-31'::date + 1", "2022-02-01"),
        ("'2022-01-31'::date + interval '1 day'", "2022-02-01 00:00:00"),
        (
            "convert_timezone('Asia/Shanghai', '2022-01-01 00:00:00'::timestamp)",
            "2022-01-01 08:00:00",
        ),
        (
            "convert_timezone('Asia/Shanghai', 'UTC', '2022-01-01'::timestamp)",
            "2021-12-31 16:00:00",
        ),
        (
            "to_char('2022-02-03 04:05:06'::timestamp, 'YYYY-MM-DD HH24:MI:SS')",
            "2022-02-03 04:05:06",
        ),
        ("to_char('2022-02-03'::date, 'YYYYMM')", "202202"),
        ("to_char('2022-02-03'::date, 'Mon DD, YYYY \"Q\"Q')", "Feb 03, 2022 Q1"),
        ("to_char(1234.5, '9,999.99')", " 1,234.50"),
        ("to_char(7, 'FM000')", "007"),
        ("to_date('03 Feb 2022', 'DD Mon YYYY')", "2022-02-03"),
        ("to_timestamp('2022-02-03 04', 'YYYY-MM-DD HH24')", "2022-02-03 04:00:00+00"),
        ("getdate() > '2020-01-01'", True),
        ("sysdate >= getdate()", True),
        # JSON and SUPER.
        ("json_extract_path_text('{\"a\":{\"b\":5}}', 'a', 'b')", "5"),
        ("json_extract_array_element_text('[10,20]', 1)", "20"),
        ("json_array_length('[1,2,3]')", 3),
        ("is_valid_json('{\"a\":1}')", True),
        ("json_typeof(json_parse('[1]'))", "array"),
        ("json_serialize(object('a', 1))", '{"a":1}'),
        ("current_database()", "dev"),
        ("current_schema()", "public"),
    ],
)
def test_an_expression_has_redshifts_value(house: House, expression: str, expected: object) -> None:
    assert house.value(expression) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT avg(n), sum(n), sum(big), avg(price), count(*) FROM usage",
         [(2, 7, "70", "2.25", 3)]),
        ("SELECT avg(usage), sum(price), median(n) FROM usage", [(2.0, "6.75", 2.0)]),
        ("SELECT listagg(vin, ',') WITHIN GROUP (ORDER BY n DESC) FROM usage",
         [("LRW3,LRW2,LRW1",)]),
        ("SELECT listagg(DISTINCT ok::varchar, '|') WITHIN GROUP (ORDER BY 1) FROM usage",
         [("false|true",)]),
        ("SELECT TOP 1 vin FROM usage ORDER BY n DESC", [("LRW3",)]),
        ("SELECT vin FROM usage QUALIFY row_number() OVER (ORDER BY n DESC) = 1", [("LRW3",)]),
        ("SELECT n, sum(n) OVER (ORDER BY n ROWS UNBOUNDED PRECEDING) FROM usage ORDER BY 1",
         [(1, 1), (2, 3), (4, 7)]),
        ("SELECT vin, ratio_to_report(n) OVER () AS r FROM usage WHERE n > 1 ORDER BY 1",
         [("LRW2", 2 / 6), ("LRW3", 4 / 6)]),
        # Nulls are larger than anything, as in PostgreSQL.
        ("SELECT vin FROM usage ORDER BY usage DESC LIMIT 1", [("LRW3",)]),
        ("SELECT vin FROM usage ORDER BY usage LIMIT 1", [("LRW1",)]),
        ("SELECT n + 1 AS m, m * 2 AS k FROM usage WHERE n = 1", [(2, 4)]),
        ("SELECT approximate count(DISTINCT vin) FROM usage", [(3,)]),
        ("WITH a AS (SELECT n FROM usage), b AS (SELECT max(n) AS m FROM a) SELECT m FROM b",
         [(4,)]),
        ("SELECT a.n FROM usage a JOIN usage b USING (vin) WHERE b.price > 2.9", [(2,)]),
        ("SELECT count(*) FROM usage u1, usage u2 WHERE u1.n < u2.n", [(3,)]),
        ("SELECT n FROM usage UNION SELECT 9 ORDER BY 1 DESC LIMIT 2", [(9,), (4,)]),
        ("SELECT n FROM usage EXCEPT SELECT 1 ORDER BY 1", [(2,), (4,)]),
        ("SELECT vin FROM usage WHERE n IN (SELECT max(n) FROM usage)", [("LRW3",)]),
        ("SELECT CASE WHEN n > 1 THEN 'many' ELSE 'one' END FROM usage ORDER BY n LIMIT 1",
         [("one",)]),
        ("SELECT U.VIN FROM public.USAGE AS U WHERE \"N\" = 1", [("LRW1",)]),
        ("SELECT doc.cell.id, doc.t[1] FROM usage WHERE n = 1", [("7", "2")]),
        ("SELECT u.doc.cell.id FROM usage u WHERE u.n = 1", [("7",)]),
        ("SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY n) FROM usage", [(2.0,)]),
    ],
)  # fmt: skip
def test_a_query_has_redshifts_rows(
    house: House, query: str, expected: list[tuple[object, ...]]
) -> None:
    assert house.rows(query) == expected


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("SELECT count(*), sum(n), 1, 'a'::varchar(5), n::bigint, upper(vin) FROM usage "
         "GROUP BY n, vin",
         ["count", "sum", "?column?", "varchar", "n", "upper"]),
        ("SELECT VIN AS \"Wagen Nr\", n Total FROM usage", ["wagen nr", "total"]),
        ("SELECT n, n FROM usage", ["n", "n"]),
        ("SELECT CASE WHEN n = 1 THEN 2 END, -n, coalesce(n, 0), max(n) OVER () FROM usage",
         ["case", "?column?", "coalesce", "max"]),
    ],
)  # fmt: skip
def test_columns_are_named_as_redshift_names_them(
    house: House, query: str, names: list[str]
) -> None:
    columns, _ = house.result(house.run(query)["Id"])
    assert [one["name"] for one in columns] == names
    assert [one["label"] for one in columns] == names


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("SELECT * FROM nowhere", 'ERROR: relation "nowhere" does not exist'),
        ("SELECT * FROM s.nowhere", 'ERROR: relation "s.nowhere" does not exist'),
        ("SELECT * FORM usage", 'ERROR: syntax error at or near "FORM"\n  Position: 10;'),
        ("SELEC 1", 'ERROR: syntax error at or near "SELEC"\n  Position: 1;'),
        ("SELECT n FROM usage WHERE", "ERROR: syntax error at end of input\n  Position: 26;"),
        ("SELECT 'abc", "ERROR: unterminated quoted string at or near \"'abc\"\n  Position: 8;"),
        ("SELECT nothing FROM usage", 'ERROR: column "nothing" does not exist in usage'),
        ("SELECT u.nothing FROM usage u", 'ERROR: column "nothing" does not exist in u'),
        ("SELECT x.n FROM usage", 'ERROR: missing FROM-clause entry for table "x"'),
        ("SELECT n FROM usage a, usage b", 'ERROR: column reference "n" is ambiguous'),
        ("SELECT nofunction(n) FROM usage", "ERROR: function nofunction does not exist"),
        ("SELECT * FROM read_csv('/etc/passwd')", "ERROR: function read_csv does not exist"),
        ("SELECT * FROM '/etc/passwd'", 'ERROR: relation "/etc/passwd" does not exist'),
        ('SELECT * FROM "/etc/passwd"', 'ERROR: relation "/etc/passwd" does not exist'),
        ("SELECT getenv('HOME')", "ERROR: function getenv() does not exist"),
        ("SELECT vin, count(*) FROM usage",
         'ERROR: column "vin" must appear in the GROUP BY clause or be used in an aggregate'),
        ("SELECT 'abc'::int", 'ERROR: invalid input syntax for type integer: "abc"'),
        ("SELECT vin::int FROM usage", 'ERROR: invalid input syntax for type integer: "LRW'),
        ("SELECT '2022-13-01'::date", 'ERROR: date/time field value out of range: "2022-13-01"'),
        ("SELECT 1 / 0", "ERROR: Divide by zero"),
        ("SELECT n / 0 FROM usage", "ERROR: Divide by zero"),
        ("SELECT 99999999999::int", "ERROR: integer out of range"),
        ("SELECT n FROM usage UNION SELECT 1, 2",
         "ERROR: each UNION query must have the same number of columns"),
        ("SELECT sum(vin) FROM usage", "ERROR: function sum(character varying) does not exist"),
        ("SELECT 1; SELECT 2", "ERROR: cannot insert multiple commands into a prepared statement"),
        ("CREATE TABLE usage (a int)", 'ERROR: Relation "usage" already exists'),
        ("CREATE TABLE x (a int, a int)", 'ERROR: column "a" duplicated'),
        ("CREATE TABLE x (a blob)", 'ERROR: type "blob" does not exist'),
        ("CREATE TABLE x (a varchar(70000))", "ERROR: length for type varchar cannot exceed 65535"),
        ("CREATE TABLE nowhere.x (a int)", 'ERROR: schema "nowhere" does not exist'),
        ("CREATE TABLE x (a int", "ERROR: syntax error at end of input"),
        ("INSERT INTO usage (nothing) VALUES (1)",
         'ERROR: column "nothing" of relation "usage" does not exist'),
        ("INSERT INTO usage (n, vin) VALUES (1)", "ERROR: INSERT has more target columns"),
        ("INSERT INTO usage (vin) VALUES ('123456789012345678')",
         "ERROR: value too long for type character varying(17)"),
        ("UPDATE usage SET nothing = 1",
         'ERROR: column "nothing" of relation "usage" does not exist'),
        ("DROP TABLE nowhere", "ERROR: Table nowhere does not exist"),
        ("DROP SCHEMA nowhere", 'ERROR: schema "nowhere" does not exist'),
        ("ALTER TABLE usage DROP COLUMN nothing",
         'ERROR: column "nothing" of relation "usage" does not exist'),
    ],
)  # fmt: skip
def test_an_error_is_in_redshifts_words(house: House, sql: str, error: str) -> None:
    assert house.error(sql).startswith(error)


def test_a_table_keeps_what_its_definition_says(house: House) -> None:
    house.run(
        "CREATE TABLE cells (id bigint IDENTITY(100, 10), name varchar(5) ENCODE zstd "
        "DEFAULT 'new', "
        "kind char(3) NOT NULL, made date DISTKEY SORTKEY, PRIMARY KEY (id), UNIQUE (name)) "
        "BACKUP NO DISTSTYLE KEY COMPOUND SORTKEY (made, kind)",
        "INSERT INTO cells (kind) VALUES ('a'), ('bb')",
        "INSERT INTO cells (name, kind) SELECT 'x', 'ccc'",
        # Redshift does not enforce keys.
        "INSERT INTO cells (name, kind) VALUES (default, 'd')",
    )
    assert house.rows("SELECT id, name, kind, made FROM cells ORDER BY id") == [
        (100, "new", "a  ", None),
        (110, "new", "bb ", None),
        (120, "x", "ccc", None),
        (130, "new", "d  ", None),
    ]
    assert house.error("INSERT INTO cells (id, kind) VALUES (1, 'a')") == (
        "ERROR: cannot set an identity column to a value"
    )
    assert house.error("INSERT INTO cells (name) VALUES ('x')") == (
        "ERROR: Cannot insert a NULL value into column kind"
    )
    assert house.error("INSERT INTO cells (kind) SELECT 'long'") == (
        "ERROR: value too long for type character(3)"
    )
    assert house.rows(
        'SELECT "column", type, "notnull" FROM pg_table_def WHERE tablename = \'cells\''
    ) == [
        ("id", "bigint", True),
        ("name", "character varying(5)", False),
        ("kind", "character(3)", True),
        ("made", "date", False),
    ]


def test_rows_are_changed_as_asked(house: House) -> None:
    house.run(
        "CREATE TABLE stock (k int, v varchar(10))",
        "CREATE TABLE delta (LIKE stock)",
        "INSERT INTO stock VALUES (1, 'a'), (2, 'b'), (3, 'c')",
        "INSERT INTO delta VALUES (2, 'B'), (4, 'D')",
        "UPDATE stock SET v = stock.v || '!' FROM delta WHERE stock.k = delta.k",
        "DELETE FROM stock USING (SELECT 3 AS k) s WHERE stock.k = s.k",
        "MERGE INTO stock USING delta ON stock.k = delta.k "
        "WHEN MATCHED THEN UPDATE SET v = delta.v WHEN NOT MATCHED THEN INSERT VALUES "
        "(delta.k, delta.v)",
    )
    assert house.rows("SELECT * FROM stock ORDER BY k") == [(1, "a"), (2, "B"), (4, "D")]
    assert house.run("UPDATE stock SET v = 'z' WHERE k > 1")["ResultRows"] == 2
    house.run(
        "ALTER TABLE stock ADD COLUMN w varchar(3) DEFAULT 'w'", "ALTER TABLE stock RENAME TO shelf"
    )
    house.run("ALTER TABLE shelf RENAME COLUMN v TO u", "ALTER TABLE shelf DROP COLUMN w")
    house.run(
        "ALTER TABLE shelf ALTER COLUMN u TYPE varchar(20)",
        "CREATE TABLE copy AS SELECT * FROM shelf",
    )
    assert house.rows("SELECT k, u FROM copy ORDER BY k")[0] == (1, "a")
    house.run(
        "TRUNCATE TABLE shelf",
        "ANALYZE shelf",
        "VACUUM FULL shelf",
        "GRANT SELECT ON shelf TO PUBLIC",
    )
    assert house.value("count(*) FROM shelf") == 0


def test_views_are_bound_early_or_late(house: House) -> None:
    house.run(
        "CREATE TABLE base (a int, b varchar(4))",
        "INSERT INTO base VALUES (1, 'x')",
        "CREATE VIEW early AS SELECT a FROM base",
        "CREATE VIEW late AS SELECT * FROM public.base JOIN public.later USING (a) "
        "WITH NO SCHEMA BINDING",
    )
    assert house.rows("SELECT early.a FROM early") == [(1,)]
    assert house.error("SELECT * FROM late") == 'ERROR: relation "public.later" does not exist'
    house.run("CREATE TABLE later AS SELECT 1 AS a, 2 AS c")
    assert house.rows("SELECT late.c, late.b FROM late") == [(2, "x")]
    assert house.error("CREATE VIEW early AS SELECT 2") == 'ERROR: Relation "early" already exists'
    house.run("CREATE OR REPLACE VIEW early AS SELECT a + 1 AS a FROM base", "DROP VIEW late")
    assert house.rows("SELECT a FROM early") == [(2,)]
    assert house.error("DROP TABLE base").startswith(
        "ERROR: cannot drop table base because other objects depend on it"
    )
    house.run("DROP TABLE base CASCADE")
    assert house.error("SELECT a FROM early") == 'ERROR: relation "early" does not exist'


def test_identifiers_keep_their_case_only_when_asked(house: House) -> None:
    kept = house.execute('CREATE TABLE "Folded" ("Mixed" int)', SessionKeepAliveSeconds=60)
    session = kept["SessionId"]
    assert house.rows("SELECT mixed FROM folded") == []
    house.run(
        "SET enable_case_sensitive_identifier TO true",
        'SELECT 1 AS "Kept"',
        SessionId=session,
    )
    columns, _ = house.result(house.run('SELECT 1 AS "Kept", 2 AS Lost', SessionId=session)["Id"])
    assert [one["name"] for one in columns] == ["Kept", "lost"]


def test_databases_see_each_other(house: House) -> None:
    house.run("CREATE DATABASE plant")
    house.run(
        "CREATE SCHEMA line", "CREATE TABLE line.cell (id int)", "INSERT INTO line.cell VALUES (5)",
        Database="plant",
    )  # fmt: skip
    assert house.rows("SELECT c.id FROM plant.line.cell c") == [(5,)]
    assert "does not exist" in house.error("SELECT * FROM line.cell")
    assert "read-only" in house.error("INSERT INTO plant.line.cell VALUES (6)")
    assert house.error("SELECT 1", Database="nowhere") == (
        'FATAL: database "nowhere" does not exist'
    )


def test_what_catalogues_show_is_what_clients_look_for(house: House) -> None:
    assert ("public", "usage") in house.rows("SELECT table_schema, table_name FROM svv_tables")
    assert ("usage", 17) in house.rows(
        "SELECT table_name, character_maximum_length FROM information_schema.columns "
        "WHERE column_name = 'vin'"
    )
    assert ("dev",) in house.rows("SELECT datname FROM pg_catalog.pg_database")
    assert ("public",) in house.rows("SELECT nspname FROM pg_namespace")
    assert house.value("version()").startswith("PostgreSQL 8.0.2")
    names = [row[2] for row in house.rows("SHOW TABLES FROM SCHEMA dev.public LIKE 'usa%'")]
    assert names == ["usage"]
    assert house.run("EXPLAIN SELECT * FROM usage")["HasResultSet"]
