"""Attributes, encodings and dtypes as JSON that gives them back with their very types.

What JSON has stands for itself; all else is an object with one key that says what it is.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["Unkeepable", "dtype_from_json", "dtype_to_json", "from_json", "to_json"]


class Unkeepable(Exception):
    """A value that there are no words for."""


def dtype_to_json(dtype: np.dtype[Any]) -> Any:
    """A dtype as its letters; with its description where letters do not tell all of it."""
    if dtype.fields is None and dtype.metadata is None and dtype.subdtype is None:
        return dtype.str
    meta = {key: _value_to_json(value) for key, value in (dtype.metadata or {}).items()}
    return [_value_to_json(np.lib.format.dtype_to_descr(_bare(dtype))), meta]


def _bare(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(dtype.str) if dtype.fields is None and dtype.subdtype is None else dtype


def dtype_from_json(text: Any) -> np.dtype[Any]:
    """What `dtype_to_json` was given, metadata included."""
    if isinstance(text, str):
        return np.dtype(text)
    bare, meta = text
    dtype = np.lib.format.descr_to_dtype(_value_from_json(bare))
    if not meta:
        return dtype
    return np.dtype(dtype, metadata={k: _value_from_json(v) for k, v in meta.items()})


def to_json(values: dict[str, Any]) -> dict[str, Any]:
    """Attributes or an encoding, in their order.

    Raises
    ------
    Unkeepable
        If there are no words for one of them.
    """
    return {key: _value_to_json(value) for key, value in values.items()}


def from_json(values: dict[str, Any]) -> dict[str, Any]:
    """What `to_json` was given, to the last bit."""
    return {
        key: _value_from_json(value) if type(value) is dict else value
        for key, value in values.items()
    }


def _value_to_json(value: Any) -> Any:
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return {"float": value.hex()}
    if kind is bytes:
        return {"bytes": base64.b64encode(value).decode()}
    if kind in (list, tuple):
        return {kind.__name__: [_value_to_json(one) for one in value]}
    if kind is dict:
        return {"dict": [[_value_to_json(k), _value_to_json(v)] for k, v in value.items()]}
    if isinstance(value, np.dtype):
        return {"dtype": dtype_to_json(value)}
    if kind is type and value.__name__ in _TYPES:
        return {"type": value.__name__}
    if isinstance(value, np.ndarray | np.generic) and not value.dtype.hasobject:
        return _numbers_to_json(value)
    raise Unkeepable(f"a {kind.__name__}")


def _numbers_to_json(value: Any) -> dict[str, Any]:
    bytes_ = base64.b64encode(value.tobytes()).decode()
    if isinstance(value, np.ndarray):
        return {"array": [dtype_to_json(value.dtype), list(value.shape), bytes_]}
    return {"scalar": [dtype_to_json(value.dtype), bytes_]}


def _value_from_json(value: Any) -> Any:
    if type(value) is not dict:
        return value
    ((kind, content),) = value.items()
    return _MAKERS[kind](content)


def _scalar(content: Any) -> Any:
    dtype, data = content
    return np.frombuffer(base64.b64decode(data), dtype_from_json(dtype), 1)[0]


def _small_array(content: Any) -> np.ndarray:
    dtype, shape, data = content
    kind = dtype_from_json(dtype)
    raw = base64.b64decode(data)
    if len(raw) != math.prod(shape) * kind.itemsize:
        raise ValueError("an array of another size")
    return np.frombuffer(raw, kind).reshape(shape).copy() if raw else np.empty(shape, kind)


_TYPES = {"str": str, "bytes": bytes}

_MAKERS: dict[str, Callable[[Any], Any]] = {
    "float": float.fromhex,
    "bytes": base64.b64decode,
    "list": lambda content: [_value_from_json(one) for one in content],
    "tuple": lambda content: tuple([_value_from_json(one) for one in content]),
    "dict": lambda content: {_value_from_json(k): _value_from_json(v) for k, v in content},
    "dtype": lambda content: dtype_from_json(content),
    "type": _TYPES.__getitem__,
    "scalar": _scalar,
    "array": _small_array,
}
