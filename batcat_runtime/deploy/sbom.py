"""What the image holds, as a bill of materials: CycloneDX, which auditors and registries read."""

from __future__ import annotations

import re
from typing import Any

from batcat_runtime.deploy.context import Files, tag_of
from batcat_runtime.deploy.lock import LOCK


def sbom_of(files: Files) -> dict[str, Any]:
    """Return the bill of materials of a build context.

    Parameters
    ----------
    files : mapping of str to bytes
        What `context_of` returns.

    Returns
    -------
    dict
        A CycloneDX 1.6 document (https://cyclonedx.org/docs/1.6/json/): the base image, the
        runtime, and each package of the lock. The same context gives the same document.
    """
    dockerfile = files["Dockerfile"].decode()
    arguments = dict(re.findall(r"^ARG (\w+)=(\S*)", dockerfile, re.MULTILINE))
    [base, *_] = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    image, _, tag = re.sub(r"\$\{(\w+)\}", lambda name: arguments[name[1]], base).rpartition(":")
    wheels = [name.removeprefix("wheels/") for name in files if name.startswith("wheels/")]
    lock = files.get(LOCK, b"").decode()
    packages = [tuple(wheel.split("-")[:2]) for wheel in wheels]
    packages += re.findall(r"^([\w.-]+)(?:\[.*?\])?==([^\s;]+)", lock, re.MULTILINE)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": "image", "version": tag_of(files)}},
        "components": [
            {"type": "container", "name": image, "version": tag},
            *(_package(re.sub(r"[-_.]+", "-", name).lower(), text) for name, text in packages),
        ],
    }


def _package(name: str, version: str) -> dict[str, str]:
    purl = f"pkg:pypi/{name}@{version}"
    return {"type": "library", "name": name, "version": version, "purl": purl}
