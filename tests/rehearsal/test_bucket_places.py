"""S3 serves a bucket in its own region and to its own account, as AWS does."""

from __future__ import annotations

import json
import uuid
from typing import Any

import boto3
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.httpsession import URLLib3Session

from tests.rehearsal.conftest import Cloud, error_of

STRANGER = "210987654321"


def answer(cloud: Cloud, method: str, path: str, region: str) -> Any:
    """Return the answer to one signed request, which nothing follows to another region."""
    request = AWSRequest(method, f"{cloud.endpoint_url}{path}")
    S3SigV4Auth(Credentials(*cloud.aws.keys[:2]), "s3", region).add_auth(request)
    return URLLib3Session().send(request.prepare())


def stranger(cloud: Cloud, region: str) -> Any:
    """Return an S3 client of another account."""
    role = f"arn:{cloud.partition(region)}:iam::{STRANGER}:role/other"
    given = cloud.client("sts", region).assume_role(RoleArn=role, RoleSessionName="other")
    keys = given["Credentials"]
    return boto3.Session().client(
        "s3",
        region_name=region,
        endpoint_url=cloud.endpoint_url,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )


def foreign_bucket(cloud: Cloud, region: str) -> str:
    """Return a bucket that another account has made."""
    name = f"foreign-{uuid.uuid4().hex[:12]}"
    place = {"CreateBucketConfiguration": {"LocationConstraint": region}}
    stranger(cloud, region).create_bucket(Bucket=name, **({} if region == "us-east-1" else place))
    return name


@pytest.mark.parametrize(
    ("there", "here"), [("cn-northwest-1", "cn-north-1"), ("us-east-1", "eu-west-1")]
)
def test_another_regions_endpoint_names_the_buckets_own(
    cloud: Cloud, there: str, here: str
) -> None:
    bucket = cloud.bucket(there)
    head = answer(cloud, "HEAD", f"/{bucket}", here)
    assert (head.status_code, head.headers["x-amz-bucket-region"]) == (301, there)
    listed = answer(cloud, "GET", f"/{bucket}?list-type=2", here)
    assert (listed.status_code, listed.headers["x-amz-bucket-region"]) == (301, there)
    assert "<Code>PermanentRedirect</Code>" in listed.text
    assert f"<Endpoint>{bucket}.s3.{there}.amazonaws.com" in listed.text


def test_the_global_endpoint_finds_the_signature_wrong(cloud: Cloud) -> None:
    bucket = cloud.bucket("eu-west-1")
    read = answer(cloud, "GET", f"/{bucket}/key", "us-east-1")
    assert read.status_code == 400
    assert "<Code>AuthorizationHeaderMalformed</Code>" in read.text
    assert "<Region>eu-west-1</Region>" in read.text
    assert answer(cloud, "GET", f"/{bucket}?location", "us-east-1").status_code == 200


@pytest.mark.parametrize(
    ("there", "here"), [("cn-northwest-1", "cn-north-1"), ("eu-west-1", "us-east-1")]
)
def test_boto3_follows_by_itself(cloud: Cloud, there: str, here: str) -> None:
    bucket = cloud.bucket(there, key="content")
    s3 = cloud.client("s3", here)
    assert s3.head_bucket(Bucket=bucket)["BucketRegion"] == there
    assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == b"content"


def test_partitions_have_separate_buckets(cloud: Cloud) -> None:
    bucket = cloud.bucket("cn-northwest-1")
    code, _ = error_of(cloud.client("s3", "eu-west-1").list_objects_v2, Bucket=bucket)
    assert code == "NoSuchBucket"
    assert error_of(cloud.client("s3", "eu-west-1").head_bucket, Bucket=bucket)[0] == "404"


def test_a_bucket_is_made_where_its_constraint_says(cloud: Cloud) -> None:
    s3 = cloud.client("s3", "cn-northwest-1")
    elsewhere = {"LocationConstraint": "cn-north-1"}
    for given in ({}, {"CreateBucketConfiguration": elsewhere}):
        code, _ = error_of(s3.create_bucket, Bucket=f"test-{uuid.uuid4().hex[:12]}", **given)
        assert code == "IllegalLocationConstraintException"


@pytest.mark.parametrize("region", ["cn-northwest-1", "us-east-1"])
def test_an_expected_owner_must_be_the_owner(cloud: Cloud, region: str) -> None:
    bucket, s3 = cloud.bucket(region, key="content"), cloud.client("s3", region)
    assert s3.head_bucket(Bucket=bucket, ExpectedBucketOwner=cloud.aws.account_id)
    assert error_of(s3.head_bucket, Bucket=bucket, ExpectedBucketOwner=STRANGER)[0] == "403"
    code, message = error_of(s3.get_object, Bucket=bucket, Key="key", ExpectedBucketOwner=STRANGER)
    assert (code, message) == ("AccessDenied", "Access Denied")


@pytest.mark.parametrize("region", ["cn-northwest-1", "us-east-1"])
def test_another_accounts_bucket_is_closed_to_us(cloud: Cloud, region: str) -> None:
    bucket, s3 = foreign_bucket(cloud, region), cloud.client("s3", region)
    assert error_of(s3.head_bucket, Bucket=bucket)[0] == "403"
    assert error_of(s3.list_objects_v2, Bucket=bucket) == ("AccessDenied", "Access Denied")
    assert error_of(s3.put_object, Bucket=bucket, Key="k", Body=b"1")[0] == "AccessDenied"
    place = {"CreateBucketConfiguration": {"LocationConstraint": region}}
    made = error_of(s3.create_bucket, Bucket=bucket, **({} if region == "us-east-1" else place))
    assert made[0] == "BucketAlreadyExists"
    assert stranger(cloud, region).head_bucket(Bucket=bucket)


def test_its_policy_may_let_us_in(cloud: Cloud) -> None:
    region = "cn-northwest-1"
    bucket, s3 = foreign_bucket(cloud, region), cloud.client("s3", region)
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws-cn:iam::{cloud.aws.account_id}:root"},
        "Action": "s3:ListBucket",
        "Resource": f"arn:aws-cn:s3:::{bucket}",
    }
    document = {"Version": "2012-10-17", "Statement": [statement]}
    stranger(cloud, region).put_bucket_policy(Bucket=bucket, Policy=json.dumps(document))
    assert s3.head_bucket(Bucket=bucket)
    owner = {"ExpectedBucketOwner": cloud.aws.account_id}
    assert error_of(s3.head_bucket, Bucket=bucket, **owner)[0] == "403"
    assert error_of(s3.put_object, Bucket=bucket, Key="k", Body=b"1")[0] == "AccessDenied"
