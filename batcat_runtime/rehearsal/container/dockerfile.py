"""Reads a Dockerfile: continuations, comments, heredocs, quotes, variables; text in, data out.

Nothing here touches a file system: `build` does what the instructions say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from batcat_runtime.errors import ImageError

_KNOWN = (
    *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL"),
    *("MAINTAINER", "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"),
)
_HEREDOC = re.compile(r"""<<(-?)["']?([A-Za-z_]\w*)["']?""")
_CONTINUES = re.compile(r"\\[ \t]*$")
_WORD = re.compile(r"""(?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|\$\{[^}]*\}|[^\s"'])+""")
# A quoted part, an escaped character, a variable, or plain text.
_PART = re.compile(
    r"""'([^']*)'|\\(.)|\$\{(\w+)(?:(:?[-+])((?:[^{}]|\$\{[^}]*\})*))?\}|\$(\w+)|(.)""", re.DOTALL
)


@dataclass(frozen=True)
class Instruction:
    """One instruction, its variables not yet replaced.

    Attributes
    ----------
    name : str
        In capitals.
    rest : str
        What follows the name and its flags.
    flags : dict[str, str]
        ``--chown=x`` as ``{"chown": "x"}``.
    document : str
        The bodies of its heredocs.
    line : int
        Where it starts.
    text : str
        As written, on one line, for messages.
    """

    name: str
    rest: str
    flags: dict[str, str]
    document: str
    line: int
    text: str

    def words(self, variables: Mapping[str, str]) -> list[str]:
        """Return the arguments, in either form, with variables replaced.

        Raises
        ------
        ImageError
            When a quote is not closed.
        """
        raw = self.json_words()
        if raw is None:
            raw = _WORD.findall(self.rest)
            if _WORD.sub("", self.rest).strip():
                raise self.error(
                    f"unexpected end of statement while looking for a quote: {self.rest}"
                )
        expanded = [(expand(word, variables), word) for word in raw]
        # A variable that is empty leaves no word behind, unless it stands in quotes.
        return [value for value, word in expanded if value or "'" in word or '"' in word]

    def json_words(self) -> list[str] | None:
        """Return the words of the JSON (exec) form; None when it is the other one."""
        try:
            words = json.loads(self.rest) if self.rest.startswith("[") else None
        except ValueError:
            return None
        # Docker, too, falls back to the shell form when it is not a list of strings.
        whole = isinstance(words, list) and all(isinstance(word, str) for word in words)
        return words if whole else None

    def pairs(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return the names and values of an ENV line, in either of its forms.

        Raises
        ------
        ImageError
            When a name has no value.
        """
        words = self.words(variables)
        if len(words) >= 2 and "=" not in words[0]:
            # The old form: everything after the first word is the value.
            return {words[0]: " ".join(words[1:])}
        wrong = next((word for word in words if "=" not in word[1:]), None)
        if wrong is not None or not words:
            raise self.error(f"{self.name} must have two arguments, or be name=value: {wrong}")
        return {name: value for name, _, value in (word.partition("=") for word in words)}

    def error(self, message: str) -> ImageError:
        """Return an error in docker's words, with the line."""
        return ImageError(f"dockerfile parse error on line {self.line}: {message}")


def parse(text: str) -> list[Instruction]:
    """Read a Dockerfile.

    Raises
    ------
    ImageError
        With the line and docker's words.
    """
    lines = iter(enumerate(text.lstrip("\ufeff").splitlines(), start=1))
    return [_instruction(*found) for found in _logical_lines(lines)]


def expand(word: str, variables: Mapping[str, str]) -> str:
    r"""Take quotes off a word and replace ``$x``, ``${x}``, ``${x:-y}`` and ``${x:+y}``.

    An unknown variable is empty. Single quotes and ``\$`` keep a dollar sign, as in docker.
    """

    def replaced(match: re.Match[str]) -> str:
        quoted, escaped, name, form, other, short, plain = match.groups()
        if name is None:
            texts = (quoted, escaped, variables.get(short, "") if short else None, plain)
            return next((text for text in texts if text is not None), "")
        value = variables.get(name, "")
        is_set = bool(value) if form and form.startswith(":") else name in variables
        if form and form.endswith("+"):
            return expand(other, variables) if is_set else ""
        return value if is_set or not form else expand(other, variables)

    return _PART.sub(lambda match: "" if match[7] == '"' else replaced(match), word)


def _logical_lines(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str, str]]:
    """Yield line number, logical line and heredoc bodies, without comments and empty lines."""
    for number, line in lines:
        logical = line.strip()
        if not logical or logical.startswith("#"):
            continue
        while _CONTINUES.search(logical):
            rest = (s.rstrip() for _, s in lines if s.strip() and not s.lstrip().startswith("#"))
            logical = _CONTINUES.sub("", logical) + next(rest, "")
        document = ""
        if logical.split()[0].upper() in ("RUN", "COPY", "ADD"):
            for strips, end in _HEREDOC.findall(logical):
                for _, content in lines:
                    if (content.lstrip("\t") if strips else content) == end:
                        break
                    document += f"{content}\n"
                else:
                    raise ImageError(
                        f"dockerfile parse error on line {number}: unterminated heredoc {end}"
                    )
        yield number, logical.strip(), document


def _instruction(line: int, logical: str, document: str) -> Instruction:
    first, _, rest = logical.partition(" ")
    name, rest, flags = first.strip().upper(), rest.strip(), {}
    if name not in _KNOWN:
        raise ImageError(
            f"dockerfile parse error on line {line}: unknown instruction: {name}",
            fix="The instructions are " + ", ".join(_KNOWN) + ".",
        )
    while match := re.match(r"--([a-z-]+)(?:=(\S*))?(?:\s+|$)", rest):
        flags[match[1]] = match[2] or "true"
        rest = rest[match.end() :]
    return Instruction(name, rest, flags, document, line, logical)
