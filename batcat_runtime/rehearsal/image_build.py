"""Builds an image as a rehearsal can: the COPY lines for real, the RUN lines by name only.

What a job needs from its image is the project's files at the right paths, the environment, the
working directory and the entrypoint; packages come from this machine's Python. So every stage is
walked, files are copied into a directory, and what was not done is said line by line. The image's
digest is that of a canonical archive of the files plus its configuration: the same files give the
same digest on every machine, whatever their times and owners.
"""

from __future__ import annotations

import contextlib
import json
import os
import posixpath
import re
import shutil
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batcat_runtime.errors import ImageError
from batcat_runtime.rehearsal import dockerfile
from batcat_runtime.rehearsal.build_context import BuildContext
from batcat_runtime.rehearsal.dockerfile import Instruction, Stage
from batcat_runtime.rehearsal.image_archive import archive, digest_of
from batcat_runtime.rehearsal.images import (
    CONFIG_TYPE,
    LAYER_TYPE,
    MANIFEST_TYPE,
    Image,
    ImageStore,
)

_EPOCH = "1970-01-01T00:00:00Z"
_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"

Say = Callable[[str], None]


@dataclass
class _State:
    """What a stage has made so far."""

    env: dict[str, str] = field(default_factory=lambda: {"PATH": _PATH})
    workdir: str = "/"
    entrypoint: list[str] = field(default_factory=list)
    cmd: list[str] = field(default_factory=list)
    shell: list[str] = field(default_factory=lambda: ["/bin/sh", "-c"])
    user: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    destinations: list[str] = field(default_factory=list)
    history: list[str] = field(default_factory=list)


def build(
    context: Path,
    store: ImageStore,
    *,
    file: Path | None = None,
    build_args: Mapping[str, str] | None = None,
    target: str = "",
    platform: str = "linux/amd64",
    labels: Mapping[str, str] | None = None,
    say: Say = lambda line: None,
) -> Image:
    """Build an image from a directory and its Dockerfile.

    Parameters
    ----------
    context : Path
        The directory that COPY lines take from.
    store : ImageStore
        Where the image goes.
    file : Path, optional
        The Dockerfile; by default the one in the context.
    build_args : Mapping[str, str], optional
        Values for ARG lines.
    target : str
        The stage to stop at; by default the last.
    platform : str
        What the image says it is for.
    labels : Mapping[str, str], optional
        Labels beside those of LABEL lines.
    say : Callable[[str], None]
        Receives one line for each thing that is done, or not done.

    Raises
    ------
    ImageError
        In docker's words: no Dockerfile, a mistake in it, a source that is not in the context.
    """
    if not context.is_dir():
        raise ImageError(f"unable to prepare context: path {str(context)!r} not found")
    file = file or context / "Dockerfile"
    try:
        text = file.read_text("utf-8")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise ImageError(
            f"failed to read dockerfile: open {file}: no such file or directory",
            fix="Name the Dockerfile: docker build --file deploy/docker/Dockerfile .",
        ) from error
    system, _, architecture = platform.partition("/")
    predefined = {"TARGETPLATFORM": platform, "TARGETOS": system, "TARGETARCH": architecture}
    parsed = dockerfile.parse(text, build_args, predefined=predefined)
    if parsed.unused_arguments:
        names = " ".join(parsed.unused_arguments)
        say(f"[Warning] One or more build-args [{names}] were not consumed")
    stages = _wanted_stages(parsed.stages, target)
    store.directory.mkdir(parents=True, exist_ok=True)
    scratch = store.directory / f".build-{os.getpid()}"
    try:
        state = _run_stages(stages, BuildContext(context, file), scratch, say)
        state.labels |= labels or {}
        return _seal(state, scratch / str(len(stages) - 1), store, system, architecture)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _wanted_stages(stages: list[Stage], target: str) -> list[Stage]:
    if not target:
        return stages
    for index, stage in enumerate(stages):
        if target.lower() in (stage.name, str(index)):
            return stages[: index + 1]
    raise ImageError(f"target stage {target!r} could not be found")


