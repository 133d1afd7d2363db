"""Runs one invocation of a Lambda handler, in place of Lambda's own Python runtime.

Started as a plain file by a Python that has what Lambda's ships, boto3 and its needs, and nothing
else: a handler that imports pandas fails here as it would in AWS. The folder of the invocation's
file gets ``ready`` when the handler is about to be called, and ``outcome.json`` at the end; what
the handler prints is its log.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any


class _Fault(Exception):  # noqa: N818 - Lambda's own word
    """A failure of the runtime itself, with the type under which Lambda reports it."""

    def __init__(self, kind: str, message: str, place: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.trace = [place] if place else []


class Context:
    """What a handler gets as its second argument."""

    client_context = None
    identity = None

    def __init__(self, request_id: str, arn: str, deadline: float) -> None:
        self.aws_request_id = request_id
        self.invoked_function_arn = arn
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self._deadline = deadline

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the function times out."""
        return max(0, int((self._deadline - time.time()) * 1000))


def main(invocation_file: str, task_root: str) -> None:
    """Import the handler, call it, and leave the outcome."""
    path = Path(invocation_file)
    invocation = json.loads(path.read_text("utf-8"))
    sys.path.insert(0, task_root)
    _set_up_logging(invocation["request_id"])
    request_id = ""  # an error before the invocation has no request
    try:
        handler = _find_handler(invocation["handler"])
        path.with_name("ready").touch()
        request_id = invocation["request_id"]
        context = Context(request_id, invocation["arn"], time.time() + invocation["timeout"])
        outcome = {"payload": _marshal(handler(invocation["event"], context)), "failed": False}
    except Exception as error:
        outcome = {"payload": json.dumps(_error_payload(error, request_id)), "failed": True}
    partial = path.with_name("outcome.partial")
    partial.write_text(json.dumps(outcome), "utf-8")
    partial.replace(path.with_name("outcome.json"))


def _find_handler(name: str) -> Callable[[Any, Context], Any]:
    module_name, dot, function_name = name.rpartition(".")
    module_name = module_name.replace("/", ".")
    if not dot:
        raise _Fault(
            "Runtime.MalformedHandlerName",
            f"Bad handler '{name}': not enough values to unpack (expected 2, got 1)",
        )
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        message = f"Unable to import module '{module_name}': {error}"
        raise _Fault("Runtime.ImportModuleError", message) from None
    except SyntaxError as error:
        place = f'  File "{error.filename}" Line {error.lineno}\n    {error.text}'
        message = f"Syntax error in module '{module_name}': {error}"
        raise _Fault("Runtime.UserCodeSyntaxError", message, place) from None
    found: Callable[[Any, Context], Any] | None = getattr(module, function_name, None)
    if found is None:
        message = f"Handler '{function_name}' missing on module '{module_name}'"
        raise _Fault("Runtime.HandlerNotFound", message)
    return found


def _marshal(result: Any) -> str:
    try:
        return json.dumps(result, default=_plain, ensure_ascii=False)
    except Exception as error:
        message = f"Unable to marshal response: {error}"
        raise _Fault("Runtime.MarshalError", message) from None


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _error_payload(error: Exception, request_id: str) -> dict[str, Any]:
    if isinstance(error, _Fault):
        kind, trace = error.kind, error.trace
    else:
        frames = traceback.extract_tb(error.__traceback__)
        theirs = [frame for frame in frames if frame.filename != __file__]
        kind, trace = type(error).__name__, traceback.format_list(theirs)
    return {
        "errorMessage": str(error),
        "errorType": kind,
        "requestId": request_id,
        "stackTrace": trace,
    }


def _set_up_logging(request_id: str) -> None:
    """Give the root logger Lambda's handler and format."""
    handler = logging.StreamHandler(sys.stdout)
    formatter = logging.Formatter(
        f"[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t{request_id}\t%(message)s",
        "%Y-%m-%dT%H:%M:%S",
    )
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.getLogger().addHandler(handler)


if __name__ == "__main__":
    main(*sys.argv[1:])
