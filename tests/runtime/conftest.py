"""An S3 server on loopback with a bucket, and clients that are pointed to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest

from tests.flakyserver import FlakyObject
from tests.s3server import S3Server, serve_s3

BUCKET = "2022-rnd-battery"


@pytest.fixture(scope="module")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[S3Server, Any]]:
    """A server that serves one bucket, and boto3's object of that bucket.

    One for each file: rclone refuses all copies once a multipart upload was broken off.
    """
    folder = tmp_path_factory.mktemp("s3")
    (folder / BUCKET).mkdir()
    with serve_s3(folder) as running, pytest.MonkeyPatch.context() as environment:
        for name, value in running.environment().items():
            environment.setenv(name, value)
        found = boto3.Session().resource("s3").Bucket(BUCKET)
        environment.undo()
        yield running, found


@pytest.fixture
def bucket(rclone_server: tuple[S3Server, Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """boto3's object of the bucket; BatCat's functions find the server too."""
    for name, value in rclone_server[0].environment().items():
        monkeypatch.setenv(name, value)
    return rclone_server[1]


@pytest.fixture
def point(monkeypatch: pytest.MonkeyPatch) -> Callable[[FlakyObject], None]:
    """Point AWS clients to a flaky server."""

    def to(served: FlakyObject) -> None:
        for name, value in served.environment().items():
            monkeypatch.setenv(name, value)

    return to
