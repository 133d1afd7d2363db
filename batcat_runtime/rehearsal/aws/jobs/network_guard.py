"""Keeps what Python opens on this machine; imported by every job and function before its own code.

A plain file of the standard library: it is copied into the Python of a sandbox. On Linux the whole
rehearsal has a network without a way out (`seal`), and this only makes the error name the address;
elsewhere it is all there is, and libraries that open sockets themselves, in C, pass it.
"""

import ipaddress
import sys
from typing import Any


def _leaves_the_machine(host: object) -> bool:
    name = host.decode(errors="replace") if isinstance(host, bytes) else str(host or "localhost")
    if name == "localhost" or name.endswith(".localhost"):
        return False
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return True
    return not (address.is_loopback or address.is_unspecified)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    if _leaves_the_machine(host):
        raise PermissionError(f"A rehearsal reaches no other host, and this wants to reach {host}.")


sys.addaudithook(_hook)
