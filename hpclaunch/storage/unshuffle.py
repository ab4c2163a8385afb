"""Undo HDF5's shuffle: byte planes back to elements (H5Zshuffle.c).

The planes of whole elements come first; bytes left over behind them stand as they were. A chunk of
fewer than two elements was never shuffled.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np

__all__ = ["Unshuffle", "blosc2", "library", "pointer", "unshuffle"]

Unshuffle = Callable[[int, int, int, int], int]
"""Width of an element, bytes, and two addresses: from where and to where."""

_NAMES = {"darwin": "libblosc2.dylib", "win32": "libblosc2.dll"}
_MOST = 2**31 - 1  # bytes: the library counts in int32
_BLOCK = 32768  # elements that numpy turns at once, so that they stay in the cache


def unshuffle(source: np.ndarray, width: int, into: np.ndarray) -> None:
    """Undo shuffle.

    Parameters
    ----------
    source, into : numpy.ndarray
        uint8, one dimension, contiguous, of the same size and apart from each other.
    width : int
        Bytes of an element.
    """
    size = source.size
    whole = size // width * width if width else 0
    if width < 2 or whole < 2 * width:
        into[:] = source
        return
    if whole < size:
        into[whole:] = source[whole:]
    fast = library()
    if fast is not None and whole <= _MOST and width < 256:
        fast(width, whole, source.ctypes.data, into.ctypes.data)
    else:
        _by_numpy(source[:whole].reshape(width, -1), width, into[:whole])


@functools.cache
def library(short: bool = False) -> Unshuffle | None:
    """``blosc2_unshuffle(width, bytes, source, into)`` of the blosc2 package, if it serves.

    `short`: the function keeps Python's global lock, which is better for a few kilobytes.

    The package itself is not imported: that takes a second. What the function gives is compared
    with numpy once; where it differs it is not used.
    """
    try:
        found = blosc2("blosc2_unshuffle", keep_lock=short)
    except (ImportError, ValueError, OSError, AttributeError):
        return None
    return found if found is not None and _serves(found) else None


@functools.cache
def pointer() -> int | None:
    """The address of ``blosc2_unshuffle`` for compiled code, if it serves."""
    found = library()
    return None if found is None else ctypes.cast(cast(Any, found), ctypes.c_void_p).value


def blosc2(name: str, keep_lock: bool = False) -> Unshuffle | None:
    """A function ``(width, bytes, source, into)`` of the blosc2 package's library, or None.

    `keep_lock`: it keeps Python's global lock while it runs.
    """
    loader = ctypes.PyDLL if keep_lock else ctypes.CDLL
    spec = importlib.util.find_spec("blosc2")
    if spec is None or not spec.origin:
        return None
    file = _NAMES.get(sys.platform, "libblosc2.so")
    for folder in ("lib", "lib64", "."):
        path = Path(spec.origin).parent / folder / file
        if path.is_file():
            function: Any = getattr(loader(str(path)), name)
            function.argtypes = [ctypes.c_int32, ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p]
            function.restype = ctypes.c_int32
            return cast(Unshuffle, function)
    return None


def _serves(function: Unshuffle) -> bool:
    """Whether the function gives what numpy gives, for sizes around those of vector registers."""
    for width in (2, 3, 4, 5, 8, 12, 16, 24):
        for elements in (2, 15, 16, 33, 129, 2048):
            source = (np.arange(width * elements) * 151 % 251).astype(np.uint8)
            found, expected = np.zeros_like(source), np.empty_like(source)
            function(width, source.size, source.ctypes.data, found.ctypes.data)
            _by_numpy(source.reshape(width, -1), width, expected)
            if not np.array_equal(found, expected):
                return False
    return True


def _by_numpy(planes: np.ndarray, width: int, into: np.ndarray) -> None:
    if width not in (2, 4, 8):
        into.reshape(-1, width)[:] = planes.T
        return
    values = into.view(f"<u{width}")
    for start in range(0, values.size, _BLOCK):
        part = values[start : start + _BLOCK]
        block = planes[:, start : start + _BLOCK]
        part[:] = block[width - 1]
        for plane in block[width - 2 :: -1]:
            np.left_shift(part, 8, out=part)
            np.bitwise_or(part, plane, out=part)
