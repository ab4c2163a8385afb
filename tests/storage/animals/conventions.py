"""Animals of the CF conventions: packing, missing values, times, coordinates."""

from __future__ import annotations

from itertools import product
from typing import Any

import netCDF4
import numpy as np

from tests.storage.animals import chance, netcdf, numbers

CALENDARS = (
    *("standard", "gregorian", "proleptic_gregorian", "julian"),
    *("noleap", "365_day", "all_leap", "366_day", "360_day"),
)


def _variable(
    file: netCDF4.Dataset, name: str, kind: str, values: Any, attributes: dict[str, Any]
) -> None:
    fill = attributes.get("_FillValue")
    axes = ("x",) if np.ndim(values) == 1 else ()
    one = file.createVariable(name, kind, axes, zlib=bool(axes), fill_value=fill)
    one.set_auto_maskandscale(False)
    one[...] = values
    one.setncatts({key: value for key, value in attributes.items() if key != "_FillValue"})


@netcdf
def packed(file: netCDF4.Dataset) -> None:
    """Integers of all sizes, scaled by numbers of all types."""
    file.createDimension("x", 40)
    scales = {
        "f4": {"scale_factor": np.float32(0.01), "add_offset": np.float32(270)},
        "f8": {"scale_factor": 0.01, "add_offset": 270.0},
        "mixed": {"scale_factor": np.float32(0.25), "add_offset": 1e5},
        "int": {"scale_factor": np.int32(2), "add_offset": np.int16(1)},
        "scale": {"scale_factor": 0.1},
        "offset": {"add_offset": np.float32(-3)},
        "array": {"scale_factor": np.array([0.5])},
    }
    for kind, (name, attributes) in product(("i1", "u1", "i2", "u2", "i4", "i8"), scales.items()):
        values = numbers(kind, (40,))
        _variable(file, f"{kind}_{name}", kind, values, attributes)
        fill = {"_FillValue": values[3]}
        _variable(file, f"{kind}_{name}_filled", kind, values, {**attributes, **fill})


@netcdf
def packed_floats(file: netCDF4.Dataset) -> None:
    file.createDimension("x", 40)
    for kind, fill in product(("f4", "f8"), (None, np.nan, -999.0)):
        attributes: dict[str, Any] = {"scale_factor": 2.0, "add_offset": 1.0}
        if fill is not None:
            attributes["_FillValue"] = np.array(fill, kind)
        _variable(file, f"{kind}_{fill}", kind, numbers(kind, (40,)), attributes)


@netcdf
def unsigned(file: netCDF4.Dataset) -> None:
    file.createDimension("x", 40)
    for kind, word in product(("i1", "u1", "i2", "u2", "i4"), ("true", "false", "True")):
        values = numbers(kind, (40,))
        for fill in (False, True):
            name = f"{kind}_{word}{'_filled' if fill else ''}"
            attributes: dict[str, Any] = {"_Unsigned": word}
            if fill:
                attributes["_FillValue"] = values[5]
            _variable(file, name, kind, values, attributes)
            _variable(file, name + "_scaled", kind, values, {**attributes, "scale_factor": 0.1})


@netcdf
def ranges(file: netCDF4.Dataset) -> None:
    file.createDimension("x", 40)
    for kind in ("i2", "f4"):
        values = numbers(kind, (40,))
        for name, attributes in {
            "range": {"valid_range": np.array([-100, 100], kind)},
            "bounds": {"valid_min": np.array(-10, kind), "valid_max": np.array(10, kind)},
            "both": {"valid_range": np.array([-100, 100], kind), "scale_factor": 0.5},
        }.items():
            _variable(file, f"{kind}_{name}", kind, values, attributes)


@netcdf
def missing_values(file: netCDF4.Dataset) -> None:
    file.createDimension("x", 40)
    for kind in ("i2", "i4", "f4", "f8", "u1"):
        values = chance(kind).integers(0, 6, 40).astype(kind)
        two, three, several = (np.array(one, kind) for one in (2, 3, [1, 4]))
        for name, attributes in {
            "missing": {"missing_value": two},
            "same": {"missing_value": two, "_FillValue": two},
            "different": {"missing_value": three, "_FillValue": two},
            "several": {"missing_value": several},
            "several_and_fill": {"missing_value": several, "_FillValue": three},
            "other_type": {"missing_value": 2.0},
            "scaled": {"missing_value": two, "_FillValue": two, "scale_factor": 0.5},
        }.items():
            _variable(file, f"{kind}_{name}", kind, values, attributes)
    holes = np.where(np.arange(40) % 3, np.arange(40), np.nan)
    for kind in ("f4", "f8"):
        _variable(file, f"{kind}_nan", kind, holes, {"_FillValue": np.array(np.nan, kind)})
        _variable(file, f"{kind}_inf", kind, holes, {"missing_value": np.array(np.inf, kind)})
        _variable(file, f"{kind}_big", kind, holes, {"_FillValue": np.array(1e20, kind)})
    _variable(file, "scalar", "i2", 5, {"_FillValue": np.int16(5)})
    _variable(file, "scalar_scaled", "i2", 5, {"scale_factor": np.float32(0.5)})


@netcdf
def wrong_missing_values(file: netCDF4.Dataset) -> None:
    """Attributes that do not fit the variable."""
    file.createDimension("x", 5)
    _variable(file, "text", "f4", range(5), {"missing_value": "none"})


