"""`import batcat_runtime` must be light: a job pays for what it uses, and for nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest

import batcat_runtime as bc

HEAVY = {"pandas", "numpy", "awswrangler", "sagemaker", "stepfunctions", "boto3", "pydantic"}


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_loads_nothing_heavy() -> None:
    assert modules_after("import batcat_runtime as bc") & HEAVY == set()


def test_the_job_contract_loads_nothing_heavy() -> None:
    assert modules_after("import batcat_runtime as bc; bc.processing_job") & HEAVY == set()


def test_the_command_line_loads_nothing_heavy() -> None:
    help_of_all = "from batcat_runtime.commands import run; run(['--help'])"
    assert modules_after(help_of_all) & {*HEAVY, "botocore"} == set()


def test_authoring_is_imported_only_when_asked_for() -> None:
    loaded = modules_after("import batcat_runtime as bc; bc.setup_workflow")
    assert loaded & {"sagemaker", "stepfunctions", "pandas"} == set()


@pytest.mark.parametrize("name", [name for name in bc.__all__ if name != "__version__"])
def test_every_public_name_resolves_and_is_documented(name: str) -> None:
    value = getattr(bc, name)
    assert value.__doc__
    assert name in dir(bc)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        bc.nonsense  # noqa: B018
