"""The stepfunctions SDK without what it imports and a workflow mostly does not need.

``import stepfunctions`` imports sagemaker, and with it pandas: four seconds of every deployment,
for the seven kinds of states that describe SageMaker's own estimators. Here its two packages are
put in place without running their ``__init__``, and a name of theirs is imported when it is first
used. So ``from stepfunctions.steps import Chain`` takes a moment, ``TrainingStep`` four seconds.

What was imported in full before stays as it is.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

_PACKAGE, _STEPS = "stepfunctions", "stepfunctions.steps"


@contextlib.contextmanager
def quiet_sdk() -> Iterator[None]:
    """Have the SDK at hand within the block, without what it and sagemaker print."""
    os.environ.setdefault("SAGEMAKER_SUPPRESS_V2_WARNING", "1")
    logging.getLogger("sagemaker.config").setLevel(logging.WARNING)
    if _PACKAGE not in sys.modules:
        _place_packages()
    with _silence():
        importlib.import_module(f"{_STEPS}.states")
    yield


def _place_packages() -> None:
    package = _placed(_PACKAGE)
    steps = _placed(_STEPS)
    homes = _homes(steps)

    def step(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {_STEPS!r} has no attribute {name!r}")
        with _silence():
            found = getattr(importlib.import_module(homes[name]), name)
        setattr(steps, name, found)
        return found

    def anything(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {_PACKAGE!r} has no attribute {name!r}")
        # Something else of the SDK is wanted: let the package be what it is.
        del package.__dict__["__getattr__"]
        assert package.__spec__ is not None
        assert package.__spec__.loader is not None
        with _silence():
            package.__spec__.loader.exec_module(package)
        return getattr(package, name)

    steps.__dict__.update(__getattr__=step, __all__=sorted(homes))
    package.__dict__.update(__getattr__=anything, steps=steps)


def _placed(name: str) -> ModuleType:
    """Put a package in place whose ``__init__`` has not run."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    return module


def _homes(package: ModuleType) -> dict[str, str]:
    """Return the names that a package's ``__init__`` imports, each with the module it is from."""
    assert package.__file__ is not None
    tree = ast.parse(Path(package.__file__).read_text("utf-8"))
    return {
        alias.asname or alias.name: str(node.module)
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(f"{_STEPS}.")
        for alias in node.names
    }


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
