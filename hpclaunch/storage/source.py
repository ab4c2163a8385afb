"""The bytes of a local file, by pread: bounded descriptors, and a look at whether it changed.

Descriptors are shared by all threads of the process. No more than `DESCRIPTORS` stay open: those
used longest ago are closed, and none while it is being read from. A read never moves a file
position, so threads need no lock around it.
"""

from __future__ import annotations

import os
import stat
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import addressof, c_char
from typing import Protocol

import numpy as np

from hpclaunch.errors import ChangedFile, CorruptFile
from hpclaunch.storage.compiled import compiled
from hpclaunch.storage.layout import Identity
from hpclaunch.storage.remote import Location, Remote, RemoteFile

__all__ = ["DESCRIPTORS", "LocalFile", "Source", "close_idle", "identify", "open_source"]

DESCRIPTORS = 64
"""File descriptors that this process keeps open at most, besides those in use at a moment."""

_ONCE = 1 << 30  # bytes: Linux reads at most 0x7ffff000 with one call


class Source(Protocol):
    """Where the bytes of one file come from.

    Attributes
    ----------
    identity : Identity
        Of the file that is read.
    far : bool
        Whether each read is a request over a network that takes its time, so that many are under
        way together.
    """

    identity: Identity
    far: bool

    def read(self, offset: int, into: memoryview) -> None:
        """Fill `into` (writable, bytes) with what stands at `offset`.

        Raises
        ------
        CorruptFile
            If the file ends before.
        ChangedFile
            If it is not the file any more that it was.
        OSError
            If the system refuses; names the file.
        """

    def read_each(self, offsets: Sequence[int], sizes: Sequence[int], into: memoryview) -> None:
        """Fill `into` with several pieces one behind another; see `read`."""

    def check(self) -> None:
        """Raise `ChangedFile` if the file was written to since it was identified."""


def identify(path: Location) -> Identity:
    """Which file lies at `path`, and in which state: its real path and one stat, or one request.

    Raises
    ------
    FileNotFoundError, PermissionError
        As the system says.
    StorageError
        As a server says.
    """
    if isinstance(path, Remote):
        return path.identify()
    real = os.path.realpath(path)
    found = os.stat(real)  # noqa: PTH116
    return Identity(real, found.st_size, found.st_mtime_ns, found.st_ino)


def open_source(path: Location, expected: Identity | None = None) -> Source:
    """Make sure that a file is the one expected, and prepare to read it.

    At a URL that is made sure of with each read.

    Parameters
    ----------
    path : str or Remote
    expected : Identity, optional
        What it was when its index was made. Its path is not compared.

    Raises
    ------
    ChangedFile
        If size, time of modification or inode differ.
    OSError
        If there is no such file, or it is not allowed to read it.
    """
    if isinstance(path, Remote):
        return RemoteFile(path, path.identify() if expected is None else expected)
    if expected is None:
        return LocalFile(path, identify(path))
    source = LocalFile(path, expected)
    source.hold_against(os.stat(path))  # noqa: PTH116
    return source


