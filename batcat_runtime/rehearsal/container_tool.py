"""The rehearsal's stand-in for docker: a deployment's commands, against the embedded ECR.

`install` writes an executable called ``docker`` into a directory that the rehearsal puts first on
PATH; the project's unmodified ``setup_docker.sh`` then builds, tags and pushes with it. It reads
the Dockerfile for real (`dockerfile`, `image_build`), keeps images as directories (`images`), and
talks to ECR through its API, so that a missing repository, an illegal tag or a missing login fail
here with the words that they have in AWS. What it does not know it refuses with exit code 125, as
docker does for a flag that it does not know; it never guesses.

It acts only inside a rehearsal: ``BATCAT_REHEARSAL_HOME`` says where, ``AWS_ENDPOINT_URL`` must be
on this machine.
"""

from __future__ import annotations

import json
import os
import shlex
import stat
import sys
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batcat_runtime.errors import ImageError
from batcat_runtime.rehearsal import container_inspect, registry
from batcat_runtime.rehearsal.images import Image, ImageStore, Reference, find_in_registry

VERSION = "27.0.0-rehearsal"
_VERSION_LINE = f"Docker version {VERSION}, build batcat"


class _UsageError(Exception):
    """The command line is one that this tool does not know; exit code 125."""


@dataclass(frozen=True)
class _Tool:
    """What every command needs: the rehearsal it acts in."""

    home: Path
    environment: Mapping[str, str]

    @property
    def store(self) -> ImageStore:
        return ImageStore(self.home)

    def ecr(self) -> Any:
        return registry.connect(self.environment.get("AWS_ENDPOINT_URL", ""), self.region)

    @property
    def region(self) -> str:
        names = ("AWS_REGION", "AWS_DEFAULT_REGION")
        return next((self.environment[name] for name in names if self.environment.get(name)), "")

    def login_path(self, host: str) -> Path:
        return self.store.directory / "logins" / urllib.parse.quote(host, safe="")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    home = os.environ.get("BATCAT_REHEARSAL_HOME")
    if not home:
        _say("docker (BatCat): BATCAT_REHEARSAL_HOME is not set: this stand-in only acts inside a")
        _say("rehearsal. Run `batcat rehearse`, or use the real docker.")
        return 125
    tool = _Tool(Path(home), os.environ)
    try:
        return _run(tool, words)
    except _UsageError as error:
        _say(str(error))
        return 125
    except ImageError as error:
        _say(f"ERROR: {error}")
        return 1


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
    module = "-P -m batcat_runtime.rehearsal.container_tool"
    if os.name == "nt":
        path = directory / "docker.cmd"
        path.write_text(f'@"{sys.executable}" {module} %*\r\n', "utf-8")
        return path
    path = directory / "docker"
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {module} "$@"\n', "utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return path


def _run(tool: _Tool, words: list[str]) -> int:
    if not words or words[0] in ("--help", "-h", "help"):
        _out("Usage: docker COMMAND  (BatCat's stand-in: " + ", ".join(sorted(_COMMANDS)) + ")")
        return 0
    if words[0] in ("--version", "-v"):
        _out(_VERSION_LINE)
        return 0
    if words[0].startswith("-"):
        raise _UsageError(f"unknown flag: {words[0]}\nSee 'docker --help'.")
    for length in (2, 1):
        name = " ".join(words[:length])
        if name in _COMMANDS:
            return _COMMANDS[name](tool, words[length:])
    raise _UsageError(
        f"docker: '{words[0]}' is not a docker command of the rehearsal.\nIt has: "
        + ", ".join(sorted(_COMMANDS))
    )


# ---------------------------------------------------------------- flags


@dataclass
class _Flags:
    values: dict[str, list[str]] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)

    def last(self, name: str, default: str = "") -> str:
        return self.values.get(name, [default])[-1]


