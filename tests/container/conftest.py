"""Real containers without a daemon: buildah builds, podman runs, both in a store of their own.

The official Python image cannot be pulled on a machine without internet, so a stand-in of the same
name is made from Debian's packages (mmdebstrap), with this machine's pip settings and certificates
in it. The generated Dockerfile is built on it unchanged.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from batcat_runtime.config import get_config
from batcat_runtime.deploy.context import context_of, tag_of, write_context
from batcat_runtime.project import new_project

TOOLS = ("mmdebstrap", "buildah", "podman", "runc")
BASE = "docker.io/library/python:3.11-slim"
_PIP_SETTINGS = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_DOCKERFILE = f"""FROM scratch
ADD base.tar /
ENV PIP_CERT={_CERTIFICATES} SSL_CERT_FILE={_CERTIFICATES}
"""


@dataclass(frozen=True)
class Containers:
    """A store of images, and the commands over it."""

    store: Path

    def command(self, tool: str) -> list[str]:
        """Return the start of a command over this store."""
        return [tool, "--root", str(self.store / "root"), "--runroot", str(self.store / "run")]

    def build(self, context: Path, name: str) -> None:
        """Build an image as `docker build` would."""
        build = ["bud", "--isolation", "chroot", "--pull-never", "--quiet", "--tag", name]
        passed = [f"--env={key}={os.environ[key]}" for key in _PIP_SETTINGS if key in os.environ]
        run([*self.command("buildah"), *build, *passed, str(context)])

    def run_job(
        self, image: str, folder: Path, *options: str, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a job's container without network, `folder` mounted as /opt/ml."""
        command = [
            *self.command("podman"),
            "--cgroup-manager=cgroupfs",
            "--events-backend=file",
            f"--runtime={shutil.which('runc')}",
            *("run", "--rm", "--network=none"),
            *("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"),
            *(f"--env={name}={value}" for name, value in environment.items()),
            *options,
            f"--volume={folder}:/opt/ml",
            image,
            "/opt/batcat/script/usage-analysis.py",
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)

    def close(self) -> None:
        """Let go of what the store has mounted."""
        run([*self.command("buildah"), "rm", "--all"])


def run(command: list[str]) -> None:
    """Run a command; its output becomes the failure's message."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


@pytest.fixture(scope="session")
def containers() -> Iterator[Containers]:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if platform.system() != "Linux" or os.geteuid() != 0 or missing:
        pytest.skip(f"real containers need Linux, root, and {', '.join(missing) or 'nothing more'}")
    # podman refuses a run folder whose path has more than 50 characters
    with tempfile.TemporaryDirectory(prefix="bc-", ignore_cleanup_errors=True) as folder:
        store = Containers(Path(folder))
        make_base(store, Path(folder) / "base")
        yield store
        store.close()


def make_base(containers: Containers, folder: Path) -> None:
    """Make the stand-in for the official Python image."""
    folder.mkdir()
    root = folder / "root"
    packages = "--include=python3,python3-venv,ca-certificates"
    run(["mmdebstrap", "--variant=minbase", "--quiet", packages, "bookworm", str(root)])
    run(["chroot", str(root), "python3", "-m", "venv", "--copies", "/usr/local"])
    if Path(_CERTIFICATES).is_file():
        shutil.copyfile(_CERTIFICATES, root / _CERTIFICATES[1:])
    skipped = [f"--exclude=./{name}" for name in ("dev", "proc", "sys")]
    run(["tar", "-C", str(root), *skipped, "-cf", str(folder / "base.tar"), "."])
    shutil.rmtree(root)
    (folder / "Dockerfile").write_text(_DOCKERFILE)
    containers.build(folder, BASE)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_project(
        {"example": "battery"}, no_input=True, output_dir=tmp_path_factory.mktemp("project")
    )


@pytest.fixture(scope="session")
def job_image(
    containers: Containers, project: Path, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """Build the generated Dockerfile, unchanged, from the context that the deployment gathers."""
    context = tmp_path_factory.mktemp("context")
    files = context_of(get_config(project))
    write_context(files, context)
    tag = tag_of(files)
    containers.build(context, f"localhost/batcat-job:{tag}")
    return f"localhost/batcat-job:{tag}"
