"""Reading Redshift's SQL: words, statements, trees.

sqlglot's Redshift dialect reads nearly all of it. Functions whose meaning differs from what sqlglot
assumes are left as plain calls, for `redshift_functions.py` or a macro of the same name
(`redshift_macros.py`) to perform. Statements that are no queries (COPY, UNLOAD, CREATE TABLE with
its distribution and sort keys) are read word by word (`Words`) by their own modules.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.redshift import Redshift
from sqlglot.errors import ParseError, TokenError

from .redshift_words import RedshiftError, syntax_error

_OUR_FUNCTIONS = {
    "DATE_TRUNC",
    "GETDATE",
    "JSON_ARRAY_LENGTH",
    "LISTAGG",
    "NEXT_DAY",
    "REGEXP_COUNT",
    "REGEXP_INSTR",
    "REGEXP_REPLACE",
    "REGEXP_SUBSTR",
    "STRTOL",
    "TO_CHAR",
    "TO_DATE",
    "TO_NUMBER",
    "TO_TIMESTAMP",
    "TRUNC",
}


class Warehouse(Redshift):
    """Redshift's dialect with fewer assumptions about its functions."""

    class Parser(Redshift.Parser):  # type: ignore[misc, valid-type]
        """The parser; calls that we perform ourselves stay calls."""

        FUNCTIONS: ClassVar[Any] = {
            name: build
            for name, build in Redshift.Parser.FUNCTIONS.items()
            if name not in _OUR_FUNCTIONS
        }


DIALECT = Warehouse()


@dataclass(frozen=True)
class Token:
    """A word of a statement.

    Attributes
    ----------
    kind : str
        ``word``, ``name`` (in double quotes), ``string``, ``number`` or ``sign``.
    text : str
        The word; without its quotes, where it has any.
    start, end : int
        Where it stands in the text, in characters; `end` is behind it.
    """

    kind: str
    text: str
    start: int
    end: int


