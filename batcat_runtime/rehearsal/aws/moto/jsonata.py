"""JSONata in states: moto asks Java for it (5.2.5), here PyPI's ``jsonata-python`` evaluates it.

The functions that Step Functions adds to JSONata are in the developer guide, "Transforming data
with JSONata". An expression that yields nothing, something that JSON does not know, or an error
fails the state with ``States.QueryEvaluationError``, as the guide says.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import uuid
from collections.abc import Mapping
from typing import Any

from jsonata import Jsonata
from jsonata.jexception import JException
from jsonata.utils import Utils

_HASHES = {"MD5", "SHA-1", "SHA-256", "SHA-384", "SHA-512"}


class JSONataError(Exception):
    """An expression has no value; the text says why."""


def syntax_error(expression: str) -> str | None:
    """Return what is wrong with the text of an expression, or None."""
    try:
        Jsonata(expression)
    except JException as error:
        return str(error)
    return None


def evaluate(expression: str, variables: Mapping[str, Any]) -> Any:
    """Evaluate an expression.

    Parameters
    ----------
    expression : str
        Without its delimiters.
    variables : mapping of str to Any
        By their names, without the dollar sign.

    Returns
    -------
    JSON value
        What the expression yields.

    Raises
    ------
    JSONataError
        It yields nothing, or what JSON cannot express, or it fails.
    """
    try:
        compiled = Jsonata(expression)
        compiled.set_output_convert_nulls(False)
        frame = compiled.create_frame()
        for name, function in _FUNCTIONS.items():
            compiled.register_lambda(name, function)
        frame.bind("eval", None)  # Step Functions has $parse instead
        for name, value in variables.items():
            frame.bind(name, _with_nulls(value))
        found = compiled.evaluate(None, frame)
    except RecursionError:
        raise JSONataError("threw an error during evaluation: it is too deep") from None
    except Exception as error:
        raise JSONataError(f"threw an error during evaluation: {error}") from error
    if found is None:
        raise JSONataError("returned nothing (undefined)")
    try:
        return json.loads(json.dumps(found, default=_null, allow_nan=False), parse_float=_number)
    except (TypeError, ValueError):
        raise JSONataError("returned an unsupported result type") from None


def _with_nulls(value: Any) -> Any:
    """Return a JSON value with the library's null for ours, which it takes for undefined."""
    if isinstance(value, dict):
        return {key: _with_nulls(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_nulls(item) for item in value]
    return Utils.NULL_VALUE if value is None else value


def _null(value: Any) -> None:
    if value is not Utils.NULL_VALUE:
        raise TypeError(type(value).__name__)


def _number(text: str) -> float | int:
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _partition(array: list[Any], size: float) -> list[list[Any]]:
    step = int(size)
    return [array[start : start + step] for start in range(0, len(array), step)]


def _range(first: float, last: float, step: float) -> list[float]:
    count = math.floor((last - first) / step) + 1
    return [first + index * step for index in range(max(count, 0))]


def _hash(content: Any, algorithm: str) -> str:
    if algorithm not in _HASHES:
        raise ValueError(f"$hash knows {sorted(_HASHES)}, not {algorithm!r}")
    text = content if isinstance(content, str) else json.dumps(content, separators=(",", ":"))
    return hashlib.new(algorithm.replace("-", "").lower(), text.encode()).hexdigest()


def _random(seed: Any = None) -> float:
    return (random.Random(seed) if seed is not None else random).random()


_FUNCTIONS: dict[str, Any] = {
    "partition": _partition,
    "range": _range,
    "hash": _hash,
    "random": _random,
    "uuid": lambda: str(uuid.uuid4()),
    "parse": lambda text: _with_nulls(json.loads(text)),
}
