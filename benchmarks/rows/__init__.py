"""The rows of the table, in its order: each is a function from a run to an outcome."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.bench import Bench
from benchmarks.outcome import Outcome
from benchmarks.rows import backfill, commands, embedded, flat, installed, leaks, transfer

ROWS: dict[str, Callable[[Bench], Outcome]] = {
    "csv-one": transfer.csv_one,
    "csv-one-s3": transfer.csv_one_s3,
    "csv-many": transfer.csv_many,
    "parquet-one": transfer.parquet_one,
    "parquet-columns": transfer.parquet_columns,
    "parquet-many": transfer.parquet_many,
    "save-csv": transfer.save_csv,
    "save-parquet": transfer.save_parquet,
    "chunked-read": flat.chunked_read,
    "save-memory": flat.save_memory,
    "list": flat.listing,
    "import": commands.importing,
    "cli": commands.command_line,
    "lambda": commands.lambda_handler,
    "generate": commands.generate,
    "rehearse": commands.rehearse,
    "embedded": embedded.embedded,
    "backfill": backfill.backfill,
    "size": installed.size,
    "leaks": leaks.leaks,
}
ON_REQUEST = {"leaks"}  # half an hour: measured where they are named
