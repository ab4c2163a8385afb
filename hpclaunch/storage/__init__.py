"""Reading and writing NetCDF/HDF5 at the speed of the filesystem; nothing has to be launched.

``xarray.open_dataset(path, engine="hpclaunch")`` is the usual way in; it needs no import. The names
here are imported on first use:

inspect
    What is known of a file: where it lies, how it is laid out, what makes reading it slow.
advise
    How files are best read, and what that brings on a sample of them.
place
    Where a file lies: file system, stripes, block size.
index
    Where the bytes of a file's variables lie: from the cache, or made of the file.
index_many
    The indexes of many files made at once, before they are opened.
open_mfdataset
    Many files as one dataset, opened from their indexes.
to_netcdf
    A dataset written from Dask's blocks, deflated outside of HDF5's lock; what it tells is a
    `Written`.
bench
    The storage of a directory measured; what it finds is a `Benchmark`.
rechunk
    A file written anew with other chunks, in bounded memory.
virtualize
    References to the chunks of files, by which they are read as Zarr; what it tells is a
    `Virtualized`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpclaunch.storage.advising import Advised, advise
    from hpclaunch.storage.bench_result import Benchmark
    from hpclaunch.storage.benchmark import bench
    from hpclaunch.storage.filesystem import place
    from hpclaunch.storage.inspection import Inspection, inspect
    from hpclaunch.storage.many import Indexed, index_many
    from hpclaunch.storage.mfdataset import open_mfdataset
    from hpclaunch.storage.rechunking import Rechunked, rechunk
    from hpclaunch.storage.sidecar import load as index
    from hpclaunch.storage.virtualizing import Virtualized, virtualize
    from hpclaunch.storage.write import Written, to_netcdf

__all__ = [
    "Advised",
    "Benchmark",
    "Indexed",
    "Inspection",
    "Rechunked",
    "Virtualized",
    "Written",
    "advise",
    "bench",
    "index",
    "index_many",
    "inspect",
    "open_mfdataset",
    "place",
    "rechunk",
    "to_netcdf",
    "virtualize",
]

_HOMES = {
    "Advised": ("advising", "Advised"),
    "Benchmark": ("bench_result", "Benchmark"),
    "bench": ("benchmark", "bench"),
    "Indexed": ("many", "Indexed"),
    "Rechunked": ("rechunking", "Rechunked"),
    "Virtualized": ("virtualizing", "Virtualized"),
    "Written": ("write", "Written"),
    "Inspection": ("inspection", "Inspection"),
    "advise": ("advising", "advise"),
    "index": ("sidecar", "load"),
    "index_many": ("many", "index_many"),
    "inspect": ("inspection", "inspect"),
    "open_mfdataset": ("mfdataset", "open_mfdataset"),
    "place": ("filesystem", "place"),
    "rechunk": ("rechunking", "rechunk"),
    "to_netcdf": ("write", "to_netcdf"),
    "virtualize": ("virtualizing", "virtualize"),
}
"""The module of each public name, and its name there."""


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(f"{__name__}.{module}"), attribute)
