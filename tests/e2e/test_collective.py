"""The ranks of a batch job on two nodes write one file by collective MPI-IO."""

from __future__ import annotations

import base64
import json
import textwrap
from pathlib import Path

import netCDF4
import numpy as np
import pytest

from tests.support.cluster import PROFILE, Cluster
from tests.support.launch import Laptop
from tests.support.parallel_hdf5 import parallel_environment, take_to_the_nodes

pytestmark = [pytest.mark.cluster, pytest.mark.long, pytest.mark.timeout(3600)]

SHAPE, CHUNKS = (40, 60, 70), (1, 60, 70)
PROGRAM = f"""
    import json, pathlib, socket
    import dask.array as da
    import h5py
    import xarray as xr
    from distributed import Client
    from hpclaunch.storage import to_netcdf
    from hpclaunch.storage.collective import crew_of

    client = Client()
    hosts = client.run(socket.gethostname)
    path = pathlib.Path.home() / "collective.nc"
    numbers = (da.arange({np.prod(SHAPE)}, chunks=21_000) * 7919 % 65521).astype("i4")
    numbers = numbers.reshape({SHAPE}).rechunk((5, 60, 70))
    dataset = xr.Dataset({{"tas": (("time", "lat", "lon"), numbers, {{"units": "K"}})}})
    encoding = {{"tas": {{"chunksizes": {CHUNKS}, "zlib": True, "shuffle": True}}}}
    told = to_netcdf(dataset, path, collective=True, encoding=encoding)
    crew = crew_of(client, path)
    left = [one.name for one in path.parent.glob("collective*") if one != path]
    print(json.dumps({{
        "ranks": sorted((hosts[worker], rank) for worker, rank in crew.ranks.items()),
        "chunks": told.chunks, "plain": told.plain, "left": left, "mpi": h5py.get_config().mpi,
    }}))
"""


def test_ranks_of_two_nodes_write_a_file(laptop: Laptop, cluster: Cluster, tmp_path: Path) -> None:
    env = take_to_the_nodes(parallel_environment(), cluster, "parallel-hdf5")
    profile = tmp_path / "parallel.toml"
    profile.write_text(
        PROFILE.read_text().replace("../run/ssh_config", str(PROFILE.parents[1] / "run/ssh_config"))
        + f'[environments.parallel]\npython = "{env}/bin/python"\n'
        f'setup = ["export LD_LIBRARY_PATH={env}/lib"]\n'
    )
    program = tmp_path / "write.py"
    program.write_text(textwrap.dedent(PROGRAM))
    try:
        done = laptop.run(
            *("batch", str(profile), str(program), "--nodes", "2", "--workers-per-node", "1"),
            *("--environment", "parallel", "--wait"),
            timeout=240,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("{")]
        found = json.loads(line)
        assert [host for host, _ in found["ranks"]] == ["c1", "c2"]
        assert len({rank for _, rank in found["ranks"]}) == 2
        assert found["mpi"] and found["plain"] == {} and found["left"] == []
        assert found["chunks"] == SHAPE[0]
        copy = tmp_path / "copy.nc"
        copy.write_bytes(base64.b64decode(cluster.ssh("base64 collective.nc")))
        wanted = (np.arange(np.prod(SHAPE)) * 7919 % 65521).reshape(SHAPE)
        with netCDF4.Dataset(copy) as file:
            assert file["tas"].chunking() == list(CHUNKS) and file["tas"].filters()["zlib"]
            np.testing.assert_array_equal(file["tas"][:], wanted)
    finally:
        cluster.ssh("rm -rf collective.nc parallel-hdf5")
