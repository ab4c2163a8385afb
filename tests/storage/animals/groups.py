"""Animals of groups, dimensions, dimension scales, names and attributes."""

from __future__ import annotations

from typing import Any

import h5py
import netCDF4
import numpy as np

from tests.storage.animals import hdf5, netcdf, numbers, scaled

NAMES = (
    *("a b", "Wärme", "日本", "a+b", "a.b@c", "x-y", "_under", "1st", "CamelCase", "50%", "a#b"),
    *("q?", "a:b", "it's", "a&b", "n" * 200),
)


@netcdf
def nested_groups(file: netCDF4.Dataset) -> None:
    """Dimensions of enclosing groups, and names that are the same in several of them."""
    file.title = "root"
    file.createDimension("x", 4)
    file.createDimension("time", None)
    file.createVariable("x", "f8", ("x",))[:] = range(4)
    file.createVariable("t", "f4", ("time", "x"))[:3] = numbers("f4", (3, 4))
    for name in ("a", "b"):
        group = file.createGroup(name)
        group.title = name
        group.createVariable("t", "f4", ("time", "x"), zlib=True)[:2] = numbers("f4", (2, 4), name)
        inner = group.createGroup("inner")
        inner.createDimension("own", 2)
        inner.createVariable("t", "i2", ("x", "own"))[:] = numbers("i2", (4, 2), name)
        deep = inner.createGroup("deep/deeper")
        deep.createVariable("t", "f8", ("own", "x", "time"), endian="big")[:, :, :3] = 1.5
    file.createGroup("empty").note = "nothing here"
    only = file.createGroup("dimensions_only")
    only.createDimension("alone", 9)


@netcdf
def shadowed_dimensions(file: netCDF4.Dataset) -> None:
    """A group has a dimension of the name of an outer one, and another size."""
    file.createDimension("x", 4)
    file.createVariable("x", "f8", ("x",))[:] = range(4)
    inner = file.createGroup("inner")
    inner.createDimension("x", 3)
    inner.createVariable("t", "i2", ("x",), zlib=True)[:] = numbers("i2", (3,))
    inner.createGroup("deep").createVariable("x", "f4", ("x",))[:] = range(3)


@netcdf
def no_variables(file: netCDF4.Dataset) -> None:
    file.createDimension("x", 4)
    file.title = "nothing"


@netcdf
def nothing_at_all(file: netCDF4.Dataset) -> None:
    """An empty file."""


@netcdf
def names(file: netCDF4.Dataset) -> None:
    for at, name in enumerate(NAMES):
        file.createDimension(name, at + 1)
        one = file.createVariable(name, "f4", (name,), zlib=True)
        one[:] = range(at + 1)
        one.setncattr(name, name)
    for name in NAMES:
        file.createGroup(f"{name[:9]} group").createVariable(name, "i2", (name,))[:] = 1


@netcdf
def scales(file: netCDF4.Dataset) -> None:
    """Dimensions with and without coordinate variables, and variables named like dimensions."""
    for name, size in {"x": 3, "y": 4, "z": 5, "w": 2, "v": 6}.items():
        file.createDimension(name, size)
    file.createVariable("field", "f4", ("z", "y", "x"))[:] = numbers("f4", (5, 4, 3))
    file.createVariable("x", "f8", ("x",))[:] = range(3)
    file.createVariable("y", "f8", ("z", "y"), zlib=True)[:] = numbers("f8", (5, 4))
    file.createVariable("w", "f8", ("x",))[:] = range(3)
    file.createVariable("v", "f8", ())[...] = 1
    file.createVariable("square", "f4", ("x", "x"))[:] = numbers("f4", (3, 3))


@netcdf
def order_of_making(file: netCDF4.Dataset) -> None:
    """Neither alphabetic nor dimensions first."""
    file.createDimension("z", 2)
    file.createDimension("a", 3)
    file.createVariable("second", "f4", ("a", "z"))[:] = 1
    file.createVariable("a", "f4", ("a",))[:] = range(3)
    file.createVariable("first", "f4", ("z", "a"))[:] = 2
    file.createVariable("z", "f4", ("z",))[:] = range(2)
    file.setncatts({"zeta": 1, "alpha": 2, "mid": 3})
    file["first"].setncatts({"zeta": 1, "alpha": 2, "mid": 3})


def _some_attributes() -> dict[str, Any]:
    kinds = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")
    found: dict[str, Any] = {f"scalar_{kind}": np.array(7, kind)[()] for kind in kinds}
    found |= {f"array_{kind}": np.array([1, 2, 3], kind) for kind in kinds}
    found |= {f"single_{kind}": np.array([9], kind) for kind in kinds}
    found |= {
        "empty": "",
        "text": "some text",
        "unicode": "Wärme 日本",
        "lines": "a\nb\n",
        "nan": np.float32(np.nan),
        "negative_zero": -0.0,
        "with_null": "a\0b",
        "python_int": 5,
        "python_float": 5.5,
        "list": [1, 2],
        "bytes": b"raw",
    }
    return found


@netcdf
def attributes(file: netCDF4.Dataset) -> None:
    file.createDimension("x", 2)
    group = file.createGroup("g")
    one = file.createVariable("x", "f4", ("x",))
    one[:] = range(2)
    other = file.createVariable("other", "i4", ("x",), zlib=True)
    other[:] = range(2)
    for owner in (file, group, one, other):
        owner.setncatts(_some_attributes())
        owner.setncattr_string("strings", ["one", "", "drei 日本"])
        owner.setncattr_string("string", "single")
        owner.setncattr_string("string_list_of_one", ["single"])


