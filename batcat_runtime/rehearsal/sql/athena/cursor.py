"""A cursor over the tokens of a statement, for the parts that sqlglot does not parse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .failures import QueryFailure, syntax_error
from .parsing import Source

_LEXEMES = re.compile(
    r"""(?P<blank>\s+|--[^\n]*|/\*.*?\*/)
      | (?P<string>'(?:[^']|'')*')
      | (?P<double>"(?:[^"]|"")*")
      | (?P<back>`(?:[^`]|``)*`)
      | (?P<number>\d+(?:\.\d+)?(?![\w]))
      | (?P<word>[\w$]+(?:(?:-[\w$]+)+(?=[\s.(]))?)
      | (?P<sign>.)""",
    re.DOTALL | re.VERBOSE,
)


@dataclass(frozen=True)
class Lexeme:
    """A word, name, literal or sign of a statement, without its quotes."""

    text: str
    kind: str
    start: int
    end: int


class Cursor:
    """Reads a statement token by token.

    Parameters
    ----------
    source : Source
        The statement.
    dialect : str
        ``hive`` for DDL, where backticks quote names, or ``trino``, where double quotes do.
    """

    def __init__(self, source: Source, dialect: str) -> None:
        self.source = source
        self._hive = dialect == "hive"
        self._tokens = list(lexemes(source.text, hive=self._hive))
        self._place = 0

    @property
    def at_end(self) -> bool:
        """Whether all tokens are read."""
        return self._place >= len(self._tokens)

    @property
    def peek(self) -> str:
        """The next token's text in upper case; empty at the end."""
        return "" if self.at_end else self._tokens[self._place].text.upper()

    @property
    def offset(self) -> int:
        """Where the next token begins in the text."""
        return len(self.source.text) if self.at_end else self._tokens[self._place].start

    def accept(self, *words: str) -> bool:
        """Read words if they come next."""
        coming = [token.text.upper() for token in self._tokens[self._place :][: len(words)]]
        if coming == list(words):
            self._place += len(words)
            return True
        return False

    def expect(self, *words: str) -> None:
        """Read words that must come next."""
        if not self.accept(*words):
            raise self.unexpected(" ".join(words))

    def unexpected(self, wanted: str) -> QueryFailure:
        """Return the failure of finding something else than what is wanted."""
        where = self.source.place(self.offset)
        found = "<EOF>" if self.at_end else self._tokens[self._place].text
        return self._failed(where, f"mismatched input '{found}' expecting {wanted}")

    def name(self) -> str:
        """Read one name, quoted or not, in lower case."""
        token = self._next("a name")
        if token.kind not in ("word", "name") or not token.text:
            self._place -= 1
            raise self.unexpected("a name")
        return token.text.lower()

    def names(self) -> list[str]:
        """Read a name of several parts with dots between."""
        parts = [self.name()]
        while self.accept("."):
            parts.append(self.name())
        return [part for one in parts for part in one.split(".")]

    def text(self) -> str:
        """Read a string literal."""
        token = self._next("a string")
        if token.kind != "string":
            self._place -= 1
            raise self.unexpected("a string")
        return token.text

    def value(self) -> Any:
        """Read a property's value: a string, a number, true or false, or ARRAY of strings."""
        if self.accept("ARRAY"):
            self.expect("[")
            values = [self.text()]
            while self.accept(","):
                values.append(self.text())
            self.expect("]")
            return values
        return self._next("a value").text

    def properties(self) -> dict[str, Any]:
        """Read ``(name = value, ...)``; names may be strings, as in TBLPROPERTIES."""
        found: dict[str, Any] = {}
        self.expect("(")
        while True:
            token = self._next("a property")
            name = token.text
            while self.accept("."):
                name += "." + self._next("a property").text
            self.expect("=")
            found[name if token.kind == "string" else name.lower()] = self.value()
            if not self.accept(","):
                break
        self.expect(")")
        return found

    def properties_of_partition(self) -> dict[str, str]:
        """Read ``(name = value, ...)`` of a partition; a value may be a string or a number."""
        return {name: str(value) for name, value in self.properties().items()}

    def group(self) -> tuple[int, int]:
        """Read what stands in parentheses; return where it begins and ends in the text."""
        self.expect("(")
        start, depth = self.offset, 1
        while not self.at_end:
            token = self._tokens[self._place]
            depth += (token.text == "(") - (token.text == ")")
            self._place += 1
            if depth == 0:
                return start, token.start
        raise self.unexpected("')'")

    def type_text(self) -> str:
        """Read a column's type, as far as its brackets go."""
        start = self.offset
        self._next("a type")
        depth = 0
        end = self._tokens[self._place - 1].end
        while not self.at_end:
            token = self._tokens[self._place]
            if token.text in ("<", "("):
                depth += 1
            elif depth == 0:
                break
            elif token.text in (">", ")"):
                depth -= 1
            self._place += 1
            end = token.end
        return self.source.text[start:end]

    def rest(self) -> str:
        """Return the text from here on, moved to where it stands in the statement."""
        return blanked(self.source.text, self.offset, len(self.source.text))

    def finish(self) -> None:
        """Refuse anything that is left."""
        if not self.at_end:
            raise self.unexpected("<EOF>")

    def _next(self, wanted: str) -> Lexeme:
        if self.at_end:
            raise self.unexpected(wanted)
        self._place += 1
        return self._tokens[self._place - 1]

    def _failed(self, where: str, text: str) -> QueryFailure:
        if self._hive:
            place = where.removeprefix("line ")
            return QueryFailure(f"FAILED: ParseException line {place} {text}", type=1006)
        return syntax_error(where, text)


def lexemes(text: str, *, hive: bool) -> Iterator[Lexeme]:
    """Yield what a statement is made of, without blanks and comments.

    Parameters
    ----------
    text : str
        The statement.
    hive : bool
        Whether double quotes make strings, as in Hive's dialect, or names, as in Trino's.
    """
    for match in _LEXEMES.finditer(text):
        kind, found = str(match.lastgroup), match[0]
        if kind == "blank":
            continue
        if kind in ("string", "double", "back"):
            quote = found[0]
            found = found[1:-1].replace(quote * 2, quote)
            kind = "string" if kind == "string" or (kind == "double" and hive) else "name"
        yield Lexeme(found, kind, match.start(), match.end())


def blanked(text: str, start: int, end: int) -> str:
    """Return a part of a text in its own place: all before it is blank, so that lines count."""
    before = "".join("\n" if one == "\n" else " " for one in text[:start])
    return before + text[start:end]
