"""What tests of steps on Spark share: whether Spark can run here, and what docs/scale.md shows."""

from __future__ import annotations

import importlib.util
import re
import shutil

import pytest

from tests.conftest import REPOSITORY

_MISSING = [
    what
    for what, there in (
        ('pyspark (pip install "batcat-runtime[spark]")', importlib.util.find_spec("pyspark")),
        ("Java 17 (apt-get install openjdk-17-jre-headless)", shutil.which("java")),
    )
    if not there
]
NEEDS_SPARK = pytest.mark.skipif(bool(_MISSING), reason=f"there is no {' and no '.join(_MISSING)}")
# A small Spark on a laptop: two threads, and not two hundred partitions.
FEW = {
    "SPARK_LOCAL_IP": "127.0.0.1",
    "PYSPARK_SUBMIT_ARGS": "--master local[2] --conf spark.ui.enabled=false "
    "--driver-java-options '-XX:TieredStopAtLevel=1 -XX:+UseSerialGC' "
    "--conf spark.sql.shuffle.partitions=2 pyspark-shell",
}


def shown_files() -> dict[str, str]:
    """Return the files that the page about Spark shows, by their names."""
    page = (REPOSITORY / "docs" / "scale.md").read_text("utf-8")
    return dict(re.findall(r'^```\w+ title="(.*?)"\n(.*?)^```$', page, re.DOTALL | re.MULTILINE))
