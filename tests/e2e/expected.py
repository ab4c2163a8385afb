"""What the notebook must find, by plain xarray and numpy in this process, without Dask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

EXACT = 1e-12  # relative; sums of float64 in another order


def holds(found: dict[str, Any], data: Path) -> None:
    """Hold what a run has found against plain xarray and numpy.

    Raises
    ------
    AssertionError
        If a value differs, or not every worker has had its part.
    """
    assert len(found["addresses"]) == 2
    assert all(address.startswith("tls://") for address in found["addresses"])
    assert len(found["held"]) == 2
    assert all(count > 0 for count in found["held"].values()), found["held"]
    ocean = nemo(data)
    assert found["months"] == ocean["months"] == ["2015-01", "2015-02", "2015-03"]
    assert found["tos"] == pytest.approx(ocean["tos"], rel=EXACT)
    for name in ("A1B", "E1"):
        series, change = scenario(data, name)
        assert len(found[name]) == 240
        assert found[name] == pytest.approx(series, rel=EXACT)
        assert found[f"{name}_change"] == pytest.approx(change, rel=1e-9)
    days = daily(data)
    assert found["days"] == days["days"] == 1826
    assert found["climatology"] == pytest.approx(days["climatology"], rel=EXACT)
    assert found["climatology_point"] == pytest.approx(days["climatology_point"], rel=EXACT)
    assert found["global_mean"] == pytest.approx(days["global_mean"], rel=EXACT)


def nemo(data: Path) -> dict[str, Any]:
    """Area mean of the sea surface temperature of each month."""
    months, means = [], []
    for path in sorted(data.glob("nemo_1m_*_grid-T.nc")):
        with xr.open_dataset(path) as ds:
            tos = ds.tos.values[0].astype("f8")
            area = _cell_area(ds.bounds_lon.values.astype("f8"), ds.bounds_lat.values.astype("f8"))
            sea = np.isfinite(tos)
            means.append(float((tos[sea] * area[sea]).sum() / area[sea].sum()))
            time = ds.time_centered.values[0]
            months.append(f"{time.year}-{time.month:02d}")
    return {"tos": means, "months": months}


def _cell_area(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    total = np.zeros(lon.shape[:-1])
    corners = lon.shape[-1]
    for one in range(corners):
        two = (one + 1) % corners
        step = (lon[..., two] - lon[..., one] + 180) % 360 - 180
        height = np.sin(np.radians(lat[..., one])) + np.sin(np.radians(lat[..., two]))
        total += np.radians(step) * height / 2
    return np.abs(total)


def scenario(data: Path, name: str) -> tuple[list[float], float]:
    """Area-weighted annual means, and the change from the first to the last 30 years."""
    with xr.open_dataset(data / f"{name}_north_america.nc") as ds:
        air = ds.air_temperature.values.astype("f8")
        weight = np.cos(np.radians(ds.latitude.values.astype("f8")))[None, :, None]
    series = (air * weight).sum((1, 2)) / (weight * np.ones_like(air[:1])).sum()
    return series.tolist(), float(series[-30:].mean() - series[:30].mean())


def daily(data: Path) -> dict[str, Any]:
    """Monthly climatology and global mean of the generated days, file by file."""
    total = np.zeros((12, 180, 360))
    days = np.zeros(12)
    for path in sorted(data.glob("daily_*.nc")):
        with xr.open_dataset(path) as ds:
            month = int(ds["time.month"].values[0]) - 1
            total[month] += ds.tas.values.astype("f8").sum(0)
            days[month] += ds.sizes["time"]
            lat, lon = ds.lat.values, ds.lon.values
    mean = total / days[:, None, None]
    weight = np.cos(np.radians(lat))[:, None]
    area_mean = (mean * weight).sum((1, 2)) / (weight.sum() * len(lon))
    row, column = int(np.argmin(abs(lat - 45.5))), int(np.argmin(abs(lon - 10.5)))
    return {
        "climatology": area_mean.tolist(),
        "climatology_point": mean[:, row, column].tolist(),
        "global_mean": float((area_mean * days).sum() / days.sum()),
        "days": int(days.sum()),
    }
