"""What the embedded AWS reads out of moto's memory: every look behind its API is here."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from batcat_runtime.errors import EmbeddedAWSError

from ...wire import ACCOUNT_ID

if TYPE_CHECKING:
    from ...bucket_places import BucketPlace


def bucket_notifications(bucket: str) -> Any:
    """Return what a bucket reports to whom, as moto keeps it; None when it was never set."""
    from moto.s3.models import s3_backends
    from moto.utilities.utils import PARTITION_NAMES

    for partition in PARTITION_NAMES:
        found = s3_backends[ACCOUNT_ID][partition].buckets.get(bucket)
        if found is not None:
            return found.notification_configuration
    return None


def bucket_place(bucket: str) -> BucketPlace | None:
    """Return where a bucket lies and whose it is, as moto keeps it; None when there is none."""
    from moto.s3.models import s3_backends

    from ...bucket_places import BucketPlace

    owner = s3_backends.bucket_accounts.get(bucket)
    if owner is None:
        return None
    partition, account = owner
    found = s3_backends[account][partition].buckets.get(bucket)
    if found is None:
        return None
    return BucketPlace(partition, str(found.region_name), account, _text(found.policy))


def account_of_key(access_key: str) -> str:
    """Return the account that an access key belongs to; ours for one that nobody gave out."""
    from moto.iam.models import get_account_id_from

    return str(get_account_id_from(access_key))


def state_machines(region: str) -> Any:
    """Return the Step Functions backend of a region, the one that executes."""
    from moto.stepfunctions.parser.models import stepfunctions_parser_backends

    return stepfunctions_parser_backends[ACCOUNT_ID][region]


def log_group(region: str, name: str) -> Any:
    """Return moto's log group with its streams and their events, or None."""
    from moto.logs.models import logs_backends

    return logs_backends[ACCOUNT_ID][region].groups.get(name)


def lambda_function(region: str, name: str, qualifier: str | None) -> Any:
    """Return moto's Lambda function, or None when there is none of this name."""
    from moto.awslambda.models import lambda_backends
    from moto.core.exceptions import ServiceException
    from werkzeug.exceptions import HTTPException

    try:
        return lambda_backends[ACCOUNT_ID][region].get_function(name, qualifier)
    except (ServiceException, HTTPException, ValueError, KeyError):
        return None


def redshift_cluster(region: str, identifier: str) -> Any:
    """Return moto's Redshift cluster, or None; only it knows the administrator's password."""
    from moto.redshift.models import redshift_backends

    return redshift_backends[ACCOUNT_ID][region].clusters.get(identifier)


def redshift_clusters(region: str, host: str) -> list[Any]:
    """Return moto's Redshift clusters of a region, which from now on say that `host` is theirs.

    Their host is checked and replaced here, and not at start-up: importing them takes a second.
    """
    from moto.redshift.models import Cluster, redshift_backends

    if not isinstance(vars(Cluster).get("address"), property):
        raise EmbeddedAWSError("moto's Redshift clusters have no property `address` any more.")
    Cluster.address = property(lambda cluster: host)
    return list(redshift_backends[ACCOUNT_ID][region].clusters.values())


class Holder(NamedTuple):
    """Who holds an access key: the session's or user's ARN, and moto's role or user.

    The role is None when it has been deleted since. A user's keys have no end.
    """

    arn: str
    identity: Any
    end: datetime | None = None


def holder_of_key(access_key: str) -> Holder | None:
    """Return who holds an access key; None for a key that IAM did not give out."""
    from moto.core.exceptions import ServiceException
    from moto.iam.models import iam_backends
    from moto.sts.models import sts_backends
    from moto.utilities.utils import PARTITION_NAMES
    from werkzeug.exceptions import HTTPException

    for partition in PARTITION_NAMES:
        session = sts_backends[ACCOUNT_ID][partition].get_assumed_role_from_access_key(access_key)
        iam = iam_backends[ACCOUNT_ID][partition]
        if session is None:
            user = iam.get_user_from_access_key_id(access_key)
            if user is not None:
                return Holder(str(user.arn), user)
            continue
        # moto's times have no zone, and are in UTC.
        end = datetime.combine(session.expiration.date(), session.expiration.time(), UTC)
        try:
            return Holder(str(session.arn), iam.get_role_by_arn(session.role_arn), end)
        except (ServiceException, HTTPException):
            return Holder(str(session.arn), None, end)
    return None


def policies_of_arn(arn: str) -> tuple[list[str], str | None] | None:
    """Return what `policies_of` does, by the ARN of a user or role; None when there is none."""
    from moto.iam.models import iam_backends

    parts = arn.split(":")
    if len(parts) < 6:
        return None
    iam = iam_backends[parts[4]][parts[1]]
    held = [*iam.roles.values(), *iam.users.values()]
    found = next((one for one in held if one.arn == arn), None)
    return policies_of(found) if found is not None else None


def policies_of(identity: Any) -> tuple[list[str], str | None]:
    """Return the policy documents of moto's role or user, and its permissions boundary, as text."""
    from moto.iam.models import iam_backends

    arn = str(identity.arn).split(":")
    iam = iam_backends[arn[4]][arn[1]]
    is_user = arn[5].startswith("user/")
    holders = [identity, *(iam.get_groups_for_user(identity.name) if is_user else [])]
    texts = [text for one in holders for text in one.policies.values()]
    texts += [_document(one) for holder in holders for one in holder.managed_policies.values()]
    boundary = getattr(identity, "permissions_boundary_arn", None)
    if not boundary:
        return texts, None
    policy = iam.managed_policies.get(boundary)
    # A boundary that does not exist allows nothing, as on AWS.
    return texts, _document(policy) if policy else '{"Version": "2012-10-17", "Statement": []}'


def _text(policy: Any) -> str:
    return policy.decode() if isinstance(policy, bytes) else str(policy or "")


def _document(policy: Any) -> str:
    default = policy.default_version_id
    return next(str(one.document) for one in policy.versions if one.version_id == default)
