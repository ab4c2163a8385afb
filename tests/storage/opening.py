"""How the storage tests open files: with the engine under test, and with the one that is right."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import netCDF4
import xarray as xr

from tests.storage.same import outcome

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
    """A group of a file, opened with the engine under test."""
    return xr.open_dataset(path, engine=ENGINE, group=group, **how)


def theirs(path: Path, group: str = "/", **how: Any) -> xr.Dataset:
    """A group of a file, opened with engine ``netcdf4``."""
    return xr.open_dataset(path, engine="netcdf4", group=group, **how)


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
