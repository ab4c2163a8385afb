"""Dask workers of two nodes: engine ``hpclaunch`` gives the values of engine ``netcdf4``."""

from __future__ import annotations

import json
import subprocess
import tarfile
import textwrap
from pathlib import Path

import pytest

from tests.storage.zoo import Zoo
from tests.support.cluster import PROFILE, Cluster
from tests.support.launch import Laptop, eventually

pytestmark = pytest.mark.cluster

SITE = str(PROFILE)
TWO_NODES = ("--nodes", "2", "--workers-per-node", "1")

ANIMALS = (
    *("kinds_zlib_shuffle_fletcher32", "fills_of_all_kinds", "packed", "calendars", "strings"),
    *("missing_chunks", "masked_filters", "shorter_than_the_dimension", "chunk_indices_latest"),
    *("iris_orca2_votemper", "iris_SOI_Darwin"),
)

SCRIPT = """
    import glob, hashlib, json, os, pickle, socket, sys, warnings
    import numpy as np
    import xarray as xr
    from distributed import Client
    from hpclaunch import storage

    warnings.simplefilter("ignore")
    client = Client()

    def told(array):
        "A block's values in a few letters: dtype, shape and the hash of its bits."
        array = np.asarray(array)
        bits = pickle.dumps(array.tolist()) if array.dtype.hasobject else array.tobytes()
        return [array.dtype.str, list(array.shape), hashlib.sha256(bits).hexdigest()]

    def look(paths):
        "Read every variable of all files on this worker, in one thread, by one engine at a time."
        found = {}
        for path in paths:
            for engine in ("hpclaunch", "netcdf4"):
                with xr.open_dataset(path, engine=engine) as dataset:
                    found[path, engine] = {
                        str(name): told(one.values) for name, one in dataset.variables.items()
                    }
        return socket.gethostname(), found

    paths = sorted(glob.glob(os.path.join(sys.argv[1], "*.nc")))
    seen = client.run(look, paths)
    hosts = {host for host, _ in seen.values()}
    wrong = [
        [path, found[path, "hpclaunch"], found[path, "netcdf4"]]
        for _, found in seen.values()
        for path in paths
        if found[path, "hpclaunch"] != found[path, "netcdf4"]
    ]
    _, right = next(iter(seen.values()))
    for path in paths[:4]:  # in chunks: the graph goes to workers
        lazy = xr.open_dataset(path, engine="hpclaunch", chunks={})
        found = {str(name): told(one.values) for name, one in lazy.compute().variables.items()}
        if found != right[path, "netcdf4"]:
            wrong.append([path, "by the graph"])
    told = {"files": len(paths), "hosts": sorted(hosts), "wrong": wrong}

    bench = storage.bench(sys.argv[1], seconds=15, size=2**20, files=20, rounds=1, client=client)
    measured = [one.key for one in bench.measures]
    told["bench"] = [bench.facts["workers"], measured, bench.left_out]
    print(json.dumps(told))
"""


@pytest.fixture
def zoo_there(cluster: Cluster, tmp_path: Path) -> str:
    """Some of the zoo in alice's home, seen by all nodes; its path there."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    zoo = Zoo(folder)
    with subprocess.Popen(
        ["ssh", "-F", str(PROFILE.parents[1] / "run" / "ssh_config"), "hpclaunch-login",
         "rm -rf zoo && mkdir zoo && tar -C zoo -xf -"],
        stdin=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        with tarfile.open(fileobj=process.stdin, mode="w|") as tar:
            for name in ANIMALS:
                tar.add(zoo.path(name), f"{name}.nc")
        process.stdin.close()
        assert process.wait() == 0
    return "/home/alice/zoo"


def test_workers_of_two_nodes_read_what_engine_netcdf4_reads_and_measure_together(
    laptop: Laptop, cluster: Cluster, zoo_there: str, tmp_path: Path
) -> None:
    cluster.ssh("scancel -u alice")
    eventually(lambda: not cluster.jobs(), what="alice has no jobs")
    file = tmp_path / "run.py"
    file.write_text(textwrap.dedent(SCRIPT))
    done = laptop.run("batch", SITE, str(file), zoo_there, *TWO_NODES, "--wait", timeout=240)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("{")]
    found = json.loads(line)
    assert found["wrong"] == []
    assert found["files"] == len(ANIMALS)
    assert found["hosts"] == ["c1", "c2"]
    workers, measured, left_out = found["bench"]
    assert workers == {"count": 2, "nodes": ["c1", "c2"]}
    assert {"sequential/8 MiB, all workers", "all/hpclaunch, one worker"} <= set(measured)
    assert left_out == {}
    cluster.ssh("rm -r zoo")
