"""The bytes of a local file, by pread: bounded descriptors, and a look at whether it changed.

Descriptors are shared by all threads of the process. No more than `DESCRIPTORS` stay open: those
used longest ago are closed, and none while it is being read from. A read never moves a file
position, so threads need no lock around it.
"""

from __future__ import annotations

import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hpclaunch.errors import ChangedFile, CorruptFile
from hpclaunch.storage.layout import Identity

__all__ = ["DESCRIPTORS", "LocalFile", "Source", "identity_of", "open_source"]

DESCRIPTORS = 64
"""File descriptors that this process keeps open at most, besides those in use at a moment."""

_ONCE = 1 << 30  # bytes: Linux reads at most 0x7ffff000 with one call


class Source(Protocol):
    """Where the bytes of one file come from.

    Attributes
    ----------
    identity : Identity
        Of the file that is read.
    """

    identity: Identity

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

    def check(self) -> None:
        """Raise `ChangedFile` if the file was written to since it was identified."""


def identity_of(path: str) -> Identity:
    """Identify a file as it is now.

    Raises
    ------
    OSError
        If there is none, or it is not allowed to look.
    """
    real = os.path.realpath(path)
    return _identity(real, Path(real).stat())


def open_source(path: str, expected: Identity | None = None) -> LocalFile:
    """Make sure that a file is the one expected, and prepare to read it.

    Parameters
    ----------
    path : str
    expected : Identity, optional
        What it was when its index was made. Its path is not compared.

    Raises
    ------
    ChangedFile
        If size, time of modification or inode differ.
    OSError
        If there is no such file, or it is not allowed to read it.
    """
    if expected is None:
        return LocalFile(path, identity_of(path))
    source = LocalFile(path, expected)
    source.hold_against(Path(path).stat())
    return source


@dataclass(frozen=True)
class LocalFile:
    """A file that the operating system reads.

    Attributes
    ----------
    path : str
        As it was asked for.
    identity : Identity
    """

    path: str
    identity: Identity

    def read(self, offset: int, into: memoryview) -> None:
        """Fill `into`, see :meth:`Source.read`."""
        wanted = into.nbytes
        with self._descriptor() as number:
            try:
                done = _pread(number, into, offset)
                while 0 < done < wanted:
                    more = _pread(number, into[done:], offset + done)
                    if not more:
                        break
                    done += more
            except OSError as refused:
                refused.filename = refused.filename or self.path
                raise
            if done < wanted:
                self.hold_against(os.fstat(number))
                raise CorruptFile(
                    f"{self.path} ends before byte {offset + wanted}, which its own index names"
                )

    def check(self) -> None:
        """Raise `ChangedFile` if it was written to since, see :meth:`Source.check`."""
        with self._descriptor() as number:
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

    @contextmanager
    def _descriptor(self) -> Iterator[int]:
        entry = _descriptors.take(self)
        try:
            yield entry.number
        finally:
            _descriptors.give(entry)


@dataclass(eq=False)
class _Entry:
    number: int
    users: int


class _Descriptors:
    """The open files of this process, in the order of their last use."""

    def __init__(self) -> None:
        self.entries: OrderedDict[Identity, _Entry] = OrderedDict()
        self.lock = threading.Lock()
        self.limit = DESCRIPTORS

    def take(self, file: LocalFile) -> _Entry:
        """The descriptor of a file, not to be closed until `give` is called for it."""
        with self.lock:
            entry = self.entries.get(file.identity)
            if entry is not None:
                entry.users += 1
                self.entries.move_to_end(file.identity)
                return entry
        number = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            file.hold_against(os.fstat(number))
        except BaseException:
            os.close(number)
            raise
        with self.lock:
            other = self.entries.get(file.identity)
            if other is None:
                entry = self.entries[file.identity] = _Entry(number, 1)
                superfluous = self._superfluous()
            else:
                entry, superfluous = other, [number]
                entry.users += 1
        for one in superfluous:
            os.close(one)
        return entry

    def give(self, entry: _Entry) -> None:
        with self.lock:
            entry.users -= 1

    def close(self) -> None:
        """Close what nobody uses."""
        with self.lock:
            idle = [key for key, entry in self.entries.items() if not entry.users]
            numbers = [self.entries.pop(key).number for key in idle]
        for number in numbers:
            os.close(number)

    def _superfluous(self) -> list[int]:
        """Forget the files used longest ago that are too many; they are the caller's to close."""
        over = len(self.entries) - self.limit
        if over <= 0:
            return []
        idle = [key for key, entry in self.entries.items() if not entry.users][:over]
        return [self.entries.pop(key).number for key in idle]

    def after_fork(self) -> None:
        """In a child: the threads that used descriptors or held the lock are not there."""
        self.lock = threading.Lock()
        for entry in self.entries.values():
            entry.users = 0


_descriptors = _Descriptors()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_descriptors.after_fork)


def _identity(path: str, found: os.stat_result) -> Identity:
    return Identity(path, found.st_size, found.st_mtime_ns, found.st_ino)


if hasattr(os, "preadv"):

    def _pread(number: int, into: memoryview, offset: int) -> int:
        return os.preadv(number, [into if into.nbytes <= _ONCE else into[:_ONCE]], offset)

else:

    def _pread(number: int, into: memoryview, offset: int) -> int:
        found = os.pread(number, min(into.nbytes, _ONCE), offset)
        into[: len(found)] = found
        return len(found)
