"""What `benchmarks.elastic` runs on the login node, in the site's own environment.

``PYTHON elastic_on_site.py SESSION_DIR ROUNDS`` prints one JSON document: for each round and each
kind of cluster the figures of `story`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import dask
from dask_jobqueue import SLURMCluster
from distributed import Security

from hpclaunch.clusters.elastic import BatchCluster
from hpclaunch.clusters.submitter import Submitter
from hpclaunch.clusters.ways import Commands, here
from hpclaunch.node import address
from hpclaunch.node.daskconfig import Place, settings
from hpclaunch.node.files import write_private_json
from hpclaunch.node.layout import Layout
from hpclaunch.node.spec import Session, read_session
from hpclaunch.schedulers.slurm import Slurm

MANY = 64
_COUNTING = """#!/bin/sh
echo {name} >>{calls}
exec {real} "$@"
"""


class Bench:
    """The session directory, and commands that count themselves."""

    def __init__(self, directory: Path) -> None:
        self.session: Session = read_session(str(directory))
        self.calls = directory / "calls"
        self.squeue = str(shutil.which("squeue"))
        commands = directory / "bin"
        commands.mkdir(exist_ok=True)
        for name in ("sbatch", "squeue", "scancel", "scontrol"):
            stand_in = commands / name
            stand_in.write_text(
                _COUNTING.format(name=name, calls=self.calls, real=shutil.which(name))
            )
            stand_in.chmod(0o700)
        os.environ["PATH"] = f"{commands}:{os.environ['PATH']}"
        node = directory / "node"
        node.mkdir(mode=0o700, exist_ok=True)
        for name in (Layout.DASK_CONFIG, Layout.WORKERS):
            (directory / name).mkdir(mode=0o700, exist_ok=True)
        (directory / Layout.DASK_SECRET).write_text("secret")
        here = address.for_nodes()[0]
        self.place = Place(here, sys.executable, os.environ["PYTHONPATH"], str(node))
        found = settings(self.session, self.place)
        write_private_json(str(directory / Layout.DASK_FILE), found)
        dask.config.set(dask.config.merge(dask.config.config, found))

    def count(self) -> int:
        """Calls so far."""
        return len(self.calls.read_text().splitlines()) if self.calls.exists() else 0

    def accepted(self) -> int:
        """Jobs of this session in the queue; not counted among the calls."""
        asked = [self.squeue, "-h", "-r", "--me", "-n", self.session.worker_job_name, "-o", "%i"]
        return len(subprocess.run(asked, capture_output=True, text=True).stdout.split())

    @contextlib.asynccontextmanager
    async def ours(self) -> AsyncIterator[Any]:
        """The session's own cluster, watched as its holder does."""
        submitter = Submitter(
            Slurm(), self.session.worker_job_name, Commands(Slurm(), here(os.environ))
        )
        node = Path(self.place.node_directory)
        for left in node.iterdir():
            if left.is_socket():
                left.unlink()
        async with BatchCluster(self.session, self.place, submitter, None) as cluster:
            watching = asyncio.ensure_future(cluster.follow())
            yield cluster
            watching.cancel()

    @contextlib.asynccontextmanager
    async def plain(self) -> AsyncIterator[Any]:
        """dask-jobqueue's, configured for the site as for a notebook; workers leave after 10 s."""
        usual = dask.config.get("jobqueue.slurm.worker-extra-args")
        async with SLURMCluster(
            protocol="tls://",
            security=Security(),
            asynchronous=True,
            silence_logs=False,
            worker_extra_args=[*usual, "--lifetime", "10s"],
        ) as cluster:
            yield cluster


async def submit_many(bench: Bench, kind: str) -> dict[str, float]:
    """Seconds and calls from ``scale(64)`` until SLURM has accepted 64 jobs that cannot start."""
    async with getattr(bench, kind)() as cluster:
        calls, began = bench.count(), time.monotonic()
        asked = cluster.scale(MANY)
        while await asyncio.to_thread(bench.accepted) < MANY:
            await asyncio.sleep(0.02)
        found = {"seconds": time.monotonic() - began, "calls": float(bench.count() - calls)}
        if kind == "ours":
            await asked
    while await asyncio.to_thread(bench.accepted):
        await asyncio.sleep(0.1)
    return found


async def replace_one(bench: Bench, kind: str) -> dict[str, float]:
    """Seconds from the leave of a worker whose lifetime is over to the next one's arrival."""
    async with getattr(bench, kind)() as cluster:
        if kind == "ours":
            cluster.adapt_between(1, 1)
        else:
            cluster.adapt(minimum=1, maximum=1)
        while not cluster.scheduler.workers:
            await asyncio.sleep(0.02)
        first = set(cluster.scheduler.workers)
        while first & set(cluster.scheduler.workers):
            await asyncio.sleep(0.02)
        left = time.monotonic()
        while not cluster.scheduler.workers:
            await asyncio.sleep(0.02)
        return {"seconds": time.monotonic() - left}


def main(directory: str, story: str, rounds: int) -> None:
    """Measure both kinds in turn; each round begins with the other one."""
    bench = Bench(Path(directory))
    measure = {"submit": submit_many, "replace": replace_one}[story]
    found = []
    for number in range(rounds):
        kinds = ("ours", "plain") if number % 2 else ("plain", "ours")
        found.append({kind: asyncio.run(measure(bench, kind)) for kind in kinds})
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
