"""`batcat new` and `add`: a project from the template after five questions; one more pipeline."""

from __future__ import annotations

from pathlib import Path

import click

from batcat_runtime.commands.terminal import PATH, folder_option, pairs_of
from batcat_runtime.errors import UserError
from batcat_runtime.project import new_project, profile_defaults, questions

_TEMPLATE = questions()


def _choice(option: str, question: str) -> click.Option:
    choices = _TEMPLATE[question]
    return click.Option(
        [option, question],
        type=click.Choice(choices),
        help=f"{_TEMPLATE['__prompts__'][question]}.  [default: {choices[0]}]",
        show_default=False,
    )


@click.command()
@click.argument(
    "answers",
    nargs=-1,
    metavar="[NAME=VALUE]...",
    help="Answers given here, such as project_name=battery region=us-east-1.",
)
@click.option("--no-input", is_flag=True, help="Ask nothing; take the defaults for the rest.")
@click.option(
    "--output-dir", "-o", type=PATH, default=Path(), help="Where the project's folder is made."
)
def new(answers: tuple[str, ...], no_input: bool, output_dir: Path, **chosen: str | None) -> None:
    """Make a new project from the template.

    Asks five questions: its name, its folder, its first pipeline, region and bucket. Each answer is
    checked as it is given; region and bucket default to those of your AWS profile.
    """
    given = {
        **pairs_of(answers, "answer", "project_name=battery"),
        **{name: value for name, value in chosen.items() if value},
    }
    try:
        new_project(given, no_input=no_input, output_dir=output_dir, defaults=profile_defaults())
    except click.Abort as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise
        raise UserError(
            "No project was made: there was no answer.",
            fix="Answer here as name=value, or take the defaults with --no-input.",
        ) from error


new.params += [
    _choice("--python", "python_version"),
    _choice("--mirror", "package_index"),
    _choice("--licence", "licence"),
    _choice("--example", "example"),
]


@click.command()
@click.argument("name", help="The new pipeline's name, such as forecast.")
@folder_option
def add(name: str, folder: Path) -> None:
    """Add a pipeline to a project.

    A script, its test and an entry in script/config.json, made like those of the first one.
    """
    from batcat_runtime.addition import add_purpose
    from batcat_runtime.config import find_project

    project = find_project(folder)
    for path in add_purpose(project, name):
        click.echo(path.as_posix())
    click.echo(
        f"\nRun it here:  make run PURPOSE={name}   Rehearse it:  batcat rehearse --purpose {name}"
    )
