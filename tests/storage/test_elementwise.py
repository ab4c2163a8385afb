"""Decoding chunk by chunk gives what xarray's decoding of whole arrays gives, bit for bit."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray as xr
from xarray.backends.netCDF4_ import NETCDF4_PYTHON_LOCK

import hpclaunch.storage
from hpclaunch.storage import elementwise
from hpclaunch.storage.blocks import USUAL
from tests.storage.same import array_differences, differences

pytestmark = pytest.mark.pure

SHAPE = (40, 66, 65)
"""More values than a table is made for, and than are decoded at once."""

CHUNKS: dict[str, dict[str, Any]] = {
    "planes": {"zlib": True, "chunksizes": (1, 66, 65)},
    "small": {"zlib": True, "chunksizes": (3, 16, 16)},
    "large": {"zlib": True, "chunksizes": (37, 66, 65)},
    "sums": {"zlib": True, "fletcher32": True, "chunksizes": (7, 20, 65)},
    "raw": {"chunksizes": (5, 66, 33)},
    "contiguous": {"contiguous": True},
}

PACKED = {"scale_factor": 0.01, "add_offset": 270.0}
ATTRIBUTES: dict[str, tuple[str, dict[str, Any]]] = {
    "short": ("i2", {"_FillValue": np.int16(-32767), **PACKED}),
    "scaled": ("i2", {"scale_factor": np.float32(0.25)}),
    "bare": ("u2", {"_FillValue": np.uint16(65535)}),
    "byte": ("i1", {"missing_value": np.int8(-1), "_FillValue": np.int8(-1), **PACKED}),
    "octet": ("u1", {"scale_factor": np.float32(2), "add_offset": np.float32(-3)}),
    "unsigned": ("i1", {"_Unsigned": "true", "_FillValue": np.int8(-1), "scale_factor": 0.5}),
    "signed": ("u2", {"_Unsigned": "false", "add_offset": 3.0}),
    "several": ("i2", {"missing_value": np.array([-5, 7], "i2"), "_FillValue": np.int16(9)}),
    "big": (">i2", {"_FillValue": np.int16(-32767), **PACKED}),
    "int": ("i4", {"_FillValue": np.int32(-(2**31)), **PACKED}),
    "float": ("f4", {"_FillValue": np.float32(1e20)}),
    "double": ("f8", {"missing_value": 1e20, "scale_factor": 1e-3}),
    "overflow": ("i2", {"scale_factor": np.float32(1e35)}),
}


def values(kind: str, seed: int) -> np.ndarray:
    dtype = np.dtype(kind)
    rng = np.random.default_rng(seed)
    if dtype.kind == "f":
        found = rng.normal(size=SHAPE).astype(dtype)
        found[3:9] = 1e20
        found[10, 5:9] = np.nan
        return found
    limits = np.iinfo(dtype)
    return rng.integers(max(limits.min, -2000), min(limits.max, 2000), SHAPE, endpoint=True).astype(
        dtype
    )


def write(path, kinds, how, first=0):
    """A file with a variable of each kind; some planes are fill values, one was never written."""
    with NETCDF4_PYTHON_LOCK, netCDF4.Dataset(path, "w") as file:
        for dim, n in zip("tyx", SHAPE, strict=True):
            file.createDimension(dim, n)
        time = file.createVariable("t", "i4", ("t",))
        time.units = "hours since 2001-01-01"
        time[:] = np.arange(first, first + SHAPE[0])
        for number, (name, (kind, attributes)) in enumerate(kinds.items()):
            fill = attributes.get("_FillValue")
            endian = "big" if kind.startswith(">") else "native"
            one = file.createVariable(
                name, kind, ("t", "y", "x"), fill_value=fill, endian=endian, **how
            )
            one.set_auto_maskandscale(False)
            rest = {key: value for key, value in attributes.items() if key != "_FillValue"}
            one.setncatts(rest)
            data = values(kind, number)
            if fill is not None:
                data[2:5, :40] = fill
            one[:-1] = data[:-1]


@pytest.fixture(scope="module", params=CHUNKS)
def path(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("elementwise") / f"{request.param}.nc"
    write(path, ATTRIBUTES, CHUNKS[request.param])
    return path


def both(path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = xr.open_dataset(path, engine="netcdf4", **options)
        return xr.open_dataset(path, engine="hpclaunch", **options), theirs


def test_whole_variables(path):
    found, wanted = both(path)
    with found, wanted:
        assert differences(found, wanted) == []


SELECTIONS: list[dict[str, Any]] = [
    {"t": slice(1, 38), "y": slice(2, 64)},
    {"t": slice(None, None, -1), "x": slice(None, None, 1)},
    {"t": slice(0, 40, 2), "y": slice(None, None, -1)},
    {"t": np.arange(39, 0, -1), "y": np.r_[0:66, 3]},
    {"t": 7},
    {"t": 0, "y": 0, "x": 0},
    {"y": 3, "x": np.array([60, 2])},
    {"t": xr.DataArray([1, 39, 5], dims="p"), "x": xr.DataArray([0, 64, 3], dims="p")},
    {"t": slice(0, 0)},
]


@pytest.mark.parametrize("where", SELECTIONS, ids=str)
def test_selections(path, where):
    found, wanted = both(path)
    with found, wanted:
        assert differences(found.isel(where), wanted.isel(where)) == []


def test_pickled_and_transposed(path):
    found, wanted = both(path)
    with found, wanted:
        again = pickle.loads(pickle.dumps(found))
        turned = again.transpose("x", "t", "y")
        assert differences(turned, wanted.transpose("x", "t", "y")) == []


def test_a_row_of_files(tmp_path):
    paths = [tmp_path / f"{number}.nc" for number in range(3)]
    kinds = {name: ATTRIBUTES[name] for name in ("short", "unsigned", "int", "float")}
    for number, path in enumerate(paths):
        write(path, kinds, CHUNKS["planes"], number * SHAPE[0])
    with xr.open_mfdataset(
        paths, engine="netcdf4", combine="nested", concat_dim="t", lock=NETCDF4_PYTHON_LOCK
    ) as wanted:
        expected = {name: wanted[name].values for name in kinds}
    for chunks in ("tuned", None):
        found = hpclaunch.storage.open_mfdataset(paths, chunks=chunks)
        for name, one in expected.items():
            assert array_differences(found[name].values, one) == []
            part = {"t": slice(10, 110), "y": 3}
            assert array_differences(found[name].isel(part).values, one[10:110, 3]) == []


def test_blocks_are_cut_by_what_is_decoded(tmp_path):
    with NETCDF4_PYTHON_LOCK, netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        for dim, n in {"t": 4000, "y": 66, "x": 65}.items():
            file.createDimension(dim, n)
        one = file.createVariable("v", "i2", ("t", "y", "x"), chunksizes=(1, 66, 65))
        one.setncatts(PACKED)
    found = hpclaunch.storage.open_mfdataset(tmp_path / "a.nc")["v"]
    assert found.dtype == np.float64
    assert max(found.chunks[0]) * 66 * 65 * 8 <= USUAL


def test_warnings_are_those_of_the_values_that_are_there(tmp_path):
    write(tmp_path / "a.nc", {"overflow": ATTRIBUTES["overflow"]}, CHUNKS["planes"])
    with xr.open_dataset(tmp_path / "a.nc", engine="hpclaunch", cache=False) as found:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.isfinite(found["overflow"][:-1].values).all()
        with pytest.warns(RuntimeWarning, match="overflow"):
            assert np.isinf(found["overflow"].values).any()


def test_what_is_done_by_xarray_itself_stays_with_it(tmp_path):
    write(tmp_path / "a.nc", {"v": ("i4", {"units": "hours since 2001-01-01"})}, CHUNKS["planes"])
    with xr.open_dataset(tmp_path / "a.nc", engine="hpclaunch") as found:
        assert not isinstance(inner(found["v"]), elementwise.Elementwise)
    write(tmp_path / "b.nc", {"v": ATTRIBUTES["short"]}, CHUNKS["planes"])
    with xr.open_dataset(tmp_path / "b.nc", engine="hpclaunch") as found:
        assert isinstance(inner(found["v"]), elementwise.Elementwise)


def inner(array):
    """What decodes in our array, at the bottom of what xarray laid around it."""
    data = array.variable._data
    while hasattr(data, "array"):
        data = data.array
    return getattr(data, "decoding", None)
