"""Animals of the HDF5 format itself: versions, chunk indices, paging, storage elsewhere."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np

from tests.storage.animals import Animal, hdf5, library, numbers, register, smooth

VERSIONS = ("earliest", "v108", "v110", "v112", "v114", "latest")


def _chunk_indices(file: h5py.File) -> None:
    """All the ways in which HDF5 may find chunks, with and without filters."""
    shape = (40, 9)
    for name, how in {"plain": {}, "gzip": {"compression": "gzip", "shuffle": True}}.items():
        for index, more in {
            "fixed": {"chunks": (7, 4)},
            "extensible": {"chunks": (7, 4), "maxshape": (None, 9)},
            "btree": {"chunks": (7, 4), "maxshape": (None, None)},
            "single": {"chunks": shape},
        }.items():
            file.create_dataset(f"{index}_{name}", data=numbers("f4", shape), **more, **how)
            some = file.create_dataset(f"{index}_{name}_some", shape, "f4", **more, **how)
            some[15:17, 5:] = 3
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_chunk((7, 4))
    created.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    space = h5py.h5s.create_simple(shape)
    one = h5py.h5d.create(file.id, b"implicit", h5py.h5t.IEEE_F32LE, space, created)
    h5py.Dataset(one)[...] = numbers("f4", shape)
    h5py.h5d.create(file.id, b"implicit_unwritten", h5py.h5t.IEEE_F32LE, space, created)
    file["contiguous"] = numbers("f8", shape)


def _many_chunks(file: h5py.File) -> None:
    """More chunks than one page of a chunk index holds."""
    values = numbers("i2", (1300,))
    for name, more in {"fixed": {}, "extensible": {"maxshape": (None,)}}.items():
        file.create_dataset(name, data=values, chunks=(1,), **more)
        file.create_dataset(f"{name}_gzip", data=values, chunks=(2,), compression="gzip", **more)
        some = file.create_dataset(f"{name}_some", (1300,), "i2", chunks=(1,), **more)
        some[1200:] = 5


def _of_version(write: Any, version: str) -> Animal:
    def animal(path: Path) -> None:
        with h5py.File(path, "w", libver=(version, "latest")) as file:
            write(file)

    return animal


for _version in VERSIONS:
    register(f"chunk_indices_{_version}", _of_version(_chunk_indices, _version))
for _version in ("earliest", "latest"):
    register(f"many_chunks_{_version}", _of_version(_many_chunks, _version))


@hdf5()
def compact(file: h5py.File) -> None:
    for kind in ("<f4", ">i2", "u1"):
        created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        created.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((5, 4))
        name, stored = f"x{kind[1:]}".encode(), h5py.h5t.py_create(np.dtype(kind))
        one = h5py.h5d.create(file.id, name, stored, space, created)
        h5py.Dataset(one)[...] = smooth(kind, (5, 4))
    h5py.h5d.create(file.id, b"unwritten", h5py.h5t.IEEE_F32LE, space, created)


@hdf5()
def null_space(file: h5py.File) -> None:
    file["nothing"] = h5py.Empty("f4")
    file["number"] = numbers("f4", (3,))


@hdf5(userblock_size=1024)
def user_block(file: h5py.File) -> None:
    """Every address in the file counts from the end of the user's block."""
    file["contiguous"] = numbers("f4", (5, 6))
    file.create_dataset("chunked", data=numbers("f4", (5, 6)), chunks=(2, 4), compression="gzip")


@hdf5(fs_strategy="page", fs_page_size=4096, libver="latest")
def paged(file: h5py.File) -> None:
    _chunk_indices(file)


@hdf5(fs_strategy="page", fs_page_size=512, fs_persist=True, fs_threshold=1)
def paged_small(file: h5py.File) -> None:
    file["contiguous"] = numbers("f4", (5, 6))
    file.create_dataset("chunked", data=numbers("f4", (50, 60)), chunks=(9, 7), shuffle=True)


@hdf5(fs_strategy="aggregate", libver=("v110", "latest"))
def aggregated(file: h5py.File) -> None:
    _chunk_indices(file)


