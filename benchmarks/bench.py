"""One run: its folder, its data, its S3 server, its peers' environment, and how it measures."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.data import BUCKET, SCALES, Scale, is_made
from benchmarks.outcome import Figures

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".bench"
_PEERS = Path(__file__).with_name("peers.txt")
PEER_TURNS = 2
# what an S3 server that is not AWS asks of its clients, see the README
SETTINGS = {
    "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
    "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    "BATCAT_PROGRESS": "0",
}


class ContenderError(Exception):
    """A contender could not be measured; its own last words say why."""


@dataclass(frozen=True)
class Contender:
    """A way to do a row's work.

    Attributes
    ----------
    name : str
        How it is called in the table.
    role : str
        ``floor``, ``BatCat`` or ``peer``.
    function : str
        ``module:function`` below `benchmarks.contenders`.
    key : str, optional
        Where it differs from the row's.
    elsewhere : bool
        Whether it runs in the peers' environment.
    """

    name: str
    role: str
    function: str
    key: str = ""
    elsewhere: bool = False


@dataclass
class Bench:
    """A run of benchmarks.

    Parameters
    ----------
    repeat : int
        How often floor and BatCat are measured; peers twice at most.
    quick : bool
        Use little data.
    peers : bool
        Whether peers take part.
    say : callable
        Is told what is being done.
    folder : Path
        Where the data and the peers' environment are kept.
    """

    repeat: int
    quick: bool
    peers: bool
    say: Callable[[str], None]
    folder: Path = FOLDER
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @property
    def scale(self) -> Scale:
        """How much data there is."""
        return SCALES["quick" if self.quick else "full"]

    @cached_property
    def work(self) -> Path:
        """A folder for what a row makes and needs no longer."""
        from tempfile import TemporaryDirectory

        self.folder.mkdir(parents=True, exist_ok=True)
        return Path(self._stack.enter_context(TemporaryDirectory(dir=self.folder)))

    @cached_property
    def data(self) -> Path:
        """The data's folder; it is made first if it is not there."""
        name = "quick" if self.quick else "full"
        folder = self.folder / name
        if not is_made(folder, self.scale):
            self.say(f"making the {name} data, once")
            run([sys.executable, "-m", "benchmarks.data", str(folder), name], ROOT)
        return folder

    @cached_property
    def sizes(self) -> dict[str, int]:
        """The bytes of each object, by key."""
        return dict(json.loads((self.data / "sizes.json").read_text()))

    def size_mb(self, prefix: str) -> float:
        """Return the size of all objects under a prefix, in MB."""
        return sum(size for key, size in self.sizes.items() if key.startswith(prefix)) / 1e6

    @cached_property
    def server(self) -> dict[str, str]:
        """The variables that point clients at the S3 server, which is started first."""
        from tests.s3server import serve_s3

        running = self._stack.enter_context(serve_s3(self.data / "objects"))
        variables = running.environment() | SETTINGS
        self.say("warming the S3 server up")
        self._measure(Contender("", "", "listing:read_all"), "", "", None, variables)
        return variables

    @cached_property
    def python_elsewhere(self) -> Path:
        """The interpreter of the peers' environment, which is set up first."""
        folder = self.folder / "peers"
        python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        # the same pandas and Arrow as here, so that libraries are compared and not releases
        same = [f"{name}=={version(name)}" for name in ("numpy", "pandas", "pyarrow")]
        wanted = "\n".join([_PEERS.read_text(), sys.version, *same])
        stamp = folder / "stamp"
        if not (stamp.exists() and stamp.read_text() == wanted):
            self.say("setting up the peers' environment, once")
            venv.create(folder, with_pip=True, clear=True)
            quiet = ["--quiet", "--disable-pip-version-check"]
            run([str(python), "-m", "pip", "install", *quiet, "-r", str(_PEERS), *same], ROOT)
            stamp.write_text(wanted)
        return python

    @property
    def peers_in_use(self) -> bool:
        """Whether the peers' environment was needed so far."""
        return "python_elsewhere" in vars(self)

    def contest(
        self,
        contenders: Sequence[Contender],
        key: str,
        *,
        tiny: str = "",
        frame: Path | None = None,
        environment: dict[str, str] | None = None,
        turns: int | None = None,
    ) -> list[Figures]:
        """Measure contenders in turns, each time in a fresh process.

        A contender that finds something else than the first one did is not measured: the
        difference is its problem.
        """
        turns = turns or self.repeat
        taking_part = [one for one in contenders if self.peers or one.role != "peer"]
        figures = [Figures(one.name, one.role) for one in taking_part]
        truth: dict[str, int] | None = None
        for turn in range(turns):
            for contender, found in zip(taking_part, figures, strict=True):
                if found.problem or (contender.role == "peer" and turn >= PEER_TURNS):
                    continue
                self.say(f"{key or 'keys'}: {contender.name} ({turn + 1} of {turns})")
                try:
                    one = self._measure(contender, contender.key or key, tiny, frame, environment)
                except ContenderError as error:
                    found.problem = str(error)
                    continue
                truth = truth or one["found"]
                if one["found"] != truth:
                    found.problem = f"found {one['found']} instead of {truth}"
                    continue
                found.seconds.append(one["seconds"])
                found.peak_mb.append(one["peak_mb"])
                found.extra_mb.append(one["peak_mb"] - one["before_mb"])
                found.cpu.append(one["cpu"])
                found.first_call.append(one["first_call"])
        return figures

    def _measure(
        self,
        contender: Contender,
        key: str,
        tiny: str,
        frame: Path | None,
        environment: dict[str, str] | None,
    ) -> dict[str, Any]:
        server = self.server if environment is None else environment
        if tiny.startswith("saved/"):
            tiny += Path(key).suffix
        task = {
            "contender": contender.function,
            "objects": str(self.data / "objects" / BUCKET),
            "key": key,
            "tiny": tiny,
            "frame": str(frame) if frame else "",
            "settings": {
                "endpoint": server["AWS_ENDPOINT_URL"],
                "access_key": server["AWS_ACCESS_KEY_ID"],
                "secret_key": server["AWS_SECRET_ACCESS_KEY"],
                "chunk": self.scale.chunk,
            },
        }
        python = str(self.python_elsewhere) if contender.elsewhere else sys.executable
        printed = run([python, "-m", "benchmarks.worker", json.dumps(task)], ROOT, server)
        return dict(json.loads(printed.splitlines()[-1]))


def run(command: list[str], folder: Path, variables: dict[str, str] | None = None) -> str:
    """Run a command without the caller's own AWS settings; return what it printed.

    Raises
    ------
    ContenderError
        It failed, with the last line that it wrote.
    """
    done = subprocess.run(
        command,
        cwd=folder,
        env=clean_environment() | (variables or {}),
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line[:1].strip()]
        raise ContenderError(lines[-1][:300] if lines else f"exit status {done.returncode}")
    return done.stdout


def clean_environment() -> dict[str, str]:
    """Return this process' variables without those of AWS and BatCat."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "BATCAT_"))
    }
