"""The commands of a fresh project, as its user types them, without a network."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
import yaml

from batcat_runtime.rehearsal import EmbeddedAWS
from tests.conftest import batcat
from tests.template.baking import Bake

BIN = Path(sys.executable).parent


def make(project: Path, *words: str, python: str = sys.executable) -> subprocess.CompletedProcess:
    """Run make in its own network namespace where that is allowed, else behind dead proxies."""
    dead = dict.fromkeys(("http_proxy", "https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")
    alone = ["unshare", "--map-root-user", "--net"]
    allowed = bool(shutil.which("unshare")) and not subprocess.run([*alone, "true"]).returncode
    return subprocess.run(
        [*(alone if allowed else []), "make", *words, f"PYTHON={python}"],
        cwd=project,
        env={**plain_environment(), **dead},
        capture_output=True,
        text=True,
        timeout=300,
    )


def plain_environment() -> dict[str, str]:
    unset = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST"}
    return {key: value for key, value in os.environ.items() if key not in unset}


@pytest.fixture(autouse=True)
def needs_make() -> None:
    if not shutil.which("make"):
        pytest.skip("there is no make here")


@pytest.mark.parametrize("example", ["small", "battery"])
def test_a_fresh_project_tests_lints_and_runs(bake: Bake, example: str) -> None:
    project = bake(project_name="make test", purpose="soh", example=example)
    done = make(project, "test", "lint", "run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert " failed" not in done.stdout
    assert not (project / ".venv").exists()
    made = [path.name for path in (project / "data/result/soh").rglob("*") if path.is_file()]
    assert sorted(made) == ["_manifest.json", "soh.csv"]


def test_make_test_is_green_in_a_clone_without_data(bake: Bake) -> None:
    """Git keeps data out; the small example is tested so in the CI workflow's clone."""
    project = bake(example="battery")
    shutil.rmtree(project / "data/raw/usage")
    done = make(project, "test")
    assert done.returncode == 0, done.stdout + done.stderr


def test_make_alone_says_what_there_is(default_project: Path) -> None:
    done = make(default_project)
    assert done.returncode == 0
    for command in ("env", "test", "lint", "run", "rehearse", "deploy"):
        assert f"make {command} " in done.stdout


def bare_python(folder: Path, version: str = "3, 11") -> Path:
    """Write a stand-in python that has no package, and makes no environment but says so."""
    script = folder / "python"
    real = f'exec "{sys.executable}" -I -S'
    script.write_text(f"""#!/bin/sh
case "$1 $2" in
  "-m venv") echo "asked for a venv at $3"; exit 3;;
  "-c import sys; sys.exit(sys.version_info"*)
    shift; {real} -c "import sys; sys.version_info = ({version}); $*";;
esac
{real} "$@"
""")
    script.chmod(0o755)
    return script


@pytest.mark.parametrize(
    ("target", "lacks"),
    [
        ("test", "batcat_runtime, pytest"),
        ("run", "batcat_runtime"),
        ("lint", "ruff, cfnlint"),
        ("rehearse", "batcat_runtime, moto, stepfunctions"),
        ("deploy", "batcat_runtime, stepfunctions"),
    ],
)
def test_a_python_without_the_tools_is_told_what_it_lacks(
    default_project: Path, tmp_path: Path, target: str, lacks: str
) -> None:
    python = bare_python(tmp_path)
    done = make(default_project, target, python=str(python))
    assert done.returncode == 2
    assert f"{python} lacks {lacks}. Install it: {python} -m pip install" in done.stderr
    assert "make env" in done.stderr


