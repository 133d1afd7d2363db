"""What generation makes: the tutorial's folders, the answers in their places, clean files."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from batcat_runtime.config import get_config
from tests.template.baking import ROOT, Bake, text_files

TUTORIAL = {
    *("README.md", ".gitignore", "doc/README.md", "log/", "model/", "test/", "data/tmp/"),
    *("data/train/", "data/test/", "data/result/", "data/raw/", "notebook/", "report/"),
    *("script/config.json", "deploy/deploy.sh"),
}
# By design, section 3: what a project has beyond the tutorial's tree.
FURTHER = {
    *("Makefile", "requirements.txt", "LICENSE", "data/raw/usage/", "deploy/iam/"),
    *(".pre-commit-config.yaml", ".github/workflows/test.yml", "notebook/start.ipynb"),
    *("script/usage-analysis.py", "test/test_usage_analysis.py", "deploy/setup_docker.sh"),
    *("deploy/setup_stepfunctions.py", "deploy/setup_lambda.py", "deploy/docker/Dockerfile"),
    *("deploy/docker/requirements.txt", "deploy/lambda/lambda_function.py"),
}
HOSTILE_NAMES = [
    "Batterie d'été",
    "电池分析",
    "👩‍🔬🔋",
    'a"b\\c`$(touch x) <b> [l](u) *_#|~ & \\u0041',
    "'''\"\"\"\\",
    "  spaces  ",
    "100% $HOME %PATH% ;",
    "x" * 200,
]
# Answers other than the default ones, each with where it must show.
VARIANTS: dict[str, dict[str, str]] = {
    "default": {},
    "names": {
        "project_name": "2022-RnD-battery",
        "region": "us-gov-west-1",
        "python_version": "3.13",
        "licence": "Apache-2.0",
    },
    "places": {
        "project_slug": "My.Folder-1",
        "purpose": "soh",
        "result_s3_bucket": "2022-rnd-battery",
        "package_index": "aliyun",
    },
    "example": {"example": "battery"},
}


def test_the_default_project_has_what_the_tutorial_shows(default_project: Path) -> None:
    assert default_project.name == "project_battery"
    for path in TUTORIAL | FURTHER:
        found = default_project / path
        assert found.is_dir() if path.endswith("/") else found.is_file(), path


def test_there_are_at_most_36_files(default_project: Path) -> None:
    policies = (".policy.json", ".trust.json")  # these become CloudFormation
    files = [path.name for path in default_project.rglob("*") if path.is_file()]
    assert sum(name != ".gitkeep" and not name.endswith(policies) for name in files) <= 36


def test_the_tree_is_printed_as_in_the_tutorial(cookiecutter_config: Path, tmp_path: Path) -> None:
    shown = cookiecutter(cookiecutter_config, tmp_path, "--no-input")
    project = tmp_path / "project_battery"
    lines = [line.rstrip() for line in shown.splitlines() if line.strip()]
    assert lines[:2] == ["project_battery/", "    README.md"]
    parents: list[str] = []
    printed = set()
    for line in lines[1 : lines.index("Next:")]:
        depth = (len(line) - len(line.lstrip())) // 4
        parents[depth - 1 :] = [line.strip()]
        path = PurePosixPath("".join(parents))
        printed.add("".join(parents))
        # A folder with nothing but a folder in it stands on one line with that.
        printed |= {f"{one}/" for one in path.parents if one.name}
    policies = (".policy.json", ".trust.json")  # these become CloudFormation
    assert sum(not line.endswith(policies) for line in shown.splitlines()) <= 60
    real = {
        path.relative_to(project).as_posix() + "/" * path.is_dir()
        for path in project.rglob("*")
        if path.name != ".gitkeep"
    }
    assert printed == real
    commands = [line.split("  ")[2] for line in lines[lines.index("Next:") + 1 :]]
    assert commands[0].startswith("cd ")
    assert commands[0].endswith("project_battery")
    assert commands[1:] == ["make test", "make rehearse"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_clean(baked: Bake, variant: str) -> None:
    answers = VARIANTS[variant]
    project = baked(**answers)
    files = text_files(project)
    for path, text in files.items():
        assert not re.search(r"\{\{|\}\}|\{%|%\}|\{#|#\}|cookiecutter\.", path + text), path
        assert "\r" not in text, path
        assert text == "" or text.endswith("\n"), path
        assert not re.search(r"[ \t]\n", text), path
        assert not re.search(r"pypi\.org|pythonhosted", text), path
    config = get_config(project)
    purpose = answers.get("purpose", "usage-analysis")
    assert list(config.purposes) == [purpose]
    assert config.region == answers.get("region", "cn-northwest-1")
    [step] = config.purposes[purpose].steps
    assert list(step.inputs) == ["usage"]
    assert step.places == [f"s3://{config.result_s3_bucket}/raw/usage/"]
    assert (project / "script" / step.script).is_file()
    assert (project / "test" / f"test_{purpose.replace('-', '_')}.py").is_file()
    if variant != "names":  # it changes no Python
        check_python(project)


def check_python(project: Path) -> None:
    """The project's own rules and the repository's find nothing, and every file compiles."""
    for source in project.rglob("*.py"):
        compile(source.read_text(encoding="utf-8"), str(source), "exec")
    own = ["--config", str(project / "pyproject.toml")]
    repository = ["--config", str(ROOT / "pyproject.toml"), "--config", "lint.ignore=['D']"]
    for command in (["check", *own], ["format", "--check", *own], ["check", *repository]):
        ruff = [sys.executable, "-m", "ruff", *command, "--no-cache", "."]
        done = subprocess.run(ruff, cwd=project, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_names_batteries_but_the_example_and_its_sample(baked: Bake) -> None:
    files = text_files(baked(project_name="wind", purpose="soh"))
    named = {path for path, text in files.items() if "batter" in text.lower()}
    assert named <= {"script/soh.py", "test/test_soh.py"}


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_any_name_arrives_unchanged_and_only_as_data(baked: Bake, name: str) -> None:
    project = baked(project_name=name)
    text = (project / "script/config.json").read_text(encoding="utf-8")
    assert json.loads(text)["title"] == name
    assert get_config(project).title == name
    told = {path for path, content in text_files(project).items() if name in content}
    assert told <= {"script/config.json", "README.md", "LICENSE"}
    assert re.fullmatch(r"project_[a-z0-9-]+", project.name)


def test_a_chinese_title_stays_readable(baked: Bake) -> None:
    project = baked(project_name="电池分析")
    assert '"title": "电池分析"' in (project / "script/config.json").read_text(encoding="utf-8")
    assert (project / "README.md").read_text(encoding="utf-8").startswith("# 电池分析\n")
    assert get_config(project).project == "dian-chi-fen-xi"


def test_markdown_in_a_title_is_shown_not_obeyed(baked: Bake) -> None:
    heading = (baked(project_name="<b>[x](y)`*") / "README.md").read_text().splitlines()[0]
    assert heading == r"# \<b>\[x\](y)\`\*".replace("b>", r"b\>")


def test_the_folder_and_the_names_follow_the_project(baked: Bake) -> None:
    project = baked(**VARIANTS["names"])
    config = get_config(project)
    assert project.name == "project_2022-rnd-battery"
    assert config.project == "2022-rnd-battery"
    assert config.result_s3_bucket == "project-2022-rnd-battery-result"


@pytest.mark.parametrize(
    ("region", "zone"),
    [({}, "Asia/Shanghai"), ({"region": "eu-central-1"}, "Europe/Berlin")],
)
def test_schedule_starts_off_in_a_fitting_time_zone(
    baked: Bake, region: dict[str, str], zone: str
) -> None:
    schedule = get_config(baked(**region)).purpose().schedule
    assert schedule is not None
    assert (schedule.timezone, schedule.enabled) == (zone, False)


def test_mirror_and_python_version_reach_the_image(baked: Bake, default_project: Path) -> None:
    project = baked(package_index="tsinghua", python_version="3.12")
    assert "PYTHON_VERSION=3.12" in (project / "deploy/docker/Dockerfile").read_text()
    url = "https://pypi.tuna.tsinghua.edu.cn/simple"
    assert f"--index-url {url}\n" in (project / "requirements.txt").read_text()
    assert url in (project / "deploy/docker/Dockerfile").read_text()
    assert "index-url" not in (default_project / "requirements.txt").read_text()


@pytest.mark.parametrize(
    ("licence", "start", "words"),
    [
        ("MIT", "MIT License\n\nCopyright (c) the authors of A\n", "without restriction"),
        ("BSD-3-Clause", "BSD 3-Clause License\n\nCopyright (c)", "Neither the name"),
        ("Apache-2.0", " " * 33 + "Apache License\n", "END OF TERMS AND CONDITIONS"),
        ("Proprietary", "Copyright (c) the authors of A. All rights", "No licence is granted"),
    ],
)
def test_licence(baked: Bake, licence: str, start: str, words: str) -> None:
    project = baked(project_name="A", licence=licence)
    text = (project / "LICENSE").read_text()
    assert text.startswith(start)
    assert words in text
    assert text.count("All rights reserved") == (licence == "Proprietary")
    wanted = "all rights reserved" if licence == "Proprietary" else licence
    assert f"Licence: {wanted}; see `LICENSE`." in (project / "README.md").read_text()


def test_git_ignores_data_and_keeps_the_folders(bake: Bake) -> None:
    project = bake()
    for made in ("data/loose.csv", "data/raw/x.csv", "data/result/a/b.csv", "log/run.log"):
        path = project / made
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1\n")
    (project / "report/rehearsal-usage-analysis.html").write_text("made\n")
    (project / "report/mine.html").write_text("mine\n")
    git = ["git", "-C", str(project), "-c", "core.excludesFile="]
    subprocess.run(["git", "init", "--quiet", str(project)], check=True)
    subprocess.run([*git, "add", "."], check=True)
    listed = subprocess.run([*git, "ls-files"], capture_output=True, text=True, check=True)
    tracked = set(listed.stdout.split())
    folders = ("data/raw", "data/train", "data/test", "data/result", "data/tmp", "log", "report")
    kept = {f"{folder}/.gitkeep" for folder in folders}
    assert {path for path in tracked if path.startswith(("data/", "log/"))} | {
        "report/.gitkeep"
    } == kept
    assert "report/mine.html" in tracked
    assert "report/rehearsal-usage-analysis.html" not in tracked
    attributes = [*git, "check-attr", "eol", "deploy/deploy.sh", "deploy/docker/Dockerfile"]
    shown = subprocess.run(attributes, capture_output=True, text=True, check=True)
    assert shown.stdout.count("eol: lf") == 2


def test_the_templates_own_files_are_not_ignored() -> None:
    """The project's .gitignore lies in this repository too, and must not hide the sample in it."""
    template = ROOT / "{{cookiecutter.project_slug}}"
    files = [str(path) for path in template.rglob("*") if path.is_file()]
    command = ["git", "-C", str(ROOT), "-c", "core.excludesFile=", "check-ignore", "--no-index"]
    done = subprocess.run([*command, *files], capture_output=True, text=True)
    hidden = [path for path in done.stdout.splitlines() if "__pycache__" not in path]
    assert hidden == []


