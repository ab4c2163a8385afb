"""One field of temperatures in NetCDF-4 and Zarr: opened, read whole, by maps and by series."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpclaunch.storage.bench_room import drop, sync
from hpclaunch.storage.bench_rounds import Case, Clock

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["NAME", "Reader", "Store", "make_field", "read_cases", "readers", "stores", "written_as"]

NAME = "t2m"
_ENGINES = ("hpclaunch", "netcdf4", "h5netcdf")
_GRIDS = ((181, 360), (46, 90))
_LEAST_STEPS = 16
_MAPS = 16
"""Read in one round, at most."""


@dataclass(frozen=True)
class Reader:
    """A way to open a store.

    Attributes
    ----------
    name : str
    store : str
        The name of the store it opens.
    open : callable
        Returns a dataset that has read no values yet.
    """

    name: str
    store: str
    open: Callable[[Path], xr.Dataset]


@dataclass(frozen=True)
class Store:
    """The field as it was stored.

    Attributes
    ----------
    name : str
        ``deflated``, ``plain`` or ``zarr``.
    path : Path
    stored : int
        Its bytes on the disk.
    """

    name: str
    path: Path
    stored: int


def make_field(size: int) -> xr.Dataset:
    """A field of float32 (time, lat, lon) that deflates to a bit more than a half.

    Waves that travel, the sun's share by latitude and noise of 0.15 K, always the same.

    Parameters
    ----------
    size : int
        Bytes that it has about; 16 steps are the least.
    """
    import numpy as np
    import xarray as xr

    rows, columns = _GRIDS[0] if size >= _LEAST_STEPS * 4 * 181 * 360 else _GRIDS[1]
    steps = max(_LEAST_STEPS, size // (rows * columns * 4))
    lat = np.linspace(-90, 90, rows, dtype="f4")
    lon = np.arange(columns, dtype="f4") * np.float32(360 / columns)
    base = 250 + 45 * np.cos(np.deg2rad(lat))[:, None]
    chance = np.random.default_rng(20011)
    values = np.empty((steps, rows, columns), "f4")
    for step in range(steps):
        wave = (
            np.sin(np.deg2rad(3 * lon - 2 * step))[None, :] * np.cos(np.deg2rad(2 * lat))[:, None]
        )
        values[step] = base + 6 * wave
        values[step] += 0.15 * chance.standard_normal((rows, columns), "f4")
    coordinates = {"time": np.arange(steps, dtype="f8"), "lat": lat, "lon": lon}
    return xr.Dataset({NAME: (("time", "lat", "lon"), values)}, coordinates)


def written_as(field: xr.Dataset) -> dict[Hashable, dict[str, Any]]:
    """The encoding of most archives: shuffle and deflate 4, a chunk for each map."""
    chunks = (1, *field[NAME].shape[1:])
    return {NAME: {"zlib": True, "shuffle": True, "complevel": 4, "chunksizes": chunks}}


def stores(field: xr.Dataset, folder: Path) -> dict[str, Store]:
    """Write the field deflated, plain, and as Zarr where that is installed."""
    deflated, plain, zarr = folder / "deflated.nc", folder / "plain.nc", folder / "field.zarr"
    field.to_netcdf(deflated, engine="netcdf4", encoding=written_as(field))
    field.to_netcdf(plain, engine="netcdf4", encoding={NAME: {"contiguous": True}})
    found = [("deflated", deflated), ("plain", plain)]
    if find_spec("zarr") is not None:
        write_zarr(field, zarr)
        found.append(("zarr", zarr))
    for _, path in found:
        sync(path)
    return {name: Store(name, path, _stored(path)) for name, path in found}


def write_zarr(field: xr.Dataset, path: Path) -> None:
    """As Zarr, with the chunks of the NetCDF file and Zarr's own compression."""
    chunks = (1, *field[NAME].shape[1:])
    field.to_zarr(path, mode="w", encoding={NAME: {"chunks": chunks}}, consolidated=False)


def _stored(path: Path) -> int:
    each = path.rglob("*") if path.is_dir() else [path]
    return sum(one.stat().st_size for one in each if one.is_file())


