"""Workers compute and deflate the blocks, and the process that asked writes them."""

from __future__ import annotations

import os
import signal

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from distributed import Client, LocalCluster

from hpclaunch.storage import run
from hpclaunch.storage.window import BATCHES
from hpclaunch.storage.write import to_netcdf
from tests.storage.test_write import assert_same_file, climate, xarrays

pytestmark = [pytest.mark.local, pytest.mark.patient]


@pytest.fixture(scope="module", params=[True, False], ids=["processes", "threads"])
def client(request):
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=2,
            processes=request.param,
            dashboard_address=None,
            # Threads share the memory of all the tests that this process has run.
            memory_limit="1GiB" if request.param else "16GiB",
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def chunks_held(dask_worker):
    return len([key for key in dask_worker.data if "netcdf-chunks" in str(key)])


@pytest.mark.parametrize("access", ["map", "series"])
def test_the_same_file_as_xarrays(client, tmp_path, access):
    ours, theirs = tmp_path / "ours.nc", tmp_path / "theirs.nc"
    told = to_netcdf(climate(), ours, access=access, unlimited_dims="time")
    assert told.plain == {}
    with dask.config.set(scheduler="threads"):
        xarrays(climate(), theirs, ours, unlimited_dims="time")
    assert_same_file(ours, theirs)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ours.nc", "theirs.nc"]


def test_persisted_values_and_what_xarray_writes(client, tmp_path):
    dataset = climate()[["tas"]].assign(
        words=("x", da.from_array(np.array([b"ab", b"c"] * 30), chunks=7))
    )
    here = dataset.persist()
    told = to_netcdf(here, tmp_path / "a.nc")
    assert set(told.plain) == {"words"}
    with xr.open_dataset(tmp_path / "a.nc", engine="netcdf4") as made:
        xr.testing.assert_equal(made.load(), dataset.compute())


def test_no_more_blocks_than_the_window_are_under_way(client, tmp_path, monkeypatch):
    """Blocks are counted on the workers each time one is written."""
    threads = sum(client.nthreads().values())
    counts = []
    put = run.ChunkFile.put

    def slow_put(self, plan, chunk):
        counts.append(sum(client.run(chunks_held).values()))
        put(self, plan, chunk)

    monkeypatch.setattr(run.ChunkFile, "put", slow_put)
    data = da.random.default_rng(1).random((80, 1000), chunks=(1, 1000))
    encoding = {"v": {"chunksizes": (1, 1000)}}
    to_netcdf(xr.Dataset({"v": (("t", "x"), data)}), tmp_path / "a.nc", encoding=encoding)
    assert len(counts) == 80
    assert 0 < max(counts) <= 2 * BATCHES * threads  # a worker drops a block a little later


def test_shared_work_is_done_once(client, tmp_path):
    """Where all blocks need one task the whole graph goes to the scheduler."""
    base = da.random.default_rng(1).random((64, 64), chunks=(1, 64))
    turned = (base + base.T.rechunk((1, 64))).rechunk((8, 64))
    expected = turned.compute()
    to_netcdf(xr.Dataset({"v": (("t", "x"), turned)}), tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc", engine="netcdf4") as made:
        np.testing.assert_array_equal(made["v"].values, expected)


def test_an_error_on_a_worker_arrives_and_leaves_nothing(client, tmp_path):
    def fail(block, block_id):
        if block_id == (1, 1, 1):
            raise ZeroDivisionError("in the middle")
        return block

    dataset = climate()
    dataset["tas"].data = da.map_blocks(fail, dataset["tas"].data, dtype="f4")
    with pytest.raises(ZeroDivisionError):
        to_netcdf(dataset, tmp_path / "a.nc")
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_is_killed_costs_only_its_blocks(tmp_path):
    flag = tmp_path / "killed"

    def deadly(block, block_id):
        if block_id == (20, 0) and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return block + 1

    values = np.random.default_rng(1).random((40, 500))
    data = da.map_blocks(deadly, da.from_array(values, chunks=(1, 500)), dtype="f8")
    encoding = {"v": {"chunksizes": (1, 500)}}
    (tmp_path / "out").mkdir()
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        dataset = xr.Dataset({"v": (("t", "x"), data)})
        told = to_netcdf(dataset, tmp_path / "out" / "a.nc", encoding=encoding)
    assert flag.exists() and told.chunks == 40
    with xr.open_dataset(tmp_path / "out" / "a.nc", engine="netcdf4") as made:
        np.testing.assert_array_equal(made["v"].values, values + 1)