@netcdf
def attributes_by_hand(file: netCDF4.Dataset) -> None:
    """Attributes that xarray gives a meaning."""
    file.createDimension("x", 2)
    one = file.createVariable("a", "f4", ("x",), least_significant_digit=1, zlib=True)
    one[:] = range(2)
    one.dtype_ = "f4"
    one.coordinates = "b"
    file.createVariable("b", "f4", ("x",))[:] = range(2)
    flag = file.createVariable("flag", "i1", ("x",))
    flag[:] = [0, 1]
    flag.setncatts({"dtype": "bool", "flag_values": np.array([0, 1], "i1"), "flag_meanings": "a b"})


@hdf5()
def attributes_of_h5py(file: h5py.File) -> None:
    one = file.create_dataset("x", data=np.arange(3.0))
    for owner in (file, one, file.create_group("g")):
        for kind in ("i1", "u2", "i8", "f4", "f8"):
            owner.attrs[f"little_{kind}"] = np.array([1, 2], f"<{kind}")
            owner.attrs[f"big_{kind}"] = np.array([1, 2], f">{kind}")
            owner.attrs[f"big_scalar_{kind}"] = np.array(3, f">{kind}")
        owner.attrs["fixed"] = np.bytes_(b"fixed text")
        owner.attrs["vlen"] = "some text"
        owner.attrs["vlen_list"] = ["a", "", "日本"]


def _odd_attribute(name: str, value: Any) -> None:
    """Put one attribute that netCDF may not know on a variable and on the file."""

    def write(file: h5py.File) -> None:
        one = file.create_dataset("x", data=np.arange(3.0), compression="gzip")
        for owner in (file, one):
            owner.attrs["before"] = 1
            owner.attrs["odd"] = value() if callable(value) else value
            owner.attrs["after"] = "text"

    write.__name__ = f"attribute_{name}"
    hdf5()(write)


for _name, _value in {
    "empty": h5py.Empty("f4"),
    "empty_text": h5py.Empty(h5py.string_dtype()),
    "boolean": np.array([True, False]),
    "complex": np.array([1 + 2j]),
    "compound": np.zeros(2, [("a", "i4"), ("b", "f8")]),
    "half": np.float16(1.5),
    "opaque": np.void(b"\x00\x01"),
    "matrix": np.arange(6).reshape(2, 3),
    "no_elements": np.zeros(0, "f4"),
    "fixed_list": np.array([b"ab", b"c", b""]),
    "not_utf8": np.bytes_(b"caf\xe9"),
}.items():
    _odd_attribute(_name, _value)


@hdf5()
def attribute_reference(file: h5py.File) -> None:
    file["x"] = np.arange(3.0)
    file["x"].attrs["points_at"] = file["x"].ref
    file["x"].attrs["units"] = "m"


@hdf5(track_order=True)
def phony_dimensions(file: h5py.File) -> None:
    """No dimension scales: netCDF makes names up."""
    file["b"] = numbers("f4", (3, 4))
    file["a"] = numbers("f4", (4, 3))
    file["square"] = numbers("f4", (5, 5))
    file["line"] = numbers("i4", (3,))
    file.create_dataset("packed", data=numbers("f8", (6, 4)), chunks=(4, 3), compression="gzip")
    file.create_group("g")["inner"] = numbers("f4", (3, 7))
    file["g/twice"] = numbers("f4", (7, 3))


@hdf5()
def phony_dimensions_unordered(file: h5py.File) -> None:
    file["b"] = numbers("f4", (3, 4))
    file["a"] = numbers("f4", (4, 3))


@hdf5(track_order=True)
def some_scales(file: h5py.File) -> None:
    """A scale on one of two dimensions, a scale of another name, and one attached twice."""
    x = scaled(file, "x", 4)
    long = file.create_dataset("long", data=np.arange(5.0))
    long.make_scale("a longer name")
    one = file.create_dataset("half", data=numbers("f4", (3, 4)))
    one.dims[1].attach_scale(x)
    two = file.create_dataset("both", data=numbers("f4", (5, 4)))
    two.dims[0].attach_scale(long)
    two.dims[1].attach_scale(x)
    two.dims[0].label = "labelled"
    square = file.create_dataset("square", data=numbers("f4", (4, 4)))
    square.dims[0].attach_scale(x)
    square.dims[1].attach_scale(x)


@hdf5(track_order=True)
def scales_in_groups(file: h5py.File) -> None:
    x = scaled(file, "x", 4)
    group = file.create_group("g")
    one = group.create_dataset("field", data=numbers("f4", (4,)))
    one.dims[0].attach_scale(x)


@hdf5(track_order=True)
def links(file: h5py.File) -> None:
    file["original"] = numbers("f4", (3,))
    file["hard"] = file["original"]
    file["soft"] = h5py.SoftLink("/original")
    file.create_group("g")["inner"] = numbers("f4", (2,))
    file["g/up"] = file["original"]
    file["group_again"] = file["g"]


@hdf5(track_order=True)
def dangling_links(file: h5py.File) -> None:
    file["number"] = numbers("f4", (3,))
    file["nowhere"] = h5py.SoftLink("/not/there")
    file["outside"] = h5py.ExternalLink("no_such_file.h5", "/x")
