"""Files in a row, as xarray's decoding wants them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from xarray import Variable
from xarray.backends.common import AbstractDataStore
from xarray.core import indexing

from hpclaunch.storage.engine import HpclaunchDataStore
from hpclaunch.storage.join import Joined
from hpclaunch.storage.joined import JoinedArray
from hpclaunch.storage.lazy import LazyArray

__all__ = ["JoinedDataStore"]


class JoinedDataStore(AbstractDataStore):
    """The first file's variables; those with the dimension of the row go on in the others.

    Parameters
    ----------
    stores : sequence of HpclaunchDataStore
        In the order of the row.
    joined : Joined
    """

    def __init__(self, stores: Sequence[HpclaunchDataStore], joined: Joined) -> None:
        self.stores = stores
        self.joined = joined

    @property
    def token(self) -> str:
        """A word that is another one for other files, and for the same files changed."""
        identities = repr([(store.index.identity, store.group.path) for store in self.stores])
        return hashlib.sha256(identities.encode()).hexdigest()[:32]

    def get_variables(self) -> dict[str, Variable]:
        """The variables, not decoded, their values lazy."""
        found = self.stores[0].get_variables()
        for name in self.joined.along:
            variable = found[name]
            data = self._joined(name, variable.dims.index(self.joined.dim))
            encoding = {**variable.encoding, "original_shape": data.shape}
            found[name] = Variable(variable.dims, data, variable.attrs, encoding)
        return found

    def _joined(self, name: str, axis: int) -> Any:
        """A variable of all files; its values where the indexes have them all."""
        parts = [store.group.variables[name] for store in self.stores]
        known = [one.values for one in parts if one.values is not None]
        if len(known) == len(parts):
            return np.concatenate(known, axis)
        lazy: Any = JoinedArray(
            [LazyArray(store.origin, one) for store, one in zip(self.stores, parts, strict=True)],
            axis,
        )
        return indexing.LazilyIndexedArray(lazy)

    def get_attrs(self) -> dict[str, Any]:
        """The attributes of the first file."""
        return self.stores[0].get_attrs()

    def get_dimensions(self) -> dict[str, int]:
        """All dimensions, that of the row with its whole length."""
        return {**self.stores[0].get_dimensions(), self.joined.dim: sum(self.joined.lengths)}

    def get_encoding(self) -> dict[str, Any]:
        """Which dimensions are unlimited."""
        return self.stores[0].get_encoding()

    def close(self) -> None:
        """Close what the HDF5 library has open for this dataset."""
        for store in self.stores:
            store.close()
