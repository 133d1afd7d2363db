"""The `batcat` command: make a project, rehearse it, keep an embedded AWS at hand.

Exit codes: 0 done, 2 the user's mistake (one clear message), 1 anything else; ``--debug`` shows the
traceback. Everything that takes longer than a second says what it is doing: a spinner on a
terminal, plain lines elsewhere.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from batcat_runtime import __version__, commands
from batcat_runtime.commands.terminal import PATH, say
from batcat_runtime.commands.terminal import err as _err
from batcat_runtime.commands.terminal import progress as _progress
from batcat_runtime.errors import BatcatError, ConfigError, UserError

_OUTPUT_ERRORS = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
_CLOSED_PIPE = 128 + 13  # SIGPIPE

_folder_argument = click.argument("folder", type=PATH, default=Path(), help="The project's folder.")


@click.group(
    "batcat",
    cls=commands.Commands,
    context_settings={"show_default": True},
    help="Nightly batch pipelines on AWS for data scientists, rehearsed on a laptop first.",
)
@click.version_option(__version__, message="batcat %(version)s", help="Print the version and exit.")
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
def app(debug: bool) -> None:
    """Read the options that stand before the command."""
    if debug:
        os.environ["BATCAT_DEBUG"] = "1"


@app.command()
@click.argument("name", help="The new pipeline's name, such as forecast.")
@_folder_argument
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


@app.command()
@_folder_argument
@click.option("--purpose", help="Which pipeline; needed when there are several.")
@click.option("fire_at", "--at", help="Local time at which the schedule fires, 2022-01-08T02:00.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=900.0,
    help="Seconds that the execution may take.",
)
@click.option(
    "--report", type=PATH, help="Where the report goes.  [default: report/rehearsal-<purpose>.html]"
)
@click.option("--verbose", "-v", is_flag=True, help="Print every line as it comes.")
def rehearse(
    folder: Path,
    purpose: str | None,
    fire_at: str | None,
    timeout: float,
    report: Path | None,
    verbose: bool,
) -> None:
    """Rehearse a project on this machine.

    Its whole deployment is carried out against an embedded AWS: no account, no Docker, no network.
    Exit code 0: the pipeline succeeded. 1: it failed, and the report says where.
    """
    from batcat_runtime.config import find_project

    project = find_project(folder)
    _need("moto", "rehearse")
    from batcat_runtime.rehearsal.seal import seal

    unsealed = seal()
    from batcat_runtime.rehearsal.rehearse import rehearse as run
    from batcat_runtime.rehearsal.report import write_report
    from batcat_runtime.rehearsal.summary import print_summary

    with _progress(verbose) as progress:
        if unsealed:
            progress(f"jobs may reach the network: {unsealed}; see docs/rehearsal.md")
        record = run(project, purpose, fire_at=fire_at, timeout=timeout, progress=progress)
        progress("writing the report")
        path = report or project / "report" / f"rehearsal-{record.purpose}.html"
        write_report(record, path)
    print_summary(record, path, Console(highlight=False))
    if record.status == "failed":
        raise click.exceptions.Exit(1)


@app.command()
@_folder_argument
@click.option("--upgrade", is_flag=True, help="Take the newest versions of everything.")
def lock(folder: Path, upgrade: bool) -> None:
    """Pin the packages of the image, with hashes.

    Needed after a change of deploy/docker/requirements.txt; asks a package index.
    """
    from batcat_runtime.config import find_project
    from batcat_runtime.deploy.lock import write_lock

    click.echo(write_lock(find_project(folder) / "deploy" / "docker", upgrade=upgrade))


@app.command()
@_folder_argument
@click.option("--context", type=PATH, help="Write the build context there, and build nothing.")
def image(folder: Path, context: Path | None) -> None:
    """Build the image and push it to ECR, or write its build context.

    The context is for who builds elsewhere: a folder with the Dockerfile and all that it copies.
    """
    from batcat_runtime.config import find_project, get_config
    from batcat_runtime.deploy.context import context_of, tag_of, write_context
    from batcat_runtime.deploy.image import setup_image

    config = get_config(find_project(folder))
    if context is None:
        click.echo(setup_image(config, progress=say))
        return
    files = context_of(config)
    write_context(files, context)
    click.echo(f"{context}: build it for linux/amd64 and push it as {tag_of(files)}")


@app.command()
@_folder_argument
def roles(folder: Path) -> None:
    """Print how an administrator makes the roles, for who may not make roles.

    Writes the parameters of deploy/roles.yaml to deploy/build/; no AWS account is asked.
    """
    from batcat_runtime.config import find_project, get_config
    from batcat_runtime.deploy.workflow import roles_commands

    for line in roles_commands(get_config(find_project(folder))):
        click.echo(line)


@app.group(cls=commands.InOrder)
def local() -> None:
    """Keep an embedded AWS at hand."""


@local.command()
@click.option("--region", default="us-east-1", help="The AWS region it pretends to be.")
@click.option(
    "--port",
    type=click.IntRange(min=0, max=65535),
    default=0,
    help="Its port on 127.0.0.1; 0 takes a free one.",
)
def up(region: str, port: int) -> None:
    """Start an embedded AWS that stays."""
    _need("moto", "rehearse")
    from batcat_runtime.rehearsal import local_status, local_up

    there = local_status()
    if there is not None:
        raise UserError(
            f"An embedded AWS for {there.region} runs already, at {there.endpoint_url}.",
            fix='Use it with `eval "$(batcat local env)"`, or stop it with `batcat local down`.',
        )
    with _progress() as progress:
        progress(f"starting an embedded AWS for {region}")
        running = local_up(region=region, port=port)
    click.echo(f"An embedded AWS for {running.region} listens on {running.endpoint_url}")
    click.echo('In another terminal:  eval "$(batcat local env)"   then e.g.  aws s3 ls')
    click.echo("Stop it with:         batcat local down")
    click.echo("Its jobs can reach the network; those of `batcat rehearse` cannot.")


@local.command()
def env() -> None:
    """Print what points a terminal at it."""
    from batcat_runtime.rehearsal import local_status

    running = local_status()
    if running is None:
        raise UserError("No embedded AWS is running.", fix="Start one with `batcat local up`.")
    for name, value in sorted(running.environment().items()):
        click.echo(f"export {name}={shlex.quote(value)}")
    click.echo("unset AWS_PROFILE AWS_SESSION_TOKEN")


@local.command()
def down() -> None:
    """Stop it; all that it holds is gone."""
    from batcat_runtime.rehearsal import local_down

    click.echo("Stopped." if local_down() else "No embedded AWS was running.")


def _need(module: str, extra: str) -> None:
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise ConfigError(
            f"This needs the package {module}, which is not installed.",
            fix=f"Install batcat-runtime with its [{extra}] extra; a project's requirements.txt "
            "names it.",
        )


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code.

    Standard output may be a pipe that its reader has closed, as `head` does: that ends the command
    quietly, with the code that a shell gives to who dies of it. A disk that is full is an error.
    """
    if sys.stdout is None:  # closed by who started us: `batcat ... >&-`
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        _abandon_output()
        return _CLOSED_PIPE
    except BatcatError:  # with --debug; some are OSErrors too
        raise
    except OSError as error:
        _abandon_output()
        _err.print(
            f"Error: Standard output cannot be written: {escape(str(error.strerror or error))}.\n"
            "  Fix: Make room where it goes, or send it elsewhere, then run the command again."
        )
        return 1
    return code


