"""Everything of a file but its large values, made by xarray itself and so what xarray makes.

xarray encodes lazily. Its own writer sets dimensions, attributes and variables, writes what is in
memory, and hands back the variables made of Dask blocks, encoded but not computed.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpclaunch.errors import StorageError
from hpclaunch.storage.chunking import Access, chunk_shape

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "COMPRESSIONS",
    "Pending",
    "Skeleton",
    "expected_size",
    "make_skeleton",
    "series_axis",
    "with_encodings",
]

COMPRESSIONS = ("zlib", "szip", "bzip2", "blosc", "zstd", "compression")
LOSSY = ("least_significant_digit", "significant_digits")
"""Encodings by which netCDF rounds values while it writes them."""

SETTINGS = threading.Lock()
"""Dask's settings are of the whole process, and are not put back rightly by two threads at once."""


@dataclass(frozen=True, eq=False)
class Pending:
    """A variable that is made in the file and not yet filled.

    Attributes
    ----------
    name : str
    dims : tuple
    source : dask.array.Array
        Encoded, with the stored dtype.
    target : object
        xarray's own target, for the plain way.
    lossy : bool
        netCDF rounds the values, so that only it may write them.
    """

    name: str
    dims: tuple[Hashable, ...]
    source: Any
    target: Any
    lossy: bool


@dataclass(frozen=True, eq=False)
class Skeleton:
    """A file with all but the values of `pending`; closed, and opened again by what fills it."""

    store: Any
    pending: tuple[Pending, ...]

    def close(self) -> None:
        self.store.close()


def with_encodings(
    dataset: xr.Dataset,
    given: Mapping[Hashable, Mapping[str, Any]],
    access: Access | None,
    level: int | None,
    unlimited: Iterable[Hashable],
) -> tuple[xr.Dataset, dict[Hashable, dict[str, Any]]]:
    """Choose chunks and compression for the variables that are made of Dask blocks.

    Returns
    -------
    (xarray.Dataset, dict)
        A shallow copy whose variables carry their encodings, and the encodings for the variables
        that `given` names: those replace the variable's own, as in xarray.
    """
    copy = dataset.copy(deep=False)
    asked = {name: dict(one) for name, one in given.items()}
    free = set(unlimited)
    for name, variable in copy.variables.items():
        if variable.chunks is None or not variable.size or not variable.ndim:
            continue
        mine = asked.get(name, variable.encoding)
        itemsize = _itemsize(variable, mine)
        if itemsize is None:
            continue
        _choose_chunks(copy, variable, mine, name in asked, access, itemsize, free)
        if level is not None and not _names_compression(mine, name in asked):
            _set_level(mine, level)
    return copy, asked


def _choose_chunks(
    dataset: xr.Dataset,
    variable: xr.Variable,
    mine: dict[str, Any],
    explicit: bool,
    access: Access | None,
    itemsize: int,
    free: set[Hashable],
) -> None:
    if explicit and (mine.get("chunksizes") is not None or mine.get("contiguous")):
        return
    if not explicit and access is None and _chunks_of_its_file(variable, free):
        return
    for key in ("contiguous", "preferred_chunks", "original_shape"):
        mine.pop(key, None)
    mine["chunksizes"] = chunk_shape(
        variable.shape,
        itemsize,
        access or "all",
        along=series_axis(dataset, variable, free),
        blocks=variable.chunks,
    )


def _chunks_of_its_file(variable: xr.Variable, free: set[Hashable]) -> bool:
    """Whether the encoding holds a chunk shape that xarray would keep."""
    chunks = variable.encoding.get("chunksizes")
    if chunks is None or len(chunks) != variable.ndim:
        return False
    if variable.encoding.get("original_shape", variable.shape) != variable.shape:
        return False
    return all(
        c <= n or dim in free
        for c, n, dim in zip(chunks, variable.shape, variable.dims, strict=True)
    )


