"""Facts that belong to a benchmark's numbers: the machine, where the directory lies, versions."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from hpclaunch.storage import cores
from hpclaunch.storage.filesystem import place

__all__ = ["machine", "whereabouts"]

_PACKAGES = ("hpclaunch", "numpy", "xarray", "dask", "h5py", "netCDF4", "h5netcdf", "deflate",
             "blosc2", "zarr", "kerchunk")  # fmt: skip


def machine() -> dict[str, Any]:
    """What runs here."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "node": platform.node(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": cores.cores(),
        "memory": cores.memory(),
        "versions": versions,
    }


def whereabouts(directory: Path) -> dict[str, Any]:
    """Where a directory lies, as `hpclaunch.storage.place` finds it."""
    found = place(os.fspath(directory))
    stripes = found.stripes
    return {
        "path": found.path,
        "kind": found.kind.name,
        "title": found.kind.title,
        "shared": found.kind.shared,
        "mount": found.mount,
        "device": found.device,
        "options": found.options,
        "block": found.block,
        "stripes": None if stripes is None else asdict(stripes),
        "notes": list(found.notes),
    }
