"""The text of a statement: where things stand in it, what kind it is, and its parameters."""

from __future__ import annotations

import re
from functools import cached_property

import sqlglot
from sqlglot import exp
from sqlglot.dialects.athena import Athena
from sqlglot.errors import ParseError, SqlglotError, TokenError
from sqlglot.tokenizer_core import Token, TokenType

from .failures import QueryFailure

# StatementType and SubstatementType, by how a statement begins. The first that fits counts.
_KINDS = (
    (r"WITH|SELECT|VALUES|TABLE|\(", "DML", "SELECT"),
    (r"CREATE\s+TABLE\b(?=.*\bAS\b\s*(\(|WITH|SELECT|VALUES))", "DDL", "CREATE_TABLE_AS_SELECT"),
    (r"CREATE\s+(OR\s+REPLACE\s+)?VIEW", "DDL", "CREATE_VIEW"),
    (r"DROP\s+TABLE", "DDL", "DROP_TABLE"),
    (r"DROP\s+VIEW", "DDL", "DROP_VIEW"),
    (r"MSCK\s+REPAIR\s+TABLE", "DDL", "MSCK_REPAIR_TABLE"),
    (r"INSERT\s+INTO", "DML", "INSERT"),
    (r"UNLOAD\b", "DML", "UNLOAD"),
    (r"SHOW\s+(DATABASES|SCHEMAS)", "UTILITY", "SHOW_DATABASES"),
    (r"SHOW\s+TABLES", "UTILITY", "SHOW_TABLES"),
    (r"SHOW\s+PARTITIONS", "UTILITY", "SHOW_PARTITIONS"),
    (r"(DESCRIBE|DESC)\b", "UTILITY", "DESCRIBE_TABLE"),
)
_NOT_PERFORMED = (
    *(
        "ALTER",
        "CALL",
        "CREATE",
        "DEALLOCATE",
        "DELETE",
        "DROP",
        "EXECUTE",
        "EXPLAIN",
        "MERGE",
        "OPTIMIZE",
    ),
    *("PREPARE", "SHOW", "UPDATE", "VACUUM"),
)
_COMMENT = re.compile(r"\s+|--[^\n]*(?:\n|$)|/\*.*?\*/", re.DOTALL)


class Source:
    """The text of a statement, with what is needed to say where in it something stands.

    Parameters
    ----------
    text : str
        The statement.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def tokens(self) -> list[Token]:
        """The text's tokens; none when it has no valid ones."""
        try:
            return list(sqlglot.tokenize(self.text, dialect="trino"))
        except TokenError:
            return []

    def part(self, start: int, end: int | None = None) -> Source:
        """Return a part in its own place: all before it is blank, so that lines count."""
        before = re.sub(r"[^\n]", " ", self.text[:start])
        return Source(before + self.text[start:end])

    def place(self, offset: int) -> str:
        """Return ``line l:c`` of an offset into the text."""
        before = self.text[:offset]
        return f"line {before.count(chr(10)) + 1}:{offset - before.rfind(chr(10))}"

    def at(self, node: exp.Expr) -> str:
        """Return where a node of the parsed text begins."""
        names = [one.meta for one in node.find_all(exp.Identifier) if "start" in one.meta]
        return self.place(min((one["start"] for one in names), default=0))

    def locate(self, name: str) -> str:
        """Return where a word first stands; line 1:1 if it does not."""
        found = (token.start for token in self.tokens if token.text.lower() == name.lower())
        return self.place(next(found, 0))

    def query(self) -> exp.Query:
        """Parse the text as a query.

        Raises
        ------
        QueryFailure
            In Athena's words.
        """
        for token in self.tokens:
            if token.text == "`":
                raise syntax_error(
                    self.place(token.start),
                    "backquoted identifiers are not supported; use double quotes to quote "
                    "identifiers",
                )
        return as_query(self.statement())

    def statement(self) -> exp.Expr:
        """Parse the text as any one statement; what sqlglot does not know is a `Command`."""
        for token in self.tokens:
            if token.token_type == TokenType.DCOLON:
                raise syntax_error(self.place(token.start), "mismatched input ':'")
        try:
            found = [one for one in Athena().parse(self.text) if one is not None]
        except ParseError as error:
            first = error.errors[0] if error.errors else {}
            near = str(first.get("highlight") or "<EOF>")
            column = max(int(first.get("col") or 1) - len(near) + 1, 1)
            raise syntax_error(
                f"line {first.get('line') or 1}:{column}", f"mismatched input '{near}'"
            ) from error
        except SqlglotError as error:
            raise syntax_error("line 1:1", str(error).partition("\n")[0]) from error
        if len(found) != 1:
            raise syntax_error("line 1:1", "Only one sql statement is allowed")
        return found[0]


