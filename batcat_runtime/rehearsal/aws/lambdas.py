"""Lambda functions that really run: the zip that was deployed, errors as AWS's.

moto would start a Docker container. Here an invocation unpacks the code into a fresh directory,
starts `lambda_bootstrap` with it in a `sandbox`, reads its log line by line, and turns whatever
happened into the payload that the caller of a real function gets. The timeout counts from the
handler's first line, as in AWS; loading the module has a limit of its own. Payload shapes were
checked against Lambda's open-source runtime client and against answers of the real service.

Not enforced: the memory size. A function that uses more than it has passes here.
"""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import signal
import subprocess
import tempfile
import threading
import time
import uuid
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..clients import Clients
from ..operations import PASS, Operation
from ..wire import Call, Response, ServiceError
from .environment import job_variables
from .jobs import packages, sandbox
from .jobs.layout import PYTHON, Layout
from .jobs.lines import LineReader, LogWriter

log = logging.getLogger(__name__)

# AWS allows 10 s to load a function; a laptop that is busy with the rest gets a little more.
_INIT_LIMIT = 30.0
# What has answered and does not end (an atexit, a thread) gets a moment, as in AWS.
_AFTER_ANSWER = 0.5
_POLL = 0.02
_BOOTSTRAP = Path(__file__).with_name("lambda_bootstrap.py")
_TASK, _RUNTIME = "/var/task", "/var/runtime"
# From (region, name or ARN, qualifier) to moto's function, or None.
FunctionLookup = Callable[[str, str, str | None], Any]


@dataclass(frozen=True)
class Result:
    """What an invocation gives back.

    Attributes
    ----------
    payload : str
        The handler's result as JSON, or the error's description.
    failed : bool
        Whether it is an error's.
    """

    payload: str
    failed: bool


class Invocations:
    """Runs Lambda functions of one embedded AWS.

    Parameters
    ----------
    clients : Clients
        To write logs.
    lookup : callable
        From region, name or ARN, and qualifier to moto's function object, or None.
    home : pathlib.Path
        The work directory of the embedded AWS.
    failed : callable
        Called with the region and the name of a function that has failed.
    """

    def __init__(
        self,
        clients: Clients,
        lookup: FunctionLookup,
        home: Path,
        failed: Callable[[str, str], None],
    ) -> None:
        self._clients = clients
        self._lookup = lookup
        self._home = home
        self._failed = failed
        self._background: list[threading.Thread] = []

    def operations(self) -> dict[tuple[str, str], Operation]:
        """Return the operations that this room performs."""
        return {
            ("lambda", "Invoke"): self.invoke,
            ("lambda", "CreateFunction"): check_code,
            ("lambda", "UpdateFunctionCode"): check_code,
        }

    def invoke(self, call: Call) -> Response:
        """Perform Invoke: at once, or in the background."""
        name = str(call.params["FunctionName"])
        function = self._lookup(call.region, name, call.params.get("Qualifier"))
        if function is None:
            arn = name if name.startswith("arn:") else f"function:{name}"
            raise ServiceError("ResourceNotFoundException", f"Function not found: {arn}", 404)
        event = _event(call.params.get("Payload"))
        if call.params.get("InvocationType") == "Event":
            thread = threading.Thread(target=self.run, args=(function, event), daemon=True)
            self._background.append(thread)
            thread.start()
            return Response(202, {"Content-Type": "application/json"}, b"")
        result = self.run(function, event)
        headers = {"Content-Type": "application/json", "X-Amz-Executed-Version": "$LATEST"}
        if result.failed:
            headers["X-Amz-Function-Error"] = "Unhandled"
        return Response(200, headers, result.payload.encode())

    def run(self, function: Any, event: Any) -> Result:
        """Run a function of moto's once, and write its log."""
        now = datetime.now(UTC)
        stream = f"{now:%Y/%m/%d}/[$LATEST]{uuid.uuid4().hex}"
        name, region, role = function.function_name, str(function.region), str(function.role)
        logs = self._clients.as_role(role, region, name).get("logs", region)
        keys = self._clients.keys_of(role, name, region)
        given = (function.environment_vars or {}).items()
        environment = {
            **{key: value for key, value in given if not key.startswith("AWS_ENDPOINT_URL")},
            **job_variables(self._clients.endpoint_url, region, keys),
            **_reserved(function, stream),
        }
        with (
            LogWriter(logs, f"/aws/lambda/{name}") as lines,
            tempfile.TemporaryDirectory(
                prefix="function-", dir=self._home, ignore_cleanup_errors=True
            ) as directory,
        ):
            python = packages.python_for(["boto3"], (), self._home / "pythons" / "lambda")
            result = _Invocation(
                function, environment, Path(directory), lambda text: lines.write(stream, text)
            ).run(event, *python)
        if result.failed:
            self._failed(region, str(name))
        return result

    def run_for_moto(self, function: Any, event: Any) -> tuple[str, bool, str]:
        """Run a function that another moto service invokes (SNS, SQS, EventBridge).

        Returns
        -------
        tuple of (str, bool, str)
            Payload, whether it failed, and a log: what moto's own method returns.
        """
        result = self.run(function, event if event is not None else {})
        return result.payload, result.failed, ""

    def shut_down(self, timeout: float) -> None:
        """Wait for asynchronous invocations, at most `timeout` seconds each."""
        for thread in self._background:
            thread.join(timeout)


