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

_MISSING = {"NoSuchKey", "404", "NotFound", "NoFilesFound"}
_DENIED = {"AccessDenied", "AccessDeniedException", "403", "Forbidden", "AllAccessDisabled"}
_EXPIRED = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnrecognizedClientException",
}
_THROTTLED = {
    "ActiveSessionsExceededException",
    "ActiveStatementsExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}
# S3 has a code for a wrong clock, other services say it in words.
_SKEWED = re.compile(r"RequestTimeTooSkewed|Signature expired|Signature not yet current")
_OTHER_REGION = {"PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocation"}
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
        raise typed(error, place, action) from error
    except (
        boto.NoCredentialsError,
        boto.PartialCredentialsError,
        boto.CredentialRetrievalError,
        boto.TokenRetrievalError,
        boto.UnauthorizedSSOTokenError,
        boto.SSOTokenLoadError,
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
    except (boto.HTTPClientError, boto.ConnectionError) as error:
        raise ConnectError(
            f"AWS could not be reached for {place}: {error}.",
            fix="Check the network, the region and AWS_ENDPOINT_URL.",
        ) from error


def typed(error: Exception, place: str, action: str) -> BatcatError:
    """Return the typed error for a botocore ``ClientError``; see `translated`."""
    detail = getattr(error, "response", {}).get("Error", {})
    code, message = str(detail.get("Code", "")), str(detail.get("Message", ""))
    if code == "NoSuchBucket":
        return NoSuchBucketError(
            f"The bucket of {place} does not exist.",
            fix="Check its spelling, and that the credentials are of the right partition: "
            "aws-cn and aws have separate buckets.",
        )
    if code in _MISSING:
        return NoSuchObjectError(
            f"{place} does not exist.", fix="Check the spelling; keys are case-sensitive."
        )
    if code in _DENIED:
        named = _ACTION.search(message)
        return AccessDeniedError(
            f"AWS denied access to {place} ({code}: {message}).",
            fix=f"The role or user in use needs {named[1] if named else action} on it; ask its "
            "administrator.",
        )
    if _SKEWED.search(f"{code}: {message}"):
        return CredentialsError(
            f"AWS refuses what this machine signs for {place}: its clock is wrong ({code}: "
            f"{message}).",
            fix="Set the clock: sudo timedatectl set-ntp true. See how far it is off with "
            "`batcat doctor`.",
        )
    if code in _EXPIRED:
        return CredentialsError(
            f"AWS does not accept the credentials in use for {place} ({code}: {message}).",
            fix="Renew them, e.g. with `aws sso login`, then try again.",
        )
    if code in _THROTTLED:
        return ThrottledError(
            f"AWS asks to slow down for {place}, also after several retries ({code}: {message}).",
            fix="Try again later, or run less at once.",
        )
    if code in _OTHER_REGION:
        return ServiceError(
            f"{place} lies in another region than the one in use ({code}: {message}).",
            fix="Set AWS_DEFAULT_REGION to the bucket's region, or pass a session for it.",
        )
    return ServiceError(f"AWS refused {place}: {code}: {message}")
