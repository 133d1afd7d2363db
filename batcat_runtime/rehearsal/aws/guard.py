"""The gate: who may talk to the embedded AWS at all.

The server runs jobs, so whoever can send it a request can run code. It listens on the loopback
interface only, and this layer closes the ways in that remain:

- a web page that the user visits, sending requests from the browser: refused by `Origin` and
  `Sec-Fetch-Site`, which browsers set and pages cannot forge;
- DNS rebinding, where a page's own host name is made to resolve to 127.0.0.1: refused by `Host`;
- another user of this machine: refused by the access key, which must be one that was given out.

moto's dashboard and reset (`/moto-api`) and its instance metadata are for no one here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from moto.utilities.utils import get_partition

from ..wire import (
    Environ,
    Response,
    ServiceError,
    StartResponse,
    WsgiApp,
    credential_of,
    error_response,
    read_call,
    send,
)

# RFC 9112, 6.3: such a request may be an attempt to smuggle another one in.
_TWO_LENGTHS = "The request has both Content-Length and Transfer-Encoding."
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
    known : callable
        From an access key and a region to whether it was given out in that partition.
    """

    def __init__(self, app: WsgiApp, port: int, known: Callable[[str, str], bool]) -> None:
        self._app = app
        self._port = port
        self._known = known

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer 403 with the reason, or pass the request on."""
        reason = refusal(environ, self._port)
        if reason is None:
            key, *scope = credential_of(environ)[0].split("/")
            if not self._known(key, scope[1] if len(scope) > 1 else ""):
                return send(_unknown_key(environ, key), start_response)
            return self._app(environ, _without_invitations(start_response))
        if reason == _TWO_LENGTHS:
            text = {"Content-Type": "text/plain", "Connection": "close"}
            return send(Response(400, text, f"{reason}\n".encode()), start_response)
        body = f"Refused by the embedded AWS: {reason}\n".encode()
        return send(Response(403, {"Content-Type": "text/plain"}, body), start_response)


def _unknown_key(environ: Environ, key: str) -> Response:
    """Refuse an access key in the words of the service that is called."""
    call = read_call(environ)
    if call is None:
        return Response(403, {"Content-Type": "text/plain"}, b"The access key is not known here.\n")
    message = "The security token included in the request is invalid."
    if call.service == "s3":
        code = "InvalidAccessKeyId" if key else "AccessDenied"
        message = "The AWS Access Key Id you provided does not exist in our records."
    elif not key:
        code, message = "MissingAuthenticationToken", "Request is missing an authentication token"
    elif call.protocol in ("json", "rest-json"):
        code = "UnrecognizedClientException"
    else:
        code = "InvalidClientTokenId"
    status = 400 if call.protocol == "json" else 403
    return error_response(call, ServiceError(code, message, status))


def given_out(key: str, region: str) -> bool:
    """Tell whether IAM or STS gave an access key out, in whatever account of the partition."""
    from moto.iam.models import iam_backends
    from moto.sts.models import sts_backends

    partition = get_partition(region)
    return any(key in one[partition].access_keys for one in list(iam_backends.values())) or any(
        one[partition].get_assumed_role_from_access_key(key) for one in list(sts_backends.values())
    )


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
    if environ.get("CONTENT_LENGTH") and "HTTP_TRANSFER_ENCODING" in environ:
        return _TWO_LENGTHS
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
