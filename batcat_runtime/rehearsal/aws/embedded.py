"""`EmbeddedAWS`: a whole AWS for one rehearsal, in a process of its own on 127.0.0.1.

Starting it is four steps: make a work directory, start the server (`server.py`), wait for its
handshake, and point this process's environment at it. Stopping undoes all four. The server ends
with its parent however that dies: it reads from a pipe that only the parent holds.
"""

from __future__ import annotations

import contextlib
import json
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from batcat_runtime.config import partition_of
from batcat_runtime.errors import EmbeddedAWSError, UserError

from .environment import (
    REMOVED,
    SECRETS_VARIABLE,
    Keys,
    applied,
    client_environment,
    new_keys,
)

ACCOUNT_ID = "123456789012"
START_TIMEOUT = 60.0
_STOP_TIMEOUT = 15.0


class EmbeddedAWS:
    """An AWS on this machine, for as long as the context lasts.

    Parameters
    ----------
    region : str
        The default region, such as ``cn-northwest-1``; the partition follows from it. Every region
        can be used.
    port : int, optional
        The port on 127.0.0.1; 0 lets the system choose.
    home : pathlib.Path, optional
        Work directory. By default a temporary one, removed at the end.
    set_environment : bool
        Whether this process's own environment is pointed at it, and restored at the end.
    enforce_policies : bool
        Whether roles and users are refused what their policies do not allow. What they would have
        been refused is recorded in any case (`access.trail`). `keys` are the administrator's.

    Attributes
    ----------
    endpoint_url : str
        Where clients find it, ``http://127.0.0.1:<port>``.
    home : pathlib.Path
        Its work directory: images/, jobs/, server.log.
    account_id : str
        The account that all resources belong to.
    keys : tuple of str
        The administrator's access key, its secret, and an empty token: made anew each time. A key
        that neither these nor IAM gave out is refused.

    Raises
    ------
    UserError
        There is no such region.
    EmbeddedAWSError
        On start, when the server does not come up; the message holds its last log lines.

    Examples
    --------
    >>> with EmbeddedAWS(region="cn-northwest-1") as aws:  # doctest: +SKIP
    ...     boto3.client("s3").create_bucket(Bucket="project-battery-result", ...)
    """

    account_id = ACCOUNT_ID

    def __init__(
        self,
        region: str = "us-east-1",
        port: int = 0,
        home: Path | None = None,
        *,
        set_environment: bool = True,
        enforce_policies: bool = False,
    ) -> None:
        check_region(region)
        self.region = region
        self.partition = partition_of(region)
        self.endpoint_url = ""
        self.keys = new_keys()
        self._port = port
        self._own_home = home is None
        self._set_environment = set_environment
        self._enforce_policies = enforce_policies
        self._home: Path | None = home
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = contextlib.ExitStack()

    def __enter__(self) -> EmbeddedAWS:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def home(self) -> Path:
        """The work directory of this instance."""
        if self._home is None:
            raise EmbeddedAWSError(
                "The embedded AWS has not been started.", fix="Use it as a context manager."
            )
        return self._home

    @property
    def log_path(self) -> Path:
        """The server's log."""
        return self.home / "server.log"

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process else None

    def environment(self) -> dict[str, str]:
        """Return the variables that a subprocess needs to find this AWS.

        Returns
        -------
        dict of str to str
            To be laid over the parent's environment; it holds no real credential.
        """
        return client_environment(self.endpoint_url, self.region, self.home, self.keys)

    def start(self) -> None:
        """Start the server and point this process's environment at it."""
        if self._process is not None:
            raise EmbeddedAWSError("The embedded AWS is already running.", fix="Stop it first.")
        if self._own_home:
            self._home = Path(tempfile.mkdtemp(prefix="batcat-aws-"))
        self.home.mkdir(parents=True, exist_ok=True)
        try:
            self._process, answer = launch(
                self.home,
                region=self.region,
                port=self._port,
                detached=False,
                keys=self.keys,
                remove_home=self._own_home,
                enforce_policies=self._enforce_policies,
            )
        except EmbeddedAWSError:
            self._remove_home()
            raise
        self.endpoint_url = f"http://127.0.0.1:{answer['port']}"
        if self._set_environment:
            self._environment.enter_context(applied(self.environment()))

    def stop(self) -> None:
        """Stop the server with all that it runs, and restore the environment."""
        self._environment.close()
        process, self._process = self._process, None
        if process is not None:
            end(process)
        self._remove_home()

    def _remove_home(self) -> None:
        if self._own_home and self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)
            self._home = None