def _parse(command: str, words: list[str], *, valued: str = "", switches: str = "") -> _Flags:
    """Sort flags from words. Names are given without dashes; ``t|tag`` has two of them."""
    names = {n: (group, True) for group in valued.split() for n in group.split("|")}
    names |= {n: (group, False) for group in switches.split() for n in group.split("|")}
    flags, rest = _Flags(), list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            flags.words.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if not word.startswith("--") and len(name) > 1 and name[0] in names:
            name, equals, value = name[0], "=", word[2:].removeprefix("=")
        if name not in names or (len(name) > 1) != word.startswith("--"):
            shown = f"flag: {word}" if word.startswith("--") else f"shorthand flag: {word}"
            raise _UsageError(f"unknown {shown}\nSee 'docker {command} --help'.")
        group, has_value = names[name]
        if has_value and not equals:
            if not rest:
                raise _UsageError(f"flag needs an argument: {word}\nSee 'docker {command} --help'.")
            value = rest.pop(0)
        flags.values.setdefault(group.split("|")[-1], []).append(
            value or ("" if has_value else "1")
        )
    return flags


def _exactly(count: int, command: str, flags: _Flags) -> list[str]:
    if len(flags.words) != count:
        raise _UsageError(
            f'docker: "docker {command}" requires exactly {count} argument'
            f"{'s' if count > 1 else ''}.\nSee 'docker {command} --help'."
        )
    return flags.words


# ---------------------------------------------------------------- commands


def _version(tool: _Tool, words: list[str]) -> int:
    flags = _parse("version", words, valued="f|format")
    _out(VERSION if flags.last("format") else f"{_VERSION_LINE}\nServer: BatCat rehearsal")
    return 0


def _info(tool: _Tool, words: list[str]) -> int:
    flags = _parse("info", words, valued="f|format")
    _out(VERSION if flags.last("format") else f"Server Version: {VERSION}\nName: {tool.home}")
    return 0


def _login(tool: _Tool, words: list[str]) -> int:
    flags = _parse("login", words, valued="u|username p|password", switches="password-stdin")
    (host,) = _exactly(1, "login", flags)
    host = urllib.parse.urlsplit(host).netloc if "://" in host else host.strip("/")
    password = sys.stdin.read() if "password-stdin" in flags.values else flags.last("password")
    expected = {registry.registry_host(tool.ecr(), tool.region)}
    if host not in expected:
        raise ImageError(
            f"Error response from daemon: Get https://{host}/v2/: no such registry here;"
            f" the embedded account's is {', '.join(sorted(expected))}",
            fix="Take the host from ECR's repositoryUri, and check account, region and partition.",
        )
    if flags.last("username") != "AWS" or not password.strip():
        raise ImageError(
            f"Error response from daemon: login attempt to https://{host}/v2/ failed with status:"
            " 400 Bad Request",
            fix="aws ecr get-login-password | docker login --username AWS --password-stdin HOST",
        )
    path = tool.login_path(host)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    _out("Login Succeeded")
    return 0


def _logout(tool: _Tool, words: list[str]) -> int:
    (host,) = _exactly(1, "logout", _parse("logout", words))
    tool.login_path(host).unlink(missing_ok=True)
    _out(f"Removing login credentials for {host}")
    return 0


def _build(tool: _Tool, words: list[str]) -> int:
    from batcat_runtime.rehearsal import image_build

    flags = _parse(
        "build",
        words,
        valued="t|tag f|file build-arg target platform label iidfile provenance sbom progress"
        " cache-from cache-to network o|output metadata-file builder secret ssh",
        switches="load pull push no-cache q|quiet rm force-rm squash",
    )
    (context,) = _exactly(1, "build", flags)
    if context == "-":
        raise _UsageError("a context from standard input is not supported in the rehearsal")
    tags = [Reference.parse(tag) for tag in flags.values.get("tag", [])]
    quiet = "quiet" in flags.values
    image = image_build.build(
        Path(context),
        tool.store,
        file=Path(flags.last("file")) if "file" in flags.values else None,
        build_args=_assignments(flags.values.get("build-arg", []), tool.environment),
        target=flags.last("target"),
        platform=flags.last("platform", "linux/amd64"),
        labels=_assignments(flags.values.get("label", []), {}),
        say=(lambda line: None) if quiet else (lambda line: _say(f" => {line}")),
    )
    for tag in tags:
        tool.store.tag(tag, image)
    if not quiet:
        _say(f" => writing image {image.config_digest}")
        for tag in tags:
            _say(f" => naming to {tag}")
    if "iidfile" in flags.values:
        Path(flags.last("iidfile")).write_text(image.config_digest, "utf-8")
    if "metadata-file" in flags.values:
        metadata = {
            "containerimage.config.digest": image.config_digest,
            "containerimage.digest": image.digest,
            "image.name": ",".join(str(tag) for tag in tags),
        }
        Path(flags.last("metadata-file")).write_text(json.dumps(metadata, indent=2), "utf-8")
    if quiet:
        _out(image.config_digest)
    if "push" in flags.values:
        for tag in tags:
            _push_one(tool, tag)
    return 0


