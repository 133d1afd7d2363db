"""Operations that the embedded AWS performs itself, in front of moto.

Where moto only keeps records (processing jobs), runs nothing (Lambda without Docker) or lacks the
semantics (CloudFormation's change sets and rollback), an operation of ours answers in its place.
An operation is a function from a `Call` to a result dict, to a finished `Response`, or to `PASS`,
which hands the request on to moto. `ServiceError` becomes the error of the service.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from .aws.strict import CALL_KEY
from .wire import (
    Call,
    Environ,
    Response,
    ServiceError,
    StartResponse,
    WsgiApp,
    error_response,
    result_response,
    send,
)

log = logging.getLogger(__name__)

PASS: Final = object()
Operation = Callable[[Call], Any]
Operations = Mapping[tuple[str, str], Operation]


class Perform:
    """WSGI middleware that performs our own operations and passes on all others.

    Parameters
    ----------
    app : WSGI application
        moto.
    operations : mapping
        From (service, operation) to the function that performs it.
    late : mapping, optional
        From a service to a function that gives further operations; called when that service is
        first asked. Rooms whose imports take long come in this way, not at the start.
    """

    def __init__(
        self,
        app: WsgiApp,
        operations: Operations,
        late: Mapping[str, Callable[[], Operations]] | None = None,
    ) -> None:
        self._app = app
        self._operations = dict(operations)
        self._late = dict(late or {})
        self._lock = threading.Lock()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Perform the call, or let moto do it."""
        call: Call | None = environ.get(CALL_KEY)
        operation = self._operation(call) if call else None
        if call is None or operation is None:
            return self._app(environ, start_response)
        try:
            result = operation(call)
        except ServiceError as error:
            return send(error_response(call, error), start_response)
        if result is PASS:
            return self._app(environ, start_response)
        response = result if isinstance(result, Response) else result_response(call, result)
        return send(response, start_response)

    def _operation(self, call: Call) -> Operation | None:
        if call.service in self._late:
            with self._lock:
                load = self._late.get(call.service)
                if load:
                    self._operations.update(load())
                    del self._late[call.service]
        return self._operations.get((call.service, call.operation))


class Failsafe:
    """WSGI middleware that turns a crash below it into an error of the service.

    What moto does not implement is answered with 501 and a code that says so; boto3 does not retry
    it. Anything else is an InternalFailure, with the traceback in the server's log.

    Parameters
    ----------
    app : WSGI application
        What may crash.
    """

    def __init__(self, app: WsgiApp) -> None:
        self._app = app

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Pass the request on, and answer for whatever comes back as an exception."""
        try:
            return self._app(environ, start_response)
        except Exception as failure:
            call: Call | None = environ.get(CALL_KEY)
            what = f"{call.service}:{call.operation}" if call else environ.get("PATH_INFO")
            log.exception("%s failed", what)
            if isinstance(failure, NotImplementedError):
                error = ServiceError(
                    "NotInEmbeddedAWS", f"The embedded AWS does not have {what}.", 501
                )
            else:
                text = f"The embedded AWS failed in {what}: {type(failure).__name__}: {failure}"
                error = ServiceError("EmbeddedAWSFailure", text, 501)
            if call is None:
                plain = {"Content-Type": "text/plain"}
                return send(Response(501, plain, error.message.encode()), start_response)
            return send(error_response(call, error), start_response)


def without_nones(result: dict[str, Any]) -> dict[str, Any]:
    """Drop members that are None, which the serialisers would write as text."""
    return {key: value for key, value in result.items() if value is not None}
