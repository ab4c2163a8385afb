"""A file read once for its index: names and attributes by netCDF4, addresses by h5py.

Names, dimensions, attributes and encodings are asked of xarray's own netCDF4 store, so that they
are those of engine ``netcdf4`` by construction.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from hpclaunch.errors import ChangedFile, CorruptFile, StorageError
from hpclaunch.storage.addresses import File, layout_of
from hpclaunch.storage.layout import FileIndex, Group, Identity, Layout, Variable
from hpclaunch.storage.mirror import Mirror, mirrored
from hpclaunch.storage.remote import Location, Remote, RemoteFile
from hpclaunch.storage.source import identify
from hpclaunch.storage.walk import bring, elsewhere, walk

__all__ = ["HDF5_SIGNATURE", "dataset_of", "identify", "kind_of", "scan", "start_of"]

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"

_CLASSIC = (b"CDF\x01", b"CDF\x02", b"CDF\x05")

KEPT_COORDINATE = 1 << 20
"""A dimension's coordinate up to so many bytes is kept in the index with its values."""

KEPT_ANY = 4096
"""Any variable of numbers up to so many bytes is."""

LARGEST_DECODED = 64 << 20
"""Values in chunks of more bytes than this are not read for the index."""

TICK = 0.02
"""Seconds within which two writes may leave one modification time: a tick of the kernel's clock."""

WHOLE_SECOND = 1.0
"""The same where modification times are whole seconds, as Lustre tells them."""

_OF_THE_SYSTEM = (errno.EMFILE, errno.ENFILE, errno.EIO, errno.ESTALE, errno.ENOMEM)
"""Errors that say nothing of a file's content."""


def kind_of(path: Location) -> str:
    """What a path holds: ``hdf5``, ``netcdf3``, ``zarr``, ``empty`` or ``unknown``.

    A URL is not asked: one that ends in ``.zarr`` is a Zarr store, and of all others `scan` finds
    out.

    Raises
    ------
    FileNotFoundError, PermissionError
        As the system says.
    """
    if isinstance(path, Remote):
        return "zarr" if path.url.partition("?")[0].rstrip("/").endswith(".zarr") else "hdf5"
    if Path(path).is_dir():
        marks = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")
        return "zarr" if any((Path(path) / mark).exists() for mark in marks) else "unknown"
    with Path(path).open("rb") as file:
        first = file.read(8)
        if first[:4] in _CLASSIC:
            return "netcdf3"
        if not first:
            return "empty"
        return "hdf5" if _superblock(file) is not None else "unknown"


def start_of(file: Any) -> int:
    """Where the superblock of an HDF5 file lies, which is open as a binary file."""
    found = _superblock(file)
    return 0 if found is None else found[0]


def _superblock(file: Any) -> tuple[int, int] | None:
    """Offset and version of an HDF5 file's superblock.

    It lies at 0, 512, 1024, 2048 ... (HDF5 File Format Specification 3.0, II.A).
    """
    size = file.seek(0, os.SEEK_END)
    offset = 0
    while offset + 9 <= size:
        file.seek(offset)
        found = file.read(9)
        if found[:8] == HDF5_SIGNATURE:
            return offset, found[8]
        offset = max(512, 2 * offset)
    return None


def scan(path: Location, now: Identity | None = None) -> FileIndex:
    """Read a NetCDF-4 or HDF5 file's index out of it.

    Parameters
    ----------
    path : str or Remote
    now : Identity, optional
        What was found at a URL a moment ago.

    Returns
    -------
    FileIndex

    Raises
    ------
    FileNotFoundError, PermissionError
        As the system says.
    CorruptFile
        If the HDF5 or NetCDF library cannot open or read it.
    ChangedFile
        If it was written meanwhile.
    StorageError
        If h5py or netCDF4 is not installed, or another process has locked the file.
    """
    before = _settled(path, now)
    if isinstance(path, Remote):
        with mirrored(RemoteFile(path, before)) as mirror:
            mirror.keep = False
            _check_kind(mirror, before.path)
            found = _scan(before, mirror)
            mirror.keep = any(
                one.layout.reason
                for group in found.groups.values()
                for one in group.variables.values()
            )
            return found
    found = _scan(before, None)
    if identify(path) != before:
        raise ChangedFile(f"{path} was written while its index was made")
    return found


def _check_kind(mirror: Mirror, name: str) -> None:
    """Refuse what is no HDF5 file."""
    first = mirror.read(8)
    if not first:
        raise CorruptFile(f"{name} is empty")
    if first[:4] in _CLASSIC:
        raise StorageError(
            f"{name} is a NetCDF-3 file, and is not read by its URL",
            hint="copy it to a file system, or give engine scipy what fsspec.open gives",
        )


def _scan(before: Identity, mirror: Mirror | None) -> FileIndex:
    path = before.path
    if mirror is not None:
        superblock = _superblock(mirror)
    else:
        with Path(path).open("rb") as file:
            superblock = _superblock(file)
    if superblock is None:
        raise CorruptFile(f"{path} is neither a NetCDF-4 nor an HDF5 file")
    for name in ("h5py", "netCDF4"):
        if find_spec(name) is None:
            raise StorageError(
                f"{path} has no index, and making one needs {name}, which is not installed",
                hint=f"install {name}, or make the index elsewhere: hpclaunch data index {path}",
            )
    try:
        groups, facts = _read(path, superblock, mirror)
    except (OSError, RuntimeError) as why:
        _check_fetched(mirror)
        if isinstance(why, FileNotFoundError | PermissionError):
            raise
        if getattr(why, "errno", None) in _OF_THE_SYSTEM:
            raise
        raise _refused(path, why) from why
    _check_fetched(mirror)
    return FileIndex(before, groups, superblock[1], facts)


