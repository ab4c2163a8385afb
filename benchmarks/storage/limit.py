"""The limit: the stored chunks, already in memory, inflated and unshuffled by threads."""

from __future__ import annotations

import ctypes
import importlib.util
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.storage.recipe import VARIABLE, Archive

__all__ = ["Stored", "decode", "load"]

BLOCK = 64
"""Chunks that a thread takes at a time."""


@dataclass(frozen=True)
class Stored:
    """The chunks of some files as they are stored.

    Attributes
    ----------
    chunks : tuple of bytes
    size : int
        Bytes of a decoded chunk.
    item : int
        Bytes of an element.
    """

    chunks: tuple[bytes, ...]
    size: int
    item: int


def load(archive: Archive) -> Stored:
    """Read the stored chunks of all files into memory."""
    import h5py

    chunks: list[bytes] = []
    size = item = 0
    for path in archive.paths:
        places: list[tuple[int, int]] = []
        with h5py.File(path, "r") as file:
            values = file[VARIABLE]
            item = values.dtype.itemsize
            size = int(np.prod(values.chunks)) * item
            values.id.chunk_iter(lambda one, into=places: into.append((one.byte_offset, one.size)))
        with Path(path).open("rb") as file:
            for offset, stored in places:
                file.seek(offset)
                chunks.append(file.read(stored))
    return Stored(tuple(chunks), size, item)


def decode(stored: Stored) -> None:
    """Inflate and unshuffle every chunk, one thread for each processor."""
    import deflate

    unshuffle = library().blosc2_unshuffle

    def some(first: int) -> None:
        out = ctypes.create_string_buffer(stored.size)
        for chunk in stored.chunks[first : first + BLOCK]:
            plain = deflate.zlib_decompress(chunk, stored.size)
            source = (ctypes.c_char * stored.size).from_buffer(plain)
            unshuffle(stored.item, stored.size, source, out)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(some, range(0, len(stored.chunks), BLOCK)))


def library() -> ctypes.CDLL:
    """The library of the blosc2 wheel, without its package."""
    found = importlib.util.find_spec("blosc2")
    assert found is not None and found.origin is not None
    library = next(Path(found.origin).parent.rglob("libblosc2.so*"))
    return ctypes.CDLL(str(library))