class LocalFile:
    """A file that the operating system reads.

    Attributes
    ----------
    path : str
        As it was asked for.
    identity : Identity
    """

    far = False

    def __init__(self, path: str, identity: Identity) -> None:
        self.path = path
        self.identity = identity
        self._slot = _descriptors.slot(identity)

    @contextmanager
    def descriptor(self) -> Iterator[int]:
        """The open file, for as long as the block runs."""
        number = _descriptors.take(self._slot, self)
        try:
            yield number
        finally:
            _descriptors.give(self._slot)

    def read(self, offset: int, into: memoryview) -> None:
        """Fill `into`, see :meth:`Source.read`."""
        wanted = into.nbytes
        try:
            with self.descriptor() as number:
                done = _pread(number, into, offset)
                while 0 < done < wanted:
                    more = _pread(number, into[done:], offset + done)
                    if not more:
                        break
                    done += more
                if done < wanted:
                    self.hold_against(os.fstat(number))
                    raise CorruptFile(
                        f"{self.path} ends before byte {offset + wanted}, which its own index names"
                    )
        except OSError as refused:
            refused.filename = refused.filename or self.path
            raise

    def read_each(self, offsets: Sequence[int], sizes: Sequence[int], into: memoryview) -> None:
        """Fill `into`, see :meth:`Source.read_each`."""
        done = self._fetched(offsets, sizes, into)
        at = sum(sizes[:done])  # what is left tells its error here
        for offset, size in zip(offsets[done:], sizes[done:], strict=True):
            self.read(offset, into[at : at + size])
            at += size

    def _fetched(self, offsets: Sequence[int], sizes: Sequence[int], into: memoryview) -> int:
        """Read by compiled code; how many pieces, from the first on."""
        code = compiled()
        if code is None or not into.nbytes:
            return 0
        start = addressof(c_char.from_buffer(into))
        lengths = np.array(sizes, np.int64)
        assert int(lengths.sum()) <= into.nbytes
        targets = start + np.cumsum(lengths) - lengths
        places = np.array(offsets, np.int64)
        arrays = (one.ctypes.data for one in (places, lengths, targets))
        with self.descriptor() as number:
            return code.fetch(number, len(sizes), *arrays)

    def check(self) -> None:
        """Raise `ChangedFile` if it was written to since, see :meth:`Source.check`."""
        with self.descriptor() as number:
            self.hold_against(os.fstat(number))

    def hold_against(self, now: os.stat_result) -> None:
        """Raise `ChangedFile` where the state of the file is not the expected one."""
        then = self.identity
        if not stat.S_ISREG(now.st_mode):
            raise ChangedFile(f"{self.path} is not a regular file any more")
        if then.inode and now.st_ino != then.inode:
            raise ChangedFile(f"{self.path} was replaced by another file since it was opened")
        if now.st_size != then.size:
            how = "grew" if now.st_size > then.size else "was cut"
            raise ChangedFile(
                f"{self.path} {how} from {then.size} to {now.st_size} bytes since it was opened"
            )
        if now.st_mtime_ns != then.mtime_ns:
            raise ChangedFile(f"{self.path} was written to since it was opened")


class _Slot:
    """The place of one file's descriptor; -1 while it is not open."""

    def __init__(self) -> None:
        self.number = -1
        self.users = 0
        self.used = 0


class _Descriptors:
    """The open files of this process."""

    def __init__(self) -> None:
        self.known: weakref.WeakValueDictionary[Identity, _Slot] = weakref.WeakValueDictionary()
        self.open: set[_Slot] = set()
        self.lock = threading.Lock()
        self.limit = DESCRIPTORS
        self.clock = 0

    def slot(self, identity: Identity) -> _Slot:
        """The one place of a file in one state."""
        with self.lock:
            found = self.known.get(identity)
            if found is None:
                found = self.known[identity] = _Slot()
            return found

    def take(self, slot: _Slot, file: LocalFile) -> int:
        """The descriptor of a file, not to be closed until `give` is called."""
        with self.lock:
            self.clock += 1
            slot.used = self.clock
            if slot.number >= 0:
                slot.users += 1
                return slot.number
        number = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            file.hold_against(os.fstat(number))
        except BaseException:
            os.close(number)
            raise
        with self.lock:
            if slot.number < 0:
                slot.number = number
                self.open.add(slot)
                superfluous = self._superfluous(slot)
            else:
                superfluous = [number]
            slot.users += 1
        for one in superfluous:
            os.close(one)
        return slot.number

    def give(self, slot: _Slot) -> None:
        with self.lock:
            slot.users -= 1

    def close(self) -> None:
        """Close what nobody uses."""
        with self.lock:
            numbers = [self._forget(slot) for slot in list(self.open) if not slot.users]
        for number in numbers:
            os.close(number)

    def _superfluous(self, new: _Slot) -> list[int]:
        """Forget the files used longest ago that are too many; they are the caller's to close."""
        over = len(self.open) - self.limit
        if over <= 0:
            return []
        idle = [slot for slot in self.open if not slot.users and slot is not new]
        return [self._forget(slot) for slot in sorted(idle, key=lambda slot: slot.used)[:over]]

    def _forget(self, slot: _Slot) -> int:
        self.open.discard(slot)
        number, slot.number = slot.number, -1
        return number

    def after_fork(self) -> None:
        """In a child: the threads that used descriptors or held the lock are not there."""
        self.lock = threading.Lock()
        for slot in self.open:
            slot.users = 0


_descriptors = _Descriptors()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_descriptors.after_fork)


def close_idle() -> None:
    """Close the files that nobody reads right now; they are opened again when they are read."""
    _descriptors.close()


if hasattr(os, "preadv"):

    def _pread(number: int, into: memoryview, offset: int) -> int:
        return os.preadv(number, [into if into.nbytes <= _ONCE else into[:_ONCE]], offset)

else:

    def _pread(number: int, into: memoryview, offset: int) -> int:
        found = os.pread(number, min(into.nbytes, _ONCE), offset)
        into[: len(found)] = found
        return len(found)