def as_query(node: exp.Expr | None) -> exp.Query:
    """Return a parsed statement as a query, VALUES as one that selects from them."""
    if isinstance(node, exp.Values):
        return exp.select("*").from_(node.copy())
    if not isinstance(node, exp.Query):
        raise syntax_error("line 1:1", "mismatched input. Expecting: <query>")
    return node


def syntax_error(where: str, text: str) -> QueryFailure:
    """Return the failure of a statement that cannot be parsed."""
    return QueryFailure(f"SYNTAX_ERROR: {where}: {text}")


def plain(text: str) -> str:
    """Return a statement without the comments and blanks before it and the semicolon after it."""
    start = 0
    while match := _COMMENT.match(text, start):
        start = match.end()
    return text[start:].rstrip().rstrip(";").rstrip()


def kind_of(text: str) -> tuple[str, str]:
    """Return StatementType and SubstatementType of a statement without comments before it.

    Raises
    ------
    QueryFailure
        When it is no statement of Athena's that is served here.
    """
    for pattern, kind, name in _KINDS:
        if re.match(pattern, text, re.IGNORECASE | re.DOTALL):
            return kind, name
    word = text.split(maxsplit=1)[0] if text else "<EOF>"
    if word.upper() in _NOT_PERFORMED:
        said = " ".join(text.split()[:3])
        raise QueryFailure(
            f"NOT_SUPPORTED: The embedded AWS does not perform '{said} ...'. Make tables and "
            "databases by Glue's API (wr.catalog, rehearsal.tables) or by CREATE TABLE ... AS."
        )
    raise syntax_error("line 1:1", f"mismatched input '{word}'. Expecting: <statement>")


def refuse_several(text: str) -> None:
    """Refuse a text with more than one statement."""
    if any(token.token_type == TokenType.SEMICOLON for token in Source(text).tokens):
        raise QueryFailure(f"Only one sql statement is allowed. Got: {text}")


def with_parameters(text: str, parameters: list[str]) -> str:
    """Put constants into the place of a statement's question marks.

    Parameters
    ----------
    text : str
        The statement.
    parameters : list of str
        SQL literals, in the order of the question marks.

    Raises
    ------
    QueryFailure
        When they are too few or too many, or one is anything but a constant.
    """
    tokens = Source(text).tokens
    marks = [one.start for one in tokens if one.token_type == TokenType.PLACEHOLDER]
    if len(marks) != len(parameters):
        raise QueryFailure(
            "INVALID_PARAMETER_USAGE: line 1:1: Incorrect number of parameters: expected "
            f"{len(marks)} but found {len(parameters)}"
        )
    for start, value in reversed(list(zip(marks, parameters, strict=True))):
        text = text[:start] + _constant(value) + text[start + 1 :]
    return text


def _constant(text: str) -> str:
    try:
        value = sqlglot.parse_one(text, dialect="trino")
    except SqlglotError as error:
        raise syntax_error("line 1:1", f"Invalid parameter: {text}") from error
    if value.find(exp.Column, exp.Table, exp.Query):
        raise QueryFailure(
            "INVALID_PARAMETER_USAGE: line 1:1: Constant expression cannot contain column "
            f"references: {text}"
        )
    return value.sql("trino")
