"""Whole commands, from their start to their end: imports, a new project, a rehearsal."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import PEER_TURNS, ROOT, Bench, ContenderError, clean_environment, run
from benchmarks.outcome import Figures, Outcome, Target, quotient

_SHORT_RUNS = 4  # times `--repeat`: what takes milliseconds can be done often
_START_SECONDS = 0.15
_REHEARSAL_SECONDS = 10.0  # the SDKs' imports included
_MEMORY = """
from pathlib import Path
for line in Path("/proc/self/status").read_text().splitlines():
    if line.startswith("VmHWM:"):
        print(int(line.split()[1]) * 1024 / 1e6)
"""


@dataclass(frozen=True)
class _Command:
    """A command to time; `before` makes the folder that it runs in and that its text names."""

    name: str
    role: str
    arguments: list[str]
    before: Callable[[Path], None] | None = None


def importing(bench: Bench) -> Outcome:
    """Import the library, as every job does."""
    figures = _contest(
        bench,
        [
            _python("bare interpreter", "floor", "pass"),
            _python("import batcat_runtime", "BatCat", "import batcat_runtime"),
            _python("import awswrangler", "peer", "import awswrangler"),
            _python("import stepfunctions", "peer", "import stepfunctions"),
        ],
        bench.repeat * _SHORT_RUNS,
    )
    title = "Start Python and import the library"
    return Outcome("import", title, figures, [_ratio(figures, 2.0)])


def lambda_handler(bench: Bench) -> Outcome:
    """Import a generated project's Lambda handler, as a cold start does."""
    made = _generated(bench) / "deploy/lambda"
    figures = _contest(
        bench,
        [
            _python("import boto3", "floor", "import boto3"),
            _python("import lambda_function", "BatCat", "import lambda_function"),
        ],
        bench.repeat * _SHORT_RUNS,
        folder=made,
    )
    title = "Import the Lambda handler of a generated project"
    return Outcome("lambda", title, figures, [_ratio(figures, 1.05)])


def command_line(bench: Bench) -> Outcome:
    """Ask the command line for help, as it starts for every command."""
    figures = _contest(
        bench,
        [
            _python("bare interpreter", "floor", "pass"),
            _Command("batcat --help", "BatCat", [*_batcat(), "--help"]),
            _Command("batcat status --help", "BatCat", [*_batcat(), "status", "--help"]),
        ],
        bench.repeat * _SHORT_RUNS,
    )
    targets = [Target(each.name, each.best, _START_SECONDS, "s") for each in figures[1:]]
    return Outcome("cli", "Start the command line", figures, targets)


def generate(bench: Bench) -> Outcome:
    """Generate a project without being asked anything."""
    bare = bench.work / "template"
    if not bare.exists():
        for tree in ("{{cookiecutter.project_slug}}", "templates"):
            shutil.copytree(ROOT / tree, bare / tree)
        (bare / "hooks").mkdir()
        hook = "hooks/pre_gen_project.py"  # works out the answers that follow from others
        shutil.copyfile(ROOT / hook, bare / hook)
        shutil.copyfile(ROOT / "cookiecutter.json", bare / "cookiecutter.json")
    cookiecutter = [sys.executable, "-m", "cookiecutter", "--no-input", "--output-dir", "."]
    figures = _contest(
        bench,
        [
            _Command("cookiecutter, first hook only", "floor", [*cookiecutter, str(bare)]),
            _Command("batcat new", "BatCat", [*_batcat(), "new", "--no-input"]),
            _Command("cookiecutter, with hooks", "peer", [*cookiecutter, str(ROOT)]),
        ],
        bench.repeat,
    )
    return Outcome("generate", "Generate a project", figures, [_ratio(figures, 1.5)])


def rehearse(bench: Bench) -> Outcome:
    """Rehearse a generated project, from start to report."""
    figures = _contest(
        bench,
        [
            _Command(
                "batcat rehearse",
                "BatCat",
                [*_batcat(), "rehearse", "-C", "project_battery"],
                before=lambda folder: _new_project(folder),
            )
        ],
        1 if bench.quick else min(2, bench.repeat),
    )
    title = "Rehearse the example project's whole pipeline"
    return Outcome(
        "rehearse", title, figures, [Target("wall time", figures[0].best, _REHEARSAL_SECONDS, "s")]
    )


def _contest(
    bench: Bench, commands: list[_Command], repeat: int, folder: Path | None = None
) -> list[Figures]:
    """Run commands in turns, each in an empty folder unless one is given."""
    commands = [command for command in commands if bench.peers or command.role != "peer"]
    figures = [Figures(command.name, command.role) for command in commands]
    for turn in range(repeat):
        for command, found in zip(commands, figures, strict=True):
            if found.problem or (command.role == "peer" and turn >= PEER_TURNS):
                continue
            if turn % _SHORT_RUNS == 0:
                bench.say(f"{command.name} ({turn + 1} of {repeat})")
            with tempfile.TemporaryDirectory(dir=bench.work) as empty:
                place = folder or Path(empty)
                try:
                    if command.before:
                        command.before(place)
                    found.seconds.append(_time(command.arguments, place, bench.work))
                    if turn == 0 and "-c" in command.arguments and Path("/proc/self").exists():
                        code = command.arguments[-1] + _MEMORY
                        printed = run([*command.arguments[:-1], code], place)
                        found.peak_mb.append(float(printed.split()[-1]))
                except ContenderError as error:
                    found.problem = str(error)
    return figures


def _time(arguments: list[str], folder: Path, home: Path) -> float:
    # cookiecutter and others keep things in the home folder: not in the user's
    environment = clean_environment() | {"HOME": str(home), "USERPROFILE": str(home)}
    with tempfile.TemporaryFile() as written:
        started = time.perf_counter()
        process = subprocess.Popen(
            arguments,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
        )
        status = process.wait()
        seconds = time.perf_counter() - started
        if status:
            written.seek(0)
            lines = written.read().decode(errors="replace").strip().splitlines()
            raise ContenderError(f"exit status {status}: {' / '.join(lines[-2:])[:300]}")
    return seconds


def _python(name: str, role: str, code: str) -> _Command:
    return _Command(name, role, [sys.executable, "-c", code])


def _batcat() -> list[str]:
    return [sys.executable, "-m", "batcat_runtime"]


def _new_project(folder: Path) -> None:
    words = ["--no-input", "--example", "battery", "--output-dir", str(folder)]
    run([*_batcat(), "new", *words], folder)


def _generated(bench: Bench) -> Path:
    folder = bench.work / "generated"
    if not folder.exists():
        folder.mkdir()
        _new_project(folder)
    return folder / "project_battery"


def _ratio(figures: list[Figures], limit: float) -> Target:
    return Target("time / floor", quotient(figures[1].best, figures[0].best), limit)
