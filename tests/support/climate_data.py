"""A generated daily climate: 5 years on a 1 degree grid, one NetCDF-4 file a month.

About 0.47 GB of float32, zlib level 1 and shuffle, chunks of 8 days: months and chunks are real.
The field is a few smooth spatial modes driven by slow AR(1) coefficients, a seasonal cycle that
differs with latitude, and weather noise; the seed is fixed, so every machine makes the same values.

``python -m tests.support.climate_data DIRECTORY``
"""

from __future__ import annotations

import sys
from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd

SEED = 20011
FIRST, LAST = "2001-01-01", "2005-12-31"
LAT, LON = np.arange(-89.5, 90.0, 1.0), np.arange(0.5, 360.0, 1.0)
MODES = 8


def generate(directory: Path) -> list[Path]:
    """Write the files that are missing and return all of them in order of time."""
    directory.mkdir(parents=True, exist_ok=True)
    days = pd.date_range(FIRST, LAST, freq="D")
    random = np.random.default_rng(SEED)
    patterns = np.stack(
        [
            np.outer(
                np.cos(np.radians(LAT)) * np.sin((mode % 4 + 1) * np.radians(LAT + 90)),
                np.cos((mode + 1) * np.radians(LON) + mode),
            )
            for mode in range(MODES)
        ]
    ).astype("f4")
    coefficients = np.zeros((len(days), MODES), "f4")
    for day in range(1, len(days)):
        coefficients[day] = 0.97 * coefficients[day - 1] + random.normal(0, 1, MODES)
    paths = []
    for month in pd.period_range(FIRST, LAST, freq="M"):
        inside = np.flatnonzero(days.to_period("M") == month)
        noise = np.random.default_rng([SEED, month.ordinal])
        path = directory / f"daily_{month}.nc"
        if not path.exists():
            season = np.cos(2 * np.pi * (days.day_of_year[inside] - 200) / 365.25)
            field = np.tensordot(coefficients[inside], patterns, 1)
            field += (288 - 30 * np.sin(np.radians(LAT)) ** 2)[None, :, None]
            field += np.multiply.outer(season, 12 * np.sin(np.radians(LAT)))[:, :, None]
            field += noise.normal(0, 0.5, field.shape)
            _write(path, days[inside], field.astype("f4"))
        paths.append(path)
    return paths


def _write(path: Path, days: pd.DatetimeIndex, field: np.ndarray) -> None:
    temporary = path.with_suffix(".part")
    with netCDF4.Dataset(temporary, "w") as file:
        file.Conventions = "CF-1.8"
        for name, values, units in (("lat", LAT, "degrees_north"), ("lon", LON, "degrees_east")):
            file.createDimension(name, len(values))
            variable = file.createVariable(name, "f8", (name,))
            variable[:], variable.units = values, units
        file.createDimension("time", None)
        time = file.createVariable("time", "f8", ("time",))
        time.units, time.calendar = "days since 2001-01-01", "standard"
        time[:] = (days - pd.Timestamp(FIRST)).days
        tas = file.createVariable(
            "tas",
            "f4",
            ("time", "lat", "lon"),
            zlib=True,
            complevel=1,
            shuffle=True,
            chunksizes=(8, len(LAT), len(LON)),
        )
        tas.units, tas.standard_name = "K", "air_temperature"
        tas[:] = field
    temporary.rename(path)


if __name__ == "__main__":
    made = generate(Path(sys.argv[1]))
    print(f"{len(made)} files, {sum(path.stat().st_size for path in made) / 1e6:.0f} MB")