def _run(arguments: list[str] | None) -> int:
    try:
        # Not `app.main`, which keeps a closed pipe to itself.
        given = sys.argv[1:] if arguments is None else list(arguments)
        with app.make_context("batcat", given) as context:
            app.invoke(context)
        return 0
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.Abort:
        return 130
    except click.UsageError as error:
        error.show()
        return 2
    except KeyboardInterrupt:
        _err.print("\nStopped.")
        return 130
    except BatcatError as error:
        if os.environ.get("BATCAT_DEBUG"):
            raise
        _err.print(f"Error: {escape(str(error))}")
        return error.exit_code
    except SystemExit as error:
        # rich leaves like this when a pipe is closed.
        if isinstance(error.__context__, BrokenPipeError):
            raise error.__context__ from None
        raise
    except Exception as error:
        if _is_about_output(error) or os.environ.get("BATCAT_DEBUG"):
            raise
        _err.print(
            f"Error: {type(error).__name__}: {escape(str(error))}\n"
            "  Fix: This is not your mistake. Run it again with `batcat --debug ...` and report it."
        )
        return 1


def _is_about_output(error: Exception) -> bool:
    """Whether writing to standard output failed; an error about a file names the file."""
    return isinstance(error, OSError) and error.errno in _OUTPUT_ERRORS and error.filename is None


def _abandon_output() -> None:
    """Let what is left in standard output's buffer go nowhere, or Python's end complains of it."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
