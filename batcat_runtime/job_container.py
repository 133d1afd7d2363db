"""The container's entry point: run a job script, and make sure that SageMaker hears how it ended.

The script is a child process. Its output passes through; its last lines become SageMaker's exit
message (``/opt/ml/output/message``); a script that ends well but left no result has failed, which
SageMaker itself would not notice.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from batcat_runtime.job import MANIFESTS, NO_RESULT, ml_root
from batcat_runtime.log import exception_in

_MESSAGE_BYTES = 1024  # SageMaker's limit for ExitMessage
_LAST_LINES = 200
# What `faulthandler` writes of where a script stood, the innermost call first.
_FRAME = re.compile(r'  File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<name>.+)')


def run_script(script: str, arguments: list[str]) -> int:
    """Run a job script as a child process and check that it left a result.

    Returns
    -------
    int
        The exit code: the script's own, 128 + n if signal n ended it, 1 if it left no result.
    """
    root = ml_root()
    lines: deque[str] = deque(maxlen=_LAST_LINES)
    if root is None:
        lines.append("This is no processing container: there is no /opt/ml/processing.")
        return _fail(None, lines, 2)
    if not Path(script).is_file():
        lines.append(f"The image holds no script {script}: check `script` in script/config.json.")
        return _fail(root, lines, 2)
    child = subprocess.Popen(
        [sys.executable, "-u", script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    signal.signal(signal.SIGTERM, lambda number, frame: child.send_signal(number))
    assert child.stdout is not None
    for raw in child.stdout:
        sys.stdout.buffer.write(raw)
        sys.stdout.buffer.flush()
        lines.append(raw.decode("utf-8", "replace").rstrip())
    code = child.wait()
    if code < 0:
        # It could not remove its unfinished result itself, and SageMaker uploads what is there.
        for unfinished in (root / "processing" / "output").glob(".batcat-*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        ended = f"The script was ended by signal {-code} ({signal.Signals(-code).name})"
        lines.append(f"{ended}{_where(script, lines)}.")
        print(lines[-1], file=sys.stderr, flush=True)
        return _fail(root, lines, 128 - code)
    if code > 0:
        return _fail(root, lines, code)
    if not any((root / "processing" / "output").rglob(MANIFESTS)):
        lines.append(NO_RESULT)
        print(lines[-1], file=sys.stderr, flush=True)
        return _fail(root, lines, 1)
    return 0


def _where(script: str, lines: Iterable[str]) -> str:
    """Return where a script that was stopped stood: in itself rather than in what it called."""
    frames = [found for line in lines if (found := _FRAME.fullmatch(line))]
    own = [frame for frame in frames if Path(frame["file"]).name == Path(script).name]
    if not frames:
        return ""
    frame = (own or frames)[0]
    return f" at {Path(frame['file']).name}, line {frame['line']} in {frame['name']}"


def _fail(root: Path | None, lines: deque[str], code: int) -> int:
    """Leave the last lines as SageMaker's exit message: the exception's first, then the end."""
    exception = exception_in(lines)
    first = f"{exception}\n".encode()[: _MESSAGE_BYTES // 2] if exception else b""
    end = "\n".join(list(lines)[-20:]).encode()
    if first and end.endswith(first.rstrip()):
        first = b""
    room = _MESSAGE_BYTES - len(first)
    text = (first + end[-room:]).decode("utf-8", "ignore").strip()
    if root is None:
        print(text, file=sys.stderr)
        return code
    folder = root / "output"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "message").write_text(text, encoding="utf-8")
    return code
