"""The file that is being written: under a hidden name until it is whole, chunk by chunk.

Nothing is seen under the final name before every byte is on the disk: the file is made beside it,
flushed with fsync, and renamed. What fails on the way removes it again; only a process that is
killed outright leaves a ``.NAME.RANDOM.part``, which may be deleted.
"""

from __future__ import annotations

import errno
import math
import os
import secrets
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hpclaunch.errors import StorageError
from hpclaunch.storage.encode import KNOWN, Plan, Stored
from hpclaunch.storage.layout import Filter

__all__ = ["ChunkFile", "checked_target", "no_room", "part_file", "said"]

NO_ROOM = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota is used up"}
WORDLESS = ("HDF error", "file write failed")
"""What netCDF and HDF5 on MPI-IO say when writing fails, whatever the reason."""


def checked_target(path: str | os.PathLike[str], overwrite: bool = True) -> Path:
    """The real path to write to.

    Raises
    ------
    StorageError
        If it is a directory, a device or a pipe, or exists and must not be replaced.
    FileNotFoundError, NotADirectoryError, PermissionError
        If its directory is missing, no directory or not writable, or it is itself protected
        against writing.
    """
    target = Path(os.fspath(path)).expanduser().resolve()
    folder = target.parent
    if not folder.exists():
        raise FileNotFoundError(errno.ENOENT, "there is no such directory to write to", str(folder))
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "this is no directory", str(folder))
    if target.is_dir():
        raise StorageError(f"{target} is a directory", hint="give the name of a file in it")
    if target.exists() and not overwrite:
        raise _exists(target)
    if target.exists() and not target.is_file():
        raise StorageError(
            f"{target} is no regular file", hint="devices and pipes are not replaced: name a file"
        )
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "this file is protected against writing", str(target))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "this directory is not writable", str(folder))
    return target


def _exists(target: Path) -> StorageError:
    return StorageError(f"{target} exists", hint="--overwrite or overwrite=True replaces it")


@contextmanager
def part_file(target: Path, overwrite: bool = True) -> Iterator[Path]:
    """An empty file beside the target, that takes its name when the block ends well.

    Meanwhile only its owner may read it. In the end it has the permissions and, where that is
    allowed, the group of the file that it replaces, or those of any new file there.

    Raises
    ------
    StorageError
        If the disk is full, or the target came into being meanwhile and must not be replaced.
    """
    part = target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}.part")
    try:
        mode = _created(part)
        yield part
        _flushed(part, target, mode)
        _named(part, target, overwrite)
        _flush_folder(target.parent)
    except BaseException as error:
        told = _told(error, target) if isinstance(error, OSError | RuntimeError) else None
        with suppress(OSError):
            part.unlink()
        if told is not None:
            raise told from error
        raise


def _created(part: Path) -> int:
    """Make the file, closed to others; the permissions that the system would give to it."""
    descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
    return mode


def _flushed(part: Path, target: Path, mode: int) -> None:
    descriptor = os.open(part, os.O_RDWR)
    try:
        with suppress(FileNotFoundError):
            mode = _kept(descriptor, target.stat())
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _kept(descriptor: int, older: os.stat_result) -> int:
    """Give a file the group of an older one; the permissions that it shall have.

    Where the group may not be given, this user's own may do no more than everybody.
    """
    with suppress(OSError):
        os.fchown(descriptor, -1, older.st_gid)
    mode = older.st_mode & 0o777
    if os.fstat(descriptor).st_gid != older.st_gid:
        mode &= 0o707 | (mode & 0o007) << 3
    return mode


def _named(part: Path, target: Path, overwrite: bool) -> None:
    """Give the file its name; a name that is taken is replaced only where it may be."""
    if overwrite:
        part.replace(target)
        return
    try:
        os.link(part, target)
    except FileExistsError:
        if not part.samefile(target):  # NFS may tell of a link that it made itself
            raise _exists(target) from None
    except OSError:  # no second names here
        if target.exists():
            raise _exists(target) from None
        part.replace(target)
        return
    part.unlink()


def _flush_folder(folder: Path) -> None:
    with suppress(OSError):  # some filesystems refuse to flush a directory
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def said(error: BaseException) -> int | None:
    """The errno of an error of the system, of HDF5 or of netCDF, where one is told."""
    number = getattr(error, "errno", None)
    if isinstance(number, int) and number > 0:
        return number
    text = str(error)
    known = [n for n in (*NO_ROOM, errno.EFBIG) if f"errno = {n}," in text]
    return known[0] if known else None


def no_room(error: BaseException, folder: Path | None = None) -> str:
    """Why there was no room for what failed with this error; "" where that was not the reason.

    Parameters
    ----------
    error : BaseException
    folder : Path, optional
        Where it was written: the free space is looked at where the error says nothing of it.
    """
    number = said(error)
    if number in NO_ROOM:
        return NO_ROOM[number]
    if number is None and folder is not None and any(one in str(error) for one in WORDLESS):
        with suppress(OSError, AttributeError):
            free = os.statvfs(folder)
            if free.f_bavail * free.f_frsize < 2**20:
                return NO_ROOM[errno.ENOSPC]
    return ""


