"""Executes Lambda functions: the zip that was deployed, in a process of its own, errors as AWS's.

An invocation: unpack the code into a fresh directory, start `function_bootstrap` in it under the
sandbox's supervisor, read its log line by line, and turn whatever happened into the payload that
the caller of a real function gets. The timeout counts from the handler's first line, as in AWS;
loading the module has a limit of its own. Payload shapes were checked against Lambda's open-source
runtime client and against answers of the real service.

Not enforced: the memory size. A function that uses more than it has passes here.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from batcat_runtime.rehearsal import sandbox
from batcat_runtime.rehearsal.function_code import (
    lambda_environment,
    provided_directories,
    refusal,
    unpack,
)
from batcat_runtime.rehearsal.linereader import LineReader

MAX_PAYLOAD = 6_291_556
_TAIL_BYTES = 4096
# AWS allows 10 s to load a function; a laptop that is busy with the rest gets a little more.
_INIT_LIMIT = 30.0
_BOOTSTRAP = Path(__file__).with_name("function_bootstrap.py")


@dataclass(frozen=True)
class FunctionResult:
    """What an invocation gives back.

    Attributes
    ----------
    payload : bytes
        The handler's result as JSON, or the error's description.
    error : str or None
        ``Unhandled`` (the X-Amz-Function-Error header), or None when the handler returned.
    log_tail : str
        The last 4 KB of the log, as LogType=Tail gives them (before base64).
    """

    payload: bytes
    error: str | None
    log_tail: str


@dataclass
class _Invocation:
    """One invocation under way."""

    request_id: str
    write: Callable[[str], None]
    lines: list[str] = field(default_factory=list)
    ready: float | None = None
    outcome: dict[str, Any] | None = None
    changed: threading.Event = field(default_factory=threading.Event)

    def log(self, text: str) -> None:
        self.lines.append(text)
        self.write(text)

    def tail(self) -> str:
        whole = "".join(f"{line}\n" for line in self.lines).encode()
        return whole[-_TAIL_BYTES:].decode("utf-8", "ignore")

    def failed(self, payload: dict[str, Any]) -> FunctionResult:
        return FunctionResult(json.dumps(payload).encode(), "Unhandled", self.tail())


def run_function(
    code_zip: bytes,
    *,
    handler: str,
    runtime: str,
    environment: Mapping[str, str],
    event: bytes,
    timeout: float,
    memory_mb: int,
    function_arn: str,
    log: Callable[[str], None],
    base_environment: Mapping[str, str],
    log_stream: str | None = None,
) -> FunctionResult:
    """Invoke a function once.

    Parameters
    ----------
    code_zip : bytes
        The deployment package.
    handler : str
        ``module.function``.
    runtime : str
        ``python3.*``; another gives an error payload.
    environment : Mapping[str, str]
        The function's own variables.
    event : bytes
        The event, as JSON.
    timeout : float
        Seconds that the handler may take.
    memory_mb : int
        Its memory size, reported but not enforced.
    function_arn : str
        Its ARN; name and region are taken from it.
    log : Callable[[str], None]
        Receives the log, an event at a time, in order.
    base_environment : Mapping[str, str]
        What the function needs to reach the embedded AWS; goes before its own variables.
    log_stream : str, optional
        The log stream's name, if the caller has one.

    Returns
    -------
    FunctionResult
        Never an exception for what the function does or is.
    """
    call = _Invocation(str(uuid.uuid4()), log)
    with tempfile.TemporaryDirectory(prefix="batcat-function-", ignore_cleanup_errors=True) as name:
        task_root = Path(name, "task")
        refused = refusal(runtime) or unpack(code_zip, task_root)
        if refused:
            call.log(f"[ERROR] {refused['errorType']}: {refused['errorMessage']}")
            return call.failed(refused)
        event_file, result_file = Path(name, "event.json"), Path(name, "result.json")
        invocation_file = Path(name, "invocation.json")
        event_file.write_bytes(event or b"{}")
        invocation = {
            "request_id": call.request_id,
            "handler": handler,
            "arn": function_arn,
            "timeout": timeout,
            "task_root": str(task_root),
            "event_file": str(event_file),
            "result_file": str(result_file),
            "packages": provided_directories(),
        }
        invocation_file.write_text(json.dumps(invocation), "utf-8")
        stream = log_stream or f"{time.strftime('%Y/%m/%d')}/[$LATEST]{uuid.uuid4().hex}"
        reserved = lambda_environment(handler, runtime, memory_mb, function_arn, stream, task_root)
        scratch = Path(name, "tmp")
        scratch.mkdir()
        return _invoke(
            call,
            invocation_file,
            {
                "TMPDIR": str(scratch),
                **{n: v for n, v in environment.items() if not n.startswith("AWS_ENDPOINT_URL")},
                **base_environment,
                **reserved,
            },
            Path(name),
            result_file,
            timeout,
            memory_mb,
        )


# ---------------------------------------------------------------- the process


def _invoke(
    call: _Invocation,
    invocation_file: Path,
    environment: Mapping[str, str],
    directory: Path,
    result_file: Path,
    timeout: float,
    memory_mb: int,
) -> FunctionResult:
    call.log(f"START RequestId: {call.request_id} Version: $LATEST")
    started = time.monotonic()
    process = sandbox.supervise(
        # -P is part of -I. -u: a print is in the log before the process can be killed.
        [sys.executable, "-I", "-S", "-u", str(_BOOTSTRAP), str(invocation_file)],
        environment,
        directory,
        cwd=directory / "task",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    reader = LineReader(process.stderr, call.log)
    channel = threading.Thread(target=_follow, args=(process.stdout, call), daemon=True)
    channel.start()
    timed_out = _wait(process, call, started, timeout)
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    channel.join(5)
    reader.finish()
    ended = time.monotonic()
    result = _result(call, process.returncode, result_file, timeout, timed_out=timed_out)
    _log_end(call, started, ended, timeout, memory_mb, timed_out=timed_out)
    return FunctionResult(result.payload, result.error, call.tail())


def _follow(channel: IO[bytes], call: _Invocation) -> None:
    """Take the bootstrap's messages: that it is ready, and how it ended."""
    with channel:
        for line in channel:
            message = json.loads(line)
            if message["stage"] == "ready":
                call.ready = time.monotonic()
            else:
                call.outcome = message
            call.changed.set()
    call.changed.set()