def _assignments(words: list[str], environment: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            found[name] = value
        elif name in environment:
            found[name] = environment[name]
    return found


def _tag(tool: _Tool, words: list[str]) -> int:
    source, target = _exactly(2, "tag", _parse("tag", words))
    tool.store.tag(Reference.parse(target), _local(tool, source))
    return 0


def _push(tool: _Tool, words: list[str]) -> int:
    flags = _parse("push", words, valued="platform", switches="q|quiet a|all-tags")
    if "all-tags" in flags.values:
        raise _UsageError("--all-tags is not supported in the rehearsal: push each tag")
    (name,) = _exactly(1, "push", flags)
    _push_one(tool, Reference.parse(name))
    return 0


def _push_one(tool: _Tool, reference: Reference) -> None:
    image = _local(tool, str(reference))
    _out(f"The push refers to repository [{reference.name}]")
    expected = registry.registry_host(ecr := tool.ecr(), tool.region)
    if reference.registry != expected:
        raise ImageError(
            f"failed to push {reference}: {reference.registry or 'docker.io'} is not the embedded"
            f" account's registry, {expected}",
            fix=f"docker tag {reference.repository} {expected}/{reference.repository}",
        )
    if not tool.login_path(reference.registry).exists():
        raise ImageError(
            f"failed to push {reference}: no basic auth credentials",
            fix="aws ecr get-login-password | docker login --username AWS --password-stdin"
            f" {reference.registry}",
        )
    registry.put_image(ecr, reference, image)
    tool.store.tag(Reference(reference.registry, reference.repository, "", image.digest), image)
    _out(f"{reference.tag}: digest: {image.digest} size: {len(image.manifest.encode())}")


def _pull(tool: _Tool, words: list[str]) -> int:
    flags = _parse("pull", words, valued="platform", switches="q|quiet a|all-tags")
    (name,) = _exactly(1, "pull", flags)
    reference = Reference.parse(name)
    if not reference.account_id:
        _say(f"{reference}: not pulled in the rehearsal; jobs use this machine's Python")
        return 0
    image = find_in_registry(tool.ecr(), name, tool.store)
    tool.store.tag(reference, image)
    tool.store.tag(Reference(reference.registry, reference.repository, "", image.digest), image)
    _out(f"Digest: {image.digest}\nStatus: Image is up to date for {reference}\n{reference}")
    return 0


def _inspect(tool: _Tool, words: list[str]) -> int:
    flags = _parse("inspect", words, valued="f|format type platform")
    if not flags.words:
        raise _UsageError('docker: "docker inspect" requires at least 1 argument.')
    described = [container_inspect.describe(tool.store, _local(tool, name)) for name in flags.words]
    if "format" not in flags.values:
        _out(json.dumps(described, indent=4))
        return 0
    for entry in described:
        _out(container_inspect.formatted(flags.last("format"), entry))
    return 0


def _local(tool: _Tool, name: str) -> Image:
    reference = Reference.parse(name.removeprefix("sha256:"))
    image = tool.store.find(reference)
    if image is None:
        raise ImageError(
            f"Error response from daemon: No such image: {name}",
            fix=f"Build it first: docker build --tag {name} .",
        )
    return image


def _out(text: str) -> None:
    print(text, flush=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


_COMMANDS: dict[str, Callable[[_Tool, list[str]], int]] = {
    "build": _build,
    "buildx build": _build,
    "buildx version": _version,
    "image build": _build,
    "image inspect": _inspect,
    "image pull": _pull,
    "image push": _push,
    "image tag": _tag,
    "info": _info,
    "inspect": _inspect,
    "login": _login,
    "logout": _logout,
    "pull": _pull,
    "push": _push,
    "tag": _tag,
    "version": _version,
}

if __name__ == "__main__":
    sys.exit(main())
