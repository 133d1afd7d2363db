"""Gives a process ``/opt/ml`` and its image's files at the paths they have in the container.

A job script may say ``/opt/ml/processing/input`` and its entrypoint ``/opt/batcat/script/x.py``;
on a laptop neither exists, and nobody wants a rehearsal that needs root to create them. Two ways:

- *namespaces* (Linux, no set-up, no root): a new root on a tmpfs. The host's own directories are
  bound into it; those that lead to ``/opt/ml``, to the image's files or to its working directory
  are remade child by child, so that both the host's and the image's entries are there. Image files
  are read-only. `mount_plan` computes this as data; `sandbox_init` carries it out.
- *paths* (macOS, or where namespaces are forbidden): the same files in a directory of the sandbox,
  and every path in the command and the environment that starts with a container path is rewritten.
  ``BATCAT_ML_ROOT`` tells `batcat_runtime.job` where ``/opt/ml`` is. A script that spells out
  ``/opt/ml`` in its own code does not run this way; one that asks the job for its paths does.

``BATCAT_SANDBOX=paths`` (or ``namespaces``) forces a way. The probe really starts a sandbox,
because some systems allow a user namespace and then refuse the mounts.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from batcat_runtime.errors import EmbeddedAWSError
from batcat_runtime.rehearsal.sandbox_layout import ML, Layout, mount_plan, needed_paths
from batcat_runtime.rehearsal.sandbox_paths import PathRewriter

Way = Literal["namespaces", "paths"]

_INIT = Path(__file__).with_name("sandbox_init.py")
_LAUNCH_FAILURE = "launch-failure.txt"


def start(
    command: Sequence[str],
    environment: Mapping[str, str],
    layout: Layout,
    *,
    way: Way,
    isolate_network: bool = False,
    grace: float = 5.0,
    stdout: int | IO[bytes] | None = subprocess.PIPE,
    stderr: int | IO[bytes] | None = subprocess.STDOUT,
) -> subprocess.Popen[bytes]:
    """Start a command in a sandbox, with exactly this environment.

    SIGTERM asks the command and all its descendants to end and kills them after `grace` seconds.
    They all die when the command ends, and when the calling thread does.

    Parameters
    ----------
    command : Sequence[str]
        The program and its arguments, in terms of container paths.
    environment : Mapping[str, str]
        The whole environment; values may contain container paths.
    layout : Layout
        The sandbox; `Layout.make_directories` was called.
    way : {"namespaces", "paths"}
        See the module's description; `choose_way` picks one.
    isolate_network : bool
        Give it a network of its own with nothing but a loopback interface (namespaces only).
    grace : float
        Seconds between SIGTERM and SIGKILL.
    stdout, stderr : int or file
        As for `subprocess.Popen`. By default one pipe for both, so that lines keep their order.

    Returns
    -------
    subprocess.Popen
        The sandbox's supervisor; it exits with the command's code (128 + n for signal n).
    """
    launch: dict[str, Any] = {
        "parent": os.getpid(),
        "namespaces": way == "namespaces",
        "user_namespace": False,
        "isolate_network": isolate_network and way == "namespaces",
        "grace": grace,
        "failure": str(layout.directory / _LAUNCH_FAILURE),
        "command": list(command),
        "cwd": layout.workdir,
    }
    if way == "namespaces":
        root = layout.directory / "root"
        root.mkdir(exist_ok=True)
        launch |= {
            "user_namespace": namespaces().kind == "user",
            "root": str(root),
            "plan": mount_plan(layout, needed=needed_paths(layout)),
        }
    else:
        rewriter = PathRewriter.for_layout(layout)
        launch["command"] = [rewriter(word) for word in command]
        launch["cwd"] = rewriter.workdir
        environment = {name: rewriter(value) for name, value in environment.items()}
        environment["BATCAT_ML_ROOT"] = str(layout.ml_root)
    return _supervise(launch, environment, layout.directory, stdout=stdout, stderr=stderr)


def supervise(
    command: Sequence[str],
    environment: Mapping[str, str],
    directory: Path,
    *,
    cwd: Path | None = None,
    stdout: int | IO[bytes] | None = subprocess.PIPE,
    stderr: int | IO[bytes] | None = subprocess.STDOUT,
) -> subprocess.Popen[bytes]:
    """Start a command without a file system of its own, but with the same end.

    Nothing that it starts outlives it or the calling thread; SIGTERM kills all of it at once. It
    starts in `cwd`, or in `directory`, which also keeps what the supervisor needs.
    """
    launch = {
        "parent": os.getpid(),
        "namespaces": False,
        "grace": 0.0,
        "failure": str(directory / _LAUNCH_FAILURE),
        "command": list(command),
        "cwd": str(cwd or directory),
    }
    return _supervise(launch, environment, directory, stdout=stdout, stderr=stderr)


def launch_failure(layout: Layout) -> str | None:
    """Say why a sandbox could not be set up, once its process has ended; None: it could."""
    try:
        return (layout.directory / _LAUNCH_FAILURE).read_text("utf-8")
    except FileNotFoundError:
        return None


def _supervise(
    launch: dict[str, Any],
    environment: Mapping[str, str],
    directory: Path,
    *,
    stdout: int | IO[bytes] | None,
    stderr: int | IO[bytes] | None,
) -> subprocess.Popen[bytes]:
    if os.name == "nt":
        # Windows has neither sessions nor signals: the process alone is started and terminated.
        return subprocess.Popen(
            launch["command"],
            cwd=launch["cwd"],
            env={"SYSTEMROOT": os.environ.get("SYSTEMROOT", ""), **environment},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
    # A file, not an argument: arguments are visible to every user of the machine, and limited.
    launch_file = directory / "launch.json"
    launch_file.touch(mode=0o600)
    launch_file.write_text(json.dumps(launch), "utf-8")
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(_INIT), str(launch_file)],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )


# ---------------------------------------------------------------- which way


@dataclass(frozen=True)
class Namespaces:
    """Whether this machine lets a process have namespaces, and if not, why.

    Attributes
    ----------
    kind : {"user", "root", None}
        With a user namespace; without one, as root; not at all.
    reason : str
        Why not; empty when it works.
    """

    kind: Literal["user", "root"] | None
    reason: str = ""


def choose_way(forced: str | None = None) -> Way:
    """Pick the way for this machine; `forced` (or ``BATCAT_SANDBOX``) overrides.

    Raises
    ------
    EmbeddedAWSError
        When namespaces are forced and impossible, or the forced way does not exist.
    """
    wanted = forced or os.environ.get("BATCAT_SANDBOX") or ""
    if wanted not in ("", "namespaces", "paths"):
        raise EmbeddedAWSError(
            f"BATCAT_SANDBOX is {wanted!r}, which is no kind of sandbox.",
            fix="Unset it, or set it to `namespaces` or `paths`.",
        )
    if wanted == "paths":
        return "paths"
    if namespaces().kind:
        return "namespaces"
    if wanted == "namespaces":
        raise EmbeddedAWSError(
            f"BATCAT_SANDBOX=namespaces, but this machine refuses them: {namespaces().reason}",
            fix="Unset BATCAT_SANDBOX: the rehearsal then rewrites paths instead.",
        )
    return "paths"


@functools.cache
def namespaces() -> Namespaces:
    """Find out, once per process, whether namespaces work here by starting a sandbox in them."""
    if not sys.platform.startswith("linux"):
        return Namespaces(None, f"{sys.platform} has no mount namespaces")
    kinds: list[Literal["user", "root"]] = ["user"]
    if os.geteuid() == 0:
        kinds.append("root")
    reasons = []
    for kind in kinds:
        reason = _probe(kind)
        if reason is None:
            return Namespaces(kind)
        reasons.append(reason)
    return Namespaces(None, "; ".join(reasons))


def _probe(kind: str) -> str | None:
    with tempfile.TemporaryDirectory(prefix="batcat-probe-") as name:
        layout = Layout(Path(name))
        layout.make_directories()
        (layout.ml_root / "probe").touch()
        root = layout.directory / "root"
        root.mkdir()
        launch = {
            "parent": os.getpid(),
            "namespaces": True,
            "user_namespace": kind == "user",
            "isolate_network": False,
            "grace": 0.0,
            "failure": str(layout.directory / _LAUNCH_FAILURE),
            "command": ["/bin/sh", "-c", f"test -f {ML}/probe"],
            "cwd": "/",
            "root": str(root),
            "plan": mount_plan(layout, needed=needed_paths(layout)),
        }
        process = _supervise(
            launch, {}, layout.directory, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            _, errors = process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return "the probe did not end"
        if process.returncode == 0:
            return None
        said = launch_failure(layout) or errors.decode(errors="replace").strip()
        return said or f"the probe ended with {process.returncode}"
