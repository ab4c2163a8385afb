"""``xarray.open_dataset(path, engine="hpclaunch")``: engine ``netcdf4`` without its library.

The file's index gives names, attributes and encodings, xarray's own decoding makes a dataset of
them, and values are read by :mod:`hpclaunch.storage.reader` when they are asked for. What is not
decoded here is read by the HDF5 library, variable by variable; what is no HDF5 file at all goes to
the engine that it belongs to.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from xarray import Variable
from xarray.backends.common import AbstractDataStore, BackendEntrypoint
from xarray.backends.store import StoreBackendEntrypoint
from xarray.core import indexing

from hpclaunch.errors import CorruptFile, StorageError
from hpclaunch.storage import sidecar
from hpclaunch.storage.elementwise import decode_early
from hpclaunch.storage.layout import FileIndex, Group, Identity
from hpclaunch.storage.lazy import LazyArray, Origin
from hpclaunch.storage.remote import Location, Remote, is_url, located
from hpclaunch.storage.scan import kind_of

if TYPE_CHECKING:
    from xarray import Dataset, DataTree

__all__ = ["HpclaunchBackendEntrypoint", "HpclaunchDataStore"]


class HpclaunchDataStore(AbstractDataStore):
    """One group of an indexed file, as xarray's decoding wants it.

    Parameters
    ----------
    path : str or Remote
        As it was asked for, absolute; it becomes ``encoding["source"]``.
    identity : Identity
        Of the file.
    group : Group
    """

    def __init__(self, path: Location, identity: Identity, group: Group) -> None:
        remote = path if isinstance(path, Remote) else None
        self.path = path.name if isinstance(path, Remote) else path
        self.group = group
        self.origin = Origin(identity, group.path, remote)

    def get_variables(self) -> dict[str, Variable]:
        """The variables, not decoded, their values lazy."""
        found = {}
        for name, one in self.group.variables.items():
            lazy = LazyArray(self.origin, name, one.dtype, one.shape, one)
            encoding = _own(one.encoding)
            shape = encoding.pop("original_shape", None)
            encoding["source"] = self.path
            encoding["original_shape"] = shape if shape is not None else lazy.shape
            data = indexing.LazilyIndexedArray(lazy)
            found[name] = Variable(one.dims, data, _own(one.attrs), encoding)
        return found

    def get_attrs(self) -> dict[str, Any]:
        """The group's attributes."""
        return _own(self.group.attrs)

    def get_dimensions(self) -> dict[str, int]:
        """The group's dimensions."""
        return dict(self.group.dims)

    def get_encoding(self) -> dict[str, Any]:
        """Which dimensions are unlimited."""
        return {"unlimited_dims": set(self.group.unlimited)}


