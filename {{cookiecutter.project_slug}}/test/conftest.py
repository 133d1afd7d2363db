"""What the tests share: a script is loaded by its path, since its name may hold a hyphen."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def script(request: pytest.FixtureRequest) -> ModuleType:
    """Return the script that the test file is named after: test_a_b.py tests script/a-b.py."""
    wanted = request.path.stem.removeprefix("test_")
    found = [p for p in (PROJECT / "script").glob("*.py") if p.stem.replace("-", "_") == wanted]
    assert len(found) == 1, f"{request.path.name} needs one script named {wanted}, found {found}"
    spec = importlib.util.spec_from_file_location(wanted, found[0])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
