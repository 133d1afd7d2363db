"""Runs one invocation of a Lambda handler, in place of Lambda's own Python runtime.

Started as a plain file with ``python -I -S -u``; standard library only. Without the `site` module
no installed package is in reach: a finder lets the handler import what Lambda's runtime ships
(boto3 and what it needs) from this machine's Python, and nothing else. A handler that imports
pandas fails here as it would in AWS.

Standard output is a private channel to `lambdas`, one JSON object a line; what the handler
prints goes to standard error, which is its log. So no print can corrupt the payload.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from decimal import Decimal
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

# What Lambda's Python runtimes carry besides the standard library.
PROVIDED = frozenset(
    ["boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3", "awscrt"]
)


class _Fault(Exception):  # noqa: N818 - Lambda's own word
    """A failure of the runtime itself, with the type under which Lambda reports it."""

    def __init__(self, kind: str, message: str, trace: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.kind = kind
        self.trace = list(trace)


class _RuntimePackages(MetaPathFinder):
    """Finds the packages that the runtime ships in this Python's site-packages."""

    def __init__(self, directories: list[str]) -> None:
        self._directories = directories

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Find a top-level package; what is inside it is found by the usual finder."""
        if path is None and fullname in PROVIDED:
            return PathFinder.find_spec(fullname, self._directories, target)
        return None


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

    def log(self, message: object) -> None:
        """Write to the function's log."""
        print(message)


def main(invocation_file: str, task_root: str) -> int:
    """Import the handler, call it, and report on the private channel."""
    invocation = json.loads(Path(invocation_file).read_text("utf-8"))
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def report(**message: Any) -> None:
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    sys.path.append(str(Path(__file__).parent))
    importlib.import_module("network_guard")
    sys.path.pop()
    sys.meta_path.append(_RuntimePackages(invocation["packages"]))
    extra = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:0] = [task_root, *extra]
    request_id = invocation["request_id"]
    _set_up_logging(request_id)
    try:
        handler = _find_handler(invocation["handler"])
    except Exception as error:
        # An error before the invocation has no request, and says so with an empty id.
        report(stage="failed", payload=_error_payload(error, ""))
        return 1
    report(stage="ready")
    context = Context(request_id, invocation["arn"], time.time() + invocation["timeout"])
    try:
        result = _marshal(handler(_unmarshal(invocation["event"]), context))
    except Exception as error:
        report(stage="failed", payload=_error_payload(error, request_id), memory=_memory())
        return 0
    report(stage="done", result=result, memory=_memory())
    return 0


def _find_handler(name: str) -> Callable[[Any, Context], Any]:
    try:
        module_name, function_name = name.rsplit(".", 1)
    except ValueError as error:
        raise _Fault("Runtime.MalformedHandlerName", f"Bad handler '{name}': {error}") from None
    module_name = module_name.replace("/", ".")
    if module_name.split(".")[0] in sys.builtin_module_names:
        raise _Fault(
            "Runtime.BuiltInModuleConflict",
            f"Cannot use built-in module {module_name} as a handler module",
        )
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        message = f"Unable to import module '{module_name}': {error}"
        raise _Fault("Runtime.ImportModuleError", message) from None
    except SyntaxError as error:
        place = f'  File "{error.filename}" Line {error.lineno}\n    {error.text}'
        message = f"Syntax error in module '{module_name}': {error}"
        raise _Fault("Runtime.UserCodeSyntaxError", message, [place]) from None
    try:
        found: Callable[[Any, Context], Any] = getattr(module, function_name)
    except AttributeError:
        message = f"Handler '{function_name}' missing on module '{module_name}'"
        raise _Fault("Runtime.HandlerNotFound", message) from None
    return found


def _unmarshal(body: str) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        message = f"Unable to unmarshal input: {error}"
        raise _Fault("Runtime.UnmarshalError", message) from None


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


def _memory() -> int:
    """Return the most memory that was used, in MB."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(used / (1 << 20 if sys.platform == "darwin" else 1 << 10))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