def cookiecutter(config: Path, output: Path, *words: str, **how: Any) -> str:
    """Run the real command line; return what it printed."""
    options = ["--config-file", str(config), "-o", str(output)]
    done = subprocess.run(
        [sys.executable, "-m", "cookiecutter", str(ROOT), *options, *words],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, **how},
    )
    assert done.returncode == 0, done.stdout
    return done.stdout or ""


def test_overwriting_keeps_data_of_your_own(bake: Bake, cookiecutter_config: Path) -> None:
    project = bake()
    mine = project / "data/raw/usage/mine.csv"
    mine.write_text("vin\n")
    cookiecutter(cookiecutter_config, project.parent, "--no-input", "-f")
    assert mine.read_text() == "vin\n"


def test_filling_up_a_project_keeps_every_file_of_your_own(
    bake: Bake, cookiecutter_config: Path
) -> None:
    project = bake()
    (project / "requirements.txt").write_text("mine\n")
    (project / "Makefile").unlink()
    cache = project / ".venv" / "lib" / "__pycache__"
    cache.mkdir(parents=True)
    shown = cookiecutter(cookiecutter_config, project.parent, "--no-input", "-f", "-s")
    assert ".venv" not in shown
    assert (project / "requirements.txt").read_text() == "mine\n"
    assert (project / "Makefile").is_file()
    assert cache.is_dir()


