"""Animals of missing, partial, edge and oddly written chunks, and of unlimited dimensions."""

from __future__ import annotations

import ctypes
import zlib

import h5py
import netCDF4
import numpy as np

from tests.storage.animals import hdf5, library, netcdf, numbers, smooth


@netcdf
def edges(file: netCDF4.Dataset) -> None:
    """Chunks that do not divide the shape, that are as large as it, and of one element."""
    shape = (5, 6, 7)
    for name, size in zip("tyx", shape, strict=True):
        file.createDimension(name, size)
    for chunks in ((1, 1, 1), (2, 4, 5), (5, 6, 7), (1, 6, 7), (5, 1, 1), (3, 6, 2), (4, 5, 6)):
        name = "c" + "_".join(map(str, chunks))
        one = file.createVariable(name, "f4", tuple("tyx"), zlib=True, chunksizes=chunks)
        one[:] = numbers("f4", shape)


@netcdf
def missing_chunks(file: netCDF4.Dataset) -> None:
    file.createDimension("y", 20)
    file.createDimension("x", 30)
    for name, how in {
        "usual": {},
        "own": {"fill_value": -5.0},
        "nan": {"fill_value": np.nan},
        "zlib": {"zlib": True, "fletcher32": True},
        "big": {"endian": "big", "fill_value": 12.5, "zlib": True},
    }.items():
        one = file.createVariable(name, "f4", ("y", "x"), chunksizes=(6, 7), **how)
        one[3:9, 10:13] = numbers("f4", (6, 3))
        one[19, 29] = 4.0
    file.createVariable("never", "i2", ("y", "x"), chunksizes=(6, 7), fill_value=-1)
    file.createVariable("never_contiguous", "i2", ("y", "x"), contiguous=True, fill_value=-1)
    file.createVariable("half_contiguous", "i4", ("y", "x"), contiguous=True)[:10] = 3


@netcdf
def without_fill(file: netCDF4.Dataset) -> None:
    """Every chunk is written here: what others hold is left undefined by HDF5."""
    file.set_fill_off()
    file.createDimension("x", 20)
    for name, how in {"plain": {}, "zlib": {"zlib": True}, "off": {"fill_value": False}}.items():
        file.createVariable(name, "f4", ("x",), chunksizes=(6,), **how)[:] = numbers("f4", (20,))


@netcdf
def unlimited(file: netCDF4.Dataset) -> None:
    file.createDimension("time", None)
    file.createDimension("level", None)
    file.createDimension("x", 5)
    file.createVariable("time", "f8", ("time",))[:] = range(10)
    one = file.createVariable("whole", "f4", ("time", "level", "x"), zlib=True)
    one[:10, :4] = numbers("f4", (10, 4, 5))
    file.createVariable("usual_chunks", "f4", ("time", "x"))[:10] = numbers("f4", (10, 5))
    file.createVariable("single_steps", "f4", ("time", "x"), chunksizes=(1, 5))[:10] = 1
    file.createVariable("huge_chunk", "i2", ("time",), chunksizes=(4096,), zlib=True)[:10] = 3


@netcdf
def shorter_than_the_dimension(file: netCDF4.Dataset) -> None:
    """Variables to which fewer records were written than the dimension has: the rest is filled."""
    file.createDimension("time", None)
    file.createDimension("member", None)
    file.createDimension("x", 3)
    file.createVariable("time", "i4", ("time",))[:] = range(12)
    file.createVariable("member", "i4", ("member",))[:] = range(4)
    for name, how in {
        "usual": {},
        "own": {"fill_value": -9.0},
        "zlib": {"zlib": True, "chunksizes": (2, 3), "fill_value": 1e20},
    }.items():
        file.createVariable(name, "f4", ("time", "x"), **how)[:5] = numbers("f4", (5, 3))
    file.createVariable("never", "f4", ("time", "x"), fill_value=-7.0)
    file.createVariable("usual_never", "i8", ("time",))
    file.createVariable("letters", "S1", ("time",))[:2] = [b"a", b"b"]
    file.createVariable("short_packed", "i2", ("time",), fill_value=-99).scale_factor = 0.5
    file["short_packed"][:3] = [1, 2, 3]


@netcdf
def shorter_in_two_dimensions(file: netCDF4.Dataset) -> None:
    """The netCDF library gives memory that it did not set for what was not written here."""
    file.createDimension("time", None)
    file.createDimension("member", None)
    file.createDimension("x", 3)
    file.createVariable("time", "i4", ("time",))[:] = range(12)
    file.createVariable("member", "i4", ("member",))[:] = range(4)
    both = file.createVariable("both", "i2", ("time", "member", "x"), fill_value=-1, zlib=True)
    both[:7, :2] = numbers("i2", (7, 2, 3))
    half = file.createVariable("half", "i2", ("time", "member", "x"), fill_value=-1, zlib=True)
    half[:7, :4] = numbers("i2", (7, 4, 3))


@netcdf
def unlimited_and_empty(file: netCDF4.Dataset) -> None:
    file.createDimension("time", None)
    file.createDimension("x", 4)
    file.createVariable("time", "f8", ("time",)).units = "days since 2000-01-01"
    file.createVariable("field", "f4", ("time", "x"), zlib=True)
    file.createVariable("whole", "f4", ("x",))[:] = range(4)
    file.createVariable("words", str, ("time",))


