"""Dask arrays of files in a row: what their blocks give, and how they are called."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys

import dask
import netCDF4
import numpy as np
import pytest
import xarray as xr

from hpclaunch import storage
from hpclaunch.storage import sidecar
from hpclaunch.storage.blocks import Machine
from hpclaunch.storage.divided import Blocks

pytestmark = pytest.mark.pure


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three files with a packed variable, a curved coordinate, one number and letters."""
    folder = tmp_path_factory.mktemp("divided")
    rng = np.random.default_rng(20011)
    found = []
    for number in range(3):
        path = folder / f"{number}.nc"
        with netCDF4.Dataset(path, "w") as file:
            for name, n in {"time": None, "y": 200, "x": 300, "letters": 3}.items():
                file.createDimension(name, n)
            time = file.createVariable("time", "i4", ("time",))
            time.units = "days since 2001-01-01"
            time[:] = np.arange(20) + 20 * number
            how = {"zlib": True, "chunksizes": (1, 200, 300)}
            one = file.createVariable("v", "i2", ("time", "y", "x"), fill_value=-1, **how)
            one.scale_factor, one.coordinates = 0.5, "place height"
            one[:] = rng.integers(0, 99, (20, 200, 300))
            file.createVariable("place", "f8", ("y", "x"))[:] = np.ones((200, 300))
            file.createVariable("height", "f4", ())[...] = 2
            file.createVariable("word", "S1", ("letters",))[:] = np.array(list("abc"), "S1")
        found.append(str(path))
    return found


def by_xarray(files: list[str], **options: object) -> xr.Dataset:
    how = {"compat": "override", "coords": "minimal", "data_vars": "minimal"}
    return xr.open_mfdataset(
        files, engine="netcdf4", combine="nested", concat_dim="time", **how, **options
    )


def test_a_dataset_is_what_xarray_makes_of_it(files):
    found, wanted = storage.open_mfdataset(files), by_xarray(files)
    xr.testing.assert_identical(found, wanted)
    assert list(found.coords) == list(wanted.coords) and list(found) == list(wanted)
    assert found["v"].chunks is not None and found["place"].chunks is not None
    assert found["word"].chunks is None and found["time"].chunks is None
    assert found["v"].data._meta.dtype == found["v"].dtype == wanted["v"].dtype
    assert found["v"].encoding["scale_factor"] == 0.5
    assert set(found.xindexes) == {"time"}


def test_a_number_can_be_written_to(files):
    found = storage.open_mfdataset(files)
    assert found["height"].chunks is None
    found["height"][...] = 3
    assert found["height"].item() == 3
    assert storage.open_mfdataset(files)["height"].item() == 2


def test_options_that_are_none_are_the_usual_ones(files):
    found = storage.open_mfdataset(files, mask_and_scale=None, decode_times=None)
    xr.testing.assert_identical(found, storage.open_mfdataset(files))


KEYS = [
    np.s_[3:50, :, :],
    np.s_[::-1, ::-2, 7],
    np.s_[5, 6, 7],
    np.s_[-1, :, 3:-3],
    np.s_[[59, 0, 3], 2:9, :],
    np.s_[[1, 30], [3, 4], [7, 9, 11]],
    np.s_[:0, :, :],
    np.s_[59:3:-7, 3, [5]],
]


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_selections(files, key):
    found, wanted = storage.open_mfdataset(files)["v"], by_xarray(files)["v"]
    xr.testing.assert_identical(found[key], wanted[key])


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_what_blocks_give(files, key):
    """Any key for each dimension by itself, and one that leaves out the last ones."""
    blocks = next(iter(_blocks(storage.open_mfdataset(files)["v"])))
    as_arrays = tuple(np.array(one) if isinstance(one, list) else one for one in key)
    wanted = by_xarray(files)["v"].values
    for axis, one in reversed(list(enumerate(key))):
        wanted = wanted[(slice(None),) * axis + (one,)]
    found = blocks[as_arrays]
    assert type(found) is np.ndarray and np.array_equal(found, wanted)
    first = np.asarray(blocks[as_arrays[:1]])
    assert np.array_equal(first, by_xarray(files)["v"].values[key[0]])


def _blocks(array: xr.DataArray) -> list[Blocks]:
    graph = dict(array.__dask_graph__())
    found = [getattr(one, "value", one) for one in graph.values()]
    return [one for one in found if isinstance(one, Blocks)]


def test_only_what_comes_from_the_files_as_it_is_goes_past_xarray(files):
    opened = storage.open_mfdataset(files)
    assert len(_blocks(opened["v"])) == 1 and not _blocks(opened["place"])
    whole = storage.open_mfdataset(files, chunks={"time": 7})
    assert not _blocks(whole["v"])
    cftime = xr.coders.CFDatetimeCoder(use_cftime=True)
    other = storage.open_mfdataset(files, decode_times=cftime)
    assert len(_blocks(other["v"])) == 1
    xr.testing.assert_identical(other.load(), by_xarray(files, decode_times=cftime).load())


def test_names_tell_what_was_asked_for(files):
    def name(**options: object) -> str:
        return storage.open_mfdataset(files, **options)["v"].data.name

    assert name() == name() and name().startswith("hpclaunch-v-")
    small = Machine(memory=1 << 20)
    opened = storage.open_mfdataset(files, machine=small)
    assert opened.chunks != storage.open_mfdataset(files).chunks
    others = [name(mask_and_scale=False), name(machine=small), name(chunks={"time": 7})]
    assert len({name(), *others}) == 4


def test_graphs_go_to_other_processes(files):
    array = storage.open_mfdataset(files)["v"].data
    there = pickle.loads(pickle.dumps(array))
    assert len(pickle.dumps(array)) < 20_000
    opened = storage.open_mfdataset(files)  # what it is made of does not go along
    assert len(pickle.dumps(opened)) < len(pickle.dumps(opened.chunk())) + 500
    assert b"Row" not in pickle.dumps(opened) and b"JoinedDataStore" not in pickle.dumps(opened)
    with dask.config.set(scheduler="synchronous"):
        assert np.array_equal(there.compute(), array.compute(), equal_nan=True)


@pytest.mark.parametrize("chunks", ["tuned", None, {"time": 7}])
def test_files_may_be_moved_behind_a_link(files, tmp_path, chunks):
    """As where releases are switched, or a file system is mounted elsewhere on other nodes."""
    real, link = tmp_path / "v1", tmp_path / "current"
    real.mkdir()
    for one in files:
        shutil.copy(one, real)
    link.symlink_to(real)
    asked = str(link / "*.nc")
    wanted = storage.open_mfdataset(asked).load()
    real.rename(tmp_path / "v2")
    link.unlink()
    link.symlink_to(tmp_path / "v2")
    for _ in range(2):
        found = storage.open_mfdataset(asked, chunks=chunks)
        xr.testing.assert_identical(found.load(), wanted)
        assert found["v"].encoding["source"] == str(link / "0.nc")
        sidecar.forget()


def test_without_dask(files):
    """Where no Dask array is asked for none of it is needed."""
    code = (
        "import sys\n"
        "for name in ('dask', 'dask.base', 'dask.array', 'distributed'): sys.modules[name] = None\n"
        "from hpclaunch.storage import open_mfdataset\n"
        f"print(float(open_mfdataset({files!r}, chunks=None)['v'].mean()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == float(storage.open_mfdataset(files, chunks=None)["v"].mean())
