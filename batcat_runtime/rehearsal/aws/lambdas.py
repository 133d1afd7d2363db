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
import importlib.util
import io
import json
import logging
import os
import posixpath
import signal
import subprocess
import tempfile
import threading
import time
import uuid
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import IO, Any

from ..clients import Clients
from ..operations import PASS, Operation
from ..wire import Call, Response, ServiceError
from .environment import job_variables
from .jobs import packages, sandbox
from .jobs.layout import PYTHON, Layout
from .jobs.lines import LineReader, LogWriter
from .lambda_bootstrap import PROVIDED

log = logging.getLogger(__name__)

_MAX_SYNC_PAYLOAD = 6 * 1024 * 1024
_MAX_ASYNC_PAYLOAD = 1024 * 1024
_MAX_RESPONSE = 6_291_556
_MAX_UNZIPPED = 262_144_000
_TAIL_BYTES = 4096
# AWS allows 10 s to load a function; a laptop that is busy with the rest gets a little more.
_INIT_LIMIT = 30.0
_BOOTSTRAP = Path(__file__).with_name("lambda_bootstrap.py")
_GUARD = Path(__file__).with_name("jobs") / "network_guard.py"
_TASK, _RUNTIME = "/var/task", "/var/runtime"
# From (region, name or ARN, qualifier) to moto's function, or None.
FunctionLookup = Callable[[str, str, str | None], Any]


@dataclass(frozen=True)
class Result:
    """What an invocation gives back.

    Attributes
    ----------
    payload : bytes
        The handler's result as JSON, or the error's description.
    failed : bool
        Whether it is an error's.
    log_tail : str
        The last 4 KB of the log, as LogType=Tail gives them (before base64).
    """

    payload: bytes
    failed: bool
    log_tail: str


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
            ("lambda", "InvokeAsync"): self.invoke,
            ("lambda", "CreateFunction"): check_code,
            ("lambda", "UpdateFunctionCode"): check_code,
        }

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
        if result.failed:
            headers["X-Amz-Function-Error"] = "Unhandled"
        if call.params.get("LogType") == "Tail":
            headers["X-Amz-Log-Result"] = base64.b64encode(result.log_tail.encode()).decode()
        return Response(200, headers, result.payload)

    def run(self, function: Any, event: bytes) -> Result:
        """Run a function of moto's once, with an event as JSON, and write its log."""
        now = datetime.now(UTC)
        stream = f"{now:%Y/%m/%d}/[$LATEST]{uuid.uuid4().hex}"
        name, region, role = function.function_name, str(function.region), str(function.role)
        logs = self._clients.as_role(role, region, name).get("logs", region)
        keys = self._clients.keys_of(role, name, region)
        leading = job_variables(self._clients.endpoint_url, region, keys)
        given = (function.environment_vars or {}).items()
        environment = {
            **{key: value for key, value in given if not key.startswith("AWS_ENDPOINT_URL")},
            **leading,
            **_reserved(function, stream),
        }
        with LogWriter(logs, f"/aws/lambda/{name}") as lines:
            invocation = _Invocation(
                function, event, environment, self._home, lambda text: lines.write(stream, text)
            )
            result = invocation.run()
        if result.failed:
            self._failed(region, str(name))
        return result

    def run_for_moto(self, function: Any, event: Any) -> tuple[str, bool, str]:
        """Run a function that another moto service invokes (SNS, SQS, EventBridge).

        Returns
        -------
        tuple of (str, bool, str)
            Payload, whether it failed, and the log: what moto's own method returns.
        """
        result = self.run(function, json.dumps(event if event is not None else {}).encode())
        return result.payload.decode(), result.failed, result.log_tail

    def shut_down(self, timeout: float) -> None:
        """Wait for asynchronous invocations, at most `timeout` seconds each."""
        for thread in self._background:
            thread.join(timeout)


