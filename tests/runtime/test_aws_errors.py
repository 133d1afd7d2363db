"""What AWS refuses becomes one typed error, with what to do; botocore's Stubber plays AWS."""

from __future__ import annotations

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from batcat_runtime.errors import (
    AccessDeniedError,
    BatcatError,
    CredentialsError,
    NoSuchObjectError,
    ThrottledError,
)
from batcat_runtime.io.aws_errors import translated

PLACE = "s3://2022-rnd-battery/usage"


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        ("NoSuchKey", NoSuchObjectError, "does not exist"),
        ("NoSuchBucket", NoSuchObjectError, "The bucket of s3://"),
        ("AccessDenied", AccessDeniedError, "needs s3:GetObject"),
        ("ExpiredToken", CredentialsError, "Renew them"),
        ("SignatureDoesNotMatch", CredentialsError, "Renew them"),
        ("RequestTimeTooSkewed", CredentialsError, "its clock is wrong"),
        ("SlowDown", ThrottledError, "SlowDown: said AWS"),
    ],
)
def test_each_refusal_has_its_class(code: str, kind: type[BatcatError], said: str) -> None:
    client = boto3.client(
        "s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="canary"
    )
    with Stubber(client) as stub:
        stub.add_client_error("get_object", service_error_code=code, service_message="said AWS")
        with pytest.raises(kind) as caught, translated(PLACE, "s3:GetObject"):
            client.get_object(Bucket="2022-rnd-battery", Key="usage")
    assert said in str(caught.value)
    assert PLACE in str(caught.value)
    assert "canary" not in str(caught.value)
    assert isinstance(caught.value.__cause__, ClientError)


def test_no_credentials_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    client = boto3.Session(region_name="us-east-1").client("s3")
    with (
        pytest.raises(CredentialsError, match="aws sso login"),
        translated(PLACE, "s3:GetObject"),
    ):
        client.get_object(Bucket="2022-rnd-battery", Key="usage")