def _told(error: BaseException, target: Path) -> StorageError | None:
    number = said(error)
    if why := no_room(error, target.parent):
        return StorageError(
            f"{target} was not written: {why}",
            hint="make room or write elsewhere; nothing is left behind, an older file is as it was",
        )
    if number == errno.EFBIG:
        return StorageError(
            f"{target} was not written: it became larger than this process may write",
            hint="`ulimit -f` shows the limit on the size of a file",
        )
    return None


class ChunkFile:
    """The chunked datasets of one file, into which encoded chunks are put, one at a time.

    Each call holds xarray's lock of the HDF5 library, which netCDF4 and h5py may share, until its
    last handle is closed. Blocks that are read by xarray's engines at the same time take it too.

    Parameters
    ----------
    part : Path
        A file with its datasets made, and no one else's.
    """

    def __init__(self, part: Path) -> None:
        import h5py
        from xarray.backends.locks import HDF5_LOCK

        self._library: Any = HDF5_LOCK
        self._lock = threading.Lock()
        self._open = True
        self._datasets: dict[str, Any] = {}
        self.chunks = 0
        self.stored = 0
        with self._library:
            self._file = h5py.File(part, "r+", locking=False)

    def plan(self, path: str, shape: tuple[int, ...]) -> Plan | str | None:
        """How a netCDF variable's chunks are made, or why they are left to the HDF5 library.

        None where the file has no such dataset.
        """
        with self._library:
            return self._plan(path, shape)

    def _plan(self, path: str, shape: tuple[int, ...]) -> Plan | str | None:
        found = self._find(path)
        return None if found is None else _plan_of(found, shape)

    def extend(self, sizes: dict[str, int]) -> None:
        """Give unlimited dimensions that no variable of their own describes their length."""
        with self._library:
            for path, size in sizes.items():
                self._extend(path, size)

    def _extend(self, path: str, size: int) -> None:
        scale = self._file.get(path)
        if scale is not None and scale.maxshape == (None,) and scale.shape[0] < size:
            scale.resize((size,))

    def put(self, plan: Plan, chunk: Stored) -> None:
        """Write one chunk. Thread-safe; HDF5 allows one at a time."""
        with self._lock, self._library:
            if not self._open:
                raise StorageError(f"{plan.path} is written no more: the file was closed")
            self._dataset(plan).id.write_direct_chunk(chunk.origin, chunk.data)
            self.chunks += 1
            self.stored += len(chunk.data)

    def _find(self, path: str) -> Any:
        """The dataset of a netCDF variable, or None: netCDF prefixes some names."""
        folder, _, name = path.rpartition("/")
        for candidate in (path, f"{folder}/_nc4_non_coord_{name}"):
            found = self._file.get(candidate)
            if found is not None and hasattr(found, "chunks"):
                return found
        return None

    def _dataset(self, plan: Plan) -> Any:
        found = self._datasets.get(plan.path)
        if found is None:
            found = self._datasets[plan.path] = self._find(plan.path)
            if found.shape != plan.shape:
                found.resize(plan.shape)  # of an unlimited dimension
        return found

    def grow(self, plan: Plan) -> None:
        """Give a variable its shape, if it has unlimited dimensions."""
        with self._lock, self._library:
            self._dataset(plan)

    def check(self, plan: Plan) -> int:
        """Compare the number of chunks in the file with what it has to be.

        Returns
        -------
        int
            The bytes that they take.

        Raises
        ------
        StorageError
            If they differ.
        """
        expected = math.prod(plan.grid)
        with self._library:
            identifier = self._dataset(plan).id
            found, stored = identifier.get_num_chunks(), identifier.get_storage_size()
        if found != expected:
            raise StorageError(
                f"{plan.path} has {found} of its {expected} chunks",
                hint="this is a fault of hpclaunch: please report it",
            )
        return int(stored)

    def close(self) -> None:
        with self._lock, self._library:
            if self._open:
                self._open = False
                self._datasets.clear()
                self._file.close()

    def abandon(self) -> None:
        """Close, whatever happens: the file is to be removed."""
        with suppress(Exception):
            self.close()


def _plan_of(dataset: Any, shape: tuple[int, ...]) -> Plan | str:
    import h5py

    if dataset.chunks is None:
        return "it is not chunked"
    if dataset.dtype.kind not in "iuf" or h5py.check_enum_dtype(dataset.dtype):
        return f"values of type {dataset.dtype} are written by the HDF5 library"
    settings = dataset.id.get_create_plist()
    filters = []
    for i in range(settings.get_nfilters()):
        number, _, options, name = settings.get_filter(i)
        if number not in KNOWN:
            return f"filter {name.decode() or number} is applied by the HDF5 library"
        filters.append(Filter(number, name.decode(), tuple(int(o) for o in options)))
    fill = dataset.dtype.type(dataset.fillvalue).astype(dataset.dtype).tobytes()
    return Plan(dataset.name, shape, dataset.chunks, dataset.dtype, fill, tuple(filters))
