"""Values to the bytes of HDF5 chunks: cut, padded, shuffled, deflated and summed, without HDF5.

What is done here runs in many threads at once. With the packages `blosc2` (shuffle) and `deflate`
(libdeflate) it is fast; numpy and zlib serve where they are missing. The filters are those of
HDF5's file format specification, section "Data storage: filter pipeline".
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpclaunch.errors import StorageError
from hpclaunch.storage.deflating import Deflater
from hpclaunch.storage.fletcher32 import LENGTH, fletcher32
from hpclaunch.storage.layout import DEFLATE, FLETCHER32, SHUFFLE, Filter
from hpclaunch.storage.unshuffle import blosc2

__all__ = ["KNOWN", "Plan", "Stored", "as_stored", "encode_block", "encode_chunk"]

KNOWN = frozenset({DEFLATE, SHUFFLE, FLETCHER32})
"""The filters that can be applied here, by HDF5's number."""


@dataclass(frozen=True)
class Plan:
    """How the chunks of a variable are made.

    Attributes
    ----------
    path : str
        The variable's path in its file.
    shape : tuple of int
        Elements per dimension.
    chunks : tuple of int
        Elements per dimension of a chunk.
    dtype : numpy.dtype
        As stored.
    fill : bytes
        One element: what the part of an edge chunk beyond the shape holds.
    filters : tuple of Filter
        In the order in which they are applied.
    """

    path: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    fill: bytes
    filters: tuple[Filter, ...]

    @property
    def grid(self) -> tuple[int, ...]:
        """The number of chunks per dimension."""
        return tuple(-(-n // c) for n, c in zip(self.shape, self.chunks, strict=True))


@dataclass(frozen=True, eq=False)
class Stored:
    """One chunk, ready for the file.

    Attributes
    ----------
    origin : tuple of int
        The index of its first element.
    data : bytes-like
        As stored.
    """

    origin: tuple[int, ...]
    data: Any


def encode_block(block: Any, start: tuple[int, ...], plan: Plan) -> Iterator[Stored]:
    """Cut a block into chunks and encode each.

    Parameters
    ----------
    block : array
        Values with the stored dtype, beginning and ending (or at the variable's end) between two
        chunks.
    start : tuple of int
        The index of the block's first element in the variable.
    plan : Plan

    Yields
    ------
    Stored
        In C order.

    Raises
    ------
    StorageError
        If the block's values have another dtype than the variable, or its place is not between
        chunks.
    """
    values = as_stored(block, plan)
    if any(s % c for s, c in zip(start, plan.chunks, strict=True)):
        raise StorageError(f"a block of {plan.path} begins at {start}, within a chunk")
    steps = [range(0, n, c) for n, c in zip(values.shape, plan.chunks, strict=True)]
    deflate = Deflater()
    for corner in itertools.product(*steps):
        piece = values[tuple(slice(i, i + c) for i, c in zip(corner, plan.chunks, strict=True))]
        origin = tuple(s + i for s, i in zip(start, corner, strict=True))
        yield Stored(origin, encode_chunk(_whole(piece, plan), plan.filters, deflate))


def as_stored(block: Any, plan: Plan) -> np.ndarray:
    """A block's values with the dtype of the variable.

    Raises
    ------
    StorageError
        If they are of another kind.
    """
    values = np.asarray(block)
    if values.dtype != plan.dtype:
        if not np.can_cast(values.dtype, plan.dtype, "same_kind"):
            raise StorageError(
                f"a block of {plan.path} holds {values.dtype}, the file {plan.dtype}",
                hint="the task graph's dtype is not what its tasks return; give map_blocks a dtype",
            )
        values = values.astype(plan.dtype)
    return values


def _whole(piece: np.ndarray, plan: Plan) -> np.ndarray:
    """One whole chunk in C order, the part beyond the variable's edge filled."""
    if piece.shape == plan.chunks:
        return np.ascontiguousarray(piece)
    whole = np.empty(plan.chunks, plan.dtype)
    whole[...] = np.frombuffer(plan.fill, plan.dtype)[0]
    whole[tuple(slice(n) for n in piece.shape)] = piece
    return whole


def encode_chunk(chunk: np.ndarray, filters: tuple[Filter, ...], deflate: Deflater) -> Any:
    """Apply the filters to one chunk in C order; returns what is stored, bytes-like."""
    data: Any = chunk.reshape(-1).view(np.uint8).data
    width = 1
    for stage in filters:
        if stage.id == SHUFFLE:
            width = stage.options[0] if stage.options else chunk.dtype.itemsize
            data = _shuffle(data, width)
        elif stage.id == DEFLATE:
            data = deflate(data, stage.options[0] if stage.options else 6, width)
            width = 1
        elif stage.id == FLETCHER32:
            checksum = fletcher32(np.frombuffer(data, np.uint8))
            data = bytes(data) + checksum.to_bytes(LENGTH, "little")
        else:
            raise StorageError(f"filter {stage.name or stage.id} is not applied here")
    return data


def _shuffle(data: Any, size: int) -> Any:
    """The first bytes of all elements, then the second ones; a rest stays at the end."""
    if size < 2:
        return data
    source = np.frombuffer(data, np.uint8)
    whole = source.size // size * size
    out = np.empty_like(source)
    native = _native_shuffle()
    if native is not None and size <= 256 and 0 < whole < 2**31:
        native(size, whole, source.ctypes.data, out.ctypes.data)
    else:
        out[:whole].reshape(size, -1)[...] = source[:whole].reshape(-1, size).T
    out[whole:] = source[whole:]
    return out.data


@functools.cache
def _native_shuffle() -> Callable[[int, int, int, int], int] | None:
    """`blosc2_shuffle` (blosc2.h), if it is there and shuffles as HDF5 does."""
    try:
        found = blosc2("blosc2_shuffle")
    except (ImportError, ValueError, OSError, AttributeError):
        return None
    return found if found is not None and _serves(found) else None


def _serves(function: Callable[[int, int, int, int], int]) -> bool:
    for width in (2, 3, 4, 5, 8, 12, 16, 24):
        for elements in (2, 15, 16, 33, 129, 2048):
            source = (np.arange(width * elements) * 151 % 251).astype(np.uint8)
            found = np.zeros_like(source)
            function(width, source.size, source.ctypes.data, found.ctypes.data)
            if not np.array_equal(found.reshape(width, -1), source.reshape(-1, width).T):
                return False
    return True
