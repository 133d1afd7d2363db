"""Lambda handlers, executed for real; every error payload in Lambda's shape."""

from __future__ import annotations

import io
import json
import re
import time
import zipfile
from typing import Any

import pytest

from batcat_runtime.rehearsal.functions import FunctionResult, run_function

ARN = "arn:aws-cn:lambda:cn-northwest-1:123456789012:function:battery-trigger"


def package(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"{name}.py", text)
    return buffer.getvalue()


def invoke(code: str | bytes, given: object = None, **options: Any) -> FunctionResult:
    lines: list[str] = options.pop("lines", [])
    arguments: dict[str, Any] = {
        "handler": "app.handler",
        "runtime": "python3.12",
        "environment": {},
        "event": json.dumps(given if given is not None else {}).encode(),
        "timeout": 3,
        "memory_mb": 128,
        "function_arn": ARN,
        "log": lines.append,
        "base_environment": {},
    } | options
    return run_function(package(app=code) if isinstance(code, str) else code, **arguments)


def error_of(result: FunctionResult) -> dict[str, Any]:
    assert result.error == "Unhandled"
    payload: dict[str, Any] = json.loads(result.payload)
    return payload


def test_returns_what_the_handler_returns_and_logs_like_lambda() -> None:
    lines: list[str] = []
    result = invoke(
        """
import logging, sys
def handler(event, context):
    print("to stdout"); print("to stderr", file=sys.stderr)
    logging.getLogger().warning("careful")
    return {"got": event, "名": "电池"}
""",
        {"a": 1},
        lines=lines,
    )
    assert result.error is None
    assert json.loads(result.payload) == {"got": {"a": 1}, "名": "电池"}
    request_id = re.fullmatch(r"START RequestId: (\S+) Version: \$LATEST", lines[0])
    assert request_id
    assert lines[1:3] == ["to stdout", "to stderr"]
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    assert re.fullmatch(rf"\[WARNING\]\t{stamp}\t{request_id[1]}\tcareful", lines[3])
    assert lines[4] == f"END RequestId: {request_id[1]}"
    assert re.match(
        rf"REPORT RequestId: {request_id[1]}\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms"
        r"\tMemory Size: 128 MB\tMax Memory Used: \d+ MB\tInit Duration: [\d.]+ ms",
        lines[5],
    )
    assert result.log_tail.splitlines() == lines


def test_context_and_environment_are_lambdas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_SECRET", "tweet")
    result = invoke(
        """
import os
def handler(event, context):
    return {
        "env": dict(os.environ),
        "context": [context.function_name, context.memory_limit_in_mb, context.log_group_name,
                    context.invoked_function_arn, context.function_version],
        "left": context.get_remaining_time_in_millis(),
        "id": context.aws_request_id, "stream": context.log_stream_name,
    }
""",
        environment={"MINE": "1", "AWS_ENDPOINT_URL_S3": "https://elsewhere.invalid"},
        base_environment={"AWS_ENDPOINT_URL": "http://127.0.0.1:1"},
        timeout=30,
    )
    answer = json.loads(result.payload)
    env = answer["env"]
    assert answer["context"] == [
        "battery-trigger", "128", "/aws/lambda/battery-trigger", ARN, "$LATEST"
    ]  # fmt: skip
    assert 25_000 < answer["left"] <= 30_000
    assert answer["id"]
    assert "[$LATEST]" in answer["stream"]
    assert env["MINE"] == "1"
    assert env["AWS_ENDPOINT_URL"] == "http://127.0.0.1:1"
    assert env["AWS_REGION"] == env["AWS_DEFAULT_REGION"] == "cn-northwest-1"
    assert env["_HANDLER"] == "app.handler"
    assert env["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.12"
    assert "CANARY_SECRET" not in env
    assert "AWS_ENDPOINT_URL_S3" not in env


def test_exception() -> None:
    lines: list[str] = []
    payload = error_of(invoke("def handler(e, c):\n    raise ValueError('boom')\n", lines=lines))
    assert payload["errorMessage"] == "boom"
    assert payload["errorType"] == "ValueError"
    assert re.fullmatch(r"[0-9a-f-]{36}", payload["requestId"])
    (frame,) = payload["stackTrace"]
    assert "app.py" in frame
    assert "raise ValueError('boom')" in frame
    assert lines[1].startswith("[ERROR] ValueError: boom\nTraceback (most recent call last):\n")


@pytest.mark.parametrize(
    ("code", "handler", "kind", "message"),
    [
        ("def handler(e, c): return {1}", "app.handler", "Runtime.MarshalError",
         "Unable to marshal response: Object of type set is not JSON serializable"),
        ("", "other.handler", "Runtime.ImportModuleError",
         "Unable to import module 'other': No module named 'other'"),
        ("import pandas", "app.handler", "Runtime.ImportModuleError",
         "Unable to import module 'app': No module named 'pandas'"),
        ("", "app.handler", "Runtime.HandlerNotFound",
         "Handler 'handler' missing on module 'app'"),
        ("", "app", "Runtime.MalformedHandlerName",
         "Bad handler 'app': not enough values to unpack (expected 2, got 1)"),
        ("", "sys.handler", "Runtime.BuiltInModuleConflict",
         "Cannot use built-in module sys as a handler module"),
    ],
)  # fmt: skip
def test_errors_of_the_runtime(code: str, handler: str, kind: str, message: str) -> None:
    payload = error_of(invoke(code, handler=handler))
    assert payload.pop("requestId") == "" or kind == "Runtime.MarshalError"
    assert payload == {"errorType": kind, "errorMessage": message, "stackTrace": []}


def test_syntax_error_names_file_and_line() -> None:
    payload = error_of(invoke("x = 1\ndef handler(:\n"))
    assert payload["errorType"] == "Runtime.UserCodeSyntaxError"
    assert "Line 2" in payload["stackTrace"][0]


def test_exception_while_importing() -> None:
    payload = error_of(invoke("raise RuntimeError('at import')"))
    assert (payload["errorType"], payload["errorMessage"]) == ("RuntimeError", "at import")
    assert payload["requestId"] == ""
    assert "app.py" in payload["stackTrace"][-1]
    assert "function_bootstrap" not in "".join(payload["stackTrace"])


def test_event_that_is_no_json() -> None:
    payload = error_of(invoke("def handler(e, c): return e", event=b"{"))
    assert payload["errorType"] == "Runtime.UnmarshalError"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys\ndef handler(e, c): sys.exit(1)", "Runtime exited with error: exit status 1"),
        ("import sys\ndef handler(e, c): sys.exit(0)", "Runtime exited without providing a reason"),
        ("import os\ndef handler(e, c): os._exit(3)", "Runtime exited with error: exit status 3"),
        ("import os\ndef handler(e, c): os.kill(os.getpid(), 9)",
         "Runtime exited with error: signal: killed"),
        ("import sys\nsys.exit(4)", "Runtime exited with error: exit status 4"),
    ],
)  # fmt: skip
def test_handler_that_ends_its_process(code: str, message: str) -> None:
    payload = error_of(invoke(code))
    assert set(payload) == {"errorType", "errorMessage"}
    assert payload["errorType"] == "Runtime.ExitError"
    assert re.fullmatch(rf"RequestId: [0-9a-f-]{{36}} Error: {message}", payload["errorMessage"])


