"""How something of moto is replaced: with a function that gets what was there first."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any


def wraps(owner: Any, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Replace an attribute of a class or module by the decorated function.

    Parameters
    ----------
    owner : class or module
        Whose attribute it is.
    name : str
        Its name. The function gets what was there as its first argument, and then what that got.
    """

    def replace(function: Callable[..., Any]) -> Callable[..., Any]:
        original = getattr(owner, name)

        @functools.wraps(original)
        def replacement(*arguments: Any, **named: Any) -> Any:
            return function(original, *arguments, **named)

        static = isinstance(inspect.getattr_static(owner, name), staticmethod)
        setattr(owner, name, staticmethod(replacement) if static else replacement)
        return function

    return replace


def wraps_everywhere(package: str, owner: Any, name: str) -> Callable[..., Any]:
    """Do as `wraps` with a function, in every module of a package that imported it by its name."""

    def replace(function: Callable[..., Any]) -> Callable[..., Any]:
        original = getattr(owner, name)
        wraps(owner, name)(function)
        for module in list(sys.modules.values()):
            inside = getattr(module, "__name__", "").startswith(package)
            if inside and getattr(module, name, None) is original:
                setattr(module, name, getattr(owner, name))
        return function

    return replace
