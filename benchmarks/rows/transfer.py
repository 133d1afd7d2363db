"""Objects to DataFrames and back: time, as a multiple of the same work on the local disk."""

from __future__ import annotations

from benchmarks.bench import SETTINGS, Bench, Contender
from benchmarks.outcome import Outcome, Target, quotient
from benchmarks.slow_s3 import DELAY, serve_slowly


def csv_one(bench: Bench) -> Outcome:
    """Read one large CSV object."""
    return _compare(
        bench,
        "csv-one",
        f"Read one CSV of {bench.size_mb('csv-one/'):.0f} MB ({bench.scale.csv_one:,} x 13)",
        [
            Contender("pyarrow.csv, local file", "floor", "read_csv:floor_one"),
            Contender("read_csv_from_bucket", "BatCat", "read_csv:batcat"),
            Contender("boto3 stream -> pyarrow.csv", "peer", "read_csv:boto3_stream"),
            Contender("botocore -> polars", "peer", "others:polars_csv", elsewhere=True),
            Contender("duckdb", "peer", "others:duckdb_csv", elsewhere=True),
            Contender("wr.s3.download -> pyarrow.csv", "peer", "read_csv:wrangler_download"),
            Contender("original BatCat", "peer", "read_csv:original_one"),
            Contender("wr.s3.read_csv", "peer", "read_csv:wrangler"),
            Contender("wr.s3.read_csv, tuned", "peer", "read_csv:wrangler_tuned"),
            Contender("pandas + s3fs", "peer", "others:pandas_s3fs", elsewhere=True),
        ],
        key="csv-one/usage.csv",
        tiny="tiny-csv/part-000.csv",
        limit=0.72,
        memory_limit=1.10,
    )


def csv_one_s3(bench: Bench) -> Outcome:
    """Read the same object from a server that gives each connection as little as S3 does."""
    contenders = [
        Contender("one connection -> pyarrow.csv", "floor", "read_csv:boto3_stream"),
        Contender("read_csv_from_bucket", "BatCat", "read_csv:batcat"),
        Contender("wr.s3.download -> pyarrow.csv", "peer", "read_csv:wrangler_parallel"),
    ]
    with serve_slowly(bench.data / "objects") as environment:
        figures = bench.contest(
            contenders,
            "csv-one/usage.csv",
            tiny="tiny-csv/part-000.csv",
            environment=environment | SETTINGS,
        )
    size = f"{bench.size_mb('csv-one/'):.0f} MB"
    title = f"Read one CSV of {size}, 90 MB/s a connection, {DELAY * 1000:.0f} ms to the first byte"
    ratio = quotient(figures[1].best, figures[0].best)
    return Outcome("csv-one-s3", title, figures, [Target("time / one connection", ratio, 0.33)])


def csv_many(bench: Bench) -> Outcome:
    """Read many small CSV objects under a prefix."""
    return _compare(
        bench,
        "csv-many",
        _many(bench, "csv"),
        [
            Contender("pyarrow.csv, local files", "floor", "read_csv:floor_many"),
            Contender("read_csv_from_bucket", "BatCat", "read_csv:batcat"),
            Contender("pyarrow.dataset", "peer", "read_csv:arrow_dataset"),
            Contender("boto3 pool -> pyarrow.csv", "peer", "read_csv:boto3_pool"),
            Contender("original BatCat", "peer", "read_csv:original_many"),
            Contender("wr.s3.read_csv", "peer", "read_csv:wrangler"),
            Contender("wr.s3.read_csv, tuned", "peer", "read_csv:wrangler_tuned"),
            Contender("duckdb", "peer", "others:duckdb_csv", elsewhere=True),
        ],
        key="csv-many/",
        tiny="tiny-csv/",
        limit=1.85,
    )


def parquet_one(bench: Bench) -> Outcome:
    """Read one large Parquet object."""
    size = f"{bench.size_mb('parquet-one/'):.0f} MB ({bench.scale.parquet_one:,} x 13)"
    return _compare(
        bench,
        "parquet-one",
        f"Read one Parquet of {size}",
        [
            Contender("pyarrow.parquet, local file", "floor", "read_parquet:floor"),
            Contender("read_parquet_from_bucket", "BatCat", "read_parquet:batcat"),
            Contender("pyarrow.fs", "peer", "read_parquet:arrow"),
            Contender("wr.s3.download -> pyarrow", "peer", "read_parquet:wrangler_download"),
            Contender("wr.s3.read_parquet", "peer", "read_parquet:wrangler"),
            Contender("wr.s3.read_parquet, tuned", "peer", "read_parquet:wrangler_tuned"),
        ],
        key="parquet-one/usage.parquet",
        tiny="tiny-parquet/part-000.parquet",
        limit=0.95,
    )


