"""Animals of every number type, byte order, filter and rank."""

from __future__ import annotations

from itertools import product

import h5py
import netCDF4
import numpy as np

from tests.storage.animals import hdf5, netcdf, numbers, scaled, smooth

KINDS = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")
SHAPE, CHUNKS = (7, 11, 13), (3, 4, 13)


def _axes(file: netCDF4.Dataset, sizes: tuple[int, ...] = SHAPE) -> tuple[str, ...]:
    names = tuple("tzyxabcd"[: len(sizes)])
    for name, size in zip(names, sizes, strict=True):
        file.createDimension(name, size)
    return names


def _of_all_kinds(file: netCDF4.Dataset, **how: object) -> None:
    axes = _axes(file)
    for kind, order in product(KINDS, ("little", "big")):
        one = file.createVariable(f"{kind}_{order}", kind, axes, endian=order, **how)
        one[:] = numbers(kind, SHAPE)


@netcdf
def kinds_contiguous(file: netCDF4.Dataset) -> None:
    _of_all_kinds(file, contiguous=True)


@netcdf
def kinds_chunked(file: netCDF4.Dataset) -> None:
    _of_all_kinds(file, chunksizes=CHUNKS)


@netcdf
def kinds_zlib(file: netCDF4.Dataset) -> None:
    _of_all_kinds(file, chunksizes=CHUNKS, zlib=True, shuffle=False)


@netcdf
def kinds_zlib_shuffle(file: netCDF4.Dataset) -> None:
    _of_all_kinds(file, chunksizes=CHUNKS, zlib=True, shuffle=True)


@netcdf
def kinds_zlib_shuffle_fletcher32(file: netCDF4.Dataset) -> None:
    _of_all_kinds(file, chunksizes=CHUNKS, zlib=True, shuffle=True, fletcher32=True)


@netcdf
def kinds_fletcher32(file: netCDF4.Dataset) -> None:
    _of_all_kinds(file, chunksizes=CHUNKS, fletcher32=True)


@netcdf
def zlib_levels(file: netCDF4.Dataset) -> None:
    axes = _axes(file)
    for level, shuffle in product(range(10), (False, True)):
        name = f"level{level}_{'shuffled' if shuffle else 'plain'}"
        one = file.createVariable(
            name, "f4", axes, zlib=True, complevel=level, shuffle=shuffle, chunksizes=CHUNKS
        )
        one[:] = smooth("f4", SHAPE)


@netcdf
def fills_of_all_kinds(file: netCDF4.Dataset) -> None:
    """A third of the chunks written, with fill values of one's own and the default ones."""
    axes = _axes(file)
    for kind, order in product(KINDS, ("little", "big")):
        for name, fill in (("own", np.array(7, kind)), ("usual", None)):
            one = file.createVariable(
                *(f"{kind}_{order}_{name}", kind, axes),
                endian=order,
                fill_value=fill,
                chunksizes=CHUNKS,
                zlib=True,
            )
            one[:2] = numbers(kind, SHAPE)[:2]


@netcdf
def ranks(file: netCDF4.Dataset) -> None:
    """Of no dimension up to seven, contiguous and chunked."""
    sizes = (3, 2, 4, 3, 2, 3, 2)
    axes = _axes(file, sizes)
    for rank in range(len(sizes) + 1):
        shape = sizes[:rank]
        file.createVariable(f"contiguous{rank}", "i4", axes[:rank])[...] = numbers("i4", shape)
        if rank:
            chunks = tuple(max(1, n - 1) for n in shape)
            one = file.createVariable(
                f"chunked{rank}", ">i2", axes[:rank], zlib=True, chunksizes=chunks
            )
            one[...] = numbers("i2", shape)


@netcdf
def scalars(file: netCDF4.Dataset) -> None:
    for kind, order in product(KINDS, ("little", "big")):
        file.createVariable(f"{kind}_{order}", kind, (), endian=order)[...] = numbers(kind, ())
    file.createVariable("never_written", "f8", ())
    file.createVariable("filled", "i2", (), fill_value=-3)