@hdf5(meta_block_size=65536, alignment_threshold=1, alignment_interval=4096)
def aligned(file: h5py.File) -> None:
    _chunk_indices(file)


def _superblock_1(path: Path) -> None:
    """A B-tree of another width than the usual one makes version 1 of the superblock."""
    created = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    assert library().H5Pset_istore_k(ctypes.c_int64(created.id), 8) >= 0
    with h5py.File(h5py.h5f.create(bytes(path), h5py.h5f.ACC_TRUNC, created)) as file:
        _chunk_indices(file)


register("superblock_1", _superblock_1)


def _narrow_addresses(path: Path) -> None:
    """Addresses and sizes of four bytes instead of eight."""
    created = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    created.set_sizes(4, 4)
    with h5py.File(h5py.h5f.create(bytes(path), h5py.h5f.ACC_TRUNC, created)) as file:
        _chunk_indices(file)


register("narrow_addresses", _narrow_addresses)


@hdf5()
def storage_elsewhere(file: h5py.File, path: Path) -> None:
    """Raw values in files beside this one."""
    values = numbers("f4", (6, 5))
    parts = [path.with_suffix(f".raw{part}") for part in range(2)]
    for part, piece in zip(parts, np.split(values, 2), strict=True):
        part.write_bytes(piece.tobytes())
    file.create_dataset("x", (6, 5), "f4", external=[(str(part), 0, 60) for part in parts])
    file["number"] = values


@hdf5(libver="latest")
def virtual(file: h5py.File, path: Path) -> None:
    """A variable put together of others, with a hole; and sources in another file."""
    values = numbers("f4", (4, 5))
    file["a"], file["b"] = values[:2], values[2:]
    layout = h5py.VirtualLayout((5, 5), "f4")
    layout[:2], layout[2:4] = h5py.VirtualSource(file["a"]), h5py.VirtualSource(file["b"])
    file.create_virtual_dataset("joined", layout, fillvalue=-1)
    other = path.with_suffix(".source.h5")
    with h5py.File(other, "w") as source:
        source["x"] = values
    away = h5py.VirtualLayout((4, 5), "f4")
    away[...] = h5py.VirtualSource(str(other), "x", (4, 5))
    file.create_virtual_dataset("away", away)


@hdf5()
def deep_and_wide(file: h5py.File) -> None:
    """Symbol tables of several nodes."""
    for at in range(60):
        file[f"variable_{at:03}"] = np.arange(at % 5 + 1)
    file["/a/b/c/d/e/f/g/x"] = numbers("f4", (3,))


@hdf5(libver="latest", track_order=True)
def many_attributes(file: h5py.File) -> None:
    """Attributes in dense storage, and links in a fractal heap."""
    one = file.create_dataset("x", data=np.arange(3.0))
    for at in range(60):
        one.attrs[f"a{59 - at:02}"] = at
        file[f"v{59 - at:02}"] = np.float32(at)


def _appended(path: Path) -> None:
    """Closed and opened again for writing, several times, by both libraries."""
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("time", None)
        file.createDimension("x", 6)
        file.createVariable("time", "i4", ("time",))
        file.createVariable("field", "f4", ("time", "x"), zlib=True, chunksizes=(2, 6))
    for step in range(5):
        with netCDF4.Dataset(path, "a") as file:
            file["time"][step] = step
            file["field"][step] = numbers("f4", (6,), str(step))
            file.history = "x" * (step * 50)
    with h5py.File(path, "a") as file:
        file["field"].attrs["note"] = "by h5py"


register("appended", _appended)


def _swmr(path: Path) -> None:
    """Written in the mode that lets others read meanwhile."""
    with h5py.File(path, "w", libver="latest") as file:
        one = file.create_dataset("x", (0, 4), "f4", chunks=(3, 4), maxshape=(None, 4))
        file.swmr_mode = True
        for step in range(7):
            one.resize((step + 1, 4))
            one[step] = step
            one.flush()


register("single_writer", _swmr)
