"""Lambda invocations that really run the function's code.

moto would start a Docker container. Here the code of the function, as deployed, is handed to
`functions.run_function`, which runs the handler in a process of its own. Synchronous, asynchronous
and dry-run invocations answer as Lambda does; output goes to `/aws/lambda/<name>`.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from .clients import Clients
from .logstream import LogWriter
from .operations import Operation
from .wire import Call, Response, ServiceError

log = logging.getLogger(__name__)

_MAX_SYNC_PAYLOAD = 6 * 1024 * 1024
_MAX_ASYNC_PAYLOAD = 1024 * 1024
# From (region, name or ARN, qualifier) to moto's function, or None.
FunctionLookup = Callable[[str, str, str | None], Any]


class Invocations:
    """Runs Lambda functions of one embedded AWS.

    Parameters
    ----------
    clients : Clients
        To write logs.
    lookup : callable
        From region, name or ARN, and qualifier to moto's function object, or None.
    environment : mapping of str to str
        The environment that every function starts from, the embedded endpoint included.
    failed : callable
        Called with the region and the name of a function that has failed.
    """

    def __init__(
        self,
        clients: Clients,
        lookup: FunctionLookup,
        environment: Mapping[str, str],
        failed: Callable[[str, str], None],
    ) -> None:
        self._failed = failed
        self._clients = clients
        self._lookup = lookup
        self._environment = dict(environment)
        self._background: list[threading.Thread] = []

    def operations(self) -> dict[tuple[str, str], Operation]:
        """Return the operations that this room performs."""
        return {("lambda", "Invoke"): self.invoke, ("lambda", "InvokeAsync"): self.invoke}

    def invoke(self, call: Call) -> Response:
        """Perform Invoke for all three invocation types."""
        name = str(call.params["FunctionName"])
        function = self._lookup(call.region, name, call.params.get("Qualifier"))
        if function is None:
            arn = name if name.startswith("arn:") else f"function:{name}"
            raise ServiceError("ResourceNotFoundException", f"Function not found: {arn}", 404)
        kind = str(call.params.get("InvocationType") or "RequestResponse")
        event = _event(call.params.get("Payload") or call.params.get("InvokeArgs"), kind)
        if kind == "DryRun":
            return Response(204, {}, b"")
        if kind == "Event" or call.operation == "InvokeAsync":
            thread = threading.Thread(target=self.run, args=(function, event), daemon=True)
            self._background.append(thread)
            thread.start()
            return Response(202, {"Content-Type": "application/json"}, b"")
        result = self.run(function, event)
        headers = {
            "Content-Type": "application/json",
            "X-Amz-Executed-Version": str(function.version) if function.version else "$LATEST",
            "x-amzn-RequestId": str(uuid.uuid4()),
        }
        if result.error:
            headers["X-Amz-Function-Error"] = result.error
        if call.params.get("LogType") == "Tail":
            headers["X-Amz-Log-Result"] = base64.b64encode(result.log_tail.encode()).decode()
        return Response(200, headers, result.payload)

    def run(self, function: Any, event: bytes) -> Any:
        """Run a function once and write its log.

        Parameters
        ----------
        function : Any
            moto's function object.
        event : bytes
            The event as JSON.

        Returns
        -------
        functions.FunctionResult
        """
        from .functions import run_function

        now = datetime.now(UTC)
        stream = f"{now:%Y/%m/%d}/[$LATEST]{uuid.uuid4().hex}"
        group = f"/aws/lambda/{function.function_name}"
        role = str(function.role)
        key, secret, token = self._clients.keys_of(role, function.function_name, function.region)
        logs = self._clients.as_role(role, function.region, function.function_name)
        with LogWriter(logs.get("logs", function.region), group) as lines:
            result = run_function(
                function.code_bytes,
                handler=function.handler,
                runtime=function.run_time,
                environment=function.environment_vars or {},
                event=event,
                timeout=float(function.timeout),
                memory_mb=int(function.memory_size),
                function_arn=function.function_arn,
                log=lambda text: lines.write(stream, text),
                log_stream=stream,
                base_environment=self._environment
                | {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
                | {"AWS_SESSION_TOKEN": token, "AWS_REGION": function.region}
                | {"AWS_DEFAULT_REGION": function.region},
            )
        if result.error:
            self._failed(str(function.region), str(function.function_name))
        return result

    def run_for_moto(self, function: Any, event: Any) -> tuple[str, bool, str]:
        """Run a function that another moto service invokes (SNS, SQS, EventBridge).

        Returns
        -------
        tuple of (str, bool, str)
            Payload, whether it failed, and the log: what moto's own method returns.
        """
        result = self.run(function, json.dumps(event if event is not None else {}).encode())
        return result.payload.decode(), bool(result.error), result.log_tail

    def shut_down(self, timeout: float) -> None:
        """Wait for asynchronous invocations, at most `timeout` seconds each."""
        for thread in self._background:
            thread.join(timeout)


def _event(payload: Any, kind: str) -> bytes:
    body = payload if isinstance(payload, bytes) else str(payload or "").encode()
    limit = _MAX_ASYNC_PAYLOAD if kind == "Event" else _MAX_SYNC_PAYLOAD
    if len(body) > limit:
        raise ServiceError(
            "RequestTooLargeException",
            f"{len(body)} byte payload is too large for the {kind} invocation type "
            f"(limit {limit} bytes)",
            413,
        )
    if not body:
        return b"{}"
    try:
        json.loads(body)
    except ValueError as error:
        raise ServiceError(
            "InvalidRequestContentException",
            f"Could not parse request body into json: Could not parse payload into json: {error}",
        ) from None
    return body
