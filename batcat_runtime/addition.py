"""Adding a purpose to a project: a script, its test and an entry in the configuration.

The sources are the template's own, rendered with the project's answers, so that an added purpose
looks and runs like the first one. The configuration is edited as text: keys, order and layout of
what stands there stay as they are. Everything is made and checked in memory first; if a file cannot
be written, those written before it are removed again.
"""

from __future__ import annotations

import json
import keyword
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batcat_runtime.config import CONFIG_PATH, Config, get_config, parse_config
from batcat_runtime.errors import ConfigError, UserError
from batcat_runtime.jsontext import insert_member, write_whole
from batcat_runtime.names import slug
from batcat_runtime.project import template_folder

_ROOT = "{{cookiecutter.project_slug}}"
_LONGEST = 40


@dataclass(frozen=True)
class Addition:
    """What a new purpose brings: files by their path in the project, and the new configuration."""

    files: dict[Path, str]
    config: str


def add_purpose(folder: Path, name: str) -> list[Path]:
    """Add a purpose to a project.

    Parameters
    ----------
    folder : Path
        The project.
    name : str
        The purpose's name: lower-case letters, digits and hyphens; it names the script.

    Returns
    -------
    list of Path
        The files written, relative to the project; the configuration last.

    Raises
    ------
    UserError
        The name is impossible or taken; nothing was changed.
    ConfigError
        The project's configuration is wrong as it is.
    """
    config = get_config(folder)
    _check_name(folder, config, name)
    addition = plan_addition(folder, config, name)
    _write(folder, addition)
    return [*addition.files, CONFIG_PATH]


def plan_addition(folder: Path, config: Config, name: str) -> Addition:
    """Return everything that `add_purpose` would write."""
    answers = _answers(config, name)
    template = template_folder() / _ROOT
    files = {
        Path("script") / f"{name}.py": template / "script" / "{{cookiecutter.purpose}}.py",
        Path("test") / f"test_{name.replace('-', '_')}.py": template
        / "test"
        / "test_{{cookiecutter.__purpose_module}}.py",
    }
    entry = json.loads(_render(template / CONFIG_PATH, answers))["purposes"][name]
    # Bytes, not text: the file's own line ends stay.
    before = (folder / CONFIG_PATH).read_bytes().decode("utf-8")
    after = insert_member(before, "purposes", name, entry)
    expected = json.loads(before)
    expected["purposes"][name] = entry
    if json.loads(after) != expected:
        raise ConfigError(
            f"{CONFIG_PATH.as_posix()} is laid out in a way that BatCat cannot edit.",
            fix=f"Add this to `purposes` by hand:\n{json.dumps({name: entry}, indent=2)}",
        )
    parse_config(expected, source=f"{CONFIG_PATH.as_posix()} with the new purpose")
    return Addition({path: _render(source, answers) for path, source in files.items()}, after)


def _answers(config: Config, name: str) -> dict[str, Any]:
    """Return what cookiecutter knew when it made the project, as far as these files ask."""
    return {
        "project_name": config.title,
        "__project_id": config.project,
        "region": config.region,
        "result_s3_bucket": config.result_s3_bucket,
        "purpose": name,
        "__purpose_module": name.replace("-", "_"),
        "__timezone": _timezone(config),
    }


def _timezone(config: Config) -> str:
    """Return the zone of the project's schedules; without one, that of the region's partition."""
    zones = [one.schedule.timezone for one in config.purposes.values() if one.schedule]
    return zones[0] if zones else "Asia/Shanghai" if config.partition == "aws-cn" else "UTC"


def _render(source: Path, answers: dict[str, Any]) -> str:
    from cookiecutter.environment import StrictEnvironment

    context = {"cookiecutter": answers}
    environment = StrictEnvironment(context=context, keep_trailing_newline=True)
    text: str = environment.from_string(source.read_text(encoding="utf-8")).render(**context)
    return text


def _check_name(folder: Path, config: Config, name: str) -> None:
    questions = json.loads((template_folder() / "cookiecutter.json").read_text(encoding="utf-8"))
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or len(name) > _LONGEST:
        raise UserError(
            f"{name!r} cannot name a script and AWS resources.",
            fix="Take lower-case letters and digits, words joined by single hyphens, beginning "
            f"with a letter, at most {_LONGEST} characters: forecast, usage-analysis.",
        )
    if name in questions["_reserved_names"]:
        raise UserError(
            f"{name!r} is a name that Windows keeps for itself.", fix=f"Try {name}-run."
        )
    module = name.replace("-", "_")
    if name in sys.stdlib_module_names or keyword.iskeyword(module) or _is_imported(name):
        raise UserError(
            f"script/{name}.py would be imported in the place of Python's or a package's module "
            f"{name}.",
            fix=f"Try {name}-analysis.",
        )
    if name in config.purposes or slug(name) in map(slug, config.purposes):
        raise UserError(
            f"The project has a purpose {name!r} already.",
            fix=f"It has: {', '.join(config.purposes)}. Choose another name.",
        )
    for path in (Path("script") / f"{name}.py", Path("test") / f"test_{module}.py"):
        if (folder / path).exists():
            raise UserError(
                f"There is a file {path.as_posix()} already.",
                fix="Choose another name, or move that file away.",
            )


def _is_imported(name: str) -> bool:
    from importlib.util import find_spec

    return name.isidentifier() and find_spec(name) is not None


def _write(folder: Path, addition: Addition) -> None:
    made: list[Path] = []
    try:
        for path, text in addition.files.items():
            target = folder / path
            target.parent.mkdir(exist_ok=True)
            with target.open("x", encoding="utf-8", newline="\n") as file:
                made.append(target)
                file.write(text)
        write_whole(folder / CONFIG_PATH, addition.config)
    except BaseException as error:
        for target in made:
            target.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise UserError(
                f"The purpose was not added: {error}.", fix="Nothing was changed; try again."
            ) from error
        raise
