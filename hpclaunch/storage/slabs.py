"""In which pieces a variable is read and written anew with bounded memory: pure, no I/O.

A slab is a part of the variable that is held at once: whole chunks of the target, or of the
source. Where the chunks of both lie much alike, slabs of the target are read straight from the
source. Where they are turned, as from maps to series, every slab would read most of the source
again; then the values go through a file in two passes: slabs of the source are cut at the slabs of
the target and put there, and each slab of the target is read back in one piece.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

__all__ = ["Passes", "Region", "overlap", "passes", "regions"]

Region = tuple[slice, ...]

REPEATS = 2.0
"""So many times the source may be read before a file between is the better way."""


@dataclass(frozen=True)
class Passes:
    """How a variable is turned.

    Attributes
    ----------
    target : tuple of int
        Elements per dimension of a slab of the target.
    source : tuple of int or None
        Of a slab of the source, that is put into the file between; None where there is none.
    reads : float
        How many times the source is read, on average.
    """

    target: tuple[int, ...]
    source: tuple[int, ...] | None
    reads: float


def passes(
    shape: Sequence[int],
    itemsize: int,
    stored: Sequence[int] | None,
    chunks: Sequence[int],
    budget: int,
) -> Passes:
    """Choose the slabs.

    Parameters
    ----------
    shape : sequence of int
        Elements per dimension.
    itemsize : int
        Bytes of an element.
    stored, chunks : sequence of int
        Elements per dimension of a chunk of the source (None: contiguous) and of the target.
    budget : int
        Bytes of a slab.

    Raises
    ------
    ValueError
        If one chunk of the source or of the target is larger than the budget.
    """
    elements = budget // itemsize
    given = stored if stored is not None else (1,) * len(shape)
    old = tuple(min(c, n) for c, n in zip(given, shape, strict=True))
    new = tuple(min(c, n) for c, n in zip(chunks, shape, strict=True))
    if max(math.prod(old), math.prod(new)) > elements:
        raise ValueError(f"a chunk has more than {budget} bytes")

    def cost(lengths: tuple[int, ...]) -> tuple[float, ...]:
        return tuple(_repeats(*one) for one in zip(shape, lengths, old, strict=True))

    direct = _grown(shape, new, elements, cost)
    reads = math.prod(cost(direct))
    if reads <= REPEATS:
        return Passes(direct, None, reads)
    turned = tuple(o / n for o, n in zip(old, new, strict=True))
    target = _grown(shape, new, elements, lambda _: turned)
    back = tuple(n / o for o, n in zip(old, new, strict=True))
    return Passes(target, _grown(shape, old, elements, lambda _: back), 1.0)


def _repeats(size: int, length: int, chunk: int) -> float:
    """How many elements are decoded for each one wanted, along one dimension."""
    decoded = 0
    for begin in range(0, size, length):
        end = min(size, begin + length)
        decoded += min(size, -(-end // chunk) * chunk) - begin // chunk * chunk
    return decoded / size


def _grown(
    shape: Sequence[int],
    unit: tuple[int, ...],
    elements: int,
    urgency: Callable[[tuple[int, ...]], tuple[float, ...]],
) -> tuple[int, ...]:
    """Grow a slab by whole units, the most urgent dimension first, while it fits."""
    lengths = list(unit)
    while True:
        need = urgency(tuple(lengths))
        order = sorted(range(len(lengths)), key=lambda i: (-need[i], -i))
        for i in order:
            room = elements * lengths[i] // math.prod(lengths) // unit[i] * unit[i]
            longer = min(shape[i], room, 2 * lengths[i])
            if longer > lengths[i]:
                lengths[i] = longer
                break
        else:
            return tuple(lengths)


def regions(shape: Sequence[int], lengths: Sequence[int]) -> Iterator[Region]:
    """The slabs of a variable in C order."""
    steps = (range(0, n, length) for n, length in zip(shape, lengths, strict=True))
    for corner in product(*steps):
        yield tuple(
            slice(i, min(n, i + length))
            for i, n, length in zip(corner, shape, lengths, strict=True)
        )


def overlap(one: Region, other: Region) -> Region | None:
    """What two regions have in common; None where that is nothing."""
    both = tuple(
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True)
    )
    return both if all(s.start < s.stop for s in both) else None
