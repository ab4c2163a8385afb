"""Ways to write: hpclaunch's writer, xarray's own, and Zarr, of the same Dask blocks."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from hpclaunch.storage.bench_netcdf import NAME, write_zarr, written_as
from hpclaunch.storage.bench_room import sync
from hpclaunch.storage.bench_rounds import Case, Clock
from hpclaunch.storage.write import to_netcdf

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["write_cases"]

_BLOCK = 8 * 2**20


def write_cases(field: xr.Dataset, folder: Path) -> tuple[list[Case], dict[str, str]]:
    """The cases, and why some are none. Each file is on the disk when its time ends."""
    ways: dict[str, Callable[[xr.Dataset, Path], object]] = {
        "hpclaunch": _by_hpclaunch,
        "netcdf4": _by_xarray,
        "zarr": write_zarr,
    }
    needed = {"zarr": ("dask", "zarr")}
    left: dict[str, str] = {}
    cases = []
    for name, write in ways.items():
        missing = [one for one in needed.get(name, ("dask",)) if find_spec(one) is None]
        if missing:
            left[f"store/{name}"] = f"not installed: {', '.join(missing)}"
            continue
        path = folder / ("new.zarr" if name == "zarr" else f"new-{name}.nc")
        cases.append(
            Case(
                f"store/{name}",
                f"the field written from Dask blocks, {name}",
                "MiB/s",
                functools.partial(_run, field, path, write),
                functools.partial(_remove, path),
                functools.partial(_remove, path),
            )
        )
    return cases, left


def _run(
    field: xr.Dataset, path: Path, write: Callable[[xr.Dataset, Path], object], _: Clock
) -> float:
    import dask

    steps, rows, columns = field[NAME].shape
    many = max(1, min(steps, _BLOCK // (rows * columns * 4)))
    with dask.config.set(scheduler="threads"):
        write(field.chunk({"time": many}), path)
    sync(path)
    return float(field[NAME].nbytes) / 2**20


def _by_hpclaunch(field: xr.Dataset, path: Path) -> object:
    return to_netcdf(field, path, encoding=written_as(field))


def _by_xarray(field: xr.Dataset, path: Path) -> object:
    return field.to_netcdf(path, engine="netcdf4", encoding=written_as(field))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
