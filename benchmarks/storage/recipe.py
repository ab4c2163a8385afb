"""The files that are read: hourly temperatures of 2001 on 181 × 360, seeded, in seven variants.

The field is the sum of 24 smooth spatial modes driven by AR(1) coefficients, a diurnal and a
seasonal cycle, and white noise of 0.15 K, float32. ``tenth`` holds the first tenth of the hours of
each file. Files stay where they were made; what is there is not made again.
"""

from __future__ import annotations

import calendar
import functools
import os
import shutil
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

__all__ = ["VARIABLE", "VARIANTS", "Archive", "Variant", "prepare"]

SEED = 20011
LATITUDES, LONGITUDES = 181, 360
MODES, MEMORY, NOISE = 24, 0.995, 0.15
VARIABLE = "t2m"
SCALE, OFFSET, FILL, MISSING = 0.01, 270.0, -32767, 0.3
MARGIN = 2 << 30
"""Bytes of the disk that are left free."""


@dataclass(frozen=True)
class Variant:
    """One way to store the field.

    Attributes
    ----------
    name : str
    months : int
        So many of the year, from January.
    chunks : tuple of int or None
        None for a contiguous variable.
    deflate : bool
        zlib 4 and shuffle.
    packed : bool
        int16 with a scale, an offset and a fill value over 30 % of the map.
    daily : bool
        One file a day instead of one a month.
    stored : float
        Bytes in the file for each byte of the float32 field, for the look at the free space.
    """

    name: str
    months: int = 3
    chunks: tuple[int, int, int] | None = (1, LATITUDES, LONGITUDES)
    deflate: bool = True
    packed: bool = False
    daily: bool = False
    stored: float = 0.6


VARIANTS = {
    one.name: one
    for one in (
        Variant("std", months=12),
        Variant("packed", months=12, packed=True, stored=0.3),
        Variant("contig", chunks=None, deflate=False, stored=1.0),
        Variant("raw", deflate=False, stored=1.0),
        Variant("small", chunks=(1, 32, 32), stored=0.8),
        Variant("block", chunks=(93, 91, 90), stored=0.7),
        Variant("many", months=12, daily=True),
    )
}


@dataclass(frozen=True)
class Archive:
    """The files of a variant.

    Attributes
    ----------
    variant : Variant
    paths : tuple of str
        In the order of time.
    """

    variant: Variant
    paths: tuple[str, ...]

    def first(self, files: int | None) -> Archive:
        """The same with the first `files` only."""
        return replace(self, paths=self.paths[:files])


@dataclass(frozen=True)
class Part:
    """One file: the hours of some days, or the first tenth of them."""

    variant: str
    path: Path
    days: range
    hours: int


def prepare(folder: Path, size: str, names: Iterable[str]) -> dict[str, Archive]:
    """The archives of these variants, made where they are not there yet.

    Parameters
    ----------
    folder : Path
    size : str
        ``full`` or ``tenth``.

    Raises
    ------
    OSError
        If the disk has not the room.
    """
    parts = {name: parts_of(VARIANTS[name], folder / size / name, size) for name in names}
    missing = [part for some in parts.values() for part in some if not part.path.exists()]
    if missing:
        look_at_room(folder, missing)
        months: dict[int, list[Part]] = {}
        for part in missing:
            months.setdefault(month_of(part.days[0]), []).append(part)
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            list(pool.map(make, months.values()))
    return {
        name: Archive(VARIANTS[name], tuple(str(part.path) for part in some))
        for name, some in parts.items()
    }


