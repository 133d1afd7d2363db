"""The first process of a sandbox: builds its view of the file system, runs the job, leaves nothing.

It is started as a plain file with ``python -I -S``, imports the standard library only and never
`batcat_runtime`: it must start in milliseconds and work with whatever the job's image contains.

Two ways, chosen by the caller in the launch file:

1. *namespaces* (Linux): new user, mount and process namespaces. The new root is a tmpfs on which
   the caller's plan is laid out (`layout`); then chroot. The job's processes live in a
   process namespace, so the kernel itself kills every one of them when the first ends, daemons
   included.
2. *paths*: no new root. On Linux this process adopts orphans (a "subreaper") and kills whatever is
   left when the job ends. Elsewhere it kills the job's process group, which is the best there is.

Signals from the caller: SIGTERM asks the whole tree to end and kills it after the grace period;
SIGUSR1 kills it at once. SIGUSR1 is also what the kernel sends when the caller dies, so that a job
never outlives the embedded AWS.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC = 1, 2, 4, 8, 32, 4096, 16384
MS_UNBINDABLE, MS_PRIVATE = 1 << 17, 1 << 18
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1

LINUX = sys.platform.startswith("linux")
WATCHED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM)
SETUP_FAILED = 125
TICK = 0.5

Signaller = Callable[[int], None]


def main(launch_file: str) -> int:
    """Run what the launch file says and return the job's exit code, as a shell would (128 + n)."""
    launch: dict[str, Any] = json.loads(Path(launch_file).read_text("utf-8"))
    for number in WATCHED:
        signal.signal(number, _note)
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    _die_with(launch["parent"], signal.SIGUSR1)
    if launch["namespaces"]:
        return _run_in_namespaces(launch)
    return _run_with_paths(launch)


def _note(number: int, frame: object) -> None:
    # Only so that no watched signal is discarded as "ignored by default"; sigwait consumes them.
    del number, frame


# ---------------------------------------------------------------- namespaces


def _run_in_namespaces(launch: dict[str, Any]) -> int:
    flags = CLONE_NEWNS | CLONE_NEWPID | (CLONE_NEWNET if launch["isolate_network"] else 0)
    try:
        unshare(flags, user=0, group=0)
    except OSError as error:
        _give_up(launch, error)
    caller = os.getpid()
    first = os.fork()
    if first == 0:
        _first_in_namespace(launch, caller)
    # The first process has its own timer; this one is only there should it hang.
    return _watch(first, lambda number: _kill(first, number), launch["grace"] + 2)


def unshare(flags: int, *, user: int, group: int) -> None:
    """Enter new namespaces, a user namespace among them, as the given user and group in it."""
    uid, gid = os.geteuid(), os.getegid()
    _call("unshare", flags | CLONE_NEWUSER)
    # An unprivileged process may map its own group only after giving up setgroups.
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {gid} 1")


def _first_in_namespace(launch: dict[str, Any], caller: int) -> NoReturn:
    code = SETUP_FAILED
    try:
        _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        _lay_out(Path(launch["root"]), launch["plan"])
        if launch["isolate_network"]:
            bring_up_loopback()
        os.chroot(launch["root"])
    except OSError as error:
        _give_up(launch, error)
    try:
        job = _spawn(launch)
        code = _watch(job, lambda number: _kill(-1, number), launch["grace"])
    finally:
        os._exit(code)


def _lay_out(root: Path, plan: list[list[Any]]) -> None:
    _mount(None, "/", None, MS_REC | MS_PRIVATE)
    _mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    # Unbindable: the host directory that holds this root is bound below, and must not contain it.
    _mount(None, root, None, MS_UNBINDABLE)
    for kind, where, *rest in plan:
        target = Path(f"{root}{where}")
        target.parent.mkdir(parents=True, exist_ok=True)
        if kind == "dir":
            target.mkdir(exist_ok=True)
        elif kind == "symlink":
            target.symlink_to(rest[0])
        elif kind == "proc":
            target.mkdir()
            _mount_proc(target)
        elif kind == "tmpfs":
            target.mkdir()
            _mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
        else:
            source, read_only, required = rest
            try:
                _bind(Path(source), target, read_only=read_only)
            except OSError:
                # An odd entry of the host (a stale mount, a socket) is no reason to run nothing.
                if required:
                    raise


