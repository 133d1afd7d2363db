"""From Trino's dialect to DuckDB's: what sqlglot leaves different is rewritten here first.

`translate` changes a parsed query where the two engines mean different things by the same words.
The names of functions that begin with ``batcat_`` are the macros of `functions.sql`.
"""

from __future__ import annotations

from sqlglot import exp

from .rewrites import REWRITES, call

UNNAMED = "batcat_unnamed_"


def translate(query: exp.Expr, *, maps: bool = False) -> exp.Expr:
    """Return a query in which DuckDB computes what Trino would.

    Parameters
    ----------
    query : sqlglot.exp.Expr
        Parsed from Athena's dialect; it is not changed.
    maps : bool, default False
        What ``UNNEST(x) AS t (a, b)`` unnests: a map; or, by default, an array of rows. Only DuckDB
        knows the type of x, so the caller tries.
    """
    copy = query.copy()
    for one in list(copy.find_all(exp.Try)):
        for cast in list(one.find_all(exp.Cast)):
            if type(cast) is exp.Cast:
                cast.replace(exp.TryCast(**{k: v for k, v in cast.args.items() if v is not None}))
    for unnest in list(copy.find_all(exp.Unnest)):
        unnest.replace(_unnested(unnest, maps))
    name_columns(copy)
    # From the leaves up, since a rewritten node may hold others.
    for node in reversed(list(copy.walk(bfs=True))):
        rewrite = REWRITES.get(type(node))
        if rewrite is None:
            continue
        changed = rewrite(node)
        if changed is not node:
            if node is copy:
                copy = changed
            else:
                node.replace(changed)
    return copy


def name_columns(query: exp.Expr) -> None:
    """Give the columns that have no name a mark, by which `output_name` knows them."""
    for select in query.find_all(exp.Select):
        for place, one in enumerate(select.expressions):
            named = isinstance(one, exp.Alias | exp.Column | exp.Star | exp.Dot | exp.Aliases)
            if not named:
                select.expressions[place].replace(
                    exp.alias_(one.copy(), f"{UNNAMED}{place}", quoted=True)
                )


def output_name(name: str, place: int) -> str:
    """Return the name of a result's column as Athena has it.

    Parameters
    ----------
    name : str
        As DuckDB has it.
    place : int
        Its place in the result, from 0.
    """
    return f"_col{place}" if name.startswith(UNNAMED) else name


def to_duckdb(query: exp.Expr) -> str:
    """Return a translated query as DuckDB's SQL."""
    return query.sql("duckdb")


def _unnested(node: exp.Unnest, maps: bool) -> exp.Expr:
    """Rewrite UNNEST to a lateral subquery, where DuckDB can unnest several things at once."""
    alias = node.args.get("alias")
    offset = node.args.get("offset")
    arrays = [one.copy() for one in node.expressions]
    names = list(alias.columns) if alias else []
    if isinstance(offset, exp.Identifier) and len(names) <= len(arrays):
        names.append(offset)
    values: list[exp.Expr] = []
    if len(arrays) == 1 and len(names) - bool(offset) > 1:
        deep = call("map_entries", arrays[0]) if maps else arrays[0]
        depth = exp.PropertyEQ(
            this=exp.to_identifier("max_depth"), expression=exp.Literal.number(2)
        )
        values.append(call("unnest", deep, depth))
    else:
        values += [call("unnest", one) for one in arrays]
    if offset:
        longest = [call("len", one) for one in arrays]
        last = longest[0] if len(longest) == 1 else call("greatest", *longest)
        one = exp.Literal.number(1)
        values.append(call("unnest", call("range", one, exp.Add(this=last, expression=one.copy()))))
    inner = exp.Select(expressions=values).subquery(copy=False)
    named = exp.TableAlias(
        this=alias.this if alias and alias.this else exp.to_identifier("batcat_unnested"),
        columns=[exp.to_identifier(one.name, quoted=True) for one in names],
    )
    return exp.Lateral(this=inner, alias=named)
