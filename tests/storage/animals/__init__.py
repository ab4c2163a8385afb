"""The register of the zoo: every animal is a function that writes one small file."""

from __future__ import annotations

import ctypes
import functools
import inspect
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np

Animal = Callable[[Path], None]

ANIMALS: dict[str, Animal] = {}
"""Name to the function that writes the file at a path."""


def register(name: str, animal: Animal) -> None:
    """Put an animal into the zoo; no two bear one name."""
    assert name not in ANIMALS, name
    ANIMALS[name] = animal


def netcdf(write: Callable[[netCDF4.Dataset], None]) -> Callable[[netCDF4.Dataset], None]:
    """Register a function that fills a file of netCDF4-python, under the function's name."""

    def animal(path: Path) -> None:
        with netCDF4.Dataset(path, "w", format="NETCDF4") as file:
            write(file)

    animal.__module__ = write.__module__
    register(write.__name__, animal)
    return write


def hdf5(**how: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function that fills a file of h5py; `how` goes to :class:`h5py.File`.

    A function of two parameters is given the path too.
    """

    def decorate(write: Callable[..., None]) -> Callable[..., None]:
        def animal(path: Path) -> None:
            with h5py.File(path, "w", **how) as file:
                if len(inspect.signature(write).parameters) == 2:
                    write(file, path)
                else:
                    write(file)

        animal.__module__ = write.__module__
        register(write.__name__, animal)
        return write

    return decorate


def chance(name: str) -> np.random.Generator:
    """Random numbers that are the same in every run."""
    return np.random.default_rng([20011, zlib.crc32(name.encode())])


@functools.cache
def _special(kind: str) -> np.ndarray:
    """Numbers on which careless decoding shows: zeros of both signs, NaN with payloads, bounds."""
    dtype = np.dtype(kind)
    if dtype.kind == "f":
        bits = {
            4: [0x7FC00001, 0xFFC12345, 0x7F800000, 0xFF800000, 0x80000000, 0x00000001],
            8: [
                *(0x7FF8000000000001, 0xFFF8DEADBEEF0001, 0x7FF0000000000000),
                *(0xFFF0000000000000, 0x8000000000000000, 0x0000000000000001),
            ],
        }[dtype.itemsize]
        return np.array(bits, f"u{dtype.itemsize}").view(f"f{dtype.itemsize}")
    info = np.iinfo(dtype)
    return np.array([info.min, info.max, 0, 1], kind)


def numbers(kind: str, shape: tuple[int, ...], seed: str = "") -> np.ndarray:
    """Random numbers of a kind, some special ones among them; in the machine's byte order."""
    random = chance(seed + kind + str(shape))
    dtype = np.dtype(kind)
    size = int(np.prod(shape, dtype=int))
    if dtype.kind == "f":
        values = random.normal(0, 1000, size).astype(kind)
    else:
        info = np.iinfo(dtype)
        values = random.integers(info.min, info.max, size, dtype=dtype, endpoint=True)
    special = _special(kind)
    for at, one in zip(random.permutation(size), special, strict=False):
        values[at : at + 1] = one
    return values.reshape(shape)


def smooth(kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers that compress well."""
    return (np.arange(int(np.prod(shape, dtype=int))) % 101).astype(kind).reshape(shape)


def library() -> ctypes.CDLL:
    """The HDF5 library of h5py, for the few settings that h5py has no function for."""
    return ctypes.CDLL(h5py.h5p.__file__)


def scaled(file: h5py.File, name: str, size: int) -> h5py.Dataset:
    """A dimension scale with values in a file of h5py."""
    one = file.create_dataset(name, data=np.arange(size, dtype="f8"))
    one.make_scale(name)
    return one
