"""Adding a purpose to a project: a script, its test and an entry in the configuration.

The sources are those of the template's small example, so that an added purpose looks and runs like
a first one. The configuration is edited as text: keys, order and layout of what stands there stay
as they are. Everything is made and checked in memory first; if a file cannot be written, those
written before it are removed again.
"""

from __future__ import annotations

import json
from pathlib import Path

from batcat_runtime.config import CONFIG_PATH, Config, get_config, parse_config
from batcat_runtime.errors import ConfigError, UserError
from batcat_runtime.jsontext import set_member, write_whole
from batcat_runtime.names import slug
from batcat_runtime.project import Answers, template_folder


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
    answers = Answers(
        {
            "project_name": config.title,
            "purpose": name,
            "region": config.region,
            "result_s3_bucket": config.result_s3_bucket,
        }
    )
    script = Path("script") / f"{name}.py"
    test = Path("test") / f"test_{name.replace('-', '_')}.py"
    _check_name(folder, config, answers, name, (script, test))
    small = template_folder() / "templates" / "small"
    files = {
        path: answers.render((small / source).read_text(encoding="utf-8"))
        for path, source in ((script, "script.py"), (test, "test.py"))
    }
    pattern = template_folder() / "{{cookiecutter.project_slug}}" / CONFIG_PATH
    entry = json.loads(answers.render(pattern.read_text(encoding="utf-8")))["purposes"][name]
    schedules = [purpose.schedule for purpose in config.purposes.values() if purpose.schedule]
    if schedules:
        entry["schedule"]["timezone"] = schedules[0].timezone
    # Bytes, not text: the file's own line ends stay.
    before = (folder / CONFIG_PATH).read_bytes().decode("utf-8")
    after = set_member(before, ["purposes", name], entry)
    expected = json.loads(before)
    expected["purposes"][name] = entry
    if json.loads(after) != expected:
        raise ConfigError(
            f"{CONFIG_PATH.as_posix()} is laid out in a way that BatCat cannot edit.",
            fix=f"Add this to `purposes` by hand:\n{json.dumps({name: entry}, indent=2)}",
        )
    parse_config(expected, source=f"{CONFIG_PATH.as_posix()} with the new purpose")
    _write(folder, files, after)
    return [*files, CONFIG_PATH]


def _check_name(
    folder: Path, config: Config, answers: Answers, name: str, paths: tuple[Path, ...]
) -> None:
    wrong = answers.problem("purpose")
    if wrong:
        raise UserError(f"{wrong}.", fix="Choose another name.")
    if slug(name) in map(slug, config.purposes):
        raise UserError(
            f"The project has a purpose {name!r} already.",
            fix=f"It has: {', '.join(config.purposes)}. Choose another name.",
        )
    for path in paths:
        if (folder / path).exists():
            raise UserError(
                f"There is a file {path.as_posix()} already.",
                fix="Choose another name, or move that file away.",
            )


def _write(folder: Path, files: dict[Path, str], config: str) -> None:
    made: list[Path] = []
    try:
        for path, text in files.items():
            target = folder / path
            target.parent.mkdir(exist_ok=True)
            with target.open("x", encoding="utf-8", newline="\n") as file:
                made.append(target)
                file.write(text)
        write_whole(folder / CONFIG_PATH, config)
    except BaseException as error:
        for target in made:
            target.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise UserError(
                f"The purpose was not added: {error}.", fix="Nothing was changed; try again."
            ) from error
        raise
