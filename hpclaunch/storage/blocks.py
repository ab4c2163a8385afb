"""How much of a variable one Dask task reads. Pure.

A block is made of whole HDF5 chunks and lies in one file. Blocks of about 16 MB stay in the cache
of the processor while they are decoded, inflated and used (docs/performance.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hpclaunch.storage.layout import Variable

__all__ = ["BLOCK", "MOST_TASKS", "blocks"]

BLOCK = 16 << 20
"""Bytes of a block, decoded."""

MOST_TASKS = 100_000
"""Blocks of one variable; where there would be more they grow."""


def blocks(
    variables: Mapping[str, Variable],
    lengths: Mapping[str, Sequence[int]],
    block: int = BLOCK,
) -> dict[str, tuple[int, ...]]:
    """Chunks for Dask, by dimension.

    The largest variable decides for all, as the variables of a dataset share the chunks of a
    dimension.

    Parameters
    ----------
    variables : mapping
        Of one file.
    lengths : mapping
        Dimension to the lengths of its parts, one for each file of a row.
    block : int, optional
        Bytes of a block, decoded.

    Returns
    -------
    dict
        Dimension to the length of each block; empty where there are no variables.
    """
    large = [one for one in variables.values() if one.layout.nbytes > block]
    if not large:
        return {dim: tuple(filter(None, parts)) or (0,) for dim, parts in lengths.items()}
    leader = max(large, key=lambda one: one.layout.nbytes)
    total = math.prod(sum(lengths[dim]) for dim in leader.dims) * leader.dtype.itemsize
    size = _steps(leader, lengths, max(block, total // MOST_TASKS))
    found: dict[str, tuple[int, ...]] = {}
    for dim, parts in lengths.items():
        step = size.get(dim)
        found[dim] = _cut(parts, *step) if step else tuple(filter(None, parts)) or (0,)
    return found


def _steps(
    leader: Variable, lengths: Mapping[str, Sequence[int]], block: int
) -> dict[str, tuple[int, int]]:
    """For each dimension the length of a block and that of an HDF5 chunk.

    A block starts as one chunk and grows along the last dimension first, as the values lie.
    """
    shape = [max(lengths[dim], default=0) for dim in leader.dims]
    chunks = list(leader.layout.chunks or (1,) * len(shape))
    size = [min(c, n) for c, n in zip(chunks, shape, strict=True)]
    room = block // max(1, math.prod(size) * leader.dtype.itemsize)
    for axis in reversed(range(len(size))):
        if room < 2:
            break
        times = min(room, -(-shape[axis] // max(1, chunks[axis])))
        size[axis] = min(shape[axis], chunks[axis] * times)
        room //= max(1, times)
    return {
        dim: (n, c) for dim, n, c in zip(leader.dims, size, chunks, strict=True) if n > 0
    }


def _cut(parts: Sequence[int], step: int, chunk: int) -> tuple[int, ...]:
    """Blocks of about the same length in each part, none larger than `step`."""
    found: list[int] = []
    for part in filter(None, parts):
        count = -(-part // step)
        even = min(step, -(-part // (count * chunk)) * chunk)
        found += [even] * (part // even)
        if part % even:
            found.append(part % even)
    return tuple(found) or (0,)
