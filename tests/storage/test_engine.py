"""Engine ``hpclaunch``: that of ``netcdf4`` without its library, here and in other processes."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr
from dask.delayed import Delayed

from hpclaunch.errors import ChangedFile, CorruptFile, StorageError
from hpclaunch.storage import sidecar
from hpclaunch.storage.engine import HpclaunchBackendEntrypoint

pytestmark = pytest.mark.pure


@pytest.fixture(autouse=True)
def cache(hpclaunch_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("HPCLAUNCH_INDEX_CACHE", str(folder))
    sidecar.forget()
    return folder


def write(path: Path, at: int = 0) -> Path:
    """A file as models write them: two coordinates, a packed and a plain field, a group."""
    rng = np.random.default_rng(at)
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("time", None)
        file.createDimension("x", 60)
        file.Conventions, file.numbers = "CF-1.8", np.array([1, 2], "i2")
        time = file.createVariable("time", "f8", ("time",))
        time.units, time.calendar = "hours since 2001-01-01", "standard"
        time[:] = np.arange(30) + 30 * at
        file.createVariable("x", ">f4", ("x",), endian="big")[:] = np.arange(60)
        packed = file.createVariable(
            "packed", "i2", ("time", "x"), zlib=True, chunksizes=(7, 60), fill_value=-1
        )
        packed.scale_factor, packed.add_offset = 0.1, 270.0
        packed[:] = rng.random((30, 60)) * 40 + 260
        plain = file.createVariable("plain", "f4", ("time", "x"), chunksizes=(1, 60))
        plain[:] = rng.random((30, 60))
        inner = file.createGroup("a").createGroup("b")
        inner.depth = "deep"
        inner.createVariable("v", "f4", ("x",))[:] = np.arange(60)
    return path


def add_what_is_not_decoded(path: Path) -> Path:
    with netCDF4.Dataset(path, "a") as file:
        names = file.createVariable("name", str, ("x",))
        names[:] = np.array([f"station {at}" for at in range(60)], object)
        file.createDimension("y", 100)
        kinds = file.createEnumType("i1", "surface_t", {"land": 0, "sea": 1})
        file.createVariable("kind", kinds, ("x", "y"))[:] = np.arange(6000).reshape(60, 100) % 2
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "a.nc")


def both(path: Path, **options: Any) -> tuple[xr.Dataset, xr.Dataset]:
    return tuple(xr.open_dataset(path, engine=one, **options) for one in ("hpclaunch", "netcdf4"))  # type: ignore[return-value]


def assert_same(mine: xr.Dataset, theirs: xr.Dataset) -> None:
    xr.testing.assert_identical(mine, theirs)
    assert mine.encoding == theirs.encoding
    for name, one in theirs.variables.items():
        assert str(mine[name].encoding) == str(one.encoding)
        assert mine[name].dtype == one.dtype
        assert mine[name].values.tobytes() == one.values.tobytes()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"decode_cf": False},
        {"group": "a/b"},
        {"drop_variables": ["packed"]},
        {"decode_times": False},
        {"chunks": {"time": 10}},
    ],
    ids=str,
)
def test_a_file_is_what_engine_netcdf4_says(options, path):
    add_what_is_not_decoded(path)
    for _ in range(2):  # made, and from its index
        mine, theirs = both(path, **options)
        assert_same(mine, theirs)


def test_groups_are_what_engine_netcdf4_says(path):
    for group in (None, "a"):
        mine = xr.open_datatree(path, engine="hpclaunch", group=group)
        theirs = xr.open_datatree(path, engine="netcdf4", group=group)
        xr.testing.assert_identical(mine, theirs)
        many = xr.open_groups(path, engine="hpclaunch", group=group)
        assert list(many) == list(xr.open_groups(path, engine="netcdf4", group=group))
    with pytest.raises(OSError, match="group not found: c"):
        xr.open_dataset(path, engine="hpclaunch", group="a/c/d")


def test_many_files_are_one_dataset(tmp_path):
    paths = [write(tmp_path / f"{at}.nc", at) for at in range(3)]
    for options in (
        {},
        {"parallel": True},
        {"data_vars": "minimal", "coords": "minimal", "compat": "override"},
    ):
        mine = xr.open_mfdataset(paths, engine="hpclaunch", **options)  # type: ignore[arg-type]
        theirs = xr.open_mfdataset(paths, engine="netcdf4")
        xr.testing.assert_identical(mine.load(), theirs.load())


OPEN = """
import json, sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
import xarray
from hpclaunch.storage.engine import HpclaunchBackendEntrypoint as engine
dataset = xarray.open_dataset(sys.argv[1], engine=engine)  # by name all engines are imported
libraries = lambda: [one for one in ("netCDF4", "h5py") if one in sys.modules]
told = {"modules": libraries(), "data": opened.count(sys.argv[1]), "x": dataset.x.values.tolist()}
dataset.plain[3].load()
told["later"] = [opened.count(sys.argv[1]), *libraries()]
print(json.dumps(told))
"""


def test_opening_by_an_index_needs_neither_the_library_nor_the_file(path):
    sidecar.load(str(path))
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(path)], capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    assert told["modules"] == [] and told["data"] == 0
    assert told["x"] == list(range(60))
    assert told["later"] == [1], "a selection opens the data file once, and no library"


def test_values_are_read_when_they_are_asked_for(path, monkeypatch):
    from hpclaunch.storage.lazy import LazyArray

    asked: list[Any] = []
    read = LazyArray._read

    def noted(self: LazyArray, key: tuple[Any, ...]) -> np.ndarray:
        if self.name == "packed":
            asked.append(key)
        return read(self, key)

    monkeypatch.setattr(LazyArray, "_read", noted)
    dataset = xr.open_dataset(path, engine="hpclaunch")
    assert asked == []
    some = dataset.packed.isel(time=slice(20, 2, -3), x=[5, 3, 3])
    assert asked == []
    wanted = xr.open_dataset(path, engine="netcdf4").packed.isel(time=slice(20, 2, -3), x=[5, 3, 3])
    xr.testing.assert_identical(some.load(), wanted.load())
    assert len(asked) == 1 and asked[0] != (slice(None), slice(None))


def test_values_of_the_index_cannot_be_changed_by_who_opened(path):
    first = xr.open_dataset(path, engine="hpclaunch", decode_cf=False).load()
    first.packed.values[...] = -1
    first.attrs["numbers"][...] = -1
    first.packed.encoding["preferred_chunks"]["x"] = -1
    assert_same(*both(path, decode_cf=False))


def test_a_pickled_array_is_small_and_has_no_handle(path):
    add_what_is_not_decoded(path)
    dataset = xr.open_dataset(path, engine="hpclaunch", cache=False)
    for name in ("kind", "packed", "plain"):
        _ = dataset[name].values
        assert len(pickle.dumps(dataset[name].variable._data)) < 2000, name


def values_of(data: bytes) -> list[Any]:
    return [one.values for one in pickle.loads(data).variables.values()]


@pytest.mark.parametrize("shared", [True, False])
def test_another_process_reads_what_was_pickled(shared, path, tmp_path, monkeypatch):
    add_what_is_not_decoded(path)
    data = pickle.dumps(xr.open_dataset(path, engine="hpclaunch", chunks={}))
    if not shared:
        monkeypatch.setenv("HPCLAUNCH_INDEX_CACHE", str(tmp_path / "other"))
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(values_of, data).result()
    theirs = xr.open_dataset(path, engine="netcdf4")
    for one, other in zip(found, theirs.variables.values(), strict=True):
        np.testing.assert_array_equal(one, other.values)


@pytest.mark.parametrize("scheduler", ["threads", "processes", "synchronous"])
def test_dasks_schedulers(scheduler, path):
    add_what_is_not_decoded(path)
    mine, theirs = both(path, chunks={"time": 4, "x": 50})
    xr.testing.assert_identical(
        mine.compute(scheduler=scheduler), theirs.compute(scheduler="synchronous")
    )


def test_on_a_distributed_cluster(path):
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=1, threads_per_worker=2, processes=True, dashboard_address=None
        ) as cluster,
        Client(cluster),
    ):
        mine = xr.open_dataset(path, engine="hpclaunch", chunks={"time": 4})
        total = float(mine.plain.sum().compute())
    assert total == pytest.approx(float(xr.open_dataset(path, engine="netcdf4").plain.sum()))


def test_what_the_library_reads_leaves_no_file_open(path):
    add_what_is_not_decoded(path)
    dataset = xr.open_dataset(path, engine="hpclaunch", cache=False)
    wanted = dataset.kind.values.tolist()
    assert open_here(path) == 0
    dataset.close()
    assert dataset.kind.values.tolist() == wanted, "it is opened anew, as with engine netcdf4"
    dataset.close()


def open_here(path: Path) -> int:
    """How many descriptors of this process belong to the HDF5 library's view of a file."""
    links = [one for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]
    locked = [one for one in links if os.path.realpath(one) == str(path)]
    return len(locked)


