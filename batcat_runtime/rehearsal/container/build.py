"""Builds an image as a rehearsal can: the COPY lines for real, the RUN lines by name only.

What a job needs from its image is the project's files at the right paths, the environment, the
working directory, the entrypoint, and to know which packages `pip install` lines would have put
there (`aws.jobs.packages` makes a Python of them). So every stage is walked, files are copied into
a directory, and what was not done is said line by line. The image's digest is that of its files
and of its configuration: the same content gives the same digest on every machine.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import posixpath
import re
import shlex
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from batcat_runtime.errors import ImageError

from .dockerfile import Instruction, parse
from .images import CONFIG_TYPE, MANIFEST_TYPE, Image, ImageStore

_INSTALL = re.compile(r"\bpip3? +install +([^&|;\n]*)")

Say = Callable[[str], None]


@dataclass
class _Stage:
    """What a stage has made so far."""

    rootfs: Path
    # What a base image has, as far as anybody knows.
    env: dict[str, str] = field(
        default_factory=lambda: {"PATH": "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin"}
    )
    args: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    shell: list[str] = field(default_factory=lambda: ["/bin/sh", "-c"])
    entrypoint: list[str] = field(default_factory=list)
    cmd: list[str] = field(default_factory=list)
    destinations: list[str] = field(default_factory=list)
    history: list[str] = field(default_factory=list)

    def inside(self, path: str) -> tuple[str, Path]:
        """Return a path of the container, absolute, and where it is here."""
        absolute = posixpath.normpath(posixpath.join(self.workdir, path))
        return absolute, self.rootfs / absolute.strip("/")


@dataclass
class _Build:
    """A Dockerfile's way from its first line to its last."""

    context: Path
    scratch: Path
    say: Say
    args: dict[str, str]
    stages: dict[str, _Stage] = field(default_factory=dict)
    # What RUN lines of any stage install with pip; None: none of them does.
    requirements: list[str] | None = None
    wheels: list[Path] = field(default_factory=list)

    def run(self, steps: list[Instruction]) -> _Stage:
        """Do what the instructions say; return the last stage."""
        stage: _Stage | None = None
        for step in steps:
            if step.name == "FROM":
                stage = self._begin(step)
            elif stage is None and step.name == "ARG":
                self.args |= _declared(step, self.args, {})
            elif stage is None:
                raise step.error(f"no build stage in current context: {step.text}")
            else:
                stage.history.append(step.text)
                self._apply(step, stage)
        if stage is None:
            raise ImageError("dockerfile parse error: the file has no FROM line")
        return stage

    def _begin(self, step: Instruction) -> _Stage:
        words = step.words(self.args)
        if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
            raise step.error("FROM requires either one or three arguments")
        rootfs = self.scratch / str(len(self.stages))
        if earlier := self.stages.get(words[0].lower()):
            stage = copy.deepcopy(earlier)
            stage.rootfs, stage.args = rootfs, {}
            shutil.copytree(earlier.rootfs, rootfs, symlinks=True)
        else:
            stage = _Stage(rootfs, history=[f"FROM {words[0]}"])
            rootfs.mkdir(parents=True)
            self.say(f"FROM {words[0]} (not pulled: the job uses this machine's Python)")
        self.stages[words[2].lower() if len(words) == 3 else str(len(self.stages))] = stage
        return stage

    def _apply(self, step: Instruction, stage: _Stage) -> None:
        variables = stage.args | stage.env
        if step.name == "ARG":
            stage.args |= _declared(step, variables, self.args)
        elif step.name == "ENV":
            stage.env |= step.pairs(variables)
        elif step.name == "WORKDIR":
            stage.workdir, here = stage.inside(" ".join(step.words(variables)))
            here.mkdir(parents=True, exist_ok=True)
        elif step.name in ("ENTRYPOINT", "CMD", "SHELL"):
            words = step.json_words()
            command = [*stage.shell, step.rest] if words is None else words
            setattr(stage, step.name.lower(), command)
        elif step.name == "RUN":
            self.say(f"{step.text} (not run in the rehearsal)")
            self._note_packages(step, stage)
        elif step.name in ("COPY", "ADD"):
            self._copy(step, stage, step.words(variables))

    def _note_packages(self, step: Instruction, stage: _Stage) -> None:
        """Keep what a RUN line would install: requirements files, wheels and names."""
        _, here = stage.inside(".")
        text = f"{' '.join(step.json_words() or [step.rest])}\n{step.document}"
        for match in _INSTALL.finditer(text.replace("\\\n", " ")):
            lines = self.requirements = self.requirements or []
            try:
                words = iter(shlex.split(match[1]))
            except ValueError:  # a quote that goes on behind a ";"
                continue
            for word in words:
                name, equals, value = word.partition("=")
                if word in ("-r", "--requirement") or name == "--requirement":
                    path = here / (value if equals else next(words, ""))
                    lines += path.read_text("utf-8").splitlines() if path.is_file() else []
                elif word.endswith(".whl"):
                    self.wheels += sorted(here.glob(word.lstrip("/")))
                elif not word.startswith(("-", ".", "/")):
                    lines.append(word)

    def _copy(self, step: Instruction, stage: _Stage, words: list[str]) -> None:
        if len(words) < 2:
            raise step.error(f"{step.name} requires at least two arguments")
        *names, destination = words
        if "from" in step.flags:
            self.say(f"{step.text} (skipped in the rehearsal: RUN lines would make these files)")
            return
        if step.document or any(re.match(r"[a-z+]+://|git@", name) for name in names):
            self.say(f"{step.text} (skipped in the rehearsal: only files of the context are here)")
            return
        sources = [source for name in names for source in self._sources(name, step)]
        if step.name == "ADD" and any(map(_is_archive, sources)):
            self.say(f"{step.text} (skipped in the rehearsal: it unpacks an archive)")
            return
        into = destination.endswith("/") or destination in (".", "..")
        if len(sources) > 1 and not into:
            raise step.error(
                f"when using {step.name} with more than one source file, the destination must be"
                " a directory and end with a /"
            )
        inside, target = stage.inside(destination)
        for source in sources:
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True)
                stage.destinations.append(inside)
                continue
            path = target / source.name if into or target.is_dir() else target
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, path)
            if re.fullmatch("[0-7]+", mode := step.flags.get("chmod", "")):
                path.chmod(int(mode, 8) | 0o600)
            stage.destinations.append(f"/{path.relative_to(stage.rootfs).as_posix()}")
        self.say(step.text)

    def _sources(self, name: str, step: Instruction) -> Iterator[Path]:
        """Find the files and directories of the context that a source names."""
        # A path cannot leave the context: docker reads "../x" as "/x".
        wanted = posixpath.normpath(f"/{name}").strip("/")
        found = sorted(self.context.glob(wanted)) if wanted else [self.context]
        yield from found
        if not found:
            raise ImageError(
                "failed to solve: failed to compute cache key: failed to calculate checksum of"
                f' the build context: "/{wanted}": not found',
                fix=f"Line {step.line} of the Dockerfile says `{step.text}`; the build context"
                " holds script/, wheels/, requirements.txt and requirements.lock.",
            )


