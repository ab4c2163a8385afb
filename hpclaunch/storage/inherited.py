"""Unlimited dimensions that variables of groups below use: xarray tells a group's own only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["inherited"]


def inherited(path: str) -> dict[str, set[str]]:
    """The dimensions of a NetCDF-4 file that are unlimited and used by groups below their own.

    Returns
    -------
    dict
        A group's path to the names of such dimensions of it.
    """
    import netCDF4
    from xarray.backends.netCDF4_ import NETCDF4_PYTHON_LOCK

    found: dict[str, set[str]] = {}
    with NETCDF4_PYTHON_LOCK, netCDF4.Dataset(path) as root:
        for group in _groups(root):
            for variable in group.variables.values():
                for dim in variable.get_dims():
                    owner = dim.group().path
                    if dim.isunlimited() and owner != group.path:
                        found.setdefault(owner, set()).add(dim.name)
    return found


def _groups(group: Any) -> Iterator[Any]:
    yield group
    for inner in group.groups.values():
        yield from _groups(inner)
