"""A session of STS ends when STS said so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from batcat_runtime.rehearsal.access.sessions import Sessions
from tests.rehearsal.conftest import Cloud
from tests.rehearsal.test_access import Role, allow


def test_a_session_ends_when_sts_said(cloud: Cloud) -> None:
    role = Role(cloud, "lambda", allow("*"))
    keys: dict[str, Any] = cloud.client("sts").assume_role(
        RoleArn=role.arn, RoleSessionName="me", DurationSeconds=900
    )["Credentials"]
    left = keys["Expiration"] - datetime.now(UTC)
    assert timedelta(seconds=880) < left <= timedelta(seconds=900)
    soon, past = datetime.now(UTC) + timedelta(minutes=1), datetime.now(UTC)
    for end, expected in ((soon, False), (past, True), (None, False)):
        sessions = Sessions(lambda key: None, lambda one: ([], None), lambda key, end=end: end)
        assert sessions.expired("ASIAIOSFODNN7EXAMPLE") is expected
