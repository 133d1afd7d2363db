"""The way to AWS: the network, this machine's clock, the credentials and the account of them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from batcat_runtime.config import partition_of
from batcat_runtime.errors import BatcatError, CredentialsError
from batcat_runtime.operate.checks.finding import Finding, failed, ok, skipped, warning
from batcat_runtime.operate.checks.patient import Patient

# S3 allows a quarter of an hour, most services five minutes.
CLOCK_TOLERANCE = timedelta(minutes=5)
_ENDS_SOON = timedelta(minutes=30)
# sts first: the others are of no use without it.
SERVICES = (
    *("sts", "s3", "cloudformation", "stepfunctions", "sagemaker", "ecr", "lambda"),
    *("scheduler", "logs", "iam"),
)
_OTHER_PARTITIONS = {"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}


def network_reaches_aws(patient: Patient) -> Finding:
    """Every AWS service that a pipeline needs can be reached."""
    urls = {service: patient.endpoint(service) for service in SERVICES}
    different = list(dict.fromkeys(urls.values()))
    with ThreadPoolExecutor(len(different)) as pool:
        problems = dict(zip(different, pool.map(_unreachable, different), strict=True))
    lost = [url for url in different if problems[url]]
    if not lost:
        places = sorted({str(urlsplit(url).hostname) for url in different})
        return ok(f"{len(SERVICES)} services, {places[0]}" + _and_more(places, "hosts"))
    hosts = [str(urlsplit(url).hostname) for url in lost]
    return failed(
        f"{hosts[0]} cannot be reached: {problems[lost[0]]}" + _and_more(hosts, "hosts"),
        f"curl -sSv {lost[0]}   (look at VPN and firewall; behind a proxy: export HTTPS_PROXY=...)",
    )


def clock_is_right(patient: Patient) -> Finding:
    """This machine's clock is AWS's, so that signatures are valid."""
    try:
        theirs = _date_of(patient.endpoint("sts"))
    except _unreachable_errors() as error:
        return skipped(f"AWS did not tell the time: {type(error).__name__}")
    if theirs is None:
        return skipped("AWS's answer has no Date header; a proxy may have taken it away")
    off = patient.clock() - theirs
    seconds = round(off.total_seconds())
    if abs(off) > CLOCK_TOLERANCE:
        word = "ahead of" if seconds > 0 else "behind"
        return failed(
            f"it is {_span(abs(off))} {word} AWS's; AWS refuses what is signed with a wrong time",
            _set_clock(),
        )
    return ok(f"within {max(1, abs(seconds))} s of AWS's")


def credentials_are_accepted(patient: Patient) -> Finding:
    """AWS accepts the credentials in use."""
    profile = patient.environment.get("AWS_PROFILE", "")
    try:
        identity = patient.identity
    except CredentialsError as error:
        return _not_accepted(patient, error, profile)
    arn = str(identity["Arn"])
    where = _source(patient, profile)
    if arn.endswith(":root"):
        return warning(
            f"{where}: the root user of the account {identity['Account']}, who may do everything",
            "aws configure sso   (or: aws iam create-user --user-name NAME, and use its keys)",
        )
    end = _end(patient)
    if end is not None and end - patient.clock() < _ENDS_SOON:
        left = _span(max(timedelta(), end - patient.clock()))
        return warning(f"{where}: {arn}; the session ends in {left}", _sign_in(profile))
    until = f"; the session ends at {end.astimezone():%H:%M}" if end else ""
    return ok(f"{where}: {arn}{until}")


def region_is_the_same(patient: Patient) -> Finding:
    """Other tools look at the project's region too."""
    region = patient.settings.region
    named = {
        name: patient.environment[name]
        for name in ("AWS_REGION", "AWS_DEFAULT_REGION")
        if patient.environment.get(name)
    }
    if not named:
        session = _plain_session()
        if session is not None and session.region_name:
            named = {"your profile": str(session.region_name)}
    wrong = {name: value for name, value in named.items() if value != region}
    if not wrong:
        return ok(f"{region} ({partition_of(region)})")
    name, value = next(iter(wrong.items()))
    how = f"{name} says {value}, script/config.json says {region}"
    if partition_of(value) != partition_of(region):
        how += f", in the partition {partition_of(region)}"
    return warning(
        f"{how}; batcat goes by the latter, the aws command does not",
        " ".join(f"export {name}={region};" for name in wrong if name.isupper()).rstrip(";")
        or f"export AWS_DEFAULT_REGION={region}",
    )


