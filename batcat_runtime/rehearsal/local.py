"""A long-lived embedded AWS, for a second terminal and the AWS command line.

`local_up` starts one that outlives this process and notes it in a state file of the user's own;
`local_status` says whether it still answers; `local_down` ends it. Process ids are reused, so none
of them trusts the file: the server must prove with a secret that it is ours before it is ended. The
note is written before the server starts, so that one whose starter was killed is found again.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from batcat_runtime.errors import EmbeddedAWSError

from .aws.embedded import check_region, launch
from .aws.environment import Keys, client_environment, new_keys
from .container import tool

_STATE = "embedded-aws.json"
_END_TIMEOUT = 20.0
_ANSWER_TIMEOUT = 5.0


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
        for left in folder.glob("aws-*"):  # by one that was killed while it started
            shutil.rmtree(left, ignore_errors=True)
        home = folder / f"aws-{secrets.token_hex(4)}"
        home.mkdir(parents=True, mode=0o700)
        port = port or _free_port()
        endpoint, token = f"http://127.0.0.1:{port}", secrets.token_hex(24)
        local = LocalAWS(endpoint, region, 0, str(home), token, new_keys())
        _note(local)
        try:
            process, answer = launch(
                home, region=region, port=port, detached=True, keys=local.keys, token=token
            )
        except BaseException:
            _forget(local)
            raise
        if process.stdout is not None:
            process.stdout.close()
        # The server is meant to outlive us: Popen must not warn of it when it is collected.
        process.returncode = 0
        local = replace(local, pid=int(answer["pid"]))
        _note(local)
        return local


def local_status() -> LocalAWS | None:
    """Return the long-lived embedded AWS, or None; a stale note of one is cleared away.

    One that is stopped (``kill -STOP``) or too busy to answer is there all the same.
    """
    try:
        text = (_folder() / _STATE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        note = json.loads(text)
        local = LocalAWS(**note | {"keys": tuple(note["keys"])})
    except (ValueError, TypeError, KeyError):
        (_folder() / _STATE).unlink(missing_ok=True)
        return None
    try:
        pid = _pid_of(local)
    except TimeoutError:
        return local
    if pid:
        return replace(local, pid=pid)
    _forget(local)
    return None


def local_down() -> bool:
    """End the long-lived embedded AWS.

    Returns
    -------
    bool
        Whether there was one.

    Raises
    ------
    EmbeddedAWSError
        It does not answer, or does not end.
    """
    local = local_status()
    if local is None:
        return False
    deadline = time.monotonic() + _END_TIMEOUT
    try:
        while pid := _pid_of(local):
            if time.monotonic() > deadline:
                raise TimeoutError
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            time.sleep(0.05)
    except TimeoutError:
        raise EmbeddedAWSError(
            f"The embedded AWS at {local.endpoint_url} does not answer: its process {local.pid} "
            "is stopped, or very busy.",
            fix=f"Let it go on (kill -CONT {local.pid}), then `batcat local down`; or end it: "
            f"kill -9 {local.pid}. Its log: {local.home}/server.log",
        ) from None
    # Its process may be our own child, when up and down come from one process.
    with contextlib.suppress(ChildProcessError, OSError, AttributeError):
        os.waitpid(local.pid, 0)
    _forget(local)
    return True


def _pid_of(local: LocalAWS) -> int:
    """Ask the server who it is; only ours knows the token, and tells its process id. 0: not ours.

    Raises
    ------
    TimeoutError
        Somebody listens there, and does not answer.
    """
    request = urllib.request.Request(
        f"{local.endpoint_url}/_batcat/identity", headers={"X-Batcat-Token": local.token}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_ANSWER_TIMEOUT) as answer:
            return int(json.loads(answer.read()).get("pid", 0))
    except TimeoutError:
        raise
    except (OSError, ValueError, http.client.HTTPException) as error:  # gone, or going
        if isinstance(getattr(error, "reason", None), TimeoutError):
            raise TimeoutError from error
        return 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _note(local: LocalAWS) -> None:
    state = _folder() / _STATE
    state.touch(mode=0o600)
    state.write_text(json.dumps(asdict(local)), encoding="utf-8")


def _forget(local: LocalAWS) -> None:
    (_folder() / _STATE).unlink(missing_ok=True)
    shutil.rmtree(local.home, ignore_errors=True)


def _folder() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    base = Path(runtime) if runtime and Path(runtime).is_dir() else Path.home() / ".cache"
    folder = base / "batcat"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time start a server; the lock goes with its process, however it ends."""
    import fcntl

    with (folder / "embedded-aws.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EmbeddedAWSError(
                "Another process is starting an embedded AWS right now.",
                fix="Wait a moment; then use it (batcat local env).",
            ) from None
        yield
