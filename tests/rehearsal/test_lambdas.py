"""Lambda functions, deployed and invoked through the API; every error payload in Lambda's shape."""

from __future__ import annotations

import io
import json
import re
import uuid
import zipfile
from dataclasses import dataclass
from typing import Any

import pytest

from tests.rehearsal.conftest import REGION, Cloud, error_of


def package(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"{name}.py", text)
    return buffer.getvalue()


@dataclass
class Result:
    payload: Any
    failed: bool
    lines: list[str]


def invoke(cloud: Cloud, code: str | bytes, given: object = None, **options: Any) -> Result:
    client = cloud.client("lambda")
    name = options.pop("name", f"f-{uuid.uuid4().hex[:8]}")
    environment = options.pop("environment", {})
    client.create_function(
        FunctionName=name,
        Role=cloud.role("lambda"),
        Code={"ZipFile": package(app=code) if isinstance(code, str) else code},
        Environment={"Variables": environment},
        **{"Runtime": "python3.12", "Handler": "app.handler", "Timeout": 3} | options,
    )
    answer = client.invoke(FunctionName=name, Payload=json.dumps(given or {}).encode())
    return Result(
        json.loads(answer["Payload"].read()),
        answer.get("FunctionError") == "Unhandled",
        cloud.log_lines(f"/aws/lambda/{name}"),
    )


def test_it_returns_what_the_handler_returns_and_logs_like_lambda(cloud: Cloud) -> None:
    result = invoke(
        cloud,
        """
import logging, os, subprocess, sys
def handler(event, context):
    print("to stdout"); print("to stderr", file=sys.stderr)
    logging.getLogger().warning("careful")
    os.write(1, b"raw\\n"); subprocess.run(["echo", "child"])
    return {"got": event, "名": "电池"}
""",
        {"a": 1},
    )
    assert not result.failed
    assert result.payload == {"got": {"a": 1}, "名": "电池"}
    lines = result.lines
    request_id = re.fullmatch(r"START RequestId: (\S+) Version: \$LATEST", lines[0])
    assert request_id
    assert lines[1:3] == ["to stdout", "to stderr"]
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    assert re.fullmatch(rf"\[WARNING\]\t{stamp}\t{request_id[1]}\tcareful", lines[3])
    assert set(lines[4:6]) == {"raw", "child"}
    assert lines[6] == f"END RequestId: {request_id[1]}"
    assert re.match(
        rf"REPORT RequestId: {request_id[1]}\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms"
        r"\tMemory Size: 128 MB\tInit Duration: [\d.]+ ms",
        lines[7],
    )


