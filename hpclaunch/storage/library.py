"""Variables read by the HDF5 library, one thread at a time, and no file left open.

xarray calls netCDF4's C library without its lock when a file is opened, when it is asked for a
shape and when a forgotten dataset is closed: two threads crash it. It also crashes where a file
with types of its own is open twice and closed in another order than it was opened. Here everything
happens under that lock, and a file is closed before the lock is let go.
"""

from __future__ import annotations

from typing import Any

__all__ = ["read"]


def read(path: str, group: str, name: str, key: Any) -> Any:
    """What a selection of a variable holds, as engine ``netcdf4`` gives it before decoding.

    Parameters
    ----------
    path : str
        The real path.
    group : str
        ``/`` or ``/a/b``.
    name : str
    key : xarray.core.indexing.ExplicitIndexer
    """
    import netCDF4
    from xarray.backends import netCDF4_

    xarrays: Any = netCDF4_
    with xarrays.NETCDF4_PYTHON_LOCK, netCDF4.Dataset(path) as root:
        found = root if group == "/" else root[group]
        store = xarrays.NetCDF4DataStore(found, lock=False)
        return xarrays.NetCDF4ArrayWrapper(name, store)[key]