def test_timeout_kills_what_the_handler_started() -> None:
    lines: list[str] = []
    began = time.monotonic()
    payload = error_of(
        invoke(
            "import subprocess, time\ndef handler(e, c):\n    print('in')\n"
            "    subprocess.Popen(['sleep', '4811'], start_new_session=True)\n    time.sleep(60)\n",
            timeout=1.0,
            lines=lines,
        )
    )
    assert time.monotonic() - began < 10
    assert payload["errorType"] == "Sandbox.Timedout"
    assert payload["errorMessage"].endswith("Error: Task timed out after 1.00 seconds")
    assert "in" in lines
    assert any(line.endswith("Task timed out after 1.00 seconds") for line in lines)
    assert "Duration: 1000.00 ms" in lines[-1]


def test_time_to_import_does_not_count_against_the_timeout() -> None:
    code = "import time\ntime.sleep(0.8)\ndef handler(e, c): return 'ok'"
    assert json.loads(invoke(code, timeout=0.5).payload) == "ok"


def test_boto3_is_there_and_reads_its_data() -> None:
    code = """
import boto3, sys
def handler(event, context):
    boto3.client("stepfunctions", region_name="us-east-1",
                 aws_access_key_id="x", aws_secret_access_key="x")
    return sorted(n for n in ("pandas", "batcat_runtime", "moto") if n in sys.modules)
"""
    assert json.loads(invoke(code, timeout=30).payload) == []


def test_handler_may_write_to_every_stream_and_print_json() -> None:
    code = """
import os, subprocess, sys
def handler(event, context):
    print('{"stage": "done"}'); os.write(1, b"raw\\n")
    subprocess.run(["echo", "child"], check=True)
    sys.stdout.buffer.write(b"\\xff\\xfe\\n"); print("x" * 300_000)
    return "payload"
"""
    lines: list[str] = []
    result = invoke(code, lines=lines)
    assert json.loads(result.payload) == "payload"
    assert {"raw", "child", '{"stage": "done"}', "\ufffd\ufffd"} <= set(lines)
    assert max(map(len, lines)) == 256 * 1024 - 26
    assert len(result.log_tail.encode()) <= 4096


def test_payload_over_the_limit() -> None:
    payload = error_of(invoke("def handler(e, c): return 'x' * 7_000_000", timeout=10))
    assert payload["errorType"] == "Function.ResponseSizeTooLarge"


@pytest.mark.parametrize("name", ["../evil.py", "/evil.py", "a/../../evil.py", "..\\evil.py"])
def test_zip_that_would_leave_its_directory(name: str) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, "x")
    payload = error_of(invoke(buffer.getvalue()))
    assert payload["errorType"] == "InvalidZipFileException"
    assert "evil.py" in payload["errorMessage"]


def test_code_that_is_no_zip() -> None:
    assert error_of(invoke(b"not a zip"))["errorType"] == "InvalidZipFileException"


def test_runtime_that_is_not_python() -> None:
    payload = error_of(invoke("", runtime="nodejs20.x"))
    assert "nodejs20.x" in payload["errorMessage"]


def test_handler_in_a_package_with_slashes() -> None:
    result = invoke(
        package(**{"src/app": "from src.other import answer\ndef go(e, c): return answer",
                   "src/other": "answer = 42", "src/__init__": ""}),
        handler="src/app.go",
    )  # fmt: skip
    assert json.loads(result.payload) == 42
