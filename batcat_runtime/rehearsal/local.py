"""A long-lived embedded AWS, for a second terminal and the AWS command line.

`local_up` starts one that outlives this process and notes it in a state file of the user's own;
`local_status` says whether it still answers; `local_down` ends it. Process ids are reused, so none
of them trusts the file: the server must prove with a secret that it is ours before it is ended.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import shutil
import signal
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from batcat_runtime.config import partition_of
from batcat_runtime.errors import EmbeddedAWSError

from .aws.embedded import ACCOUNT_ID, check_region, launch
from .aws.environment import Keys, client_environment, new_keys
from .container import tool

_STATE = "embedded-aws.json"
_END_TIMEOUT = 20.0


@dataclass(frozen=True)
class LocalAWS:
    """A long-lived embedded AWS that answers.

    Attributes
    ----------
    endpoint_url : str
        Where it listens.
    region : str
        Its default region.
    pid : int
        The server's process id.
    home : str
        Its work directory, which holds server.log.
    """

    endpoint_url: str
    region: str
    pid: int
    home: str
    token: str
    keys: Keys

    @property
    def account_id(self) -> str:
        """The account that all resources belong to."""
        return ACCOUNT_ID

    @property
    def partition(self) -> str:
        """The partition of the default region."""
        return partition_of(self.region)

    def environment(self) -> dict[str, str]:
        """Return the variables that point clients at it.

        The rehearsal's `docker` comes first on the PATH: the one that may be there would log in to
        the real AWS, and push.
        """
        tools = str(tool.install(Path(self.home) / "bin").parent)
        path = [one for one in os.environ.get("PATH", "").split(os.pathsep) if one != tools]
        variables = client_environment(self.endpoint_url, self.region, Path(self.home), self.keys)
        return {
            **variables,
            "PATH": os.pathsep.join([tools, *path]),
            "BATCAT_IMAGE_BUILDER": "docker",
            "DOCKER_CONFIG": self.home,
        }

    def __repr__(self) -> str:
        """Leave the secret out."""
        return f"LocalAWS({self.endpoint_url!r}, region={self.region!r}, pid={self.pid})"


def local_up(region: str = "us-east-1", port: int = 0) -> LocalAWS:
    """Start a long-lived embedded AWS.

    Parameters
    ----------
    region : str
        Its default region.
    port : int
        The port on 127.0.0.1; 0 lets the system choose.

    Returns
    -------
    LocalAWS

    Raises
    ------
    EmbeddedAWSError
        When one is running already, or it does not start.
    """
    check_region(region)
    folder = _folder()
    with _locked(folder):
        running = local_status()
        if running is not None:
            raise EmbeddedAWSError(
                f"An embedded AWS is running already, at {running.endpoint_url} "
                f"({running.region}).",
                fix="Use it (batcat local env), or end it first (batcat local down).",
            )
        token, keys = secrets.token_hex(24), new_keys()
        home = folder / f"aws-{secrets.token_hex(4)}"
        home.mkdir(parents=True, mode=0o700)
        process, answer = launch(
            home, region=region, port=port, detached=True, keys=keys, token=token
        )
        if process.stdout is not None:
            process.stdout.close()
        # The server is meant to outlive us: Popen must not warn of it when it is collected.
        process.returncode = 0
        local = LocalAWS(
            f"http://127.0.0.1:{answer['port']}", region, int(answer["pid"]), str(home), token, keys
        )
        state = folder / _STATE
        state.touch(mode=0o600)
        state.write_text(json.dumps(asdict(local)), encoding="utf-8")
        return local


def local_status() -> LocalAWS | None:
    """Return the long-lived embedded AWS, or None; a stale note of one is cleared away."""
    state = _folder() / _STATE
    try:
        note = json.loads(state.read_text(encoding="utf-8"))
        local = LocalAWS(**note | {"keys": tuple(note["keys"])})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError):
        state.unlink(missing_ok=True)
        return None
    if _is_ours(local):
        return local
    state.unlink(missing_ok=True)
    shutil.rmtree(local.home, ignore_errors=True)
    return None


def local_down() -> bool:
    """End the long-lived embedded AWS.

    Returns
    -------
    bool
        Whether there was one.
    """
    local = local_status()
    if local is None:
        return False
    os.kill(local.pid, signal.SIGTERM)
    deadline = time.monotonic() + _END_TIMEOUT
    while _is_ours(local):
        if time.monotonic() > deadline:
            raise EmbeddedAWSError(
                f"The embedded AWS (process {local.pid}) does not end.",
                fix=f"Read {local.home}/server.log, then: kill -9 {local.pid}",
            )
        time.sleep(0.05)
    # Its process may be our own child, when up and down come from one process.
    with contextlib.suppress(ChildProcessError, OSError, AttributeError):
        os.waitpid(local.pid, 0)
    (_folder() / _STATE).unlink(missing_ok=True)
    shutil.rmtree(local.home, ignore_errors=True)
    return True


def _is_ours(local: LocalAWS) -> bool:
    """Ask the server who it is; only ours knows the token and answers with the noted process id."""
    request = urllib.request.Request(
        f"{local.endpoint_url}/_batcat/identity", headers={"X-Batcat-Token": local.token}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=5) as answer:
            return bool(json.loads(answer.read()).get("pid") == local.pid)
    except (OSError, ValueError, http.client.HTTPException):  # gone, or going
        return False


def _folder() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    base = Path(runtime) if runtime and Path(runtime).is_dir() else Path.home() / ".cache"
    folder = base / "batcat"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time start a server."""
    path = folder / "embedded-aws.lock"
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        if time.time() - path.stat().st_mtime < 120:
            raise EmbeddedAWSError(
                "Another process is starting an embedded AWS right now.",
                fix="Wait a moment and try again.",
            ) from None
        path.unlink(missing_ok=True)
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        os.close(handle)
        yield
    finally:
        path.unlink(missing_ok=True)
