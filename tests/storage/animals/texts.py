"""Animals of characters, strings and the types that users define."""

from __future__ import annotations

import h5py
import netCDF4
import numpy as np

from tests.storage.animals import hdf5, netcdf, numbers

WORDS = ("", "a", "Wärme", "日本", "with space", "x" * 40, "tab\tand\nline")


@netcdf
def characters(file: netCDF4.Dataset) -> None:
    file.createDimension("station", 5)
    file.createDimension("length", 8)
    file.createDimension("string1", 1)
    words = np.array([b"Hamburg", b"Kiel", b"", b"a b", b"eightful"], "S8")
    for name, how in {"plain": {"contiguous": True}, "packed": {"zlib": True}}.items():
        one = file.createVariable(name, "S1", ("station", "length"), **how)
        one[:] = netCDF4.stringtochar(words)
    coded = file.createVariable("coded", "S1", ("station", "length"), zlib=True)
    coded._Encoding = "utf-8"
    coded[:] = np.array(["Köln", "Kiel", "", "é", "東京"])
    file.createVariable("letters", "S1", ("station",))[:] = list("abcde")
    file.createVariable("single", "S1", ("station", "string1"))[:] = [[one] for one in "vwxyz"]
    file.createVariable("scalar", "S1", ())[...] = b"q"
    file.createVariable("one_word", "S1", ("length",))[:] = list("eightful")
    filled = file.createVariable("filled", "S1", ("station", "length"), fill_value=b"_", zlib=True)
    filled[1] = list("written!")


@netcdf
def strings(file: netCDF4.Dataset) -> None:
    file.createDimension("word", len(WORDS))
    file.createDimension("two", 2)
    file.createVariable("words", str, ("word",))[:] = np.array(WORDS, object)
    file.createVariable("packed", str, ("word",), zlib=True)[:] = np.array(WORDS, object)
    file.createVariable("table", str, ("two", "word"))[:] = np.array([WORDS, WORDS[::-1]], object)
    file.createVariable("scalar", str, ())[...] = "alone"
    file.createVariable("half", str, ("word",))[:2] = np.array(WORDS[3:5], object)
    file.createVariable("filled", str, ("word",), fill_value="nothing")
    file.createVariable("number", "f4", ("word",))[:] = range(len(WORDS))


@netcdf
def strings_unlimited(file: netCDF4.Dataset) -> None:
    file.createDimension("word", None)
    file.createVariable("word", str, ("word",))[:] = np.array(WORDS, object)
    file.createVariable("short", str, ("word",))[:2] = np.array(WORDS[3:5], object)
    file.createVariable("number", "i2", ("word",), zlib=True)[:] = range(len(WORDS))


@netcdf
def enumerations(file: netCDF4.Dataset) -> None:
    file.createDimension("x", 9)
    clouds = file.createEnumType(np.uint8, "clouds", {"clear": 0, "cumulus": 1, "missing": 255})
    big = file.createEnumType(np.int16, "levels", {"low": -300, "high": 300})
    one = file.createVariable("sky", clouds, ("x",), zlib=True, fill_value=255)
    one[:4] = [0, 1, 0, 255]
    file.createVariable("scalar", clouds, ())[...] = 1
    wide = file.createVariable("wide", big, ("x",), chunksizes=(4,), fill_value=-300)
    wide[:] = [-300, 300, 300] * 3
    file.createVariable("number", "f4", ("x",))[:] = range(9)


@netcdf
def compounds(file: netCDF4.Dataset) -> None:
    file.createDimension("x", 6)
    kind = np.dtype([("when", "i4"), ("what", "f8"), ("how", "u1")])
    record = file.createCompoundType(kind, "record")
    values = np.zeros(6, kind)
    values["when"], values["what"] = range(6), np.linspace(0, 1, 6)
    file.createVariable("records", record, ("x",))[:] = values
    file.createVariable("packed", record, ("x",), zlib=True)[:] = values
    file.createVariable("number", "f4", ("x",), zlib=True)[:] = range(6)


@netcdf
def ragged(file: netCDF4.Dataset) -> None:
    file.createDimension("x", 4)
    kind = file.createVLType(np.int32, "row")
    one = file.createVariable("rows", kind, ("x",))
    for at in range(4):
        one[at] = np.arange(at, dtype="i4")
    file.createVariable("number", "f4", ("x",), zlib=True)[:] = range(4)


