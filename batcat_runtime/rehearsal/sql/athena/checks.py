"""What Athena refuses and DuckDB would accept: a query that passes here must pass there.

Each check is a function; `examine` runs them in order. They concern syntax that only DuckDB or
another dialect has, functions that Trino lacks, aliases where Trino knows only columns, and
comparisons of different types, above all of a date with a text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from ..tables import Table
from .failures import TYPE_SEMANTIC, QueryFailure, not_found, syntax_error
from .names import FUNCTIONS, KEYWORDS
from .parsing import Source

_COMPARISONS: dict[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
# Types that Trino compares with each other.
_FAMILIES = {
    "tinyint": "number",
    "smallint": "number",
    "int": "number",
    "integer": "number",
    "bigint": "number",
    "float": "number",
    "real": "number",
    "double": "number",
    "decimal": "number",
    "string": "text",
    "varchar": "text",
    "char": "text",
    "date": "moment",
    "timestamp": "moment",
    "boolean": "boolean",
    "binary": "binary",
    "varbinary": "binary",
}


def examine(query: exp.Expr, source: Source, tables: Mapping[str, Table]) -> None:
    """Refuse what Athena would refuse.

    Parameters
    ----------
    query : sqlglot.exp.Expr
        With full names of tables.
    source : Source
        Its text.
    tables : mapping of str to Table
        The tables in it, by full name.

    Raises
    ------
    QueryFailure
        In Athena's words.
    """
    foreign_syntax(query, source)
    unknown_functions(source)
    aliases(query, source, tables)
    comparisons(query, source, tables)


def foreign_syntax(query: exp.Expr, source: Source) -> None:
    """Refuse syntax of other dialects: ``::``, ILIKE, QUALIFY, * EXCEPT."""
    for token in source.tokens:
        if token.token_type == TokenType.DCOLON:
            raise syntax_error(source.place(token.start), "mismatched input ':'")
    for node in query.find_all(exp.ILike, exp.Qualify):
        word = "ILIKE" if isinstance(node, exp.ILike) else "QUALIFY"
        raise syntax_error(source.locate(word), f"mismatched input '{word}'")
    for star in query.find_all(exp.Star):
        if any(star.args.get(name) for name in ("except_", "replace", "rename", "except")):
            raise syntax_error(source.locate("*"), "mismatched input after '*'")


def unknown_functions(source: Source) -> None:
    """Refuse a function that Trino does not have."""
    for token in _called(source.tokens):
        if token.text.lower() not in FUNCTIONS:
            raise not_found(
                "FUNCTION_NOT_FOUND",
                source.place(token.start),
                f"Function '{token.text.lower()}' not registered",
            )


def _called(tokens: list[Token]) -> Iterator[Token]:
    """Yield the tokens that are names before a parenthesis, without those that name columns."""
    for number, token in enumerate(tokens[:-1]):
        if tokens[number + 1].token_type != TokenType.L_PAREN or not token.text.isidentifier():
            continue
        if token.text.upper() in KEYWORDS or token.token_type == TokenType.IDENTIFIER:
            continue
        before = tokens[number - 1] if number else None
        if before is not None:
            # `AS t (a, b)`, `) t (a, b)`, `WITH t (a) AS`, `, t (a) AS (`, `db.t (a)`.
            if before.token_type in (TokenType.ALIAS, TokenType.R_PAREN, TokenType.DOT):
                continue
            if before.text.upper() in ("WITH", "RECURSIVE", "INTO", "ORDINALITY"):
                continue
        close = _closing(tokens, number + 1)
        after = tokens[close + 1] if close + 1 < len(tokens) else None
        if after is not None and after.token_type == TokenType.ALIAS:
            following = tokens[close + 2] if close + 2 < len(tokens) else None
            if following is not None and following.token_type == TokenType.L_PAREN:
                continue
        yield token


def _closing(tokens: list[Token], start: int) -> int:
    depth = 0
    for number in range(start, len(tokens)):
        kind = tokens[number].token_type
        depth += (kind == TokenType.L_PAREN) - (kind == TokenType.R_PAREN)
        if depth == 0:
            return number
    return len(tokens) - 1


def aliases(query: exp.Expr, source: Source, tables: Mapping[str, Table]) -> None:
    """Refuse a column's alias in WHERE, GROUP BY, HAVING and beside it: only ORDER BY may."""
    for select in query.find_all(exp.Select):
        named = {one.alias.lower(): one for one in select.expressions if isinstance(one, exp.Alias)}
        if not named:
            continue
        known = _columns_of(select, query, tables)
        if known is None:
            continue
        places = [select.args.get(name) for name in ("where", "group", "having")]
        for place in [*places, *select.expressions]:
            for column in _own_columns(place, select):
                name = column.name.lower()
                if name in named and not column.table and name not in known:
                    raise not_found(
                        "COLUMN_NOT_FOUND",
                        source.at(column),
                        f"Column '{column.name}' cannot be resolved or requester is not "
                        "authorized to access requested resources",
                    )


