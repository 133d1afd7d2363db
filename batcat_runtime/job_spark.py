"""What a job on Spark does beyond the contract: it writes, and proves, what it never has at hand.

Spark writes from all instances straight into the run's folder of the result bucket. So the folder
is emptied when the job starts and when it fails: a retry has the same folder, and must not find
what a failed attempt has left. At the end the executors read what is there, for the manifest. On a
laptop the folder is that of any job, and only what Spark leaves beside its data is removed.

boto3 and pyspark are imported here only, and only when a job runs on Spark.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import JobError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_MARKS = (".*.crc", "_SUCCESS")  # Hadoop's checksums on a disk, and the sign of a finished write


def check_spark() -> None:
    """Refuse to start a step where Spark cannot run.

    Raises
    ------
    JobError
        pyspark or Java is missing.
    """
    if importlib.util.find_spec("pyspark") is None:
        raise JobError(
            "A step on Spark needs pyspark, which is not installed here.",
            fix='Run `pip install "batcat-runtime[spark]"`; it needs Java 17 beside it.',
        )
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        raise JobError(
            "Spark needs Java, and there is no `java` here.",
            fix="Install Java 17: `apt-get install openjdk-17-jre-headless`, or a build from "
            "https://adoptium.net; JAVA_HOME may lead to it.",
        )


def clear(uri: str) -> None:
    """Delete every object of a run's folder, its manifest first: no manifest, no result.

    Raises
    ------
    JobError
        Objects of it cannot be deleted.
    """
    import boto3

    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    s3 = boto3.client("s3")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    keys.sort(key=lambda key: not key.rpartition("/")[2].startswith("_manifest"))
    for start in range(0, len(keys), 1000):
        objects = [{"Key": key} for key in keys[start : start + 1000]]
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        for error in answer.get("Errors", []):
            raise JobError(
                f"s3://{bucket}/{error['Key']}, of an earlier attempt, cannot be deleted: "
                f"{error['Code']}.",
                fix="Deploy deploy/roles.yaml again: its statement SparkMovesFiles allows it.",
            )


def save(frame: DataFrame, uri: str, file_name: str) -> int:
    """Write a table of Spark's, one file a partition, numbered in their order; return its rows."""
    from pyspark.sql import Observation
    from pyspark.sql.functions import count, lit

    spark = frame.sparkSession
    stem, dot, suffix = file_name.partition(".")
    partial = f"{uri}/.{file_name}.partial"
    counted = Observation()
    writer = frame.observe(counted, count(lit(1)).alias("rows")).write
    if suffix == "parquet":
        writer.parquet(partial)
    else:
        writer.csv(partial, header=True, compression="gzip" if suffix.endswith("gz") else None)
    path = spark._jvm.org.apache.hadoop.fs.Path
    folder = path(partial)
    system = folder.getFileSystem(spark._jsc.hadoopConfiguration())
    parts = sorted(str(found.getPath()) for found in system.listStatus(folder))
    parts = [part for part in parts if part.rpartition("/")[2].startswith("part-")]
    for number, part in enumerate(parts):
        system.rename(path(part), path(f"{uri}/{stem}-{number:05d}{dot}{suffix}"))
    system.delete(folder, True)
    return int(counted.get["rows"])


def finish(uri: str, staging: Path) -> list[dict[str, Any]]:
    """Return name, size in bytes and SHA-256 of what Spark wrote to S3, for the manifest.

    Names that begin with a dot or an underscore are left out, as Spark itself does.
    """
    for path in (path for mark in _MARKS for path in staging.rglob(mark)):
        path.unlink()
    if not uri.startswith("s3://"):
        return []
    from pyspark.errors import AnalysisException
    from pyspark.sql import SparkSession
    from pyspark.sql.functions import sha2

    spark = SparkSession.builder.getOrCreate()
    reader = spark.read.format("binaryFile").option("recursiveFileLookup", True)
    try:
        found = reader.load(uri).select("path", "length", sha2("content", 256).alias("sha256"))
    except AnalysisException as error:
        if error.getErrorClass() != "PATH_NOT_FOUND":
            raise
        return []
    return [
        {
            "name": row.path.removeprefix(f"{uri}/"),
            "rows": None,
            "bytes": row.length,
            "sha256": row.sha256,
        }
        for row in found.orderBy("path").collect()
    ]
