"""Who is let in: local clients; and who is not: browsers, rebound names, moto's own doors."""

from __future__ import annotations

import http.client

import boto3
import pytest

from batcat_runtime.rehearsal import EmbeddedAWS
from tests.rehearsal.conftest import REGION, Cloud, error_of


def ask(cloud: Cloud, path: str = "/", method: str = "GET", **headers: str) -> tuple[int, str]:
    port = int(cloud.endpoint_url.rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    host = named.pop("Host", f"127.0.0.1:{port}").replace("PORT", str(port))
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host)
    for name, value in named.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


def signed(key: str, service: str = "s3") -> dict[str, str]:
    scope = f"{key}/20260101/cn-northwest-1/{service}/aws4_request"
    return {"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=x, Signature=x"}


@pytest.mark.parametrize("host", ["127.0.0.1:PORT", "localhost:PORT", "[::1]:PORT"])
def test_loopback_names_are_served(cloud: Cloud, host: str) -> None:
    status, body = ask(cloud, Host=host, **signed(cloud.aws.keys[0]))
    assert status == 200
    assert "ListAllMyBucketsResult" in body


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:PORT",
        "127.0.0.1.evil.example:PORT",
        "localhost.evil.example:PORT",
        "evil.example",
        "127.0.0.1",
        "127.0.0.1:1",
        "127.0.0.1:PORT@evil.example",
        "user@127.0.0.1:PORT",
        "",
    ],
)
def test_other_names_are_refused(cloud: Cloud, host: str) -> None:
    status, body = ask(cloud, Host=host, **signed(cloud.aws.keys[0]))
    assert status == 403
    assert "loopback" in body


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:8888"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "same-origin"},
    ],
)
def test_web_pages_are_refused(cloud: Cloud, headers: dict[str, str]) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        status, body = ask(cloud, method=method, **headers, **signed(cloud.aws.keys[0]))
        assert status == 403
        assert "web page" in body


def test_no_answer_invites_other_origins(cloud: Cloud) -> None:
    port = int(cloud.endpoint_url.rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/", headers=signed(cloud.aws.keys[0]))
    answer = connection.getresponse()
    answer.read()
    assert not [
        name for name, _ in answer.getheaders() if name.lower().startswith("access-control")
    ]
    connection.close()


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/moto-api/", "GET"),
        ("/moto-api/reset", "POST"),
        ("/moto-api/data.json", "GET"),
        ("/latest/meta-data/iam/security-credentials/", "GET"),
        ("/latest/api/token", "PUT"),
    ],
)
def test_motos_own_doors_are_closed(cloud: Cloud, path: str, method: str) -> None:
    assert ask(cloud, path, method)[0] == 403


def test_an_unsigned_request_is_nobodys(cloud: Cloud) -> None:
    """A link or an old browser could send it without Origin."""
    for path in ("/", "/some-bucket/key", "/?Action=ListRoles&Version=2010-05-08"):
        status, body = ask(cloud, path)
        assert status == 403
        assert "AccessDenied" in body


def test_the_servers_identity_is_for_who_knows_its_token(cloud: Cloud) -> None:
    assert ask(cloud, "/_batcat/identity") == (403, "{}")
    assert ask(cloud, "/_batcat/identity", X_Batcat_Token="guessed") == (403, "{}")


@pytest.mark.parametrize(
    ("service", "code"),
    [
        ("s3", "InvalidAccessKeyId"),
        ("iam", "InvalidClientTokenId"),
        ("sts", "InvalidClientTokenId"),
        ("sagemaker", "UnrecognizedClientException"),
        ("lambda", "UnrecognizedClientException"),
        ("codebuild", "UnrecognizedClientException"),
    ],
)
@pytest.mark.parametrize("key", ["testing", "AKIAABCDEFGHIJKLMNOP"])
def test_a_key_that_was_not_given_out_is_refused(
    cloud: Cloud, service: str, code: str, key: str
) -> None:
    client = boto3.client(
        service,
        region_name=REGION,
        endpoint_url=cloud.endpoint_url,
        aws_access_key_id=key,
        aws_secret_access_key="x",
    )
    calls = {"s3": "list_buckets", "iam": "list_roles", "sts": "get_caller_identity"}
    calls |= {"sagemaker": "list_processing_jobs", "lambda": "list_functions"}
    call = getattr(client, calls.get(service, "list_builds"))
    assert error_of(call)[0] == code


def test_keys_of_iam_and_sts_are_let_in_and_each_server_has_its_own(cloud: Cloud) -> None:
    iam = cloud.client("iam")
    iam.create_user(UserName="grace")
    key = iam.create_access_key(UserName="grace")["AccessKey"]["AccessKeyId"]
    role = cloud.role("lambda")
    lent = cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="own")["Credentials"]
    for good in (key, lent["AccessKeyId"], cloud.aws.keys[0]):
        assert ask(cloud, **signed(good))[0] == 200
    assert EmbeddedAWS().keys != cloud.aws.keys
    status, body = ask(cloud)
    assert (status, "AccessDenied" in body) == (403, True)


def test_a_request_with_two_lengths_is_refused(cloud: Cloud) -> None:
    headers = signed(cloud.aws.keys[0]) | {"Content-Length": "4", "Transfer-Encoding": "chunked"}
    assert ask(cloud, "/", "POST", **headers)[0] == 400
