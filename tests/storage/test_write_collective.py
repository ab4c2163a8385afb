"""Workers that are ranks of one MPI job write a file together; real MPI and real parallel HDF5."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr
from distributed import Client, LocalCluster

from hpclaunch.errors import StorageError
from hpclaunch.storage import collective, to_netcdf
from hpclaunch.storage.collective import crew_of
from hpclaunch.storage.encode import Plan
from hpclaunch.storage.mpiranks import Facts
from tests.storage.test_write import climate
from tests.support.parallel_hdf5 import ROOT, parallel_environment

GOOD = Facts(2, 5, True, True, (1, 14, 5), True)
LIMIT = 240
"""Seconds for a program on a busy machine."""


class Told:
    """A client whose workers say this of themselves."""

    def __init__(self, **facts):
        self.facts = facts

    def run(self, function, *arguments):
        return self.facts


@pytest.mark.pure
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rank": -1}, "worker b is no rank of an MPI job"),
        ({"parallel": False, "hdf5": ()}, "h5py of worker b was built without MPI"),
        ({"hdf5": (1, 10, 4)}, "worker b has HDF5 1.10.4, older than 1.10.5"),
        ({"threads": False}, "MPI of worker b may not be called by several threads"),
        ({"writable": False}, "worker b cannot write to /nowhere"),
        ({"rank": 1}, "several MPI jobs"),
        ({"size": 6}, "several MPI jobs"),
    ],
)
def test_what_a_worker_lacks_is_told(change, said):
    told = Told(a=replace(GOOD, rank=1), b=replace(GOOD, **change))
    with pytest.raises(StorageError, match=re.escape(said)) as caught:
        crew_of(told, Path("/nowhere/file.part"))
    assert caught.value.hint


@pytest.mark.pure
def test_workers_that_lack_nothing_are_a_crew():
    assert crew_of(Told(a=GOOD, b=replace(GOOD, rank=3)), Path("/x")).ranks == {"a": 2, "b": 3}


@pytest.mark.pure
def test_without_a_cluster_nothing_is_written(tmp_path):
    with pytest.raises(StorageError, match="no such one"):
        to_netcdf(climate(), tmp_path / "a.nc", collective=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.local
def test_workers_that_are_no_ranks_are_refused_and_get_no_mpi(tmp_path):
    def has_mpi():
        return "mpi4py.MPI" in sys.modules

    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        with pytest.raises(StorageError, match=r"worker tcp://\S+ is no rank"):
            to_netcdf(climate(), tmp_path / "a.nc", collective=True)
        assert set(client.run(has_mpi).values()) == {False}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.pure
@pytest.mark.parametrize("largest", [1, 100, 1000, 5000, 10**6])
@pytest.mark.parametrize("shape", [(20, 14, 22), (7, 14, 33), (1, 1, 1)])
def test_pieces_are_whole_chunks_and_cover_the_block_once(monkeypatch, largest, shape):
    monkeypatch.setattr(collective, "LARGEST", largest)
    chunks, origin = (5, 7, 11), (10, 14, 22)
    plan = Plan("/v", (100, 100, 100), chunks, np.dtype("f8"), bytes(8), ())
    seen = np.zeros(shape, int)
    for piece in collective._pieces("key", collective._Place(0, origin, shape), plan):
        seen[piece.inside] += 1
        starts = [one.start for one in piece.inside]
        assert piece.origin == tuple(a + b for a, b in zip(origin, starts, strict=True))
        assert not any(a % c for a, c in zip(piece.origin, chunks, strict=True))
        size = seen[piece.inside].size * 8
        assert size <= max(largest, math.prod(chunks) * 8)
    assert (seen == 1).all()


@pytest.fixture(scope="module")
def parallel_python():
    """A Python whose h5py is built for Open MPI."""
    return parallel_environment() / "bin" / "python"


@dataclass(frozen=True)
class Ran:
    """How a program of `collective_script` ended: its exit code, what it told, where it wrote."""

    code: int
    told: dict
    folder: Path
    stderr: str


def ran(python, folder, *cases, workers=3, before=()):
    """Run cases with so many workers; a scheduler and a client are two more ranks."""
    argv = [
        *(*before, "mpirun.openmpi", "--oversubscribe", "--bind-to", "none"),
        *(["--allow-run-as-root"] if os.geteuid() == 0 else []),
        *("-n", str(workers + 2), python, "-m", "tests.storage.collective_script", folder, *cases),
    ]
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, timeout=LIMIT, cwd=ROOT
    )
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return Ran(done.returncode, told[0] if told else {}, folder, done.stderr)


@pytest.fixture(scope="module")
def three(parallel_python, tmp_path_factory):
    """What a program of three workers told of all that does not end it."""
    folder = tmp_path_factory.mktemp("collective")
    done = ran(parallel_python, folder, "same", "many", "failing_task", "failing_rank", "damaged")
    assert done.code == 0, done.stderr
    return done


long = [pytest.mark.local, pytest.mark.long, pytest.mark.timeout(3600)]


class TestThreeWorkers:
    """Rank 0 is the scheduler, rank 1 the client: the workers' communicator is not the world."""

    pytestmark = long

    def test_the_files_are_those_of_xarray(self, three):
        told = {name: numbers for name, *numbers in three.told["same"]["done"]}
        assert sorted(f"{name}.nc" for name in told) == three.told["same"]["names"]
        assert told["edges"][0] == 5 * 3 * 4 + 2 and told["one-block"][0] == 1
        assert all(plain == [] for *_, plain in told.values())
        assert told["bare"][1] == told["bare"][2] and told["f8"][2] < told["f8"][1]

    def test_others_read_them(self, three):
        """This process has h5py and netCDF4 with libraries of their own; ncdump has Debian's."""
        path = three.folder / "same" / "series-time.nc"
        wanted = climate()["tas"].values
        with netCDF4.Dataset(path) as file:
            np.testing.assert_array_equal(file["tas"][:], wanted)
            assert file.dimensions["time"].isunlimited()
        with h5py.File(path) as file:
            np.testing.assert_array_equal(file["tas"][:], wanted)
            assert file["tas"].compression == "gzip" and file["tas"].shuffle
        with xr.open_dataset(path, engine="hpclaunch") as file:
            xr.testing.assert_identical(file.load(), climate().compute())
        if shutil.which("ncdump") is None:
            pytest.skip("no ncdump here")
        said = subprocess.run(
            ["ncdump", "-v", "tas", path], capture_output=True, text=True, check=True
        ).stdout
        numbers = said.partition(" tas =")[2].partition(";")[0].replace(",", " ").split()
        np.testing.assert_allclose(np.array(numbers, "f4"), wanted.ravel(), rtol=1e-6)

    def test_a_group(self, three):
        path = three.folder / "same" / "in-a-group.nc"
        with xr.open_dataset(path, group="model/run1", engine="netcdf4") as file:
            xr.testing.assert_identical(file.load(), climate().compute())

    def test_two_threads_write_more_blocks_than_the_window_has(self, three):
        told = three.told["many"]
        assert told["told"] == {"a.nc": 60, "b.nc": 60} and told["names"] == ["a.nc", "b.nc"]
        assert told["last"] == [480_000, 480_000] and told["held"] == 0
        values = [netCDF4.Dataset(three.folder / "many" / name)["v"][:] for name in told["names"]]
        assert values[0].shape == (60, 1000)
        np.testing.assert_array_equal(*values)

    def test_what_has_not_come_to_the_disk_is_noticed(self, three):
        """Open MPI 4.1 does not always tell that a write has failed."""
        told = three.told["damaged"]
        assert re.fullmatch(r"StorageError: /v is not in \S+ as it was written", told.pop("said"))
        assert told == {"left": [], "chunks": 10, "names": ["b.nc"]}

    @pytest.mark.parametrize(
        ("case", "said"),
        [
            ("failing_task", "ZeroDivisionError: in the middle"),
            ("failing_rank", "KeyError: 'lost'"),
        ],
    )
    def test_an_error_arrives_and_the_next_file_is_written(self, three, case, said):
        assert three.told[case] == {"said": said, "left": [], "chunks": 10, "names": ["b.nc"]}