def _run_stages(stages: list[Stage], context: BuildContext, scratch: Path, say: Say) -> _State:
    done: dict[str, tuple[_State, Path]] = {}
    state = _State()
    for index, stage in enumerate(stages):
        rootfs = scratch / str(index)
        if earlier := done.get(stage.base.lower()):
            copied = json.loads(json.dumps(vars(earlier[0])))
            state = _State(**copied)
            shutil.copytree(earlier[1], rootfs, symlinks=True)
        else:
            state = _State(history=[f"FROM {stage.base}"])
            rootfs.mkdir(parents=True)
            say(f"FROM {stage.base} (not pulled: the job uses this machine's Python)")
        for step in stage.instructions:
            _apply(step, state, rootfs, context, say)
        done[str(index)] = done[stage.name or str(index)] = (state, rootfs)
    return state


def _apply(step: Instruction, state: _State, rootfs: Path, context: BuildContext, say: Say) -> None:
    state.history.append(step.text)
    if step.name == "RUN":
        say(f"{step.text} (not run in the rehearsal)")
    elif step.name in ("COPY", "ADD"):
        _copy(step, state, rootfs, context, say)
    elif step.name == "ENV":
        state.env.update(dockerfile.pairs(step))
    elif step.name == "LABEL":
        state.labels.update(dockerfile.pairs(step))
    elif step.name == "WORKDIR":
        state.workdir = posixpath.normpath(posixpath.join(state.workdir, " ".join(step.words)))
        (rootfs / state.workdir.strip("/")).mkdir(parents=True, exist_ok=True)
    elif step.name == "USER":
        state.user = " ".join(step.words)
    elif step.name == "SHELL":
        state.shell = list(step.words)
    elif step.name == "ENTRYPOINT":
        state.entrypoint = _command(step, state)
    elif step.name == "CMD":
        state.cmd = _command(step, state)


def _command(step: Instruction, state: _State) -> list[str]:
    return list(step.words) if step.is_json else [*state.shell, *step.words]


# ---------------------------------------------------------------- COPY


def _copy(step: Instruction, state: _State, rootfs: Path, context: BuildContext, say: Say) -> None:
    if len(step.words) < 2:
        raise ImageError(
            f"dockerfile parse error on line {step.line}: {step.name} requires at least two"
            " arguments, but only one was provided. Destination could not be determined"
        )
    *sources, destination = step.words
    if "from" in step.flags:
        say(f"{step.text} (skipped in the rehearsal: it takes files that RUN lines would make)")
        return
    if step.name == "ADD" and any(re.match(r"[a-z+]+://|git@", source) for source in sources):
        say(f"{step.text} (skipped in the rehearsal: it would be downloaded)")
        return
    found = [item for source in sources for item in _sources(source, step, context)]
    inside = posixpath.join(state.workdir, destination)
    is_directory = destination.endswith("/") or destination in (".", "..")
    if len(found) > 1 and not is_directory:
        raise ImageError(
            f"dockerfile line {step.line}: when using {step.name} with more than one source file,"
            " the destination must be a directory and end with a /"
        )
    inside = posixpath.normpath(inside)
    target = rootfs / inside.strip("/")
    is_directory = is_directory or target.is_dir()
    count = 0
    for name, source in found:
        if isinstance(source, str):
            path = target / name if is_directory else target
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source, "utf-8")
            state.destinations.append(_container_path(path, rootfs))
            count += 1
        elif source.is_dir():
            count += _copy_directory(source, target, context, step)
            state.destinations.append(inside)
        elif step.name == "ADD" and _is_archive(source):
            target.mkdir(parents=True, exist_ok=True)
            with tarfile.open(source) as opened:
                opened.extractall(target, filter="data")
                count += len(opened.getnames())
            state.destinations.append(inside)
        else:
            path = target / name if is_directory else target
            _copy_file(source, path, step)
            state.destinations.append(_container_path(path, rootfs))
            count += 1
    say(f"{step.text} ({count} {'file' if count == 1 else 'files'})")


