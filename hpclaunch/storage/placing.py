"""What is wanted of many decoded chunks goes into the result with one call of compiled code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpclaunch.storage.compiled import compiled
from hpclaunch.storage.selection import Index, Piece

__all__ = ["Placer", "placer"]


class Placer:
    """Where the positions of a selection lie, as bytes.

    Parameters
    ----------
    pieces : sequence of list of Piece
        Per dimension.
    chunks : tuple of int
        Elements of a chunk.
    out : numpy.ndarray
        The result in its full shape, in C order.

    Attributes
    ----------
    arguments : tuple of int
        What the functions of chunks.c want of it, from `rank` on.
    """

    def __init__(
        self, pieces: Sequence[list[Piece]], chunks: tuple[int, ...], out: np.ndarray
    ) -> None:
        self.out = out
        self.grid = np.array([len(ps) for ps in pieces], np.int64)
        steps = _steps(chunks, out.itemsize)
        self.tables = [
            table
            for ps, step, to in zip(pieces, steps, out.strides, strict=True)
            for table in _tables(ps, step, to, out.itemsize)
        ]
        self.addresses = np.array([table.ctypes.data for table in self.tables], np.int64)
        self.arguments = (
            *(len(self.grid), self.grid.ctypes.data, self.addresses.ctypes.data),
            *(out.itemsize, out.ctypes.data),
        )

    def place(self, ks: np.ndarray, values: np.ndarray) -> None:
        """Put decoded chunks into the result.

        Parameters
        ----------
        ks : numpy.ndarray
            int64, one dimension, in C order: their numbers in the order of the selection.
        values : numpy.ndarray
            Of the result's dtype, one whole chunk after the other, in C order.
        """
        code = compiled()
        assert code is not None and values.itemsize == self.out.itemsize
        stride = values.nbytes // len(ks)
        code.place(len(ks), ks.ctypes.data, values.ctypes.data, stride, *self.arguments)


def placer(
    pieces: Sequence[list[Piece]], chunks: tuple[int, ...], out: np.ndarray
) -> Placer | None:
    """One, where compiled code is there for it."""
    if compiled() is None or not 0 < len(pieces) <= 32:
        return None
    return Placer(pieces, chunks, out)


def _steps(shape: Sequence[int], itemsize: int) -> list[int]:
    """Bytes of a step along each dimension of an array in C order."""
    steps = [itemsize]
    for n in reversed(shape[1:]):
        steps.append(steps[-1] * n)
    return steps[::-1]


def _tables(pieces: list[Piece], step: int, to: int, itemsize: int) -> tuple[np.ndarray, ...]:
    """What chunks.c wants of a dimension: starts, inside, outside, together."""
    counts = np.array([one.count for one in pieces], np.int64)
    starts = np.zeros(len(pieces) + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    inside = _positions([one.inside for one in pieces], counts, starts)
    outside = _positions([one.outside for one in pieces], counts, starts)
    together = np.zeros(len(pieces), np.int64)
    if step == itemsize and to == itemsize:
        broken = np.zeros(len(inside), np.int64)
        np.cumsum((np.diff(inside) != 1) | (np.diff(outside) != 1), out=broken[1:])
        together[:] = broken[starts[1:] - 1] == broken[starts[:-1]]
    return starts, inside * step, outside * to, together


def _positions(indices: list[Index], counts: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The positions of all indices, one behind another."""
    slices = [one for one in indices if isinstance(one, slice)]
    if len(slices) < len(indices):
        return np.concatenate([_of_one(*both) for both in zip(indices, counts, strict=True)])
    firsts = np.array([one.start or 0 for one in slices], np.int64)
    steps = np.array([1 if one.step is None else one.step for one in slices], np.int64)
    numbers = np.arange(starts[-1]) - np.repeat(starts[:-1], counts)
    found: np.ndarray = np.repeat(firsts, counts) + numbers * np.repeat(steps, counts)
    return found


def _of_one(index: Index, count: int) -> np.ndarray:
    if isinstance(index, slice):
        start, step = index.start or 0, 1 if index.step is None else index.step
        return start + np.arange(count) * step
    return np.asarray(index, np.int64)
