"""Whole chunks that lie one behind another in the result: what a block of Dask mostly is.

Compiled code is told at once where they are and where they go. Nothing is done in Python for each
chunk, which other threads would have to wait for.
"""

from __future__ import annotations

import math

import numpy as np

from hpclaunch.storage.decode import Pipeline
from hpclaunch.storage.job import Decoding
from hpclaunch.storage.layout import Layout
from hpclaunch.storage.selection import Key
from hpclaunch.storage.source import LocalFile
from hpclaunch.storage.together import FEW, Together

__all__ = ["read_whole", "whole"]

_AT_ONCE = 32 << 20
"""Bytes that compiled code decodes before Python can be interrupted."""


def whole(layout: Layout, key: Key) -> range | None:
    """The numbers of the chunks that a key takes, where it takes nothing but whole ones in a row.

    They follow each other along the first dimension, and each has all of the others.
    """
    shape, chunks = layout.shape, layout.chunks
    if chunks is None or not shape or chunks[1:] != shape[1:] or len(key) != len(shape):
        return None
    for one, n in zip(key[1:], shape[1:], strict=True):
        if not isinstance(one, slice) or one.indices(n) != (0, n, 1):
            return None
    if not isinstance(key[0], slice):
        return None
    start, stop, step = key[0].indices(shape[0])
    if step != 1 or start % chunks[0] or stop % chunks[0]:
        return None
    return range(start // chunks[0], stop // chunks[0])


def read_whole(
    source: LocalFile, layout: Layout, numbers: range, out: np.ndarray, decoding: Decoding | None
) -> bool:
    """Read chunks that :func:`whole` found, in this thread.

    False where that cannot be done, or went wrong: then all has to be read anew, which tells why.

    Parameters
    ----------
    source : LocalFile
    layout : Layout
    numbers : range
    out : numpy.ndarray
        In C order, of the shape of the selection.
    decoding : Decoding or None
    """
    if len(numbers) <= FEW or layout.masks is not None:
        return False
    usual = Pipeline(layout.filters, layout.chunk_bytes, layout.dtype.itemsize)
    assert layout.chunks is not None
    how = Together.of(usual, math.prod(layout.chunks), out, decoding)
    if how is None:
        return False
    here = slice(numbers.start, numbers.stop)
    offsets = layout.offsets[here].reshape(-1).astype(np.int64)  # NOWHERE is negative then
    sizes = layout.sizes[here].reshape(-1).astype(np.int64)
    step = out.nbytes // len(numbers)
    targets = np.arange(out.ctypes.data, out.ctypes.data + out.nbytes, step)
    some = max(1, _AT_ONCE // step)
    return all(
        how.read(source, usual, offsets[at : at + some], sizes[at : at + some], targets[at:])
        for at in range(0, len(numbers), some)
    )