def _own(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values that whoever opens the file may change; the index is shared."""
    return {
        key: copy.deepcopy(value) if isinstance(value, np.ndarray | list | dict) else value
        for key, value in values.items()
    }


def _missing(group: str, index: FileIndex) -> str:
    """The first part of a group's path that is not there."""
    path = ""
    for part in group.strip("/").split("/"):
        path += f"/{part}"
        if path not in index.groups:
            return part
    return group


class HpclaunchBackendEntrypoint(BackendEntrypoint):
    """Engine ``hpclaunch``: NetCDF-4 and HDF5 files read outside of the HDF5 library's lock.

    It is used where it is named, ``engine="hpclaunch"``; it takes no file from other engines.
    """

    description: ClassVar[str] = "Read NetCDF-4 and HDF5 files in parallel, without HDF5's lock"
    url: ClassVar[str] = ""
    supports_groups: ClassVar[bool] = True

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Never: other engines keep the files that they open by default."""
        return False

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        mask_and_scale: Any = True,
        decode_times: Any = True,
        concat_characters: Any = True,
        decode_coords: Any = True,
        drop_variables: str | Iterable[str] | None = None,
        use_cftime: Any = None,
        decode_timedelta: Any = None,
        group: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> Dataset:
        """Open one group of a file; as engine ``netcdf4`` does, value for value.

        `storage_options` are those of fsspec's file system, where the file is named by a URL.

        Raises
        ------
        FileNotFoundError, PermissionError
            As the system says.
        CorruptFile, ChangedFile, StorageError
            If it cannot be read.
        """
        decoding = {
            "mask_and_scale": mask_and_scale,
            "decode_times": decode_times,
            "concat_characters": concat_characters,
            "decode_coords": decode_coords,
            "drop_variables": drop_variables,
            "use_cftime": use_cftime,
            "decode_timedelta": decode_timedelta,
        }
        path = _located(filename_or_obj, storage_options)
        index = _index_of(path)
        if isinstance(index, str):
            where, more = _for_another(path)
            opened: Dataset = _engine(index).open_dataset(where, group=group, **decoding, **more)
            return opened
        return _decoded(path, index, _absolute(group), decoding)

    def open_datatree(self, filename_or_obj: Any, **options: Any) -> DataTree:
        """Open all groups of a file, or those below `group`, as a tree.

        The options are those of `open_dataset`.
        """
        from xarray import DataTree

        groups = self.open_groups_as_dict(filename_or_obj, **options)
        tree = DataTree.from_dict(groups)
        for path, dataset in groups.items():
            tree[path].set_close(dataset._close)
        return tree

    def open_groups_as_dict(
        self,
        filename_or_obj: Any,
        *,
        group: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
        **decoding: Any,
    ) -> dict[str, Dataset]:
        """Open all groups of a file, or those below `group`, each as a dataset by its path."""
        path = _located(filename_or_obj, storage_options)
        index = _index_of(path)
        if isinstance(index, str):
            where, more = _for_another(path)
            opened = _engine(index).open_groups_as_dict(where, group=group, **decoding, **more)
            return dict(opened)
        top = _absolute(group)
        if top not in index.groups:
            raise OSError(f"group not found: {_missing(top, index)}")
        below = top.rstrip("/") + "/"
        return {
            _relative(one, top) if group else one: _decoded(path, index, one, decoding)
            for one in index.groups
            if one == top or one.startswith(below)
        }


def _decoded(path: Location, index: FileIndex, group: str, decoding: dict[str, Any]) -> Dataset:
    if group not in index.groups:
        raise OSError(f"group not found: {_missing(group, index)}")
    store = HpclaunchDataStore(path, index.identity, index.groups[group])
    dataset = StoreBackendEntrypoint().open_dataset(store, **decoding)
    decode_early(dataset.variables.values())
    return dataset


def _absolute(group: str | None) -> str:
    return "/" + (group or "").strip("/")


def _relative(group: str, top: str) -> str:
    return group.removeprefix(top.rstrip("/")).strip("/") or "."


def _located(filename_or_obj: Any, storage_options: Mapping[str, Any] | None) -> Location:
    """The absolute path, as xarray's engines make it, or the URL."""
    if isinstance(filename_or_obj, os.PathLike):
        filename_or_obj = os.fspath(filename_or_obj)
    if not isinstance(filename_or_obj, str):
        raise TypeError(
            f"engine hpclaunch opens files by their path, not {type(filename_or_obj).__name__}; "
            "engines h5netcdf and netcdf4 open file objects and bytes"
        )
    if not is_url(filename_or_obj):
        filename_or_obj = os.path.abspath(os.path.expanduser(filename_or_obj))  # noqa: PTH100, PTH111
    return located(filename_or_obj, storage_options)


def _for_another(path: Location) -> tuple[str, dict[str, Any]]:
    """A path or URL for another engine, and the options that go with it."""
    if isinstance(path, str):
        return path, {}
    return path.url, {"storage_options": dict(path.options)} if path.options else {}


def _index_of(path: Location) -> FileIndex | str:
    """A file's index, or the name of the engine that it belongs to."""
    found = sidecar.cached(path) if isinstance(path, str) else None
    if found is not None:
        return found
    kind = kind_of(path)
    if kind == "hdf5":
        return sidecar.load(path)
    if kind == "empty":
        raise CorruptFile(f"{path} is empty")
    if kind == "unknown":
        raise CorruptFile(
            f"{path} is neither a NetCDF nor an HDF5 file nor a Zarr store",
            hint="engine hpclaunch reads NetCDF-4 and HDF5; `file PATH` tells what it is",
        )
    return {"netcdf3": "netcdf4", "zarr": "zarr"}[kind]


def _engine(name: str) -> Any:
    from xarray.backends import list_engines

    found = list_engines().get(name)
    if found is None:
        raise StorageError(f"xarray has no engine {name!r} here", hint=f"install {name}")
    return found
