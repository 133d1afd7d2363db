"""The `batcat` command line: options in, text out, and an exit code.

What a command does is a function of `batcat_runtime.operate`, `deploy` or `rehearsal`; here it gets
its options, its progress on a terminal, and the form of what it prints. A module is imported when
one of its commands is called, and never for the help or for another one.

Exit codes: 0 done, 2 the user's mistake (one clear message), 1 anything else; ``--debug`` shows the
traceback. Everything that takes longer than a second says what it is doing: a spinner on a
terminal, plain lines elsewhere.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import cast

import click
from rich.markup import escape

from batcat_runtime import __version__
from batcat_runtime.commands.terminal import err, say
from batcat_runtime.errors import BatcatError
from batcat_runtime.log import reporting

# The groups of `batcat --help`, and of each command what it says there; at most 26 characters, so
# that two stand side by side and all are seen on one screen of 80 x 24.
GROUPS: dict[str, dict[str, str]] = {
    "Start": {
        "new": "Make a project",
        "add": "Add a pipeline to it",
        "data": "Upload data, or a sample",
        "rehearse": "Rehearse it on your laptop",
        "local": "An AWS on your laptop",
        "completion": "Complete names in a shell",
    },
    "Deploy": {
        "plan": "What would change",
        "deploy": "Bring it to AWS",
        "lock": "Pin the image's packages",
        "image": "Build the image alone",
        "roles": "For an administrator",
        "destroy": "Remove it; data stay",
    },
    "Operate": {
        "run": "Run it once",
        "stop": "Stop a run",
        "status": "What ran; why it failed",
        "logs": "What a run wrote",
        "results": "List, get, read results",
        "backfill": "Compute a range of windows",
        "schedule": "When it runs by itself",
        "doctor": "What is wrong, how to mend",
    },
}
# Where a command is that is not in a module of its own name.
_MODULES = {
    **dict.fromkeys(("destroy", "lock", "image", "roles"), "deploy"),
    **{"add": "new", "stop": "run", "local": "rehearse"},
}

_OUTPUT_ERRORS = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
_CLOSED_PIPE = 128 + 13  # SIGPIPE


class Commands(click.Group):
    """A group that loads a command when it is called, and lists all in groups on one screen."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands' names, in the order of their groups."""
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its name."""
        if cmd_name not in self.commands:
            return None
        module = import_module(f"{__name__}.{_MODULES.get(cmd_name, cmd_name)}")
        return cast(click.Command, getattr(module, cmd_name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, two side by side."""
        for title, group in GROUPS.items():
            with formatter.section(title):
                cells = [f"{name:<10}  {said}" for name, said in group.items()]
                half = -(-len(cells) // 2)
                for number in range(half):
                    pair = cells[number::half]
                    formatter.write(f"  {'  '.join(f'{cell:<38}' for cell in pair)}".rstrip())
                    formatter.write("\n")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options on one line, and the commands."""
        options = [param.opts[0] for param in self.get_params(ctx)]
        formatter.write(f"\nOptions: {', '.join(options)}; each command has --help\n")
        self.format_commands(ctx, formatter)


@click.group(
    "batcat",
    cls=Commands,
    # Known by their names, for a suggestion after a typo; `get_command` brings the real one.
    commands=[click.Command(name) for group in GROUPS.values() for name in group],
    context_settings={"show_default": True},
    help="Nightly batch pipelines on AWS for data scientists, rehearsed on a laptop.",
)
@click.version_option(__version__, message="batcat %(version)s", help="Print the version and exit.")
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
def app(debug: bool) -> None:
    """Read the options that stand before the command."""
    if debug:
        os.environ["BATCAT_DEBUG"] = "1"


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
        with reporting(say):
            code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        _abandon_output()
        return _CLOSED_PIPE
    except BatcatError:  # with --debug; some are OSErrors too
        raise
    except OSError as error:
        _abandon_output()
        err.print(
            f"Error: Standard output cannot be written: {escape(str(error.strerror or error))}.\n"
            "  Fix: Make room where it goes, or send it elsewhere, then run the command again."
        )
        return 1
    return code


def _run(arguments: list[str] | None) -> int:
    completing = os.environ.get("_BATCAT_COMPLETE")
    if completing:
        from click.shell_completion import shell_complete

        return shell_complete(app, {}, "batcat", "_BATCAT_COMPLETE", completing)
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
        err.print("\nStopped.")
        return 130
    except BatcatError as error:
        if os.environ.get("BATCAT_DEBUG"):
            raise
        err.print(f"Error: {escape(str(error))}")
        return error.exit_code
    except SystemExit as error:
        # rich leaves like this when a pipe is closed.
        if isinstance(error.__context__, BrokenPipeError):
            raise error.__context__ from None
        raise
    except Exception as error:
        if _is_about_output(error) or os.environ.get("BATCAT_DEBUG"):
            raise
        err.print(
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
