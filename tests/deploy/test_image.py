"""The build context: what the image is made of, and a tag that follows from its content."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from batcat_runtime import __version__
from batcat_runtime.config import get_config
from batcat_runtime.deploy.context import code_sha256, context_of, tag_of, wheel_of_runtime
from batcat_runtime.errors import ImageError
from batcat_runtime.project import new_project
from tests.conftest import REPOSITORY, batcat


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return new_project({}, no_input=True, output_dir=tmp_path)


def tag(project: Path) -> str:
    return tag_of(context_of(get_config(project)))


def test_the_tag_follows_the_content(project: Path) -> None:
    first = tag(project)
    (project / "script" / "__pycache__").mkdir(exist_ok=True)
    (project / "script" / "__pycache__" / "a.pyc").write_text("x")
    (project / "README.md").write_text("not in the image")
    assert tag(project) == first
    (project / "script" / "other.py").write_text("print(2)\n")
    assert tag(project) != first


def test_the_context_is_written_for_who_builds_elsewhere(project: Path, tmp_path: Path) -> None:
    done = batcat("image", "-C", project, "--context", tmp_path / "context")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"and push it as {tag(project)}\n")
    names = {path.name for path in (tmp_path / "context").iterdir()}
    assert names == {"Dockerfile", "requirements.lock", "requirements.txt", "script", "wheels"}


def test_what_the_image_holds_is_written_as_a_bill_of_materials(
    project: Path, tmp_path: Path
) -> None:
    done = batcat("image", "-C", project, "--sbom", tmp_path / "sbom.json")
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "sbom.json").read_text("utf-8"))
    assert (content["bomFormat"], content["specVersion"]) == ("CycloneDX", "1.6")
    assert content["metadata"]["component"]["version"] == tag(project)
    base, runtime, *packages = content["components"]
    assert base == {"type": "container", "name": "python", "version": "3.11-slim"}
    assert runtime["purl"] == f"pkg:pypi/batcat-runtime@{__version__}"
    lock = (project / "deploy" / "docker" / "requirements.lock").read_text("utf-8")
    pinned = {line.split()[0] for line in lock.splitlines() if re.match(r"[a-z].*==", line)}
    assert len(packages) > 10
    assert {f"{part['name']}=={part['version']}" for part in packages} == pinned


def test_a_missing_dockerfile_is_named(project: Path) -> None:
    (project / "deploy" / "docker" / "Dockerfile").unlink()
    with pytest.raises(ImageError, match="Dockerfile"):
        tag(project)


def test_a_link_to_nowhere_is_named(project: Path) -> None:
    (project / "script" / "shared.py").symlink_to("gone.py")
    with pytest.raises(ImageError, match=r"shared\.py cannot be read: No such file"):
        tag(project)


def test_an_import_that_the_lock_lacks_is_named_with_its_line(project: Path) -> None:
    script = project / "script" / "usage-analysis.py"
    script.write_text("import pandas\nimport moto\n\ndef late():\n    from moto import mock_aws\n")
    (project / "script" / "mine.py").write_text("import os\nimport usage_helpers\n")
    (project / "script" / "usage_helpers.py").write_text(
        "try:\n    import duckdb\nexcept ImportError:\n    duckdb = None\n"
    )
    with pytest.raises(ImageError) as caught:
        tag(project)
    assert "moto: script/usage-analysis.py, line 2; script/usage-analysis.py, line 5" in str(
        caught.value
    )
    assert "duckdb" not in str(caught.value)
    assert "Add moto to deploy/docker/requirements.txt" in caught.value.fix


def test_the_wheel_installs_and_holds_what_a_job_needs(tmp_path: Path) -> None:
    name, wheel = wheel_of_runtime()
    wheel_of_runtime.cache_clear()
    assert wheel == wheel_of_runtime()[1], "the same bytes every time"
    assert len(wheel) <= 160_000
    (tmp_path / name).write_bytes(wheel)
    target = tmp_path / "installed"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*install, "--target", str(target), str(tmp_path / name)], check=True)

    def run(code: str) -> subprocess.CompletedProcess[str]:
        start = f"import sys; sys.path.insert(0, {str(target)!r}); import batcat_runtime as bc; "
        command = [sys.executable, "-I", "-c", start + code]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = run("bc.read_csv_from_bucket, bc.processing_job, bc.get_config; print(bc.__file__)")
    assert str(target) in done.stdout, done.stderr
    assert "bc.deploy is not in the image" in run("bc.deploy()").stderr
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        folders = {Path(one).parts[1] for one in archive.namelist()}
    assert not folders & {"deploy", "operate", "rehearsal", "commands", "_template"}


def test_a_change_outside_the_image_leaves_tag_and_code_alone(
    project: Path, tmp_path: Path
) -> None:
    here = tmp_path / "elsewhere" / "batcat_runtime"
    shutil.copytree(REPOSITORY / "batcat_runtime", here, ignore=shutil.ignore_patterns("*.pyc"))

    def asked() -> list[str]:
        code = (
            "from batcat_runtime.config import get_config\n"
            "from batcat_runtime.deploy.context import code_sha256, context_of, tag_of\n"
            f"config = get_config({str(project)!r})\n"
            "print(tag_of(context_of(config)), code_sha256(config, 'usage-analysis'))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=here.parent,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split()

    config = get_config(project)
    before = [tag_of(context_of(config)), code_sha256(config, "usage-analysis")]
    assert asked() == before
    with (here / "rehearsal" / "server.py").open("a") as server:
        server.write("# a thought\n")
    assert asked() == before
    with (here / "job.py").open("a") as job:
        job.write("# a thought\n")
    assert not set(asked()) & set(before)
