"""Builds an image as a rehearsal can: the COPY lines for real, the RUN lines by name only.

What a job needs from its image is the project's files at the right paths, the environment, the
working directory, the entrypoint, and to know which packages `pip install` lines would have put
there (`aws.jobs.packages` makes a Python of them). So every stage is walked, files are copied into
a directory, and what was not done is said line by line. The image's digest is that of a canonical
archive of the files plus its configuration: the same files give the same digest on every machine,
whatever their times and owners.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import os
import posixpath
import re
import shlex
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batcat_runtime.errors import ImageError

from . import dockerfile
from .context import BuildContext
from .dockerfile import Instruction, Stage
from .images import CONFIG_TYPE, LAYER_TYPE, MANIFEST_TYPE, Image, ImageStore

_EPOCH = "1970-01-01T00:00:00Z"
_INSTALL = re.compile(r"\bpip3? +install +([^&|;\n]*)")

Say = Callable[[str], None]


@dataclass
class _State:
    """What a stage has made so far."""

    env: dict[str, str] = field(default_factory=lambda: dict(dockerfile.FIRST_ENVIRONMENT))
    workdir: str = "/"
    entrypoint: list[str] = field(default_factory=list)
    cmd: list[str] = field(default_factory=list)
    shell: list[str] = field(default_factory=lambda: ["/bin/sh", "-c"])
    user: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    destinations: list[str] = field(default_factory=list)
    history: list[str] = field(default_factory=list)


@dataclass
class _Installed:
    """What RUN lines of any stage install with pip."""

    lines: list[str] = field(default_factory=list)
    wheels: list[Path] = field(default_factory=list)
    known: bool = False


def build(
    context: Path,
    store: ImageStore,
    *,
    file: Path | None = None,
    build_args: Mapping[str, str] | None = None,
    target: str = "",
    platform: str = "linux/amd64",
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
    known = {"TARGETPLATFORM": platform, "TARGETOS": system, "TARGETARCH": architecture}
    stages = _wanted_stages(dockerfile.parse(text, {**known, **(build_args or {})}), target)
    store.directory.mkdir(parents=True, exist_ok=True)
    scratch = store.directory / f".build-{os.getpid()}"
    try:
        installed = _Installed()
        state = _run_stages(stages, BuildContext(context, file), scratch, installed, say)
        return _seal(state, scratch / str(len(stages) - 1), store, platform, installed)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _wanted_stages(stages: list[Stage], target: str) -> list[Stage]:
    if not target:
        return stages
    for index, stage in enumerate(stages):
        if target.lower() in (stage.name, str(index)):
            return stages[: index + 1]
    raise ImageError(f"target stage {target!r} could not be found")


def _run_stages(
    stages: list[Stage], context: BuildContext, scratch: Path, installed: _Installed, say: Say
) -> _State:
    done: dict[str, tuple[_State, Path]] = {}
    state = _State()
    for index, stage in enumerate(stages):
        rootfs = scratch / str(index)
        if earlier := done.get(stage.base.lower()):
            state = copy.deepcopy(earlier[0])
            shutil.copytree(earlier[1], rootfs, symlinks=True)
        else:
            state = _State(history=[f"FROM {stage.base}"])
            rootfs.mkdir(parents=True)
            say(f"FROM {stage.base} (not pulled: the job uses this machine's Python)")
        for step in stage.instructions:
            state.history.append(step.text)
            if step.name == "RUN":
                say(f"{step.text} (not run in the rehearsal)")
                _note_packages(step, state, rootfs, installed)
            elif step.name in ("COPY", "ADD"):
                _copy(step, state, rootfs, context, say)
            else:
                _apply(step, state, rootfs)
        done[str(index)] = done[stage.name or str(index)] = (state, rootfs)
    return state


def _apply(step: Instruction, state: _State, rootfs: Path) -> None:
    if step.name == "ENV":
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
    elif step.name in ("ENTRYPOINT", "CMD"):
        command = list(step.words) if step.is_json else [*state.shell, *step.words]
        setattr(state, step.name.lower(), command)


def _note_packages(step: Instruction, state: _State, rootfs: Path, installed: _Installed) -> None:
    """Keep what a RUN line would install: requirements files, wheels and names."""
    here = rootfs / state.workdir.strip("/")
    text = "\n".join([" ".join(step.words), *step.documents.values()]).replace("\\\n", " ")
    for match in _INSTALL.finditer(text):
        installed.known = True
        try:
            words = iter(shlex.split(match[1]))
        except ValueError:
            continue
        for word in words:
            name, equals, value = word.partition("=")
            if word in ("-r", "--requirement") or name == "--requirement":
                path = here / (value if equals else next(words, ""))
                installed.lines += path.read_text("utf-8").splitlines() if path.is_file() else []
            elif word.endswith(".whl"):
                installed.wheels += sorted(here.glob(word.lstrip("/")))
            elif not word.startswith(("-", ".", "/")):
                installed.lines.append(word)


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
    is_directory = destination.endswith("/") or destination in (".", "..")
    if len(found) > 1 and not is_directory:
        raise ImageError(
            f"dockerfile line {step.line}: when using {step.name} with more than one source file,"
            " the destination must be a directory and end with a /"
        )
    inside = posixpath.normpath(posixpath.join(state.workdir, destination))
    target = rootfs / inside.strip("/")
    is_directory = is_directory or target.is_dir()
    count = 0
    for name, source in found:
        if isinstance(source, Path) and source.is_dir():
            count += _copy_directory(source, target, context, step)
            state.destinations.append(inside)
        elif isinstance(source, Path) and step.name == "ADD" and tarfile.is_tarfile(source):
            target.mkdir(parents=True, exist_ok=True)
            with tarfile.open(source) as opened:
                opened.extractall(target, filter="data")
                count += len(opened.getnames())
            state.destinations.append(inside)
        else:
            path = target / name if is_directory else target
            _copy_file(source, path, step)
            state.destinations.append("/" + path.relative_to(rootfs).as_posix())
            count += 1
    say(f"{step.text} ({count} {'file' if count == 1 else 'files'})")


def _sources(
    source: str, step: Instruction, context: BuildContext
) -> Iterator[tuple[str, Path | str]]:
    """Find what a source names: files and directories of the context, or a heredoc's body."""
    if match := re.fullmatch(r"""<<-?["']?(\w[\w.]*)["']?""", source):
        yield match[1], step.documents[match[1]]
        return
    # A path cannot leave the context: docker reads "../x" as "/x".
    wanted = posixpath.normpath(f"/{source}").strip("/")
    found = context.match(wanted)
    yield from ((path.name, path) for path in found)
    if found:
        return
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
    for path in sorted(source.rglob("*")):
        if context.has(path):
            place = target / path.relative_to(source)
            if path.is_dir() and not path.is_symlink():
                place.mkdir(parents=True, exist_ok=True)
            else:
                _copy_file(path, place, step)
                count += 1
    return count


