"""Takes the network away from this process and all that it starts: loopback is what remains.

`batcat rehearse` seals itself before it does anything, so neither a job script nor a library in C
can reach AWS or any other host, whatever it tries. Linux gives an unprivileged process a network
namespace of its own. Where it does not (macOS, a container or a system that forbids it), only
`aws.jobs.network_guard` is left, which stops what Python itself opens.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .aws.jobs import init


def seal() -> str:
    """Leave this process a loopback interface and nothing else.

    Returns
    -------
    str
        Why not; empty when it is done.
    """
    if not sys.platform.startswith("linux"):
        return f"{sys.platform} has no network namespaces"
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        return "this process has more than one thread"
    # Tried out first: some systems allow the namespace and then refuse what makes it usable.
    trial = os.fork()
    if trial == 0:
        try:
            _enter()
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    _, status = os.waitpid(trial, 0)
    if code := os.waitstatus_to_exitcode(status):
        return f"this system refuses a network namespace ({os.strerror(code)})"
    _enter()
    return ""


def _enter() -> None:
    init.unshare(init.CLONE_NEWNET, user=os.geteuid(), group=os.getegid())
    init.bring_up_loopback()