def series_axis(dataset: xr.Dataset, variable: xr.Variable, free: set[Hashable]) -> int:
    """The dimension of time: by its coordinate's type, its name, or that it is unlimited."""
    dims = variable.dims

    def is_time(dim: Hashable) -> bool:
        if dim not in dataset.variables:
            return False
        coordinate = dataset.variables[dim]
        units = coordinate.attrs.get("units")
        return coordinate.dtype.kind == "M" or (isinstance(units, str) and " since " in units)

    for holds in (is_time, lambda dim: str(dim).lower() in ("time", "t"), lambda dim: dim in free):
        for axis, dim in enumerate(dims):
            if holds(dim):
                return axis
    return 0


def _itemsize(variable: xr.Variable, encoding: Mapping[str, Any]) -> int | None:
    """Bytes of a stored element; None for what is not a plain number in the file."""
    wanted = encoding.get("dtype")
    kind = variable.dtype.kind
    if kind not in "biufmM" or wanted is str:
        return None
    if wanted is not None:
        dtype = np.dtype(wanted)
        return dtype.itemsize if dtype.kind in "biuf" else None
    return 1 if kind == "b" else variable.dtype.itemsize


def expected_size(
    dataset: xr.Dataset, encoding: Mapping[Hashable, Mapping[str, Any]]
) -> tuple[int, int]:
    """Bytes that a dataset takes in a file before compression, and those of its largest chunk."""
    total = largest = 0
    for name, variable in dataset.variables.items():
        own = encoding.get(name, variable.encoding)
        itemsize = _itemsize(variable, own) or variable.dtype.itemsize
        total += variable.size * itemsize
        largest = max(largest, math.prod(own.get("chunksizes") or (0,)) * itemsize)
    return total, largest


def _names_compression(encoding: Mapping[str, Any], explicit: bool) -> bool:
    """Whether an encoding decides about compression; ``zlib=False`` does where it was asked for."""
    if explicit:
        return any(key in encoding for key in COMPRESSIONS) or bool(encoding.get("contiguous"))
    return any(encoding.get(key) for key in COMPRESSIONS)


def _set_level(encoding: dict[str, Any], level: int) -> None:
    for key in COMPRESSIONS:
        encoding.pop(key, None)
    encoding["zlib"] = level > 0
    if level > 0:
        encoding["complevel"] = level
        encoding["shuffle"] = True


def make_skeleton(
    part: Path,
    dataset: xr.Dataset,
    encoding: Mapping[Hashable, Mapping[str, Any]],
    *,
    group: str | None = None,
    unlimited_dims: Iterable[Hashable] | None = None,
    mode: str = "w",
) -> Skeleton:
    """Make a file with everything but the values made of Dask blocks, and close it."""
    import dask

    # With a cluster xarray opens the file for each variable.
    with SETTINGS, dask.config.set(scheduler="threads"):
        writer, store = _xarrays_to_netcdf()(
            dataset,
            str(part),
            mode=mode,
            format="NETCDF4",
            engine="netcdf4",
            group=group,
            encoding={name: dict(one) for name, one in encoding.items()},
            unlimited_dims=unlimited_dims,
            multifile=True,
        )
    store.close()
    pending = []
    for source, target in zip(writer.sources, writer.targets, strict=True):
        name = target.variable_name
        variable = dataset.variables[name]
        own = encoding.get(name, variable.encoding)
        lossy = any(own.get(key) is not None for key in LOSSY)
        pending.append(Pending(name, variable.dims, source, target, lossy))
    return Skeleton(store, tuple(pending))


def _xarrays_to_netcdf() -> Any:
    """The function that `Dataset.to_netcdf` and `save_mfdataset` call."""
    for module in ("xarray.backends.writers", "xarray.backends.api"):  # since 2025.9, before
        try:
            return import_module(module).to_netcdf
        except (ImportError, AttributeError):
            continue
    raise StorageError("this xarray has no to_netcdf where it is known to be")