def _copy_file(source: Path | str, target: Path, step: Instruction) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink() or target.is_file():
        target.unlink()
    if isinstance(source, str):
        target.write_text(source, "utf-8")
    elif source.is_symlink() or source.is_file():
        try:
            shutil.copy2(source, target, follow_symlinks=False)
        except IsADirectoryError as error:
            raise ImageError(
                f"dockerfile line {step.line}: cannot overwrite a directory with a file:"
                f" {target.name}"
            ) from error
    else:
        return  # a socket or a pipe: no archive holds one
    if "chmod" in step.flags and not target.is_symlink():
        with contextlib.suppress(ValueError):  # "u+x" and the like change nothing that matters here
            target.chmod(int(step.flags["chmod"], 8) | 0o600)


# ---------------------------------------------------------------- the image


def _seal(
    state: _State, rootfs: Path, store: ImageStore, platform: str, installed: _Installed
) -> Image:
    """Archive, hash and keep what the last stage made."""
    layer = _Layer()
    layer.take(rootfs)
    system, architecture, *_ = [*platform.split("/"), "amd64"]
    # What RUN lines install is no file here, and makes another image all the same.
    packages = [*installed.lines, *(_digest_of(wheel.read_bytes()) for wheel in installed.wheels)]
    history = [*state.history, f"packages {_digest_of(json.dumps(packages).encode())}"]
    config: dict[str, Any] = {
        "architecture": architecture,
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
        "history": [{"created": _EPOCH, "created_by": line} for line in history],
    }
    encoded = json.dumps(config, separators=(",", ":")).encode()
    described = {"mediaType": CONFIG_TYPE, "size": len(encoded), "digest": _digest_of(encoded)}
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": described,
            "layers": [{"mediaType": LAYER_TYPE, "size": layer.size, "digest": layer.digest}],
        },
        indent=2,
    )
    directory = store.path(_digest_of(encoded))
    directory.mkdir(parents=True, exist_ok=True)
    kept = directory / "rootfs"
    if not kept.exists():
        rootfs.replace(kept)
    wheels = [shutil.copy2(wheel, directory / wheel.name) for wheel in installed.wheels]
    image = Image(
        config_digest=_digest_of(encoded),
        digest=_digest_of(manifest.encode()),
        copies={path: str(kept / path.strip("/")) for path in sorted(set(state.destinations))},
        env=state.env,
        workdir=state.workdir,
        entrypoint=state.entrypoint,
        cmd=state.cmd,
        requirements=installed.lines if installed.known else None,
        wheels=[str(wheel) for wheel in wheels],
        manifest=manifest,
    )
    store.save(image)
    return image


class _Layer(io.RawIOBase):
    """An image's files as an archive that is hashed as it is written and never kept.

    Not compressed: compressed bytes differ between machines, and with them the digest would.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: Any) -> int:
        self._hash.update(data)
        self.size += len(data)
        return len(data)

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"

    def take(self, rootfs: Path) -> None:
        """Pack a directory in order of name, with times and owners left out."""
        with tarfile.open(None, "w|", self, format=tarfile.PAX_FORMAT) as packed:
            for path in sorted(rootfs.rglob("*"), key=lambda item: item.as_posix()):
                member = packed.gettarinfo(path, path.relative_to(rootfs).as_posix())
                member.mtime = member.uid = member.gid = 0
                member.uname = member.gname = ""
                executable = member.isdir() or member.mode & 0o100
                member.mode = 0o755 if executable else 0o644
                # Two names of one file are two files here, as they are in a fresh clone.
                if member.islnk():
                    member.type, member.linkname = tarfile.REGTYPE, ""
                    member.size = path.stat().st_size
                with contextlib.ExitStack() as stack:
                    content = stack.enter_context(path.open("rb")) if member.isreg() else None
                    packed.addfile(member, content)


def _digest_of(data: bytes) -> str:
    """Return the digest of some bytes, as registries write it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