@dataclass
class _Invocation:
    """One invocation under way."""

    function: Any
    event: bytes
    environment: dict[str, str]
    home: Path
    write: Callable[[str], None]
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    lines: list[str] = field(default_factory=list)
    ready: float | None = None
    outcome: dict[str, Any] | None = None
    changed: threading.Event = field(default_factory=threading.Event)

    def run(self) -> Result:
        """Run the function; whatever it does or is becomes a result."""
        runtime = str(self.function.run_time)
        if not runtime.startswith("python3."):
            return self._refused(
                "Runtime.Unsupported",
                f"The rehearsal runs functions of the python3.* runtimes, and this one's is"
                f" {runtime!r}. Deploy it with a Python runtime to rehearse it.",
            )
        with tempfile.TemporaryDirectory(
            prefix="function-", dir=self.home, ignore_cleanup_errors=True
        ) as name:
            task = Path(name, "task")
            task.mkdir()
            problem = _unpack(self.function.code_bytes, task)
            if problem:
                message = f"Could not unzip the function's code: {problem}"
                return self._refused("InvalidZipFileException", message)
            return self._run(task, Path(name, "box"))

    def _run(self, task: Path, directory: Path) -> Result:
        self._log(f"START RequestId: {self.request_id} Version: $LATEST")
        way, started = sandbox.choose_way(), time.monotonic()
        python, _ = packages.python_for([], (), self.home / "pythons" / "lambda")
        sites = provided_directories()
        copies = {f"{_RUNTIME}/{file.name}": file for file in (_BOOTSTRAP, _GUARD)} | {_TASK: task}
        layout = Layout(directory, copies, _TASK, python, sites)
        layout.make_directories()
        invocation = {
            "request_id": self.request_id,
            "handler": self.function.handler,
            "arn": self.function.function_arn,
            "timeout": float(self.function.timeout),
            "event": self.event.decode("utf-8", "replace"),
            "packages": [str(site) for site in sites],
        }
        (layout.ml_root / "invocation.json").write_text(json.dumps(invocation), "utf-8")
        bootstrap = [f"{_RUNTIME}/{_BOOTSTRAP.name}", "/opt/ml/invocation.json", _TASK]
        process = sandbox.start(
            # -P is part of -I. -u: a print is in the log before the process can be killed.
            [f"{PYTHON}/bin/python", "-I", "-S", "-u", *bootstrap],
            self.environment,
            layout,
            way=way,
            grace=0.0,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        reader = LineReader(process.stderr, self._log)
        channel = threading.Thread(target=self._follow, args=(process.stdout,), daemon=True)
        channel.start()
        timed_out = self._wait(process, started)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        channel.join(5)
        reader.finish()
        ended = time.monotonic()
        payload, failed = self._result(process.returncode, timed_out=timed_out)
        self._log_end(started, ended, timed_out=timed_out)
        return Result(payload, failed, self._tail())

    def _follow(self, channel: IO[bytes]) -> None:
        """Take the bootstrap's messages: that it is ready, and how it ended."""
        with channel:
            for line in channel:
                message = json.loads(line)
                if message["stage"] == "ready":
                    self.ready = time.monotonic()
                else:
                    self.outcome = message
                self.changed.set()
        self.changed.set()

    def _wait(self, process: subprocess.Popen[bytes], started: float) -> bool:
        """Wait for the outcome or the process's end; say whether the time was up before."""
        while self.outcome is None and process.poll() is None:
            timeout = float(self.function.timeout)
            limit = started + _INIT_LIMIT if self.ready is None else self.ready + timeout
            left = limit - time.monotonic()
            if left <= 0:
                return self.outcome is None
            self.changed.wait(min(left, 0.05))
            self.changed.clear()
        if self.outcome is not None:
            # It has answered; what remains of it (an atexit, a thread) gets a moment, as in AWS.
            try:
                process.wait(0.5)
            except subprocess.TimeoutExpired:
                return False
        return False

    def _result(self, code: int, *, timed_out: bool) -> tuple[bytes, bool]:
        """Return the payload, and whether it describes a failure."""
        if timed_out:
            message = f"Task timed out after {float(self.function.timeout):.2f} seconds"
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            self._log(f"{stamp} {self.request_id} {message}")
            return self._failure("Sandbox.Timedout", message)
        if self.outcome is None:
            message = _exit_message(code)
            self._log(f"RequestId: {self.request_id} Error: {message}\nRuntime.ExitError")
            return self._failure("Runtime.ExitError", message)
        if self.outcome["stage"] == "failed":
            payload = self.outcome["payload"]
            trace = "".join(payload["stackTrace"]).rstrip("\n")
            self._log(
                f"[ERROR] {payload['errorType']}: {payload['errorMessage']}"
                + (f"\nTraceback (most recent call last):\n{trace}" if trace else "")
            )
            return json.dumps(payload).encode(), True
        returned = self.outcome["result"].encode()
        if len(returned) > _MAX_RESPONSE:
            too_large = {
                "errorType": "Function.ResponseSizeTooLarge",
                "errorMessage": "Response payload size exceeded maximum allowed payload size "
                f"({_MAX_RESPONSE} bytes).",
            }
            return json.dumps(too_large).encode(), True
        return returned, False

    def _failure(self, kind: str, message: str) -> tuple[bytes, bool]:
        text = f"RequestId: {self.request_id} Error: {message}"
        return json.dumps({"errorType": kind, "errorMessage": text}).encode(), True

    def _refused(self, kind: str, message: str) -> Result:
        self._log(f"[ERROR] {kind}: {message}")
        payload = json.dumps({"errorType": kind, "errorMessage": message}).encode()
        return Result(payload, failed=True, log_tail=self._tail())

    def _log(self, text: str) -> None:
        self.lines.append(text)
        self.write(text)

    def _tail(self) -> str:
        whole = "".join(f"{line}\n" for line in self.lines).encode()
        return whole[-_TAIL_BYTES:].decode("utf-8", "ignore")

    def _log_end(self, started: float, ended: float, *, timed_out: bool) -> None:
        began, memory = self.ready or started, int(self.function.memory_size)
        duration = float(self.function.timeout) if timed_out else ended - began
        used = (self.outcome or {}).get("memory") or memory
        self._log(f"END RequestId: {self.request_id}")
        self._log(
            f"REPORT RequestId: {self.request_id}\tDuration: {duration * 1000:.2f} ms"
            f"\tBilled Duration: {int(duration * 1000) + 1} ms\tMemory Size: {memory} MB"
            f"\tMax Memory Used: {used} MB\tInit Duration: {(began - started) * 1000:.2f} ms\t"
        )


def check_code(call: Call) -> Any:
    """Refuse code that is no zip archive before moto takes it, in Lambda's words.

    Raises
    ------
    ServiceError
        InvalidParameterValueException.
    """
    code = call.params.get("Code", call.params)
    content = code.get("ZipFile")
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


def _unpack(code_zip: bytes, target: Path) -> str:
    """Unpack a deployment package; say why if it is none, or a hostile one."""
    try:
        with zipfile.ZipFile(io.BytesIO(code_zip)) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) >= _MAX_UNZIPPED:
                return f"Unzipped size must be smaller than {_MAX_UNZIPPED} bytes"
            for member in members:
                # The name as stored: zipfile has already tidied `filename`.
                name = member.orig_filename.replace("\\", "/")
                if name.startswith("/") or posixpath.normpath(name).startswith("..") or ":" in name:
                    return f"the entry {member.orig_filename!r} would leave its directory"
                if (member.external_attr >> 16) & 0o170000 == 0o120000:
                    return f"the entry {name!r} is a symbolic link"
                path = Path(archive.extract(member, target))
                if mode := (member.external_attr >> 16) & 0o777:
                    path.chmod(mode | 0o600)
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, zlib.error) as error:
        return str(error)
    return ""


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


@cache
def provided_directories() -> tuple[Path, ...]:
    """Find where this Python keeps the packages that Lambda ships."""
    specs = [importlib.util.find_spec(name) for name in sorted(PROVIDED)]
    origins = [Path(spec.origin) for spec in specs if spec and spec.origin]
    places = {path.parent.parent if path.name == "__init__.py" else path.parent for path in origins}
    return tuple(sorted(place.resolve() for place in places))


def _exit_message(code: int) -> str:
    if code == 0:
        return "Runtime exited without providing a reason"
    if code > 128:
        try:
            name = signal.strsignal(code - 128)
        except ValueError:
            name = None
        if name:
            return f"Runtime exited with error: signal: {name.lower()}"
    return f"Runtime exited with error: exit status {code}"


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
    try:
        json.loads(body or b"{}")
    except ValueError as error:
        raise ServiceError(
            "InvalidRequestContentException",
            f"Could not parse request body into json: Could not parse payload into json: {error}",
        ) from None
    return body or b"{}"
