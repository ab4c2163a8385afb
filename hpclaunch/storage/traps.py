"""What in a file's layout makes reading slow, in words. Pure rules.

The limits are orders of magnitude, from measurements: a chunk costs some 20 microseconds besides
its bytes, a decoded block stays in a processor's cache up to some 16 MB.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hpclaunch.storage.arrangement import Access, Order
from hpclaunch.storage.layout import DEFLATE, SHUFFLE, Group, Layout, Variable

__all__ = ["Trap", "traps_of"]

SMALL_CHUNK = 2**15
"""Bytes. Below, what a chunk costs by itself outweighs its bytes."""

MANY = 100
"""Chunks. With fewer it does not matter how small they are."""

LARGE_CHUNK = 2**26
"""Bytes. One value costs as many to be decoded."""

COSTLY = 2**25
"""Bytes. A map or a series that decodes fewer is quick in any case."""

AMPLIFIED = 16
"""Bytes decoded for one that was wanted."""

HIGH_LEVEL = 7
"""Levels of deflate from here on take several times as long to write as 4."""

_BITWISE = {4, 5, 6, 32008, 32013}
"""Filters that arrange bits themselves: szip, nbit, scaleoffset, bitshuffle, zfp."""


@dataclass(frozen=True)
class Trap:
    """Something that costs time or space, found in a layout.

    Attributes
    ----------
    code : str
        A word for programs.
    what : str
        What it is and what it costs, for people.
    """

    code: str
    what: str


def traps_of(
    variable: Variable,
    group: Group,
    order: Order | None,
    maps: Access | None,
    series: Access | None,
    count: int,
) -> tuple[Trap, ...]:
    """Find what is slow about a variable.

    Parameters
    ----------
    variable : Variable
    group : Group
        In which it is.
    order : Order or None
        Of its chunks, where it is known.
    maps, series : Access or None
        What one map and one series cost, where it has the dimensions.
    count : int
        Chunks.
    """
    layout = variable.layout
    if layout.dtype.kind == "O":  # strings and the like: what is in its chunks are references
        return ()
    found = [*_sizes(variable, group, count), *_filters(layout), *_orders(order, count)]
    codes = {one.code for one in found}
    for one in _accesses(layout, maps, series):
        if not (one.code == "bad for series" and "one-step chunks" in codes):
            found.append(one)
    return tuple(found)


def _sizes(variable: Variable, group: Group, count: int) -> Iterator[Trap]:
    layout = variable.layout
    if layout.chunks is None:
        if layout.kind == "contiguous" and layout.nbytes >= COSTLY:
            yield Trap("contiguous", "contiguous: it can hold no compression, and cannot grow")
        return
    small = layout.chunk_bytes < SMALL_CHUNK and count > MANY
    each = (
        f" of {_size(layout.chunk_bytes)}, and each costs more than its bytes do" if small else ""
    )
    steps = [
        (name, size)
        for name, size, chunk in zip(variable.dims, layout.shape, layout.chunks, strict=False)
        if chunk == 1 and size > MANY and name in group.unlimited
    ]
    for name, size in steps:
        yield Trap(
            "one-step chunks",
            f"chunks of one step along the unlimited dimension {name}: "
            f"a series over it reads {size} chunks{each}",
        )
    if small and not steps:
        yield Trap("small chunks", f"{count} chunks{each}")
    if layout.chunk_bytes > LARGE_CHUNK:
        yield Trap(
            "large chunks",
            f"chunks of {_size(layout.chunk_bytes)}: one value costs as much to be decoded",
        )
    whole = count * layout.chunk_bytes
    if not layout.filters and layout.nbytes and whole > 1.5 * layout.nbytes and whole > COSTLY:
        yield Trap(
            "padding",
            f"chunks reach beyond the shape: {_size(whole)} hold {_size(layout.nbytes)} of values",
        )


def _filters(layout: Layout) -> Iterator[Trap]:
    known = {one.id for one in layout.filters}
    if DEFLATE in known and layout.dtype.kind in "iuf" and layout.dtype.itemsize > 1:
        if SHUFFLE not in known and not known & _BITWISE:
            yield Trap(
                "no shuffle",
                "deflate without shuffle: numbers get smaller and are decoded faster with it",
            )
        level = next(
            (one.options[0] for one in layout.filters if one.id == DEFLATE and one.options), 0
        )
        if level >= HIGH_LEVEL:
            yield Trap(
                "high level",
                f"deflate level {level}: slow to write and hardly smaller than level 4",
            )
    if layout.masks is not None:
        yield Trap("filters left out", "some chunks are stored without their filters")


def _accesses(layout: Layout, maps: Access | None, series: Access | None) -> Iterator[Trap]:
    for code, word, cost in (("bad for maps", "map", maps), ("bad for series", "series", series)):
        if cost is not None and cost.decoded > COSTLY and cost.amplification > AMPLIFIED:
            share = min(1.0, cost.decoded / layout.nbytes)
            yield Trap(
                code,
                f"one {word} decodes {_size(cost.decoded)} in {cost.chunks} chunks, "
                f"{share:.0%} of the variable",
            )


def _orders(order: Order | None, count: int) -> Iterator[Trap]:
    if order is not None and count > MANY and order.ascending < 0.9:
        yield Trap(
            "out of order",
            f"only {order.ascending:.0%} of its chunks lie in the order of their indices: "
            "large requests bring less",
        )


def _size(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"
