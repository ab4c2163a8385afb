"""Chunk shapes for an expected access: pure, no I/O.

A chunk is what HDF5 reads, decodes and writes at once. The shapes here hold between 1 and 4 MiB
where the variable has as much: small enough that one value does not cost much, large enough that a
request is worth its latency and that the index stays short.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, cast, get_args

__all__ = ["Access", "access_as", "aligned_blocks", "chunk_shape", "even", "fit"]

Access = Literal["map", "series", "all"]
"""What is read most: whole horizontal planes, one point over all times, or both."""

TARGET = 2 * 2**20
"""Bytes of a decoded chunk that are aimed at."""

LARGEST = 4 * 2**20
"""Bytes of a decoded chunk that are not exceeded."""

POINTS = 16
"""A chunk for series keeps at least so many points of the plane where the plane has them."""


def access_as(text: str) -> Access:
    """Read one of the words of `Access`.

    Raises
    ------
    ValueError
        If it is none.
    """
    if text not in get_args(Access):
        raise ValueError(f"access is one of {', '.join(get_args(Access))}, not {text!r}")
    return cast(Access, text)


def chunk_shape(
    shape: Sequence[int],
    itemsize: int,
    access: Access = "all",
    *,
    along: int | None = None,
    blocks: Sequence[Sequence[int]] | None = None,
) -> tuple[int, ...]:
    """Choose a chunk shape.

    Parameters
    ----------
    shape : sequence of int
        Elements per dimension of the whole variable.
    itemsize : int
        Bytes of a stored element.
    access : {"map", "series", "all"}
        ``map``: whole planes of the last two dimensions where they fit into 4 MiB, else parts of
        one; several steps of `along` where a plane is small. ``series``: all of `along` where that
        leaves room for 16 points. ``all``: a series and a map cost the same number of chunks.
    along : int, optional
        The dimension that a series runs along, usually time; by default the first.
    blocks : sequence of sequences of int, optional
        The lengths of the blocks in which the values will come, per dimension. The shape is drawn
        to one that divides them, within a factor of two.

    Returns
    -------
    tuple of int
        At least 1 and at most the size (1 where that is 0) per dimension. An unlimited dimension
        has chunks of one step only where one step fills a chunk by itself.
    """
    shape = tuple(max(1, n) for n in shape)
    if not shape:
        return ()
    if math.prod(shape) * itemsize <= TARGET:
        return shape
    room = TARGET // itemsize
    axis = 0 if along is None else along
    plane = [i for i in range(len(shape)) if i != axis][-2:]
    chosen = {"map": _map, "series": _series, "all": _all}[access](shape, room, axis, plane)
    if blocks is not None:
        chosen = tuple(
            min(n, fit(c, lengths)) for n, c, lengths in zip(shape, chosen, blocks, strict=True)
        )
    return _within(shape, chosen, LARGEST // itemsize, axis)


def _map(shape: tuple[int, ...], room: int, axis: int, plane: list[int]) -> tuple[int, ...]:
    chunk = [1] * len(shape)
    for i in plane:
        chunk[i] = shape[i]
    points = math.prod(chunk)
    if points > room * LARGEST // TARGET:
        _tile(shape, chunk, plane, room)
    else:
        chunk[axis] = even(shape[axis], max(1, room // points))
    _grow(shape, chunk, axis, room)
    return tuple(chunk)


def _series(shape: tuple[int, ...], room: int, axis: int, plane: list[int]) -> tuple[int, ...]:
    chunk = [1] * len(shape)
    points = min(POINTS, math.prod(shape[i] for i in plane))
    chunk[axis] = even(shape[axis], max(1, room // points))
    _tile(shape, chunk, plane, room // chunk[axis])
    _grow(shape, chunk, axis, room)
    return tuple(chunk)


def _all(shape: tuple[int, ...], room: int, axis: int, plane: list[int]) -> tuple[int, ...]:
    """As many chunks along a series as across a map: both are the root of the number of chunks."""
    chunk = [1] * len(shape)
    total = shape[axis] * math.prod(shape[i] for i in plane)
    count = max(1.0, math.sqrt(total / room))
    chunk[axis] = even(shape[axis], max(1, min(room, round(shape[axis] / count))))
    _tile(shape, chunk, plane, room // chunk[axis])
    _grow(shape, chunk, axis, room)
    return tuple(chunk)


def _tile(shape: tuple[int, ...], chunk: list[int], plane: list[int], room: int) -> None:
    """Give the plane's dimensions a tile of `room` points with the plane's own proportions."""
    left = max(1, room)
    for position, i in enumerate(plane):
        rest = math.prod(shape[j] for j in plane[position + 1 :])
        length = left if position == len(plane) - 1 else math.sqrt(left * shape[i] / rest)
        chunk[i] = even(shape[i], max(1, int(length)))
        left = max(1, left // chunk[i])


def _grow(shape: tuple[int, ...], chunk: list[int], axis: int, room: int) -> None:
    """Use the room that is left: first along the series, then from the last dimension on."""
    for i in (axis, *reversed(range(len(shape)))):
        spare = room // math.prod(chunk)
        if spare >= 2:
            chunk[i] = even(shape[i], min(shape[i], chunk[i] * spare))


def _within(
    shape: tuple[int, ...], chunk: tuple[int, ...], room: int, axis: int
) -> tuple[int, ...]:
    """Halve the longest dimension until the chunk fits; the series' own is spared if it can be."""
    lengths = list(chunk)
    while math.prod(lengths) > max(1, room):
        others = [i for i in range(len(lengths)) if i != axis and lengths[i] > 1]
        longest = max(others or [axis], key=lambda i: lengths[i])
        lengths[longest] = even(shape[longest], max(1, lengths[longest] // 2))
    return tuple(lengths)


def even(size: int, length: int) -> int:
    """Shorten a length so that the same number of pieces is cut evenly.

    >>> even(181, 100)
    91
    """
    length = max(1, min(size, length))
    return -(-size // -(-size // length))


def fit(length: int, blocks: Sequence[int]) -> int:
    """Draw a length to one that divides all blocks but the last, within a factor of two.

    >>> fit(20, (744, 672, 744))
    24
    """
    common = math.gcd(*blocks[:-1]) if len(blocks) > 1 else 0
    near = [n for n in range(max(1, -(-length // 2)), 2 * length + 1) if common and common % n == 0]
    return min(near, key=lambda n: abs(math.log(n / length)), default=length)


def aligned_blocks(
    blocks: Sequence[Sequence[int]], chunk: Sequence[int], itemsize: int, largest: int
) -> tuple[tuple[int, ...], ...]:
    """Blocks of whole chunks, as near to the given ones as can be.

    Parameters
    ----------
    blocks : sequence of sequences of int
        Lengths of the blocks in which values come, per dimension.
    chunk : sequence of int
        Elements per dimension of a chunk of the file.
    itemsize : int
        Bytes of an element.
    largest : int
        Bytes that a block shall not exceed; one chunk is always allowed.

    Returns
    -------
    tuple of tuples of int
        The given lengths where every boundary already lies between two chunks.
    """
    lengths: list[int] = []
    kept = [_cuts_only_between(b, c) for b, c in zip(blocks, chunk, strict=True)]
    if all(kept):
        return tuple(tuple(b) for b in blocks)
    for given, c, good in zip(blocks, chunk, kept, strict=True):
        longest = max(given)
        lengths.append(longest if good else max(1, round(longest / c)) * c)
    while math.prod(lengths) * itemsize > largest:
        able = [i for i, c in enumerate(chunk) if lengths[i] > c]
        if not able:
            break
        widest = max(able, key=lambda i: lengths[i] // chunk[i])
        lengths[widest] = max(1, lengths[widest] // chunk[widest] // 2) * chunk[widest]
        kept[widest] = False
    return tuple(
        tuple(given) if good else _cut(sum(given), length)
        for given, length, good in zip(blocks, lengths, kept, strict=True)
    )


def _cuts_only_between(blocks: Sequence[int], chunk: int) -> bool:
    return all(length % chunk == 0 for length in blocks[:-1])


def _cut(size: int, length: int) -> tuple[int, ...]:
    whole, rest = divmod(size, length)
    return (length,) * whole + ((rest,) if rest or not whole else ())
