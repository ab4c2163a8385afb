"""Dask's chunks of a dataset whose files lie in a row. Pure.

The variables of a dataset share the chunks of a dimension, so the largest variable decides for all.
No block reaches over the end of a file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from hpclaunch.storage.blocks import SMALLEST, Machine, block_shape
from hpclaunch.storage.chunking import Access
from hpclaunch.storage.layout import Variable

__all__ = ["row_chunks"]


def row_chunks(
    variables: Mapping[str, Variable],
    lengths: Mapping[str, Sequence[int]],
    pattern: Access,
    machine: Machine,
    items: Mapping[str, int] | None = None,
) -> dict[str, tuple[int, ...]]:
    """Chunks for Dask, by dimension.

    Parameters
    ----------
    variables : mapping
        Of one file.
    lengths : mapping
        Dimension to the lengths of its parts, one for each file of a row.
    pattern : {"map", "series", "all"}
    machine : Machine
    items : mapping, optional
        Name to the bytes of a decoded value; by default those of the stored one.

    Returns
    -------
    dict
        Dimension to the length of each block.
    """
    whole = {dim: tuple(filter(None, parts)) or (0,) for dim, parts in lengths.items()}
    sizes = {name: math.prod(v.shape) * v.dtype.itemsize for name, v in variables.items()}
    name = max(sizes, key=sizes.__getitem__, default="")
    if sizes.get(name, 0) <= SMALLEST // 8:
        return whole
    leader = variables[name]
    item = (items or {}).get(name, leader.dtype.itemsize)
    shape = [max(lengths[dim], default=0) for dim in leader.dims]
    files = math.prod(max(1, len(whole[dim])) for dim in leader.dims)
    found = block_shape(shape, leader.layout.chunks, item, pattern, machine, files=files)
    chunks = leader.layout.chunks or (1,) * len(shape)
    steps = zip(leader.dims, found, chunks, strict=True)
    return {**whole, **{dim: _cut(lengths[dim], step, chunk) for dim, step, chunk in steps}}


def _cut(parts: Sequence[int], step: int, chunk: int) -> tuple[int, ...]:
    """Blocks of about the same length in each part: whole chunks, none longer than `step`."""
    found: list[int] = []
    for part in filter(None, parts):
        count = -(-part // max(1, step))
        even = min(max(1, step), -(-part // (count * chunk)) * chunk)
        found += [even] * (part // even)
        if part % even:
            found.append(part % even)
    return tuple(found) or (0,)
