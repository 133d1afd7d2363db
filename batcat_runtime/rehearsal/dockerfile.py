"""Reads a Dockerfile: continuations, comments, heredocs, variables, stages; text in, data out.

Stages: logical lines (`_lines`), then one `Instruction` a line with its flags and words, then
`parse` walks them, keeps the variables of each stage and expands them where docker does. Nothing
here touches a file system: `image_build` does what the instructions say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from batcat_runtime.errors import ImageError

_EXPANDED = frozenset(
    {"ADD", "ARG", "COPY", "ENV", "EXPOSE", "FROM", "LABEL", "STOPSIGNAL", "USER", "VOLUME"}
    | {"WORKDIR"}
)
_KNOWN = _EXPANDED | frozenset(
    ["RUN", "CMD", "ENTRYPOINT", "SHELL", "HEALTHCHECK", "ONBUILD", "MAINTAINER"]
)
_HEREDOC = re.compile(r"""<<(-?)(["']?)([A-Za-z_][A-Za-z0-9_.]*)\2""")
_DIRECTIVE = re.compile(r"#\s*([A-Za-z]+)\s*=\s*(.+?)\s*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


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
        What follows the FROM line, ARG included.
    """

    base: str
    name: str = ""
    instructions: list[Instruction] = field(default_factory=list)


@dataclass(frozen=True)
class Dockerfile:
    """A whole Dockerfile.

    Attributes
    ----------
    stages : list[Stage]
        In order; the last one is the image unless another is asked for.
    unused_arguments : list[str]
        Names given with ``--build-arg`` that no ARG line takes.
    """

    stages: list[Stage]
    unused_arguments: list[str]


def parse(
    text: str,
    build_args: Mapping[str, str] | None = None,
    *,
    predefined: Mapping[str, str] | None = None,
) -> Dockerfile:
    """Read a Dockerfile.

    Parameters
    ----------
    text : str
        Its content.
    build_args : Mapping[str, str], optional
        Values of ``--build-arg``; each takes effect where an ARG line names it.
    predefined : Mapping[str, str], optional
        Arguments that docker knows by itself, ``TARGETPLATFORM`` for one.

    Raises
    ------
    ImageError
        With the line and docker's words.
    """
    given = {**(predefined or {}), **(build_args or {})}
    stages: list[Stage] = []
    global_args = dict(predefined or {})
    args: dict[str, str] = {}
    env: dict[str, str] = {}
    envs: dict[str, dict[str, str]] = {}
    used: set[str] = set()
    escape = _escape_character(text)
    for line, logical, documents in _lines(text, escape):
        is_from = logical.split(None, 1)[0].upper() == "FROM"
        known = global_args if is_from or not stages else {**args, **env}
        step = _instruction(line, logical, documents, known, escape)
        if is_from:
            stages.append(_stage(step))
            args, env = {}, dict(envs.get(stages[-1].base.lower(), {}))
            envs[str(len(stages) - 1)] = env
            if stages[-1].name:
                envs[stages[-1].name] = env
            continue
        if step.name == "ARG":
            declared = args if stages else global_args
            used |= _declare(step, declared, given, global_args if stages else {})
        elif not stages:
            raise _error(line, f"no build stage in current context: {logical}")
        elif step.name == "ENV":
            env.update(pairs(step))
        if stages:
            stages[-1].instructions.append(step)
    if not stages:
        raise _error(1, "the file has no FROM line")
    return Dockerfile(stages, sorted(set(build_args or {}) - used))


def _declare(
    step: Instruction,
    declared: dict[str, str],
    given: Mapping[str, str],
    inherited: Mapping[str, str],
) -> set[str]:
    """Give the names of an ARG line their values, and return the names."""
    names = set()
    for word in step.words:
        name, has_default, default = word.partition("=")
        names.add(name)
        if name in given:
            declared[name] = given[name]
        elif has_default:
            declared[name] = default
        elif name in inherited:
            declared[name] = inherited[name]
    return names


def pairs(step: Instruction) -> list[tuple[str, str]]:
    """Return the names and values of an ENV or LABEL instruction, in either of its forms.

    Raises
    ------
    ImageError
        When a name has no value.
    """
    first = step.words[0] if step.words else ""
    if "=" not in first and len(step.words) >= 2:
        # The old form: everything after the first word is the value.
        return [(first, " ".join(step.words[1:]))]
    found = []
    for word in step.words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise _error(
                step.line, f"{step.name} must have two arguments, or be name=value: {word}"
            )
        found.append((name, value))
    if not found:
        raise _error(step.line, f"{step.name} requires at least one argument")
    return found


def expand(word: str, variables: Mapping[str, str], *, line: int = 0, escape: str = "\\") -> str:
    r"""Take quotes off a word and replace ``$x``, ``${x}``, ``${x:-y}``, ``${x:+y}``, ``${x:?y}``.

    An unknown variable is empty. Single quotes and ``\$`` keep a dollar sign, as in docker.
    """
    result, index, quote = "", 0, ""
    while index < len(word):
        character = word[index]
        if character in "'\"" and quote in ("", character):
            quote, index = ("" if quote else character), index + 1
        elif character == escape and quote != "'" and index + 1 < len(word):
            kept = escape if quote and word[index + 1] not in f'"${escape}' else ""
            result, index = result + kept + word[index + 1], index + 2
        elif character == "$" and quote != "'":
            value, index = _variable(word, index + 1, variables, line, escape)
            result += value
        else:
            result, index = result + character, index + 1
    return result


# ---------------------------------------------------------------- lines


def _escape_character(text: str) -> str:
    for line in text.splitlines():
        match = _DIRECTIVE.fullmatch(line.strip())
        if not match:
            break
        if match[1].lower() == "escape":
            return match[2]
    return "\\"


def _lines(text: str, escape: str) -> Iterator[tuple[int, str, dict[str, str]]]:
    """Yield line number, logical line and heredoc bodies; comments and empty lines are dropped."""
    lines = iter(enumerate(text.lstrip("\ufeff").splitlines(), start=1))
    continues = re.compile(re.escape(escape) + r"[ \t]*$")
    for number, line in lines:
        logical = line.strip()
        if not logical or logical.startswith("#"):
            continue
        while continues.search(logical):
            logical = continues.sub("", logical)
            following = next(((n, s) for n, s in lines if not _is_dropped(s)), None)
            if following is None:
                break
            logical += following[1].rstrip()
        documents = {}
        if logical.split(None, 1)[0].upper() in ("RUN", "COPY", "ADD"):
            for strips, _, name in _HEREDOC.findall(logical):
                documents[name] = _heredoc(lines, name, bool(strips), number)
        yield number, logical.strip(), documents


def _is_dropped(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _heredoc(lines: Iterator[tuple[int, str]], name: str, strips: bool, start: int) -> str:
    body: list[str] = []
    for _, line in lines:
        content = line.lstrip("\t") if strips else line
        if content == name:
            return "".join(f"{part}\n" for part in body)
        body.append(content)
    raise _error(start, f"unterminated heredoc {name}")


def _instruction(
    line: int, logical: str, documents: dict[str, str], known: Mapping[str, str], escape: str
) -> Instruction:
    name, _, rest = logical.partition(" ")
    name, tab, after = name.partition("\t")
    name, rest = name.upper(), f"{after}{' ' if tab else ''}{rest}".strip()
    if name not in _KNOWN:
        raise _error(line, f"unknown instruction: {name}")
    flags: dict[str, str] = {}
    while name != "MAINTAINER" and (match := re.match(r"--([a-z-]+)(?:=(\S*))?(?:\s+|$)", rest)):
        flags[match[1]] = expand(match[2] or "true", known, line=line, escape=escape)
        rest = rest[match.end() :]
    words = _json_words(rest)
    is_json = words is not None
    if words is not None and name in _EXPANDED:
        words = tuple(expand(word, known, line=line, escape=escape) for word in words)
    elif words is None and name in _EXPANDED:
        raw = _split(rest, line, escape)
        expanded = [(expand(word, known, line=line, escape=escape), word) for word in raw]
        # A variable that is empty leaves no word behind, unless it stands in quotes.
        words = tuple(value for value, word in expanded if value or "'" in word or '"' in word)
    return Instruction(name, words or (rest,), is_json, flags, documents, line, logical)


def _json_words(rest: str) -> tuple[str, ...] | None:
    if not rest.startswith("["):
        return None
    try:
        words = json.loads(rest)
    except ValueError:
        return None
    # Docker, too, falls back to the shell form when it is not a list of strings.
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        return tuple(words)
    return None


def _split(rest: str, line: int, escape: str) -> list[str]:
    """Split at white space outside quotes and braces; quotes stay, `expand` takes them off."""
    words: list[str] = []
    word, quote, depth, escaped = "", "", 0, False
    for character in rest:
        if not quote and depth == 0 and character.isspace() and not escaped:
            words, word = ([*words, word] if word else words), ""
            continue
        word += character
        if escaped:
            escaped = False
        elif character == escape and quote != "'":
            escaped = True
        elif character in "'\"" and quote in ("", character):
            quote = "" if quote else character
        elif character == "{" and word.endswith("${"):
            depth += 1
        elif character == "}" and depth:
            depth -= 1
    if quote:
        raise _error(line, f"unexpected end of statement while looking for a quote: {rest}")
    return [*words, word] if word else words


def _stage(step: Instruction) -> Stage:
    words = step.words
    if len(words) == 1:
        return Stage(words[0])
    if len(words) == 3 and words[1].upper() == "AS":
        return Stage(words[0], words[2].lower())
    raise _error(step.line, "FROM requires either one or three arguments")


# ---------------------------------------------------------------- variables


def _variable(
    word: str, index: int, variables: Mapping[str, str], line: int, escape: str
) -> tuple[str, int]:
    """Return the value of the variable after a dollar sign, and the index behind it."""
    if word[index : index + 1] != "{":
        match = _VARIABLE.match(word, index)
        return (variables.get(match[0], ""), match.end()) if match else ("$", index)
    match = _VARIABLE.match(word, index + 1)
    end = _closing_brace(word, index)
    if not match or end < 0:
        raise _error(line, f"missing or bad ${{...}} in {word!r}")
    value = variables.get(match[0])
    form = re.fullmatch(r"(:?)([-+?])(.*)", word[match.end() : end], re.DOTALL)
    if match.end() == end:
        return value or "", end + 1
    if not form:
        raise _error(line, f"unsupported modifier in substitution: {word[index - 1 : end + 1]}")
    is_set = value is not None and (value != "" or not form[1])
    other = expand(form[3], variables, line=line, escape=escape)
    if form[2] == "?" and not is_set:
        raise _error(line, f"{match[0]}: {other or 'not set'}")
    if form[2] == "+":
        return (other if is_set else ""), end + 1
    return (value or "" if is_set else other), end + 1


def _closing_brace(word: str, index: int) -> int:
    depth = 0
    for position in range(index, len(word)):
        depth += {"{": 1, "}": -1}.get(word[position], 0)
        if depth == 0:
            return position
    return -1


def _error(line: int, message: str) -> ImageError:
    return ImageError(f"dockerfile parse error on line {line}: {message}")
