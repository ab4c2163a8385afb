"""How the cluster object grows with its jobs: 1,000 and 5,000, against the same with a tenth.

The scheduler's commands are stand-ins that answer at once, and no worker ever starts: what is
measured is our own part, in a process of its own for each size. A look is one question about all
jobs, its answer read and told.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.table import Table

ROUNDS = 3
SIZES = (100, 1000, 5000)
_STAND_INS = {
    "sbatch": """#!/bin/sh
cat >/dev/null
mkdir $0.turn 2>/dev/null
number=$(($(ls $0.turn | wc -l) + 1))
touch $0.turn/$number
echo $number
""",
    "scontrol": "#!/bin/sh\necho 'MaxArraySize            = 1001'\n",
    "scancel": "#!/bin/sh\n",
    "squeue": """#!/bin/sh
case "$*" in *--jobs=*) ;; *) exit ;; esac
for job in $(ls $(dirname $0)/sbatch.turn); do
    seq -f "${job}_%g|PENDING|N/A|N/A||Priority" 0 1000
done
""",
}


def run(rounds: int) -> list[Table]:
    """Tables of seconds and megabytes for each size."""
    found = [{size: _in_a_process(size) for size in SIZES} for _ in range(rounds)]
    titles = {
        "submit": "scale(N) until all jobs are known, seconds",
        "look": "one look at all jobs, seconds",
        "memory": "memory that the jobs take, MB",
    }
    return [
        Table(title, [{f"{size} jobs": one[size][key] for size in SIZES} for one in found],
              f"{SIZES[1]} jobs")
        for key, title in titles.items()
    ]  # fmt: skip


def _in_a_process(size: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.many", str(size)],
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


async def _measure(size: int, folder: Path) -> dict[str, float]:
    import dask
    import psutil

    from hpclaunch.clusters.elastic import BatchCluster
    from hpclaunch.clusters.submitter import Submitter
    from hpclaunch.clusters.ways import Commands, here
    from hpclaunch.node.daskconfig import Place, settings
    from hpclaunch.node.layout import Layout
    from hpclaunch.node.spec import read_session
    from hpclaunch.schedulers.slurm import Slurm
    from tests.node.live import make_session

    commands, node = folder / "bin", folder / "node"
    commands.mkdir()
    node.mkdir(mode=0o700)
    for name, text in _STAND_INS.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o700)
    job = {"mode": "jobqueue", "workers": 0, "cores": 1, "memory": 10**9, "walltime": 3600}
    directory = make_session(folder / "s", scheduler="slurm", dask=job)
    for name in (Layout.WORKERS, Layout.DASK_CONFIG):
        (directory / name).mkdir()
    (directory / Layout.DASK_SECRET).write_text("secret")
    session = read_session(str(directory))
    place = Place("127.0.0.1", sys.executable, "", str(node))
    dask.config.set(dask.config.merge(dask.config.config, settings(session, place)))
    environment = {**os.environ, "PATH": f"{commands}:{os.environ['PATH']}"}
    submitter = Submitter(Slurm(), session.worker_job_name, Commands(Slurm(), here(environment)))
    async with BatchCluster(session, place, submitter, None) as cluster:
        process = psutil.Process()
        await cluster.set_workers(1)
        before, began = process.memory_full_info().uss, time.monotonic()
        await cluster.set_workers(size)
        submitted, looking = time.monotonic(), time.monotonic()
        await cluster._look()
        told = cluster.document()
        looked = time.monotonic()
        states = {one["state"] for one in told["jobs"]}
        assert (len(told["jobs"]), states) == (size, {"queued"}), states
        return {
            "submit": submitted - began,
            "look": looked - looking,
            "memory": (process.memory_full_info().uss - before) / 1e6,
        }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(asyncio.run(_measure(int(sys.argv[1]), Path(name)))))
