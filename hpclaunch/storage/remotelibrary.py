"""Variables of remote files that are left to the HDF5 library: read from a mirror of the file.

The stored bytes that a selection needs are brought to the mirror, and the netCDF library reads them
there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hpclaunch.errors import StorageError
from hpclaunch.storage import library
from hpclaunch.storage.layout import Identity
from hpclaunch.storage.mirror import Mirror, mirrored
from hpclaunch.storage.remote import Remote, RemoteFile
from hpclaunch.storage.scan import dataset_of, start_of
from hpclaunch.storage.walk import Box, bring, walk

__all__ = ["read"]


def read(
    remote: Remote, identity: Identity, group: str, name: str, key: Any, shape: tuple[int, ...]
) -> Any:
    """What a selection of a variable holds, see :func:`hpclaunch.storage.library.read`.

    Parameters
    ----------
    remote : Remote
    identity : Identity
        Of the file as it was opened.
    group, name : str
    key : xarray.core.indexing.ExplicitIndexer
    shape : tuple of int
        Of the variable.

    Raises
    ------
    StorageError
        If its values lie in other files, or the server refuses.
    ChangedFile
        If the file is not what it was.
    """
    with mirrored(RemoteFile(remote, identity)) as mirror:
        _prepare(mirror, group, name, lambda stored: _box(key.tuple, shape, stored))
        return library.read(mirror.path, group, name, key)


def _prepare(mirror: Mirror, group: str, name: str, box: Callable[[Any], Box | None]) -> None:
    """Bring what the netCDF library will read."""
    import h5py
    from xarray.backends.netCDF4_ import NETCDF4_PYTHON_LOCK

    mirror.seek(0)
    start = start_of(mirror)
    try:
        with NETCDF4_PYTHON_LOCK, h5py.File(mirror, "r") as handle:
            walk(handle, mirror, start)
            dataset = dataset_of(handle, group, name)
            if dataset is None:
                raise StorageError(
                    f"{mirror.source.identity.path}: HDF5 has no dataset of {group} {name}",
                    hint="copy the file to a file system, and open it there",
                )
            bring(dataset, mirror, start, box(dataset.shape))
    except (OSError, RuntimeError, TypeError, ValueError) as why:
        if mirror.fault is not None:
            raise mirror.fault from None
        raise StorageError(
            f"{mirror.source.identity.path}: {group.rstrip('/')}/{name} is not read by its URL: "
            f"{why}",
            hint="copy the file to a file system, and open it there",
        ) from why


def _box(
    key: tuple[Any, ...], shape: tuple[int, ...], stored: tuple[int, ...] | None
) -> Box | None:
    """The smallest box around a selection, of what is stored; None for everything."""
    if stored is None or not len(key) == len(shape) == len(stored):
        return None
    box = []
    for one, n, there in zip(key, shape, stored, strict=True):
        positions = np.arange(*one.indices(n)) if isinstance(one, slice) else np.asarray(one) % n
        low, high = (positions.min(), positions.max() + 1) if positions.size else (0, 0)
        box.append((min(int(low), there), min(int(high), there)))
    return tuple(box)