@netcdf
def complex_as_compound(file: netCDF4.Dataset) -> None:
    file.createDimension("x", 5)
    kind = file.createCompoundType(np.dtype([("r", "f8"), ("i", "f8")]), "complex128")
    values = np.zeros(5, [("r", "f8"), ("i", "f8")])
    values["r"], values["i"] = range(5), [0, -0.0, np.nan, 1, 2]
    file.createVariable("field", kind, ("x",))[:] = values


@hdf5()
def complex_of_h5py(file: h5py.File) -> None:
    file["z"] = np.array([1 + 2j, complex(np.nan, -0.0)])
    file["number"] = numbers("f8", (5,))


@hdf5()
def booleans_of_h5py(file: h5py.File) -> None:
    file["truth"] = np.array([True, False, True])
    file["number"] = numbers("f8", (5,))


@hdf5()
def strings_of_h5py(file: h5py.File) -> None:
    file["fixed"] = np.array([b"abc", b"de", b""])
    file["long"] = np.array([b"x" * 30, b"y"])
    file.create_dataset("ascii", data=[b"abc", b"d"], dtype=h5py.string_dtype("ascii"))
    file.create_dataset("utf8", data=["ä", "日本"], dtype=h5py.string_dtype("utf-8"))
    file.create_dataset("utf8_fixed", data=["ä".encode()] * 2, dtype=h5py.string_dtype("utf-8", 6))
    file.create_dataset("scalar", data="alone", dtype=h5py.string_dtype())
    file.create_dataset("letters", data=np.array([b"a", b"b"], "S1"))
    file["number"] = numbers("f8", (3,))


@hdf5()
def ragged_of_h5py(file: h5py.File) -> None:
    one = file.create_dataset("rows", (3,), dtype=h5py.vlen_dtype(np.int32))
    for at in range(3):
        one[at] = np.arange(at)
    file["number"] = numbers("f8", (3,))


@hdf5()
def opaque_of_h5py(file: h5py.File) -> None:
    file["blob"] = np.array([b"\x00\x01\xff", b"abc"], "V3")
    file["number"] = numbers("f8", (2,))


@hdf5()
def dates_of_h5py(file: h5py.File) -> None:
    days = np.array(["2001-02-03", "1999-12-31"], "M8[D]").astype(h5py.opaque_dtype("M8[D]"))
    file["days"] = days
    file["number"] = numbers("f8", (2,))


@hdf5()
def references_of_h5py(file: h5py.File) -> None:
    file["number"] = numbers("f8", (2,))
    file.create_dataset("link", data=[file["number"].ref], dtype=h5py.ref_dtype)


@hdf5()
def bit_fields_of_h5py(file: h5py.File) -> None:
    one = h5py.h5d.create(file.id, b"bits", h5py.h5t.STD_B16LE, h5py.h5s.create_simple((4,)))
    one.write(h5py.h5s.ALL, h5py.h5s.ALL, np.arange(4, dtype="u2"), h5py.h5t.STD_B16LE)
    file["number"] = numbers("f8", (2,))


@hdf5()
def array_types_of_h5py(file: h5py.File) -> None:
    one = file.create_dataset("triples", (4,), np.dtype((np.int32, (3,))))
    one[...] = np.arange(12).reshape(4, 3)
    file["number"] = numbers("f8", (2,))


@hdf5()
def narrow_integers_of_h5py(file: h5py.File) -> None:
    """Three bytes of four, shifted; and integers of three bytes."""
    narrow = h5py.h5t.STD_I32LE.copy()
    narrow.set_precision(20)
    narrow.set_offset(4)
    three = h5py.h5t.STD_U32BE.copy()
    three.set_precision(24)
    three.set_size(3)
    for name, kind in (("shifted", narrow), ("three", three)):
        one = h5py.h5d.create(file.id, name.encode(), kind, h5py.h5s.create_simple((5,)))
        one.write(h5py.h5s.ALL, h5py.h5s.ALL, np.arange(5, dtype="i4"))
    file["number"] = numbers("f8", (2,))


@hdf5()
def named_types_of_h5py(file: h5py.File) -> None:
    file["kind"] = np.dtype("<i4")
    file.create_dataset("number", data=[1, 2, 3], dtype=file["kind"])
