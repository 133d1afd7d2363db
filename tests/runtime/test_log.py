"""One line an event, once, in UTC."""

from __future__ import annotations

import subprocess
import sys


def test_lines_go_to_standard_error_once() -> None:
    code = """
import batcat_runtime as bc, logging
logging.basicConfig()
for _ in range(3):
    log = bc.get_logger("usage-analysis")
log.info("hello %d", 1)
log.debug("not shown")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].endswith("Z INFO usage-analysis: hello 1")
