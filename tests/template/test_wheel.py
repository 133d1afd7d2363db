"""An installed release: it carries the template, and its projects name it.

A wheel is built from the repository and served by a package index on this machine (PEP 503).
"""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from batcat_runtime import __version__
from tests.conftest import REPOSITORY

REQUIREMENT = f"batcat-runtime[deploy,rehearse]=={__version__}"


def pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, *map(str, arguments)], check=True)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve a package index that has this repository's wheel; yield its address."""
    folder = tmp_path_factory.mktemp("index")
    pip("wheel", "--no-deps", "--wheel-dir", folder / "simple" / "batcat-runtime", REPOSITORY)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/simple"
    server.shutdown()


@pytest.fixture(scope="module")
def installed(index: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the runtime alone from the index; this Python's packages are what it needs."""
    place = tmp_path_factory.mktemp("site")
    pip("install", "--no-deps", "--index-url", index, "--target", place, "batcat-runtime")
    return place


def python(place: Path, code: str) -> str:
    """Run code with the installed runtime, and not with the repository's."""
    check = (
        f"import sys; sys.path.insert(0, {str(place)!r}); import batcat_runtime; "
        f"assert batcat_runtime.__file__.startswith({str(place)!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", check + code],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def new_project(place: Path, folder: Path) -> Path:
    python(
        place,
        "from pathlib import Path; from batcat_runtime.project import new_project\n"
        f"new_project({{'example': 'battery'}}, output_dir=Path({str(folder)!r}))",
    )
    return folder / "project_battery"


def files(project: Path) -> dict[str, bytes]:
    return {
        path.relative_to(project).as_posix(): path.read_bytes()
        for path in project.rglob("*")
        if path.is_file() and path.name != "requirements.txt"
    }


def test_its_projects_are_the_repositorys_and_name_the_release(
    index: str, installed: Path, tmp_path: Path
) -> None:
    made = new_project(installed, tmp_path / "released")
    assert files(made) == files(new_project(REPOSITORY, tmp_path / "checkout"))
    assert not list(made.rglob("__pycache__"))
    assert REQUIREMENT in (made / "requirements.txt").read_text().splitlines()
    # The requirement is one that pip finds in the index.
    pip("install", "--no-deps", "--index-url", index, "--target", tmp_path / "again", REQUIREMENT)
    assert (installed / "batcat_runtime/rehearsal/report/report.css").is_file()


def test_the_image_gets_the_release(installed: Path, tmp_path: Path) -> None:
    wheel = tmp_path / "image.whl"
    name = python(
        installed,
        "from pathlib import Path; from batcat_runtime.deploy.context import wheel_of_runtime\n"
        f"name, data = wheel_of_runtime(); Path({str(wheel)!r}).write_bytes(data); print(name)",
    )
    assert name.strip() == f"batcat_runtime-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"batcat_runtime-{__version__}.dist-info/METADATA").decode()
    assert f"\nVersion: {__version__}\n" in metadata


def test_its_command_says_its_version(installed: Path) -> None:
    printed = python(installed, "from batcat_runtime.commands import run; run(['--version'])")
    assert printed == f"batcat {__version__}\n"


def test_a_project_of_another_version_is_known(installed: Path, tmp_path: Path) -> None:
    git = "git+https://host/b@0123abc"
    lines = {
        REQUIREMENT: None,
        "batcat-runtime[deploy,rehearse]==9.9": ["9.9", __version__],
        "Batcat_Runtime>=0.0.1  # any": None,
        f"batcat-runtime @ {git}": [git, __version__],
        "pandas>=2.2": None,
    }
    for number, line in enumerate(lines):
        (tmp_path / str(number)).mkdir()
        text = f"# What it needs\n--index-url https://x\n{line}\n"
        (tmp_path / str(number) / "requirements.txt").write_text(text)
    printed = python(
        installed,
        "import json; from pathlib import Path; from batcat_runtime.project import other_runtime\n"
        f"print(json.dumps([other_runtime(Path({str(tmp_path)!r}, str(number)))\n"
        f"  for number in range({len(lines)})]))",
    )
    assert json.loads(printed) == list(lines.values())
