"""A bad answer stops generation: a reason, an example that works, and nothing left on disk."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cookiecutter.prompt import prompt_for_config

from tests.template.baking import ROOT, load_hook, snapshot

SLUGS = ["", ".", "..", "../x", "../../new/x", "a/b/c", "a\\b", "C:x", "~", "-rf", ".git", "a b"]
SLUGS += ["con", "NUL.txt", "com1", "x" * 51, "x" * 300, "a\nb", "é", "电池", "x.", "$HOME", "a;b"]
GOOD_SLUGS = ["project_battery", "a", "A-1_b.c", "x" * 50, "console", "2022-RnD-battery"]
PURPOSES = ["", "Up", "../x", "a/b", "a b", "a_b", "1st", "-a", "a-", "a--b", "x" * 41, "a.py", "é"]
PURPOSES += ["con", "json", "pandas", "batcat_runtime", "a\n", "Json", "packaging"]
GOOD_PURPOSES = ["usage-analysis", "a", "x" * 40, "soh-2", "class"]
BUCKETS = [
    "",
    "ab",
    "x" * 64,
    "2022-RnD-battery",
    "a_b",
    "a..b",
    "-ab",
    "ab-",
    "ab.",
    "192.168.5.4",
]
BUCKETS += ["xn--abc", "sthree-abc", "amzn-s3-demo-abc", "abc-s3alias", "abc--ol-s3", "abc.mrap"]
BUCKETS += ["abc--x-s3", "abc--table-s3", "abc-an", "a\nb", "abc\n", "é-bucket"]
GOOD_BUCKETS = ["abc", "x" * 63, "a.b-c", "2022-rnd-battery", "x-111122223333-us-west-2-an"]
GOOD_BUCKETS += ["japan", "1.2.3.4.5"]
REGIONS = ["", "us-est-1", "cn-northwest1", "Europe", "us-east-1 ", "aws-global", "us-iso-east-1"]
NAMES = ["", "   ", "a\nb", "a\tb", "a\x00b", "a\u2028b", "\ud800", "x" * 201]
GOOD_NAMES = [
    "battery",
    "2022-RnD-battery",
    "Batterie d'été",
    "电池分析",
    "👩‍🔬🔋",
    'a"b\\c`$(x)',
    "'",
]


def answered(questions: dict[str, Any], **answers: str) -> dict[str, Any]:
    """Return the answers as cookiecutter makes them from these."""
    context = {**questions, **answers}
    return prompt_for_config({"cookiecutter": context}, no_input=True)


def problems(questions: dict[str, Any], **answers: str) -> list[str]:
    result = answered(questions, **answers)
    hook = load_hook("pre_gen_project", result)
    texts = (hook["problem"](question, hook["ANSWERS"]) for question in hook["RULES"])
    return [text for text in texts if text]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        *(("project_slug", slug) for slug in SLUGS),
        *(("purpose", purpose) for purpose in PURPOSES),
        *(("result_s3_bucket", bucket) for bucket in BUCKETS),
        *(("region", region) for region in REGIONS),
        *(("project_name", name) for name in NAMES),
    ],
)
def test_a_bad_answer_gets_a_reason_and_an_example_that_works(
    questions: dict[str, Any], question: str, answer: str
) -> None:
    found = problems(questions, **{question: answer})
    assert len(found) == 1, found
    reason, example = " ".join(found[0].split()).split(" For example: ")
    assert reason.startswith(f"{question}: ")
    name, _, value = example.partition("=")
    assert name == question
    assert problems(questions, **{question: value}) == []


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        *(("project_slug", slug) for slug in GOOD_SLUGS),
        *(("purpose", purpose) for purpose in GOOD_PURPOSES),
        *(("result_s3_bucket", bucket) for bucket in GOOD_BUCKETS),
        *(("project_name", name) for name in GOOD_NAMES),
    ],
)
def test_a_good_answer_passes(questions: dict[str, Any], question: str, answer: str) -> None:
    assert problems(questions, **{question: answer}) == []


@pytest.mark.parametrize("slug", [*SLUGS, *GOOD_SLUGS])
def test_the_guard_lets_only_harmless_slugs_pass(questions: dict[str, Any], slug: str) -> None:
    """Cookiecutter makes the folder before the hook runs: the guard must have put it elsewhere."""
    result = answered(questions, project_slug=slug)
    if result["project_slug"] == slug:
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,49}", slug)
    else:
        assert slug not in GOOD_SLUGS
        assert result["__asked_slug"] == slug
        assert result["project_slug"].startswith(".batcat-refused-")


def test_any_name_gives_a_folder_and_a_bucket_that_pass(questions: dict[str, Any]) -> None:
    for name in [*GOOD_NAMES, "x" * 200, "!", "con", "&#99999999999999;", "xn--a", "-s3alias"]:
        assert problems(questions, project_name=name) == [], name


def run_tool(tool: str, folder: Path, config: Path, *answers: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PWD": str(folder)}
    command = [sys.executable, "-m", tool, str(ROOT), "--no-input", "--config-file", str(config)]
    return subprocess.run(
        [*command, *answers],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


@pytest.mark.parametrize("slug", ["../x", "", "ABSOLUTE"])
def test_an_unsafe_folder_leaves_nothing_anywhere(
    tmp_path: Path, cookiecutter_config: Path, slug: str
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "mine.txt").write_text("kept")
    before = snapshot(tmp_path)
    slug = str(tmp_path / "absolute" / "x") if slug == "ABSOLUTE" else slug
    done = run_tool("cookiecutter", folder, cookiecutter_config, f"project_slug={slug}")
    assert done.returncode == 1
    assert "project_slug: " in done.stderr
    assert "For example: " in " ".join(done.stderr.split())
    assert snapshot(tmp_path) == before


def test_all_problems_come_at_once_on_any_console(
    tmp_path: Path, cookiecutter_config: Path
) -> None:
    bad = ["project_slug=电池", "purpose=../x", "region=us-est-1", "result_s3_bucket=a_b"]
    done = run_tool("cookiecutter", tmp_path, cookiecutter_config, *bad)
    assert done.returncode == 1
    for question in ("project_slug", "purpose", "region", "result_s3_bucket"):
        assert f"  {question}: " in done.stderr
    assert r"\u7535\u6c60" in done.stderr
    assert snapshot(tmp_path) == {}


def test_a_folder_that_exists_is_not_touched(tmp_path: Path, cookiecutter_config: Path) -> None:
    (tmp_path / "project_battery").mkdir()
    (tmp_path / "project_battery" / "mine.txt").write_text("kept")
    before = snapshot(tmp_path)
    for answers in ([], ["purpose=../x"]):
        done = run_tool("cookiecutter", tmp_path, cookiecutter_config, *answers)
        assert done.returncode == 1
        assert snapshot(tmp_path) == before


def test_overwriting_with_a_bad_answer_changes_nothing(
    tmp_path: Path, cookiecutter_config: Path
) -> None:
    (tmp_path / "project_battery").mkdir()
    (tmp_path / "project_battery" / "README.md").write_text("mine")
    before = snapshot(tmp_path)
    done = run_tool("cookiecutter", tmp_path, cookiecutter_config, "-f", "purpose=Up")
    assert done.returncode == 1
    assert snapshot(tmp_path) == before


def test_a_choice_that_is_not_on_offer_is_refused(
    tmp_path: Path, cookiecutter_config: Path
) -> None:
    done = run_tool("cookiecutter", tmp_path, cookiecutter_config, "licence=GPL")
    assert done.returncode == 1
    assert "Apache-2.0" in done.stderr
    assert snapshot(tmp_path) == {}
