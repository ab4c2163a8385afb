"""Worker jobs on a cluster whose compute nodes cannot submit: by the laptop, and by ssh."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.cluster import PROFILE, Cluster
from tests.support.launch import Laptop, eventually, signal_each

pytestmark = pytest.mark.cluster

NO_SLURM = "/home/alice/no-slurm"
STUB = f'#!/bin/sh\necho "$0" >>{NO_SLURM}/calls; echo not on compute nodes >&2; exit 1\n'
OPTIONS = (
    *("--set", f"environments.default.setup=['export PATH={NO_SLURM}:$PATH']"),
    *("--set", "dask.cores=1", "--set", "dask.memory=900MB"),
)
SCALE = """
import glob
from hpclaunch.clusters.control import ask
ask(glob.glob("/tmp/hpclaunch-*/control")[0], {"workers": 3})
"""


@pytest.fixture
def without_commands(cluster: Cluster) -> Iterator[Cluster]:
    """Slurm's commands do not work in jobs that have `NO_SLURM` first in their PATH."""
    names = ("sbatch", "scancel", "squeue", "scontrol", "sacct")
    cluster.ssh(f"mkdir -p {NO_SLURM}; cat >{NO_SLURM}/stub", stdin=STUB.encode())
    cluster.ssh(f"cd {NO_SLURM}; chmod +x stub; for n in {' '.join(names)}; do ln -s stub $n; done")
    yield cluster
    assert "calls" not in cluster.ssh(f"ls {NO_SLURM}"), "no session has tried them"
    cluster.ssh(f"rm -r {NO_SLURM}")


def dask_of(laptop: Laptop, name: str) -> dict[str, Any]:
    """What `hpclaunch status` says of the cluster."""
    found: dict[str, Any] = laptop.json("status", name, "--json")["dask"]
    return found


def state(cluster: Cluster, name: str) -> dict[str, Any]:
    """What the session's own file says of the cluster."""
    text = cluster.ssh(f"cat .hpclaunch/sessions/{name}-*/dask-state.json")
    found: dict[str, Any] = json.loads(text)
    return {**found, **found["more"]}


def test_the_laptop_submits_and_scaling_waits_for_it(
    laptop: Laptop, without_commands: Cluster
) -> None:
    cluster = without_commands
    options = ("--workers", "2", "--name", "away", "--set", "dask.submit=laptop", *OPTIONS)
    document = laptop.start(str(PROFILE), *options)
    eventually(lambda: dask_of(laptop, "away")["present"] == 2, what="two workers are here")
    lib = cluster.ssh("cat .hpclaunch/sessions/away-*/job.sh | sed -n 's/^export PYTHONPATH=//p'")
    code = f"export PYTHONPATH={lib.strip()}; exec /opt/site-env/bin/python -c '{SCALE}' 2>&1"

    signal_each(laptop.keepers(), signal.SIGKILL)
    eventually(lambda: not laptop.keepers(), what="the laptop is away")
    said: list[str] = []
    node = document["job"]["node"]
    asking = threading.Thread(
        target=lambda: said.append(cluster.root(node, "su", "alice", "-c", code, check=False))
    )
    asking.start()
    assert "scaling waits: this laptop submits" in laptop.run("status", "away").stdout

    def asked() -> dict[str, Any] | None:
        """The state once three workers are wanted: looking at the two may wait already."""
        told = state(cluster, "away")
        return told if told["waits"] and told["workers"] == 3 else None

    told = eventually(asked, timeout=40, what="the session says so")
    assert told["waits"].startswith("scaling waits for the laptop")
    assert (told["present"], told["problem"]) == (2, None)
    asking.join()
    assert "scaling waits for the laptop" in said[0], "who asked is told too"

    laptop.json("attach", "away", "--json", "--detach", "--no-browser")
    eventually(lambda: dask_of(laptop, "away")["present"] == 3, what="the third arrives")
    assert dask_of(laptop, "away")["waits"] is None
    assert laptop.run("stop", "away").returncode == 0
    assert cluster.jobs() == []


@pytest.mark.long
def test_a_node_submits_by_ssh_to_the_login_node(laptop: Laptop, without_commands: Cluster) -> None:
    cluster = without_commands
    options = ("--workers", "2", "--set", "dask.submit=ssh", "--set", "dask.submit_host=login")
    laptop.start(str(PROFILE), "--name", "stranger", *options, *OPTIONS)
    eventually(
        lambda: "ssh from this node to login did not work" in str(dask_of(laptop, "stranger")),
        what="a login that asks is told",
    )
    assert laptop.run("stop", "stranger").returncode == 0
    cluster.ssh(
        "ssh-keygen -q -t ed25519 -N '' -f .ssh/id_ed25519 &&"
        " cp .ssh/authorized_keys .ssh/before && cat .ssh/id_ed25519.pub >>.ssh/authorized_keys &&"
        " ssh-keyscan -t ed25519 login 2>/dev/null >.ssh/known_hosts"
    )
    try:
        laptop.start(str(PROFILE), "--name", "friend", *options, *OPTIONS)
        eventually(lambda: dask_of(laptop, "friend")["present"] == 2, what="two workers are here")
        laptop.json("scale", "friend", "3", "--json")
        eventually(lambda: dask_of(laptop, "friend")["present"] == 3, what="and a third")
        laptop.json("scale", "friend", "1", "--json")
        eventually(lambda: len(cluster.jobs()) == 2, what="the session and one worker are left")
        assert laptop.run("stop", "friend").returncode == 0
        assert cluster.jobs() == []
    finally:
        cluster.ssh("mv .ssh/before .ssh/authorized_keys; rm -f .ssh/id_ed25519* .ssh/known_hosts")
