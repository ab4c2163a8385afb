"""Which elements of which chunk go where: index arithmetic only.

A key is taken apart per dimension. The pieces of a dimension are the chunks that it touches; what
is read is the product of the pieces of all dimensions. Nothing here grows with the number of chunks
that are not touched.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Index", "Key", "Piece", "Selection", "outer", "select", "straight"]

Index = slice | np.ndarray
"""A slice with a positive step or positions in any order, of one dimension."""

Key = tuple[int | slice | np.ndarray, ...]


@dataclass(slots=True, eq=False)
class Piece:
    """What a key takes of one chunk, along one dimension.

    Attributes
    ----------
    chunk : int
        Its number along the dimension.
    inside : slice or numpy.ndarray
        Positions in the chunk.
    outside : slice or numpy.ndarray
        Positions in the result, one for each of `inside`.
    count : int
        How many.
    first, last : int
        The smallest and the greatest position in the chunk.
    stride : int
        The widest distance between positions that follow each other in the chunk; 1 for one.
    whole : bool
        Whether all of the chunk goes into the result in its own order.
    """

    chunk: int
    inside: Index
    outside: Index
    count: int
    first: int
    last: int
    stride: int
    whole: bool


@dataclass(frozen=True, eq=False)
class Selection:
    """A key for a shape in chunks.

    Attributes
    ----------
    shape : tuple of int
        Of the result with a dimension of length 1 for each int of the key.
    kept : tuple of int
        Of the result.
    pieces : tuple of list of Piece
        Per dimension.
    arrays : bool
        Whether some positions are arrays; else all are slices.
    """

    shape: tuple[int, ...]
    kept: tuple[int, ...]
    pieces: tuple[list[Piece], ...]
    arrays: bool

    @property
    def size(self) -> int:
        """Elements of the result."""
        size = 1
        for n in self.shape:
            size *= n
        return size


def select(
    key: Key, shape: Sequence[int], chunks: Sequence[int], jump: Sequence[int] | None = None
) -> Selection:
    """Take a key apart.

    Parameters
    ----------
    key : tuple
        For each dimension an int (the dimension is dropped), a slice with any step, or an array of
        integers (one dimension; any order, repeats, negative ones count from the end).
    shape, chunks : sequence of int
    jump : sequence of int, optional
        Where positions of an array lie farther apart than this, the piece is cut in two although
        it is in one chunk. Per dimension.

    Raises
    ------
    IndexError
        If the key does not fit the shape.
    """
    if len(key) != len(shape):
        raise IndexError(f"{len(key)} indices for {len(shape)} dimensions")
    full, kept, pieces, arrays = [], [], [], False
    for dimension, (one, n, chunk) in enumerate(zip(key, shape, chunks, strict=True)):
        if isinstance(one, slice):
            start, stop, step = one.indices(n)
            count = len(range(start, stop, step))
            kept.append(count)
            found = _of_range(start, step, count, n, chunk)
        elif isinstance(one, np.ndarray) and one.ndim:
            positions = _positions(one, n)
            count = positions.size
            kept.append(count)
            found = _of_array(positions, n, chunk, jump[dimension] if jump else n)
            arrays = arrays or not all(
                isinstance(p.inside, slice) and isinstance(p.outside, slice) for p in found
            )
        else:
            start, count = int(one), 1
            if not -n <= start < n:
                raise IndexError(f"index {start} is out of bounds for a dimension of {n}")
            found = _of_range(start % n, 1, 1, n, chunk)
        full.append(count)
        pieces.append(found)
    return Selection(tuple(full), tuple(kept), tuple(pieces), arrays)


def _positions(one: np.ndarray, n: int) -> np.ndarray:
    if one.ndim != 1:
        raise IndexError(f"an index of {one.ndim} dimensions where one is allowed")
    if one.dtype == bool:
        if one.size != n:
            raise IndexError(f"a mask of {one.size} for a dimension of {n}")
        return np.flatnonzero(one)
    if one.dtype.kind not in "iu":
        raise IndexError(f"an index of type {one.dtype}")
    positions = one.astype(np.intp)
    if positions.size and not (-n <= positions.min() and positions.max() < n):
        raise IndexError(f"an index is out of bounds for a dimension of {n}")
    return np.where(positions < 0, positions + n, positions)


def _of_range(start: int, step: int, count: int, n: int, chunk: int) -> list[Piece]:
    """The pieces of positions at equal distances; those of a negative step are taken backwards."""
    if not count:
        return []
    backwards = step < 0
    if backwards:
        start, step = start + (count - 1) * step, -step
    if count == 1:
        step = 1
    pieces: list[Piece] = []
    done = 0
    while done < count:
        position = start + done * step
        number, first = divmod(position, chunk)
        if step == 1 and not backwards and first == 0 and (many := (count - done) // chunk) > 1:
            pieces += _whole(number, many, chunk, done)
            done += many * chunk
            continue
        length = min(chunk, n - number * chunk)
        take = min(count - done, (length - 1 - first) // step + 1)
        last = first + (take - 1) * step
        end = count - done - take
        outside = (
            slice(end + take - 1, end - 1 if end else None, -1)
            if backwards
            else slice(done, done + take)
        )
        whole = take == chunk and (not backwards or take == 1)
        stride = step if take > 1 else 1
        inside = slice(first, last + 1, step)
        pieces.append(Piece(number, inside, outside, take, first, last, stride, whole))
        done += take
    return pieces


def _whole(number: int, many: int, chunk: int, done: int) -> list[Piece]:
    """The pieces of whole chunks in a row, from position `done` of the result on."""
    inside, last = slice(0, chunk, 1), chunk - 1
    return [
        Piece(number + i, inside, slice(at, at + chunk), chunk, 0, last, 1, True)
        for i, at in enumerate(range(done, done + many * chunk, chunk))
    ]


def _of_array(positions: np.ndarray, n: int, chunk: int, jump: int) -> list[Piece]:
    """The pieces of positions in any order."""
    if not positions.size:
        return []
    steps = np.diff(positions)
    if not steps.size or (steps[0] and (steps == steps[0]).all()):
        step = int(steps[0]) if steps.size else 1
        if abs(step) <= jump:
            return _of_range(int(positions[0]), step, positions.size, n, chunk)
    order = np.argsort(positions, kind="stable")
    ascending = positions[order]
    numbers = ascending // chunk
    distances = np.diff(ascending)
    cuts = np.flatnonzero((np.diff(numbers) != 0) | (distances > jump)) + 1
    edges = [0, *cuts.tolist(), positions.size]
    pieces = []
    for a, b in itertools.pairwise(edges):
        number = int(numbers[a])
        inside = ascending[a:b] - number * chunk
        outside: Index = order[a:b]
        count, first, last = b - a, int(inside[0]), int(inside[-1])
        stride = max(int(distances[a : b - 1].max()), 1) if count > 1 else 1
        dense = count == last - first + 1 and (count == 1 or (np.diff(inside) == 1).all())
        placed = order[a] + np.arange(count)
        together = bool((outside == placed).all())
        taken: Index = slice(first, last + 1, 1) if dense else inside
        if together:
            outside = slice(int(order[a]), int(order[a]) + count)
        whole = bool(dense and together and count == chunk)
        pieces.append(Piece(number, taken, outside, count, first, last, stride, whole))
    return pieces


def outer(index: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Make numpy index each dimension by itself where more than one has an array.

    `index` has a slice or an array for each dimension of `shape`.
    """
    if sum(isinstance(one, np.ndarray) for one in index) < 2:
        return index
    return np.ix_(
        *[
            one if isinstance(one, np.ndarray) else np.arange(*one.indices(n))
            for one, n in zip(index, shape, strict=True)
        ]
    )


def straight(
    selection: Selection, chunks: Sequence[int], strides: Sequence[int]
) -> np.ndarray | None:
    """The byte of the result where each chunk lies in one piece, -1 where it does not: int64.

    None where no chunk can. `strides` are the bytes of a step along each dimension of the result.
    """
    pieces = selection.pieces
    axis = len(pieces) - 1
    while axis > 0 and len(pieces[axis]) == 1 and pieces[axis][0].whole:
        axis -= 1
    if math.prod(chunks[:axis]) != 1 or not all(p.whole for ps in pieces[:axis] for p in ps):
        return None
    starts = np.zeros(1, np.int64)
    for ps, stride in zip(pieces[: axis + 1], strides, strict=False):
        here = [p.outside.start if isinstance(p.outside, slice) else 0 for p in ps]
        starts = np.add.outer(starts, np.array(here, np.int64) * stride).reshape(-1)
    whole = [p.whole for p in pieces[axis]]
    if not all(whole):
        starts.reshape(-1, len(whole))[:, [not one for one in whole]] = -1
    return starts