@dataclass
class _Invocation:
    """One invocation under way."""

    function: Any
    environment: dict[str, str]
    directory: Path
    log: Callable[[str], None]

    def run(self, event: Any, python: Path, sites: tuple[Path, ...]) -> Result:
        """Run the function; whatever it does or is becomes a result."""
        runtime, request_id = str(self.function.run_time), str(uuid.uuid4())
        if not runtime.startswith("python3."):
            return self._failure(
                "Runtime.Unsupported",
                f"The rehearsal runs functions of the python3.* runtimes, and this one's is"
                f" {runtime!r}. Deploy it with a Python runtime to rehearse it.",
            )
        task = self.directory / "task"
        with zipfile.ZipFile(io.BytesIO(self.function.code_bytes)) as archive:
            archive.extractall(task)
        copies = {_TASK: task, f"{_RUNTIME}/{_BOOTSTRAP.name}": _BOOTSTRAP}
        layout = Layout(self.directory / "box", copies, _TASK, python, sites)
        layout.make_directories()
        timeout = float(self.function.timeout)
        invocation = {
            "request_id": request_id,
            "handler": self.function.handler,
            "arn": self.function.function_arn,
            "timeout": timeout,
            "event": event,
        }
        (layout.ml_root / "invocation.json").write_text(json.dumps(invocation), "utf-8")
        self.log(f"START RequestId: {request_id} Version: $LATEST")
        started = time.monotonic()
        # -u: a print is in the log before the process can be killed.
        command = [f"{PYTHON}/bin/python", "-I", "-u", f"{_RUNTIME}/{_BOOTSTRAP.name}"]
        process = sandbox.start(
            [*command, "/opt/ml/invocation.json", _TASK],
            self.environment,
            layout,
            way=sandbox.choose_way(),
            grace=0.0,
        )
        assert process.stdout is not None
        reader = LineReader(process.stdout, self.log)
        began, timed_out = _follow(process, layout.ml_root, timeout)
        reader.finish()
        duration = timeout if timed_out else time.monotonic() - began
        result = self._result(process.returncode, layout.ml_root, request_id, timed_out)
        self.log(f"END RequestId: {request_id}")
        self.log(
            f"REPORT RequestId: {request_id}\tDuration: {duration * 1000:.2f} ms"
            f"\tBilled Duration: {int(duration * 1000) + 1} ms"
            f"\tMemory Size: {self.function.memory_size} MB"
            f"\tInit Duration: {(began - started) * 1000:.2f} ms\t"
        )
        return result

    def _result(self, code: int, folder: Path, request_id: str, timed_out: bool) -> Result:
        if timed_out:
            message = f"Task timed out after {float(self.function.timeout):.2f} seconds"
            return self._failure("Sandbox.Timedout", f"RequestId: {request_id} Error: {message}")
        try:
            outcome = json.loads((folder / "outcome.json").read_text("utf-8"))
        except FileNotFoundError:
            message = f"RequestId: {request_id} Error: {_exit_message(code)}"
            return self._failure("Runtime.ExitError", message)
        if outcome["failed"]:
            error = json.loads(outcome["payload"])
            trace = "".join(error["stackTrace"]).rstrip("\n")
            self.log(
                f"[ERROR] {error['errorType']}: {error['errorMessage']}"
                + (f"\nTraceback (most recent call last):\n{trace}" if trace else "")
            )
        return Result(**outcome)

    def _failure(self, kind: str, message: str) -> Result:
        self.log(f"[ERROR] {kind}: {message}")
        return Result(json.dumps({"errorType": kind, "errorMessage": message}), failed=True)


def _follow(process: subprocess.Popen[bytes], folder: Path, timeout: float) -> tuple[float, bool]:
    """Wait for the end, or end it; return when the handler began, and whether it took too long."""
    began, ready, answered = time.monotonic(), False, False
    limit = began + _INIT_LIMIT
    while process.poll() is None and time.monotonic() < limit:
        if not ready and (folder / "ready").exists():
            ready, began = True, time.monotonic()
            limit = began + timeout
        if not answered and (folder / "outcome.json").exists():
            answered, limit = True, time.monotonic() + _AFTER_ANSWER
        time.sleep(_POLL)
    timed_out = process.poll() is None and not answered
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return began, timed_out


def check_code(call: Call) -> Any:
    """Refuse code that is no zip archive before moto takes it, in Lambda's words.

    Raises
    ------
    ServiceError
        InvalidParameterValueException.
    """
    content = call.params.get("Code", call.params).get("ZipFile")
    if isinstance(content, bytes | str):
        data = content if isinstance(content, bytes) else base64.b64decode(content)
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                damaged = archive.testzip()
        except (zipfile.BadZipFile, OSError, ValueError, EOFError, zlib.error):
            damaged = "it"
        if damaged:
            raise ServiceError(
                "InvalidParameterValueException",
                "Could not unzip uploaded file. Please check your file, then try to upload again.",
            )
    return PASS


def _reserved(function: Any, stream: str) -> dict[str, str]:
    """Return the variables that Lambda reserves for itself."""
    name = str(function.function_name)
    return {
        "PATH": os.pathsep.join([f"{PYTHON}/bin", "/usr/local/bin:/usr/bin:/bin"]),
        "LANG": "en_US.UTF-8",
        "PYTHONUTF8": "1",
        "TZ": ":UTC",
        "LAMBDA_TASK_ROOT": _TASK,
        "LAMBDA_RUNTIME_DIR": _RUNTIME,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.run_time}",
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_size),
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": stream,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "_HANDLER": str(function.handler),
    }


def _exit_message(code: int) -> str:
    if code == 0:
        return "Runtime exited without providing a reason"
    name = signal.strsignal(code - 128) if 128 < code < 192 else None
    if name:
        return f"Runtime exited with error: signal: {name.lower()}"
    return f"Runtime exited with error: exit status {code}"


def _event(payload: Any) -> Any:
    try:
        return json.loads(payload or b"{}")
    except ValueError as error:
        raise ServiceError(
            "InvalidRequestContentException",
            f"Could not parse request body into json: Could not parse payload into json: {error}",
        ) from None
