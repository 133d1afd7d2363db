"""The rehearsal's stand-in for docker: a deployment's commands, against the embedded ECR.

`install` writes an executable called ``docker`` into a directory that goes first on PATH; a
deployment then builds, tags and pushes with it, and never with the docker that may be there. It
reads the Dockerfile for real (`dockerfile`, `build`), keeps images as directories (`images`), and
talks to ECR through its API, so that a missing repository, an illegal tag or a missing login fail
here with the words that they have in AWS. What it does not know it refuses with exit code 125, as
docker does for a flag that it does not know; it never guesses.

It acts only inside a rehearsal: ``BATCAT_REHEARSAL_HOME`` says where, ``AWS_ENDPOINT_URL`` must be
on this machine.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import shlex
import stat
import sys
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from batcat_runtime.errors import ImageError

from .images import ImageStore, Reference, put_image

VERSION = "27.0.0-rehearsal"


class _UsageError(Exception):
    """The command line is one that this tool does not know; exit code 125."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _UsageError(f"{self.prog}: {message}\nSee '{self.prog} --help'.")


def install(directory: Path) -> Path:
    """Write an executable ``docker`` into a directory for PATH.

    Parameters
    ----------
    directory : Path
        Created if it is not there.

    Returns
    -------
    Path
        The executable.
    """
    directory.mkdir(parents=True, exist_ok=True)
    # -P: the directory that docker is called in must not offer modules to this tool.
    module = "-P -m batcat_runtime.rehearsal.container.tool"
    if os.name == "nt":
        path = directory / "docker.cmd"
        path.write_text(f'@"{sys.executable}" {module} %*\r\n', "utf-8")
        return path
    path = directory / "docker"
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {module} "$@"\n', "utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    home = os.environ.get("BATCAT_REHEARSAL_HOME")
    if not home:
        _say("docker (BatCat): BATCAT_REHEARSAL_HOME is not set: this stand-in only acts inside a")
        _say("rehearsal. Run `batcat rehearse`, or use the real docker.")
        return 125
    try:
        options = _parser().parse_args(words)
        options.run(ImageStore(Path(home)), options)
    except _UsageError as error:
        _say(str(error))
        return 125
    except ImageError as error:
        _say(f"ERROR: {error}")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    line = f"Docker version {VERSION}, build batcat"
    parser = _Parser("docker", allow_abbrev=False, description="BatCat's stand-in for docker")
    parser.add_argument("-v", "--version", action="version", version=line)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Any) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = commands.add_parser(name, allow_abbrev=False)
        made.set_defaults(run=run)
        return made

    build = command("build", _build)
    build.add_argument("context", type=Path)
    build.add_argument("-t", "--tag", type=Reference.parse, required=True)
    build.add_argument("--platform", default="linux/amd64")
    push = command("push", _push)
    push.add_argument("name", type=Reference.parse)
    login = command("login", _login)
    login.add_argument("host")
    login.add_argument("-u", "--username", default="")
    login.add_argument("--password-stdin", action="store_true", required=True)
    for name in ("version", "info"):
        command(name, lambda store, options: print(line)).add_argument("-f", "--format")
    return parser


def _build(store: ImageStore, options: argparse.Namespace) -> None:
    from .build import build

    image = build(
        options.context, store, platform=options.platform, say=lambda line: _say(f" => {line}")
    )
    store.tag(options.tag, image)
    _say(f" => naming to {options.tag}")


def _push(store: ImageStore, options: argparse.Namespace) -> None:
    reference = options.name
    image = store.find(reference)
    if image is None:
        raise ImageError(
            f"An image does not exist locally with the tag: {reference.name}",
            fix=f"Build it first: docker build --tag {reference} .",
        )
    print(f"The push refers to repository [{reference.name}]", flush=True)
    ecr, expected = _registry()
    if reference.registry != expected:
        raise ImageError(
            f"failed to push {reference}: {reference.registry or 'docker.io'} is not the embedded"
            f" account's registry, {expected}",
            fix=f"Build it as {expected}/{reference.repository}.",
        )
    if not _login_path(store, reference.registry).exists():
        raise ImageError(
            f"failed to push {reference}: no basic auth credentials",
            fix="aws ecr get-login-password | docker login --username AWS --password-stdin"
            f" {reference.registry}",
        )
    put_image(ecr, reference, image)
    print(f"{reference.tag}: digest: {image.digest} size: {len(image.manifest.encode())}")


def _login(store: ImageStore, options: argparse.Namespace) -> None:
    host = urllib.parse.urlsplit(options.host).netloc or options.host.strip("/")
    password = sys.stdin.read()
    _, expected = _registry()
    if host != expected:
        raise ImageError(
            f"Error response from daemon: Get https://{host}/v2/: no such registry here;"
            f" the embedded account's is {expected}",
            fix="Take the host from ECR's repositoryUri, and check account, region and partition.",
        )
    if options.username != "AWS" or not password.strip():
        raise ImageError(
            f"Error response from daemon: login attempt to https://{host}/v2/ failed with status:"
            " 400 Bad Request",
            fix="aws ecr get-login-password | docker login --username AWS --password-stdin HOST",
        )
    path = _login_path(store, host)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    print("Login Succeeded")


def _login_path(store: ImageStore, host: str) -> Path:
    return store.directory / "logins" / urllib.parse.quote(host, safe="")


def _registry() -> tuple[Any, str]:
    """Return a client of the embedded ECR, and the host of the account's registry.

    Raises
    ------
    ImageError
        When the endpoint is not on this machine.
    """
    import boto3
    from botocore.config import Config

    url = os.environ.get("AWS_ENDPOINT_URL", "")
    if not _is_loopback(urllib.parse.urlsplit(url).hostname or ""):
        raise ImageError(
            f"AWS_ENDPOINT_URL is {url!r}, which is not on this machine.",
            fix="Run this inside `batcat rehearse`, or after `batcat local env`.",
        )
    config = Config(proxies={}, retries={"max_attempts": 2})
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    ecr = boto3.client("ecr", endpoint_url=url, region_name=region, config=config)
    data = ecr.get_authorization_token()["authorizationData"][0]
    return ecr, urllib.parse.urlsplit(data["proxyEndpoint"]).netloc


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
