"""The embedded ECR as docker sees it, and docker's words for what it refuses."""

from __future__ import annotations

import ipaddress
import urllib.parse
from typing import Any

from botocore.exceptions import ClientError

from batcat_runtime.errors import ImageError
from batcat_runtime.rehearsal.images import MANIFEST_TYPE, Image, Reference


def connect(endpoint_url: str, region: str) -> Any:
    """Return a client of the embedded ECR.

    Raises
    ------
    ImageError
        When the endpoint is not on this machine.
    """
    import boto3
    from botocore.config import Config

    if not _is_loopback(urllib.parse.urlsplit(endpoint_url).hostname or ""):
        raise ImageError(
            f"AWS_ENDPOINT_URL is {endpoint_url!r}, which is not on this machine.",
            fix="Run this inside `batcat rehearse`, or after `batcat local env`.",
        )
    config = Config(proxies={}, retries={"max_attempts": 2})
    return boto3.client("ecr", endpoint_url=endpoint_url, region_name=region, config=config)


def registry_host(ecr: Any, region: str) -> str:
    """Return the host of the embedded account's registry, with its partition's domain.

    Parameters
    ----------
    ecr : botocore client
        The embedded ECR.
    region : str
        Its region.
    """
    data = ecr.get_authorization_token()["authorizationData"][0]
    account = urllib.parse.urlsplit(data["proxyEndpoint"]).netloc.partition(".")[0]
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"{account}.dkr.ecr.{region}.{domain}"


def put_image(ecr: Any, reference: Reference, image: Image) -> None:
    """Register an image under a tag, unless it is there already.

    Raises
    ------
    ImageError
        In docker's words.
    """
    tag = {"imageTag": reference.tag}
    place: dict[str, Any] = {
        "registryId": reference.account_id,
        "repositoryName": reference.repository,
    }
    try:
        # Docker asks before it uploads; a missing repository is found out here.
        present = ecr.batch_get_image(**place, imageIds=[tag])["images"]
        if present and present[0]["imageId"]["imageDigest"] == image.digest:
            return
        ecr.put_image(
            **place,
            imageManifest=image.manifest,
            imageManifestMediaType=MANIFEST_TYPE,
            imageTag=reference.tag,
            imageDigest=image.digest,
        )
    except ClientError as error:
        immutable = (
            f"tag invalid: The image tag '{reference.tag}' already exists in the"
            f" '{reference.repository}' repository and cannot be overwritten because the"
            " repository is immutable."
        )
        said = {
            "RepositoryNotFoundException": f"name unknown: The repository with name"
            f" '{reference.repository}' does not exist in the registry with id"
            f" '{reference.account_id}'",
            # moto's name for it; AWS says ImageTagAlreadyExistsException.
            "ImageAlreadyExistsException": immutable,
            "ImageTagAlreadyExistsException": immutable,
        }.get(error.response["Error"]["Code"], error.response["Error"].get("Message") or str(error))
        raise ImageError(said) from error


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
