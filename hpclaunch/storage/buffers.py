"""Memory that a thread uses again for every read, so that it stays in the processor's cache."""

from __future__ import annotations

import threading

import numpy as np

__all__ = ["borrowed"]

_KEPT = 12 << 20  # bytes; what is larger is given back at once


class _OfThread(threading.local):
    def __init__(self) -> None:
        self.buffers: dict[str, np.ndarray] = {}


_mine = _OfThread()


def borrowed(use: str, size: int) -> np.ndarray:
    """This thread's memory for one use.

    Parameters
    ----------
    use : str
        What it is for; asking again for the same use gives the same memory.
    size : int
        Bytes.

    Returns
    -------
    numpy.ndarray
        uint8, with anything in it.
    """
    found = _mine.buffers.get(use)
    if found is None or found.size < size:
        found = np.empty(size, np.uint8)
        if size <= _KEPT:
            _mine.buffers[use] = found
    return found[:size]