def _plain_session() -> Any:
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        return boto3.Session()
    except BotoCoreError:
        return None


def _http(url: str) -> Any:
    from botocore.awsrequest import AWSRequest
    from botocore.httpsession import URLLib3Session
    from botocore.utils import get_environ_proxies

    session = URLLib3Session(timeout=(3, 5), proxies=get_environ_proxies(url))
    return session.send(AWSRequest("GET", url).prepare())


def _unreachable_errors() -> tuple[type[Exception], ...]:
    from botocore.exceptions import ConnectionError as Connection
    from botocore.exceptions import HTTPClientError

    return HTTPClientError, Connection


def _unreachable(url: str) -> str:
    """Return why a host cannot be reached; any answer of it will do."""
    try:
        _http(url)
    except _unreachable_errors() as error:
        reason = error.kwargs.get("error") if hasattr(error, "kwargs") else None
        text = str(reason or error)
        if any(word in text for word in ("getaddrinfo", "Name or service", "resolve", "nodename")):
            return "its name is not known (DNS)"
        if "timed out" in text.lower() or "Timeout" in type(error).__name__:
            return "no answer within 3 s"
        return text.rpartition(": ")[2].strip("'\")>") or type(error).__name__
    return ""


def _date_of(url: str) -> datetime | None:
    date = _http(url).headers.get("Date")
    return parsedate_to_datetime(date) if date else None


def _not_accepted(patient: Patient, error: BatcatError, profile: str) -> Finding:
    if "InvalidClientTokenId" in error.message:
        other = _other_partition(patient)
        if other:
            region = patient.settings.region
            return failed(
                f"the credentials belong to the partition {other}, but {region} is in "
                f"{partition_of(region)}, which has accounts of its own",
                "export AWS_PROFILE=NAME   (aws configure list-profiles)",
            )
    expired = "xpired" in error.message
    if profile and "could not be found" in error.message:
        return failed(
            f"there is no profile {profile}, which AWS_PROFILE names",
            "export AWS_PROFILE=NAME   (aws configure list-profiles)",
        )
    if "There are no" in error.message:
        return failed(error.message.rpartition(": ")[2] or error.message, _first_sign_in())
    return failed(error.message, _sign_in(profile) if expired else error.fix or _sign_in(profile))


def _other_partition(patient: Patient) -> str:
    """Return the partition that knows the credentials, if another one does."""
    mine = patient.settings.partition
    for partition, region in _OTHER_PARTITIONS.items():
        if partition == mine:
            continue
        try:
            with patient.asked("AWS", "sts:GetCallerIdentity"):
                patient.client("sts", region).get_caller_identity()
        except BatcatError:
            continue
        return partition
    return ""


def _source(patient: Patient, profile: str) -> str:
    found = patient.session.get_credentials()
    method = str(getattr(found, "method", "") or "unknown")
    return f"profile {profile} ({method})" if profile else _METHODS.get(method, method)


_METHODS = {
    "env": "from the environment",
    "explicit": "given",
    "shared-credentials-file": "default profile (shared-credentials-file)",
    "config-file": "default profile (config-file)",
}


def _end(patient: Patient) -> datetime | None:
    """Return when the session ends, as far as botocore knows: it keeps that to itself."""
    end = getattr(patient.session.get_credentials(), "_expiry_time", None)
    return end if isinstance(end, datetime) else None


def _sign_in(profile: str) -> str:
    return f"aws sso login --profile {profile}" if profile else "aws sso login"


def _first_sign_in() -> str:
    return "aws configure sso   (or, with keys: aws configure)"


def _set_clock() -> str:
    if sys.platform == "darwin":
        return "sudo sntp -sS time.apple.com"
    return "w32tm /resync" if sys.platform == "win32" else "sudo timedatectl set-ntp true"


def _span(length: timedelta) -> str:
    minutes = round(length.total_seconds() / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"


def _and_more(found: Iterable[str], what: str) -> str:
    count = len(list(found)) - 1
    return f", and {count} more {what}" if count else ""