_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*)
    |(?P<string>[eE]?'(?:[^'\\]|\\.|'')*')
    |(?P<dollars>\$\$.*?\$\$)
    |(?P<name>"(?:[^"]|"")*")
    |(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)
    |(?P<word>\#?[^\W\d][\w$]*)
    |(?P<sign>::|[<>!=|]{2}|.)""",
    re.VERBOSE | re.DOTALL,
)


def tokens_of(sql: str) -> list[Token]:
    """Split a text into Redshift's words; white space and comments are dropped.

    Raises
    ------
    RedshiftError
        When a quote or a comment has no end.
    """
    found: list[Token] = []
    at = 0
    while at < len(sql):
        if sql.startswith("/*", at):
            at = _comment_end(sql, at)
            continue
        match = _TOKEN.match(sql, at)
        kind = str(match.lastgroup) if match else "sign"
        text = match.group() if match else sql[at]
        end = at + len(text)
        if kind == "sign" and text in ("'", '"'):
            what = "string" if text == "'" else "identifier"
            raise RedshiftError(
                f'ERROR: unterminated quoted {what} at or near "{sql[at:][:60]}"\n'
                f"  Position: {at + 1};"
            )
        if kind != "space":
            found.append(
                Token("string" if kind == "dollars" else kind, _value(kind, text), at, end)
            )
        at = end
    return found


def _comment_end(sql: str, start: int) -> int:
    depth, at = 0, start
    while at < len(sql):
        if sql.startswith("/*", at):
            depth, at = depth + 1, at + 2
        elif sql.startswith("*/", at):
            depth, at = depth - 1, at + 2
            if depth == 0:
                return at
        else:
            at += 1
    raise RedshiftError(
        f'ERROR: unterminated /* comment at or near "{sql[start:][:60]}"\n  Position: {start + 1};'
    )


def _value(kind: str, text: str) -> str:
    if kind == "string":
        inner = text[text.index("'") + 1 : -1].replace("''", "'")
        return re.sub(r"\\(.)", r"\1", inner, flags=re.DOTALL)
    if kind == "name":
        return text[1:-1].replace('""', '"')
    return text[2:-2] if kind == "dollars" else text


def statements_of(sql: str) -> list[str]:
    """Split a text at its semicolons, those inside quotes and comments aside."""
    parts, start = [], 0
    for token in tokens_of(sql):
        if token.kind == "sign" and token.text == ";":
            parts.append(sql[start : token.start])
            start = token.end
    parts.append(sql[start:])
    return [part for part in parts if tokens_of(part)]


def tree_of(sql: str) -> exp.Expression:
    """Parse one statement.

    Raises
    ------
    RedshiftError
        When it is no SQL, with the word and its position.
    """
    try:
        trees = [tree for tree in DIALECT.parse(sql) if tree is not None]
    except TokenError:
        tokens_of(sql)
        raise
    except ParseError as error:
        raise _parse_failure(sql, error) from error
    if len(trees) != 1:
        raise syntax_error(sql, len(sql))
    tree = trees[0]
    if not isinstance(tree, exp.Expression):
        raise syntax_error(sql, 0)
    return tree


def _parse_failure(sql: str, error: ParseError) -> RedshiftError:
    details = error.errors[0] if error.errors else {}
    line, column = details.get("line"), details.get("col")
    word = str(details.get("highlight") or "")
    if not line or not column:
        return syntax_error(sql, len(sql))
    before = sum(len(one) for one in sql.splitlines(keepends=True)[: line - 1])
    offset = max(before + column - len(word), 0)
    if _ends_early(sql):
        return syntax_error(sql, len(sql))
    return syntax_error(sql, _misspelt_keyword(sql, offset))


def _ends_early(sql: str) -> bool:
    """Tell whether the text would be right if only it went on."""
    for rest in (" x", ")", " x)", "))"):
        try:
            DIALECT.parse(sql + rest)
        except (ParseError, TokenError):
            continue
        return True
    return False


def _misspelt_keyword(sql: str, offset: int) -> int:
    """Move back over a word that was taken for an alias of ``*``, which cannot have one."""
    tokens = tokens_of(sql)
    for before, word, at in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if at.start == offset and before.text == "*":
            return word.start
    return offset


@dataclass
class Words:
    """The words of a statement, read from left to right.

    Parameters
    ----------
    sql : str
        The statement.
    """

    sql: str

    def __post_init__(self) -> None:
        self.tokens = tokens_of(self.sql)
        self.at = 0

    @property
    def done(self) -> bool:
        """Whether all words have been read."""
        return self.at >= len(self.tokens)

    def peek(self, ahead: int = 0) -> str:
        """Return a coming word in capitals, or '' at the end; a literal is never a word."""
        index = self.at + ahead
        if index >= len(self.tokens):
            return ""
        token = self.tokens[index]
        return "" if token.kind in ("string", "name") else token.text.upper()

    def starts(self, *words: str) -> bool:
        """Tell whether these words come next."""
        return all(self.peek(index) == word for index, word in enumerate(words))

    def take(self, *words: str) -> bool:
        """Read these words if they come next."""
        if self.starts(*words):
            self.at += len(words)
            return True
        return False

    def expect(self, *words: str) -> None:
        """Read these words, or fail as Redshift does."""
        for word in words:
            if not self.take(word):
                raise self.error()

    def next(self) -> Token:
        """Read whatever comes next."""
        if self.done:
            raise self.error()
        self.at += 1
        return self.tokens[self.at - 1]

    def text(self) -> str:
        """Read a string literal and return its value."""
        if self.done or self.tokens[self.at].kind != "string":
            raise self.error()
        return self.next().text

    def is_text(self) -> bool:
        """Tell whether a string literal comes next."""
        return not self.done and self.tokens[self.at].kind == "string"

    def number(self) -> int:
        """Read an integer."""
        if self.done or self.tokens[self.at].kind != "number":
            raise self.error()
        return int(self.next().text)

    def name(self) -> str:
        """Read an identifier, folded to lower case as Redshift stores it."""
        if self.done:
            raise self.error()
        token = self.tokens[self.at]
        if token.kind not in ("word", "name"):
            raise self.error()
        self.at += 1
        return token.text.lower()

    def names(self) -> tuple[str, ...]:
        """Read a dotted name."""
        parts = [self.name()]
        while self.take("."):
            parts.append(self.name())
        return tuple(parts)

    def group(self) -> str:
        """Read a parenthesised text and return what stands inside, as written."""
        self.expect("(")
        start, depth = self.at, 1
        while depth:
            word = self.peek()
            self.next()
            depth += (word == "(") - (word == ")")
        if self.at - 1 == start:
            return ""
        return self.sql[self.tokens[start].start : self.tokens[self.at - 2].end]

    def rest(self) -> str:
        """Return what has not been read, as written."""
        return "" if self.done else self.sql[self.tokens[self.at].start :]

    def error(self) -> RedshiftError:
        """Return the syntax error for the word that comes next."""
        if self.done:
            return syntax_error(self.sql, len(self.sql))
        token = self.tokens[self.at]
        return syntax_error(self.sql, token.start, token.text if token.kind == "word" else None)
