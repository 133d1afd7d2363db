"""Reads a Dockerfile: continuations, comments, heredocs, variables, stages; text in, data out.

Nothing here touches a file system: `build` does what the instructions say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from batcat_runtime.errors import ImageError

# What a base image has, as far as anybody knows.
FIRST_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"}
_EXPANDED = frozenset(
    "ADD ARG COPY ENV EXPOSE FROM LABEL STOPSIGNAL USER VOLUME WORKDIR".split()  # noqa: SIM905
)
_KNOWN = _EXPANDED | frozenset(
    ["RUN", "CMD", "ENTRYPOINT", "SHELL", "HEALTHCHECK", "ONBUILD", "MAINTAINER"]
)
_HEREDOC = re.compile(r"""<<(-?)(["']?)([A-Za-z_][A-Za-z0-9_.]*)\2""")
_CONTINUES = re.compile(r"\\[ \t]*$")
# A quoted part, an escaped character, a variable, or plain text.
_PART = re.compile(
    r"""'([^']*)'|\\(.)|\$\{(\w+)(?:(:?[-+])((?:[^{}]|\$\{[^}]*\})*))?\}|\$(\w+)|(.)""", re.DOTALL
)


@dataclass(frozen=True)
class Instruction:
    """One instruction, with variables expanded.

    Attributes
    ----------
    name : str
        In capitals.
    words : tuple[str, ...]
        Its arguments; for the shell form of RUN, CMD and ENTRYPOINT the whole line as one word.
    is_json : bool
        It was written in JSON (exec) form.
    flags : dict[str, str]
        ``--chown=x`` as ``{"chown": "x"}``.
    documents : dict[str, str]
        Bodies of its heredocs, by name.
    line : int
        Where it starts.
    text : str
        As written, on one line, for messages.
    """

    name: str
    words: tuple[str, ...]
    is_json: bool
    flags: dict[str, str]
    documents: dict[str, str]
    line: int
    text: str


@dataclass
class Stage:
    """From one FROM line to the next.

    Attributes
    ----------
    base : str
        The image or earlier stage that it starts from.
    name : str
        The name after AS; empty without one.
    instructions : list[Instruction]
        What follows the FROM line.
    env : dict[str, str]
        The environment at its end.
    """

    base: str
    name: str = ""
    instructions: list[Instruction] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=lambda: dict(FIRST_ENVIRONMENT))


def parse(text: str, build_args: Mapping[str, str] | None = None) -> list[Stage]:
    """Read a Dockerfile.

    Parameters
    ----------
    text : str
        Its content.
    build_args : Mapping[str, str], optional
        Values of ``--build-arg``, and what docker knows by itself; each takes effect where an ARG
        line names it.

    Returns
    -------
    list of Stage
        In order.

    Raises
    ------
    ImageError
        With the line and docker's words.
    """
    given = dict(build_args or {})
    stages: list[Stage] = []
    before: dict[str, str] = {}
    args: dict[str, str] = {}
    for line, logical, documents in _lines(text):
        is_from = logical.split(None, 1)[0].upper() == "FROM"
        known = before if is_from or not stages else args | stages[-1].env
        step = _instruction(line, logical, documents, known)
        if is_from:
            stages.append(_stage(step, stages))
            args = {}
        elif step.name == "ARG":
            args |= _declared(step, given, before) if stages else {}
            before |= {} if stages else _declared(step, given, {})
        elif not stages:
            raise _error(line, f"no build stage in current context: {logical}")
        elif step.name == "ENV":
            stages[-1].env.update(pairs(step))
        if stages and not is_from:
            stages[-1].instructions.append(step)
    if not stages:
        raise _error(1, "the file has no FROM line")
    return stages


def _declared(
    step: Instruction, given: Mapping[str, str], inherited: Mapping[str, str]
) -> dict[str, str]:
    """Return the values of the names of an ARG line."""
    split = [word.partition("=") for word in step.words]
    values = {name: default for name, equals, default in split if equals}
    bare = [name for name, equals, _ in split if not equals]
    values |= {name: inherited[name] for name in bare if name in inherited}
    return values | {name: given[name] for name, *_ in split if name in given}


