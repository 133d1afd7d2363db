"""Redshift by the Data API and a secret: which warehouse, time, interrupts, refusals."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys

import pytest
from botocore.stub import Stubber

import batcat_runtime as bc
from batcat_runtime.errors import (
    NoSuchSecretError,
    QueryError,
    QueryTimeoutError,
    ResultTooLargeError,
    ThrottledError,
    UserError,
)
from batcat_runtime.io.clients import client

from .conftest import until
from .embedded import CLUSTER, PASSWORD, REGION, SECRET, WORKGROUP, Warehouse


def test_what_cannot_be_unloaded_comes_all_the_same(
    aws: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    logger = bc.get_logger()
    logger.addHandler(caplog.handler)
    found = aws.read("SELECT 1 AS a, 2 AS a", **aws.unloading())
    logger.removeHandler(caplog.handler)
    assert list(found.columns) == ["a", "a.1"]
    assert "cannot UNLOAD" in caplog.text
    assert aws.staged() == []


def test_a_secret_says_which_warehouse_it_is_for(aws: Warehouse) -> None:
    host = f"{WORKGROUP}.123456789012.{REGION}.redshift-serverless.amazonaws.com.cn"
    aws.keep("by-host", host=f"{CLUSTER}.abc123.{REGION}.redshift.amazonaws.com.cn")
    aws.keep("by-serverless-host", host=host)
    aws.keep("bare")
    query = "SELECT current_database() AS d"
    for name in ("by-host", "by-serverless-host"):
        found = bc.read_data_from_redshift_by_secret(name, REGION, query)
        assert found["d"].tolist() == ["dev"]
    with pytest.raises(UserError, match="names neither a cluster nor a workgroup") as caught:
        bc.read_data_from_redshift_by_secret("bare", REGION, query)
    assert PASSWORD not in str(caught.value)
    for target in ({"cluster_identifier": CLUSTER}, {"workgroup_name": WORKGROUP}):
        found = bc.read_data_from_redshift_by_secret("bare", REGION, query, **target)
        assert found["d"].tolist() == ["dev"]
    with pytest.raises(UserError, match="Both a cluster and a workgroup"):
        aws.read(query, cluster_identifier=CLUSTER, workgroup_name=WORKGROUP)


def test_a_secret_that_is_not_there(aws: Warehouse) -> None:
    with pytest.raises(NoSuchSecretError, match="'nothing'"):
        bc.read_data_from_redshift_by_secret("nothing", REGION, "SELECT 1")


def _slow(aws: Warehouse, plus: int) -> str:
    aws.read("CREATE TABLE IF NOT EXISTS numbers (n int)")
    aws.read(f"INSERT INTO numbers VALUES {', '.join(f'({n})' for n in range(1000))}")
    return f"SELECT count(*) + {plus} FROM numbers a, numbers b, numbers c, numbers d"


def test_a_statement_that_takes_too_long_is_cancelled(aws: Warehouse) -> None:
    slow = _slow(aws, 1)
    with pytest.raises(QueryTimeoutError, match=r"longer than 0\.5 s"):
        aws.read(slow, timeout=0.5)
    until(lambda: aws.status_of(slow) == "ABORTED")


def test_an_interrupt_cancels_the_statement(aws: Warehouse) -> None:
    slow = _slow(aws, 2)
    script = "import sys; import batcat_runtime as bc;"
    script += f"bc.read_data_from_redshift_by_secret({SECRET!r}, {REGION!r}, sys.argv[1])"
    child = subprocess.Popen(
        [sys.executable, "-c", script, slow], stderr=subprocess.PIPE, text=True, env=os.environ
    )
    until(lambda: aws.status_of(slow) == "STARTED")
    os.kill(child.pid, signal.SIGINT)
    _, said = child.communicate(timeout=30)
    assert "KeyboardInterrupt" in said
    assert PASSWORD not in said
    until(lambda: aws.status_of(slow) == "ABORTED")


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("ERROR: Query result is too large: it exceeds 100 MB", ResultTooLargeError),
        ('ERROR: relation "x" does not exist', QueryError),
        ("ActiveStatementsExceededException", ThrottledError),
    ],
)
def test_what_redshift_says_becomes_a_typed_error(
    aws: Warehouse, said: str, kind: type[Exception]
) -> None:
    session = aws.session()
    with Stubber(client("redshift-data", session, REGION)) as stub:
        if kind is ThrottledError:
            stub.add_client_error("execute_statement", service_error_code=said)
        else:
            stub.add_response("execute_statement", {"Id": "i"})
            answer = {"Id": "i", "Status": "FAILED", "Error": said}
            stub.add_response("describe_statement", answer)
        with pytest.raises(kind) as caught:
            aws.read("SELECT 1", boto3_session=session)
    assert type(caught.value) is kind


def test_no_password_is_shown_anywhere(aws: Warehouse, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("botocore").setLevel(logging.DEBUG)
    try:
        with caplog.at_level(logging.DEBUG):
            aws.read("SELECT 1")
            with pytest.raises(QueryError):
                aws.read("SELECT x FROM nowhere")
    finally:
        logging.getLogger("botocore").setLevel(logging.NOTSET)
    assert "ExecuteStatement" in caplog.text
    assert PASSWORD not in caplog.text
    assert PASSWORD not in aws.aws.log_path.read_text()
