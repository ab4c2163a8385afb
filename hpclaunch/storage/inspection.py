"""Look at a file: where it lies, and how it is laid out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpclaunch.errors import StorageError
from hpclaunch.storage import filesystem, sidecar
from hpclaunch.storage.decode import decoders
from hpclaunch.storage.describe import FileFacts, describe
from hpclaunch.storage.layout import FileIndex
from hpclaunch.storage.places import Place, Reading, reading_options
from hpclaunch.storage.remote import Location, located, name_of
from hpclaunch.storage.scan import kind_of

__all__ = ["Inspection", "inspect"]

_ENGINES = {
    "netcdf3": ("a NetCDF-3 file: it has no chunks and no compression", "scipy or netcdf4"),
    "zarr": ("a Zarr store", "zarr"),
}


@dataclass(frozen=True, eq=False)
class Inspection:
    """What is known of a file.

    Attributes
    ----------
    place : Place
    reading : Reading
        How the reader cuts its requests there.
    facts : FileFacts
    index : FileIndex
    decoders : dict
        What undoes each filter here, such as ``{"deflate": "libdeflate (deflate 0.9.0)"}``.
    """

    place: Place
    reading: Reading
    facts: FileFacts
    index: FileIndex
    decoders: Mapping[str, str]


def inspect(
    path: str | os.PathLike[str], *, storage_options: Mapping[str, Any] | None = None
) -> Inspection:
    """Look at a NetCDF-4 or HDF5 file. Its index is kept in the cache, as when it is opened.

    A URL is taken too; `storage_options` are for fsspec's file system then.

    Raises
    ------
    FileNotFoundError, PermissionError
        As the system says.
    StorageError
        If the file was migrated to tape, or is of another kind.
    CorruptFile
        If the HDF5 library cannot read it.
    """
    text = os.fspath(path)
    place = filesystem.place(text)
    if place.offline == "yes":
        raise StorageError(
            f"{text} was migrated to tape, and is not touched: a read would wait for its recall",
            hint="have it recalled first, by the site's command (`lfs hsm_restore`, `dsmrecall`)",
        )
    where = located(text, storage_options)
    _check_kind(where)
    index = sidecar.load(place.path if isinstance(where, str) else where)
    return Inspection(place, reading_options(place), describe(index), index, decoders())


def _check_kind(place: Location) -> None:
    kind, path = kind_of(place), name_of(place)
    if kind in _ENGINES:
        what, engine = _ENGINES[kind]
        raise StorageError(f"{path} is {what}", hint=f"xarray reads it with engine {engine}")
    if kind == "hdf5":
        return
    if Path(path).is_dir():
        raise StorageError(f"{path} is a directory", hint="name files")
    what = "empty" if kind == "empty" else "neither a NetCDF-4 nor an HDF5 file"
    raise StorageError(f"{path} is {what}", hint="is it whole, and is it the file that you mean?")
