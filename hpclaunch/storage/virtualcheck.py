"""Whether xarray reads of a virtual store what was put into it; no chunk of the files is read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from hpclaunch.errors import StorageError
from hpclaunch.storage.chunkrefs import Referenced
from hpclaunch.storage.icechunking import open_store
from hpclaunch.storage.manifests import Archive, Part
from hpclaunch.storage.zarrarrays import Copied, plain, told

__all__ = ["check"]


def check(path: Path, form: str, archive: Archive) -> None:
    """Open what was written and compare all groups.

    Raises
    ------
    StorageError
        If a name, dimension, dtype, attribute or copied value comes back as something else.
    """
    from xarray.backends.zarr import ZarrStore

    how: dict[str, Any] = {"mode": "r", "consolidated": False, "zarr_format": 3}
    if form == "icechunk":
        source: Any = open_store(path, archive)
    else:
        from kerchunk.utils import refs_as_store

        source = refs_as_store(str(path))
        how |= {"consolidated": len(archive.parts) > 1, "zarr_format": 2}
    for part in archive.parts:
        found = ZarrStore.open_group(source, group=part.path.strip("/") or None, **how)
        different = _differences(found.get_attrs(), found.get_variables(), part, how["zarr_format"])
        if different:
            raise StorageError(
                f"{archive.urls[0]}, {different}: Zarr cannot tell it as it is",
                hint="such a variable is read by engine hpclaunch; another --format may hold it",
            )


def _differences(attrs: Any, variables: Any, part: Part, zarr_format: int) -> str:
    """The first thing that came back as another; "" if there is none."""
    if not _same(dict(attrs), told(part.attrs, zarr_format)):
        return f"attributes of group {part.path}"
    every: list[tuple[Referenced | Copied, Any]] = [
        *((one, (one.shape, one.dtype)) for one in part.referenced),
        *((one, (one.values.shape, one.values.dtype)) for one in part.copied),
    ]
    for one, (shape, dtype) in every:
        where = f"variable {part.path.rstrip('/')}/{one.name}"
        back = variables.get(one.name)
        if back is None:
            return where
        if back.dims != one.dims or back.shape != shape or not _like(back.dtype, dtype):
            return f"{where} (dimensions or dtype)"
        if not _same(dict(back.attrs), told(one.attrs, zarr_format)):
            return f"attributes of {where}"
        if isinstance(one, Copied) and not _same_values(np.asarray(back.values), one.values):
            return f"values of {where}"
    return ""


def _like(found: np.dtype[Any], wanted: np.dtype[Any]) -> bool:
    if wanted.kind in "OU":
        return found.kind in "OUT"
    return (found.kind, found.itemsize) == (wanted.kind, wanted.itemsize)


def _same_values(found: np.ndarray, wanted: np.ndarray) -> bool:
    if wanted.dtype.kind in "OU":
        return bool(found.tolist() == wanted.tolist())
    native = (one.astype(one.dtype.newbyteorder("="), copy=False) for one in (found, wanted))
    one, other = (each.tobytes() for each in native)
    return one == other


def _same(found: Any, wanted: Any) -> bool:
    """Whether two attributes are the same as JSON has them."""
    found, wanted = plain(found), plain(wanted)
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(_same(found[k], wanted[k]) for k in wanted)
    if isinstance(wanted, list):
        return (
            isinstance(found, list) and len(found) == len(wanted) and all(map(_same, found, wanted))
        )
    if isinstance(wanted, float) and math.isnan(wanted):
        return isinstance(found, float) and math.isnan(found)
    return bool(found == wanted and isinstance(found, str) is isinstance(wanted, str))
