"""A step on Spark as it is deployed: AWS's image, its code in S3, what its script may import."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batcat_runtime.config import Config, get_config, parse_config
from batcat_runtime.deploy.context import context_of
from batcat_runtime.deploy.limits import check_limits
from batcat_runtime.deploy.parameters import parameters_of
from batcat_runtime.deploy.spark import artifacts_of
from batcat_runtime.deploy.workflow import authored
from batcat_runtime.errors import ConfigError, ImageError
from batcat_runtime.project import new_project

RAW = "s3://2022-rnd-battery/raw/usage/"
SCRIPT = "import pandas\nfrom pyspark.sql import SparkSession\nimport mine\nimport batcat_runtime\n"
Change = Callable[..., Config]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = new_project({}, no_input=True, output_dir=tmp_path_factory.mktemp("spark"))
    for name, text in {"clean": SCRIPT, "sum": SCRIPT, "mine": "import pyspark\n"}.items():
        (folder / "script" / f"{name}.py").write_text(text)
    return folder


@pytest.fixture
def config(project: Path) -> Change:
    """Return a function that gives the project two steps on Spark, and other keys."""

    def changed(step: dict[str, Any] | None = None, **keys: Any) -> Config:
        content = json.loads((project / "script" / "config.json").read_text())
        (purpose,) = content["purposes"].values()
        clean = {"name": "clean", "script": "clean.py", "engine": "spark"}
        clean |= {"instance_count": 3, "inputs": {"usage": RAW}}
        steps = [clean | (step or {}), {"name": "sum", "script": "sum.py", "engine": "spark"}]
        purpose["steps"] = steps
        return parse_config({**content, **keys}, folder=project)

    return changed


def request(config: Config, step: str) -> dict[str, Any]:
    (purpose,) = config.purposes
    return dict(authored(config, purpose)["States"][step]["Parameters"])


@pytest.mark.parametrize(
    ("region", "registry"),
    [
        ("eu-central-1", "906073651304.dkr.ecr.eu-central-1.amazonaws.com"),
        ("cn-northwest-1", "844356804704.dkr.ecr.cn-northwest-1.amazonaws.com.cn"),
        ("us-gov-west-1", "271483468897.dkr.ecr.us-gov-west-1.amazonaws.com"),
    ],
)
def test_a_step_runs_in_aws_s_image_and_reads_s3_itself(
    config: Change, region: str, registry: str
) -> None:
    asked = request(config(region=region), "clean")
    application = asked["AppSpecification"]
    assert application["ImageUri"] == f"{registry}/sagemaker-spark-processing:3.5-cpu-py312-v1.3"
    assert application["ContainerEntrypoint"] == [
        *("smspark-submit", "--py-files", "/opt/ml/processing/input/py-files"),
        "/opt/ml/processing/input/code/clean.py",
    ]
    assert asked["ProcessingResources"]["ClusterConfig"]["InstanceCount"] == 3
    assert asked["Environment"]["BATCAT_ENGINE"] == "spark"
    usage, code, modules = asked["ProcessingInputs"]
    assert (usage["InputName"], usage["AppManaged"]) == ("usage", True)
    assert usage["S3Input"]["S3Uri"] == RAW
    assert not code["AppManaged"]
    assert code["S3Input"]["S3Uri"].endswith("-spark/clean.py")
    assert code["S3Input"]["LocalPath"] == "/opt/ml/processing/input/code"
    assert modules["S3Input"]["S3Uri"].endswith("-spark/modules.zip")


def test_its_code_lies_in_the_bucket_under_a_key_of_its_content(
    config: Change, project: Path
) -> None:
    def uris() -> list[str]:
        return [one["S3Input"]["S3Uri"] for one in request(config(), "clean")["ProcessingInputs"]]

    (purpose,) = config().purposes
    names = dict(artifacts_of(config(), purpose))
    assert set(names) == {"spark/clean.py", "spark/sum.py", "spark/modules.zip"}
    with zipfile.ZipFile(io.BytesIO(names["spark/modules.zip"])) as archive:
        held = set(archive.namelist())
    assert {"mine.py", "batcat_runtime/job.py", "batcat_runtime/job_spark.py"} <= held
    assert not [name for name in held if name.startswith("batcat_runtime/deploy")]
    before = uris()
    assert uris() == before
    (project / "script" / "mine.py").write_text("import pyspark  # changed\n")
    raw, code, modules = uris()
    assert [raw, code] == before[:2]
    assert modules != before[2]


def test_the_role_may_fetch_the_code_and_the_key_of_the_output_is_sparks_too(
    config: Change,
) -> None:
    keyed = config({"kms": {"output": "alias/mine"}})
    (purpose,) = keyed.purposes
    parameters = parameters_of(keyed, purpose)
    assert parameters["OnSpark"] == "yes"
    assert f":::{keyed.result_s3_bucket}/{parameters['BuildPrefix']}/*" in parameters["Inputs"]
    (settings,) = json.loads(dict(artifacts_of(keyed, purpose))["spark/clean/configuration.json"])
    assert settings["Properties"]["fs.s3a.encryption.key"] == "alias/mine"
    *_, conf = request(keyed, "clean")["ProcessingInputs"]
    assert conf["S3Input"]["LocalPath"] == "/opt/ml/processing/input/conf"


@pytest.mark.parametrize(
    ("step", "keys", "finding"),
    [
        ({}, {"region": "ap-southeast-6"}, r"engine: AWS has no image of Spark 3.5 in ap-southea"),
        ({"network": {"isolation": True}}, {}, "isolation: Spark reads S3 itself"),
        ({"inputs": {"usage": {"s3": RAW, "sharded": True}}}, {}, "sharded: Spark shares out"),
        ({"engine": "dask"}, {}, "engine"),
    ],
)
def test_what_spark_cannot_do_is_refused_first(
    config: Change, step: dict[str, Any], keys: dict[str, Any], finding: str
) -> None:
    with pytest.raises(ConfigError, match=finding):
        check_limits(config(step, **keys))


def test_its_scripts_import_what_is_in_aws_s_image(
    config: Change, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context_of(config())
    with pytest.raises(
        ImageError, match=r"image would not have[^:]*:\n  pyspark: script/clean\.py"
    ):
        context_of(config({"engine": "python"}))
    script = project / "script" / "mine.py"
    script.write_text("import awswrangler\n")
    with pytest.raises(
        ImageError, match=r"Spark image does not have.*\n.*awswrangler: script/mine"
    ):
        context_of(config())
    script.write_text("import pyspark\n")
    assert get_config(project)
