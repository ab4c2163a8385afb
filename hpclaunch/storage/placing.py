"""Where what is wanted of chunks goes in a result, as compiled code takes it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpclaunch.storage.selection import Index, Piece

__all__ = ["MOST_AXES", "Placer"]

MOST_AXES = 32
"""Dimensions of HDF5, and of chunks.c."""


class Placer:
    """The pieces of a selection, as bytes.

    Parameters
    ----------
    pieces : sequence of list of Piece
        Per dimension, of which there are 1 to 32.
    chunks : tuple of int
        Elements of a chunk.
    out : numpy.ndarray
        The result in its full shape, in C order.

    Attributes
    ----------
    out : numpy.ndarray
    arguments : tuple of int
        What the functions of chunks.c want of it, from `rank` on.
    """

    def __init__(
        self, pieces: Sequence[list[Piece]], chunks: tuple[int, ...], out: np.ndarray
    ) -> None:
        assert 0 < len(pieces) <= MOST_AXES
        self.out = out
        self.grid = np.array([len(ps) for ps in pieces], np.int64)
        steps = _steps(chunks, out.itemsize)
        self.listed: list[np.ndarray] = []
        self.tables = [
            np.array([self._row(one, *both) for one in ps], np.int64)
            for ps, *both in zip(pieces, steps, out.strides, strict=True)
        ]
        self.addresses = np.array([table.ctypes.data for table in self.tables], np.int64)
        self.arguments = (
            *(len(self.grid), self.grid.ctypes.data, self.addresses.ctypes.data),
            *(out.itemsize, out.ctypes.data),
        )

    def _row(self, one: Piece, step: int, to: int) -> tuple[int, ...]:
        """`piece_t` of chunks.c, given the bytes of a step in the chunk and in the result."""
        inside, outside = one.inside, one.outside
        if isinstance(inside, slice) and isinstance(outside, slice):
            first, by = inside.start or 0, 1 if inside.step is None else inside.step
            start, on = outside.start or 0, 1 if outside.step is None else outside.step
            return one.count, first * step, by * step, start * to, on * to, 0
        both = _positions(inside, one.count) * step, _positions(outside, one.count) * to
        listed = np.concatenate(both)
        self.listed.append(listed)
        return one.count, 0, 0, 0, 0, listed.ctypes.data


def _steps(shape: Sequence[int], itemsize: int) -> list[int]:
    """Bytes of a step along each dimension of an array in C order."""
    steps = [itemsize]
    for n in reversed(shape[1:]):
        steps.append(steps[-1] * n)
    return steps[::-1]


def _positions(index: Index, count: int) -> np.ndarray:
    """The positions of an index, of which there are `count`."""
    if isinstance(index, slice):
        start, step = index.start or 0, 1 if index.step is None else index.step
        return start + np.arange(count, dtype=np.int64) * step
    return np.asarray(index, np.int64)
