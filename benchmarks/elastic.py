"""Elastic clusters against dask-jobqueue's own `SLURMCluster`, on the container cluster.

Sixty-four jobs that are held (they need no room), from ``scale(64)`` until slurmctld has accepted
all; and one worker whose lifetime is over, until the next one is registered (adaptive with one
worker, where dask-jobqueue replaces it at all). Both run on the login node, in the site's own
environment, over TLS and with the same configuration.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from benchmarks.table import Table
from hpclaunch.script import tar_of
from tests.node.live import make_session
from tests.support.cluster import Cluster, bring_up

ROUNDS = 5
_ROOT = Path(__file__).parents[1]
_PYTHON = "/opt/site-env/bin/python"
_JOB = {
    "mode": "jobqueue", "workers": 0, "cores": 1, "memory": 500_000_000, "walltime": 600,
    "queue": "compute", "job_name": "hpclaunch-bench-w",
}  # fmt: skip
# Workers leave a few seconds after their start: each counts from the end that its job is told.
_SHORT = ["export SLURM_JOB_END_TIME=$(($(date +%s) + 55))"]


def run(rounds: int) -> list[Table]:
    """Tables of seconds and of calls for many jobs, and of seconds for a replacement."""
    cluster = bring_up()
    many = measure(cluster, "submit", rounds, extra_directives=["--hold"])
    one = measure(cluster, "replace", rounds, setup=_SHORT, walltime=600)
    peer = "SLURMCluster"
    return [
        Table("scale(64) until 64 jobs are accepted, seconds", _column(many, "seconds"), peer),
        Table("commands of the scheduler for it", _column(many, "calls"), peer),
        Table("a worker's leave until the next one's arrival, seconds", _column(one, "seconds"),
              peer),
    ]  # fmt: skip


def _column(rounds: list[dict[str, dict[str, float]]], key: str) -> list[dict[str, float]]:
    return [{"SLURMCluster": one["plain"][key], "hpclaunch": one["ours"][key]} for one in rounds]


def measure(
    cluster: Cluster, story: str, rounds: int, **job: object
) -> list[dict[str, dict[str, float]]]:
    """Send a session's directory and our modules to the login node, and run the story there."""
    with tempfile.TemporaryDirectory() as folder:
        made = make_session(Path(folder) / "s", scheduler="slurm", dask={**_JOB, **job})
        files = {
            f"session/{path.relative_to(made)}": path.read_bytes()
            for path in made.rglob("*")
            if path.is_file()
        }
    package = _ROOT / "hpclaunch"
    for path in package.rglob("*.py"):
        files[f"lib/hpclaunch/{path.relative_to(package)}"] = path.read_bytes()
    files["story.py"] = Path(__file__).with_name("elastic_on_site.py").read_bytes()
    cluster.ssh("rm -rf bench && mkdir -m 700 bench && tar -xf - -C bench", stdin=tar_of(files))
    said = cluster.ssh(
        f"cd bench && PYTHONPATH=$PWD/lib {_PYTHON} story.py $PWD/session {story} {rounds}"
        " 2>log || { cat log >&2; exit 1; }",
        timeout=3600,
    )
    cluster.ssh("rm -rf bench")
    found: list[dict[str, dict[str, float]]] = json.loads(said.splitlines()[-1])
    return found
