"""Making a new project: cookiecutter, run on the template that belongs to this runtime."""

from __future__ import annotations

import importlib.metadata
import json
import logging
from collections.abc import Mapping
from pathlib import Path

from batcat_runtime.errors import BatcatError, UserError

_PACKAGE = Path(__file__).resolve().parent


def template_folder() -> Path:
    """Return the template: in the repository beside the package, or inside the installed wheel."""
    for folder in (_PACKAGE.parent, _PACKAGE / "_template"):
        if (folder / "cookiecutter.json").is_file():
            return folder
    raise BatcatError(
        "The project template is missing from this installation.",
        fix="Install batcat-runtime again, with its [deploy] extra.",
    )


def new_project(answers: Mapping[str, str], *, no_input: bool, output_dir: Path) -> Path:
    """Make a project and print its file tree.

    Parameters
    ----------
    answers : mapping of str to str
        Answers to the template's questions; the rest is asked for, or taken by default.
    no_input : bool
        Ask nothing.
    output_dir : Path
        Where the project's folder is made.

    Returns
    -------
    Path
        The project's folder.

    Raises
    ------
    UserError
        An answer is unknown or refused, or the folder exists; nothing was written.
    """
    from cookiecutter import exceptions
    from cookiecutter.main import cookiecutter

    # A refused answer is explained by the hook itself; cookiecutter would log a traceback as well.
    logging.getLogger("cookiecutter.hooks").setLevel(logging.CRITICAL)
    template = template_folder()
    questions = _questions(template)
    unknown = sorted(set(answers) - set(questions))
    if unknown:
        raise UserError(
            f"The template asks no question called {', '.join(unknown)}.",
            fix=f"It asks: {', '.join(questions)}.",
        )
    context = {**answers, "_runtime_source": runtime_source(template)}
    try:
        made = cookiecutter(
            str(template), no_input=no_input, extra_context=context, output_dir=str(output_dir)
        )
    except exceptions.OutputDirExistsException as error:
        raise UserError(
            f"{error}.".replace('"', "").replace("Error: ", ""),
            fix="Choose another project_slug, or remove that folder.",
        ) from error
    except exceptions.FailedHookException as error:
        raise UserError(
            "The project was not made; nothing was written.", fix="See the reasons above."
        ) from error
    except ValueError as error:
        # cookiecutter's words for a choice that is not on offer
        raise UserError(f"{error}.", fix=f"The questions are: {', '.join(questions)}.") from error
    return Path(made)


def runtime_source(template: Path) -> str:
    """Return where a new project gets its runtime from, as the requirement's URL.

    The template in a repository is its own source. An installed wheel knows where it came from
    (PEP 610, ``direct_url.json``).
    """
    if template == _PACKAGE.parent:
        return template.as_uri()
    text = importlib.metadata.distribution("batcat-runtime").read_text("direct_url.json")
    if not text:
        raise UserError(
            "This runtime was installed from a package index, so a project cannot say safely where "
            "to get it from.",
            fix="Use `cookiecutter gh:org/batcat`, or install from the repository's URL.",
        )
    origin = json.loads(text)
    info = origin.get("vcs_info")
    return f"{info['vcs']}+{origin['url']}@{info['commit_id']}" if info else str(origin["url"])


def _questions(template: Path) -> list[str]:
    content = json.loads((template / "cookiecutter.json").read_text(encoding="utf-8"))
    return [name for name in content if not name.startswith("_")]
