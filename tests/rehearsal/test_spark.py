"""Steps on Spark, rehearsed: AWS's request, PyPI's Spark in the job's sandbox, the embedded S3."""

from __future__ import annotations

import hashlib
import json
import runpy
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from batcat_runtime.config import Config, get_config
from batcat_runtime.deploy.context import modules_of
from batcat_runtime.project import new_project
from tests.conftest import REPOSITORY, batcat
from tests.rehearsal.conftest import Cloud
from tests.spark import FEW, NEEDS_SPARK

pytestmark = NEEDS_SPARK

WINDOW = ("2022-01-01", "2022-01-08")
IMAGE = (
    "844356804704.dkr.ecr.cn-northwest-1.amazonaws.com.cn/"
    "sagemaker-spark-processing:3.5-cpu-py312-v1.3"
)
RAW_AND_SAVED = """
import importlib.util
from pyspark.sql import SparkSession
import batcat_runtime as bc

spark = SparkSession.builder.getOrCreate()
with bc.processing_job() as job:
    for name in ("pandas", "boto3", "pyarrow", "awswrangler"):
        print(name, importlib.util.find_spec(name) is not None)
    rows = spark.read.csv(job.input_uri("usage"), header=True, inferSchema=True)
    job.save(rows.repartition(2), "rows.csv")
    rows.write.parquet(f"{job.output_uri}/raw")
    print("row", rows.toPandas().x.sum())
"""


def on_spark(folder: Path) -> Config:
    """Make the project's step one on Spark, on two instances."""
    file = folder / "script" / "config.json"
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    content["purposes"]["usage-analysis"]["steps"][0] |= {"engine": "spark", "instance_count": 2}
    file.write_text(json.dumps(content), encoding="utf-8")
    return get_config(folder)


def test_the_battery_analysis_is_the_same_in_pandas_on_a_laptop_and_rehearsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in FEW.items():
        monkeypatch.setenv(name, value)
    folder = new_project({}, no_input=True, output_dir=tmp_path)
    on_spark(folder)
    script = folder / "script" / "usage-analysis.py"
    shutil.copy(REPOSITORY / "docs" / "examples" / "battery_on_spark.py", script)
    window = ("--date-start", WINDOW[0], "--date-end", WINDOW[1])
    for command in (("run", "--local", *window), ("rehearse",)):
        done = batcat(*command, cwd=folder, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
    pandas = runpy.run_path(str(REPOSITORY / "templates" / "battery" / "script.py"))
    usage = pandas["read_usage"]([folder / "data" / "raw" / "usage" / "usage.csv.gz"])
    expected = pandas["analyse"](usage, *map(date.fromisoformat, WINDOW))
    results = sorted((folder / "data" / "result").rglob("usage-analysis-00000.csv"))
    assert [path.parts[-5] for path in results] == ["rehearsal", "result"]
    for path in results:
        found = pd.read_csv(path, dtype={"vin": str})
        found["date"] = pd.to_datetime(found["date"]).dt.date
        # Both round to nine digits, after sums in different orders.
        pd.testing.assert_frame_equal(found, expected, rtol=1e-9, atol=1.1e-9)
    manifest = json.loads(results[0].with_name("_manifest.json").read_text())
    assert manifest["rows"] == len(expected)
    assert manifest["image"].endswith("/sagemaker-spark-processing:3.5-cpu-py312-v1.3")
    assert manifest["inputs"][0]["source"] == "s3://project-battery-result/raw/usage/"


def test_a_job_finds_nothing_of_an_earlier_attempt_and_proves_what_it_wrote(
    cloud: Cloud, tmp_path: Path
) -> None:
    folder = new_project({}, no_input=True, output_dir=tmp_path)
    run = "out/date=2022-01-01/run=r-1"
    left = {
        f"{run}/{name}": "left" for name in ("rows-00007.csv", "_manifest.json", "raw/a.parquet")
    }
    other = {"out/date=2022-01-01/run=r-10/rows-00000.csv": "another run's"}
    data = {"in/a.csv": "vin,x\nA,1\nB,2\n", "code/job.py": RAW_AND_SAVED}
    bucket = cloud.bucket(**left, **other, **data)
    modules = modules_of(on_spark(folder))
    cloud.client("s3").put_object(Bucket=bucket, Key="code/modules.zip", Body=modules)
    request = cloud.job(bucket=bucket, StoppingCondition={"MaxRuntimeInSeconds": 600})
    (usage,) = request["ProcessingInputs"]
    names = {"code": "job.py", "py-files": "modules.zip"}
    request["ProcessingInputs"] = [
        usage | {"AppManaged": True},
        *(
            {
                "InputName": f"spark.{name}",
                "S3Input": usage["S3Input"]
                | {
                    "S3Uri": f"s3://{bucket}/code/{file}",
                    "LocalPath": f"/opt/ml/processing/input/{name}",
                },
            }
            for name, file in names.items()
        ),
    ]
    inputs = "/opt/ml/processing/input"
    words = ["smspark-submit", "--py-files", f"{inputs}/py-files", f"{inputs}/code/job.py"]
    request["AppSpecification"] = {"ImageUri": IMAGE, "ContainerEntrypoint": words}
    request["ProcessingResources"]["ClusterConfig"]["InstanceCount"] = 2
    request["Environment"] = {
        "BATCAT_ENGINE": "spark",
        "BATCAT_PURPOSE": "usage-analysis",
        "BATCAT_RUN_ID": "r-1",
        "BATCAT_DATE_START": "2022-01-01",
    }
    cloud.client("sagemaker").create_processing_job(**request)
    job = cloud.ended_job(request["ProcessingJobName"], seconds=600)
    lines = cloud.log_lines("/aws/sagemaker/ProcessingJobs", request["ProcessingJobName"])
    assert job["ProcessingJobStatus"] == "Completed", lines
    assert {"pandas True", "boto3 True", "pyarrow False", "awswrangler False", "row 3"} <= {*lines}
    objects = cloud.objects(bucket)
    assert objects.pop(next(iter(other))) == b"another run's"
    manifest = json.loads(objects.pop(f"{run}/_manifest.json"))
    listed = {
        f"{run}/{file['name']}": (file["bytes"], file["sha256"]) for file in manifest["files"]
    }
    assert objects.pop(f"{run}/raw/_SUCCESS") == b""
    assert listed == {
        key: (len(body), hashlib.sha256(body).hexdigest()) for key, body in objects.items()
    }
    assert {f"{run}/rows-00000.csv", f"{run}/rows-00001.csv"} <= set(listed)
    assert manifest["rows"] == 2
