"""Where the chunks of a variable of many files lie, as a Zarr array has them. Pure.

Zarr has one chunk shape, one pipeline and one fill value for an array, and each chunk is stored
whole. What does not fit into that is told in a `Refusal`, or is left to be copied chunk by chunk.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpclaunch.storage.layout import NOWHERE, Layout, Variable
from hpclaunch.storage.zarrcodecs import Codecs, codecs_of

__all__ = ["Referenced", "Refusal", "referenced"]

PIECE = 16 << 20
"""Bytes that a piece of a contiguous variable has at most, where it can be divided so."""

LEAST = 64 << 10
"""Bytes that it has at least."""

Region = tuple[slice, ...]


@dataclass(frozen=True)
class Refusal:
    """Why a variable's chunks cannot stay where they are.

    Attributes
    ----------
    file : int
        Whose chunks do not fit, by its place in the row.
    why : str
    hint : str
    """

    file: int
    why: str
    hint: str = ""


@dataclass(frozen=True, eq=False)
class Referenced:
    """A variable whose chunks stay where they are.

    Attributes
    ----------
    name : str
    dims : tuple of str
    shape, chunks : tuple of int
        Of all files together.
    dtype : numpy.dtype
        As stored.
    attrs : dict
    codecs : tuple of dict
        Configurations of numcodecs, as they were applied.
    fill : numpy.generic
        What a chunk holds that was never written.
    files : numpy.ndarray
        intp, one for each chunk: the place of its file in the row; -1 where it was never written.
    offsets, sizes : numpy.ndarray
        uint64, like `files`: bytes.
    apart : numpy.ndarray
        bool, like `files`: the chunk was written with another pipeline, or holds more than what
        was written of the variable. It has no file, and its values have to be copied.
    axis : int
        Along which files follow each other.
    starts : numpy.ndarray
        Of each file along `axis`, and the end of the last one.
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    attrs: dict[str, Any]
    codecs: Codecs
    fill: Any
    files: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    apart: np.ndarray
    axis: int
    starts: np.ndarray

    @property
    def chunk_bytes(self) -> int:
        """Bytes of a decoded chunk."""
        return math.prod(self.chunks) * self.dtype.itemsize

    @property
    def never(self) -> np.ndarray:
        """Which chunks were never written."""
        none: np.ndarray = (self.files < 0) & ~self.apart
        return none

    def copied(self) -> Iterator[tuple[tuple[int, ...], Region, int, Region]]:
        """The chunks that have to be copied: cell, region, file, and the region in that file."""
        for cell in np.argwhere(self.apart).tolist():
            region = [
                slice(i * c, min(n, (i + 1) * c))
                for i, c, n in zip(cell, self.chunks, self.shape, strict=True)
            ]
            start, stop = region[self.axis].start, region[self.axis].stop
            file = int(np.searchsorted(self.starts, start, "right")) - 1
            inside = list(region)
            first = int(self.starts[file])
            inside[self.axis] = slice(start - first, stop - first)
            yield tuple(cell), tuple(region), file, tuple(inside)


def referenced(variables: Sequence[Variable], axis: int = 0) -> Referenced | Refusal:
    """The chunks of a variable in files that follow each other.

    Parameters
    ----------
    variables : sequence of Variable
        Of one or more files, of the same dimensions and dtype.
    axis : int
        Along which they follow each other.

    Returns
    -------
    Referenced or Refusal
    """
    first, layouts = variables[0], [one.layout for one in variables]
    codecs: Codecs = ()
    for place, one in enumerate(layouts):
        found = _alone(variables[place], one)
        if isinstance(found, str):
            return Refusal(place, found)
        if place == 0:
            codecs = found
        if different := _different(layouts[0], one, codecs, found):
            return Refusal(place, different, "give the files the same chunks and filters")
    shaped = _chunks(layouts, axis)
    if isinstance(shaped, Refusal):
        return shaped
    cells = [_cells(place, one, shaped, codecs) for place, one in enumerate(layouts)]
    files, offsets, sizes, apart = (np.concatenate(one, axis) for one in zip(*cells, strict=True))
    lengths = [one.shape[axis] for one in layouts]
    shape = list(layouts[0].shape)
    shape[axis] = sum(lengths)
    return Referenced(
        first.name,
        first.dims,
        tuple(shape),
        shaped,
        layouts[0].dtype,
        first.attrs,
        codecs,
        np.frombuffer(layouts[0].fill, layouts[0].dtype)[0],
        files,
        offsets,
        sizes,
        apart,
        axis,
        np.cumsum([0, *lengths]),
    )


