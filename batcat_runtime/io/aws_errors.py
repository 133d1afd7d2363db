"""AWS's refusals as typed errors: one table from error code to class, message and fix."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from batcat_runtime.errors import (
    AccessDeniedError,
    BatcatError,
    ConnectError,
    CredentialsError,
    NoSuchBucketError,
    NoSuchObjectError,
    ServiceError,
    ThrottledError,
)

# What a refusal's code, or its code and words, must match as a whole; what it means; what to do.
_REFUSALS: tuple[tuple[str, type[BatcatError], str, str], ...] = (
    (
        "NoSuchBucket",
        NoSuchBucketError,
        "The bucket of {place} does not exist.",
        "Check its spelling, and that the credentials are of the right partition: aws-cn and aws "
        "have separate buckets.",
    ),
    (
        "NoSuchKey|404|NotFound|NoFilesFound",
        NoSuchObjectError,
        "{place} does not exist.",
        "Check the spelling; keys are case-sensitive.",
    ),
    (
        "AccessDenied|AccessDeniedException|403|Forbidden|AllAccessDisabled",
        AccessDeniedError,
        "AWS denied access to {place} ({said}).",
        "The role or user in use needs {action} on it; ask its administrator.",
    ),
    (
        # S3 has a code for a wrong clock, other services say it in words
        ".*(RequestTimeTooSkewed|Signature expired|Signature not yet current).*",
        CredentialsError,
        "AWS refuses what this machine signs for {place}: its clock is wrong ({said}).",
        "Set the clock: sudo timedatectl set-ntp true. See how far it is off with `batcat doctor`.",
    ),
    (
        "(ExpiredToken|UnrecognizedClient)(Exception)?|Invalid(AccessKeyId|ClientTokenId|Token)"
        "|RequestExpired|SignatureDoesNotMatch|TokenRefreshRequired",
        CredentialsError,
        "AWS does not accept the credentials in use for {place} ({said}).",
        "Renew them, e.g. with `aws sso login`, then try again.",
    ),
    (
        "(Throttling|RequestThrottled|ProvisionedThroughputExceeded|TooManyRequests)(Exception)?"
        "|(ActiveStatements|ActiveSessions)ExceededException|RequestLimitExceeded|SlowDown"
        "|ServiceUnavailable|503",
        ThrottledError,
        "AWS asks to slow down for {place}, also after several retries ({said}).",
        "Try again later, or run less at once.",
    ),
    (
        "PermanentRedirect|301|AuthorizationHeaderMalformed|IllegalLocation.*",
        ServiceError,
        "{place} lies in another region than the one in use ({said}).",
        "Set AWS_DEFAULT_REGION to the bucket's region, or pass a session for it.",
    ),
)
# "User: arn:... is not authorized to perform: s3:GetObject on resource: ..."
_ACTION = re.compile(r"not authorized to perform:? ([a-z0-9-]+:[A-Za-z]+)")


@contextlib.contextmanager
def translated(place: str, action: str) -> Iterator[None]:
    """Turn botocore's and awswrangler's errors into typed ones.

    Parameters
    ----------
    place : str
        What was reached for, e.g. ``s3://bucket/key``; it opens the message.
    action : str
        The IAM action that is needed, e.g. ``s3:GetObject``; named when AWS denies it without
        naming one itself.
    """
    from botocore import exceptions as boto

    try:
        yield
    except boto.ClientError as error:
        detail = error.response.get("Error", {})
        code, message = str(detail.get("Code", "")), str(detail.get("Message", ""))
        said = f"{code}: {message}"
        named = _ACTION.search(message)
        words = {"place": place, "said": said, "action": named[1] if named else action}
        for codes, kind, text, fix in _REFUSALS:
            if re.fullmatch(codes, code) or re.fullmatch(codes, said, re.DOTALL):
                raise kind(text.format(**words), fix=fix.format(**words)) from error
        raise ServiceError(f"AWS refused {place}: {said}") from error
    except (
        boto.NoCredentialsError,
        boto.PartialCredentialsError,
        boto.CredentialRetrievalError,
        boto.TokenRetrievalError,
        boto.SSOError,
    ) as error:
        raise CredentialsError(
            f"There are no valid AWS credentials, so {place} is out of reach: {error}",
            fix="Run `aws configure` or `aws sso login`, or set AWS_PROFILE.",
        ) from error
    except boto.ProfileNotFound as error:
        raise CredentialsError(
            f"{error}, so {place} is out of reach.",
            fix="Set AWS_PROFILE to one of `aws configure list-profiles`.",
        ) from error
    except boto.NoRegionError as error:
        raise ServiceError(
            f"No AWS region is set, so {place} is out of reach.",
            fix="Give `region`, set AWS_DEFAULT_REGION, or run `aws configure`.",
        ) from error
    except (
        boto.HTTPClientError,
        boto.ConnectionError,
        boto.IncompleteReadError,
        boto.FlexibleChecksumError,
    ) as error:
        raise ConnectError(
            f"AWS could not be reached for {place}: {error}.",
            fix="Check the network, the region and AWS_ENDPOINT_URL.",
        ) from error
