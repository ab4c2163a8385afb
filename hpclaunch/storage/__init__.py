"""Reading and writing NetCDF/HDF5 at the speed of the filesystem; nothing has to be launched.

``xarray.open_dataset(path, engine="hpclaunch")`` is the usual way in; it needs no import. The names
here are imported on first use:

index
    Where the bytes of a file's variables lie: from the cache, or made of the file.
index_many
    The indexes of many files made at once, before they are opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpclaunch.storage.many import index_many
    from hpclaunch.storage.sidecar import load as index

__all__ = ["index", "index_many"]

_HOMES = {
    "index": ("hpclaunch.storage.sidecar", "load"),
    "index_many": ("hpclaunch.storage.many", "index_many"),
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name in _HOMES:
        import importlib

        module, attribute = _HOMES[name]
        return getattr(importlib.import_module(module), attribute)
    raise AttributeError(f"module 'hpclaunch.storage' has no attribute {name!r}")