def test_a_file_that_changed_is_told(path):
    add_what_is_not_decoded(path)
    dataset = xr.open_dataset(path, engine="hpclaunch", cache=False, decode_cf=False)
    data = pickle.dumps(dataset["packed"])
    add_what_is_not_decoded(write(path.with_name("new.nc"), 5)).replace(path)
    for one in (dataset["plain"], dataset["kind"], pickle.loads(data)):
        with pytest.raises(ChangedFile, match=r"a\.nc"):
            _ = one.values
    assert_same(*both(path))


def test_classic_files_and_zarr_stores_go_to_their_engines(tmp_path):
    wanted = xr.Dataset({"v": ("x", np.arange(3.0))}, {"x": [1, 2, 3]})
    wanted.to_netcdf(tmp_path / "c.nc", format="NETCDF3_64BIT", engine="netcdf4")
    wanted.to_zarr(tmp_path / "s.zarr")
    for name in ("c.nc", "s.zarr"):
        xr.testing.assert_identical(
            xr.open_dataset(tmp_path / name, engine="hpclaunch").load(), wanted
        )
        tree = xr.open_datatree(tmp_path / name, engine="hpclaunch")
        xr.testing.assert_identical(tree.to_dataset().load(), wanted)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "is empty"), (b"GRIB" * 100, "neither a NetCDF nor"), (b"\x89HDF", "neither a NetCDF")],
    ids=["empty", "grib", "cut"],
)
def test_other_files_are_told_by_name(content, words, tmp_path):
    path = tmp_path / "odd.nc"
    path.write_bytes(content)
    with pytest.raises(CorruptFile, match=rf"odd\.nc.*{words}"):
        xr.open_dataset(path, engine="hpclaunch")


