"""Results as a job leaves them, made by the job's own contract on this machine and uploaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest

from batcat_runtime.job import ProcessingJob, processing_job
from tests.operate.world import PURPOSE, DeployedProject

Fill = Callable[[ProcessingJob], object]


def usage(job: ProcessingJob) -> object:
    return job.save(pd.DataFrame({"vin": ["A", "B"], "usage": [1.5, 2.0]}), "usage-analysis.csv")


class Left:
    """Leaves results in a project's bucket.

    Parameters
    ----------
    project : DeployedProject
        Whose.
    monkeypatch : pytest.MonkeyPatch
        For the environment that SageMaker gives a job.
    """

    def __init__(self, project: DeployedProject, monkeypatch: pytest.MonkeyPatch) -> None:
        self.project = project
        self._patch = monkeypatch
        self._s3 = project.client("s3")
        self._bucket = project.config.result_s3_bucket

    def __call__(
        self,
        day: str,
        end: str,
        run: str,
        fill: Fill = usage,
        *,
        step: str = "",
        instances: int = 1,
        version: str = "1",
    ) -> str:
        """Leave the result of a run; return its prefix."""
        base = self.project.names.result_prefix + (f"/{step}" if step else "")
        with self._patch.context() as patch, TemporaryDirectory() as temporary:
            root = Path(temporary)
            (root / "processing").mkdir()
            (root / "config").mkdir()
            hosts = [f"algo-{number + 1}" for number in range(instances)]
            environment = {
                "BATCAT_ML_ROOT": str(root),
                "BATCAT_STEP": step or PURPOSE,
                "BATCAT_DATE_START": day,
                "BATCAT_DATE_END": end,
                "BATCAT_RUN_ID": run,
                "BATCAT_CODE_SHA256": hashlib.sha256(version.encode()).hexdigest(),
                "BATCAT_IMAGE": f"registry/cells@sha256:{hashlib.sha256(b'image').hexdigest()}",
            }
            for name, value in environment.items():
                patch.setenv(name, value)
            output = root / "processing" / "output"
            for host in hosts:
                resources = {"current_host": host, "hosts": hosts}
                (root / "config" / "resourceconfig.json").write_text(json.dumps(resources))
                with processing_job(PURPOSE) as job:
                    fill(job)
                # Each instance has a disk of its own; the bucket brings their files together.
                for path in output.rglob("*"):
                    if path.is_file():
                        key = f"{base}/{path.relative_to(output).as_posix()}"
                        self._s3.upload_file(str(path), self._bucket, key)
                        path.unlink()
                next(output.glob("date=*/run=*")).rmdir()
        return f"{base}/date={day}/run={run}/"

    def lose(self, key: str) -> None:
        """Delete an object."""
        self._s3.delete_object(Bucket=self._bucket, Key=key)

    def change(self, key: str, body: bytes) -> None:
        """Write over an object."""
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=body)