@hdf5()
def fills_of_h5py(file: h5py.File) -> None:
    """Fill values that HDF5 knows of and no attribute tells."""
    for name, how in {
        "usual": {},
        "own": {"fillvalue": 42},
        "big": {"fillvalue": 42, "dtype": ">i4"},
        "never": {"fillvalue": 42, "fill_time": "ifset"},
        "alloc": {"fillvalue": 7, "fill_time": "alloc"},
        "packed": {"fillvalue": 42, "compression": "gzip", "shuffle": True},
    }.items():
        one = file.create_dataset(name, (20,), chunks=(6,), **{"dtype": "i4", **how})
        one[7:9] = 5
    file.create_dataset("contiguous", (20,), "i4", fillvalue=11)
    file.create_dataset("scalar", (), "f8", fillvalue=2.5)
    file.create_dataset("partial", (4, 5), "f4", chunks=(3, 3), fillvalue=np.nan)[1, 1] = 1


@hdf5()
def masked_filters(file: h5py.File) -> None:
    """Chunks of one variable that went through different stages of its pipeline."""
    shape, chunk = (12, 10), (3, 10)
    for kind in ("<f4", ">i2", "<f8"):
        values = smooth(kind, shape)
        one = file.create_dataset(
            f"x{kind[1:]}", shape, kind, chunks=chunk, compression="gzip", shuffle=True
        )
        for at, mask in enumerate((0b00, 0b01, 0b10, 0b11)):
            raw = values[3 * at : 3 * at + 3].tobytes()
            if not mask & 1:
                size = values.dtype.itemsize
                raw = np.frombuffer(raw, "u1").reshape(-1, size).T.tobytes()
            if not mask & 2:
                raw = zlib.compress(raw)
            one.id.write_direct_chunk((3 * at, 0), raw, mask)


@hdf5()
def masked_checksums(file: h5py.File) -> None:
    """A checksum that was left out for one chunk; and filters left out by HDF5 itself."""
    values = smooth("f4", (8, 5))
    one = file.create_dataset("x", (8, 5), "f4", chunks=(2, 5), fletcher32=True)
    one[2:] = values[2:]
    one.id.write_direct_chunk((0, 0), values[:2].tobytes(), 1)


@hdf5()
def optional_filters_that_gave_up(file: h5py.File) -> None:
    """Deflate as h5py sets it is optional: what does not get smaller is stored as it is."""
    random = numbers("u8", (40, 50))
    file.create_dataset("noise", data=random, chunks=(7, 50), compression="gzip")
    file.create_dataset("lzf", data=random, chunks=(7, 50), compression="lzf")
    file.create_dataset("tiny", data=random[:3, :1], chunks=(1, 1), compression="gzip")


@hdf5(libver="latest")
def unfiltered_edges(file: h5py.File) -> None:
    """Partial edge chunks that bypass the filters, where the format says so for the variable."""
    shape, chunk = (7, 9), (4, 5)
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_chunk(chunk)
    created.set_deflate(4)
    dont_filter_partial_chunks = 2
    assert library().H5Pset_chunk_opts(ctypes.c_int64(created.id), dont_filter_partial_chunks) >= 0
    space = h5py.h5s.create_simple(shape)
    one = h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, space, created)
    h5py.Dataset(one)[...] = smooth("f4", shape)


@hdf5()
def shrunk_and_grown(file: h5py.File) -> None:
    """An edge chunk holds elements that lie outside of the shape, or did for a while."""
    one = file.create_dataset("cut", data=np.arange(30), chunks=(8,), maxshape=(None,))
    one.resize((21,))
    again = file.create_dataset("regrown", data=np.arange(30), chunks=(8,), maxshape=(None,))
    again.resize((11,))
    again.resize((27,))
    whole = file.create_dataset("emptied", data=np.arange(30), chunks=(8,), maxshape=(None,))
    whole.resize((0,))
    back = file.create_dataset("refilled", (3,), "i8", chunks=(8,), maxshape=(None,), fillvalue=9)
    back[:] = 1
    back.resize((20,))


@hdf5()
def chunks_written_backwards(file: h5py.File) -> None:
    values = numbers("f4", (20, 6))
    one = file.create_dataset("x", (20, 6), "f4", chunks=(3, 4), compression="gzip", shuffle=True)
    for at in reversed(range(20)):
        one[at] = values[at]


@hdf5()
def rewritten_chunks(file: h5py.File) -> None:
    """Chunks that moved in the file, because they grew when they were written again."""
    one = file.create_dataset("x", (20, 50), "f8", chunks=(5, 50), compression="gzip")
    one[...] = 0
    one[3:12] = numbers("f8", (9, 50))


@hdf5()
def many_chunks(file: h5py.File) -> None:
    """B-trees of several levels."""
    one = file.create_dataset("x", (1500,), "i2", chunks=(1,))
    one[::2] = numbers("i2", (750,))
    file.create_dataset("y", data=numbers("i2", (60, 70)), chunks=(2, 3), compression="gzip")
