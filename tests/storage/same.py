"""What tells two datasets apart, down to the last bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

LIMIT = 5
"""So many differing elements of an array are told."""


def differences(found: xr.Dataset, wanted: xr.Dataset, *, encoding: bool = True) -> list[str]:
    """Everything in which a dataset differs from another: an empty list where nothing does.

    Parameters
    ----------
    found, wanted : xarray.Dataset
    encoding : bool
        Whether encodings have to be the same too.
    """
    told = [
        *_mapping("sizes", dict(found.sizes), dict(wanted.sizes)),
        *_mapping("attributes", found.attrs, wanted.attrs),
        *_order("variables", list(found.variables), list(wanted.variables)),
        *_order("coordinates", list(found.coords), list(wanted.coords)),
        *_order("indexes", list(found.xindexes), list(wanted.xindexes)),
    ]
    if encoding:
        told += _mapping("encoding", found.encoding, wanted.encoding, ordered=False)
    for name in wanted.variables:
        if name in found.variables:
            told += [
                f"{name}: {one}"
                for one in variable_differences(
                    found.variables[name], wanted.variables[name], encoding=encoding
                )
            ]
    return told


def variable_differences(
    found: xr.Variable, wanted: xr.Variable, *, encoding: bool = True
) -> list[str]:
    """Everything in which a variable differs from another."""
    told = [
        *_order("dimensions", list(found.dims), list(wanted.dims)),
        *_dtype("declared dtype", found.dtype, wanted.dtype),
        *_mapping("attributes", found.attrs, wanted.attrs),
    ]
    if encoding:
        told += _mapping("encoding", found.encoding, wanted.encoding)
    return [*told, *value_differences(found, wanted)]


def value_differences(found: Any, wanted: Any) -> list[str]:
    """How the values of two variables or data arrays differ, or that one cannot be read."""
    one, other = outcome(lambda: np.asarray(found.values)), outcome(lambda: wanted.values)
    if isinstance(other, Exception):
        # The netCDF library cannot read it. Whoever can, may; nobody has to.
        return []
    if isinstance(one, Exception):
        return [f"cannot be read: {type(one).__name__}: {one}"]
    return array_differences(one, np.asarray(other))


def outcome(act: Any) -> Any:
    """What a function gives, or the exception that it raises."""
    try:
        return act()
    except Exception as error:
        return error


def array_differences(found: np.ndarray, wanted: np.ndarray) -> list[str]:
    """How two arrays differ in dtype, shape and bits."""
    told = _dtype("dtype", found.dtype, wanted.dtype)
    if found.shape != wanted.shape:
        return [*told, f"shape {found.shape}, not {wanted.shape}"]
    if told:
        return told
    if wanted.dtype.names is not None:
        return [
            f"field {name}: {one}"
            for name in wanted.dtype.names
            for one in array_differences(found[name], wanted[name])
        ]
    if wanted.dtype.hasobject:
        pairs = enumerate(zip(found.ravel(), wanted.ravel(), strict=True))
        wrong = [
            f"[{at}] {one!r}, not {other!r}" for at, (one, other) in pairs if _unlike(one, other)
        ]
        return wrong[:LIMIT]
    bits = [
        np.frombuffer(one.tobytes(), f"V{max(1, one.dtype.itemsize)}") for one in (found, wanted)
    ]
    wrong_at = np.flatnonzero(bits[0] != bits[1])
    if not len(wrong_at):
        return []
    first = ", ".join(
        f"[{at}] {found.ravel()[at]!r}, not {wanted.ravel()[at]!r}" for at in wrong_at[:LIMIT]
    )
    return [f"{len(wrong_at)} of {wanted.size} elements differ: {first}"]


def _dtype(what: str, found: np.dtype[Any], wanted: np.dtype[Any]) -> list[str]:
    same = found == wanted and found.str == wanted.str and found.descr == wanted.descr
    if same and (found.metadata or {}) == (wanted.metadata or {}):
        return []
    return [f"{what} {found!r} {found.metadata or ''}, not {wanted!r} {wanted.metadata or ''}"]


def _order(what: str, found: list[Any], wanted: list[Any]) -> list[str]:
    return [] if found == wanted else [f"{what} {found}, not {wanted}"]


def _mapping(
    what: str, found: Mapping[Any, Any], wanted: Mapping[Any, Any], *, ordered: bool = True
) -> list[str]:
    """Differences of attributes or encodings: keys, their order, types and values."""
    keys = (list(found), list(wanted)) if ordered else (sorted(found), sorted(wanted))
    if keys[0] != keys[1]:
        return [f"{what}: keys {keys[0]}, not {keys[1]}"]
    return [
        f"{what}: {key!r} is {found[key]!r} ({_kind(found[key])}), "
        f"not {wanted[key]!r} ({_kind(wanted[key])})"
        for key in keys[1]
        if _unlike(found[key], wanted[key])
    ]


def _kind(value: Any) -> str:
    return f"{type(value).__name__} {getattr(value, 'dtype', '')}".strip()


def _unlike(one: Any, other: Any) -> bool:
    """Whether two values are of different types, or not the same to the last bit."""
    if type(one) is not type(other):
        return True
    if isinstance(other, np.ndarray | np.generic):
        return bool(array_differences(np.asarray(one), np.asarray(other)))
    if isinstance(other, np.dtype):
        return bool(_dtype("", one, other))
    if isinstance(other, float):
        return np.float64(one).tobytes() != np.float64(other).tobytes()
    if isinstance(other, Mapping):
        return bool(_mapping("", one, other))
    if isinstance(other, list | tuple):
        return len(one) != len(other) or any(map(_unlike, one, other))
    if hasattr(other, "calendar"):
        return bool(one != other or one.calendar != other.calendar or repr(one) != repr(other))
    return bool(one != other)
