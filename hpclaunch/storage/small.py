"""Chunks of a few kilobytes: decoded many at a time, and placed by boxes of the selection's grid.

What Python spends on a chunk would else be as much as its decoding.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from ctypes import addressof, c_char
from typing import TYPE_CHECKING

import numpy as np

from hpclaunch.storage.boxes import Boxes
from hpclaunch.storage.buffers import borrowed
from hpclaunch.storage.requests import Request

if TYPE_CHECKING:
    from hpclaunch.storage.chunked import ChunkedRead

__all__ = ["SMALL", "SmallChunks"]

SMALL = 1 << 15
"""Bytes of a chunk up to which chunks are decoded and placed many at a time."""

_AT_ONCE = 1 << 18  # bytes of those: what stays in the processor's second cache


class SmallChunks:
    """How the chunks of a selection are decoded where they are small.

    It does not hold the read that holds it, see `Together`.

    Parameters
    ----------
    reading : ChunkedRead
        Of a selection by slices, with the usual filters.
    """

    def __init__(self, reading: ChunkedRead) -> None:
        self.size = reading.size
        self.step = _step(reading.grid, reading.size)
        self.boxes = Boxes(reading.pieces, reading.chunks)

    def place(
        self,
        reading: ChunkedRead,
        bundle: Sequence[Request],
        bases: Sequence[int],
        view: memoryview,
    ) -> None:
        """Decode the chunks of requests, and put them into the result.

        Parameters
        ----------
        reading : ChunkedRead
        bundle : sequence of Request
            That follow each other.
        bases : sequence of int
            For each the byte of the file that would stand at the start of `view`.
        view : memoryview
            What they brought.
        """
        start = addressof(c_char.from_buffer(view)) if len(view) else 0
        first, last = bundle[0].start, bundle[-1].stop
        begins = np.repeat(np.subtract(start, bases), [one.stop - one.start for one in bundle])
        js, ks = np.arange(first, last), reading.numbers[first:last]
        sources = reading.places[first:last] + begins
        size, step = self.size, self.step
        if (np.diff(ks) < 0).any():
            order = np.argsort(ks)
            js, ks, sources = js[order], ks[order], sources[order]
        decoded = borrowed("chunk", min(step, ks.size) * size)
        edges = [0, *(np.flatnonzero(np.diff(ks // step)) + 1).tolist(), ks.size]
        for a, b in itertools.pairwise(edges):
            here = js[a:b].tolist()
            addresses, sizes = sources[a:b].tolist(), [reading.sizes[j] for j in here]
            into = decoded[: (b - a) * size]
            wrong = reading.pipeline.decode_many(addresses, sizes, into)
            if wrong >= 0:
                at = addresses[wrong] - start
                reading.explain(here[wrong], view[at : at + sizes[wrong]])
            values = _decoded(reading, into.view(reading.layout.dtype))
            values = values.reshape(-1, *reading.chunks)
            for i, n in _runs(ks[a:b]):
                self.boxes.place(values[i : i + n], int(ks[a + i]), reading.out)


def _decoded(reading: ChunkedRead, stored: np.ndarray) -> np.ndarray:
    """Values as they are wanted, in memory that is used again; one dimension."""
    if reading.decoding is None:
        return stored
    dtype = reading.out.dtype
    values = borrowed("values", stored.size * dtype.itemsize).view(dtype)
    reading.decoding.into(stored, values)
    return values


def _step(grid: tuple[int, ...], size: int) -> int:
    """How many small chunks are decoded at once: whole rows of the grid, where they are short."""
    row = 1
    for n in reversed(grid):
        if row * n * size > 2 * _AT_ONCE:
            break
        row *= n
    return row * max(1, _AT_ONCE // (row * size))


def _runs(ks: np.ndarray) -> list[tuple[int, int]]:
    """Where numbers that follow each other start, and how many they are."""
    cuts = np.flatnonzero(np.diff(ks) != 1) + 1
    return [(a, b - a) for a, b in itertools.pairwise([0, *cuts.tolist(), ks.size])]
