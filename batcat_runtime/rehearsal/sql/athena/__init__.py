"""Athena: its API, its statements, and their execution by DuckDB."""
