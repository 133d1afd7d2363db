"""UNLOAD: Redshift writes a result to S3 itself, as Parquet, from all its nodes at once."""

from __future__ import annotations

import re

from batcat_runtime.errors import UserError
from batcat_runtime.io.parameters import redshift_literal
from batcat_runtime.io.query import is_ordered, is_select
from batcat_runtime.io.staging import split_uri

DATA = "data/"
_ROLE = re.compile(r"arn:aws[a-z0-9-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+|default", re.ASCII)


def check_role(iam_role: str) -> str:
    """Return a role if it is one that Redshift can be given.

    Raises
    ------
    UserError
        It is no ARN of a role, nor ``default``.
    """
    for one in iam_role.split(","):  # a chain of roles
        if not _ROLE.fullmatch(one):
            raise UserError(
                f"iam_role={iam_role!r} is no role.",
                fix="Give the ARN of a role that the cluster has, for example "
                "'arn:aws-cn:iam::123456789012:role/redshift-s3', or 'default'.",
            )
    return iam_role


def wants_unload(query: str, iam_role: str | None, s3_staging_dir: str | None) -> bool:
    """Whether a result goes by UNLOAD: a SELECT, with a role and a staging place given.

    Raises
    ------
    UserError
        One of the two is missing or wrong.
    """
    if not iam_role and not s3_staging_dir:
        return False
    if not iam_role or not s3_staging_dir:
        missing = "s3_staging_dir" if iam_role else "iam_role"
        raise UserError(
            f"UNLOAD needs iam_role and s3_staging_dir; {missing} is missing.",
            fix=f"Give {missing} too, or neither.",
        )
    check_role(iam_role)
    split_uri(s3_staging_dir, "s3_staging_dir")
    return is_select(query, "redshift")


def unload_sql(query: str, uri: str, iam_role: str) -> str:
    """Return the statement that writes a query's result below a prefix.

    An ordered result is written by one writer, so that the files, in the order of their names, have
    that order; any other one by as many as the cluster has slices.

    Examples
    --------
    >>> print(unload_sql("SELECT 'a'", "s3://bucket/x/", "default"))
    UNLOAD ('SELECT ''a''') TO 's3://bucket/x/data/' IAM_ROLE default FORMAT AS PARQUET
    """
    role = "default" if iam_role == "default" else redshift_literal(check_role(iam_role))
    serial = " PARALLEL OFF" if is_ordered(query, "redshift") else ""
    return (
        f"UNLOAD ({redshift_literal(query)}) TO {redshift_literal(uri + DATA)} "
        f"IAM_ROLE {role} FORMAT AS PARQUET{serial}"
    )


def schema_sql(query: str) -> str:
    """Return a statement that has a query's columns and no rows.

    UNLOAD writes nothing where there are no rows.
    """
    return f"SELECT * FROM (\n{query}\n) AS batcat LIMIT 0"