def test_what_is_no_local_file(tmp_path, path):
    with pytest.raises(FileNotFoundError):
        xr.open_dataset(tmp_path / "none.nc", engine="hpclaunch")
    with pytest.raises(StorageError, match="URL"):
        xr.open_dataset("ftp://example.org/a.nc", engine="hpclaunch")
    with path.open("rb") as file, pytest.raises(TypeError, match="by their path"):
        xr.open_dataset(file, engine="hpclaunch")


def test_no_file_is_taken_from_another_engine(path):
    assert HpclaunchBackendEntrypoint().guess_can_open(str(path)) is False
    source = xr.open_dataset(path).variables["plain"]
    assert "LazyArray" not in repr(source._data)


def test_plain_hdf5(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["v"] = np.arange(6.0).reshape(2, 3)
        file["deep/w"] = np.arange(3)
    assert_same(*both(path))
    assert_same(*both(path, group="deep"))


def test_writing_with_the_encodings_of_a_file_that_was_read(path, tmp_path):
    for one, name in zip(both(path), ("mine.nc", "theirs.nc"), strict=True):
        made = one.to_netcdf(tmp_path / name, engine="netcdf4")
        assert not isinstance(made, Delayed)
    mine, theirs = (
        xr.open_dataset(tmp_path / name, engine="netcdf4") for name in ("mine.nc", "theirs.nc")
    )
    xr.testing.assert_identical(mine, theirs)
    for name in theirs.variables:
        mine[name].encoding["source"] = theirs[name].encoding["source"]
        assert str(mine[name].encoding) == str(theirs[name].encoding)
