"""The index of a file, kept: in this process, and as a file of a cache directory.

The directory is ``$HPCLAUNCH_INDEX_CACHE``, else ``hpclaunch/index`` of ``$XDG_CACHE_HOME`` or of
``~/.cache``; never beside the data. A sidecar's name comes from the data file's real path. It is
believed if it is whole, belongs to this user and was made of a file with this path, size,
modification time and inode: that costs one stat of the data file, which is not opened. Everything
else is made anew. It is written under another name and renamed, so that two who make it at once
do not disturb each other, and a cache directory that is full or read only is no error.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hpclaunch.errors import StorageError
from hpclaunch.storage.indexformat import Damaged, Unkeepable, decode, encode
from hpclaunch.storage.layout import FileIndex, Identity
from hpclaunch.storage.remote import Location, Remote, located
from hpclaunch.storage.scan import identify, scan

__all__ = ["cache_directory", "cached", "forget", "keep", "kept", "load", "sidecar_of"]

MEMORY = 128 << 20
"""Bytes of sidecars whose indexes a process keeps."""

_ROOT = 0
_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


def cache_directory() -> Path:
    """Where sidecars are kept, for this process's environment."""
    return Path(_directory())


def _directory() -> str:
    chosen = os.environ.get("HPCLAUNCH_INDEX_CACHE")
    if chosen:
        return chosen
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    return f"{home}/hpclaunch/index"


def sidecar_of(real: str, directory: Path | None = None) -> Path:
    """The sidecar of a file by its real path; it need not be there."""
    return Path(_sidecar(real, directory))


def _sidecar(real: str, directory: Path | None) -> str:
    name = hashlib.sha256(os.fsencode(real)).hexdigest()
    return f"{_directory() if directory is None else directory}/{name[:2]}/{name[2:34]}"


class _Memory:
    """The indexes that were used last, up to a number of bytes of their sidecars."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._kept: OrderedDict[tuple[str, Path | None], tuple[FileIndex, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, now: Identity, directory: Path | None) -> FileIndex | None:
        key = (now.path, directory)
        with self._lock:
            found = self._kept.get(key)
            if found is None or found[0].identity != now:
                return None
            self._kept.move_to_end(key)
            return found[0]

    def put(self, index: FileIndex, directory: Path | None, size: int) -> None:
        key = (index.identity.path, directory)
        with self._lock:
            self._bytes -= self._kept.pop(key, (None, 0))[1]
            self._kept[key] = (index, size)
            self._bytes += size
            while self._bytes > self.most and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1][1]

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()
            self._bytes = 0


_memory = _Memory(MEMORY)
_building = threading.Lock()


def _after_fork() -> None:
    """A child of a fork has none of the threads that may have held these."""
    global _memory, _building
    _memory, _building = _Memory(MEMORY), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def load(
    path: Location,
    *,
    build: bool = True,
    directory: Path | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> FileIndex:
    """The index of a file: from this process, from its sidecar, or made of the file.

    Parameters
    ----------
    path : str or Remote
        Of a NetCDF-4 or HDF5 file; or its URL.
    build : bool, default True
        Whether it may be made, and then kept as a sidecar.
    directory : pathlib.Path, optional
        Of the sidecars, instead of `cache_directory`.
    storage_options : mapping, optional
        For fsspec's file system, with a URL.

    Returns
    -------
    FileIndex
        Of the file as it is now. Its arrays are not to be written to.

    Raises
    ------
    FileNotFoundError, PermissionError
        As the system says.
    StorageError
        If there is none and `build` is false.
    CorruptFile, ChangedFile
        As `scan` does.
    """
    if isinstance(path, str):
        path = located(path, storage_options)
    now = identify(path)
    found = _find(now, directory)
    if found is not None:
        return found
    if not build:
        raise StorageError(
            f"there is no index of {now.path}", hint=f"make it: hpclaunch data index {now.path}"
        )
    with _building:
        if isinstance(path, str):
            now = identify(path)
        found = _find(now, directory)
        if found is None:
            found = scan(path, now) if isinstance(path, Remote) else scan(path)
            _memory.put(found, directory, _save(found, directory))
    return found


def cached(path: Location, directory: Path | None = None) -> FileIndex | None:
    """The index of a file as it is now, if there is one; the file is not opened.

    Raises
    ------
    FileNotFoundError, PermissionError
        As the system says.
    """
    return _find(identify(path), directory)


def keep(index: FileIndex) -> None:
    """Keep what is no file's index by the name and number that its identity gives it."""
    _memory.put(index, None, _save(index, None))


def kept(name: Identity) -> FileIndex | None:
    """What was kept by that name and number."""
    return _find(name, None)


def forget() -> None:
    """Let go of all indexes that this process keeps; sidecars stay."""
    _memory.clear()


def _find(now: Identity, directory: Path | None) -> FileIndex | None:
    found = _memory.get(now, directory)
    if found is None:
        data = _bytes_of(_sidecar(now.path, directory))
        if data is None:
            return None
        with suppress(Damaged):
            index = decode(data)
            if index.identity == now:
                _memory.put(index, directory, len(data))
                found = index
    return found


def _bytes_of(sidecar: str) -> bytes | None:
    """What a sidecar of this user (or of root) holds."""
    try:
        handle = os.open(sidecar, _READ)
    except OSError:
        return None
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            return None
        if hasattr(os, "geteuid") and about.st_uid not in (os.geteuid(), _ROOT):
            return None
        return _read(handle, about.st_size)
    except OSError:
        return None
    finally:
        os.close(handle)


def _read(handle: int, size: int) -> bytes:
    data = os.read(handle, size)
    while len(data) < size:  # one read gives 2 GiB at most
        more = os.read(handle, size - len(data))
        if not more:
            break
        data += more
    return data


def _save(index: FileIndex, directory: Path | None) -> int:
    """Write a sidecar, if that can be done. The bytes it has or would have."""
    sidecar = sidecar_of(index.identity.path, directory)
    try:
        data = encode(index)
    except Unkeepable:
        return 1 << 20
    temporary = None
    try:
        sidecar.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=sidecar.parent, prefix=".new-")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).replace(sidecar)
    except OSError:
        if temporary is not None:
            with suppress(OSError):
                Path(temporary).unlink()
    return len(data)