def comparisons(query: exp.Expr, source: Source, tables: Mapping[str, Table]) -> None:
    """Refuse to compare types that Trino does not compare, such as a date with a text."""
    for node in query.find_all(*_COMPARISONS, exp.In, exp.Between):
        select = node.find_ancestor(exp.Select)
        if select is None:
            continue
        if isinstance(node, exp.In):
            pairs = [(node.this, one, "=") for one in node.expressions]
        elif isinstance(node, exp.Between):
            pairs = [(node.this, node.args["low"], ">="), (node.this, node.args["high"], "<=")]
        else:
            pairs = [(node.this, node.expression, _COMPARISONS[type(node)])]
        for left, right, operator in pairs:
            first, second = (_type_of(one, select, tables) for one in (left, right))
            if first is None or second is None:
                continue
            families = {_FAMILIES.get(one.partition("(")[0]) for one in (first, second)}
            if None in families or len(families) == 1:
                continue
            where = source.at(node)
            if isinstance(node, exp.In):
                raise QueryFailure(
                    f"TYPE_MISMATCH: {where}: IN value and list items must be the same type: "
                    f"{first}",
                    type=TYPE_SEMANTIC,
                )
            if isinstance(node, exp.Between):
                raise QueryFailure(
                    f"TYPE_MISMATCH: {where}: Cannot check if {first} is BETWEEN "
                    f"{_type_of(node.args['low'], select, tables) or second} and "
                    f"{_type_of(node.args['high'], select, tables) or second}",
                    type=TYPE_SEMANTIC,
                )
            raise QueryFailure(
                f"TYPE_MISMATCH: {where}: Cannot apply operator: {first} {operator} {second}",
                type=TYPE_SEMANTIC,
            )


def _type_of(node: exp.Expr, select: exp.Select, tables: Mapping[str, Table]) -> str | None:
    """Return the Trino type of an expression where it is plain to see."""
    node = node.unnest()
    if isinstance(node, exp.Literal):
        if node.is_string:
            return f"varchar({len(node.this)})"
        text = str(node.this)
        if "e" in text.lower():
            return "double"
        return "decimal" if "." in text else "integer"
    if isinstance(node, exp.Boolean):
        return "boolean"
    if isinstance(node, exp.Neg):
        return _type_of(node.this, select, tables)
    if isinstance(node, exp.Cast):
        kind = node.to.this.value.lower()
        kind = {"text": "varchar", "int": "integer", "float": "real"}.get(kind, kind)
        return "timestamp(3)" if kind in ("timestamp", "timestamptz") else kind
    if isinstance(node, exp.CurrentDate):
        return "date"
    if isinstance(node, exp.Column):
        return _column_type(node, select, tables)
    return None


def _column_type(column: exp.Column, select: exp.Select, tables: Mapping[str, Table]) -> str | None:
    """Return the type of a column of a table that the query reads itself."""
    found = []
    for source in _sources(select):
        if not isinstance(source, exp.Table):
            if not column.table:
                # The column may be that of a subquery.
                return None
            continue
        if column.table and column.table.lower() != source.alias_or_name.lower():
            continue
        table = tables.get(f"{source.catalog}.{source.db}.{source.name}")
        if table is None:
            if not column.table:
                return None
            continue
        found += [one for one in table.all_columns if one.name == column.name.lower()]
    return found[0].type.trino if len(found) == 1 else None


def _sources(select: exp.Select) -> list[exp.Expr]:
    found = []
    start = select.args.get("from_") or select.args.get("from")
    if start is not None:
        found.append(start.this)
    found += [one.this for one in select.args.get("joins") or []]
    return found


def _columns_of(
    select: exp.Select, query: exp.Expr, tables: Mapping[str, Table]
) -> set[str] | None:
    """Return the names of the columns that a SELECT reads from; None if they are not plain."""
    known: set[str] = set()
    for source in _sources(select):
        if isinstance(source, exp.Table):
            table = tables.get(f"{source.catalog}.{source.db}.{source.name}")
            if table is not None:
                known |= {one.name for one in table.all_columns} | {"$path"}
                continue
            ctes = [one for one in query.find_all(exp.CTE) if one.alias == source.name]
            inner: exp.Expr | None = ctes[0].this if len(ctes) == 1 else None
            columns = ctes[0].alias_column_names if len(ctes) == 1 else []
        elif isinstance(source, exp.Subquery):
            inner, columns = source.this, source.alias_column_names
        else:
            return None
        if columns:
            known |= {str(one).lower() for one in columns}
            continue
        if not isinstance(inner, exp.Query):
            return None
        names = [str(one).lower() for one in inner.named_selects]
        if "*" in names or "" in names:
            return None
        known |= set(names)
    return known


def _own_columns(place: exp.Expr | None, select: exp.Select) -> Iterator[exp.Column]:
    """Yield the columns in a part of a SELECT that are its own, not a subquery's or a lambda's."""
    if place is None:
        return
    for column in place.find_all(exp.Column):
        if column.find_ancestor(exp.Lambda):
            continue
        if column.find_ancestor(exp.Select) is select:
            yield column
