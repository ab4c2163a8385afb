"""What is virtualized is read by xarray from Zarr as engine ``netcdf4`` reads the files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from hpclaunch import storage
from hpclaunch.errors import StorageError
from hpclaunch.storage.zarrarrays import plain
from tests.storage.opening import groups, reference
from tests.storage.same import outcome, value_differences
from tests.storage.virtual import FORMATS, opened
from tests.storage.zoo import NAMES, Zoo

pytestmark = pytest.mark.pure

NOT_IN_ZARR = {
    "compounds": "compound",
    "complex_as_compound": "compound",
    "complex_of_h5py": "compound",
    "ragged": "variable length",
    "ragged_of_h5py": "variable length",
    "optional_filters_that_gave_up": "cannot be read",
    "scales_of_h5py": "cannot be read",
}
"""Files of which something has no place in Zarr, and a word of the error."""

NOT_IN_ICECHUNK = {
    "missing_values": "NaN",
    "attributes": "NaN",
    "characters": "_FillValue",
    "strings": "_FillValue",
    "unsigned": "_Unsigned",
}


def refused(name: str, form: str, path: Path) -> str:
    """A word of the error that is expected; "" where there shall be none."""
    if form == "kerchunk-parquet" and len(groups(path)) > 1:
        return "groups"
    if form == "icechunk" and name in NOT_IN_ICECHUNK:
        return NOT_IN_ICECHUNK[name]
    return NOT_IN_ZARR.get(name, "")


@pytest.fixture(params=FORMATS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_read_as_zarr(zoo: Zoo, name: str, form: str, tmp_path: Path) -> None:
    path, out = zoo.path(name), tmp_path / "out"
    word = refused(name, form, path)
    if word:
        with pytest.raises(StorageError, match=word):
            storage.virtualize([path], out, format=form, copy=0)
        assert list(tmp_path.glob("*out*")) == []
        return
    storage.virtualize([path], out, format=form, copy=0)
    for group in groups(path):
        assert list(differences(path, group, opened(out, form, group))) == [], group


def differences(path: Path, group: str, found: Callable[..., xr.Dataset]) -> Iterator[str]:
    """All in which a group differs, not decoded and decoded."""
    wanted = reference(path, group, "raw")
    if isinstance(wanted, Exception):
        return
    raw = found(decode_cf=False)
    if set(raw.variables) != set(wanted.variables):
        yield f"variables {list(raw.variables)}, not {list(wanted.variables)}"
    yield from attribute_differences("group", raw.attrs, wanted.attrs)
    for name, one in wanted.variables.items():
        other = raw.variables[name]
        if other.dims != one.dims:
            yield f"{name}: dimensions {other.dims}, not {one.dims}"
        yield from attribute_differences(name, other.attrs, one.attrs)
        yield from (f"{name}: {each}" for each in unlike(native(other), native(one)))
    decoded = outcome(lambda: xr.decode_cf(as_json(wanted)).load())
    again = outcome(lambda: found().load())
    if isinstance(decoded, Exception) or isinstance(again, Exception):
        if type(decoded) is not type(again):
            yield f"{again!r:.300}, not {decoded!r:.300}"
        return
    if set(again.coords) != set(decoded.coords) or set(again.xindexes) != set(decoded.xindexes):
        yield f"coordinates {list(again.coords)}, not {list(decoded.coords)}"
    for name, one in decoded.variables.items():
        yield from (f"{name}: {each}" for each in unlike(again.variables[name], one))
    yield from unlike_netcdf4(path, group, again)


def unlike_netcdf4(path: Path, group: str, found: xr.Dataset) -> Iterator[str]:
    """How decoded values differ from those of engine netcdf4, packed ones left out.

    Attributes of Zarr have no dtype, and a scale factor's says to what is decoded.
    """
    wanted = reference(path, group, "decoded")
    raw = reference(path, group, "raw")
    if isinstance(wanted, Exception):
        return
    for name, one in wanted.variables.items():
        if not {"scale_factor", "add_offset"} & set(raw.variables[name].attrs):
            pairs = unlike(found.variables[name], one)
            yield from (f"{name} of netcdf4: {each}" for each in pairs)


def attribute_differences(where: str, found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    one, other = ({k: repr(plain(v)) for k, v in each.items()} for each in (found, wanted))
    if other.get("missing_value") == "nan":
        one.setdefault("missing_value", "nan")  # icechunk has no NaN in attributes
    return [
        f"{where}:{key} {one.get(key)}, not {other.get(key)}"
        for key in one.keys() | other.keys()
        if one.get(key) != other.get(key)
    ]


def native(one: xr.Variable) -> xr.Variable:
    values = np.asarray(one.values)
    if values.dtype.kind in "OTU":
        return one
    return xr.Variable(one.dims, values.astype(np.dtype(values.dtype.str).newbyteorder("=")))


def unlike(found: xr.Variable, wanted: xr.Variable) -> list[str]:
    """How values differ; texts have other dtypes in Zarr."""
    one, other = np.asarray(found.values), np.asarray(wanted.values)
    if "T" in (one.dtype.kind, other.dtype.kind):
        same = one.tolist() == other.tolist() and other.dtype.kind in "OTU"
        return [] if same else [f"{one}, not {other}"]
    return value_differences(found, wanted)


def as_json(dataset: xr.Dataset) -> xr.Dataset:
    """A dataset whose attributes have no dtypes, but for `_FillValue` of the variable's own."""
    found = dataset.copy()
    for one in found.variables.values():
        typed = getattr(one.attrs.get("_FillValue"), "dtype", None)
        own = {"_FillValue"} if typed == one.dtype.newbyteorder("=") else set()
        one.attrs = {k: v if k in own else plain(v) for k, v in one.attrs.items()}
    return found
