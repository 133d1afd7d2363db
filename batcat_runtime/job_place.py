"""Where a job runs, and so where its inputs are and its output goes.

Two places. In a container everything is below ``/opt/ml``, laid out by SageMaker. On a laptop it is
the project's ``data/``: an S3 input ``usage`` is ``data/raw/usage``; what a step hands on to the
next lies in ``data/tmp/<purpose>/<step>``; results are in ``data/result/<purpose>``.
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
    from batcat_runtime.config import Purpose, Step

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

    def __init__(self, root: Path) -> None:
        self._root = root
        self.output = root / "processing" / "output"
        self.step = os.environ.get("BATCAT_STEP", "")

    @property
    def shard(self) -> Shard:
        """The share of this instance."""
        resources = self._configuration("resourceconfig.json")
        if not resources:
            return Shard()
        # algo-10 comes after algo-9: hosts are ordered by their number, not by their text.
        hosts = sorted(resources["hosts"], key=lambda host: (len(host), host))
        return Shard(hosts.index(resources["current_host"]), len(hosts))

    def input_folder(self, name: str) -> Path:
        """Return where an input is; it may not exist."""
        return self._root / "processing" / "input" / name

    def source(self, name: str) -> str:
        """Return where an input came from: its S3 prefix, as far as the container knows it."""
        job = self._configuration("processingjobconfig.json")
        for one in job.get("ProcessingInputs") or []:
            if isinstance(one, dict) and one.get("InputName") == name:
                return str((one.get("S3Input") or {}).get("S3Uri") or "")
        return ""

    def _configuration(self, name: str) -> dict[str, Any]:
        file = self._root / "config" / name
        if not file.is_file():
            return {}
        content = json.loads(file.read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else {}


class Laptop:
    """The project's own folders; which step this is follows from the script's name."""

    shard = Shard()

    def __init__(self, purpose: str) -> None:
        self._project = project_of_script()
        self._purpose = purpose
        self._settings = _purpose_settings(self._project, purpose)
        found = _step_of_script(self._settings, purpose) if self._settings else None
        self._step = found
        self.step = found.name if found else ""
        self.output = self._output_of(self.step)

    def input_folder(self, name: str) -> Path:
        """Return where an input is: data/raw, or the newest output of the step that makes it."""
        source = None
        if self._settings and self._step:
            source = self._settings.inputs_of(self._step).get(name)
        if source is None or source.step is None:
            return self._project / "data" / "raw" / name
        made = self._settings.step(source.step) if self._settings else None
        runs = {path.parent for path in self._output_of(source.step).rglob(MANIFESTS)}
        if not runs:
            raise JobError(
                f"The input {name!r} is the output of the step {source.step!r}, which has not run "
                "on this machine.",
                fix=f"Run script/{made.script if made else source.step} first; `make run` runs "
                "all steps in order.",
            )
        return max(runs, key=lambda folder: folder.stat().st_mtime_ns)

    def source(self, name: str) -> str:
        """Return where an input came from, relative to the project."""
        return self.input_folder(name).relative_to(self._project).as_posix()

    def _output_of(self, step: str) -> Path:
        last = self._settings.last_steps if self._settings and step else [step]
        if step not in last:
            return self._project / "data" / "tmp" / self._purpose / step
        results = self._project / "data" / "result" / self._purpose
        return results if len(last) == 1 else results / step


def place_of(purpose: str) -> Container | Laptop:
    """Return the place that this process is in."""
    root = ml_root()
    return Container(root) if root else Laptop(purpose)


def ml_root() -> Path | None:
    """Return SageMaker's ``/opt/ml``, or None where there is none (a laptop)."""
    root = Path(os.environ.get("BATCAT_ML_ROOT") or "/opt/ml")
    return root if (root / "processing").is_dir() else None


def project_of_script() -> Path:
    """Return the project that the running script belongs to."""
    from batcat_runtime.config import find_project

    return find_project(Path(sys.argv[0]).resolve().parent if sys.argv[0] else None)


def _purpose_settings(project: Path, purpose: str) -> Purpose | None:
    """Return what the configuration says of a purpose; None for one that it does not have."""
    from batcat_runtime.config import CONFIG_PATH, get_config

    content = json.loads((project / CONFIG_PATH).read_text(encoding="utf-8"))
    if not isinstance(content, dict) or purpose not in (content.get("purposes") or {}):
        return None
    return get_config(project).purposes[purpose]


def _step_of_script(settings: Purpose, purpose: str) -> Step | None:
    asked = os.environ.get("BATCAT_STEP")
    script = Path(sys.argv[0]).name
    found = [step for step in settings.steps if asked == step.name or step.script == script]
    if asked:
        found = [step for step in found if step.name == asked]
    if len(found) > 1:
        names = ", ".join(step.name for step in found)
        raise JobError(
            f"Several steps of {purpose} run {script}: {names}.",
            fix=f"Say which one this is: set the environment variable BATCAT_STEP={found[0].name}.",
        )
    return found[0] if found else None