def _times(file: netCDF4.Dataset, name: str, kind: str, values: Any, **attributes: Any) -> None:
    _variable(file, name, kind, np.asarray(values), attributes)


@netcdf
def calendars(file: netCDF4.Dataset) -> None:
    file.createDimension("x", 30)
    days = np.arange(30) * 13.25 + 40
    for calendar, unit in product(CALENDARS, ("days", "hours")):
        _times(
            *(file, f"{calendar}_{unit}", "f8", days),
            units=f"{unit} since 1999-12-01 06:00",
            calendar=calendar,
        )


@netcdf
def old_and_far_times(file: netCDF4.Dataset) -> None:
    file.createDimension("x", 30)
    steps = np.arange(30) * 5000
    for name, since in {"old": "0001-01-01", "reform": "1582-10-01", "far": "9000-01-01"}.items():
        for calendar in ("standard", "proleptic_gregorian", "noleap", "360_day"):
            _times(
                *(file, f"{name}_{calendar}", "i4", steps),
                units=f"days since {since}",
                calendar=calendar,
            )


@netcdf
def units_of_time(file: netCDF4.Dataset) -> None:
    file.createDimension("x", 30)
    for kind, unit in product(
        ("i2", "i8", "u4", "f4", "f8"),
        ("days", "minutes", "milliseconds", "microseconds", "h"),
    ):
        _times(file, f"{kind}_{unit}", kind, np.arange(30), units=f"{unit} since 2001-02-28T12:00Z")
    _times(file, "offset", "f8", np.arange(30), units="hours since 2001-01-01 00:00:00 +1:30")
    _times(file, "reference_only", "f8", np.arange(30), units="days since 1970-1-1")
    for kind in ("i4", "f8"):
        _times(
            *(file, f"{kind}_filled", kind, np.arange(30)),
            units="days since 2000-01-01",
            _FillValue=np.array(3, kind),
        )
    _times(
        *(file, "nan", "f8", np.where(np.arange(30) == 4, np.nan, np.arange(30) / 7)),
        units="days since 2000-01-01",
    )
    _times(
        *(file, "packed", "i2", np.arange(30)),
        units="days since 2000-01-01",
        scale_factor=0.5,
    )
    _times(file, "scalar", "f8", 11.5, units="days since 2000-01-01")


@netcdf
def durations(file: netCDF4.Dataset) -> None:
    file.createDimension("x", 30)
    for kind, unit in product(("i2", "i8", "f4", "f8"), ("days", "hours", "seconds")):
        _times(file, f"{kind}_{unit}", kind, np.arange(30), units=unit)
    _times(file, "filled", "i4", np.arange(30), units="days", _FillValue=np.int32(4))
    _times(file, "typed", "i8", np.arange(30), units="seconds", dtype="timedelta64[ns]")


@netcdf
def impossible_times(file: netCDF4.Dataset) -> None:
    file.createDimension("x", 3)
    _times(file, "no_calendar", "f8", range(3), units="days since 2000-01-01", calendar="moon")


@netcdf
def impossible_units(file: netCDF4.Dataset) -> None:
    file.createDimension("x", 3)
    _times(file, "no_unit", "f8", range(3), units="fortnights since yesterday")


@netcdf
def model_output(file: netCDF4.Dataset) -> None:
    """Coordinates, bounds, a grid mapping, cell measures and ancillary variables."""
    file.Conventions = "CF-1.11"
    sizes = {"time": None, "y": 6, "x": 7, "bnds": 2, "vertex": 4, "depth": 3}
    for name, size in sizes.items():
        file.createDimension(name, size)
    field = file.createVariable("tas", "f4", ("time", "y", "x"), zlib=True, chunksizes=(2, 6, 4))
    field[:5] = numbers("f4", (5, 6, 7))
    field.coordinates = "lat lon height missing_one"
    field.grid_mapping = "crs"
    field.cell_measures = "area: cell_area"
    field.ancillary_variables = "flag"
    for name in ("lat", "lon"):
        one = file.createVariable(name, "f8", ("y", "x"), zlib=True)
        one[:] = numbers("f8", (6, 7), name)
        one.bounds = f"{name}_vertices"
        file.createVariable(f"{name}_vertices", "f8", ("y", "x", "vertex"))[:] = 1.5
    time = file.createVariable("time", "f8", ("time",))
    time.setncatts({"units": "days since 1850-01-01", "calendar": "noleap", "bounds": "time_bnds"})
    time[:5] = np.arange(5) + 0.5
    file.createVariable("time_bnds", "f8", ("time", "bnds"))[:5] = np.arange(10).reshape(5, 2)
    file.createVariable("crs", "i4", ()).grid_mapping_name = "rotated_latitude_longitude"
    file.createVariable("height", "f8", ())[...] = 2.0
    file.createVariable("cell_area", "f4", ("y", "x"))[:] = 1
    file.createVariable("flag", "i1", ("time", "y", "x"), zlib=True, fill_value=-1)[:2] = 0
    depth = file.createVariable("depth", "f4", ("depth",))
    depth[:] = [5, 10, 20]
    depth.setncatts({"positive": "down", "formula_terms": "a: a b: b"})
    for name in "ab":
        file.createVariable(name, "f4", ("depth",))[:] = 3
    file.createVariable("plain", "f4", ("depth",))[:] = 3
    file["plain"].coordinates = ""
    file.coordinates = "cell_area"
