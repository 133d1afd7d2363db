#!/usr/bin/env python3
"""Stand-in for the ``smspark-submit`` of AWS's Spark image; runs in a job's sandbox.

It takes what BatCat's steps give it: ``--py-files FOLDER SCRIPT [ARGUMENT ...]``. There is one
machine, so there is no YARN: ``local[n]`` with a thread for each instance. A plain file that needs
the standard library and pyspark, and never `batcat_runtime`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyspark

ROOT = Path(os.environ.get("BATCAT_ML_ROOT", "/opt/ml"))


def main(arguments: list[str]) -> int:
    """Run spark-submit where the driver runs, on the first instance; return its exit code."""
    cluster = json.loads((ROOT / "config" / "resourceconfig.json").read_text("utf-8"))
    hosts = sorted(cluster["hosts"])
    if cluster["current_host"] != hosts[0]:
        print("smspark-submit: the first instance has the threads of this one", flush=True)
        return 0
    folder, script = Path(arguments[1]), arguments[2:]
    settings = {
        # Little data: Java's quick compiler takes 27 s of processor where both take 47.
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        "spark.log.level": "WARN",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": str(2 * len(hosts)),
        "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.viewfs.ViewFileSystemOverloadScheme",
        **{
            f"spark.hadoop.fs.viewfs.mounttable.{bucket.name}.linkFallback": bucket.as_uri()
            for bucket in (ROOT / "s3").iterdir()
        },
    }
    home = str(Path(pyspark.__file__).parent)
    command = [
        *(f"{home}/bin/spark-submit", "--master", f"local[{len(hosts)}]"),
        *(word for name, value in settings.items() for word in ("--conf", f"{name}={value}")),
        *("--py-files", ",".join(map(str, sorted(folder.iterdir()))), *script),
    ]
    local = {"SPARK_HOME": home, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_LOCAL_HOSTNAME": "localhost"}
    code = subprocess.run(command, env={**os.environ, **local}, check=False).returncode
    if code:
        # The image's own words, which say no more.
        reason = f"Command '{script[0]}' returned non-zero exit status {code}."
        text = f"(caused by CalledProcessError): spark failed with a non-zero exit code: {reason}"
        (ROOT / "output" / "message").write_text(f"Algorithm Error: {text}")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
