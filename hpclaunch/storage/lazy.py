"""One variable of a file as xarray's lazy array: nothing is read until values are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from xarray.backends.common import BackendArray
from xarray.core import indexing

from hpclaunch.errors import ChangedFile, CorruptFile
from hpclaunch.storage import library, sidecar
from hpclaunch.storage.job import Decoding, fill_value
from hpclaunch.storage.layout import FileIndex, Identity, Layout, Variable
from hpclaunch.storage.remote import Location, Remote
from hpclaunch.storage.scan import identify

__all__ = ["LazyArray", "Origin"]


@dataclass(frozen=True)
class Origin:
    """Whose variable it is.

    Attributes
    ----------
    identity : Identity
        Of the file as it was opened.
    group : str
    remote : Remote or None
        Where it lies at a URL.
    """

    identity: Identity
    group: str
    remote: Remote | None = None

    @property
    def place(self) -> Location:
        """Where to read it."""
        return self.identity.path if self.remote is None else self.remote


class LazyArray(BackendArray):
    """A variable's values, read when they are selected.

    A pickled one holds the file's identity and the names of group and variable, and neither places
    nor values: where it is loaded the index is found by `sidecar.load`.

    Parameters
    ----------
    origin : Origin
    name : str
    dtype : numpy.dtype
    shape : tuple of int
    variable : Variable, optional
        Its index, where it is at hand.
    decoding : Decoding, optional
        What becomes of the stored values; `dtype` is then what comes out.
    """

    def __init__(
        self,
        origin: Origin,
        name: str,
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
        variable: Variable | None = None,
        decoding: Decoding | None = None,
    ) -> None:
        self.origin = origin
        self.name = name
        self.dtype = dtype
        self.shape = shape
        self.decoding = decoding
        self._variable = variable

    def decoded(self, decoding: Decoding) -> LazyArray:
        """The same variable, its values decoded."""
        own = (self.origin, self.name, decoding.dtype, self.shape, self._variable)
        return LazyArray(*own, decoding)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_variable": None}

    @property
    def where(self) -> str:
        """The variable for messages."""
        return f"variable {self.origin.group.rstrip('/')}/{self.name}"

    def __getitem__(self, key: Any) -> Any:
        variable = self._found()
        if variable.values is None and variable.layout.reason:
            return self._from_library(key)
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def outer(self, key: tuple[Any, ...]) -> np.ndarray:
        """What a key of one index per dimension selects, each for its own dimension."""
        variable = self._found()
        if variable.values is None and variable.layout.reason:
            found: np.ndarray = self[indexing.OuterIndexer(key)]
            return found
        return self._read(key)

    def read_into(self, key: tuple[Any, ...], out: np.ndarray) -> None:
        """Put what a key of one index per dimension selects where it is wanted.

        Parameters
        ----------
        key : tuple
            Integers, slices and arrays of integers, each for its own dimension.
        out : numpy.ndarray
            Of the selection's shape.
        """
        variable = self._found()
        as_read = self.dtype if self.decoding is not None else variable.layout.dtype
        if (
            variable.values is None
            and not variable.layout.reason
            and out.flags.c_contiguous
            and out.dtype == as_read
        ):
            self._read(key, out)
        else:
            out[...] = self.outer(key)

    def _found(self) -> Variable:
        """The variable's index; in another process it is looked for first."""
        if self._variable is None:
            index = _index(self.origin)
            if not same_state(index.identity, self.origin.identity):
                raise self._changed()
            self._variable = index.groups[self.origin.group].variables[self.name]
        return self._variable

    def _read(self, key: tuple[Any, ...], into: np.ndarray | None = None) -> np.ndarray:
        variable = self._found()
        if variable.values is not None:
            values = _outer(variable.values, key)
            return values if self.decoding is None else self.decoding.of(values)
        from hpclaunch.storage.reader import read
        from hpclaunch.storage.source import open_source
        from hpclaunch.storage.tuning import options_for

        source = open_source(self.origin.place, self.origin.identity)
        options = options_for(self.origin.place)
        try:
            found = read(
                *(source, variable.layout, key),
                where=self.where,
                options=options,
                decoding=self.decoding,
                into=into,
            )
        except (ChangedFile, CorruptFile) as error:
            if self.where in error.what:
                raise
            raise type(error)(f"{error.what} ({self.where})", hint=error.hint) from error
        if variable.layout.extent is not None:
            fill_beyond(found, variable.layout, key, self.decoding)
        return found

    def _from_library(self, key: Any) -> Any:
        origin = self.origin
        if origin.remote is not None:
            from hpclaunch.storage.remotelibrary import read

            found = read(origin.remote, origin.identity, origin.group, self.name, key, self.shape)
        else:
            self._check()
            found = library.read(origin.identity.path, origin.group, self.name, key)
            self._check()
        return found if self.decoding is None else self.decoding.of(np.asarray(found))

    def _check(self) -> None:
        """Raise if the file is not what it was; where it is mounted may differ between nodes."""
        was, now = self.origin.identity, identify(self.origin.identity.path)
        if not same_state(was, now):
            raise self._changed()

    def _changed(self) -> ChangedFile:
        return ChangedFile(
            f"{self.origin.identity.path} was changed since it was opened ({self.where})"
        )


def _index(origin: Origin) -> FileIndex:
    """The file's index; at a URL that of the state that was opened, for no request."""
    found = None if origin.remote is None else sidecar.kept(origin.identity)
    return sidecar.load(origin.place) if found is None else found


def same_state(one: Identity, other: Identity) -> bool:
    """Whether it is the same file in the same state, by whatever path."""
    return (one.size, one.mtime_ns, one.inode) == (other.size, other.mtime_ns, other.inode)


def fill_beyond(
    values: np.ndarray, layout: Layout, key: tuple[Any, ...], decoding: Decoding | None
) -> None:
    """Put the fill value where a selection lies beyond what was written.

    netCDF-C gives memory that it never set there if more than one dimension is unlimited.
    """
    fill = fill_value(layout, decoding)
    axis = 0
    for one, n, written in zip(key, layout.shape, layout.extent or (), strict=True):
        if isinstance(one, int | np.integer):
            if one % n >= written:
                values[...] = fill
            continue
        positions = np.arange(*one.indices(n)) if isinstance(one, slice) else np.asarray(one) % n
        values[(slice(None),) * axis + (positions >= written,)] = fill
        axis += 1


def _outer(values: np.ndarray, key: tuple[Any, ...]) -> np.ndarray:
    """A copy of what a key of one index per dimension selects."""
    for axis in reversed(range(values.ndim)):
        values = values[(slice(None),) * axis + (key[axis],)]
    return np.array(values)