def test_make_env_makes_an_environment_that_is_then_used(bake: Bake, tmp_path: Path) -> None:
    project = bake()
    done = make(project, "env", python=str(bare_python(tmp_path)))
    assert "asked for a venv at .venv" in done.stdout
    done = make(project, "env", python=str(bare_python(tmp_path, "3, 9")))
    assert done.returncode == 2
    assert "make env PYTHON=python3.12" in done.stderr
    (project / ".venv" / "bin").mkdir(parents=True)
    (project / ".venv" / "bin" / "python").symlink_to(sys.executable)
    shown = subprocess.run(
        ["make", "--dry-run", "test"],
        cwd=project,
        env=plain_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert '".venv/bin/python" -m pytest test' in shown.stdout


def test_the_ci_workflow_passes_in_a_clone(bake: Bake, tmp_path: Path) -> None:
    project, clone = bake(), tmp_path / "clone"
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", "-C", str(project)]
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "First"]):
        subprocess.run([*git, *words], check=True)
    subprocess.run(["git", "clone", "--quiet", str(project), str(clone)], check=True)
    [job] = yaml.safe_load((clone / ".github/workflows/test.yml").read_text())["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands[0] == "python -m pip install -r requirements.txt"
    environment = {**plain_environment(), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    for command in commands[1:]:
        done = subprocess.run(
            ["bash", "-c", command], cwd=clone, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert (clone / "report" / "rehearsal-usage-analysis.html").is_file()


def test_the_hook_before_a_commit_is_make_lint(default_project: Path) -> None:
    content = yaml.safe_load((default_project / ".pre-commit-config.yaml").read_text())
    assert [hook["entry"] for hook in content["repos"][0]["hooks"]] == ["make lint"]


def run_notebook(project: Path, change: tuple[str, str], **environment: str) -> None:
    """Execute the cells of the starter notebook, in its folder, and the plot's axes at the end."""
    cells = json.loads((project / "notebook/start.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["import matplotlib; matplotlib.use('Agg')"]
    code += ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    code += ["assert len(result) == 15", "assert sorted(energy.columns)[0] == '0BCBAT012N0000001'"]
    code += ["from matplotlib import pyplot", "assert pyplot.gca().get_ylabel() == 'energy [Wh]'"]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(code).replace(*change)],
        cwd=project / "notebook",
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_notebook_runs(bake: Bake) -> None:
    run_notebook(bake(example="battery"), ("", ""))


def test_data_are_pushed_once_and_read_by_the_notebook(
    bake: Bake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = bake(region="eu-central-1")
    sample = project / "data/raw/usage"
    with EmbeddedAWS("eu-central-1", home=tmp_path / "aws") as aws:
        for name, value in aws.environment().items():
            monkeypatch.setenv(name, value)
        refused = batcat("data", "push", "-C", project)
        assert refused.returncode == 1
        assert "There is no bucket project-battery-result" in refused.stderr
        assert "Fix: Deploy first, or make it: aws s3 mb" in refused.stderr

        s3 = boto3.client("s3")
        place = {"LocationConstraint": "eu-central-1"}
        s3.create_bucket(Bucket="project-battery-result", CreateBucketConfiguration=place)
        first = batcat("data", "push", cwd=project)
        assert first.returncode == 0, first.stderr
        assert "-> s3://project-battery-result/raw/usage/usage.csv.gz" in first.stdout
        assert "1 uploaded, 0 were there already" in first.stdout
        run_notebook(project, ("FROM_S3 = False", "FROM_S3 = True"))

        (sample / "sub").mkdir()
        (sample / "sub" / "large.csv").write_bytes(b"x" * (8 << 20) + b"\n")
        (sample / "none.csv").touch()
        second = batcat("data", "push", cwd=project)
        assert "2 uploaded, 1 were there already" in second.stdout, second.stderr
        third = batcat("data", "push", cwd=project)
        assert third.stdout == "0 uploaded, 3 were there already.\n"
        (sample / "sub" / "large.csv").write_bytes(b"y" * (8 << 20) + b"\n")
        assert "1 uploaded, 2 were" in batcat("data", "push", "-C", project).stdout
        listed = s3.list_objects_v2(Bucket="project-battery-result")["Contents"]
        keys = ["none.csv", "sub/large.csv", "usage.csv.gz"]
        assert [one["Key"] for one in listed] == [f"raw/usage/{key}" for key in keys]

        assert batcat("add", "forecast", "-C", project).returncode == 0
        config = (project / "script/config.json").read_text()
        end = config.rindex('"usage": ')  # of the new pipeline, which reads what is not here
        (project / "script/config.json").write_text(f'{config[:end]}"else": {config[end + 9 :]}')
        assert "0 uploaded, 3 were" in batcat("data", "push", "-C", project).stdout

    monkeypatch.setenv("AWS_PROFILE", "gone")
    assert "Set AWS_PROFILE to one of" in batcat("data", "push", cwd=project).stderr
    shutil.rmtree(sample)
    empty = batcat("data", "push", cwd=project)
    assert empty.returncode == 2
    assert "data/raw/usage holds no file for the input 'usage'" in empty.stderr
    assert "data/raw/usage/usage.csv.gz" in batcat("data", "sample", cwd=project).stdout
    assert batcat("data", "sample", cwd=project).stdout == ""


def test_the_readme_names_commands_that_there_are(default_project: Path) -> None:
    text = (default_project / "README.md").read_text(encoding="utf-8")
    assert "batcat run --date-start 2022-01-01 --date-end 2022-01-08" in text
    assert len(text.splitlines()) <= 66, "one page"
    named = set(re.findall(r"`batcat ([a-z]+(?: [a-z]+)?)[ `]", text))
    named |= set(re.findall(r"^\$ batcat ([a-z]+(?: push)?)", text, re.MULTILINE))
    assert {"doctor", "deploy", "data push", "status", "backfill", "destroy"} <= named
    for command in named:
        words = [word for word in command.split() if word not in {"forecast", "on"}]
        assert batcat(*words, "--help").returncode == 0, command
    makefile = (default_project / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z]+)`", text):
        assert f"\n{target}:" in makefile
