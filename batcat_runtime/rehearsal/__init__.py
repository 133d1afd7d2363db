"""The rehearsal: a project deployed and run on an AWS that lives on this machine.

`EmbeddedAWS` is the machine; what runs on it is in the modules beside it. Only the command line
and tests import this package: deployed code does not know that it is being rehearsed. Names are
resolved on first use (PEP 562), because the stand-in for docker starts a process a command.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .aws.embedded import EmbeddedAWS
    from .container import tool as container_tool
    from .local import local_down, local_status, local_up

_HOME = {
    "EmbeddedAWS": "aws.embedded",
    "local_down": "local",
    "local_status": "local",
    "local_up": "local",
}

__all__ = [
    "EmbeddedAWS",
    "container_tool",
    "local_down",
    "local_status",
    "local_up",
]


def __getattr__(name: str) -> Any:
    if name == "container_tool":
        return import_module(f"{__name__}.container.tool")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