def readers() -> tuple[list[Reader], dict[str, str]]:
    """The ways to read that are installed here, and why the others are none."""
    from hpclaunch.storage.engine import HpclaunchBackendEntrypoint

    found = [
        Reader("hpclaunch", "deflated", functools.partial(_open, HpclaunchBackendEntrypoint)),
        Reader("netcdf4", "deflated", functools.partial(_open, "netcdf4")),
    ]
    left: dict[str, str] = {}
    for name, store, needed, way in (
        ("h5netcdf", "deflated", ("h5netcdf",), functools.partial(_open, "h5netcdf")),
        ("zarr", "zarr", ("zarr",), _open_zarr),
        ("virtual zarr", "deflated", ("zarr", "kerchunk"), _virtual()),
    ):
        missing = [one for one in needed if find_spec(one) is None]
        if missing:
            left[name] = f"not installed: {', '.join(missing)}"
        else:
            found.append(Reader(name, store, way))
    return found, left


def _open(engine: Any, path: Path) -> xr.Dataset:
    import xarray as xr

    return xr.open_dataset(path, engine=engine, cache=False)


def _open_zarr(path: Path) -> xr.Dataset:
    import xarray as xr

    return xr.open_dataset(path, engine="zarr", consolidated=False, cache=False)


def _virtual() -> Callable[[Path], xr.Dataset]:
    """Open by references that kerchunk makes once, as people keep them."""
    made: dict[Path, Any] = {}

    def way(path: Path) -> xr.Dataset:
        import xarray as xr

        if path not in made:
            from kerchunk.hdf import SingleHdf5ToZarr

            made[path] = SingleHdf5ToZarr(str(path)).translate()
        plain = {"chunks": None}  # else it comes in Dask blocks, which the others do not
        return xr.open_dataset(
            made[path], engine="kerchunk", cache=False, open_dataset_options=plain
        )

    return way


def read_cases(field: xr.Dataset, found: dict[str, Store], ways: list[Reader]) -> list[Case]:
    """Every task by every reader; the plain file by the engines that read NetCDF.

    A reader's first map is held against the field: one that gives other values is left out.
    """
    last = field[NAME][-1]
    tasks = (
        ("all", "the field read whole, {}", "MiB/s", _whole),
        ("map", "maps (one time, all places), {}", "1/s", _maps),
        ("series", "series (one place, all times), {}", "1/s", _series),
    )
    cases = [
        _reading(
            f"{task}/{way.name}", title.format(way.name), unit, way, found[way.store], read, last
        )
        for task, title, unit, read in tasks
        for way in ways
    ]
    cases += [
        _reading(f"plain/{way.name}", f"not deflated, read whole, {way.name}", "MiB/s", way,
                 found["plain"], _whole, last)
        for way in ways
        if way.name in _ENGINES
    ]  # fmt: skip
    return cases + [_opening(way, found[way.store]) for way in ways]


def forget() -> None:
    """What hpclaunch's own reader keeps of files that were read."""
    from hpclaunch.storage.chunkcache import cache

    cache.clear()


def _opening(way: Reader, store: Store) -> Case:
    path = store.path

    def fresh() -> bool:
        from hpclaunch.storage import sidecar

        way.open(path).close()
        sidecar.forget()
        return drop(path)

    def run(_: Clock) -> float:
        """Once only: the next time the file would be in the page cache."""
        way.open(path).close()
        return 1

    return Case(f"open/{way.name}", f"the file opened, {way.name}", "1/s", run, fresh)


def _reading(
    key: str,
    what: str,
    unit: str,
    way: Reader,
    store: Store,
    read: Callable[[xr.DataArray, Clock], float],
    last: xr.DataArray,
) -> Case:
    path = store.path
    opened: list[xr.Dataset] = []
    checked = False

    def prepare() -> bool:
        nonlocal checked
        if not checked:
            with way.open(path) as first:
                if not (first[NAME][-1].values == last.values).all():
                    raise ValueError("it gave other values than were written")
            checked = True
        forget()
        opened.append(way.open(path))
        return drop(path)

    def clean() -> None:
        while opened:
            opened.pop().close()

    return Case(key, what, unit, lambda clock: read(opened[-1][NAME], clock), prepare, clean)


def _whole(field: xr.DataArray, _: Clock) -> float:
    return float(field.values.nbytes) / 2**20


def _maps(field: xr.DataArray, clock: Clock) -> float:
    steps = field.shape[0]
    for done in range(_MAPS):
        if done and clock.over:
            return done
        _ = field.isel(time=done * steps // _MAPS).values
    return _MAPS


def _series(field: xr.DataArray, _clock: Clock) -> float:
    """One only: the next one would find its chunks in the reader's memory."""
    _ = field.isel(lat=field.shape[1] // 2, lon=field.shape[2] // 2).values
    return 1
