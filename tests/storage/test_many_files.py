"""Several files as one, an index found again by another process, and files read on Dask workers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray as xr

from tests.storage.animals import numbers
from tests.storage.opening import ENGINE
from tests.storage.same import differences
from tests.storage.zoo import IRIS, Zoo

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four files that follow one another in time: packed and plain, with coordinates and bounds."""
    folder = tmp_path_factory.mktemp("months")
    paths = [folder / f"month{at}.nc" for at in range(4)]
    for at, path in enumerate(paths):
        with netCDF4.Dataset(path, "w") as file:
            file.title = f"file {at}"
            file.createDimension("time", None)
            file.createDimension("bnds", 2)
            file.createDimension("x", 7)
            time = file.createVariable("time", "f8", ("time",))
            time.setncatts({"units": f"days since 2000-0{at + 1}-01", "bounds": "time_bnds"})
            time[:] = range(5 + at)
            file.createVariable("time_bnds", "f8", ("time", "bnds"))[:] = 1.5
            file.createVariable("x", "f4", ("x",))[:] = range(7)
            file.createVariable("mask", "i1", ("x",))[:] = 1
            plain = file.createVariable("plain", "f4", ("time", "x"), zlib=True, chunksizes=(2, 7))
            plain[:] = numbers("f4", (5 + at, 7), str(at))
            packed = file.createVariable("packed", "i2", ("time", "x"), fill_value=-99, zlib=True)
            packed.setncatts({"scale_factor": 0.1, "coordinates": "mask"})
            packed.set_auto_maskandscale(False)
            packed[:] = numbers("i2", (5 + at, 7), str(at))
    return paths


HOWS: dict[str, dict[str, Any]] = {
    "by_coords": {"combine": "by_coords"},
    "nested": {"combine": "nested", "concat_dim": "time"},
    "minimal": {
        "combine": "nested",
        "concat_dim": "time",
        "data_vars": "minimal",
        "coords": "minimal",
        "compat": "override",
    },
    "chunked": {"chunks": {"time": 3}},
    "parallel": {"parallel": True},
    "raw": {"decode_cf": False, "combine": "nested", "concat_dim": "time"},
    "by_index": {"combine": "nested", "concat_dim": "run"},
}


@pytest.mark.pure
@pytest.mark.parametrize("how", HOWS)
def test_several_files_as_one(months: list[Path], how: str) -> None:
    found = xr.open_mfdataset(months, engine=ENGINE, **HOWS[how])
    right = {key: value for key, value in HOWS[how].items() if key != "parallel"}
    wanted = xr.open_mfdataset(months, engine="netcdf4", **right)
    assert {key: one.chunks for key, one in found.variables.items()} == {
        key: one.chunks for key, one in wanted.variables.items()
    }
    assert differences(found, wanted) == []


@pytest.mark.pure
@pytest.mark.parametrize("pattern", ["iris_nemo", "A1B|E1"])
def test_several_real_files_as_one(pattern: str) -> None:
    paths = [
        path
        for name, path in IRIS.items()
        if any(part.lower() in name.lower() for part in pattern.split("|"))
    ]
    assert len(paths) >= 2
    how: dict[str, Any] = {"combine": "nested", "concat_dim": "run"}
    if "nemo" in pattern:
        how["concat_dim"] = "time_counter"
        how |= {"data_vars": "minimal", "coords": "minimal", "compat": "override"}
    found, wanted = (xr.open_mfdataset(paths, engine=one, **how) for one in (ENGINE, "netcdf4"))
    assert differences(found, wanted) == []


WORK = """
import sys, warnings
from pathlib import Path
from tests.storage.opening import groups, ours, outcome, theirs
from tests.storage.test_zoo import same_outcome
warnings.simplefilter("ignore")
for path in map(Path, sys.argv[1:]):
    for group in groups(path):
        found, wanted = (outcome(lambda: one(path, group)) for one in (ours, theirs))
        for told in same_outcome(found, wanted):
            print(path.name, group, told)
"""


def _in_a_fresh_process(paths: list[Path]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", WORK, *map(str, paths)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.pure
def test_indices_kept_on_disk_tell_another_process_the_same(zoo: Zoo, index_cache: Path) -> None:
    """The first process makes them, the second finds them and does not write them again."""
    paths = list(zoo.every().values())
    assert _in_a_fresh_process(paths) == ""
    kept = {one: one.stat().st_mtime_ns for one in index_cache.rglob("*") if one.is_file()}
    assert len(kept) > len(paths) * 0.9
    assert _in_a_fresh_process(paths) == ""
    again = {one: one.stat().st_mtime_ns for one in index_cache.rglob("*") if one.is_file()}
    assert again == kept


SOME = (
    *("kinds_zlib_shuffle_fletcher32", "packed", "missing_chunks", "shorter_than_the_dimension"),
    *("strings", "calendars", "nested_groups", "chunk_indices_latest", "compounds", "virtual"),
)


@pytest.mark.local
@pytest.mark.patient
def test_on_workers_of_a_dask_cluster(zoo: Zoo, months: list[Path]) -> None:
    """Processes of their own that open nothing: the graph brings them all that they need."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None
        ) as cluster,
        Client(cluster),
    ):
        for name in SOME:
            path = zoo.path(name)
            found = xr.open_dataset(path, engine=ENGINE, chunks={})
            wanted = xr.open_dataset(path, engine="netcdf4").load()
            assert differences(found.compute(), wanted) == [], name
        found = xr.open_mfdataset(months, engine=ENGINE)
        wanted = xr.open_mfdataset(months, engine="netcdf4")
        assert differences(found.compute(), wanted.compute(scheduler="sync")) == []
        mean = found["plain"].where(np.isfinite(found["plain"])).max().compute()
        right = wanted["plain"].where(np.isfinite(wanted["plain"])).max()
        assert mean.values == right.compute(scheduler="sync").values
