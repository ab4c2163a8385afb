"""chunks.c, where it was compiled when hpclaunch was installed: many chunks with one call.

Each function is held against numpy once; what gives something else is not used. Arrays go over as
addresses: int64, in C order.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Compiled", "How", "compiled"]

_VERSION = 3
_LIBRARY = Path(__file__).parent / "lib" / "chunks.so"  # apart, as it is no module of Python


class Compiled:
    """The library's functions; the arguments are described in chunks.c.

    Attributes
    ----------
    fetch, decode, numbers, place, decode_and_place : callable
        They let other threads of Python run.
    """

    def __init__(self, library: Any) -> None:
        i32, i64, address = ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p
        self.fetch = _function(library.hpclaunch_fetch, i64, i32, i64, address, address, address)
        self.decode = _function(library.hpclaunch_decode, i64, address, i64, *[address] * 3)
        self.numbers = _function(library.hpclaunch_numbers, None, address, address)
        self.place = _function(
            library.hpclaunch_place,
            *(i32, i64, address, address, i64, i32, address, address, i64, address),
        )
        self.decode_and_place = _function(
            library.hpclaunch_decode_and_place,
            *(i64, address, i64, *[address] * 4, i32, address, address, i64, address),
        )


class How(ctypes.Structure):
    """`how_t` of chunks.c; every field has eight bytes."""

    _fields_ = (
        *(("size", ctypes.c_int64), ("width", ctypes.c_int64), ("inflate", ctypes.c_void_p)),
        *(("decompressor", ctypes.c_void_p), ("unshuffle", ctypes.c_void_p)),
        *(("planes", ctypes.c_void_p), ("kind", ctypes.c_int64), ("item", ctypes.c_int64)),
        *(("table", ctypes.c_void_p), ("stored", ctypes.c_void_p), ("count", ctypes.c_int64)),
        *(("fills", ctypes.c_void_p), ("masked", ctypes.c_void_p), ("linear", ctypes.c_int64)),
        *(("is_signed", ctypes.c_int64), ("scale", ctypes.c_double), ("offset", ctypes.c_double)),
        *(("fills_number", ctypes.c_int64), ("fill", ctypes.c_int64)),
    )


def _function(function: Any, result: Any, *arguments: Any) -> Callable[..., int]:
    function.restype, function.argtypes = result, arguments
    found: Callable[..., int] = function
    return found


@functools.cache
def compiled() -> Compiled | None:
    """The library, or None where it was not built or does not serve."""
    try:
        library = ctypes.CDLL(str(_LIBRARY))
        if library.hpclaunch_chunks_version() != _VERSION:
            return None
        found = Compiled(library)
    except (OSError, AttributeError):
        return None
    return found if _places(found) and _fetches(found) else None


def _places(one: Compiled) -> bool:
    """Whether two chunks of (2, 3) come where they belong, the second one backwards."""
    values = np.arange(12, dtype="<i2")
    out = np.full((2, 5), -1, "<i2")
    starts = [np.array([0, 2]), np.array([0, 3, 5])]
    inside = [np.array([0, 6]), np.array([0, 2, 4, 0, 2])]
    outside = [np.array([0, 10]), np.array([0, 2, 4, 8, 6])]
    together = [np.array([0]), np.array([1, 0])]
    axes = zip(starts, inside, outside, together, strict=True)
    tables = [table.astype(np.int64) for axis in axes for table in axis]
    addresses = np.array([table.ctypes.data for table in tables], np.int64)
    ks, grid = np.arange(2), np.array([1, 2])
    one.place(
        *(2, ks.ctypes.data, values.ctypes.data, 12, 2, grid.ctypes.data),
        *(addresses.ctypes.data, 2, out.ctypes.data),
    )
    return bool(np.array_equal(out, [[0, 1, 2, 7, 6], [3, 4, 5, 10, 9]]))


def _fetches(one: Compiled) -> bool:
    """Whether the beginning of the library itself is read, and what lies behind its end is not."""
    with _LIBRARY.open("rb") as file:
        expected = file.read(8)
        size = _LIBRARY.stat().st_size
        found = np.zeros(8, np.uint8)
        offsets, sizes = np.array([0, 4, size - 2], np.int64), np.array([4, 4, 4], np.int64)
        targets = found.ctypes.data + np.array([0, 4, 0], np.int64)
        spare = np.zeros(8, np.uint8)
        targets[2] = spare.ctypes.data
        done = one.fetch(
            file.fileno(), 3, offsets.ctypes.data, sizes.ctypes.data, targets.ctypes.data
        )
    return done == 2 and found.tobytes() == expected
