"""Making a new project: cookiecutter, run on the template that belongs to this runtime.

The template's rules stand in its hook, which has to stand alone. `Answers` loads them from there,
so that an answer is checked as it is given, by the same rules.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batcat_runtime.errors import BatcatError, UserError

ASKED = ("project_name", "project_slug", "purpose", "region", "result_s3_bucket")
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


def questions() -> dict[str, Any]:
    """Return the content of cookiecutter.json: the questions, and beside them what is private."""
    text = (template_folder() / "cookiecutter.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


class Answers:
    """Answers to the template's questions, the rest by default, and the rules for them.

    Parameters
    ----------
    given : mapping of str to str
        Answers, taken as they are.
    defaults : mapping of str to str, optional
        Laid over the template's own defaults; Jinja, as these are.

    Attributes
    ----------
    values : dict
        What cookiecutter renders the project with.
    """

    def __init__(self, given: Mapping[str, str], defaults: Mapping[str, str] | None = None) -> None:
        from cookiecutter.prompt import prompt_for_config

        context = {**questions(), **(defaults or {}), **literal(given)}
        self.values: dict[str, Any] = prompt_for_config({"cookiecutter": context}, no_input=True)
        hook = template_folder() / "hooks" / "pre_gen_project.py"
        rules: dict[str, Any] = {"__name__": "rules"}
        source = self.render(hook.read_text(encoding="utf-8"))
        exec(compile(source, hook.name, "exec"), rules)  # noqa: S102 (the template's own hook)
        self._problem = rules["problem"]

    def problem(self, question: str) -> str:
        """Return what is wrong with an answer, with an example that works; or nothing."""
        return str(self._problem(question, self.values))

    def render(self, text: str) -> str:
        """Return a text of the template with the answers in it."""
        from cookiecutter.utils import create_env_with_context

        context = {"cookiecutter": self.values}
        return str(create_env_with_context(context).from_string(text).render(context))


def literal(given: Mapping[str, str]) -> dict[str, str]:
    """Return answers as Jinja that renders to them: cookiecutter would obey what is in them."""
    return {
        name: f"{{{{ {json.dumps(value, ensure_ascii=False)} }}}}" if name in ASKED else value
        for name, value in given.items()
    }


def new_project(
    answers: Mapping[str, str],
    *,
    output_dir: Path,
    no_input: bool = True,
    defaults: Mapping[str, str] | None = None,
) -> Path:
    """Make a project and print its file tree.

    Parameters
    ----------
    answers : mapping of str to str
        Answers to the template's questions.
    output_dir : Path
        Where the project's folder is made.
    no_input : bool
        Ask nothing, and take the rest by default. Otherwise the rest of `ASKED` is asked for.
    defaults : mapping of str to str, optional
        Defaults in the place of the template's own; see `profile_defaults`.

    Returns
    -------
    Path
        The project's folder.

    Raises
    ------
    UserError
        An answer is unknown or refused, or the folder exists; nothing was written.
    """
    from cookiecutter.main import cookiecutter

    asked = {name: kind for name, kind in questions().items() if not name.startswith("_")}
    for name, value in answers.items():
        if name not in asked:
            raise UserError(
                f"The template asks no question called {name}.", fix=f"It asks: {', '.join(asked)}."
            )
        if isinstance(asked[name], list) and value not in asked[name]:
            raise UserError(
                f"{name}: {value!r} is not on offer.", fix=f"Take one of: {', '.join(asked[name])}."
            )
    checked = Answers(answers, defaults)
    names = [name for name in ASKED if no_input or name in answers]
    wrong = [text for text in (_wrong(name, checked, output_dir) for name in names) if text]
    if wrong:
        raise UserError(
            "\n  ".join(["No project was made.", *wrong]), fix="Change what is named above."
        )
    if not no_input:
        answers = _ask(answers, defaults, output_dir)
    values = Answers(answers, defaults).values
    given = {**{name: values[name] for name in ASKED}, **answers}
    context = {**literal(given), "_runtime_source": runtime_source(template_folder())}
    made = cookiecutter(
        str(template_folder()), no_input=True, extra_context=context, output_dir=str(output_dir)
    )
    return Path(made)


def _ask(
    answers: Mapping[str, str], defaults: Mapping[str, str] | None, output_dir: Path
) -> dict[str, str]:
    """Ask for the rest of `ASKED`, each until it can work."""
    import click

    given, prompts = dict(answers), questions()["__prompts__"]
    for name in (name for name in ASKED if name not in answers):
        default = Answers(given, defaults).values[name]
        while True:
            given[name] = click.prompt(prompts[name], default=default)
            wrong = _wrong(name, Answers(given, defaults), output_dir)
            if not wrong:
                break
            click.echo(f"  {wrong}", err=True)
    return given


def _wrong(name: str, answers: Answers, output_dir: Path) -> str:
    """Return what is wrong with an answer, or nothing."""
    folder = output_dir / answers.values["project_slug"]
    if name == "project_slug" and folder.exists():
        return f"project_slug: {folder} already exists. Choose another name, or remove it."
    return answers.problem(name)


def profile_defaults() -> dict[str, str]:
    """Return the region and the bucket that fit the AWS profile in use, as far as it names them.

    No account is asked. The account's number in a bucket's name makes it unique in the world.
    """
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    try:
        session = Session()
        region, profile = session.get_config_variable("region"), session.get_scoped_config()
    except BotoCoreError:
        return {}
    role = profile.get("role_arn", "").split(":")
    account = profile.get("sso_account_id") or (role[4] if len(role) > 5 else "")
    template = questions()
    found = {"result_s3_bucket": f"{template['result_s3_bucket']}-{account}"} if account else {}
    return {**found, "region": region} if region in template["_regions"] else found


def runtime_source(template: Path) -> str:
    """Return where a new project gets its runtime from: a requirement's URL, or ``==version``.

    The template in a repository is its own source. An installed wheel knows where it came from
    (PEP 610, ``direct_url.json``); one without that came from a package index, as a release.
    """
    if template == _PACKAGE.parent:
        return template.as_uri()
    return _installed_from() or f"=={importlib.metadata.version('batcat-runtime')}"


def other_runtime(folder: Path) -> tuple[str, str] | None:
    """Return the runtime that a project names and the one that is installed, if they differ.

    Parameters
    ----------
    folder : Path
        The project's folder.

    Returns
    -------
    tuple of (str, str) or None
        Versions, such as ``0.1.0``, or URLs with a commit. None if they are the same, or if
        requirements.txt names neither a version nor a URL of the runtime.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    path = folder / "requirements.txt"
    for line in path.read_text("utf-8").splitlines() if path.is_file() else []:
        try:
            wanted = Requirement(line.partition(" #")[0])
        except InvalidRequirement:
            continue  # a comment, an option, or a form that only pip knows
        if re.sub(r"[-_.]+", "-", wanted.name).lower() != "batcat-runtime":
            continue
        version, source = importlib.metadata.version("batcat-runtime"), _installed_from()
        if wanted.url:
            return (wanted.url, source or version) if wanted.url != source else None
        fits = wanted.specifier.contains(version, prereleases=True)
        return None if fits else (str(wanted.specifier).removeprefix("=="), version)
    return None


def _installed_from() -> str:
    """Return the URL that this runtime was installed from, at its commit; nothing of an index."""
    text = importlib.metadata.distribution("batcat-runtime").read_text("direct_url.json")
    origin = json.loads(text or "{}")
    info = origin.get("vcs_info")
    url = str(origin.get("url", ""))
    return f"{info['vcs']}+{url}@{info['commit_id']}" if info else url
