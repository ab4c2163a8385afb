"""A file as it is stored, to be written anew: every group, nothing decoded by CF."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpclaunch.errors import StorageError
from hpclaunch.storage.chunking import Access, chunk_shape
from hpclaunch.storage.inherited import inherited
from hpclaunch.storage.skeleton import COMPRESSIONS, make_skeleton, series_axis
from hpclaunch.storage.slabs import Region

if TYPE_CHECKING:
    import xarray as xr

    from hpclaunch.storage.layout import FileIndex

__all__ = ["Large", "RawFile", "Shell", "make_file", "open_raw"]

Read = Callable[[Region], np.ndarray]

SMALL = 2**20
"""Variables with fewer bytes are copied as they are."""

LARGEST = 2**32 - 1
"""Bytes of a chunk: HDF5's own limit."""


@dataclass(frozen=True, eq=False)
class Large:
    """A variable that gets new chunks.

    Attributes
    ----------
    path : str
        In the file, with its groups.
    shape : tuple of int
    chunks : tuple of int or None
        In the source; None where it is contiguous.
    unlimited : dict
        The lengths of its unlimited dimensions, by the path of their dimension scale.
    read : callable
        Gives the stored values of a region, in this machine's byte order.
    """

    path: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...] | None
    unlimited: dict[str, int]
    read: Read


@dataclass(frozen=True, eq=False)
class Shell:
    """A group as it is to be written.

    Attributes
    ----------
    path : str
    dataset : xarray.Dataset
        With its encodings; its large variables have no values.
    large : list of Large
    unlimited : set
        Its unlimited dimensions.
    """

    path: str
    dataset: xr.Dataset
    large: list[Large]
    unlimited: set[Any]


def make_file(part: Path, shells: Sequence[Shell]) -> list[Large]:
    """Make a file with everything but the values of large variables, and return those."""
    for one in shells:
        make_skeleton(
            part,
            one.dataset,
            {},
            group=None if one.path == "/" else one.path,
            unlimited_dims=one.unlimited or None,
            mode="w" if one.path == "/" else "a",
        )
    return [large for one in shells for large in one.large]


@dataclass(frozen=True, eq=False)
class RawFile:
    """The groups of an open file, by their paths, parents first."""

    groups: dict[str, xr.Dataset]
    index: FileIndex | None
    request: int
    memory: int

    def shells(
        self, access: Access | None, chunks: dict[str, int], level: int | None
    ) -> list[Shell]:
        """The groups as they are to be written, parents first."""
        known = {str(dim) for dataset in self.groups.values() for dim in dataset.dims}
        if unknown := sorted(set(chunks) - known):
            raise StorageError(
                f"no dimension is called {', '.join(unknown)}",
                hint=f"the file has {', '.join(sorted(known))}",
            )
        self._check_dimensions()
        return [
            Shell(path, *_shell(self, path, access, chunks, level), _unlimited(dataset))
            for path, dataset in self.groups.items()
        ]

    def _check_dimensions(self) -> None:
        """xarray shares a dimension with the groups below where a variable gave it its length."""
        if self.index is None or len(self.groups) < 2:
            return
        for path, dims in inherited(self.index.identity.path).items():
            kept = [v.dims for v in self.groups[path].variables.values() if not _is_large(v)]
            if missing := dims.difference(*kept):
                raise StorageError(
                    f"{self.index.identity.path}: groups below {path} use its unlimited dimension "
                    f"{', '.join(sorted(missing))}, along which it has no small variable itself",
                    hint="such files are not written anew here; nccopy -c does it",
                )

    def _check_copied(self, path: str, variable: xr.Variable) -> None:
        """What is not cut into chunks is read whole."""
        if variable.nbytes > self.memory and not _is_large(variable):
            raise StorageError(
                f"{path} has {variable.nbytes / 2**20:.0f} MiB and is copied whole, because its "
                f"values are no plain numbers: {self.memory / 2**20:.0f} MiB of memory are given",
                hint="give more memory",
            )


@contextmanager
def open_raw(path: Path, request: int, memory: int) -> Iterator[RawFile]:
    """Open a file by engine ``hpclaunch``.

    Parameters
    ----------
    path : Path
    request : int
        Bytes that are read at once at most.
    memory : int
        Bytes that a variable may have that is copied whole.

    Raises
    ------
    FileNotFoundError, PermissionError, CorruptFile
    """
    from hpclaunch.storage import engine, sidecar
    from hpclaunch.storage.scan import kind_of

    name = str(path.absolute())
    groups = engine.HpclaunchBackendEntrypoint().open_groups_as_dict(name, **_AS_STORED)
    try:
        index = sidecar.load(name) if kind_of(name) == "hdf5" else None
        yield RawFile(groups, index, request, memory)
    finally:
        for dataset in groups.values():
            dataset.close()


