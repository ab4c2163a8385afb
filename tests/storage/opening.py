"""How the storage tests open files: with the engine under test, and with the one that is right."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import netCDF4
import xarray as xr

from tests.storage.same import outcome
from tests.storage.zoo import FRAGILE

ENGINE = os.environ.get("ZOO_ENGINE", "hpclaunch")
"""The engine under test; with ``ZOO_ENGINE=h5netcdf`` the tests show what another one lacks."""

WAYS: dict[str, dict[str, Any]] = {
    "decoded": {},
    "raw": {"decode_cf": False},
    "unmasked": {"mask_and_scale": False},
    "undated": {"decode_times": False},
    "cftime": {"decode_times": xr.coders.CFDatetimeCoder(use_cftime=True)},
    "durations": {"decode_timedelta": True},
    "coordinates": {"decode_coords": "all"},
    "characters": {"concat_characters": False},
    "without_indexes": {"create_default_indexes": False},
}
"""Ways to open a file, as keywords of :func:`xarray.open_dataset`."""


def groups(path: Path) -> list[str]:
    """The paths of all groups of a file, the root first; only the root of what cannot be opened."""
    found = outcome(lambda: _groups(path))
    return ["/"] if isinstance(found, Exception) else found


@functools.lru_cache(maxsize=512)
def _groups(path: Path) -> list[str]:
    def below(group: Any) -> list[str]:
        return [group.path, *(one for child in group.groups.values() for one in below(child))]

    with netCDF4.Dataset(path) as file:
        return below(file)


def ours(path: Path, group: str = "/", **how: Any) -> xr.Dataset:
    """A group of a file, opened with the engine under test; a fragile one in memory."""
    found = xr.open_dataset(path, engine=ENGINE, group=group, **how)
    return found.load() if path.name in FRAGILE.values() else found


def theirs(path: Path, group: str = "/", **how: Any) -> xr.Dataset:
    """A group of a file, opened with engine ``netcdf4``.

    The netCDF library crashes where a file with types of variable length is open twice: of those
    that are the values come in memory, and the file is closed.
    """
    found = xr.open_dataset(path, engine="netcdf4", group=group, **how)
    if path.name not in FRAGILE.values():
        return found
    with found:
        return found.load()


@functools.lru_cache(maxsize=1024)
def reference(path: Path, group: str, way: str) -> xr.Dataset | Exception:
    """A group of a file as engine ``netcdf4`` reads it, its values in memory.

    A variable that the netCDF library cannot read stays out.
    """
    found = outcome(lambda: theirs(path, group, **WAYS[way]))
    if isinstance(found, Exception):
        return found
    unreadable = [
        name
        for name, one in found.variables.items()
        if isinstance(outcome(lambda one=one: one.values), Exception)
    ]
    with found:
        return found.drop_vars(unreadable).load()
