"""What a job image must install, on the disk, without byte code: pip adds that as it is run."""

from __future__ import annotations

import hashlib
import sys
import tomllib
import zipfile
from pathlib import Path

from benchmarks.bench import ROOT, Bench, run
from benchmarks.outcome import Figures, Outcome, Target, quotient

_PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
_ALONE = ["awswrangler", "boto3"]


def size(bench: Bench) -> Outcome:
    """Install what the runtime needs, and what it cannot do without."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    alone = _install(bench, _ALONE, [])
    # the same releases on both sides
    same = run([*_PIP, "list", "--path", str(alone), "--format", "freeze"], ROOT).split()
    needed = _install(bench, declared, same)
    bench.say("building the wheel")
    run([*_PIP, "wheel", "--no-deps", "--wheel-dir", str(bench.work / "wheel"), str(ROOT)], ROOT)
    (wheel,) = (bench.work / "wheel").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        own = sum(entry.file_size for entry in archive.infolist()) / 1e6
    figures = [
        Figures("awswrangler and boto3", "floor", size_mb=_size_mb(alone)),
        Figures("batcat-runtime", "BatCat", size_mb=_size_mb(needed) + own),
    ]
    ratio = quotient(figures[1].size_mb, figures[0].size_mb)
    note = f"The runtime's own files are {own:.1f} MB of it."
    title = "Installed size of what a job image needs"
    return Outcome("size", title, figures, [Target("size / floor", ratio, 1.10)], [note])


def _install(bench: Bench, wanted: list[str], same: list[str]) -> Path:
    """Install into a folder of its own, kept until the wanted change."""
    named = hashlib.sha256("\n".join([sys.version, *wanted, *same]).encode()).hexdigest()[:16]
    folder = bench.folder / "installed" / named
    if not (folder / ".whole").exists():
        bench.say(f"installing {', '.join(wanted)}, once")
        constraints = bench.work / f"{named}.txt"
        constraints.write_text("\n".join(same))
        options = ["--no-compile", "--upgrade", "--constraint", str(constraints)]
        run([*_PIP, "install", *options, "--target", str(folder), *wanted], ROOT)
        (folder / ".whole").touch()
    return folder


def _size_mb(folder: Path) -> float:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()) / 1e6