def parquet_columns(bench: Bench) -> Outcome:
    """Read two columns of the same object, and nothing of the others."""
    return _compare(
        bench,
        "parquet-columns",
        f"Read 2 of 13 columns of one Parquet of {bench.size_mb('parquet-one/'):.0f} MB",
        [
            Contender("wr.s3.read_parquet(columns=)", "floor", "read_parquet:wrangler_columns"),
            Contender("read_parquet_from_bucket", "BatCat", "read_parquet:batcat_columns"),
        ],
        key="parquet-one/usage.parquet",
        tiny="tiny-parquet/part-000.parquet",
        limit=0.50,
    )


def parquet_many(bench: Bench) -> Outcome:
    """Read many small Parquet objects under a prefix."""
    return _compare(
        bench,
        "parquet-many",
        _many(bench, "parquet"),
        [
            Contender("pyarrow.parquet, local files", "floor", "read_parquet:floor"),
            Contender("read_parquet_from_bucket", "BatCat", "read_parquet:batcat"),
            Contender("boto3 pool -> pyarrow", "peer", "read_parquet:boto3_pool"),
            Contender("pyarrow.dataset", "peer", "read_parquet:arrow"),
            Contender("wr.s3.read_parquet", "peer", "read_parquet:wrangler"),
            Contender("wr.s3.read_parquet, tuned", "peer", "read_parquet:wrangler_tuned"),
        ],
        key="parquet-many/",
        tiny="tiny-parquet/",
        limit=3.75,
    )


_LOCAL_CSV = Contender(
    "pyarrow.csv.write_csv, local file", "floor", "saving:floor_csv", key="saved/floor.csv"
)


def save_csv(bench: Bench) -> Outcome:
    """Save a table as one CSV object."""
    return _compare(
        bench,
        "save-csv",
        f"Save {bench.scale.saved:,} x 13 as CSV",
        [
            _LOCAL_CSV,
            Contender("save_to_bucket", "BatCat", "saving:batcat"),
            Contender("pyarrow.csv -> multipart stream", "peer", "saving:multipart_stream"),
            Contender("wr.s3.to_csv", "peer", "saving:wrangler_csv"),
            Contender("original BatCat", "peer", "saving:original"),
        ],
        key="saved/usage.csv",
        tiny="saved/tiny",
        limit=1.25,
        extra_limit=64,
        saved=True,
    )


def save_parquet(bench: Bench) -> Outcome:
    """Save the same as Parquet; the floor stays CSV's, for the two belong side by side."""
    return _compare(
        bench,
        "save-parquet",
        f"Save {bench.scale.saved:,} x 13 as Parquet",
        [
            _LOCAL_CSV,
            Contender("save_to_bucket", "BatCat", "saving:batcat"),
            Contender("wr.s3.to_parquet", "peer", "saving:wrangler_parquet"),
        ],
        key="saved/usage.parquet",
        tiny="saved/tiny",
        limit=0.50,
        saved=True,
    )


def _compare(
    bench: Bench,
    row: str,
    title: str,
    contenders: list[Contender],
    *,
    key: str,
    tiny: str,
    limit: float,
    memory_limit: float | None = None,
    extra_limit: float | None = None,
    saved: bool = False,
) -> Outcome:
    frame = bench.data / "frame.pickle" if saved else None
    figures = bench.contest(contenders, key, tiny=tiny, frame=frame)
    floor, batcat = figures[0], figures[1]
    targets = [Target("time / floor", quotient(batcat.best, floor.best), limit)]
    if memory_limit is not None:
        peak = quotient(batcat.peak, floor.peak)
        targets.append(Target("peak memory / floor", peak, memory_limit))
    if extra_limit is not None:
        targets.append(Target("memory beside the table", batcat.extra, extra_limit, "MB"))
    return Outcome(row, title, figures, targets)


def _many(bench: Bench, kind: str) -> str:
    files = bench.scale.files
    each = bench.size_mb(f"{kind}-many/") / files
    return f"Read {files} {'CSV' if kind == 'csv' else 'Parquet'} of {each:.2f} MB under a prefix"
