"""Files in a row, as xarray's decoding wants them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray
from xarray import Coordinates, Variable, conventions
from xarray.backends.common import AbstractDataStore
from xarray.backends.store import StoreBackendEntrypoint
from xarray.core import indexing

from hpclaunch.storage.elementwise import decode_early
from hpclaunch.storage.engine import HpclaunchDataStore
from hpclaunch.storage.joined import JoinedArray
from hpclaunch.storage.lazy import LazyArray, Origin
from hpclaunch.storage.remote import Remote
from hpclaunch.storage.row import Row

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["JoinedDataStore", "decoded", "undivided"]

_OPTION = "create_default_indexes"

_INDEXED: dict[str, Any] = (
    {_OPTION: False} if _OPTION in inspect.signature(xarray.open_dataset).parameters else {}
)
"""Tells `xarray.open_dataset`, where it can be told, that there are indexes already."""


class JoinedDataStore(AbstractDataStore):
    """The first file's variables; those with the dimension of the row go on in the others.

    Parameters
    ----------
    row : Row
    """

    def __init__(self, row: Row) -> None:
        self.row = row
        self.first = HpclaunchDataStore(row.paths[0], row.identities[0], row.group)
        self.origins = [
            Origin(identity, row.group.path, place if isinstance(place, Remote) else None)
            for place, identity in zip(row.paths, row.identities, strict=True)
        ]

    def get_variables(self) -> dict[str, Variable]:
        """The variables, not decoded, their values lazy but for those that indexes are made of."""
        found, along = self.first.get_variables(), self.row.joined.along
        for name, one in self.row.group.variables.items():
            values = one.values if one.dims == (name,) and name not in along else None
            if values is not None and values.dtype == one.dtype:
                found[name].data = np.array(values)
        for name in along:
            variable = found[name]
            data = self._joined(name, variable.dims.index(self.row.joined.dim))
            encoding = {**variable.encoding, "original_shape": data.shape}
            found[name] = Variable(variable.dims, data, variable.attrs, encoding)
        return found

    def _joined(self, name: str, axis: int) -> Any:
        """A variable of all files; its values where the indexes have them all."""
        if name in self.row.values:
            return np.array(self.row.values[name])
        one = self.row.group.variables[name]
        parts = [
            LazyArray(origin, name, one.dtype, (*one.shape[:axis], n, *one.shape[axis + 1 :]))
            for origin, n in zip(self.origins, self.row.joined.lengths, strict=True)
        ]
        lazy: Any = JoinedArray(parts, axis)
        return indexing.LazilyIndexedArray(lazy)

    def get_attrs(self) -> dict[str, Any]:
        """The attributes of the first file."""
        return self.first.get_attrs()

    def get_dimensions(self) -> dict[str, int]:
        """All dimensions, that of the row with its whole length."""
        joined = self.row.joined
        return {**self.first.get_dimensions(), joined.dim: sum(joined.lengths)}

    def get_encoding(self) -> dict[str, Any]:
        """Which dimensions are unlimited."""
        return self.first.get_encoding()


class _Entrypoint(StoreBackendEntrypoint):
    """Decodes a :class:`JoinedDataStore`."""

    def open_dataset(self, filename_or_obj: Any, **decoding: Any) -> Dataset:
        return decoded(filename_or_obj, decoding)


def undivided(store: JoinedDataStore, options: dict[str, Any]) -> Dataset:
    """The dataset of a store, without Dask, as `xarray.open_dataset` makes it."""
    source: Any = store
    return xarray.open_dataset(source, engine=_Entrypoint, chunks=None, **_INDEXED, **options)


def decoded(
    store: JoinedDataStore,
    decoding: dict[str, Any],
    divided: Callable[[dict[Any, Variable]], dict[Any, Variable]] | None = None,
) -> Dataset:
    """The dataset of a store, decoded as xarray does it, with the indexes of its coordinates.

    xarray's own entry point makes a dataset without indexes; `xarray.open_dataset` copies it and
    merges them with it, and `Dataset.chunk` copies it again: a third of the time of an opening.

    Parameters
    ----------
    store : JoinedDataStore
    decoding : dict
        Options of `xarray.conventions.decode_cf_variables`.
    divided : callable, optional
        Makes Dask arrays of the variables that have no index.
    """
    variables: Any = store.get_variables()
    variables, attrs, names = conventions.decode_cf_variables(
        variables, store.get_attrs(), **decoding
    )
    decode_early(variables.values())
    if divided is not None:
        some = {name: one for name, one in variables.items() if one.dims != (name,)}
        variables = {**variables, **divided(some)}
    data: dict[Any, Any] = {}
    coords: dict[Any, Any] = {}
    for name, variable in variables.items():
        is_coordinate = name in names or variable.dims == (name,)
        (coords if is_coordinate else data)[name] = variable
    dataset = xarray.Dataset(data, coords=Coordinates(coords), attrs=attrs)
    dataset.encoding = store.get_encoding()
    return dataset  # there is nothing to close, and a pickled one does not take the store along
