"""chunks.c, where it was compiled when hpclaunch was installed: many chunks with one call.

A library of another source, by its number, is not used, nor one that does not read and decode a
small example rightly. Arrays go over as addresses: int64, in C order.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Compiled", "How", "compiled"]

_VERSION = 6
_LIBRARY = Path(__file__).parent / "lib" / "chunks.so"  # apart, as it is no module of Python


class Compiled:
    """The library's functions; the arguments are described in chunks.c and values.h.

    Attributes
    ----------
    fetch, decode, read_and_decode, numbers, decode_and_place : callable
        They let other threads of Python run.
    """

    def __init__(self, library: Any) -> None:
        i32, i64, address = ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p
        self.fetch = _function(library.hpclaunch_fetch, i64, i32, i64, address, address, address)
        self.decode = _function(library.hpclaunch_decode, i64, address, i64, *[address] * 3)
        self.read_and_decode = _function(
            library.hpclaunch_read_and_decode,
            *(i64, address, i32, i64, *[address] * 4, i64, i64, address),
        )
        self.numbers = _function(library.hpclaunch_numbers, None, address, address)
        self.decode_and_place = _function(
            library.hpclaunch_decode_and_place,
            *(i64, address, i64, *[address] * 4, i32, address, address, i64, address),
        )


class How(ctypes.Structure):
    """`how_t` of values.h; every field has eight bytes."""

    _fields_ = (
        *(("size", ctypes.c_int64), ("width", ctypes.c_int64), ("inflate", ctypes.c_void_p)),
        *(("decompressor", ctypes.c_void_p), ("unshuffle", ctypes.c_void_p)),
        *(("planes", ctypes.c_void_p), ("kind", ctypes.c_int64), ("item", ctypes.c_int64)),
        *(("table", ctypes.c_void_p), ("stored", ctypes.c_void_p), ("count", ctypes.c_int64)),
        *(("fills", ctypes.c_void_p), ("masked", ctypes.c_void_p), ("linear", ctypes.c_int64)),
        *(("is_signed", ctypes.c_int64), ("scale", ctypes.c_double), ("offset", ctypes.c_double)),
        *(("fills_number", ctypes.c_int64), ("fill", ctypes.c_int64), ("streams", ctypes.c_int64)),
    )


def _function(function: Any, result: Any, *arguments: Any) -> Callable[..., int]:
    function.restype, function.argtypes = result, arguments
    found: Callable[..., int] = function
    return found


@functools.cache
def compiled() -> Compiled | None:
    """The library, or None where it was not built or does not serve."""
    if ctypes.sizeof(ctypes.c_void_p) != 8:
        return None  # numpy's numbers are smaller there
    try:
        library = ctypes.CDLL(str(_LIBRARY))
        if library.hpclaunch_chunks_version() != _VERSION:
            return None
        found = Compiled(library)
        serves = _decodes(found) and _streams(found) and _fetches(found)
        return found if serves else None
    except (OSError, AttributeError):
        return None


def _copies(_: int, source: int, size: int, to: int, room: int, __: int) -> int:
    """An inflate that finds what is stored."""
    if size != room:
        return 1
    ctypes.memmove(to, source, size)
    return 0


_INFLATE = ctypes.CFUNCTYPE(
    *(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p),
    *(ctypes.c_size_t, ctypes.c_void_p),
)


def _unshuffles(width: int, size: int, planes: int, to: int) -> int:
    """An unshuffle as blosc2 has it."""
    stored = np.frombuffer(ctypes.string_at(planes, size), np.uint8)
    values = stored.reshape(width, -1).T.tobytes()
    ctypes.memmove(to, values, size)
    return size


_UNSHUFFLE = ctypes.CFUNCTYPE(
    ctypes.c_int32, ctypes.c_int32, ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p
)


def _streams(one: Compiled) -> bool:
    """Whether what is written past the cache is right: shuffled numbers, some of which are masked.

    41 of them, so that there are some, masked ones too, before and behind those that go together.
    """
    inflate, unshuffle = _INFLATE(_copies), _UNSHUFFLE(_unshuffles)
    for kind in (np.dtype("<f4"), np.dtype("<f8")):
        width, values = kind.itemsize, np.arange(41, dtype=kind) % 20
        planes, room = np.zeros(values.nbytes, np.uint8), np.zeros(42, kind)
        stored = values.view(np.uint8).reshape(-1, width).T.copy()
        fills, masked = np.zeros(1, kind), np.array([-1], kind)
        how = How(size=values.nbytes, width=width, kind=width, count=1, streams=True)
        how.inflate = ctypes.cast(inflate, ctypes.c_void_p).value
        how.unshuffle = ctypes.cast(unshuffle, ctypes.c_void_p).value
        how.planes, how.fills, how.masked = (a.ctypes.data for a in (planes, fills, masked))
        arrays = [np.array([n], np.int64) for n in (stored.ctypes.data, stored.nbytes)]
        values[values == 0] = -1
        for before in (0, 1):
            target = np.array([room.ctypes.data + before * width], np.int64)
            addresses = (array.ctypes.data for array in (*arrays, target))
            done = one.decode(ctypes.addressof(how), 1, *addresses)
            if done != -1 or not np.array_equal(room[before : before + 41], values):
                return False
    return True


def _decodes(one: Compiled) -> bool:
    """Whether two chunks of (2, 3) numbers are looked up and come where they belong.

    Of the first all is wanted; of the second the columns 1, 0 behind it, one of them as a list.
    """
    table = np.arange(65536, dtype="<f4") * 2
    stored, chunk, values = np.arange(12, dtype="<u2"), np.zeros(6, "<f4"), np.zeros(6, "<u2")
    out = np.full((2, 5), -1, "<f4")
    listed = np.array([0, 16], np.int64)
    rows = np.array([[2, 0, 12, 0, 20, 0]], np.int64)
    columns = [[3, 0, 4, 0, 4, 0], [1, 4, 4, 12, -4, 0], [1, 0, 0, 0, 0, listed.ctypes.data]]
    pieces = [rows, np.array(columns, np.int64)]
    places = np.array([table.ctypes.data for table in pieces], np.int64)
    grid, ks, sizes = (np.array(some, np.int64) for some in ([1, 3], [0, 2, 1], [12, 12, 12]))
    sources = stored.ctypes.data + np.array([0, 12, 12], np.int64)
    inflate = _INFLATE(_copies)
    how = How(size=12, width=2, inflate=ctypes.cast(inflate, ctypes.c_void_p).value)
    how.kind, how.item, how.table, how.stored = 2, 4, table.ctypes.data, values.ctypes.data
    arrays = (array.ctypes.data for array in (sources, sizes, ks, chunk))
    wrong = one.decode_and_place(
        *(ctypes.addressof(how), 3, *arrays, 2, grid.ctypes.data),
        *(places.ctypes.data, 4, out.ctypes.data),
    )
    expected = [[0, 2, 4, 14, 12], [6, 8, 10, 20, 18]]
    return wrong == -1 and bool(np.array_equal(out, expected))


def _fetches(one: Compiled) -> bool:
    """Whether the beginning of the library itself is read, and what lies behind its end is not.

    First as it is; then as chunks of four bytes in reads of ten, where the last one is not whole.
    """
    with _LIBRARY.open("rb") as file:
        expected = file.read(8)
        size = os.fstat(file.fileno()).st_size
        found, spare = np.zeros(8, np.uint8), np.zeros(8, np.uint8)
        offsets, sizes = np.array([0, 4, size - 2], np.int64), np.array([4, 4, 4], np.int64)
        targets = np.array([found.ctypes.data, found.ctypes.data + 4, spare.ctypes.data], np.int64)
        arrays = [array.ctypes.data for array in (offsets, sizes, targets)]
        if one.fetch(file.fileno(), 3, *arrays) != 2 or found.tobytes() != expected:
            return False
        found[:] = 0
        stored, reads = np.zeros(10, np.uint8), np.zeros(2, np.int64)
        inflate = _INFLATE(_copies)
        how = How(size=4, width=1, inflate=ctypes.cast(inflate, ctypes.c_void_p).value)
        more = (stored.ctypes.data, stored.size, 0, reads.ctypes.data)
        done = one.read_and_decode(ctypes.addressof(how), file.fileno(), 3, *arrays, *more)
        return done == 2 and found.tobytes() == expected and reads[0] == 2
