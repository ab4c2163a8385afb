"""Pieces of a file joined to few large reads. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Request", "bundled", "coalesce"]


class Request(NamedTuple):
    """One read, and which pieces it brings.

    Attributes
    ----------
    offset, size : int
        Bytes of the file.
    start, stop : int
        The pieces: a range of positions in the lists that were joined.
    """

    offset: int
    size: int
    start: int
    stop: int


def coalesce(
    offsets: Sequence[int], sizes: Sequence[int], *, request: int, gap: int, align: int = 0
) -> list[Request]:
    """Join pieces that lie near each other.

    Parameters
    ----------
    offsets, sizes : sequence of int
        Bytes of the file, ascending by offset.
    request : int
        Bytes of a read at most, unless one piece alone has more. Where less than a quarter of that
        would be left for a read of its own, it goes with the one before.
    gap : int
        Bytes between two pieces that may be read for nothing.
    align : int
        Bytes of a stripe. A read is begun anew at the first piece that starts in another window of
        as many whole stripes as go into `request`, so that reads of many processes meet the same
        servers one after another. 0: nothing is known.
    """
    window = align * max(1, request // align) if align > 0 else 0
    joined: list[Request] = []
    total = len(offsets)
    start = 0
    while start < total:
        first = offsets[start]
        end = first + sizes[start]
        stop = start + 1
        here = first // window if window else 0
        while stop < total:
            offset = offsets[stop]
            new_end = max(end, offset + sizes[stop])
            if offset - end > gap or new_end - first > request:
                break
            if window and offset // window != here:
                break
            end = new_end
            stop += 1
        joined.append(Request(first, end - first, start, stop))
        start = stop
    if not window:
        _join_the_rest(joined, request, gap)
    return joined


def _join_the_rest(joined: list[Request], request: int, gap: int) -> None:
    """Put a small last read into the one before it."""
    if len(joined) < 2:
        return
    before, last = joined[-2:]
    near = 0 <= last.offset - (before.offset + before.size) <= gap
    size = last.offset + last.size - before.offset
    if near and last.size <= request // 4 and size <= request + request // 4:
        joined[-2:] = [Request(before.offset, size, before.start, last.stop)]


def bundled(joined: Sequence[Request], size: int, most: int) -> list[list[Request]]:
    """Put small reads together that one thread does one after another.

    Parameters
    ----------
    joined : sequence of Request
    size : int
        Bytes of a bundle at most, unless one read alone has more.
    most : int
        Reads of a bundle at most.
    """
    bundles: list[list[Request]] = []
    room = 0
    for one in joined:
        if not bundles or one.size > room or len(bundles[-1]) >= most:
            bundles.append([])
            room = size
        bundles[-1].append(one)
        room -= one.size
    return bundles
