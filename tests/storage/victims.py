"""Files for the tests of bad input, and how an attempt to read one ends."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import xarray as xr

from hpclaunch.errors import StorageError
from tests.storage.animals import numbers
from tests.storage.opening import ENGINE
from tests.storage.same import differences

REFUSALS = (StorageError, OSError, RuntimeError, ValueError, KeyError)
"""What a bad file may end in: ours, or what engine netcdf4 raises for it."""


def good(path: Path) -> Path:
    """Write a file whose values are checked by fletcher32, of the usual format of netCDF."""
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("time", None)
        file.createDimension("x", 50)
        file.createVariable("time", "f8", ("time",), fletcher32=True)[:40] = range(40)
        for name, how in {
            "checked": {"zlib": True, "fletcher32": True},
            "packed": {"zlib": True},
            "noise": {"fletcher32": True},
        }.items():
            one = file.createVariable(name, "f4", ("time", "x"), chunksizes=(8, 50), **how)
            one[:40] = numbers("f4", (40, 50), name)
        file["checked"].units = "K"
    return path


def checked(path: Path) -> Path:
    """Write a file in which a checksum covers every byte: of metadata (format 3) and of data."""
    with h5py.File(path, "w", libver="latest") as file:
        for name, more in {"fixed": {}, "growing": {"maxshape": (None, 30)}}.items():
            one = file.create_dataset(
                *(name, (60, 30), "f4"),
                chunks=(7, 11),
                compression="gzip",
                shuffle=True,
                fletcher32=True,
                **more,
            )
            one[...] = numbers("f4", (60, 30), name)
            one.attrs["units"] = "K"
    return path


def bulk(path: Path, name: str = "checked") -> tuple[int, int]:
    """Offset and size of the third chunk of a variable."""
    with h5py.File(path) as file:
        found = file[name].id.get_chunk_info(2)
    return found.byte_offset, found.size


def same_times(path: Path, like: os.stat_result) -> None:
    """Give a file the times that it had: a change then shows by less."""
    os.utime(path, ns=(like.st_atime_ns, like.st_mtime_ns))


def flip(path: Path, at: int, bits: int = 0xFF) -> None:
    """Change one byte of a file and leave its times alone."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ bits]))
    same_times(path, before)


def read(path: Path, engine: str = ENGINE) -> xr.Dataset:
    """Open a file and read all of it."""
    with xr.open_dataset(path, engine=engine) as dataset:
        return dataset.load()


def pristine(path: Path) -> xr.Dataset:
    """All of a good file, as engine netcdf4 reads it."""
    return read(path, "netcdf4")


def ending(path: Path, wanted: xr.Dataset) -> str:
    """How it ends to open and read a file: ``same``, ``refused``, or in words what was wrong."""
    try:
        found = read(path)
    except REFUSALS as why:
        named = str(path) in str(why) or not isinstance(why, StorageError)
        return "refused" if named else f"no file named: {why}"
    told = [one for one in differences(found, wanted) if "encoding: 'source'" not in one]
    return "same" if not told else f"WRONG: {told}"


def copy(path: Path, folder: Path, name: str) -> Path:
    """A copy with the times of the original."""
    target = folder / name
    shutil.copy2(path, target)
    return target


def told(why: BaseException, path: Path, variable: str | None = None) -> list[str]:
    """What an error does not tell of what it has to: the file, the variable, a hint."""
    text = str(why)
    missing = [] if str(path) in text else [f"the file is not named: {text}"]
    if variable is not None and variable not in text:
        missing.append(f"the variable is not named: {text}")
    if isinstance(why, StorageError) and not why.hint:
        missing.append("there is no hint")
    return missing


def attempt(act: Any) -> Any:
    """What a function gives, or the refusal that it raises; other exceptions go on."""
    try:
        return act()
    except REFUSALS as why:
        return why
