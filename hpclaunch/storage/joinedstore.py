"""Files in a row, as xarray's decoding wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from xarray import Variable
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

__all__ = ["JoinedBackendEntrypoint", "JoinedDataStore"]


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
        """The variables, not decoded, their values lazy."""
        found = self.first.get_variables()
        for name in self.row.joined.along:
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


class JoinedBackendEntrypoint(StoreBackendEntrypoint):
    """Decodes a :class:`JoinedDataStore`."""

    def open_dataset(self, filename_or_obj: Any, **decoding: Any) -> Dataset:
        """The dataset, decoded as xarray does it."""
        return decode_early(super().open_dataset(filename_or_obj, **decoding))
