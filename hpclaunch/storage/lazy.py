"""One variable of a file as xarray's lazy array: nothing is read until values are asked for."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from xarray.backends.common import BackendArray
from xarray.core import indexing

from hpclaunch.errors import ChangedFile
from hpclaunch.storage import sidecar
from hpclaunch.storage.layout import Identity, Variable
from hpclaunch.storage.scan import identify

__all__ = ["LazyArray", "Library"]


class Library:
    """The HDF5 library's way to one group of a file, opened when a value is first asked of it.

    Parameters
    ----------
    path : str
    group : str
    """

    def __init__(self, path: str, group: str) -> None:
        self.path = path
        self.group = group
        self._store: Any = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return Library, (self.path, self.group)

    def array(self, name: str) -> Any:
        """xarray's own lazy array of engine ``netcdf4`` for a variable."""
        from xarray.backends import netCDF4_

        xarrays: Any = netCDF4_
        with self._lock:
            if self._store is None:
                self._store = xarrays.NetCDF4DataStore.open(self.path, group=self.group)
        return xarrays.NetCDF4ArrayWrapper(name, self._store)

    def close(self) -> None:
        """Close what was opened; it is opened anew where a value is asked for later."""
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None


class LazyArray(BackendArray):
    """A variable's values, read when they are selected.

    A pickled one holds the file's identity and the names of group and variable, and neither places
    nor values: where it is loaded the index is found by `sidecar.load`.

    Parameters
    ----------
    identity : Identity
        Of the file as it was opened.
    library : Library
        Its path is the one that was opened, its group the variable's.
    variable : Variable
    """

    def __init__(self, identity: Identity, library: Library, variable: Variable) -> None:
        self.identity = identity
        self.library = library
        self.name = variable.name
        self.dtype = variable.dtype
        self.shape = variable.shape
        self._variable: Variable | None = variable
        self._array: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_variable": None, "_array": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    @property
    def where(self) -> str:
        """The variable for messages."""
        return f"variable {self.library.group.rstrip('/')}/{self.name}"

    def __getitem__(self, key: Any) -> Any:
        variable = self._found()
        if variable.values is None and variable.layout.reason:
            return self._from_library(key)
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _found(self) -> Variable:
        """The variable's index; in another process it is looked for first."""
        if self._variable is None:
            index = sidecar.load(self.identity.path)
            if index.identity != self.identity:
                raise self._changed()
            self._variable = index.groups[self.library.group].variables[self.name]
        return self._variable

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        variable = self._found()
        if variable.values is not None:
            return _outer(variable.values, key)
        from hpclaunch.storage.reader import read
        from hpclaunch.storage.source import open_source
        from hpclaunch.storage.tuning import options_for

        source: Any = open_source(self.identity.path, self.identity)
        options = options_for(self.identity.path)
        return read(source, variable.layout, key, where=self.where, options=options)

    def _from_library(self, key: Any) -> Any:
        if identify(self.identity.path) != self.identity:
            raise self._changed()
        return self.library.array(self.name)[key]

    def _changed(self) -> ChangedFile:
        return ChangedFile(f"{self.identity.path} was changed since it was opened ({self.where})")


def _outer(values: np.ndarray, key: tuple[Any, ...]) -> np.ndarray:
    """A copy of what a key of one index per dimension selects."""
    for axis in reversed(range(values.ndim)):
        values = values[(slice(None),) * axis + (key[axis],)]
    return np.array(values)
