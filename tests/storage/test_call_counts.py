"""How often the engine asks the system for bytes, counted by the kernel: no clock is looked at.

``syscr`` of /proc/self/io (proc_pid_io(5)) counts the read calls of a process, of all files: what
is counted is the difference that reading makes in a process that has read another file before.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import netCDF4
import numpy as np
import pytest

pytestmark = pytest.mark.pure

ROOT = Path(__file__).parents[2]
STEPS, LATITUDES, LONGITUDES = 180, 91, 90
LEAST = 30
"""netCDF4 calls at least so often for each call of ours."""

PROGRAM = """
import json, re, sys
import xarray

def calls():
    with open("/proc/self/io") as file:
        return int(re.search(r"syscr: (\\d+)", file.read())[1])

def read(path):
    with xarray.open_dataset(path, engine=sys.argv[1]) as dataset:
        before = calls()
        total = float(dataset["t2m"].values.sum(dtype="f8"))
        return calls() - before, total

def opening(path):
    before = calls()
    xarray.open_dataset(path, engine=sys.argv[1]).close()
    return calls() - before

warm, path = sys.argv[2:]
idle = -calls() + calls()
read(warm)
opened = opening(path) - idle
count, total = read(path)
print(json.dumps({"opening": opened, "reading": count - idle, "total": total}))
"""


@pytest.fixture(scope="module")
def counts(tmp_path_factory):
    """Calls to open and to read 180 chunks of 33 KB, by engine."""
    folder = tmp_path_factory.mktemp("calls")
    paths = [folder / "warm.nc", folder / "measured.nc"]
    noise = np.random.default_rng(20011).standard_normal((STEPS, LATITUDES, LONGITUDES))
    for path in paths:
        with netCDF4.Dataset(path, "w") as file:
            for name, size in (("time", None), ("lat", LATITUDES), ("lon", LONGITUDES)):
                file.createDimension(name, size)
            chunks = (1, LATITUDES, LONGITUDES)
            values = file.createVariable(
                "t2m", "f4", ("time", "lat", "lon"), zlib=True, complevel=1, chunksizes=chunks
            )
            values[:] = noise
    environment = {**os.environ, "HPCLAUNCH_INDEX_CACHE": str(folder / "index")}
    environment["PYTHONPATH"] = str(ROOT)

    def of(engine):
        command = [sys.executable, "-c", PROGRAM, engine, *map(str, paths)]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
        return json.loads(done.stdout)

    of("hpclaunch")  # makes the index
    return {engine: of(engine) for engine in ("hpclaunch", "netcdf4")}


def test_both_read_the_same(counts):
    assert counts["hpclaunch"]["total"] == counts["netcdf4"]["total"]


def test_netcdf4_asks_for_every_chunk(counts):
    """Else the comparison below says nothing."""
    assert counts["netcdf4"]["reading"] >= STEPS


def test_reading_asks_thirty_times_less(counts):
    ours, theirs = counts["hpclaunch"]["reading"], counts["netcdf4"]["reading"]
    assert ours >= 1
    assert ours * LEAST <= theirs


def test_opening_reads_the_index_only(counts):
    assert counts["hpclaunch"]["opening"] <= 3
