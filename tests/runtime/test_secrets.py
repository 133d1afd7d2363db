"""Secrets: found, or said why not, and never shown."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import pprint
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

import batcat_runtime as bc
from batcat_runtime.errors import AccessDeniedError, NoSuchSecretError, UserError
from batcat_runtime.io import clients
from batcat_runtime.rehearsal import EmbeddedAWS

CANARY = "cAn4ry-0f-a-s3cret"
CONTENT = {"username": "awsuser", "password": CANARY, "host": "h", "port": 5439}
REGION = "cn-northwest-1"


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedAWS]:
    with EmbeddedAWS(region=REGION, set_environment=False) as aws:
        made = boto3.client(
            "secretsmanager",
            region_name=REGION,
            endpoint_url=aws.endpoint_url,
            aws_access_key_id=aws.keys[0],
            aws_secret_access_key=aws.keys[1],
        )
        made.create_secret(Name="secret/manager", SecretString=json.dumps(CONTENT))
        made.create_secret(Name="text", SecretString=CANARY)
        made.create_secret(Name="list", SecretString=json.dumps([CANARY]))
        made.create_secret(Name="binary", SecretBinary=b"\xff" + CANARY.encode())
        made.create_secret(Name="going", SecretString=CANARY)
        made.delete_secret(SecretId="going")
        yield aws


@pytest.fixture(autouse=True)
def environment(server: EmbeddedAWS, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)


def test_a_secret_is_a_mapping() -> None:
    secret = bc.get_secret("secret/manager", REGION)
    assert dict(secret) == CONTENT
    assert secret["password"] == CANARY
    assert secret.get("nothing") is None
    assert "password" in secret
    assert secret.arn.startswith(f"arn:aws-cn:secretsmanager:{REGION}:")
    assert bc.get_secret(secret.arn) == secret
    with pytest.raises(KeyError):
        secret["pasword"]


def test_other_secrets_than_json_objects() -> None:
    assert bc.get_secret("text").text == CANARY
    assert dict(bc.get_secret("text")) == {}
    assert json.loads(bc.get_secret("list").text) == [CANARY]
    assert bc.get_secret("binary").binary == b"\xff" + CANARY.encode()
    with pytest.raises(UserError, match="'binary' is binary") as caught:
        bc.get_secret("binary").text  # noqa: B018
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("name", ["secret/manager", "text", "list", "binary"])
def test_no_way_of_showing_a_secret_shows_its_values(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    secret = bc.get_secret(name)
    logger = bc.get_logger()
    logger.addHandler(caplog.handler)
    logger.warning("%s %r", secret, secret)
    logger.removeHandler(caplog.handler)
    shown = [str(secret), repr(secret), f"{secret}", f"{secret:>99}", f"{secret!a}", caplog.text]
    shown += [pprint.pformat(secret), pprint.pformat([secret]), repr({"x": secret})]
    assert all(CANARY not in text for text in shown)
    assert all(name in text for text in shown)
    for store in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps):
        with pytest.raises((UserError, TypeError)) as caught:
            store(secret)  # type: ignore[operator]
        assert CANARY not in str(caught.value)


@pytest.mark.parametrize("name", ["nothing", "going"])
def test_a_secret_that_is_not_there(name: str) -> None:
    with pytest.raises(NoSuchSecretError, match=f"'{name}' .* in {REGION}"):
        bc.get_secret(name, REGION)


def test_a_secret_in_another_region() -> None:
    with pytest.raises(NoSuchSecretError, match="in cn-north-1"):
        bc.get_secret("secret/manager", "cn-north-1")


@pytest.mark.parametrize("name", ["", " ", None, 5])
def test_no_name(name: Any) -> None:
    with pytest.raises(UserError, match="name of the secret is empty"):
        bc.get_secret(name)


@pytest.mark.parametrize(
    ("code", "action"),
    [("AccessDeniedException", "secretsmanager:GetSecretValue"), ("DecryptionFailure", "kms:Dec")],
)
def test_what_aws_denies(code: str, action: str) -> None:
    session = boto3.Session(region_name=REGION)
    with Stubber(clients.client("secretsmanager", session, REGION)) as stub:
        stub.add_client_error("get_secret_value", service_error_code=code)
        with pytest.raises(AccessDeniedError, match=action):
            bc.get_secret("secret/manager", REGION, boto3_session=session)


def test_botocores_debug_lines_do_not_hold_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for name in ("botocore", "urllib3", "boto3"):
            logging.getLogger(name).setLevel(logging.DEBUG)
        try:
            secret = bc.get_secret("secret/manager")
            assert secret["password"] == CANARY
            assert CANARY not in caplog.text
            caplog.clear()
            boto3.client("secretsmanager").get_secret_value(SecretId="secret/manager")
            assert CANARY in caplog.text  # what it would be without our care
        finally:
            for name in ("botocore", "urllib3", "boto3"):
                logging.getLogger(name).setLevel(logging.NOTSET)
