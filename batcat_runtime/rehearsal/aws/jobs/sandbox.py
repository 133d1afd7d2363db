"""Gives a process ``/opt/ml`` and its image's files at the paths they have in the container.

A job script may say ``/opt/ml/processing/input`` and its entrypoint ``/opt/batcat/script/x.py``;
on a laptop neither exists, and nobody wants a rehearsal that needs root to create them. Two ways:

- *namespaces* (Linux, no set-up, no root): a new root that holds what the image would and no more.
  `layout.mount_plan` computes it as data; `init` carries it out.
- *paths* (macOS, or where namespaces are forbidden): the same files in a directory of the sandbox,
  and every path in the command and the environment that starts with a container path is rewritten.
  ``BATCAT_ML_ROOT`` tells `batcat_runtime.job` where ``/opt/ml`` is. A script that spells out
  ``/opt/ml`` in its own code does not run this way, and one that reads a laptop's path does.

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
from pathlib import Path
from typing import Any, Literal

from batcat_runtime.errors import EmbeddedAWSError

from .layout import ML, Layout, mount_plan
from .rewriting import PathRewriter

Way = Literal["namespaces", "paths"]

_INIT = Path(__file__).with_name("init.py")
_LAUNCH_FAILURE = "launch-failure.txt"


def start(
    command: Sequence[str],
    environment: Mapping[str, str],
    layout: Layout,
    *,
    way: Way,
    isolate_network: bool = False,
    grace: float = 5.0,
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

    Returns
    -------
    subprocess.Popen
        The sandbox's supervisor, with a pipe of its output; it exits with the command's code
        (128 + n for signal n).
    """
    launch: dict[str, Any] = {
        "parent": os.getpid(),
        "namespaces": way == "namespaces",
        "isolate_network": isolate_network and way == "namespaces",
        "grace": grace,
        "failure": str(layout.directory / _LAUNCH_FAILURE),
        "command": list(command),
        "cwd": layout.workdir,
    }
    if way == "namespaces":
        root = layout.directory / "root"
        root.mkdir(exist_ok=True)
        launch |= {"root": str(root), "plan": mount_plan(layout)}
        environment = {"HOME": "/root", **environment}
    else:
        rewriter = PathRewriter.for_layout(layout)
        launch["command"] = [rewriter(word) for word in command]
        launch["cwd"] = rewriter.workdir
        environment = {name: rewriter(value) for name, value in environment.items()}
        environment |= {"HOME": str(layout.home), "TMPDIR": str(layout.temporary)}
        environment["BATCAT_ML_ROOT"] = str(layout.ml_root)
    if os.name == "nt":
        # Windows has neither sessions nor signals: the process alone is started and terminated.
        words = launch["command"]
        environment["SYSTEMROOT"] = os.environ.get("SYSTEMROOT", "")
        session = False
    else:
        # A file, not an argument: arguments are visible to every user of the machine, and limited.
        launch_file = layout.directory / "launch.json"
        launch_file.touch(mode=0o600)
        launch_file.write_text(json.dumps(launch), "utf-8")
        words, session = [sys.executable, "-I", "-S", str(_INIT), str(launch_file)], True
    return subprocess.Popen(
        words,
        cwd=None if session else launch["cwd"],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # one pipe for both: lines keep their order
        start_new_session=session,
    )


def launch_failure(layout: Layout) -> str | None:
    """Say why a sandbox could not be set up, once its process has ended; None: it could."""
    try:
        return (layout.directory / _LAUNCH_FAILURE).read_text("utf-8")
    except FileNotFoundError:
        return None


def choose_way() -> Way:
    """Pick the way for this machine, or that which ``BATCAT_SANDBOX`` asks for.

    Raises
    ------
    EmbeddedAWSError
        When namespaces are forced and impossible, or the forced way does not exist.
    """
    wanted = os.environ.get("BATCAT_SANDBOX", "")
    if wanted not in ("", "namespaces", "paths"):
        raise EmbeddedAWSError(
            f"BATCAT_SANDBOX is {wanted!r}, which is no kind of sandbox.",
            fix="Unset it, or set it to `namespaces` or `paths`.",
        )
    if wanted == "paths" or (not wanted and why_no_namespaces()):
        return "paths"
    if reason := why_no_namespaces():
        raise EmbeddedAWSError(
            f"BATCAT_SANDBOX=namespaces, but this machine refuses them: {reason}",
            fix="Unset BATCAT_SANDBOX: the rehearsal then rewrites paths instead.",
        )
    return "namespaces"


@functools.cache
def why_no_namespaces() -> str:
    """Say why this machine gives no namespaces, by starting a sandbox; empty: it does."""
    if not sys.platform.startswith("linux"):
        return f"{sys.platform} has no mount namespaces"
    with tempfile.TemporaryDirectory(prefix="batcat-probe-") as name:
        python = Path(name, "python")
        python.mkdir()
        layout = Layout(Path(name), {}, "/", python)
        layout.make_directories()
        (layout.ml_root / "probe").touch()
        command = ["/bin/sh", "-c", f"test -f {ML}/probe"]
        with start(command, {}, layout, way="namespaces", grace=0.0) as process:
            assert process.stdout is not None
            said = process.stdout.read().decode(errors="replace").strip()
        if process.returncode == 0:
            return ""
        return launch_failure(layout) or said or f"the probe ended with {process.returncode}"