def check_region(region: str) -> None:
    """Refuse a region that AWS does not have.

    Raises
    ------
    UserError
        Naming the regions of the partition.
    """
    from botocore.loaders import create_loader

    # The loader alone: a session would read the user's configuration, and trip over it.
    partition = partition_of(region)
    listed = create_loader().load_data("endpoints")["partitions"]
    known = [name for one in listed if one["partition"] == partition for name in one["regions"]]
    if region not in known:
        raise UserError(
            f"There is no AWS region {region!r}.", fix=f"Choose one of: {', '.join(known)}"
        )


def launch(
    home: Path,
    *,
    region: str,
    port: int = 0,
    detached: bool,
    keys: Keys,
    token: str = "",
    remove_home: bool = False,
    enforce_policies: bool = False,
    timeout: float = START_TIMEOUT,
) -> tuple[subprocess.Popen[bytes], dict[str, Any]]:
    """Start the server process and wait for its handshake.

    Parameters
    ----------
    home : pathlib.Path
        Work directory.
    region : str
        Default region.
    port : int
        0 lets the system choose.
    detached : bool
        Whether the server outlives this process.
    keys : tuple of str
        The administrator's.
    token : str
        The secret that `local_down` proves itself with; nobody can when it is empty.
    remove_home : bool
        Whether the server removes its work directory when it ends.
    enforce_policies : bool
        Whether roles and users are refused what their policies do not allow.
    timeout : float
        Seconds to wait.

    Returns
    -------
    tuple of (subprocess.Popen, dict)
        The process and its handshake: ``port`` and ``pid``.

    Raises
    ------
    EmbeddedAWSError
        The server did not start, or not in time.
    """
    command = [sys.executable, "-m", "batcat_runtime.rehearsal.aws.server"]
    command += ["--home", str(home), "--port", str(port), "--region", region]
    if remove_home:
        command.append("--remove-home")
    if enforce_policies:
        command.append("--enforce")
    if not detached:
        command.append("--watch-stdin")
        # The kernel's signal comes at the death of the thread that started us, so only the main
        # thread, which lives as long as its process, may ask for it.
        if threading.current_thread() is threading.main_thread():
            command.append("--die-with-parent")
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL if detached else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(home / "server.log").open("ab"),
        env=_server_environment() | {SECRETS_VARIABLE: json.dumps({"token": token, "keys": keys})},
        start_new_session=True,
    )
    line = _first_line(process, timeout)
    try:
        answer = json.loads(line) if line else {}
    except ValueError:
        answer = {}
    if "port" in answer:
        return process, answer
    end(process)
    raise EmbeddedAWSError(
        str(answer.get("error") or f"The embedded AWS did not start within {timeout:.0f} s.")
        + _last_lines(home / "server.log", shown="error" not in answer),
        fix=str(answer.get("fix") or f"Read {home / 'server.log'}, and try again."),
    )


def end(process: subprocess.Popen[bytes]) -> None:
    """End a server that this process started: ask by the pipe, then insist."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    else:
        process.terminate()
    for insist in (process.terminate, process.kill):
        try:
            process.wait(_STOP_TIMEOUT)
            break
        except subprocess.TimeoutExpired:
            insist()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _server_environment() -> dict[str, str]:
    import os

    kept = {name: value for name, value in os.environ.items() if name not in REMOVED}
    # Nothing of the user's account reaches the server: it and its children need none of it.
    kept = {name: value for name, value in kept.items() if not name.startswith("AWS_")}
    return kept | {"PYTHONUNBUFFERED": "1"}


def _first_line(process: subprocess.Popen[bytes], timeout: float) -> bytes:
    assert process.stdout is not None
    lines: queue.Queue[bytes] = queue.Queue()
    stream = process.stdout
    threading.Thread(target=lambda: lines.put(stream.readline()), daemon=True).start()
    try:
        return lines.get(timeout=timeout)
    except queue.Empty:
        process.kill()
        return b""


def _last_lines(path: Path, *, shown: bool) -> str:
    if not shown or not path.exists():
        return ""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
    return "\nIts last log lines:\n  " + "\n  ".join(lines) if lines else ""