@netcdf
def sizes_one_and_zero(file: netCDF4.Dataset) -> None:
    file.createDimension("none", None)
    file.createDimension("one", 1)
    file.createDimension("three", 3)
    file.createVariable("one", "f8", ("one",))[:] = 5
    file.createVariable("a", "f4", ("one", "three"), zlib=True)[:] = [[1, 2, 3]]
    file.createVariable("b", "f4", ("three", "one"), contiguous=True)[:] = [[1], [2], [3]]
    file.createVariable("no_record", "f4", ("none", "three"), zlib=True)
    file.createVariable("none", "i8", ("none",))


@hdf5()
def shuffle_alone(file: h5py.File) -> None:
    for kind in KINDS:
        file.create_dataset(kind, data=numbers(kind, SHAPE), chunks=CHUNKS, shuffle=True)


@hdf5()
def filters_in_all_orders(file: h5py.File) -> None:
    """The pipeline runs in the order in which the filters were asked for."""
    codes = {"s": (2, ()), "d": (1, (4,)), "f": (3, ())}
    for order in ("sdf", "dsf", "fsd", "fds", "sfd", "dfs", "dd", "ff", "ss"):
        for kind in ("f4", "i2"):
            created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            created.set_chunk(CHUNKS)
            for letter in order:
                number, options = codes[letter]
                created.set_filter(number, h5py.h5z.FLAG_OPTIONAL, options)
            space = h5py.h5s.create_simple(SHAPE)
            kept = h5py.h5d.create(
                *(file.id, f"{order}_{kind}".encode(), h5py.h5t.py_create(np.dtype(kind))),
                *(space, created),
            )
            h5py.Dataset(kept)[...] = smooth(kind, SHAPE)


@hdf5()
def one_byte_past_the_words(file: h5py.File) -> None:
    """Odd numbers of bytes: fletcher32 pads, shuffle leaves a rest where elements do not fit."""
    for size in (1, 2, 3, 5, 359, 361, 721):
        for kind in ("u1", "i2", "f8"):
            file.create_dataset(
                f"{kind}_{size}", data=numbers(kind, (size,)), chunks=(size,), fletcher32=True
            )


@hdf5()
def scales_of_h5py(file: h5py.File) -> None:
    """Coordinates by h5py, filters that netCDF4-python does not combine."""
    y, x = scaled(file, "y", 11), scaled(file, "x", 13)
    for name, how in {
        "lzf": {"compression": "lzf"},
        "gzip": {"compression": "gzip", "shuffle": True, "fletcher32": True},
    }.items():
        one = file.create_dataset(name, data=smooth("f4", (11, 13)), chunks=(4, 5), **how)
        one.dims[0].attach_scale(y)
        one.dims[1].attach_scale(x)


@netcdf
def other_filters(file: netCDF4.Dataset) -> None:
    """What the netCDF library can compress with besides zlib, as far as this build of it can."""
    axes = _axes(file)
    for name in ("szip", "zstd", "bzip2", "blosc_lz", "blosc_lz4", "blosc_zlib", "blosc_zstd"):
        for kind in ("f4", "i2"):
            one = file.createVariable(
                f"{name}_{kind}", kind, axes, compression=name, chunksizes=CHUNKS
            )
            one[:] = smooth(kind, SHAPE)


@hdf5()
def filters_that_pack_bits(file: h5py.File) -> None:
    whole = smooth("i4", SHAPE)
    file.create_dataset("offset_integer", data=whole, chunks=CHUNKS, scaleoffset=0)
    file.create_dataset("offset_float", data=smooth("f4", SHAPE), chunks=CHUNKS, scaleoffset=2)
    narrow = h5py.h5t.STD_I32LE.copy()
    narrow.set_precision(17)
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_chunk(CHUNKS)
    created.set_filter(5, h5py.h5z.FLAG_MANDATORY, ())
    one = h5py.h5d.create(file.id, b"nbit", narrow, h5py.h5s.create_simple(SHAPE), created)
    h5py.Dataset(one)[...] = whole


@netcdf
def quantized(file: netCDF4.Dataset) -> None:
    axes = _axes(file)
    for mode in ("BitGroom", "GranularBitRound", "BitRound"):
        one = file.createVariable(
            *(mode, "f4", axes),
            zlib=True,
            chunksizes=CHUNKS,
            significant_digits=3,
            quantize_mode=mode,
        )
        one[:] = smooth("f4", SHAPE)
    one = file.createVariable("least", "f8", axes, zlib=True, least_significant_digit=2)
    one[:] = smooth("f8", SHAPE)
