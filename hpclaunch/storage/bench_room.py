"""Room for a benchmark: how much may be written, a directory of its own, files out of the cache."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from hpclaunch.errors import StorageError
from hpclaunch.storage.interrupts import interrupting
from hpclaunch.storage.target import no_room

__all__ = ["FOOTPRINT", "LEAST", "SMALL_FILE", "drop", "is_full", "largest_size", "private", "sync"]

FOOTPRINT = 4
"""Times its size that a benchmark has on the disk at most."""
LEAST = 2**20
"""Bytes of the smallest size."""
SMALL_FILE = 4096
"""Bytes of each of many small files."""
_SHARE, _SHARE_ASKED = 0.02, 0.1
"""Of the free space, by default and where a size is asked for."""
_MOST = 2**30
_INODES = 20
"""Times more files must be free than are made."""
_FRESH = 0.05
"""Share of a file's pages that may be in memory while it is called cold."""


def largest_size(directory: Path, size: int | None, files: int) -> int:
    """How large a benchmark may be, in bytes of its largest file.

    Parameters
    ----------
    directory : Path
    size : int or None
        What was asked for; None: at most 1 GiB and a small share of what is free.
    files : int
        So many small files are made.

    Raises
    ------
    StorageError
        If so much would be more than a small share of what is free there.
    """
    if size is not None and size < LEAST:
        raise StorageError(f"a size of {size} bytes is too small", hint=f"at least {LEAST}")
    free, unit, inodes = _free(directory)
    share = _SHARE if size is None else _SHARE_ASKED
    small = files * max(SMALL_FILE, unit)
    room = max(0, int(free * share) - small) // FOOTPRINT
    if room < (LEAST if size is None else size):
        asked = "" if size is None else f" with a size of {size / 2**20:.0f} MiB"
        raise StorageError(
            f"{directory} is too full for a benchmark{asked}: {free / 2**20:.0f} MiB are free, and "
            f"it writes up to {FOOTPRINT} times its size, {small / 2**20:.0f} MiB of small files, "
            f"and never more than {share:.0%} of that",
            hint=f"choose another directory, or --size {room // LEAST}MiB or less"
            if room >= LEAST
            else "choose a directory with more room",
        )
    if inodes is not None and inodes < files * _INODES:
        raise StorageError(
            f"{directory} has room for {inodes} more files only",
            hint="choose a directory with more free inodes",
        )
    return min(room, _MOST) if size is None else size


def _free(directory: Path) -> tuple[int, int, int | None]:
    """Bytes that are free for this user, those of a block, and files where they are counted."""
    if not hasattr(os, "statvfs"):  # Windows
        return shutil.disk_usage(directory).free, SMALL_FILE, None
    found = os.statvfs(directory)
    free = found.f_bavail * found.f_frsize
    return free, found.f_frsize, found.f_favail if found.f_files else None


@contextlib.contextmanager
def private(directory: Path) -> Iterator[Path]:
    """A directory of its own inside of this one, which is removed however the benchmark ends.

    SIGTERM and SIGHUP interrupt as Ctrl-C does meanwhile, where the program does not handle them.
    """
    with interrupting():
        own = Path(tempfile.mkdtemp(prefix=".hpclaunch-bench-", dir=directory))
        try:
            yield own
        finally:
            _remove(own)


def _remove(own: Path) -> None:
    """Threads that still end may put something there meanwhile, and NFS keeps what is open."""
    for wait in (0.0, 0.1, 0.3, 1.0):
        time.sleep(wait)
        shutil.rmtree(own, ignore_errors=True)
        if not own.exists():
            return
    shutil.rmtree(own)


def is_full(error: BaseException | None, directory: Path | None = None) -> bool:
    """Whether a full disk or a quota is at the bottom of an error of writing to a directory."""
    while error is not None:
        if isinstance(error, OSError | RuntimeError) and no_room(error, directory):
            return True
        error = error.__cause__ or error.__context__
    return False


def _each(path: Path) -> Iterable[Path]:
    return (one for one in path.rglob("*") if one.is_file()) if path.is_dir() else (path,)


def sync(path: Path) -> None:
    """Have a file, or each of a directory, written to the disk."""
    for one in _each(path):
        number = os.open(one, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def drop(path: Path) -> bool:
    """Let go of the page cache of a file or of each in a directory; whether they are out of it."""
    if not hasattr(os, "posix_fadvise"):  # macOS, Windows
        return False
    first: Path | None = None
    for one in _each(path):
        number = os.open(one, os.O_RDONLY)
        try:
            os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(number)
        if first is None or one.stat().st_size > first.stat().st_size:
            first = one
    return first is not None and _cached(first) <= _FRESH


def _cached(path: Path) -> float:
    """The share of a file's pages that are in memory; 1 where that cannot be told."""
    size = path.stat().st_size
    if not size:
        return 0.0
    pages = -(-size // mmap.PAGESIZE)
    seen = (ctypes.c_ubyte * pages)()
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, flags=mmap.MAP_PRIVATE) as mapped:
        start = ctypes.c_char.from_buffer(mapped)
        try:
            mincore = ctypes.CDLL(None, use_errno=True).mincore
            done = mincore(ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(size), seen)
        except (AttributeError, OSError):
            return 1.0
        finally:
            del start
    return sum(one & 1 for one in seen) / pages if done == 0 else 1.0