def _alone(variable: Variable, layout: Layout) -> Codecs | str:
    """The codecs of a variable in one file, or why it has no place in a Zarr array."""
    if not layout.located:
        return layout.reason
    if not layout.shape or not math.prod(layout.shape):
        return "it has no dimension, or no element"
    declared, stored = variable.dtype, layout.dtype
    if (declared.kind, declared.itemsize) != (stored.kind, stored.itemsize):
        return f"it is stored as {stored} and told as {declared}"
    return codecs_of(layout)


def _different(first: Layout, other: Layout, codecs: Codecs, found: Codecs) -> str:
    """In what the layout of a file differs from that of the first; "" where in nothing."""
    if other.kind != first.kind:
        return f"it is {other.kind} there, and {first.kind} in the first file"
    if other.chunks != first.chunks:
        return f"its chunks are {other.chunks} there, and {first.chunks} in the first file"
    if found != codecs:
        words = [", ".join(one.name for one in each.filters) or "none" for each in (other, first)]
        return f"its filters are {words[0]} there, and {words[1]} in the first file"
    if other.dtype != first.dtype or other.fill != first.fill:
        return "its byte order or its fill value is another one there than in the first file"
    return ""


def _chunks(layouts: Sequence[Layout], axis: int) -> tuple[int, ...] | Refusal:
    """The chunk shape of all files, where each but the last ends with a whole chunk."""
    first = layouts[0]
    lengths = [one.shape[axis] for one in layouts]
    if first.chunks is not None:
        chunk = first.chunks[axis]
        for place, n in enumerate(lengths[:-1]):
            if n % chunk:
                return Refusal(
                    place,
                    f"its last chunk has {n % chunk} of {chunk} steps, and other files follow: all "
                    "chunks of a Zarr array are whole but the last",
                    f"rechunk the files so that {chunk} steps become a divisor of each file's",
                )
        return first.chunks
    common = math.gcd(*lengths)
    if axis and any(n != common for n in lengths):
        place = next(place for place, n in enumerate(lengths) if n != lengths[0])
        return Refusal(
            place,
            f"it is not chunked, and has {lengths[place]} steps there and {lengths[0]} in the "
            "first file",
        )
    unit = (*first.shape[:axis], common, *first.shape[axis + 1 :])
    return _pieces(unit, first.dtype.itemsize)


def _pieces(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Pieces of a contiguous array, all of one shape, each contiguous itself."""
    axis = 0
    while axis < len(shape) - 1 and math.prod(shape[axis + 1 :]) * itemsize > PIECE:
        axis += 1
    n, below = shape[axis], math.prod(shape[axis + 1 :]) * itemsize
    small = {d for d in range(1, math.isqrt(n) + 1) if n % d == 0}
    divisors = sorted(small | {n // d for d in small})
    best = max((d for d in divisors if d * below <= PIECE), default=1)
    if best * below < LEAST:
        best = next((d for d in divisors if d * below >= LEAST), n)
    return (*(1,) * axis, best, *shape[axis + 1 :])


def _cells(
    place: int, layout: Layout, chunks: tuple[int, ...], codecs: Codecs
) -> tuple[np.ndarray, ...]:
    """File, offset, size and whether it is to be copied, of each chunk of one file."""
    if layout.chunks is None:
        return _contiguous(place, layout, chunks)
    offsets, sizes = layout.offsets, layout.sizes.astype(np.uint64)
    apart = np.zeros(offsets.shape, bool)
    if layout.masks is not None:
        apart |= (layout.masks & np.uint32(2 ** len(codecs) - 1)) != 0
    if layout.extent is not None:
        ends = zip(layout.extent, layout.shape, chunks, strict=True)
        for axis, (written, n, c) in enumerate(ends):
            beyond = np.minimum(np.arange(1, layout.grid[axis] + 1) * c, n) > written
            apart[(slice(None),) * axis + (beyond,)] = True
    apart &= offsets != NOWHERE
    there = (offsets != NOWHERE) & ~apart
    return (
        np.where(there, place, -1),
        np.where(there, offsets, np.uint64(0)),
        np.where(there, sizes, np.uint64(0)),
        apart,
    )


def _contiguous(place: int, layout: Layout, chunks: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    grid = tuple(n // c for n, c in zip(layout.shape, chunks, strict=True))
    apart = np.zeros(grid, bool)
    if layout.offsets == NOWHERE:
        none = np.zeros(grid, np.uint64)
        return np.full(grid, -1), none, none.copy(), apart
    size = math.prod(chunks) * layout.dtype.itemsize
    offsets = np.arange(math.prod(grid), dtype=np.uint64).reshape(grid) * np.uint64(size)
    return (
        np.full(grid, place),
        offsets + layout.offsets.astype(np.uint64),
        np.full(grid, size, np.uint64),
        apart,
    )
