"""Where a job runs, and so where its inputs are and its output goes.

Two places. In a container everything is below ``/opt/ml``, laid out by SageMaker. On a laptop it is
the project's ``data/``: an S3 input ``usage`` is ``data/raw/usage``; what a step hands on to the
next lies in ``data/tmp/<purpose>/<step>``; results are in ``data/result/<purpose>``.

Which purpose and which step this is, a container is told by its environment. On a laptop it follows
from the script's name; ``make run`` says it, as a container is told.

A step on Spark reads and writes S3 itself: in its container no input is downloaded, and the job's
own configuration says where they are.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batcat_runtime.errors import JobError

if TYPE_CHECKING:
    from batcat_runtime.config import Config

MANIFESTS = "_manifest*.json"


@dataclass(frozen=True)
class Shard:
    """The share of this instance in a job that runs on several.

    Attributes
    ----------
    index : int
        From 0.
    count : int
        The number of instances, 1 or more.
    """

    index: int = 0
    count: int = 1


class Container:
    """A processing container: SageMaker has put inputs and configuration below `root`."""

    def __init__(self, root: Path, name: str | None) -> None:
        self._root = root
        self.output = root / "processing" / "output"
        self.step = os.environ.get("BATCAT_STEP", "")
        self.purpose = os.environ.get("BATCAT_PURPOSE") or name or ""
        if not self.purpose:
            raise JobError(
                "This container was not told its purpose: BATCAT_PURPOSE is not set.",
                fix="Start it by the deployed workflow, or say processing_job('my-purpose').",
            )

    @property
    def engine(self) -> str:
        """What runs the script: ``python`` or ``spark``."""
        return os.environ.get("BATCAT_ENGINE", "python")

    @property
    def shard(self) -> Shard:
        """The share of this instance; on Spark one process has them all."""
        if self.engine == "spark":
            return Shard()
        resources = self._configuration("resourceconfig.json")
        if not resources:
            return Shard()
        # algo-10 comes after algo-9: hosts are ordered by their number, not by their text.
        hosts = sorted(resources["hosts"], key=lambda host: (len(host), host))
        return Shard(hosts.index(resources["current_host"]), len(hosts))

    def input_folder(self, name: str) -> Path:
        """Return where an input is; it may not exist."""
        return self._root / "processing" / "input" / name

    @property
    def results(self) -> str:
        """The S3 prefix of the step's output where Spark writes to it; else empty."""
        if self.engine != "spark":
            return ""
        job = self._configuration("processingjobconfig.json")
        outputs = (job.get("ProcessingOutputConfig") or {}).get("Outputs") or []
        places = {one["OutputName"]: one["S3Output"]["S3Uri"] for one in outputs}
        return str(places["result"]).rstrip("/")

    def source(self, name: str) -> str:
        """Return where an input came from: its S3 prefix, as far as the container knows it."""
        job = self._configuration("processingjobconfig.json")
        for source in job.get("ProcessingInputs") or []:
            if isinstance(source, dict) and source.get("InputName") == name:
                return str((source.get("S3Input") or {}).get("S3Uri") or "")
        return ""

    def _configuration(self, name: str) -> dict[str, Any]:
        file = self._root / "config" / name
        if not file.is_file():
            return {}
        content = json.loads(file.read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else {}


class Laptop:
    """The project's own folders, as a step of a purpose sees them."""

    shard = Shard()
    results = ""

    def __init__(self, project: Path, config: Config, purpose: str, step: str) -> None:
        self.purpose, self.step = purpose, step
        self._project = project
        self._settings = config.purposes[purpose]
        self.engine = self._settings.step(step).engine
        self.output = self._output_of(step)

    def input_folder(self, name: str) -> Path:
        """Return where an input is: data/raw, or the newest output of the step that makes it."""
        inputs = self._settings.inputs_of(self._settings.step(self.step))
        if name not in inputs:
            raise JobError(
                f"There is no input {name!r}: the step {self.step!r} of {self.purpose} has "
                f"{', '.join(inputs) or 'none'}.",
                fix="Declare it under `inputs` of the step in script/config.json.",
            )
        maker = inputs[name].step
        if maker is None:
            return self._project / "data" / "raw" / name
        runs = {path.parent for path in self._output_of(maker).rglob(MANIFESTS)}
        if not runs:
            raise JobError(
                f"The input {name!r} is the output of the step {maker!r}, which has not run on "
                "this machine.",
                fix=f"Run script/{self._settings.step(maker).script} first; `make run` runs all "
                "steps in order.",
            )
        return max(runs, key=lambda folder: folder.stat().st_mtime_ns)

    def source(self, name: str) -> str:
        """Return where an input came from, relative to the project."""
        return self.input_folder(name).relative_to(self._project).as_posix()

    def _output_of(self, step: str) -> Path:
        last = self._settings.last_steps
        if step not in last:
            return self._project / "data" / "tmp" / self.purpose / step
        results = self._project / "data" / "result" / self.purpose
        return results if len(last) == 1 else results / step


def place_of(name: str | None = None) -> Container | Laptop:
    """Return the place that this process is in.

    `name`, a purpose or a step, matters only where nothing else tells them apart.
    """
    root = ml_root()
    return Container(root, name) if root else _place_of_script(name)


def ml_root() -> Path | None:
    """Return SageMaker's ``/opt/ml``, or None where there is none (a laptop)."""
    root = Path(os.environ.get("BATCAT_ML_ROOT") or "/opt/ml")
    return root if (root / "processing").is_dir() else None


def _place_of_script(name: str | None) -> Laptop:
    from batcat_runtime.config import find_project, get_config

    script = Path(sys.argv[0]).resolve()
    project = find_project(script.parent if sys.argv[0] else None)
    config = get_config(project)
    told, wanted = os.environ.get("BATCAT_PURPOSE"), os.environ.get("BATCAT_STEP")
    found = [
        (purpose, step.name)
        for purpose, settings in config.purposes.items()
        for step in settings.steps
        if told in (None, purpose)
        and (step.name == wanted if wanted else step.script == script.name)
    ]
    if len(found) > 1 and name:
        found = [place for place in found if name in place] or found
    if not found:
        raise JobError(
            f"No step in script/config.json runs {script.name}, so there is no job.",
            fix="Name it as the `script` of a step, under `purposes`.",
        )
    if len(found) > 1:
        names = ", ".join(f"{step} of {purpose}" for purpose, step in found)
        raise JobError(
            f"Several steps run {script.name}: {names}.",
            fix="Say which one this is, in the environment: "
            f"BATCAT_PURPOSE={found[0][0]} BATCAT_STEP={found[0][1]}.",
        )
    return Laptop(project, config, *found[0])
