"""Container images of the rehearsal: a directory of files and a description each, no layers.

The stand-in `docker` writes them under ``<home>/images/<config sha256>/``: ``rootfs/`` holds what
the Dockerfile's COPY lines took from the build context, ``image.json`` says where it goes and how
it is started. Local references (``name:tag``) are files in ``images/references/``. A push puts a
manifest into the embedded ECR whose ``config.digest`` names the image; a processing job finds its
image by asking ECR for that manifest, as SageMaker does, so a job can only run what was pushed.
"""

from __future__ import annotations

import json
import os
import re
import urllib.parse
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from batcat_runtime.errors import ImageError

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"

_REGISTRY = re.compile(r"(\d{12})\.dkr\.ecr(?:-fips)?\.([a-z0-9-]+)\.(amazonaws\.com(?:\.cn)?)")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NAME = re.compile(
    r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
)


@dataclass(frozen=True)
class Reference:
    """An image's name, taken apart.

    Attributes
    ----------
    registry : str
        Host of the registry; empty for a local name.
    repository, tag, digest : str
        `digest` is empty or ``sha256:...``; `tag` is ``latest`` when neither was given.
    """

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Take ``[host/]name[:tag][@sha256:...]`` apart.

        Raises
        ------
        ImageError
            When it is no legal reference; the message is docker's.
        """
        rest, _, digest = text.partition("@")
        registry, slash, name = rest.partition("/")
        if not slash or not ("." in registry or ":" in registry or registry == "localhost"):
            registry, name = "", rest
        name, colon, tag = name.partition(":")
        bad = not _NAME.fullmatch(name) or (digest and not _DIGEST.fullmatch(digest))
        if bad or (colon and not _TAG.fullmatch(tag)):
            raise ImageError(
                f'invalid reference format: "{text}" is no image name',
                fix="Use lower case and a tag of letters, digits, `.`, `_` or `-`: battery:1.0.",
            )
        return cls(registry, name, tag or ("" if digest else "latest"), digest)

    @property
    def account_id(self) -> str:
        """The account that owns the ECR registry; empty for another registry."""
        match = _REGISTRY.fullmatch(self.registry)
        return match[1] if match else ""

    @property
    def name(self) -> str:
        """Registry and repository, without tag or digest."""
        return f"{self.registry}/{self.repository}" if self.registry else self.repository

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}{'@' + self.digest if self.digest else ''}"


@dataclass(frozen=True)
class Image:
    """What `docker build` made: files, and how to start them.

    Attributes
    ----------
    config_digest : str
        ``sha256:...`` of the image's configuration: its identity, and the name of its directory.
    digest : str
        ``sha256:...`` of its manifest, which is what a registry calls it.
    copies : dict[str, str]
        Container path to host path, for each destination of a COPY line.
    env, workdir, entrypoint, cmd
        As the Dockerfile's last stage sets them.
    requirements : list of str or None
        What its RUN lines install with pip; None: they do not say.
    wheels : list of str
        Host paths of wheels that they install.
    manifest : str
        The manifest, byte for byte.
    """

    config_digest: str
    digest: str
    copies: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    entrypoint: list[str] = field(default_factory=list)
    cmd: list[str] = field(default_factory=list)
    requirements: list[str] | None = None
    wheels: list[str] = field(default_factory=list)
    manifest: str = ""

    @property
    def identity(self) -> str:
        """The config digest as the name of a folder."""
        return self.config_digest.removeprefix("sha256:")


class ImageStore:
    """The images of one rehearsal, in ``<home>/images``.

    Parameters
    ----------
    home : Path
        The embedded AWS's own directory.
    """

    def __init__(self, home: Path) -> None:
        self.directory = home / "images"

    def path(self, config_digest: str) -> Path:
        """Return the directory of an image, whether or not it exists."""
        return self.directory / config_digest.removeprefix("sha256:")

    def save(self, image: Image) -> None:
        """Write an image's description; its files are in place already."""
        _write(self.path(image.config_digest) / "image.json", json.dumps(asdict(image), indent=2))

    def load(self, config_digest: str) -> Image:
        """Read an image's description.

        Raises
        ------
        ImageError
            When this machine has no such image.
        """
        try:
            text = (self.path(config_digest) / "image.json").read_text("utf-8")
        except FileNotFoundError as error:
            raise ImageError(
                f"The image {config_digest} is in the registry, but was not built here.",
                fix="Build and push it with the `docker` that the rehearsal puts on PATH.",
            ) from error
        return Image(**json.loads(text))

    def tag(self, reference: Reference, image: Image) -> None:
        """Let a local reference name an image."""
        _write(self._reference_path(reference), image.config_digest)

    def find(self, reference: Reference) -> Image | None:
        """Return the image of a local reference."""
        try:
            return self.load(self._reference_path(reference).read_text("utf-8"))
        except FileNotFoundError:
            return None

    def _reference_path(self, reference: Reference) -> Path:
        return self.directory / "references" / urllib.parse.quote(str(reference), safe="")


def find_in_registry(ecr: Any, uri: str, store: ImageStore) -> Image:
    """Find the image of an ImageUri through ECR, as a job's host would pull it.

    Parameters
    ----------
    ecr : botocore client
        The embedded ECR.
    uri : str
        ``host/repository:tag`` or ``host/repository@sha256:...``.
    store : ImageStore
        Where the image's files are.

    Raises
    ------
    ImageError
        With the words in which SageMaker reports it.
    """
    reference = Reference.parse(uri)
    unknown = f"API error (404): manifest for {uri} not found: manifest unknown:"
    if not reference.account_id:
        raise ImageError(
            f"{unknown} Requested image not found. (The embedded AWS holds the images that were "
            "pushed to it; this is none of them.)"
        )
    wanted = {"imageDigest": reference.digest} if reference.digest else {"imageTag": reference.tag}
    try:
        images = ecr.batch_get_image(
            registryId=reference.account_id,
            repositoryName=reference.repository,
            imageIds=[wanted],
        )["images"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "RepositoryNotFoundException":
            raise
        said = error.response["Error"]["Message"]
        raise ImageError(f"API error (404): name unknown: {said}") from error
    if not images:
        raise ImageError(f"{unknown} Requested image not found")
    return store.load(json.loads(images[0]["imageManifest"])["config"]["digest"])


def put_image(ecr: Any, reference: Reference, image: Image) -> None:
    """Register an image under a tag, unless it is there already.

    Raises
    ------
    ImageError
        In docker's words.
    """
    place = {"registryId": reference.account_id, "repositoryName": reference.repository}
    try:
        # Docker asks before it uploads; a missing repository is found out here.
        tag = {"imageTag": reference.tag}
        present = ecr.batch_get_image(**place, imageIds=[tag])["images"]
        if present and present[0]["imageId"]["imageDigest"] == image.digest:
            return
        ecr.put_image(
            **place,
            **tag,
            imageManifest=image.manifest,
            imageManifestMediaType=MANIFEST_TYPE,
            imageDigest=image.digest,
        )
    except ClientError as error:
        said = error.response["Error"].get("Message") or str(error)
        if error.response["Error"]["Code"] == "RepositoryNotFoundException":
            said = f"name unknown: {said}"
        raise ImageError(said) from error


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}"[:200])
    temporary.write_text(text, "utf-8")
    temporary.replace(path)
