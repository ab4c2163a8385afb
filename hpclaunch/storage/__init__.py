"""Reading and writing NetCDF/HDF5 at the speed of the filesystem; nothing has to be launched."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpclaunch.storage.write import Written, to_netcdf

__all__ = ["Written", "to_netcdf"]

_ROOMS = {"Written": "write", "to_netcdf": "write"}
"""The module of each public name: imported when it is asked for."""


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