def _check_fetched(mirror: Mirror | None) -> None:
    """Raise why bytes could not be fetched: h5py tells it in other words, or as another layout."""
    if mirror is not None and mirror.fault is not None:
        raise mirror.fault from None


def _settled(path: Location, now: Identity | None) -> Identity:
    """The file's identity, once another write would leave another modification time."""
    for again in range(4):
        if now is None or again:
            now = identify(path)
        if isinstance(path, Remote) and path.scheme == "s3":
            break  # its ETag is made of the content
        # Some file systems tell whole seconds only, and their clock may go before ours.
        tick = TICK if now.mtime_ns % 10**9 else WHOLE_SECOND
        age = time.time() - now.mtime_ns / 1e9
        if not -tick <= age < tick:
            break
        time.sleep(min(tick, tick - age))
    assert now is not None
    return now


def _refused(path: str, why: Exception) -> StorageError:
    said = " ".join(str(why).split())
    if isinstance(why, BlockingIOError) or "unable to lock file" in said:
        return StorageError(
            f"{path} is locked: another process writes to it",
            hint=f"open it when that is done; the HDF5 library says: {said}",
        )
    return CorruptFile(f"{path} cannot be read by the HDF5 library: {said}")


def _read(
    path: str, superblock: tuple[int, int], mirror: Mirror | None
) -> tuple[dict[str, Group], dict[str, Any]]:
    """Groups and facts of an HDF5 file, under the locks of both libraries."""
    import h5py
    import netCDF4
    from xarray.backends.netCDF4_ import NETCDF4_PYTHON_LOCK

    with NETCDF4_PYTHON_LOCK, h5py.File(path if mirror is None else mirror, "r") as handle:
        file = File(handle, superblock[1], superblock[0], mirror)
        if mirror is not None:
            walk(handle, mirror, file.start)
        with netCDF4.Dataset(path if mirror is None else mirror.path) as root:
            groups = {one.path: _group(one, file) for one in _groups(root)}
        return groups, _facts(handle)


def _groups(group: Any) -> Iterator[Any]:
    yield group
    for child in group.groups.values():
        yield from _groups(child)


def _facts(handle: Any) -> dict[str, Any]:
    """What the file's creation properties tell (H5Pget_file_space_strategy)."""
    from h5py import h5f

    plist = handle.id.get_create_plist()
    facts: dict[str, Any] = {"user block": int(plist.get_userblock()), "driver": handle.driver}
    facts["paged"] = plist.get_file_space_strategy()[0] == h5f.FSPACE_STRATEGY_PAGE
    if facts["paged"]:
        facts["page size"] = int(plist.get_file_space_page_size())
    return facts


def _group(group: Any, file: File) -> Group:
    from xarray.backends import netCDF4_

    xarrays: Any = netCDF4_
    store = xarrays.NetCDF4DataStore(group, lock=False)
    dims = {name: len(one) for name, one in group.dimensions.items()}
    unlimited = frozenset(n for n, one in group.dimensions.items() if one.isunlimited())
    variables = {}
    for name, one in store.get_variables().items():
        variables[name] = _variable(name, one, file, group)
        dims.update({d: n for d, n in one.sizes.items() if d not in dims})
    return Group(group.path, dims, unlimited, dict(store.get_attrs()), variables)


def _variable(name: str, one: Any, file: File, group: Any) -> Variable:
    encoding = {key: value for key, value in one.encoding.items() if key != "source"}
    dataset = dataset_of(file.handle, group.path, name)
    layout = layout_of(file, dataset, one.shape, group[name].dtype)
    values = None
    if _to_be_kept(name, one, layout) and _at_hand(file, dataset):
        with suppress(OSError, RuntimeError):  # told when they are asked for
            values = np.array(one.values)
    if values is not None and values.dtype != one.dtype:
        values = None  # of variable length: the declared type is that of an element
    return Variable(name, tuple(one.dims), one.dtype, dict(one.attrs), encoding, layout, values)


def _to_be_kept(name: str, one: Any, layout: Layout) -> bool:
    """Whether a variable's values are few, and reading them cannot take much memory.

    A chunk far longer than what it decodes to is no honest one, and it is the library that decodes
    here, without a bound.
    """
    most = KEPT_COORDINATE if one.dims == (name,) else KEPT_ANY
    if one.dtype.kind not in "iufS" or one.nbytes > most or layout.extent is not None:
        return False
    longest = int(layout.sizes.max(initial=0)) if layout.kind == "chunked" else 0
    return layout.chunk_bytes <= LARGEST_DECODED and longest <= 2 * layout.chunk_bytes + 4096


def _at_hand(file: File, dataset: Any) -> bool:
    """Whether the netCDF library will find the values: of a mirror they have to be brought."""
    if file.mirror is None:
        return True
    if dataset is None or elsewhere(dataset) is not None:
        return False
    bring(dataset, file.mirror, file.start)
    return True


def dataset_of(handle: Any, group: str, name: str) -> Any:
    """HDF5's dataset of a netCDF variable; None where it is not found.

    A variable that has a dimension's name and is not its coordinate is stored under another
    (netCDF-C, libhdf5/hdf5internal.h: NON_COORD_PREPEND).
    """
    import h5py

    inside = handle[group]
    for stored in (f"_nc4_non_coord_{name}", name):
        found = inside.get(stored)
        if isinstance(found, h5py.Dataset):
            return found
    return None
