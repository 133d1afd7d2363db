"""IAM's decision as a function: policies, a need, a reason."""

from __future__ import annotations

from typing import Any

import pytest

from batcat_runtime.rehearsal.access.conditions import holds
from batcat_runtime.rehearsal.access.evaluation import Need, decide

OBJECT = "arn:aws-cn:s3:::land/raw/usage.csv"


def allow(action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {**allow(action, resource, **more), "Effect": "Deny"}


def reason(*statements: dict[str, Any], need: Need | None = None, **more: Any) -> str:
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    return decide([document], need or Need("s3:GetObject", OBJECT), **more).reason


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ([], "implicit"),
        ([allow("s3:GetObject")], "allowed"),
        ([allow("S3:getobject")], "allowed"),
        ([allow("s3:Get*")], "allowed"),
        ([allow("s3:GetObjec?")], "allowed"),
        ([allow("s3:PutObject")], "implicit"),
        ([allow(["s3:PutObject", "s3:GetObject"])], "allowed"),
        ([allow("s3:GetObject", "arn:aws-cn:s3:::land/raw/*")], "allowed"),
        ([allow("s3:GetObject", "arn:aws-cn:s3:::land/Raw/*")], "implicit"),
        ([allow("s3:GetObject", "arn:aws:s3:::land/raw/*")], "implicit"),
        ([allow("s3:GetObject", ["arn:aws-cn:s3:::a/*", "arn:aws-cn:s3:::land/*"])], "allowed"),
        ([{"Effect": "Allow", "NotAction": "s3:Put*", "Resource": "*"}], "allowed"),
        ([{"Effect": "Allow", "NotAction": "s3:Get*", "Resource": "*"}], "implicit"),
        ([{"Effect": "Allow", "Action": "s3:*", "NotResource": "arn:aws-cn:s3:::a/*"}], "allowed"),
        ([{"Effect": "Allow", "Action": "s3:*", "NotResource": OBJECT}], "implicit"),
        ([allow("s3:*"), deny("s3:GetObject", "arn:aws-cn:s3:::land/raw/*")], "explicit"),
        ([allow("s3:*"), deny("s3:GetObject", "arn:aws-cn:s3:::other/*")], "allowed"),
    ],
)
def test_statements(statements: list[dict[str, Any]], expected: str) -> None:
    assert reason(*statements) == expected


def test_one_statement_may_stand_without_a_list() -> None:
    document = {"Version": "2012-10-17", "Statement": allow("s3:GetObject")}
    assert decide([document], Need("s3:GetObject", OBJECT)).allowed


def test_a_boundary_limits_and_grants_nothing() -> None:
    wide = {"Version": "2012-10-17", "Statement": [allow("s3:*")]}
    narrow = {"Version": "2012-10-17", "Statement": [allow("s3:PutObject")]}
    need = Need("s3:GetObject", OBJECT)
    assert decide([wide], need, boundary=narrow).reason == "boundary"
    assert decide([wide], need, boundary=wide).reason == "allowed"
    assert decide([], need, boundary=wide).reason == "implicit"


def test_an_unknown_resource_is_allowed_by_any_and_denied_by_none() -> None:
    unknown = Need("athena:GetQueryExecution", "")
    assert reason(allow("athena:*", "arn:aws:athena:a:1:workgroup/x"), need=unknown) == "allowed"
    statements = (allow("athena:*"), deny("athena:*", "arn:aws:athena:a:1:workgroup/x"))
    assert reason(*statements, need=unknown) == "allowed"


def test_policy_variables_are_filled_in() -> None:
    home = allow("s3:GetObject", "arn:aws-cn:s3:::land/${aws:username}/*")
    mine = Need("s3:GetObject", "arn:aws-cn:s3:::land/ada/x")
    assert reason(home, need=mine, context={"aws:username": "ada"}) == "allowed"
    assert reason(home, need=mine, context={"aws:username": "eve"}) == "implicit"
    assert reason(home, need=mine) == "implicit", "a variable without a value matches nothing"


@pytest.mark.parametrize(
    ("condition", "context", "expected"),
    [
        ({"StringEquals": {"a:b": "x"}}, {"a:b": "x"}, True),
        ({"StringEquals": {"A:B": "x"}}, {"a:b": "x"}, True),
        ({"StringEquals": {"a:b": ["y", "x"]}}, {"a:b": "x"}, True),
        ({"StringEquals": {"a:b": "X"}}, {"a:b": "x"}, False),
        ({"StringEqualsIgnoreCase": {"a:b": "X"}}, {"a:b": "x"}, True),
        ({"StringEquals": {"a:b": "x"}}, {}, False),
        ({"StringEqualsIfExists": {"a:b": "x"}}, {}, True),
        ({"StringNotEquals": {"a:b": "x"}}, {"a:b": "y"}, True),
        ({"StringNotEquals": {"a:b": ["x", "y"]}}, {"a:b": "y"}, False),
        ({"StringNotEquals": {"a:b": "x"}}, {}, True),
        ({"StringLike": {"a:b": "/aws/*"}}, {"a:b": "/aws/x"}, True),
        ({"StringNotLike": {"a:b": "/aws/*"}}, {"a:b": "/aws/x"}, False),
        ({"ArnLike": {"a:b": "arn:aws:s:r:1:x/*"}}, {"a:b": "arn:aws:s:r:1:x/y"}, True),
        ({"ArnLike": {"a:b": "arn:aws:*:x/y"}}, {"a:b": "arn:aws:s:r:1:x/y"}, False),
        ({"Bool": {"a:b": "true"}}, {"a:b": "true"}, True),
        ({"Bool": {"a:b": "false"}}, {"a:b": "true"}, False),
        ({"Null": {"a:b": "true"}}, {}, True),
        ({"Null": {"a:b": "true"}}, {"a:b": "x"}, False),
        ({"NumericLessThanEquals": {"a:b": "10"}}, {"a:b": "9"}, True),
        ({"NumericGreaterThan": {"a:b": "10"}}, {"a:b": "9"}, False),
        ({"DateLessThan": {"a:b": "2030-01-01T00:00:00Z"}}, {"a:b": "2026-01-01"}, True),
        ({"IpAddress": {"a:b": "10.0.0.0/8"}}, {"a:b": "10.1.2.3"}, True),
        ({"NotIpAddress": {"a:b": "10.0.0.0/8"}}, {"a:b": "10.1.2.3"}, False),
        ({"ForAnyValue:StringEquals": {"a:b": ["x"]}}, {"a:b": ["y", "x"]}, True),
        ({"ForAnyValue:StringEquals": {"a:b": ["x"]}}, {}, False),
        ({"ForAllValues:StringEquals": {"a:b": ["x", "y"]}}, {"a:b": ["y", "x"]}, True),
        ({"ForAllValues:StringEquals": {"a:b": ["x"]}}, {"a:b": ["y", "x"]}, False),
        ({"ForAllValues:StringEquals": {"a:b": ["x"]}}, {}, True),
        ({"StringEquals": {"a:b": "x", "c:d": "z"}}, {"a:b": "x", "c:d": "y"}, False),
    ],
)
def test_conditions(condition: Any, context: Any, expected: bool) -> None:
    assert holds(condition, context) is expected


def test_an_operator_that_iam_does_not_have_is_an_error() -> None:
    with pytest.raises(ValueError, match="StringIs"):
        holds({"StringIs": {"a:b": "x"}}, {"a:b": "x"})
