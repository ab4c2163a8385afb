"""Animals of the classic formats, which are not HDF5."""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np

from tests.storage.animals import Animal, numbers, register

FORMATS = (
    *("NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA"),
    "NETCDF4_CLASSIC",
)


def _of(format: str) -> Animal:
    def animal(path: Path) -> None:
        with netCDF4.Dataset(path, "w", format=format) as file:
            file.createDimension("time", None)
            file.createDimension("x", 5)
            file.createDimension("length", 4)
            file.title = "classic"
            for kind in ("i1", "i2", "i4", "f4", "f8"):
                one = file.createVariable(kind, kind, ("time", "x"))
                one[:3] = numbers(kind, (3, 5))
            time = file.createVariable("time", "f8", ("time",))
            time.units, time[:3] = "days since 2000-01-01", range(3)
            packed = file.createVariable("packed", "i2", ("x",), fill_value=np.int16(-1))
            packed.scale_factor = 0.5
            packed[:3] = [1, 2, 3]
            file.createVariable("name", "S1", ("x", "length"))[:] = b"a"

    return animal


for _format in FORMATS:
    register(_format.lower(), _of(_format))