def pairs(step: Instruction) -> list[tuple[str, str]]:
    """Return the names and values of an ENV or LABEL instruction, in either of its forms.

    Raises
    ------
    ImageError
        When a name has no value.
    """
    if step.words and "=" not in step.words[0] and len(step.words) >= 2:
        # The old form: everything after the first word is the value.
        return [(step.words[0], " ".join(step.words[1:]))]
    split = [word.partition("=") for word in step.words]
    wrong = next((word for word in step.words if "=" not in word[1:]), None)
    if wrong is not None or not split:
        raise _error(
            step.line, f"{step.name} must have two arguments, or be name=value: {wrong or ''}"
        )
    return [(name, value) for name, _, value in split]


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

    return _PART.sub(lambda m: "" if m[7] == '"' else replaced(m), word)


def _lines(text: str) -> Iterator[tuple[int, str, dict[str, str]]]:
    """Yield line number, logical line and heredoc bodies; comments and empty lines are dropped."""
    lines = iter(enumerate(text.lstrip("\ufeff").splitlines(), start=1))
    for number, line in lines:
        logical = line.strip()
        if not logical or logical.startswith("#"):
            continue
        while _CONTINUES.search(logical):
            logical = _CONTINUES.sub("", logical)
            rest = (s.rstrip() for _, s in lines if s.strip() and not s.lstrip().startswith("#"))
            logical += next(rest, "")
        documents = {}
        if logical.split(None, 1)[0].upper() in ("RUN", "COPY", "ADD"):
            for strips, _, name in _HEREDOC.findall(logical):
                documents[name] = _heredoc(lines, name, bool(strips), number)
        yield number, logical.strip(), documents


def _heredoc(lines: Iterator[tuple[int, str]], name: str, strips: bool, start: int) -> str:
    body: list[str] = []
    for _, line in lines:
        content = line.lstrip("\t") if strips else line
        if content == name:
            return "".join(f"{part}\n" for part in body)
        body.append(content)
    raise _error(start, f"unterminated heredoc {name}")


def _instruction(
    line: int, logical: str, documents: dict[str, str], known: Mapping[str, str]
) -> Instruction:
    first, *others = logical.split(None, 1)
    name, rest = first.upper(), others[0] if others else ""
    if name not in _KNOWN:
        raise _error(line, f"unknown instruction: {name}")
    flags: dict[str, str] = {}
    while name != "MAINTAINER" and (match := re.match(r"--([a-z-]+)(?:=(\S*))?(?:\s+|$)", rest)):
        flags[match[1]] = expand(match[2] or "true", known)
        rest = rest[match.end() :]
    words = _json_words(rest)
    is_json = words is not None
    if name in _EXPANDED:
        raw = words if words is not None else _split(rest, line)
        values = [(expand(word, known), word) for word in raw]
        # A variable that is empty leaves no word behind, unless it stands in quotes.
        words = tuple(value for value, word in values if value or "'" in word or '"' in word)
    return Instruction(name, words or (rest,), is_json, flags, documents, line, logical)


def _json_words(rest: str) -> tuple[str, ...] | None:
    try:
        words = json.loads(rest) if rest.startswith("[") else None
    except ValueError:
        return None
    # Docker, too, falls back to the shell form when it is not a list of strings.
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        return tuple(words)
    return None


def _split(rest: str, line: int) -> list[str]:
    """Split at white space outside quotes and braces; quotes stay, `expand` takes them off."""
    words = re.findall(r"""(?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|\$\{[^}]*\}|[^\s"'])+""", rest)
    if "".join(words) != re.sub(r"""("(?:\\.|[^"\\])*"|'[^']*'|\\.|\$\{[^}]*\})|\s""", r"\1", rest):
        raise _error(line, f"unexpected end of statement while looking for a quote: {rest}")
    return words


def _stage(step: Instruction, earlier: list[Stage]) -> Stage:
    words = step.words
    if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
        raise _error(step.line, "FROM requires either one or three arguments")
    stage = Stage(words[0], words[2].lower() if len(words) == 3 else "")
    for index, other in enumerate(earlier):
        if stage.base.lower() in (other.name, str(index)):
            stage.env = dict(other.env)
    return stage


def _error(line: int, message: str) -> ImageError:
    return ImageError(f"dockerfile parse error on line {line}: {message}")