def build(
    context: Path, store: ImageStore, *, platform: str = "linux/amd64", say: Say = lambda line: None
) -> Image:
    """Build an image from a directory and the Dockerfile in it.

    Parameters
    ----------
    context : Path
        The directory that COPY lines take from.
    store : ImageStore
        Where the image goes.
    platform : str
        What the image says it is for.
    say : Callable[[str], None]
        Receives one line for each thing that is done, or not done.

    Raises
    ------
    ImageError
        In docker's words: no Dockerfile, a mistake in it, a source that is not in the context.
    """
    try:
        text = (context / "Dockerfile").read_text("utf-8")
    except OSError as error:
        raise ImageError(
            f"failed to read dockerfile: open {context / 'Dockerfile'}: {error.strerror}"
        ) from error
    store.directory.mkdir(parents=True, exist_ok=True)
    scratch = store.directory / f".build-{os.getpid()}"
    system, _, architecture = platform.partition("/")
    known = {"TARGETPLATFORM": platform, "TARGETOS": system, "TARGETARCH": architecture}
    try:
        made = _Build(context, scratch, say, known)
        return _keep(made.run(parse(text)), made, store, platform)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _declared(
    step: Instruction, variables: dict[str, str], inherited: dict[str, str]
) -> dict[str, str]:
    """Return the values of the names of an ARG line."""
    split = [word.partition("=") for word in step.words(variables)]
    return {
        name: default if equals else inherited[name]
        for name, equals, default in split
        if equals or name in inherited
    }


def _is_archive(path: Path) -> bool:
    return path.is_file() and tarfile.is_tarfile(path)


def _keep(stage: _Stage, made: _Build, store: ImageStore, platform: str) -> Image:
    """Hash what the last stage made, and keep it."""
    files = {
        path.relative_to(stage.rootfs).as_posix(): _digest_of(path.read_bytes())
        for path in sorted(stage.rootfs.rglob("*"))
        if path.is_file()
    }
    system, _, architecture = platform.partition("/")
    config = {
        "architecture": architecture,
        "os": system,
        "config": {"Env": stage.env, "Entrypoint": stage.entrypoint, "Cmd": stage.cmd},
        "history": stage.history,
        "files": files,
        # What RUN lines install is no file here, and makes another image all the same.
        "packages": [made.requirements, [_digest_of(path.read_bytes()) for path in made.wheels]],
    }
    encoded = json.dumps(config, sort_keys=True).encode()
    digest = _digest_of(encoded)
    described = {"mediaType": CONFIG_TYPE, "size": len(encoded), "digest": digest}
    manifest = json.dumps(
        {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": described, "layers": []}
    )
    directory = store.path(digest)
    directory.mkdir(parents=True, exist_ok=True)
    kept = directory / "rootfs"
    if not kept.exists():
        stage.rootfs.replace(kept)
    image = Image(
        config_digest=digest,
        digest=_digest_of(manifest.encode()),
        copies={path: str(kept / path.strip("/")) for path in sorted(set(stage.destinations))},
        env=stage.env,
        workdir=stage.workdir,
        entrypoint=stage.entrypoint,
        cmd=stage.cmd,
        requirements=made.requirements,
        wheels=[str(shutil.copy2(path, directory / path.name)) for path in made.wheels],
        manifest=manifest,
    )
    store.save(image)
    return image


def _digest_of(data: bytes) -> str:
    """Return the digest of some bytes, as registries write it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
