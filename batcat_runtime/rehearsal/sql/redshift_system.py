"""The catalogue views that clients ask for: svv_*, pg_table_def, information_schema.

They are views over DuckDB's own catalogue, in the library database, seen by their bare names and
under ``pg_catalog`` and ``information_schema``. The types they show come from the comments that
`redshift_types` explains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .redshift_macros import LIBRARY

if TYPE_CHECKING:
    import duckdb

_TYPE = """CASE WHEN comment LIKE 'varchar(%' THEN 'character varying'
    WHEN comment LIKE 'bpchar(%' THEN 'character'
    WHEN comment LIKE 'varbyte(%' THEN 'binary varying'
    WHEN comment = 'super' OR data_type = 'JSON' THEN 'super'
    WHEN data_type LIKE 'DECIMAL%' THEN 'numeric'
    WHEN data_type = 'VARCHAR' THEN 'character varying'
    WHEN data_type = 'DOUBLE' THEN 'double precision'
    WHEN data_type = 'FLOAT' THEN 'real'
    WHEN data_type = 'TIMESTAMP' THEN 'timestamp without time zone'
    WHEN data_type = 'TIME' THEN 'time without time zone'
    WHEN data_type = 'BLOB' THEN 'binary varying'
    WHEN data_type = 'HUGEINT' THEN 'numeric'
    ELSE lower(data_type) END"""
_LENGTH = """CASE WHEN comment LIKE '%(%)' AND data_type IN ('VARCHAR', 'BLOB')
    THEN CAST(regexp_extract(comment, '\\((\\d+)\\)', 1) AS INTEGER)
    WHEN data_type = 'VARCHAR' THEN 256 END"""
_USER_TABLES = """database_name NOT IN ('memory', 'system', 'temp', 'rs')
    AND database_name NOT LIKE 'ext\\_%' ESCAPE '\\' AND schema_name <> 'main'"""
_DEFAULT = "CASE WHEN column_default IN ('', 'NULL') THEN NULL ELSE column_default END"

_VIEWS = {
    "svv_all_tables": f"""SELECT database_name, schema_name, table_name, 'TABLE' AS table_type,
        NULL::VARCHAR AS table_acl, NULL::VARCHAR AS remarks
        FROM duckdb_tables() WHERE {_USER_TABLES}
        UNION ALL SELECT database_name, schema_name, view_name, 'VIEW', NULL, NULL
        FROM duckdb_views() WHERE {_USER_TABLES} AND NOT internal""",
    "svv_tables": """SELECT database_name AS table_catalog, schema_name AS table_schema, table_name,
        CASE table_type WHEN 'TABLE' THEN 'BASE TABLE' ELSE table_type END AS table_type, remarks
        FROM svv_all_tables WHERE database_name = current_database()""",
    "tables": "SELECT table_catalog, table_schema, table_name, table_type FROM svv_tables",
    "svv_all_columns": f"""SELECT database_name, schema_name, table_name, column_name,
        column_index::INTEGER AS ordinal_position, {_DEFAULT} AS column_default,
        CASE WHEN is_nullable THEN 'YES' ELSE 'NO' END AS is_nullable, {_TYPE} AS data_type,
        {_LENGTH} AS character_maximum_length, numeric_precision::INTEGER AS numeric_precision,
        numeric_scale::INTEGER AS numeric_scale, NULL::VARCHAR AS remarks
        FROM duckdb_columns() WHERE {_USER_TABLES}""",
    "svv_columns": """SELECT database_name AS table_catalog, schema_name AS table_schema,
        table_name, column_name, ordinal_position, column_default, is_nullable, data_type,
        character_maximum_length, numeric_precision, numeric_scale, remarks
        FROM svv_all_columns WHERE database_name = current_database()""",
    "columns": "SELECT * EXCLUDE (remarks) FROM svv_columns",
    "svv_all_schemas": """SELECT database_name, schema_name, 100 AS schema_owner,
        'local' AS schema_type, NULL::VARCHAR AS schema_acl FROM duckdb_schemas()
        WHERE database_name NOT IN ('memory', 'system', 'temp', 'rs')
        AND database_name NOT LIKE 'ext\\_%' ESCAPE '\\'
        AND schema_name NOT IN ('main', 'information_schema', 'pg_catalog')""",
    "svv_redshift_schemas": "SELECT * FROM svv_all_schemas",
    "schemata": """SELECT database_name AS catalog_name, schema_name, 'rdsdb' AS schema_owner
        FROM svv_all_schemas WHERE database_name = current_database()""",
    "svv_redshift_databases": """SELECT database_name, 100 AS database_owner,
        'local' AS database_type, NULL::VARCHAR AS database_acl, NULL::VARCHAR AS database_options
        FROM duckdb_databases() WHERE database_name NOT IN ('memory', 'system', 'temp', 'rs')
        AND database_name NOT LIKE 'ext\\_%' ESCAPE '\\'""",
    "svv_redshift_tables": "SELECT * EXCLUDE (remarks), remarks FROM svv_all_tables",
    "svv_redshift_columns": "SELECT * FROM svv_all_columns",
    "pg_database": "SELECT database_name AS datname FROM svv_redshift_databases",
    "pg_namespace": """SELECT schema_name AS nspname, 100 AS nspowner FROM svv_all_schemas
        WHERE database_name = current_database()""",
    "pg_tables": """SELECT table_schema AS schemaname, table_name AS tablename,
        'rdsdb' AS tableowner FROM svv_tables WHERE table_type = 'BASE TABLE'""",
    "pg_views": """SELECT schema_name AS schemaname, view_name AS viewname, 'rdsdb' AS viewowner,
        sql AS definition FROM duckdb_views()
        WHERE database_name = current_database() AND NOT internal""",
    "pg_user": "SELECT 'rdsdb' AS usename, 1 AS usesysid, true AS usesuper",
    "pg_table_def": """SELECT table_schema AS schemaname, table_name AS tablename,
        column_name AS "column", CASE
            WHEN data_type = 'numeric' THEN 'numeric(' || numeric_precision || ',' || numeric_scale
                || ')'
            WHEN character_maximum_length IS NOT NULL
                THEN data_type || '(' || character_maximum_length || ')'
            ELSE data_type END AS type, 'none' AS encoding, false AS distkey, 0 AS sortkey,
        is_nullable = 'NO' AS "notnull" FROM svv_columns
        WHERE list_contains(current_schemas(false), table_schema)""",
    "sys_load_error_detail": """SELECT starttime AS start_time, session AS session_id,
        tbl AS table_name, filename AS file_name, line_number, colname AS column_name,
        type AS column_type, raw_field_value, err_reason AS error_message FROM stl_load_errors""",
    "svv_table_info": """SELECT database_name AS "database", schema_name AS "schema",
        table_oid AS table_id, table_name AS "table", 'N' AS encoded, 'AUTO(ALL)' AS diststyle,
        estimated_size::DECIMAL(38,0) AS tbl_rows, 1::BIGINT AS size FROM duckdb_tables()
        WHERE database_name = current_database() AND schema_name <> 'main'""",
}


_TABLES = ("stl_load_errors",)
_LOAD_ERRORS = """starttime TIMESTAMP, session INTEGER, tbl VARCHAR, filename VARCHAR,
    line_number BIGINT, colname VARCHAR, type VARCHAR, raw_field_value VARCHAR,
    err_reason VARCHAR"""


def install(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the views in a DuckDB instance.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Any connection to it.
    """
    connection.execute(f"USE {LIBRARY}.main")
    try:
        connection.execute(f"CREATE TABLE stl_load_errors ({_LOAD_ERRORS})")
        for name, query in _VIEWS.items():
            connection.execute(f"CREATE VIEW {name} AS {query}")
    finally:
        connection.execute("USE memory.main")


def system_view(parts: tuple[str, ...]) -> str | None:
    """Return the name of the catalogue view that a dotted name means, or None.

    Parameters
    ----------
    parts : tuple of str
        Such as ``("information_schema", "columns")`` or ``("svv_tables",)``.
    """
    *owners, name = parts
    if name not in _VIEWS and name not in _TABLES:
        return None
    standard = name in ("tables", "columns", "schemata")
    if not owners:
        return None if standard else name
    if owners[-1] == "information_schema":
        return name if standard else None
    return name if owners[-1] == "pg_catalog" and not standard else None
