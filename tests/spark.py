"""What tests of steps on Spark share: whether Spark can run here, and a script of two lines."""

from __future__ import annotations

import importlib.util
import shutil

import pytest

_MISSING = [
    what
    for what, there in (
        ('pyspark (pip install "batcat-runtime[spark]")', importlib.util.find_spec("pyspark")),
        ("Java 17 (apt-get install openjdk-17-jre-headless)", shutil.which("java")),
    )
    if not there
]
NEEDS_SPARK = pytest.mark.skipif(bool(_MISSING), reason=f"there is no {' and no '.join(_MISSING)}")
CLEAN = """
from pyspark.sql import SparkSession
import batcat_runtime as bc
import shared

with bc.processing_job() as job:
    spark = SparkSession.builder.getOrCreate()
    usage = spark.read.csv(job.input_uri("usage"), header=True, inferSchema=True)
    print("at", job.input_uri("usage"), job.output_uri, "shard", job.shard)
    shared.positive(usage).repartition(2).write.mode("append").parquet(f"{job.output_uri}/rows")
"""
SHARED = """
def positive(frame):
    return frame.where("x > 0")
"""
TOTAL = """
import sys
from pyspark.sql import SparkSession
import pandas as pd
import batcat_runtime as bc

with bc.processing_job() as job:
    spark = SparkSession.builder.getOrCreate()
    rows = spark.read.parquet(f"{job.input_uri('clean')}/rows")
    total = rows.groupBy("vin").sum("x").withColumnRenamed("sum(x)", "x").orderBy("vin")
    job.save(total.repartition(2), "total.csv")
    job.save(pd.DataFrame({"rows": [rows.count()]}), "count.csv")
    if "fail" in job.parameters:
        raise ValueError("as it was asked to")
"""
USAGE = "vin,x\nA,1\nB,2\nA,3\nC,-1\n"
