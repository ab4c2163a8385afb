"""Variables of files in a row as Dask arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from xarray import Variable
from xarray.core import indexing

from hpclaunch.storage.joined import JoinedArray

__all__ = ["Blocks", "divide"]


class Blocks:
    """What Dask takes blocks from.

    xarray puts two arrays in between that keep what is selected of a selection; for each block that
    takes as long as finding its bytes.

    Parameters
    ----------
    joined : JoinedArray
    """

    def __init__(self, joined: JoinedArray) -> None:
        self.joined = joined
        self.shape = joined.shape
        self.dtype = joined.dtype
        self.ndim = len(joined.shape)

    def __getitem__(self, key: Any) -> np.ndarray:
        """The values of a tuple of indices, each for its own dimension."""
        if not (len(key) == self.ndim and all(type(one) is slice and not one.step for one in key)):
            lazy = indexing.LazilyIndexedArray(self.joined)
            explicit = indexing.ImplicitToExplicitIndexingAdapter(lazy, indexing.OuterIndexer)
            return np.asarray(explicit[key])
        found: np.ndarray = self.joined.outer(key)
        return found


def divide(
    variables: Mapping[Any, Variable], chunks: Mapping[Any, tuple[int, ...]], ending: str
) -> dict[Any, Variable]:
    """Put variables, whose values are lazy, into Dask arrays.

    Parameters
    ----------
    variables : mapping
        By name. One without dimensions is not divided; it is read once and can be written to.
    chunks : mapping
        Dimension to the lengths of its blocks; one that is not there is not divided.
    ending : str
        Of the arrays' names: another one for other values and for other chunks.
    """
    return {
        name: _divided(one, chunks, f"hpclaunch-{name}-{ending}") for name, one in variables.items()
    }


def _divided(one: Variable, chunks: Mapping[Any, tuple[int, ...]], name: str) -> Variable:
    if not one.dims:
        return _single(one)
    if (joined := _joined(one._data)) is None:
        lengths = {dim: chunks[dim] for dim in one.dims if dim in chunks}
        return one.chunk(lengths, name=name, lock=False, inline_array=False)
    from dask.array import from_array

    each = tuple(chunks.get(dim, (n,)) for dim, n in zip(one.dims, one.shape, strict=True))
    array = from_array(Blocks(joined), each, name=name, meta=np.ndarray)
    return Variable(one.dims, array, one.attrs, one.encoding, fastpath=True)


def _single(one: Any) -> Variable:
    """A variable of one value, as `xarray.open_dataset` would have it."""
    data: Any = indexing.CopyOnWriteArray(one._data)
    cached = indexing.MemoryCachedArray(data)  # type: ignore[no-untyped-call]
    return Variable(one.dims, cached, one.attrs, one.encoding, fastpath=True)


def _joined(data: Any) -> JoinedArray | None:
    """The files' array that is all there is to these values."""
    if type(data) is not indexing.LazilyIndexedArray or not isinstance(data.array, JoinedArray):
        return None
    return data.array if data.shape == data.array.shape else None
