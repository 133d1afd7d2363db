"""A PostgreSQL of its own, in a temporary directory, that reads literals as Redshift does."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

USER, PASSWORD, DATABASE = "awsuser", "cAn4ry-P@ss word'\"\\", "postgres"
_INITDB = ("-A", "md5", "-E", "UTF8", "--locale", "C.UTF-8", "--no-sync")
# Redshift is a PostgreSQL 8.0: a backslash in a literal escapes
_SETTINGS = {
    "listen_addresses": "",
    "standard_conforming_strings": "off",
    "backslash_quote": "on",
    "escape_string_warning": "off",
    "password_encryption": "md5",
    "fsync": "off",
    "timezone": "UTC",
    "max_connections": "20",
    "shared_buffers": "16MB",
}


def missing() -> str:
    """Return why there is no PostgreSQL here, or nothing."""
    if not _program("postgres") or not _program("initdb"):
        return "PostgreSQL is not installed (Debian: apt-get install postgresql)"
    if os.geteuid() == 0 and not _other_user():
        return "PostgreSQL does not run as root, and there is no other user to run it"
    return ""


@contextlib.contextmanager
def running() -> Iterator[Path]:
    """Run a server; yields the path of its socket."""
    home = Path(tempfile.mkdtemp(prefix="batcat-pg-", dir="/tmp"))  # a socket's path is short
    user = _other_user() if os.geteuid() == 0 else None
    if user:
        os.chown(home, user.pw_uid, user.pw_gid)
    identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    try:
        data, words = home / "data", home / "password"
        words.write_text(PASSWORD)
        words.chmod(0o644)
        subprocess.run(
            [_program("initdb"), "-D", data, "-U", USER, "--pwfile", words, *_INITDB],
            check=True,
            capture_output=True,
            cwd=home,
            env=_environment(),
            **identity,
        )
        options = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        with (home / "log").open("wb") as log:
            server = subprocess.Popen(
                [_program("postgres"), "-D", data, "-k", home, *options],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=home,
                env=_environment(),
                **identity,
            )
        try:
            _wait(server, home)
            yield home / ".s.PGSQL.5432"
        finally:
            server.send_signal(signal.SIGINT)  # PostgreSQL's "fast" shutdown
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(20)
            server.kill()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _wait(server: subprocess.Popen[bytes], home: Path) -> None:
    end = time.monotonic() + 30
    ready = [_program("pg_isready"), "-q", "-h", home, "-U", USER, "-d", "postgres"]
    while subprocess.run(ready, check=False).returncode:
        if server.poll() is not None or time.monotonic() > end:
            raise RuntimeError((home / "log").read_text())
        time.sleep(0.05)


def _environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}


def _program(name: str) -> str:
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(installed[-1]) if installed else shutil.which(name) or ""


def _other_user() -> pwd.struct_passwd | None:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    return None