def _bind(source: Path, target: Path, *, read_only: bool) -> None:
    if source.is_dir():
        target.mkdir(exist_ok=True)
    else:
        target.touch()
    _mount(source, target, None, MS_BIND | MS_REC)
    if read_only:
        # A mount inherited from another user namespace keeps its flags: they have to be repeated.
        inherited = os.statvfs(target).f_flag
        flags = MS_REMOUNT | MS_BIND | MS_RDONLY
        flags |= inherited & (MS_NOSUID | MS_NODEV | MS_NOEXEC | os.ST_NOATIME | os.ST_NODIRATIME)
        flags |= (1 << 21) if inherited & os.ST_RELATIME else 0
        _mount(None, target, None, flags)


def _mount_proc(target: Path) -> None:
    try:
        _mount("proc", target, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except OSError:
        # Inside a container with a masked /proc a fresh one is refused; the old one still serves.
        _mount("/proc", target, None, MS_BIND | MS_REC)


def bring_up_loopback() -> None:
    """Bring up the one interface that a new network namespace has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack_from("h", fcntl.ioctl(control, SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


# ---------------------------------------------------------------- paths


def _run_with_paths(launch: dict[str, Any]) -> int:
    if LINUX:
        _call("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    job = _spawn(launch)
    code = _watch(job, lambda number: _kill_group(job, number), launch["grace"])
    _kill_group(job, signal.SIGKILL)
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    # Those of one that dies become ours, so this ends with the last of them.
    while children.exists() and (left := children.read_text("ascii").split()):
        for pid in map(int, left):
            _kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return code


def _kill_group(leader: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


# ---------------------------------------------------------------- both


def _spawn(launch: dict[str, Any]) -> int:
    supervisor = os.getpid()
    job = os.fork()
    if job:
        return job
    try:
        os.setsid()
        _die_with(supervisor, signal.SIGKILL)
        for number in WATCHED:
            signal.signal(number, signal.SIG_DFL)
        # Python ignores these two, and an ignored signal stays ignored across exec.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
        command: list[str] = launch["command"]
        os.chdir(launch["cwd"])
        try:
            os.execvpe(command[0], command, os.environ)
        except FileNotFoundError:
            _say(f'exec: "{command[0]}": executable file not found in $PATH')
            os._exit(127)
        except OSError as error:
            _say(f'exec: "{command[0]}": {error.strerror}')
            os._exit(126)
    except OSError as error:
        _say(f"the working directory cannot be entered: {error}")
    finally:
        os._exit(SETUP_FAILED)


def _watch(child: int, tree: Signaller, grace: float) -> int:
    deadline: float | None = None
    parent = os.getppid()
    if not LINUX:
        signal.setitimer(signal.ITIMER_REAL, TICK, TICK)
    while True:
        code = _reap(child)
        if code is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            return code
        number = signal.sigwait(WATCHED)
        if number == signal.SIGTERM and deadline is None:
            deadline = time.monotonic() + grace
            tree(signal.SIGTERM)
            signal.setitimer(signal.ITIMER_REAL, max(grace, 0.001), TICK)
        late = deadline is not None and time.monotonic() >= deadline
        orphaned = not LINUX and os.getppid() != parent
        if late or orphaned or number == signal.SIGUSR1:
            tree(signal.SIGKILL)


def _reap(child: int) -> int | None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return SETUP_FAILED
        if pid == 0:
            return None
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _die_with(parent: int, number: int) -> None:
    if LINUX:
        _call("prctl", PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() not in (parent, 0):  # it died first; 0: it lives outside this process namespace
        os._exit(SETUP_FAILED)


def _give_up(launch: dict[str, Any], error: OSError) -> NoReturn:
    Path(launch["failure"]).write_text(str(error), "utf-8")
    os._exit(SETUP_FAILED)


def _say(text: str) -> None:
    os.write(2, f"{text}\n".encode())


def _mount(
    source: object, target: object, kind: str | None, flags: int, data: str | None = None
) -> None:
    def encoded(value: object) -> bytes | None:
        return None if value is None else os.fsencode(str(value))

    _call(
        "mount",
        encoded(source),
        encoded(target),
        encoded(kind),
        flags,
        encoded(data),
        about=f"{source or ''} on {target}",
    )


def _call(name: str, *arguments: Any, about: str = "") -> None:
    # As longs: prctl is variadic, and reads each of its arguments as one.
    passed = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    if getattr(_LIBC, name)(*passed) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}({about}): {os.strerror(number)}")


_LIBC = ctypes.CDLL(None, use_errno=True)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
