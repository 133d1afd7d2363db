"""Libraries that BatCat does not install: polars, DuckDB, s3fs. They have a .venv of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.job import Job


def polars_csv(job: Job) -> Any:
    """Get the bytes with botocore, parse them with polars.

    polars' own S3 client wants status 206 for a range; rclone answers 200 and the range.
    """
    import botocore.session
    import polars as pl

    s3 = botocore.session.get_session().create_client("s3")
    body = s3.get_object(Bucket=job.bucket, Key=job.key)["Body"].read()
    return pl.read_csv(body, try_parse_dates=True).to_pandas()


def duckdb_csv(job: Job) -> Any:
    """Read with DuckDB and its httpfs extension, which lies in a package of its own."""
    import duckdb
    import duckdb_extension_httpfs

    home = Path(duckdb_extension_httpfs.__file__).parent / "extensions"
    extension = home / f"v{duckdb.__version__}" / "httpfs.duckdb_extension"
    place = f"{job.uri}*.csv" if job.key.endswith("/") else job.uri
    with duckdb.connect() as connection:
        connection.execute(f"LOAD '{extension}'")
        connection.execute(
            f"CREATE SECRET (TYPE s3, KEY_ID '{job.access_key}', SECRET '{job.secret_key}',"
            f" ENDPOINT '{job.host}', USE_SSL false, URL_STYLE 'path', REGION 'us-east-1')"
        )
        return connection.sql(f"SELECT * FROM read_csv('{place}')").df()


def pandas_s3fs(job: Job) -> Any:
    """Read with pandas, which asks s3fs."""
    import pandas as pd

    return pd.read_csv(job.uri)