def _sources(
    source: str, step: Instruction, context: BuildContext
) -> list[tuple[str, Path]] | list[tuple[str, str]]:
    """Find what a source names: files and directories of the context, or a heredoc's body."""
    if match := re.fullmatch(r"<<-?(\w[\w.]*)", source):
        return [(match[1], step.documents[match[1]])]
    # A path cannot leave the context: docker reads "../x" as "/x".
    wanted = posixpath.normpath(f"/{source}").strip("/")
    found = [(path.name, path) for path in context.match(wanted)]
    if found:
        return found
    if any(character in source for character in "*?["):
        raise ImageError(
            f"dockerfile line {step.line}: {step.name} failed: no source files were specified"
            f" ({source} matches nothing in the build context)"
        )
    ignored = " (it is excluded by .dockerignore)" if context.exists(wanted) else ""
    raise ImageError(
        f"failed to solve: failed to compute cache key: failed to calculate checksum of the build"
        f' context: "/{wanted}": not found{ignored}',
        fix=f"Line {step.line} of the Dockerfile says `{step.text}`; sources are looked up in"
        f" {context.directory}.",
    )


def _copy_directory(source: Path, target: Path, context: BuildContext, step: Instruction) -> int:
    target.mkdir(parents=True, exist_ok=True)
    count = 0
    for directory, names, files in os.walk(source):
        here = Path(directory)
        links = [name for name in names if (here / name).is_symlink()]
        inner = [name for name in names if name not in links]
        names[:] = sorted(name for name in inner if context.may_hold(here / name))
        relative = here.relative_to(source)
        if context.has(here):
            (target / relative).mkdir(parents=True, exist_ok=True)
        for name in sorted([*files, *links]):
            if context.has(here / name):
                _copy_file(here / name, target / relative / name, step)
                count += 1
    return count


def _copy_file(source: Path, target: Path, step: Instruction) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink() or target.is_file():
        target.unlink()
    if not source.is_symlink() and not source.is_file():
        return  # a socket or a pipe: no archive holds one
    try:
        shutil.copy2(source, target, follow_symlinks=False)
    except IsADirectoryError as error:
        raise ImageError(
            f"dockerfile line {step.line}: cannot overwrite a directory with a file: {target.name}"
        ) from error
    if "chmod" in step.flags and not target.is_symlink():
        with contextlib.suppress(ValueError):  # "u+x" and the like change nothing that matters here
            target.chmod(int(step.flags["chmod"], 8) | 0o600)


def _is_archive(path: Path) -> bool:
    return path.is_file() and tarfile.is_tarfile(path)


def _container_path(path: Path, rootfs: Path) -> str:
    return "/" + path.relative_to(rootfs).as_posix()


# ---------------------------------------------------------------- the image


def _seal(state: _State, rootfs: Path, store: ImageStore, system: str, architecture: str) -> Image:
    """Archive, hash and keep what the last stage made."""
    layer = archive(rootfs)
    config: dict[str, Any] = {
        "architecture": architecture.split("/")[0],
        "os": system,
        "created": _EPOCH,
        "config": {
            "Env": [f"{name}={value}" for name, value in state.env.items()],
            "Entrypoint": state.entrypoint or None,
            "Cmd": state.cmd or None,
            "WorkingDir": state.workdir,
            "User": state.user,
            "Labels": dict(sorted(state.labels.items())) or None,
        },
        "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
        "history": [{"created": _EPOCH, "created_by": line} for line in state.history],
    }
    encoded = json.dumps(config, separators=(",", ":")).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {
                "mediaType": CONFIG_TYPE,
                "size": len(encoded),
                "digest": digest_of(encoded),
            },
            "layers": [{"mediaType": LAYER_TYPE, "size": layer.size, "digest": layer.digest}],
        },
        indent=2,
    )
    directory = store.path(digest_of(encoded))
    directory.mkdir(parents=True, exist_ok=True)
    kept = directory / "rootfs"
    if not kept.exists():
        rootfs.replace(kept)
    copies = {path: str(kept / path.strip("/")) for path in sorted(set(state.destinations))}
    image = Image(
        config_digest=digest_of(encoded),
        digest=digest_of(manifest.encode()),
        rootfs=str(kept),
        copies=copies,
        env=state.env,
        workdir=state.workdir,
        entrypoint=state.entrypoint,
        cmd=state.cmd,
        user=state.user,
        manifest=manifest,
    )
    store.save(image)
    return image
