"""A part of a remote file as a local one, for libraries that only open files.

The mirror is a sparse file as long as the remote one, in a private temporary directory that goes
away with it. What is read through the mirror is fetched in whole blocks and stays there. What was
not fetched reads as zeros by its path: nobody may open that before everything that will be read was
brought (see `hpclaunch.storage.walk`).
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from hpclaunch.storage.layout import Identity
from hpclaunch.storage.remote import IN_FLIGHT, RemoteFile
from hpclaunch.storage.requests import coalesce

__all__ = ["BEGINNING", "BLOCK", "KEPT", "LARGEST", "WHOLE", "Mirror", "mirrored"]

BLOCK = 128 << 10
"""Bytes that are fetched where one byte is wanted."""

WHOLE = 8 << 20
"""A file of fewer bytes is fetched at once: metadata lies anywhere in it."""

BEGINNING = 1 << 20
"""Bytes of a larger file that are fetched first: most metadata lies there."""

KEPT, LARGEST = 4, 64 << 20
"""Mirrors that a process keeps, and bytes fetched to one that is kept."""

_REQUEST, _GAP = 8 << 20, 1 << 20


class Mirror:
    """A remote file, fetched as it is read. It is a binary file, for one thread at a time.

    Parameters
    ----------
    source : RemoteFile

    Attributes
    ----------
    path : str
        Of the sparse file.
    fault : Exception or None
        Why a block could not be fetched, where a library between tells it in its own words.
    fetched : int
        Bytes.
    walked : bool
        Whether all metadata was read.
    keep : bool
        Whether it will be of use again.
    """

    def __init__(self, source: RemoteFile) -> None:
        self.source = source
        self.size = source.identity.size
        self.fault: Exception | None = None
        self.fetched = 0
        self.walked = False
        self.keep = True
        self._there = np.zeros(-(-self.size // BLOCK), bool)
        self._block = BLOCK
        self._at = 0
        directory = tempfile.mkdtemp(prefix="hpclaunch-mirror-")
        self.path = str(Path(directory) / "file")
        self._close = weakref.finalize(self, _remove, directory, os.getpid())
        with Path(self.path).open("wb") as file:
            file.truncate(self.size)
        self.bring([(0, self.size if self.size <= WHOLE else BEGINNING)])

    def close(self) -> None:
        """Remove the file."""
        self._close()

    def bring(self, extents: Iterable[tuple[int, int]]) -> None:
        """Fetch what is not there yet of some ranges of bytes (first byte, length), together."""
        wanted = np.zeros_like(self._there)
        for offset, length in extents:
            if length > 0:
                wanted[offset // self._block : -(-(offset + length) // self._block)] = True
        blocks = np.flatnonzero(wanted & ~self._there)
        if not blocks.size:
            return
        requests = coalesce(
            (blocks * self._block).tolist(),
            [self._block] * blocks.size,
            request=_REQUEST,
            gap=_GAP,
        )
        with Path(self.path).open("r+b") as file:
            for at in range(0, len(requests), IN_FLIGHT):
                some = [
                    (one.offset, min(one.size, self.size - one.offset))
                    for one in requests[at : at + IN_FLIGHT]
                ]
                for (offset, length), data in zip(some, self._fetch(some), strict=True):
                    file.seek(offset)
                    file.write(data)
                    self._there[offset // self._block : -(-(offset + length) // self._block)] = True
                    self.fetched += length

    def _fetch(self, ranges: list[tuple[int, int]]) -> Iterator[bytes]:
        try:
            yield from self.source.fetch(ranges)
        except Exception as why:
            self.fault = why
            raise

    # A binary file, as h5py wants it.

    def readinto(self, into: memoryview) -> int:
        """Read at the position, of which the bytes are fetched first."""
        length = max(0, min(len(into), self.size - self._at))
        self.bring([(self._at, length)])
        with Path(self.path).open("rb") as file:
            file.seek(self._at)
            done = file.readinto(memoryview(into)[:length])
        self._at += done
        return done

    def read(self, length: int = -1) -> bytes:
        """Read at the position."""
        if length < 0:
            length = self.size - self._at
        data = bytearray(max(0, min(length, self.size - self._at)))
        return bytes(data[: self.readinto(memoryview(data))])

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        return self._at

    def tell(self) -> int:
        """The position."""
        return self._at

    def flush(self) -> None:
        """Nothing is written."""


class _Mirrors:
    """Those that were used last, so that metadata is fetched once in a process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.kept: OrderedDict[Identity, Mirror] = OrderedDict()

    def take(self, source: RemoteFile) -> Mirror:
        found = self.kept.pop(source.identity, None)
        if found is None:
            return Mirror(source)
        found.source = source  # with the credentials of whoever asks now
        source.fetch([(0, 1)])
        return found

    def give(self, mirror: Mirror) -> None:
        if mirror.fetched > LARGEST or mirror.fault is not None or not mirror.keep:
            mirror.close()
            return
        self.kept[mirror.source.identity] = mirror
        while len(self.kept) > KEPT:
            self.kept.popitem(last=False)[1].close()


_mirrors = _Mirrors()


def _after_fork() -> None:
    global _mirrors
    _mirrors = _Mirrors()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def mirrored(source: RemoteFile) -> Iterator[Mirror]:
    """A mirror of a file, for this thread alone; a few are kept, those that have grown large not.

    Raises
    ------
    ChangedFile
        If the file is not what it was, also where all that will be read is there already.
    """
    with _mirrors.lock:
        mirror = _mirrors.take(source)
        try:
            mirror.seek(0)
            yield mirror
        finally:
            _mirrors.give(mirror)


def _remove(directory: str, owner: int) -> None:
    """Remove a mirror's directory; not in a child of the process that made it."""
    if os.getpid() == owner:
        shutil.rmtree(directory, ignore_errors=True)