@pytest.mark.local
@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_worker_that_is_killed_ends_the_job_and_leaves_no_file(parallel_python, tmp_path):
    done = ran(parallel_python, tmp_path, "killed", workers=2)
    assert done.code != 0 and "signal 9" in done.stderr, done.stderr
    assert all(path.name.endswith(".part") for path in (tmp_path / "killed").iterdir())


@pytest.mark.local
@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_full_disk_is_told_and_nothing_is_left(parallel_python, tmp_path):
    """A file system of 3 MB, mounted where only these processes see it."""
    (tmp_path / "small").mkdir()
    mount = 'mount -t tmpfs -o size=3m tmpfs "$0" && exec "$@"'
    small = ("unshare", "--map-root-user", "--mount", "sh", "-c", mount, tmp_path / "small")
    done = ran(parallel_python, tmp_path / "small", "full_disk", workers=2, before=small)
    told = done.told["full_disk"]
    assert told["said"].endswith("a.nc was not written: the disk is full"), done.stderr
    assert told["names"] == ["a.nc"] and told["text"] == "older"


@pytest.mark.local
@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_rank_that_fails_within_hdf5_is_told_though_the_others_wait(parallel_python, tmp_path):
    done = ran(parallel_python, tmp_path, "stuck")
    told = done.told["stuck"]
    assert told["said"].startswith("StuckRanks: a rank failed while "), done.stderr
    assert told["names"] == []