def test_a_replayed_answer_may_be_changed(cookiecutter_config: Path, tmp_path: Path) -> None:
    cookiecutter(cookiecutter_config, tmp_path / "first", "--no-input")
    replay = json.loads(cookiecutter_config.read_text())["replay_dir"]
    content = json.loads((Path(replay) / f"{ROOT.name}.json").read_text())
    changed = {"region": "eu-central-1", "purpose": "soh", "project_name": "wind"}
    content["cookiecutter"] |= {**changed, "project_slug": "wind"}
    file = tmp_path / "replay.json"
    file.write_text(json.dumps(content))
    cookiecutter(cookiecutter_config, tmp_path, "--replay-file", str(file))
    project = tmp_path / "wind"
    config = get_config(project)
    assert (config.project, config.region) == ("wind", "eu-central-1")
    schedule = config.purpose("soh").schedule
    assert schedule is not None
    assert schedule.timezone == "Europe/Berlin"
    assert not [path for path, text in text_files(project).items() if "arn:aws-cn:" in text]
    assert (project / "test" / "test_soh.py").is_file()


@pytest.mark.parametrize("closed", ["| true", ">&-"])
def test_a_project_is_made_though_nobody_reads_about_it(
    cookiecutter_config: Path, tmp_path: Path, closed: str
) -> None:
    command = shlex.join([sys.executable, "-m", "cookiecutter", str(ROOT), "--no-input"])
    command += f" --config-file {cookiecutter_config} -o {tmp_path} {closed}"
    shell = ["bash", "-o", "pipefail", "-c", command]
    done = subprocess.run(shell, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "file://" in (tmp_path / "project_battery" / "requirements.txt").read_text()