_AS_STORED: dict[str, Any] = {
    "mask_and_scale": False,
    "decode_times": False,
    "decode_timedelta": False,
    "concat_characters": False,
    "decode_coords": False,
}


def _reader(raw: RawFile, group: str, name: str, variable: xr.Variable) -> Read:
    """How regions of a variable are read: without the cache of chunks, that is for other uses."""
    from hpclaunch.storage.reader import Options, read
    from hpclaunch.storage.source import open_source

    def by_xarray(region: Region) -> np.ndarray:
        return _native(np.asarray(variable[region].values))

    if raw.index is None:
        return by_xarray
    identity, layout = raw.index.identity, raw.index.groups[group].variables[name].layout
    if layout.reason:
        return by_xarray
    options = Options(request=raw.request, cache=0)
    where = f"variable {group.rstrip('/')}/{name}"

    def directly(region: Region) -> np.ndarray:
        source: Any = open_source(identity.path, identity)
        return _native(read(source, layout, region, where=where, options=options))

    return directly


def _native(values: np.ndarray) -> np.ndarray:
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _unlimited(dataset: xr.Dataset) -> set[Any]:
    """Its unlimited dimensions that a variable of it has: xarray knows no others."""
    return set(dataset.encoding.get("unlimited_dims") or ()) & set(dataset.dims)


def _shell(
    raw: RawFile,
    path: str,
    access: Access | None,
    chunks: dict[str, int],
    level: int | None,
) -> tuple[xr.Dataset, list[Large]]:
    """A copy of a group whose large variables have their encodings, and no values."""
    import dask.array as da

    dataset = raw.groups[path]
    large: list[Large] = []
    changed: dict[Any, Any] = {}
    free = _unlimited(dataset)
    for name, variable in dataset.variables.items():
        raw._check_copied(f"{path.rstrip('/')}/{name}", variable)
        copy = variable.copy(deep=False)
        if "_FillValue" not in copy.attrs:
            copy.encoding["_FillValue"] = None  # else xarray adds one to floats
        if _is_large(variable):
            stored = variable.encoding.get("chunksizes")
            chosen = _chunks(dataset, variable, free, access, chunks)
            _check(f"{path.rstrip('/')}/{name}", chosen, variable.dtype.itemsize)
            data = da.zeros(
                variable.shape, dtype=variable.dtype.newbyteorder("="), chunks=variable.shape
            )
            copy = type(variable)(variable.dims, data, copy.attrs, copy.encoding)
            _encode(copy.encoding, chosen, level)
            lengths = {
                f"{path.rstrip('/')}/{dim}": n for dim, n in variable.sizes.items() if dim in free
            }
            large.append(
                Large(
                    f"{path.rstrip('/')}/{name}",
                    variable.shape,
                    tuple(stored) if stored else None,
                    lengths,
                    _reader(raw, path, str(name), variable),
                )
            )
        changed[name] = copy
    return type(dataset)(changed, attrs=dataset.attrs), large


def _is_large(variable: xr.Variable) -> bool:
    dtype = variable.encoding.get("dtype", variable.dtype)
    enum = bool(getattr(dtype, "metadata", None))
    return bool(
        variable.ndim and variable.dtype.kind in "iuf" and not enum and variable.nbytes >= SMALL
    )


def _chunks(
    dataset: xr.Dataset,
    variable: xr.Variable,
    free: set[Any],
    access: Access | None,
    chunks: dict[str, int],
) -> tuple[int, ...]:
    stored = variable.encoding.get("chunksizes")
    if access is None and stored and chunks:
        base = tuple(stored)
    else:
        base = chunk_shape(
            variable.shape,
            variable.dtype.itemsize,
            access or "all",
            along=series_axis(dataset, variable, free),
        )
    asked = [chunks.get(str(dim), c) for dim, c in zip(variable.dims, base, strict=True)]
    return tuple(
        n if c < 0 else max(1, min(c, n)) for c, n in zip(asked, variable.shape, strict=True)
    )


def _check(path: str, chunk: tuple[int, ...], itemsize: int) -> None:
    nbytes = math.prod(chunk) * itemsize
    if nbytes > LARGEST:
        raise StorageError(
            f"{path}: a chunk of {chunk} has {nbytes / 2**30:.1f} GiB, HDF5 allows 4",
            hint="give smaller chunks",
        )


def _encode(encoding: dict[str, Any], chunk: tuple[int, ...], level: int | None) -> None:
    if level is None:
        level = int(encoding.get("complevel") or 4) if encoding.get("zlib") else 4
    for key in (*COMPRESSIONS, "contiguous", "preferred_chunks", "original_shape", "dtype"):
        encoding.pop(key, None)
    encoding |= {"chunksizes": chunk, "zlib": level > 0}
    if level > 0:
        encoding |= {"complevel": level, "shuffle": True}
