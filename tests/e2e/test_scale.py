"""More and fewer Dask workers in a session, asked from laptop and notebook, and what is told."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections import Counter
from typing import Any

import pytest

from tests.support.cluster import PROFILE, Cluster
from tests.support.launch import Laptop, eventually, kernel

pytestmark = pytest.mark.cluster

PAIRS = (
    *("--set", "dask.processes=2", "--set", "dask.cores=1", "--set", "dask.memory=900MB"),
    *("--set", "dask.walltime=2m"),
)
SESSION, WORKERS = 1, 3  # jobs of two cores that fit beside the session on eight cores


def states(laptop: Laptop, name: str) -> Counter[str]:
    """How many jobs of the cluster are in which state, by `hpclaunch status`."""
    return Counter(job["state"] for job in dask_of(laptop, name)["jobs"])


def dask_of(laptop: Laptop, name: str) -> dict[str, Any]:
    """What `hpclaunch status` says of the cluster."""
    found: dict[str, Any] = laptop.json("status", name, "--json")["dask"]
    return found


def in_queue(cluster: Cluster, name: str) -> Counter[str]:
    """The same by SLURM itself."""
    text = cluster.ssh("squeue -h -r -u alice -o '%T|%j'")
    rows = [line.split("|") for line in text.splitlines()]
    return Counter(
        state.lower().replace("pending", "queued")
        for state, job in rows
        if job.startswith(f"hpclaunch-{name}-") and job.endswith("-w") and state != "COMPLETING"
    )


def test_laptop_notebook_and_scheduler_speak_of_the_same_workers(
    laptop: Laptop, cluster: Cluster
) -> None:
    document = laptop.start(str(PROFILE), "--workers", "2", "--name", "elastic", *PAIRS)
    stays = laptop.spawn("attach", "elastic", "--no-browser", stderr=subprocess.PIPE)
    assert stays.stderr is not None
    said: list[str] = []
    threading.Thread(target=lambda: said.extend(stays.stderr or ()), daemon=True).start()
    eventually(lambda: "Dask: 2 of 2 workers are here" in "".join(said), what="they arrive")
    stays.send_signal(signal.SIGINT)
    stays.wait(20)
    eventually(lambda: states(laptop, "elastic") == {"running": 1}, what="one job of two workers")
    grown = laptop.json("scale", "elastic", "10", "--json")
    assert grown["workers"] == 10
    wanted = Counter(running=WORKERS, queued=2)
    eventually(
        lambda: states(laptop, "elastic") == wanted == in_queue(cluster, "elastic"),
        what="what fits runs, the rest is queued",
    )
    eventually(lambda: dask_of(laptop, "elastic")["present"] == 6, what="their workers are here")
    waiting = [job for job in dask_of(laptop, "elastic")["jobs"] if job["state"] == "queued"]
    assert {job["reason"] for job in waiting} <= {"Resources", "Priority"}
    told = laptop.run("status", "elastic").stdout
    assert "6 workers here, 10 asked for; each has 1 threads and may use 0.85 GB" in told
    assert "queued (" in told
    with kernel(document) as running:
        shown = running.run("from dask.distributed import Client; c = Client(); print(c.cluster)")
        assert shown.error is None
        assert "6 workers" in shown.text and "3 jobs running" in shown.text
        assert running.run("c.cluster.scale(2)").error is None
        eventually(lambda: in_queue(cluster, "elastic") == {"running": 1}, what="two are left")
        assert running.run("c.cluster.adapt(minimum=0, maximum=4)").error is None
        eventually(lambda: not in_queue(cluster, "elastic"), what="nobody computes: none is left")
        work = "import time; print(sum(c.gather(c.map(lambda n: time.sleep(0.5) or n, range(40)))))"
        assert running.run(work).text.strip() == str(sum(range(40)))
    shown = kernel(document).request("PUT", "/dask/clusters", {})
    assert shown["scheduler_address"] == dask_of(laptop, "elastic")["scheduler"]
    adapted = laptop.run("status", "elastic").stdout
    assert "between 0 and 4 as the computation needs them" in adapted
    wrong = laptop.run("scale", "elastic", "--min", "4", "--max", "1")
    assert (wrong.returncode, "no range" in wrong.stderr) == (2, True)
    assert laptop.run("stop", "elastic").returncode == 0
    assert cluster.jobs() == []


@pytest.mark.long
def test_a_long_computation_outlives_the_jobs_of_its_workers(
    laptop: Laptop, cluster: Cluster
) -> None:
    """Four jobs of two workers that leave after 75 to 90 seconds, through two generations.

    3 of the jobs fit at a time; the data, 4 GB in 40 files, is made by the workers before.
    """
    document = laptop.start(
        str(PROFILE), "--workers", "8", "--name", "generations", *PAIRS, "--memory", "2500MB"
    )
    with kernel(document, timeout=900) as running:
        made = running.run(MAKE_DATA)
        assert made.error is None, made.error
        assert float(made.text) > 4.0, "gigabytes"
        began = time.monotonic()
        found = running.run(COMPUTE)
        assert found.error is None, f"{found.text}\n{found.error}"
        assert time.monotonic() - began > 180
    answer = json.loads(found.text.splitlines()[-1])
    assert answer["sum"] == pytest.approx(answer["expected"], rel=1e-12)
    assert answer["generations"] >= 2
    cluster.ssh("rm -rf generations-data")


MAKE_DATA = """
import os
import numpy as np
from dask.distributed import Client
c = Client()
os.makedirs("generations-data", exist_ok=True)
def make(n):
    import netCDF4
    with netCDF4.Dataset("generations-data/%03d.nc" % n, "w") as file:
        for name, size in (("time", 25), ("lat", 1000), ("lon", 1000)):
            file.createDimension(name, size)
        v = file.createVariable("v", "f4", ("time", "lat", "lon"), chunksizes=(1, 1000, 1000))
        for t in range(25):
            v[t] = np.random.default_rng([n, t]).integers(0, 1000, (1000, 1000))
    return os.path.getsize("generations-data/%03d.nc" % n)
print(sum(c.gather(c.map(make, range(41), pure=False, retries=5))) / 1e9)
"""

COMPUTE = """
import json, time, netCDF4, glob
import dask.array as da, dask
import xarray as xr
seen = {w["name"] for w in c.scheduler_info(n_workers=-1)["workers"].values()}
first = set(seen)
everything = xr.open_mfdataset("generations-data/*.nc", combine="nested", concat_dim="time",
                               chunks={"time": 5}, decode_cf=False).v
def slowly(block):
    time.sleep(4)
    return block.astype("f8")
total = da.map_blocks(slowly, everything.data, dtype="f8", meta=np.empty((0, 0, 0)))
kept = total.mean(axis=(1, 2)).persist()   # its parts are held while workers come and go
future = c.compute(kept.sum())
while not future.done():
    seen |= {w["name"] for w in c.scheduler_info(n_workers=-1)["workers"].values()}
    time.sleep(1)
expected = sum(np.random.default_rng([n, t]).integers(0, 1000, (1000, 1000)).mean()
               for n in range(41) for t in range(25))
jobs = {name.partition("-")[0] for name in seen}
print(json.dumps({"sum": float(future.result()), "expected": float(expected),
                  "generations": len(jobs) / 4, "jobs": sorted(jobs)}))
"""
