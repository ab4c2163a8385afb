"""How the chunks of a variable lie in their file, and what a map or a series costs. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hpclaunch.storage.layout import NOWHERE, Layout

__all__ = ["Access", "Order", "Written", "map_cost", "order_of", "series_cost", "written_of"]


@dataclass(frozen=True, eq=False)
class Written:
    """The chunks that were written, in the order of their indices (the last dimension fastest).

    Attributes
    ----------
    offsets : numpy.ndarray
        uint64, (n,): bytes from the start of the file.
    sizes : numpy.ndarray
        uint64, (n,): stored bytes.
    """

    offsets: np.ndarray
    sizes: np.ndarray


@dataclass(frozen=True)
class Order:
    """How far the order of the chunks in the file is that of their indices.

    Attributes
    ----------
    ascending : float
        The share of chunks that lie behind the one before them: 1 where all do.
    adjoining : float
        The share that begin just where the one before them ends.
    runs : int
        Pieces without a gap, in the order of the indices: what reading it all asks for at least,
        where nothing is read in vain.
    gaps : int
        Bytes between its first and its last chunk that are not its own.
    """

    ascending: float
    adjoining: float
    runs: int
    gaps: int


@dataclass(frozen=True)
class Access:
    """What one selection costs.

    Attributes
    ----------
    chunks : int
        Chunks that it touches.
    decoded : int
        Bytes that must be decoded for it.
    wanted : int
        Bytes that it asked for.
    """

    chunks: int
    decoded: int
    wanted: int

    @property
    def amplification(self) -> float:
        """Bytes decoded for each byte wanted."""
        return self.decoded / self.wanted if self.wanted else 1.0


def written_of(layout: Layout) -> Written | None:
    """The chunks, or the one piece of a contiguous variable; None where they are not known."""
    known = layout.offsets.shape == layout.grid and layout.sizes.shape == layout.grid
    if layout.kind == "other" or not known or (layout.kind == "contiguous" and layout.reason):
        return None
    there = layout.offsets.reshape(-1) != NOWHERE
    offsets = layout.offsets.reshape(-1)[there]
    return Written(offsets, layout.sizes.reshape(-1)[there].astype(np.uint64))


def order_of(written: Written) -> Order:
    """Compare the order in the file with that of the indices."""
    offsets, ends = written.offsets, written.offsets + written.sizes
    if offsets.size < 2:
        return Order(1.0, 1.0, int(offsets.size), 0)
    ascending = offsets[1:] > offsets[:-1]
    adjoining = offsets[1:] == ends[:-1]
    span = int(ends.max()) - int(offsets.min())
    return Order(
        ascending=float(ascending.mean()),
        adjoining=float(adjoining.mean()),
        runs=int(offsets.size - adjoining.sum()),
        gaps=max(0, span - int(written.sizes.sum())),
    )


def map_cost(layout: Layout) -> Access | None:
    """One index of every dimension but the last two; None where there are fewer than three."""
    return _cost(layout, range(len(layout.shape) - 2))


def series_cost(layout: Layout) -> Access | None:
    """One index of every dimension but the first; None where there are fewer than two."""
    return _cost(layout, range(1, len(layout.shape))) if len(layout.shape) > 1 else None


def _cost(layout: Layout, single: range) -> Access | None:
    """The cost of one index along the dimensions in `single`, and all of the others."""
    numbers = layout.dtype.kind != "O"
    if layout.chunks is None or len(single) == 0 or not numbers or not math.prod(layout.shape):
        return None
    chunks = math.prod(1 if i in single else n for i, n in enumerate(layout.grid))
    wanted = math.prod(1 if i in single else n for i, n in enumerate(layout.shape))
    return Access(chunks, chunks * layout.chunk_bytes, wanted * layout.dtype.itemsize)
