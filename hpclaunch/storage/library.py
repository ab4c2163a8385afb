"""Variables read by the HDF5 library, one thread at a time.

xarray calls netCDF4's C library without its lock when a file is opened, when it is asked for a
shape and when a forgotten dataset is closed: two threads crash it. Here everything happens
under that lock, and files stay open until they are closed under it.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import Any

from hpclaunch.storage.layout import Identity

__all__ = ["close", "let_go", "read"]

_MOST = 32
"""Files that are open at a time."""

_open: OrderedDict[Identity, Any] = OrderedDict()
_of_the_parent: list[Any] = []


def read(identity: Identity, group: str, name: str, key: Any) -> Any:
    """What a selection of a variable holds, as engine ``netcdf4`` gives it before decoding.

    Parameters
    ----------
    identity : Identity
        Of the file; another one is another file.
    group : str
        ``/`` or ``/a/b``.
    name : str
    key : xarray.core.indexing.ExplicitIndexer
    """
    from xarray.backends import netCDF4_

    xarrays: Any = netCDF4_
    with xarrays.NETCDF4_PYTHON_LOCK:
        root = _dataset(identity)
        found = root if group == "/" else root[group]
        store = xarrays.NetCDF4DataStore(found, lock=False)
        return xarrays.NetCDF4ArrayWrapper(name, store)[key]


def close(identity: Identity) -> None:
    """Close a file; it is opened anew where a value is asked for later."""
    if identity not in _open:
        return
    from xarray.backends.netCDF4_ import NETCDF4_PYTHON_LOCK

    with NETCDF4_PYTHON_LOCK:
        found = _open.pop(identity, None)
        if found is not None:
            found.close()


def let_go(now: Identity) -> None:
    """Close a file's former states: HDF5 would give their metadata to whoever opens it again.

    For those who hold ``NETCDF4_PYTHON_LOCK``.
    """
    for one in [known for known in _open if known != now]:
        if one.path == now.path or one.inode == now.inode:
            _open.pop(one).close()


def _dataset(identity: Identity) -> Any:
    import netCDF4

    found = _open.get(identity)
    if found is None:
        let_go(identity)
        while len(_open) >= _MOST:
            _open.popitem(last=False)[1].close()
        found = _open[identity] = netCDF4.Dataset(identity.path)
    _open.move_to_end(identity)
    return found


def _after_fork() -> None:
    """Leave the parent's files alone: the library in a child must not close them."""
    _of_the_parent.extend(_open.values())
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