def _wait(
    process: subprocess.Popen[bytes], call: _Invocation, started: float, timeout: float
) -> bool:
    """Wait for the outcome or the process's end; say whether the time was up before."""
    while call.outcome is None and process.poll() is None:
        limit = started + _INIT_LIMIT if call.ready is None else call.ready + timeout
        left = limit - time.monotonic()
        if left <= 0:
            return call.outcome is None
        call.changed.wait(min(left, 0.05))
        call.changed.clear()
    if call.outcome is not None:
        # It has answered; what remains of it (an atexit, a thread) gets a moment, as in AWS.
        try:
            process.wait(0.5)
        except subprocess.TimeoutExpired:
            return False
    return False


def _result(
    call: _Invocation, code: int, result_file: Path, timeout: float, *, timed_out: bool
) -> FunctionResult:
    outcome = call.outcome
    if timed_out:
        message = f"Task timed out after {timeout:.2f} seconds"
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        call.log(f"{stamp} {call.request_id} {message}")
        return call.failed(_runtime_error(call, "Sandbox.Timedout", message))
    if outcome is None:
        message = _exit_message(code)
        call.log(f"RequestId: {call.request_id} Error: {message}\nRuntime.ExitError")
        return call.failed(_runtime_error(call, "Runtime.ExitError", message))
    if outcome["stage"] == "failed":
        payload = outcome["payload"]
        trace = "".join(payload["stackTrace"]).rstrip("\n")
        call.log(
            f"[ERROR] {payload['errorType']}: {payload['errorMessage']}"
            + (f"\nTraceback (most recent call last):\n{trace}" if trace else "")
        )
        return call.failed(payload)
    payload = result_file.read_bytes()
    if len(payload) > MAX_PAYLOAD:
        message = (
            f"Response payload size exceeded maximum allowed payload size ({MAX_PAYLOAD} bytes)."
        )
        return call.failed(
            {
                "errorType": "Function.ResponseSizeTooLarge",
                "errorMessage": message,
            }
        )
    return FunctionResult(payload, None, "")


def _runtime_error(call: _Invocation, kind: str, message: str) -> dict[str, Any]:
    return {"errorType": kind, "errorMessage": f"RequestId: {call.request_id} Error: {message}"}


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


def _log_end(
    call: _Invocation,
    started: float,
    ended: float,
    timeout: float,
    memory_mb: int,
    *,
    timed_out: bool,
) -> None:
    began = call.ready or started
    duration = timeout * 1000 if timed_out else (ended - began) * 1000
    used = (call.outcome or {}).get("memory") or memory_mb
    call.log(f"END RequestId: {call.request_id}")
    call.log(
        f"REPORT RequestId: {call.request_id}\tDuration: {duration:.2f} ms"
        f"\tBilled Duration: {int(duration) + 1} ms\tMemory Size: {memory_mb} MB"
        f"\tMax Memory Used: {used} MB\tInit Duration: {(began - started) * 1000:.2f} ms\t"
    )
