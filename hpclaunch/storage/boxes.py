"""Chunks that follow each other in the order of a selection, as few boxes of its grid. Pure.

A box of equal pieces goes into the result by one assignment, however many chunks it has.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from hpclaunch.storage.selection import Piece

__all__ = ["Boxes"]

Span = tuple[int, int]


class Boxes:
    """How chunks of a selection go into its result.

    Parameters
    ----------
    pieces : sequence of list of Piece
        Per dimension. All indices are slices.
    chunks : tuple of int
        Elements of a chunk.
    """

    def __init__(self, pieces: Sequence[list[Piece]], chunks: tuple[int, ...]) -> None:
        self.pieces = pieces
        self.grid = tuple(len(ps) for ps in pieces)
        self.chunks = chunks
        self.ends = [_ends(ps) for ps in pieces]

    def place(self, values: np.ndarray, first: int, out: np.ndarray) -> None:
        """Put decoded chunks into the result.

        Parameters
        ----------
        values : numpy.ndarray
            Of shape (n, *chunks).
        first : int
            The number of the first of them, in the order of the selection.
        out : numpy.ndarray
            The result, in its full shape.
        """
        at = 0
        for box in _cut(first, first + len(values), self.grid):
            shape = tuple(b - a for a, b in box)
            count = math.prod(shape)
            part = values[at : at + count].reshape(shape + self.chunks)
            at += count
            for spans in itertools.product(*map(self._equal, range(len(box)), box)):
                self._assign(part, box, spans, out)

    def _equal(self, axis: int, span: Span) -> list[Span]:
        """A span of pieces cut where they are not alike."""
        found = []
        start, stop = span
        while start < stop:
            end = min(self.ends[axis][start], stop)
            found.append((start, end))
            start = end
        return found

    def _assign(
        self, part: np.ndarray, box: Sequence[Span], spans: Sequence[Span], out: np.ndarray
    ) -> None:
        outside, inside, shape = [], [], []
        for ps, (a, b) in zip(self.pieces, spans, strict=True):
            one = ps[a].outside
            assert isinstance(one, slice)
            if b > a + 1:
                one = slice(one.start, one.start + (b - a) * ps[a].count)
            outside.append(one)
            inside.append(ps[a].inside)
            shape += [b - a, ps[a].count]
        numbers = tuple(slice(a - c, b - c) for (a, b), (c, _) in zip(spans, box, strict=True))
        n = len(spans)
        target = out[tuple(outside)].reshape(shape)
        order = (*range(0, 2 * n, 2), *range(1, 2 * n, 2))
        target.transpose(order)[...] = part[(*numbers, *inside)]


def _ends(pieces: list[Piece]) -> list[int]:
    """For each piece where those end that are like it and follow it."""
    ends = [len(pieces)] * len(pieces)
    for i in range(len(pieces) - 2, -1, -1):
        ends[i] = ends[i + 1] if _alike(pieces[i], pieces[i + 1]) else i + 1
    return ends


def _alike(one: Piece, after: Piece) -> bool:
    """Whether two pieces take the same of their chunks, and go one behind the other."""
    a, b = one.outside, after.outside
    assert isinstance(a, slice) and isinstance(b, slice)
    return (
        one.count == after.count
        and one.inside == after.inside
        and a.stop == b.start
        and a.step in (None, 1)
        and b.step in (None, 1)
    )


def _cut(start: int, stop: int, grid: Sequence[int]) -> Iterator[tuple[Span, ...]]:
    """The boxes of a range of a grid in C order, in that order."""
    if len(grid) <= 1:
        yield ((start, stop),) if grid else ()
        return
    inner = math.prod(grid[1:])
    while start < stop:
        row, before = divmod(start, inner)
        rows = (stop - start) // inner
        if before or not rows:
            end = min(stop, (row + 1) * inner)
            for box in _cut(before, before + end - start, grid[1:]):
                yield ((row, row + 1), *box)
        else:
            end = start + rows * inner
            yield ((row, row + rows), *((0, n) for n in grid[1:]))
        start = end
