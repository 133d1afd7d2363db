"""AWS's refusals as typed errors: one table from error code to class, message and fix."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from batcat_runtime.errors import (
    AccessDeniedError,
    BatcatError,
    CredentialsError,
    NoSuchObjectError,
    ServiceError,
)

_MISSING = {"NoSuchKey", "NoSuchBucket", "404", "NotFound", "NoFilesFound"}
_DENIED = {"AccessDenied", "AccessDeniedException", "403", "Forbidden", "AllAccessDisabled"}
_EXPIRED = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}


@contextlib.contextmanager
def translated(place: str, action: str) -> Iterator[None]:
    """Turn botocore's and awswrangler's errors into typed ones.

    Parameters
    ----------
    place : str
        What was reached for, e.g. ``s3://bucket/key``; it opens the message.
    action : str
        The IAM action that is needed, e.g. ``s3:GetObject``; named when AWS denies it.
    """
    from awswrangler.exceptions import NoFilesFound
    from botocore import exceptions as boto

    try:
        yield
    except NoFilesFound as error:
        raise _error("NoFilesFound", str(error), place, action) from error
    except boto.ClientError as error:
        detail = error.response.get("Error", {})
        raise _error(detail.get("Code", ""), detail.get("Message", ""), place, action) from error
    except (boto.NoCredentialsError, boto.PartialCredentialsError) as error:
        raise CredentialsError(
            f"There are no AWS credentials, so {place} is out of reach.",
            fix="Run `aws configure` or `aws sso login`, or set AWS_PROFILE.",
        ) from error
    except (boto.EndpointConnectionError, boto.ConnectTimeoutError, boto.ReadTimeoutError) as error:
        raise ServiceError(
            f"AWS could not be reached for {place}: {error}.",
            fix="Check the network, the region and AWS_ENDPOINT_URL.",
        ) from error


def _error(code: str, message: str, place: str, action: str) -> BatcatError:
    if code in _MISSING:
        what = "The bucket of" if code == "NoSuchBucket" else ""
        return NoSuchObjectError(
            f"{what} {place} does not exist.".strip(),
            fix="Check the spelling and the region; keys are case-sensitive.",
        )
    if code in _DENIED:
        return AccessDeniedError(
            f"AWS denied access to {place} ({code}: {message}).",
            fix=f"The role or user in use needs {action} on it; ask its administrator.",
        )
    if code in _EXPIRED:
        return CredentialsError(
            f"AWS does not accept the credentials in use for {place} ({code}: {message}).",
            fix="Renew them, e.g. with `aws sso login`, then try again.",
        )
    return ServiceError(f"AWS refused {place}: {code}: {message}")
