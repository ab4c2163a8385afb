"""Which part of files is read to measure on: bounded, made of whole blocks. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from hpclaunch.storage.advice import Gain
from hpclaunch.storage.chunking import Access
from hpclaunch.storage.layout import NOWHERE, Layout

__all__ = ["gain_of", "points_of", "region_of", "stored_ranges"]

_POINTS = 4
"""Maps of a trial; each is one selection of its own."""


def region_of(
    shape: Sequence[int], block: Sequence[int], itemsize: int, limit: int, pattern: Access
) -> tuple[int, ...] | None:
    """The corner of a variable that is read.

    Parameters
    ----------
    shape : sequence of int
    block : sequence of int
        Of the advice: the region is made of whole ones.
    itemsize : int
        Bytes of an element.
    limit : int
        Bytes, decoded.
    pattern : {"map", "series", "all"}
        For series it grows along the first dimension first, else along the last.

    Returns
    -------
    tuple of int or None
        Elements per dimension; None where not even one block is small enough.
    """
    region = [min(b, n) for b, n in zip(block, shape, strict=True)]
    if not math.prod(region) or math.prod(region) * itemsize > limit:
        return None
    axes = range(len(shape))
    for axis in axes if pattern == "series" else reversed(axes):
        times = limit // (math.prod(region) * itemsize)
        region[axis] = min(shape[axis], region[axis] * times)
        if region[axis] < shape[axis]:
            break
    return tuple(region)


def points_of(
    dims: Sequence[str], region: Sequence[int], pattern: Access, turn: int
) -> tuple[Mapping[str, int], ...]:
    """The selections of one trial within the region; other ones at each turn.

    Returns
    -------
    tuple of dict
        Dimension to index. One empty selection for ``all``.
    """
    if pattern == "all":
        return ({},)
    single = range(len(dims) - 2) if pattern == "map" else range(1, len(dims))
    count = _POINTS if pattern == "map" else 1
    steps = [(turn * count + one) * 0.618 % 1 for one in range(count)]
    return tuple({dims[axis]: int(step * region[axis]) for axis in single} for step in steps)


def stored_ranges(layout: Layout, region: Sequence[int]) -> list[tuple[int, int]]:
    """Offset and size of each piece of the file under a region."""
    if layout.reason or layout.offsets.ndim not in (0, len(region)):
        return []
    if layout.chunks is None:
        whole = int(layout.sizes) if layout.offsets != NOWHERE else 0
        part = math.prod(region) * layout.dtype.itemsize
        return [(int(layout.offsets), min(whole, part))] if whole else []
    cut = tuple(slice(-(-n // c)) for n, c in zip(region, layout.chunks, strict=True))
    offsets, sizes = layout.offsets[cut].ravel(), layout.sizes[cut].ravel()
    there = offsets != NOWHERE
    return list(zip(offsets[there].tolist(), sizes[there].tolist(), strict=True))


def gain_of(advised: Sequence[float], other: Sequence[float], against: str) -> Gain | None:
    """The gain by the seconds of both ways in each round; None without any."""
    rounds = min(len(advised), len(other))
    if not rounds:
        return None
    ratios = np.asarray(other[:rounds]) / np.maximum(np.asarray(advised[:rounds]), 1e-9)
    low, high = float(ratios.min()), float(ratios.max())
    return Gain(float(np.median(ratios)), low, high, against, rounds)
