"""Record the demo as the README's picture: `python docs/record.py`, after a change of its output.

The real output of `batcat rehearse`, in its colours, as an SVG that loads no font from elsewhere.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

WIDTH = 108
PICTURE = Path(__file__).parent / "images" / "demo.svg"


def main() -> None:
    """Make the demo's project, rehearse it, and write the picture."""
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    with tempfile.TemporaryDirectory() as home:
        project = Path(home) / "project_battery"
        _batcat(home, "new", "--no-input", "--example", "battery")
        for line in ("batcat new --example battery", "cd project_battery"):
            console.print(f"[bold green]$[/] {line}", highlight=False)
        console.print("[bold green]$[/] batcat rehearse", highlight=False)
        shown = _batcat(project, "rehearse").replace(f"{project}/", "")
        console.print(Text.from_ansi(shown.rstrip()))
    form = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    form = form.replace("font-family: Fira Code,", "font-family: ui-monospace, Menlo, Consolas,")
    svg = console.export_svg(title="batcat", code_format=form, unique_id="demo")
    PICTURE.write_text(re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE), "utf-8")


def _batcat(folder: str | Path, *arguments: str) -> str:
    """Run `batcat` in a folder; return its standard output, with its colours."""
    colours = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(WIDTH)}
    done = subprocess.run(
        [sys.executable, "-m", "batcat_runtime", *arguments],
        cwd=folder,
        env=colours,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        check=True,
    )
    return done.stdout


if __name__ == "__main__":
    main()
