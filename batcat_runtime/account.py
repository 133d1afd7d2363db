"""The account in use and the result bucket, looked at before anything is changed.

The bucket must exist, be ours and lie in the region. botocore follows a bucket into another region
without a word, and so does much of a deployment; only SageMaker refuses in the end, in the middle
of the night. A bucket of another account may even let us write, and then its owner reads our
results. So both are looked at first, with HeadBucket.

HeadBucket's refusals have no body. What they mean is asked by listing, whose refusal says whether a
policy of our own account is in the way: S3 tells that to callers of the bucket's own account only.
"""

from __future__ import annotations

from typing import Any

from batcat_runtime.config import Config, partition_of
from batcat_runtime.errors import (
    BucketOwnerError,
    BucketRegionError,
    CredentialsError,
    NoSuchBucketError,
)
from batcat_runtime.io.aws_errors import translated
from batcat_runtime.io.clients import client


def account_of(config: Config) -> str:
    """Return the 12-digit account id of the credentials in use.

    Raises
    ------
    CredentialsError
        There are none, they have expired, or they belong to another partition than the region.
    """
    with translated("your AWS account", "sts:GetCallerIdentity"):
        identity = client("sts", region=config.region, hasty=True).get_caller_identity()
    partition = identity["Arn"].split(":")[1]
    if partition != config.partition:
        raise CredentialsError(
            f"The credentials belong to {partition}, but {config.region} is in {config.partition}.",
            fix="Take a profile of that partition (AWS_PROFILE), or change `region` in the config.",
        )
    return str(identity["Account"])


def check_bucket(config: Config, *, s3: Any = None, account: str = "") -> bool:
    """Refuse a result bucket that does not exist, is another account's or in another region.

    Parameters
    ----------
    config : Config
        The project.
    s3 : botocore client, optional
        By default one of the session in use.
    account : str, optional
        The 12-digit account id; by default that of the credentials in use.

    Returns
    -------
    bool
        Whether it is known to be this account's. False when the credentials in use may not list
        it, so that S3 tells nothing more. Nothing was changed.

    Raises
    ------
    NoSuchBucketError
        It does not exist.
    BucketOwnerError
        It belongs to another account.
    BucketRegionError
        It lies in another region than the project.
    CredentialsError, ConnectError
        AWS cannot be asked.
    """
    from botocore.exceptions import ClientError

    name = config.result_s3_bucket
    s3 = s3 or client("s3", region=config.region, hasty=True)
    account = account or account_of(config)
    with translated(f"s3://{name}", "s3:ListBucket"):
        try:
            answer = s3.head_bucket(Bucket=name, ExpectedBucketOwner=account)
            ours = True
        except ClientError as error:
            answer = error.response
            if answer["ResponseMetadata"].get("HTTPStatusCode") == 404:
                raise _missing(config) from error
            ours = _only_we_are_in_the_way(s3, config, account)
    headers = answer["ResponseMetadata"].get("HTTPHeaders", {})
    region = answer.get("BucketRegion") or headers.get("x-amz-bucket-region") or config.region
    if region != config.region:
        raise BucketRegionError(
            f"The bucket {name} lies in {region}, but the project is in {config.region}, and "
            "SageMaker takes buckets of its own region only.",
            fix=f'Set "region": "{region}" in script/config.json, or take another bucket there: '
            f"{make_bucket('NAME', config.region)}",
        )
    return ours


def make_bucket(name: str, region: str) -> str:
    """Return the command that makes a bucket."""
    return f"aws s3 mb s3://{name} --region {region}"


def _only_we_are_in_the_way(s3: Any, config: Config, account: str) -> bool:
    """Return False if our own policies keep us from looking; raise when it is something else."""
    from botocore.exceptions import ClientError

    try:
        s3.list_objects_v2(Bucket=config.result_s3_bucket, MaxKeys=1)
    except ClientError as error:
        said = error.response["Error"]
        if said.get("Code") != "AccessDenied":
            raise
        message = str(said.get("Message", ""))
        # Another account of the same organization is told so: "because no resource-based policy".
        if "not authorized to perform" in message and "no resource-based policy" not in message:
            return False
        raise _not_ours(config, account, "does not let it in") from error
    raise _not_ours(config, account, "lets it in, and reads what it writes")


def _not_ours(config: Config, account: str, how: str) -> BucketOwnerError:
    name = config.result_s3_bucket
    return BucketOwnerError(
        f"The bucket {name} is not of your account {account}: its owner {how}.",
        fix='Bucket names are taken worldwide. Set another "result_s3_bucket" in '
        f"script/config.json, and make it: {make_bucket('NAME', config.region)}",
    )


def _missing(config: Config) -> NoSuchBucketError:
    name = config.result_s3_bucket
    return NoSuchBucketError(
        f"The result bucket {name} does not exist in {partition_of(config.region)}.",
        fix=f"`batcat deploy --yes` makes it; or make it yourself: "
        f"{make_bucket(name, config.region)}",
    )
