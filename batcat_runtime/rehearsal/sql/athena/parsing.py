"""The text of a statement: its tokens, where each stands, and what kind of statement it is."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.dialects.trino import Trino
from sqlglot.errors import ParseError, SqlglotError, TokenError
from sqlglot.tokenizer_core import Token, TokenType

from .failures import QueryFailure, syntax_error

# Names of substatements, by how a statement begins. The first that fits counts.
_KINDS = (
    (r"WITH|SELECT|VALUES|TABLE|\(", "DML", "SELECT"),
    (r"CREATE\s+TABLE\b(?=.*\bAS\b\s*(\(|WITH|SELECT|VALUES))", "DDL", "CREATE_TABLE_AS_SELECT"),
    (r"CREATE\s+(EXTERNAL\s+)?TABLE", "DDL", "CREATE_TABLE"),
    (r"CREATE\s+(OR\s+REPLACE\s+)?VIEW", "DDL", "CREATE_VIEW"),
    (r"CREATE\s+(DATABASE|SCHEMA)", "DDL", "CREATE_DATABASE"),
    (r"DROP\s+(DATABASE|SCHEMA)", "DDL", "DROP_DATABASE"),
    (r"DROP\s+TABLE", "DDL", "DROP_TABLE"),
    (r"DROP\s+VIEW", "DDL", "DROP_VIEW"),
    (
        r"ALTER\s+TABLE\s+\S+\s+ADD\s+(IF\s+NOT\s+EXISTS\s+)?PARTITION",
        "DDL",
        "ALTER_TABLE_ADD_PARTITION",
    ),
    (
        r"ALTER\s+TABLE\s+\S+\s+DROP\s+(IF\s+EXISTS\s+)?PARTITION",
        "DDL",
        "ALTER_TABLE_DROP_PARTITION",
    ),
    (r"ALTER\s+TABLE\s+\S+\s+ADD\s+COLUMNS", "DDL", "ALTER_TABLE_ADD_COLUMNS"),
    (r"ALTER\s+TABLE\s+\S+\s+SET\s+TBLPROPERTIES", "DDL", "ALTER_TABLE_SET_TBLPROPERTIES"),
    (r"ALTER\s+TABLE\s+\S+\s+SET\s+LOCATION", "DDL", "ALTER_TABLE_SET_LOCATION"),
    (r"MSCK\s+REPAIR\s+TABLE", "DDL", "MSCK_REPAIR_TABLE"),
    (r"INSERT\s+INTO", "DML", "INSERT"),
    (r"UNLOAD\b", "DML", "UNLOAD"),
    (r"SHOW\s+(DATABASES|SCHEMAS)", "UTILITY", "SHOW_DATABASES"),
    (r"SHOW\s+TABLES", "UTILITY", "SHOW_TABLES"),
    (r"SHOW\s+VIEWS", "UTILITY", "SHOW_VIEWS"),
    (r"SHOW\s+COLUMNS", "UTILITY", "SHOW_COLUMNS"),
    (r"SHOW\s+PARTITIONS", "UTILITY", "SHOW_PARTITIONS"),
    (r"SHOW\s+CREATE\s+TABLE", "UTILITY", "SHOW_CREATE_TABLE"),
    (r"SHOW\s+CREATE\s+VIEW", "UTILITY", "SHOW_CREATE_VIEW"),
    (r"SHOW\s+TBLPROPERTIES", "UTILITY", "SHOW_TBLPROPERTIES"),
    (r"(DESCRIBE|DESC)\b", "UTILITY", "DESCRIBE_TABLE"),
    (r"EXPLAIN\b", "UTILITY", "EXPLAIN"),
    (r"EXECUTE\b", "DML", "EXECUTE"),
    (r"PREPARE\b", "DDL", "PREPARE"),
    (r"DEALLOCATE\b", "DDL", "DEALLOCATE"),
)
# No number of a query begins so.
_MARK = "88888888000000007777777"
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

    def place(self, offset: int) -> str:
        """Return ``line l:c`` of an offset into the text."""
        before = self.text[:offset]
        return f"line {before.count(chr(10)) + 1}:{offset - (before.rfind(chr(10)) + 1) + 1}"

    def at(self, node: exp.Expr) -> str:
        """Return where a node of the parsed text begins."""
        starts = [
            one.meta["start"]
            for one in node.find_all(exp.Identifier)
            if isinstance(one.meta.get("start"), int)
        ]
        return self.place(min(starts)) if starts else self.locate("")

    def locate(self, name: str) -> str:
        """Return where a name first stands; line 1:1 if it does not."""
        wanted = name.lower()
        for token in self.tokens:
            if wanted and token.text.lower() == wanted:
                return self.place(token.start)
        return "line 1:1"


def plain(text: str) -> str:
    """Return a statement without the comments and blanks before it and the semicolon after it."""
    place = 0
    while match := _COMMENT.match(text, place):
        if match.end() == place:
            break
        place = match.end()
    return text[place:].rstrip().rstrip(";").rstrip()


def kind_of(text: str) -> tuple[str, str]:
    """Return StatementType and SubstatementType of a statement.

    Parameters
    ----------
    text : str
        Without comments before it.

    Raises
    ------
    QueryFailure
        When it is no statement of Athena's.
    """
    for pattern, kind, name in _KINDS:
        if re.match(pattern, text, re.IGNORECASE | re.DOTALL):
            return kind, name
    word = text.split(maxsplit=1)[0] if text else "<EOF>"
    raise syntax_error(
        "line 1:1",
        f"mismatched input '{word}'. Expecting: 'ALTER', 'ANALYZE', 'CALL', 'COMMENT', 'COMMIT', "
        "'CREATE', 'DEALLOCATE', 'DELETE', 'DENY', 'DESC', 'DESCRIBE', 'DROP', 'EXECUTE', "
        "'EXPLAIN', 'GRANT', 'INSERT', 'MERGE', 'PREPARE', 'REFRESH', 'RESET', 'REVOKE', "
        "'ROLLBACK', 'SET', 'SHOW', 'START', 'TRUNCATE', 'UPDATE', 'USE', 'WITH', <query>",
    )


def parse_query(source: Source, parameters: list[str]) -> exp.Expr:
    """Parse a query in Trino's dialect, with its parameters in the place of question marks.

    Parameters
    ----------
    source : Source
        A SELECT, or what contains one.
    parameters : list of str
        Execution parameters: SQL literals as text.

    Raises
    ------
    QueryFailure
        When it cannot be parsed, or parameters are missing or too many.
    """
    try:
        tokens = list(sqlglot.tokenize(source.text, dialect="trino"))
        for token in tokens:
            if token.text == "`":
                raise syntax_error(
                    source.place(token.start),
                    "backquoted identifiers are not supported; use double quotes to quote "
                    "identifiers",
                )
        marked = _marked(tokens, parameters)
        found = [one for one in Trino().parser().parse(marked, source.text) if one is not None]
    except ParseError as error:
        raise parse_failure(error) from error
    except SqlglotError as error:
        raise syntax_error("line 1:1", str(error).partition("\n")[0]) from error
    if len(found) != 1:
        raise syntax_error("line 1:1", f"Only one sql statement is allowed. Got: {source.text}")
    query = found[0]
    values = {f"{_MARK}{number}": text for number, text in enumerate(parameters)}
    for node in list(query.find_all(exp.Literal)):
        if node.this in values and not node.is_string:
            node.replace(parameter_value(values[node.this]))
    return query


def _marked(tokens: list[Token], parameters: list[str]) -> list[Token]:
    """Put a number that says which parameter it stands for into the place of each question mark.

    sqlglot does not remember in which order the marks stood in the text.
    """
    marked, count = [], 0
    for token in tokens:
        if token.token_type == TokenType.PLACEHOLDER:
            place = (token.line, token.col, token.start, token.end)
            token = Token(TokenType.NUMBER, f"{_MARK}{count}", *place)
            count += 1
        marked.append(token)
    if count != len(parameters):
        raise QueryFailure(
            f"INVALID_PARAMETER_USAGE: line 1:1: Incorrect number of parameters: expected "
            f"{count} but found {len(parameters)}"
        )
    return marked


def parameter_value(text: str) -> exp.Expr:
    """Parse one execution parameter; it must be a constant.

    Raises
    ------
    QueryFailure
        When it is anything but a constant.
    """
    try:
        value = sqlglot.parse_one(text, dialect="trino")
    except SqlglotError as error:
        raise syntax_error("line 1:1", f"Invalid parameter: {text}") from error
    names = any(value.find_all(exp.Column, exp.Table, exp.Query))
    if names:
        raise QueryFailure(
            "INVALID_PARAMETER_USAGE: line 1:1: Constant expression cannot contain column "
            f"references: {text}"
        )
    return value


def parse_failure(error: ParseError) -> QueryFailure:
    """Return Athena's words for a parser's error."""
    first: dict[str, Any] = error.errors[0] if error.errors else {}
    line, column = first.get("line") or 1, first.get("col") or 1
    near = str(first.get("highlight") or "<EOF>")
    start = max(int(column) - len(near) + 1, 1)
    return syntax_error(f"line {line}:{start}", f"mismatched input '{near}'")
