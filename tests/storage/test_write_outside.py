"""A disk that becomes full, and other programs that read what was written."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import xarray as xr

from hpclaunch.storage import rechunk, to_netcdf
from tests.storage.test_write import climate

pytestmark = [pytest.mark.local, pytest.mark.patient]

FILL = """
    import os, sys
    import dask.array as da, netCDF4, numpy as np, xarray as xr
    from hpclaunch.errors import StorageError
    from hpclaunch.storage import rechunk, to_netcdf
    path, how = sys.argv[1] + "/a.nc", sys.argv[2]
    with open(path, "w") as file:
        file.write("older")
    numbers = da.random.default_rng(1).random((1000, 1000), chunks=(50, 1000))
    dataset = xr.Dataset({"v": (("t", "x"), numbers)})
    options = {"contiguous": True} if how == "plain" else {}
    try:
        if how == "rechunk":
            to_netcdf(dataset, sys.argv[1] + "/../source.nc", encoding={"v": options})
            rechunk(sys.argv[1] + "/../source.nc", path, access="map", overwrite=True)
        elif how == "in memory":
            to_netcdf(dataset.compute(), path)
        else:
            to_netcdf(dataset, path, encoding={"v": options})
    except StorageError as error:
        print(error.what)
    with open(path) as file:
        print(os.listdir(sys.argv[1]), file.read())
"""


@pytest.mark.parametrize("how", ["chunks", "plain", "in memory", "rechunk"])
def test_a_full_disk_is_told_and_nothing_is_left(tmp_path, how):
    """A file system of 3 MB, mounted where only these processes see it."""
    (tmp_path / "small").mkdir()
    (tmp_path / "fill.py").write_text(textwrap.dedent(FILL))
    mount = 'mount -t tmpfs -o size=3m tmpfs "$1" && exec "$2" "$3" "$1" "$4"'
    ran = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, "sh",
         tmp_path / "small", sys.executable, tmp_path / "fill.py", how],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.stdout.splitlines() == [
        f"{tmp_path}/small/a.nc was not written: the disk is full",
        "['a.nc'] older",
    ], ran.stderr


def numbers(text):
    return [float(word) for word in text.split("=")[-1].replace(";", "").split(",")]


def test_ncdump_reads_what_was_written(tmp_path):
    """An older HDF5 library than Python's, and the netCDF library in C."""
    path, other = tmp_path / "a.nc", tmp_path / "b.nc"
    dataset = climate()
    to_netcdf(dataset, path, unlimited_dims="time", encoding={"tas": {"chunksizes": (5, 7, 11)}})
    rechunk(path, other, chunks={"time": -1, "lat": 3})
    for file in (path, other):
        said = subprocess.run(
            ["ncdump", "-p", "9,17", "-v", "tas", file], capture_output=True, text=True, check=True
        ).stdout
        head, _, data = said.partition("data:")
        assert "time = UNLIMITED ; // (24 currently)" in head
        assert 'tas:units = "K"' in head and "string station(lat)" in head
        found = numbers(data.replace("}", "").replace("\n", ""))
        expected = [float(f"{value:.9g}") for value in dataset["tas"].values.ravel()]
        assert found == pytest.approx(expected, rel=1e-7)
    kind = subprocess.run(["ncdump", "-k", path], capture_output=True, text=True, check=True)
    assert kind.stdout.strip() == "netCDF-4"


def test_cdo_computes_with_what_was_written(tmp_path):
    """Yet another reader: the mean in time, and the values of one point."""
    path, other, mean = tmp_path / "a.nc", tmp_path / "b.nc", tmp_path / "mean.nc"
    dataset = climate()
    to_netcdf(dataset, path, encoding={"tas": {"chunksizes": (5, 7, 11), "zlib": True}})
    rechunk(path, other, access="series")
    expected = dataset["tas"].astype("f8").mean("time")
    for file in (path, other):
        cdo("-O", "timmean", "-selname,tas", file, mean)
        with xr.open_dataset(mean, engine="netcdf4") as found:
            np.testing.assert_allclose(found["tas"].isel(time=0), expected, rtol=1e-6)
        said = cdo("output", "-selindexbox,3,3,2,2", "-selname,tas", file)
        point = dataset["tas"].isel(lon=2, lat=1).values
        assert [float(word) for word in said.split()] == pytest.approx(point, rel=1e-5)


def cdo(*words):
    ran = subprocess.run(["cdo", "-s", *words], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout
