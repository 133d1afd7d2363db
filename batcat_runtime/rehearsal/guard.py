"""The gate: who may talk to the embedded AWS at all.

The server runs jobs, so whoever can send it a request can run code. It listens on the loopback
interface only, and this layer closes the two ways in that remain:

- a web page that the user visits, sending requests from the browser: refused by `Origin` and
  `Sec-Fetch-Site`, which browsers set and pages cannot forge;
- DNS rebinding, where a page's own host name is made to resolve to 127.0.0.1: refused by `Host`.

moto's dashboard and reset (`/moto-api`) and its instance metadata are for no one here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from .wire import Environ, Response, StartResponse, WsgiApp, send

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_CLOSED_PATHS = ("/moto-api", "/latest/meta-data", "/latest/api", "/latest/dynamic")


class Guard:
    """WSGI middleware that lets through local clients and refuses browsers and strangers.

    Parameters
    ----------
    app : WSGI application
        What the guard protects.
    port : int
        The port that the server listens on; a `Host` with another port is refused.
    """

    def __init__(self, app: WsgiApp, port: int) -> None:
        self._app = app
        self._port = port

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer 403 with the reason, or pass the request on."""
        reason = refusal(environ, self._port)
        if reason is None:
            return self._app(environ, _without_invitations(start_response))
        body = f"Refused by the embedded AWS: {reason}\n".encode()
        return send(Response(403, {"Content-Type": "text/plain"}, body), start_response)


def refusal(environ: Environ, port: int) -> str | None:
    """Say why a request is refused, or None when it may pass.

    Parameters
    ----------
    environ : dict
        The WSGI environment of the request.
    port : int
        The port that the server listens on.
    """
    host = str(environ.get("HTTP_HOST", ""))
    if not _is_our_host(host, port):
        return f"the Host header says {host!r}, and only this machine's loopback names are served."
    if "HTTP_ORIGIN" in environ:
        return "the request carries an Origin header, so it comes from a web page."
    site = str(environ.get("HTTP_SEC_FETCH_SITE", "none"))
    if site.lower() != "none":
        return f"the request comes from a web page (Sec-Fetch-Site: {site})."
    path = str(environ.get("PATH_INFO", ""))
    if path.startswith(_CLOSED_PATHS):
        return f"{path} is closed."
    return None


def _without_invitations(start_response: StartResponse) -> StartResponse:
    """Drop headers that would let a page read the answer; moto's S3 sets them."""

    def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        kept = [one for one in headers if not one[0].lower().startswith("access-control-")]
        return start_response(status, kept, *more)

    return start


def _is_our_host(host: str, port: int) -> bool:
    # A newline or an @ would let urlsplit see another host than the client meant.
    if not host or any(char in host for char in "@/\\ \t\r\n"):
        return False
    try:
        parts = urlsplit(f"//{host}")
        return parts.hostname in _LOOPBACK and parts.port == port
    except ValueError:
        return False
