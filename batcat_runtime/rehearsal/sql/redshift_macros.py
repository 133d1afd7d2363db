"""Redshift's functions that DuckDB lacks, as macros of the same names.

They live in a database of their own (`rs`), which is last in every session's search path, so they
are found by their bare names and never seen among the user's objects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

LIBRARY = "rs"

_MACROS = (
    # Our own helpers.
    """rs_fit(x, n) AS CASE WHEN x IS NULL OR strlen(x) <= n THEN x
        WHEN strlen(rtrim(x, ' ')) <= n THEN rs_cut(x, n)
        ELSE error('value too long for type character varying(' || n || ')') END""",
    """rs_fit_char(x, n) AS CASE WHEN x IS NULL OR strlen(rtrim(x, ' ')) <= n THEN rtrim(x, ' ')
        ELSE error('value too long for type character(' || n || ')') END""",
    """rs_cut(x, n) AS CASE WHEN strlen(x) <= n THEN x
        WHEN strlen(x) = length(x) THEN left(x, n)
        ELSE left(x, list_max(list_filter(range(n + 1), lambda i: strlen(left(x, i)) <= n)))
        END""",
    "rs_divisor(x) AS CASE WHEN x = 0 THEN error('division by zero') ELSE x END",
    "rs_week(d) AS lpad(((d - 1) // 7 + 1)::VARCHAR, 2, '0')",
    "rs_weekday(t) AS dayofweek(t) + 1",
    "rs_julian(t) AS julian(t::DATE)::BIGINT",
    "rs_unpadded(t) AS coalesce(nullif(ltrim(t, '0'), ''), '0')",
    """rs_zeros(t, n) AS CASE WHEN left(t, 1) = '-' THEN '-' || lpad(substr(t, 2), n::INTEGER, '0')
        WHEN length(t) < n THEN lpad(t, n::INTEGER, '0') ELSE t END""",
    """rs_leading_point(t) AS CASE WHEN left(t, 2) = '0.' THEN substr(t, 2)
        WHEN left(t, 3) = '-0.' THEN '-' || substr(t, 3) ELSE t END""",
    # Time.
    "getdate() AS date_trunc('second', CAST(now() AT TIME ZONE 'UTC' AS TIMESTAMP))",
    "sysdate() AS CAST(now() AT TIME ZONE 'UTC' AS TIMESTAMP)",
    "timeofday() AS strftime(now() AT TIME ZONE 'UTC', '%a %b %d %H:%M:%S.%f %Y UTC')",
    """date_cmp(a, b) AS CASE WHEN a::DATE = b::DATE THEN 0
        WHEN a::DATE < b::DATE THEN -1 ELSE 1 END""",
    """timestamp_cmp(a, b) AS CASE WHEN a::TIMESTAMP = b::TIMESTAMP THEN 0
        WHEN a::TIMESTAMP < b::TIMESTAMP THEN -1 ELSE 1 END""",
    """next_day(d, w) AS CAST(d::DATE + (((list_position(['su', 'mo', 'tu', 'we', 'th', 'fr', 'sa'],
        lower(left(w, 2))) - 1) - dayofweek(d::DATE) + 6) % 7 + 1)::INTEGER AS DATE)""",
    "date_part_year(d) AS year(d::DATE)::INTEGER",
    # Text.
    "btrim(x, c := ' ') AS trim(x, c)",
    """initcap(x) AS array_to_string(list_transform(
        regexp_extract_all(x, '[[:alnum:]]+|[^[:alnum:]]+'),
        lambda w: upper(left(w, 1)) || lower(substr(w, 2))), '')""",
    "replicate(x, n) AS repeat(x, n)",
    "len(x) AS length(x)",
    "textlen(x) AS length(x)",
    "octet_length(x) AS strlen(x)",
    "to_varbyte(x, f) AS CASE WHEN lower(f) = 'hex' THEN unhex(x) ELSE encode(x) END",
    "from_varbyte(x, f) AS CASE WHEN lower(f) = 'hex' THEN lower(hex(x)) ELSE decode(x) END",
    "quote_ident(x) AS '\"' || replace(x, '\"', '\"\"') || '\"'",
    "quote_literal(x) AS '''' || replace(x, '''', '''''') || ''''",
    "func_sha1(x) AS sha1(x)",
    "sha(x) AS sha1(x)",
    """strtol(x, b) AS CAST(list_sum(list_transform(range(1, length(x) + 1), lambda i:
        (instr('0123456789abcdefghijklmnopqrstuvwxyz', lower(x[i])) - 1)
        * power(b, length(x) - i))) AS BIGINT)""",
    "to_number(x, f) AS CAST(regexp_replace(x, '[^-0-9.]', '', 'g') AS DECIMAL(38,10))",
    """regexp_substr(x, p, s := 1, n := 1) AS coalesce(
        list_extract(regexp_extract_all(substr(x, s), p), n), '')""",
    "regexp_count(x, p, s := 1) AS CAST(len(regexp_extract_all(substr(x, s), p)) AS INTEGER)",
    """regexp_instr(x, p) AS CASE WHEN regexp_matches(x, p)
        THEN instr(x, regexp_extract(x, p))::INTEGER ELSE 0 END""",
    # Numbers.
    "dexp(x) AS exp(x)",
    "dlog1(x) AS ln(x)",
    "dlog10(x) AS log10(x)",
    "bool_to_int(x) AS CAST(x AS INTEGER)",
    # JSON and SUPER.
    "json_parse(x) AS CAST(x AS JSON)",
    "json_serialize(x) AS CAST(x AS VARCHAR)",
    "is_valid_json(x) AS json_valid(x) AND left(ltrim(x), 1) = '{'",
    "is_valid_json_array(x) AS json_valid(x) AND left(ltrim(x), 1) = '['",
    "can_json_parse(x) AS json_valid(x)",
    """json_extract_array_element_text(x, i, n := false) AS
        json_extract_string(x, '$[' || i || ']')""",
    "get_array_length(x) AS CAST(json_array_length(x) AS INTEGER)",
    "json_typeof(x) AS lower(json_type(x))",
    "is_object(x) AS json_type(x) = 'OBJECT'",
    "is_array(x) AS json_type(x) = 'ARRAY'",
    # What clients ask about the session.
    "version() AS 'PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC gcc (GCC) 3.4.2 "
    "20041017 (Red Hat 3.4.2-6.fc3), Redshift 1.0.100000'",
    "pg_backend_pid() AS 1073741824",
    "has_schema_privilege(s, p) AS true",
    "has_table_privilege(s, p) AS true",
    "pg_table_is_visible(o) AS true",
    "format_type(o, m) AS CAST(o AS VARCHAR)",
    "obj_description(o) AS CAST(NULL AS VARCHAR)",
    "pg_get_userbyid(o) AS 'rdsdb'",
    "pg_last_query_id() AS 1",
    "pg_last_copy_id() AS 1",
)


def install(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the macros in a DuckDB instance.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Any connection to it.
    """
    connection.execute(f"ATTACH ':memory:' AS {LIBRARY}")
    connection.execute(f"USE {LIBRARY}.main")
    try:
        for macro in sorted(_MACROS, key=lambda one: not one.startswith("rs_cut")):
            connection.execute(f"CREATE MACRO {macro}")
    finally:
        connection.execute("USE memory.main")
