"""The `batcat` command: finds the command that was typed, and turns every outcome to an exit code.

Exit codes: 0 done, 2 the user's mistake (one clear message), 1 anything else; ``--debug`` shows the
traceback. Everything that takes longer than a second says what it is doing: a spinner on a
terminal, plain lines elsewhere.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from pathlib import Path

import click
from rich.markup import escape

from batcat_runtime import __version__
from batcat_runtime.commands import Commands
from batcat_runtime.commands.terminal import err, say
from batcat_runtime.errors import BatcatError
from batcat_runtime.log import reporting

_OUTPUT_ERRORS = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
_CLOSED_PIPE = 128 + 13  # SIGPIPE


@click.group(
    "batcat",
    cls=Commands,
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
