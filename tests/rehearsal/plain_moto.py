"""A plain moto server, one for the test process, and images in its ECR."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from batcat_runtime.rehearsal import image_build
from batcat_runtime.rehearsal.images import MANIFEST_TYPE, Image, ImageStore

REGION = "cn-northwest-1"
ACCOUNT = "123456789012"
REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com.cn"


@dataclass(frozen=True)
class PlainMoto:
    endpoint_url: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @functools.cache  # noqa: B019 - one server, one process
    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint_url,
            region_name=REGION,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    def bucket(self) -> str:
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        self.client("s3").create_bucket(
            Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        return name

    def put(self, bucket: str, **objects: str) -> None:
        for key, body in objects.items():
            self.client("s3").put_object(Bucket=bucket, Key=key, Body=body.encode())

    def read(self, bucket: str) -> dict[str, str]:
        listed = self.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])
        get = self.client("s3").get_object
        return {
            entry["Key"]: get(Bucket=bucket, Key=entry["Key"])["Body"].read().decode()
            for entry in listed
        }

    def push(self, context: Path, home: Path) -> tuple[str, Image]:
        """Build an image and register it, without the stand-in for docker."""
        image = image_build.build(context, ImageStore(home))
        name = f"test/{uuid.uuid4().hex[:12]}"
        self.client("ecr").create_repository(repositoryName=name)
        self.client("ecr").put_image(
            repositoryName=name,
            imageManifest=image.manifest,
            imageManifestMediaType=MANIFEST_TYPE,
            imageTag="latest",
            imageDigest=image.digest,
        )
        return f"{REGISTRY}/{name}:latest", image


@functools.cache
def plain_moto() -> PlainMoto:
    """Start the server when the first test asks for it; it ends with the test process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tempfile.TemporaryFile()  # noqa: SIM115 - the server's, for as long as it lives
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        env={**os.environ, "MOTO_PORT": str(port)},
        stdout=log,
        stderr=log,
    )
    atexit.register(server.wait)
    atexit.register(server.terminate)
    url = f"http://127.0.0.1:{port}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(300):
        with contextlib.suppress(OSError), opener.open(f"{url}/moto-api/", timeout=1):
            return PlainMoto(url)
        time.sleep(0.1)
    raise RuntimeError("the moto server did not start")
