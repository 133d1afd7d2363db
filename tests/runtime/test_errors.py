"""What Python users catch: some errors are Python's own as well."""

import subprocess
import sys
from pathlib import Path

import pytest

from batcat_runtime import errors


@pytest.mark.parametrize(
    ("ours", "pythons"),
    [
        (errors.UserError, ValueError),
        (errors.ConfigError, ValueError),
        (errors.NoSuchObjectError, FileNotFoundError),
        (errors.NoSuchBucketError, FileNotFoundError),
        (errors.AccessDeniedError, PermissionError),
    ],
)
def test_an_error_is_pythons_own_too_and_keeps_message_and_fix(
    ours: type[errors.BatcatError], pythons: type[Exception]
) -> None:
    with pytest.raises(pythons) as caught:
        raise ours("It is wrong.", fix="Mend it.")
    assert isinstance(caught.value, errors.BatcatError)
    assert str(caught.value) == "It is wrong.\n  Fix: Mend it."


def test_debug_shows_an_error_that_is_an_oserror_as_it_is(tmp_path: Path) -> None:
    code = (
        "from batcat_runtime import commands, errors\n"
        "def refuse(*_): raise errors.AccessDeniedError('AWS denied access.')\n"
        "commands.app.make_context = refuse\n"
        "commands.main([])\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"BATCAT_DEBUG": "1", "PATH": ""},
    )
    assert "AccessDeniedError: AWS denied access." in ran.stderr
    assert "Standard output cannot be written" not in ran.stderr