def test_context_and_environment_are_lambdas(cloud: Cloud) -> None:
    result = invoke(
        cloud,
        """
import os, boto3, sys
def handler(event, context):
    boto3.client("stepfunctions").list_state_machines()
    return {
        "env": dict(os.environ),
        "context": [context.function_name, context.memory_limit_in_mb, context.log_group_name,
                    context.function_version],
        "left": context.get_remaining_time_in_millis(),
        "stream": context.log_stream_name,
        "there": [n for n in ("pandas", "batcat_runtime", "moto") if n in sys.modules],
        "files": [os.listdir("/var/task"), os.path.exists("/home")],
    }
""",
        environment={"MINE": "1", "AWS_ENDPOINT_URL_S3": "https://elsewhere.invalid"},
        name="battery-trigger",
        Timeout=30,
    )
    answer = result.payload
    assert answer["context"] == ["battery-trigger", "128", "/aws/lambda/battery-trigger", "$LATEST"]
    assert 0 < answer["left"] <= 30_000
    assert "[$LATEST]" in answer["stream"]
    assert answer["there"] == []
    environment = answer["env"]
    assert environment["MINE"] == "1"
    assert environment["AWS_ENDPOINT_URL"] == cloud.endpoint_url
    assert environment["AWS_REGION"] == environment["AWS_DEFAULT_REGION"] == REGION
    assert environment["_HANDLER"] == "app.handler"
    assert environment["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.12"
    assert "AWS_ENDPOINT_URL_S3" not in environment


def test_an_exception_has_its_frames(cloud: Cloud) -> None:
    result = invoke(cloud, "def handler(e, c):\n    raise ValueError('boom')\n")
    payload = result.payload
    assert (payload["errorType"], payload["errorMessage"]) == ("ValueError", "boom")
    assert re.fullmatch(r"[0-9a-f-]{36}", payload["requestId"])
    (frame,) = payload["stackTrace"]
    assert "app.py" in frame
    assert "raise ValueError('boom')" in frame
    assert result.lines[1].startswith("[ERROR] ValueError: boom\nTraceback (most recent call last)")


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
        ("x = 1\ndef handler(:\n", "app.handler", "Runtime.UserCodeSyntaxError",
         "Syntax error in module 'app'"),
        ("raise RuntimeError('at import')", "app.handler", "RuntimeError", "at import"),
    ],
)  # fmt: skip
def test_errors_of_the_runtime(
    cloud: Cloud, code: str, handler: str, kind: str, message: str
) -> None:
    result = invoke(cloud, code, Handler=handler)
    assert result.failed
    assert result.payload["errorType"] == kind
    assert result.payload["errorMessage"].startswith(message)
    assert "lambda_bootstrap" not in "".join(result.payload["stackTrace"])


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys\ndef handler(e, c): sys.exit(0)", "Runtime exited without providing a reason"),
        ("import os\ndef handler(e, c): os._exit(3)", "Runtime exited with error: exit status 3"),
        ("import os\ndef handler(e, c): os.kill(os.getpid(), 9)",
         "Runtime exited with error: signal: killed"),
        ("import sys\nsys.exit(4)", "Runtime exited with error: exit status 4"),
    ],
)  # fmt: skip
def test_a_handler_that_ends_its_process(cloud: Cloud, code: str, message: str) -> None:
    payload = invoke(cloud, code).payload
    assert payload["errorType"] == "Runtime.ExitError"
    assert re.fullmatch(rf"RequestId: [0-9a-f-]{{36}} Error: {message}", payload["errorMessage"])


def test_the_timeout_counts_from_the_handler(cloud: Cloud) -> None:
    slow_import = "import time\ntime.sleep(1.3)\ndef handler(e, c): return 'ok'"
    assert invoke(cloud, slow_import, Timeout=1).payload == "ok"
    result = invoke(
        cloud, "import time\ndef handler(e, c):\n    print('in')\n    time.sleep(60)\n", Timeout=1
    )
    assert result.payload["errorType"] == "Sandbox.Timedout"
    assert result.payload["errorMessage"].endswith("Error: Task timed out after 1.00 seconds")
    assert "in" in result.lines
    assert "Duration: 1000.00 ms" in result.lines[-1]


def test_a_zip_that_is_damaged_is_refused_as_lambda_does(cloud: Cloud) -> None:
    whole = package(app="def handler(e, c): return 1\n" * 50)
    client = cloud.client("lambda")
    wrong = bytearray(whole)
    wrong[60] ^= 0xFF
    for content in (b"not a zip", whole[: len(whole) // 2], bytes(wrong)):
        code, message = error_of(
            client.create_function,
            FunctionName="damaged",
            Role=cloud.role("lambda"),
            Runtime="python3.12",
            Handler="app.handler",
            Code={"ZipFile": content},
        )
        assert code == "InvalidParameterValueException"
        assert message.startswith("Could not unzip uploaded file.")


def test_a_name_of_one_letter_is_a_name(cloud: Cloud) -> None:
    assert invoke(cloud, "def handler(e, c): return c.function_name", name="f").payload == "f"


def test_a_runtime_that_is_not_python(cloud: Cloud) -> None:
    payload = invoke(cloud, "", Runtime="nodejs20.x").payload
    assert "nodejs20.x" in payload["errorMessage"]


def test_a_handler_in_a_package_with_slashes(cloud: Cloud) -> None:
    files = {"src/app": "from src.other import answer\ndef go(e, c): return answer"}
    files |= {"src/other": "answer = 42", "src/__init__": ""}
    assert invoke(cloud, package(**files), Handler="src/app.go").payload == 42
