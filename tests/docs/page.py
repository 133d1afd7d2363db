"""A page of docs/, carried out: its files written, its commands typed, in order.

What is in a page's fences, and what is done with it:

- ```` ```console ````: each line that begins with ``$ `` is typed in a shell, which stays where the
  line before left it. It must succeed, or fail where the title is "This fails". The lines shown
  below it must be among what it prints, in that order, compared by form (`session.form_of`).
- ```` ```python title="script/cleaning.py" ````, and other files: written into the project. A part
  that the file has already is a quotation, and left alone.
- ```` ```json title="script/config.json" ````: laid over what is there, key by key.

``<Name>`` in a block is what a command before it said in a line ``Name value``.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3

from batcat_runtime.rehearsal import EmbeddedAWS
from tests.docs.session import form_of
from tests.operate.world import container_tool, in_process

_FENCE = re.compile(r'^( *)```(\w+)(?: title="(.*?)")?\n(.*?)^ *```$', re.DOTALL | re.MULTILINE)
# What changes the reader's own machine, asks its owner, or needs an index or GitHub.
_NOT_TYPED = ("pip install ", "aws configure ", "git clone ", "cruft ", "batcat lock")
# What a process of its own would do the same, later.
_IN_PROCESS = re.compile(r"batcat (deploy|data push|run|status|logs|results)[\w ./:-]*")
_NEEDS_NO_AWS = re.compile(r"^(make|cd|mkdir|python|batcat (new|add|rehearse|lock|roles|local)\b)")


@dataclass
class Reader:
    """Somebody who types a page, with an account that is an embedded AWS.

    Attributes
    ----------
    home : pathlib.Path
        An empty folder; the reader starts in it.
    """

    home: Path
    said: dict[str, str] = field(default_factory=dict)
    _aws: EmbeddedAWS | None = None

    def read(self, page: str) -> None:
        """Do what a page says."""
        for indent, kind, title, text in _FENCE.findall(page):
            block = re.sub(r"<(\w+)>", self._value, re.sub(f"(?m)^{indent}", "", text))
            if kind == "console":
                for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                    line, _, shown = part.partition("\n")
                    self._type(line, shown, fails=title == "This fails")
            elif title:
                self._write(self._folder / title, block)

    def close(self) -> None:
        """Stop the account, if it was needed."""
        if self._aws:
            self._aws.stop()

    def _type(self, line: str, shown: str, *, fails: bool) -> None:
        if line.startswith(_NOT_TYPED):
            return
        if not _NEEDS_NO_AWS.match(line):
            _ = self._account
        state = self.home / ".state"
        script = f"""
            batcat() {{ "{sys.executable}" -m batcat_runtime "$@"; }}
            [ -f "{state}" ] && . "{state}"
            {line}
            code=$?
            {{ export -p; printf 'cd %q\\n' "$PWD"; }} > "{state}"
            exit $code"""
        if _IN_PROCESS.fullmatch(line):
            said = io.StringIO()
            code = in_process(line.split()[1:], self._folder, self._environment, said, said)
            self._check(line, shown, fails, code, said.getvalue())
            return
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.home,
            env=self._environment,
            input="\n" * 9,  # the default of every question
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            timeout=180,
            check=False,
        )
        self._check(line, shown, fails, done.returncode, done.stdout)

    def _check(self, line: str, shown: str, fails: bool, code: int, printed: str) -> None:
        assert bool(code) == fails, f"$ {line}\n{printed}"
        rest = iter(form_of(printed).splitlines())
        for expected in form_of(shown).splitlines():
            assert any(expected == found for found in rest), (
                f"$ {line}\nnot printed, or not in this order: {expected}\n{printed}"
            )
        self.said |= dict(re.findall(r"^(\w+)[ \t]+(\S+)$", printed, re.MULTILINE))

    def _write(self, path: Path, text: str) -> None:
        there = path.read_text("utf-8") if path.is_file() else ""
        if path.suffix == ".json" and there:
            text = json.dumps(_laid_over(json.loads(there), json.loads(text)), indent=2)
        elif textwrap.dedent(text).strip() in re.sub(r"(?m)^    ", "", there):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    def _value(self, match: re.Match[str]) -> str:
        return self.said.get(match[1], match[0])

    @property
    def _folder(self) -> Path:
        """Where the reader stands."""
        state = self.home / ".state"
        lines = state.read_text("utf-8").splitlines() if state.is_file() else []
        found = [line.removeprefix("cd ") for line in lines if line.startswith("cd ")]
        return Path(found[-1]) if found else self.home

    @property
    def _environment(self) -> dict[str, str]:
        kept = {name: text for name, text in os.environ.items() if not name.startswith("AWS_")}
        tools = [str(self.home), str(Path(sys.executable).parent), os.environ["PATH"]]
        mine = {"HOME": str(self.home), "XDG_RUNTIME_DIR": "", "COLUMNS": "120"}
        mine |= {"PYTHON": sys.executable, "PYTHONUNBUFFERED": "1", "PATH": os.pathsep.join(tools)}
        return {**kept, **mine, **(self._account if self._aws else {})}

    @cached_property
    def _account(self) -> dict[str, str]:
        """The variables that point at an account with the result bucket."""
        self._aws = aws = EmbeddedAWS(
            region="cn-northwest-1", set_environment=False, enforce_policies=True
        )
        aws.start()
        container_tool.install(self.home)  # the rehearsal's docker, before this machine's
        s3 = boto3.client(
            "s3",
            region_name=aws.region,
            endpoint_url=aws.endpoint_url,
            aws_access_key_id=aws.keys[0],
            aws_secret_access_key=aws.keys[1],
        )
        where = {"LocationConstraint": aws.region}
        s3.create_bucket(Bucket="project-battery-result", CreateBucketConfiguration=where)
        return aws.environment()


def _laid_over(there: Any, change: Any) -> Any:
    """Return JSON with another laid over it: objects key by key, all else as it is given."""
    if isinstance(there, dict) and isinstance(change, dict):
        return there | {key: _laid_over(there.get(key), text) for key, text in change.items()}
    return change
