"""The example's image in real containers: built, run, pushed to a registry and pulled again.

One file, since making the base image takes a minute and tests are shared out by file.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Containers, run

WINDOW = {"BATCAT_DATE_START": "2022-01-01", "BATCAT_DATE_END": "2022-01-08"}
RUN = {"BATCAT_PURPOSE": "usage-analysis", "BATCAT_RUN_ID": "r-1", **WINDOW}  # from the workflow
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


@pytest.fixture
def ml(tmp_path: Path, project: Path) -> Path:
    """Make a folder laid out as SageMaker lays out /opt/ml, with the sample as input."""
    root = tmp_path / "ml"
    (root / "processing" / "output").mkdir(parents=True)
    (root / "output").mkdir()
    shutil.copytree(project / "data" / "raw" / "usage", root / "processing" / "input" / "usage")
    return root


@pytest.fixture(scope="session")
def expected(project: Path) -> bytes:
    """Return the result of the same script, run on this machine."""
    environment = {**os.environ, **WINDOW, "BATCAT_ML_ROOT": str(project / "nowhere")}
    script = project / "script" / "usage-analysis.py"
    subprocess.run([sys.executable, str(script)], env=environment, check=True)
    return next((project / "data" / "result").rglob("usage-analysis.csv")).read_bytes()


def result(ml: Path) -> Path:
    return ml / "processing" / "output" / "date=2022-01-01" / "run=r-1"


@pytest.mark.parametrize(
    "options",
    [(), ("--user=1234:1234", "--read-only")],
    ids=["as root", "as another user, read-only"],
)
def test_the_job_runs_without_network(
    containers: Containers, job_image: str, ml: Path, expected: bytes, options: tuple[str, ...]
) -> None:
    if options:
        for path in [ml, *ml.rglob("*")]:
            os.chown(path, 1234, 1234)
    done = containers.run_job(job_image, ml, *options, **RUN)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (result(ml) / "usage-analysis.csv").read_bytes() == expected
    assert json.loads((result(ml) / "_manifest.json").read_text())["rows"] == 15


def test_a_failing_job_leaves_its_reason(containers: Containers, job_image: str, ml: Path) -> None:
    shutil.rmtree(ml / "processing" / "input")
    done = containers.run_job(job_image, ml, **RUN)
    assert done.returncode == 1
    assert "There is no input 'usage'" in (ml / "output" / "message").read_text()
    assert list((ml / "processing" / "output").iterdir()) == []


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return host and port of Debian's docker-registry on loopback."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not here: apt-get install docker-registry")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    folder = tmp_path_factory.mktemp("registry")
    settings = folder / "config.yml"
    settings.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder / 'data'}}}}}\n"
        f"http: {{addr: '{address}'}}\n"
    )
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([program, "serve", str(settings)], stdout=log, stderr=log)
    try:
        for _ in range(100):
            try:
                urllib.request.urlopen(f"http://{address}/v2/", timeout=1)
                break
            except OSError:
                assert server.poll() is None, (folder / "log").read_text()
                time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait(10)


def test_what_is_pushed_is_pulled_by_digest_and_runs(
    containers: Containers, job_image: str, registry: str, ml: Path
) -> None:
    target = f"{registry}/battery:{job_image.rpartition(':')[2]}"
    buildah = containers.command("buildah")
    run([*buildah, "tag", job_image, target])
    run([*buildah, "push", "--tls-verify=false", "--format", "v2s2", target])
    digest = manifest_digest(registry, "battery", target.rpartition(":")[2])
    pinned = f"{registry}/battery@{digest}"
    run([*containers.command("podman"), "pull", "--quiet", "--tls-verify=false", pinned])
    done = containers.run_job(pinned, ml, **RUN)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((result(ml) / "_manifest.json").read_text())["rows"] == 15


def manifest_digest(registry: str, repository: str, tag: str) -> str:
    """Return the digest of a tag; SageMaker takes Docker's own kind of manifest, not a list."""
    request = urllib.request.Request(
        f"http://{registry}/v2/{repository}/manifests/{tag}", headers={"Accept": DOCKER_MANIFEST}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        manifest = json.load(answer)
        assert manifest["mediaType"] == DOCKER_MANIFEST
        return str(answer.headers["Docker-Content-Digest"])


@pytest.mark.parametrize("tool", ["podman", "buildah"])
def test_the_deployment_s_own_commands_are_those_of_the_tool(
    containers: Containers, tool: str, tmp_path: Path
) -> None:
    """Have the real tools parse the flags that `ContainerTool` gives them."""
    from batcat_runtime.deploy.builders import ContainerTool
    from batcat_runtime.errors import ImageError

    wrapper = tmp_path / tool
    words = " ".join(containers.command(tool))
    isolation = "--isolation chroot" if tool == "buildah" else ""
    wrapper.write_text(
        f'#!/bin/sh\nverb=$1; shift\n[ "$verb" = build ] && set -- {isolation} "$@"\n'
        f'echo "$verb $@" >> {tmp_path}/said\nexec {words} "$verb" "$@"\n'
    )
    wrapper.chmod(0o755)
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")

    class Ecr:
        def get_authorization_token(self) -> dict[str, list[dict[str, str]]]:
            return {"authorizationData": [{"authorizationToken": "QVdTOnBhc3N3b3Jk"}]}

    os.environ["REGISTRY_AUTH_FILE"] = str(tmp_path / "auth.json")
    try:
        builder = ContainerTool(tool, str(wrapper), Ecr())
        # Nothing listens there, so the log-in is what fails: everything before it has worked.
        with pytest.raises(ImageError, match=f"`{tool} login` failed"):
            builder.build_and_push(context, "127.0.0.1:1/battery", "tag")
    finally:
        del os.environ["REGISTRY_AUTH_FILE"]
    assert (
        "--platform linux/amd64 --format docker --tag 127.0.0.1:1/battery:tag"
        in (tmp_path / "said").read_text()
    )