def parts_of(variant: Variant, folder: Path, size: str) -> list[Part]:
    """The files of a variant."""
    found = []
    for month in range(1, variant.months + 1):
        days = days_of(month)
        for some in [range(day, day + 1) for day in days] if variant.daily else [days]:
            hours = len(some) * 24
            if size == "tenth":
                hours = max(2, hours // 10)
            label = f"{some[0] + 1:03}" if variant.daily else f"{month:02}"
            path = folder / f"{variant.name}_2001_{label}.nc"
            found.append(Part(variant.name, path, some, hours))
    return found


def days_of(month: int) -> range:
    """The days of a month of 2001, counted from 0 on New Year's."""
    first = sum(calendar.monthrange(2001, one)[1] for one in range(1, month))
    return range(first, first + calendar.monthrange(2001, month)[1])


def month_of(day: int) -> int:
    return next(month for month in range(1, 13) if day in days_of(month))


def look_at_room(folder: Path, parts: list[Part]) -> None:
    """Raise OSError where `parts` would not fit."""
    folder.mkdir(parents=True, exist_ok=True)
    field = LATITUDES * LONGITUDES * 4
    need = sum(part.hours * field * VARIANTS[part.variant].stored for part in parts) + MARGIN
    free = shutil.disk_usage(folder).free
    if free < need:
        raise OSError(
            f"{folder} has {free / 1e9:.1f} GB free and the files need {need / 1e9:.1f} GB: "
            "choose another folder with --data, or --size tenth"
        )


def make(parts: list[Part]) -> None:
    """Write these files, all of one month."""
    days: dict[int, np.ndarray] = {}
    for part in sorted(parts, key=lambda one: one.days[0]):
        fields, left = [], part.hours
        for day in part.days:
            if left <= 0:
                break
            if day not in days:
                days[day] = field_of(day)
            fields.append(days[day][:left])
            left -= 24
        write(part, np.concatenate(fields))


def field_of(day: int) -> np.ndarray:
    """24 hours of the field, float32 of shape (24, lat, lon), in K."""
    latitude = np.deg2rad(np.linspace(-90, 90, LATITUDES, dtype=np.float32))[:, None]
    longitude = np.deg2rad(np.arange(LONGITUDES, dtype=np.float32))[None, :]
    hours = np.arange(day * 24, day * 24 + 24, dtype=np.float32)[:, None, None]
    field = np.tensordot(coefficients()[day * 24 : day * 24 + 24], modes(), 1)
    field += 300 - 45 * np.sin(latitude) ** 2
    field -= 12 * np.sin(latitude) * np.cos(2 * np.pi * (hours / 8760))
    field += 4 * np.cos(latitude) * np.cos(2 * np.pi * hours / 24 + longitude)
    noise = np.random.default_rng([SEED, 1 + day])
    field += NOISE * noise.standard_normal(field.shape, np.float32)
    return field


@functools.cache
def coefficients() -> np.ndarray:
    """The modes' strengths, float32 of shape (hour, mode), of unit variance."""
    kicks = np.random.default_rng([SEED, 0]).standard_normal((8760, MODES))
    kicks[1:] *= np.sqrt(1 - MEMORY**2)
    found = np.empty_like(kicks)
    found[0] = kicks[0]
    for hour in range(1, len(kicks)):
        found[hour] = MEMORY * found[hour - 1] + kicks[hour]
    return found.astype(np.float32)


@functools.cache
def modes() -> np.ndarray:
    """The spatial modes, float32 of shape (mode, lat, lon), in K."""
    numbers = np.random.default_rng([SEED, 366])
    latitude = np.linspace(0, np.pi, LATITUDES)[:, None]
    longitude = np.deg2rad(np.arange(LONGITUDES))[None, :]
    found = np.empty((MODES, LATITUDES, LONGITUDES), np.float32)
    for mode in range(MODES):
        north, east = 1 + mode % 4, mode // 4
        phase = numbers.uniform(0, 2 * np.pi)
        found[mode] = (
            3 / (1 + east / 2) * np.sin(north * latitude) * np.cos(east * longitude + phase)
        )
    return found


def write(part: Part, field: np.ndarray) -> None:
    """Write one file under a passing name, then under its own."""
    import netCDF4

    variant = VARIANTS[part.variant]
    part.path.parent.mkdir(parents=True, exist_ok=True)
    passing = part.path.with_suffix(f".{os.getpid()}")
    with netCDF4.Dataset(passing, "w") as file:
        file.createDimension("time", None if variant.chunks else len(field))
        file.createDimension("lat", LATITUDES)
        file.createDimension("lon", LONGITUDES)
        time = file.createVariable("time", "f8", ("time",), contiguous=not variant.chunks)
        time.setncatts({"units": "hours since 2001-01-01", "calendar": "standard"})
        latitude = file.createVariable("lat", "f4", ("lat",))
        latitude.units = "degrees_north"
        longitude = file.createVariable("lon", "f4", ("lon",))
        longitude.units = "degrees_east"
        how = {"contiguous": True} if variant.chunks is None else {"chunksizes": chunks_in(part)}
        if variant.deflate:
            how |= {"zlib": True, "complevel": 4, "shuffle": True}
        kind, fill = ("i2", FILL) if variant.packed else ("f4", None)
        values = file.createVariable(VARIABLE, kind, ("time", "lat", "lon"), fill_value=fill, **how)
        values.setncatts({"units": "K", "long_name": "temperature at 2 m"})
        if variant.packed:
            values.setncatts({"scale_factor": SCALE, "add_offset": OFFSET})
            values.set_auto_maskandscale(False)
            field = pack(field)
        time[:] = part.days[0] * 24 + np.arange(len(field))
        latitude[:] = np.linspace(-90, 90, LATITUDES)
        longitude[:] = np.arange(LONGITUDES)
        values[:] = field
    passing.replace(part.path)


def chunks_in(part: Part) -> tuple[int, ...]:
    """The variant's chunks, no longer than the file has hours."""
    chunks = VARIANTS[part.variant].chunks
    assert chunks is not None
    return (min(chunks[0], part.hours), *chunks[1:])


def pack(field: np.ndarray) -> np.ndarray:
    """int16 with the fill value where the first mode is strongest."""
    mask = modes()[5]
    packed = np.rint((field - np.float32(OFFSET)) / np.float32(SCALE)).astype(np.int16)
    packed[:, mask > np.quantile(mask, 1 - MISSING)] = FILL
    return packed
