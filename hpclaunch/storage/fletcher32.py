"""The checksum of HDF5's fletcher32 filter. Pure.

Definition: H5_checksum_fletcher32 of H5checksum.c and H5Zfletcher32.c. Two sums over the data as
big-endian 16-bit words, both modulo 65535 and never folded to 0 unless all words are 0. Files of
HDF5 before 1.6.3 hold it with the bytes of each half swapped, and HDF5 takes both.
"""

from __future__ import annotations

import numpy as np

__all__ = ["LENGTH", "fletcher32", "matches"]

LENGTH = 4
"""Bytes that the filter appends to a chunk, little-endian."""

_ROW = 1024  # words


def fletcher32(data: np.ndarray) -> int:
    """The checksum of bytes, as HDF5 since 1.6.3 writes it.

    Parameters
    ----------
    data : numpy.ndarray
        uint8, one dimension, of any length.
    """
    first, second = _sums(data)
    return second << 16 | first


def matches(data: np.ndarray, stored: int) -> bool:
    """Whether `stored` is the checksum of `data`, in the byte order of any release of HDF5."""
    found = fletcher32(data)
    swapped = (found & 0x00FF00FF) << 8 | (found >> 8) & 0x00FF00FF
    return stored in (found, swapped)


def _sums(data: np.ndarray) -> tuple[int, int]:
    """Both sums.

    With ``n`` words ``w[i]`` they are the sums of ``w[i]`` and of ``(n - i) * w[i]``. In rows of
    `_ROW` words the second one needs only the sums of rows and of columns. Words are taken
    little-endian: 256 times such a word is the big-endian one, modulo 65535.
    """
    words = data[: data.size // 2 * 2].view("<u2")
    tail = int(data[-1]) if data.size % 2 else None
    rows = words.size // _ROW
    block = words[: rows * _ROW].reshape(rows, _ROW)
    wide = np.uint32 if rows < 1 << 16 else np.uint64
    by_row = block.sum(axis=1, dtype=np.uint32).astype(np.uint64)
    by_column = block.sum(axis=0, dtype=wide).astype(np.uint64)
    rest = words[rows * _ROW :].astype(np.uint64)

    n = words.size + (tail is not None)
    first = int(by_row.sum()) + int(rest.sum()) + (tail or 0)
    before_rows = (n - np.arange(rows, dtype=np.int64) * _ROW).astype(np.uint64) % 65535
    second = int((before_rows * (by_row % 65535) % 65535).sum())
    second -= int((np.arange(_ROW, dtype=np.uint64) * (by_column % 65535)).sum())
    second += int((np.arange(n - rows * _ROW, n - words.size, -1).astype(np.uint64) * rest).sum())
    second += tail or 0
    if not first:
        return 0, 0
    return (256 * first) % 65535 or 65535, (256 * second) % 65535 or 65535
