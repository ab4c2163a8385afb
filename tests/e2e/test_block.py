"""A session of two nodes whose Dask workers are MPI ranks of its own job."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e import expected
from tests.e2e.test_batch import processes, refuses_mallory
from tests.e2e.test_main_job import run_notebook
from tests.support.cluster import PROFILE, Cluster
from tests.support.launch import Laptop, eventually, kernel

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("environment", ["mpich", pytest.param("openmpi", marks=pytest.mark.long)])
def test_a_climate_notebook_on_ranks_of_two_nodes_and_a_rank_that_dies(
    laptop: Laptop, cluster: Cluster, climate: Path, climate_there: str, environment: str
) -> None:
    document = laptop.start(
        *(str(PROFILE), "--dask", "mpi", "--nodes", "2", "--workers", "2", "--name", "block"),
        *("--environment", environment),
    )
    assert (document["dask"]["mode"], document["dask"]["workers"]) == ("mpi", 2)
    assert document["job"]["node"] == "c1"
    assert len(cluster.jobs()) == 1, "all in one allocation"
    found = run_notebook(document, climate_there)
    assert found["hosts"] == ["c1", "c2"]
    expected.holds(found, climate)

    told = laptop.run("status", "block").stdout
    assert "2 workers here, 2 asked for" in told
    refused = laptop.run("scale", "block", "3")
    assert refused.returncode == 1 and "ranks of its own job" in refused.stderr

    if environment == "openmpi":  # as the ranks of a batch do, in the quick tests
        refuses_mallory(cluster)
    with kernel(document) as running:
        shown = running.run(
            "import os, socket; from distributed import Client\n"
            "where = dict(Client().run(lambda: (socket.gethostname(), os.getpid())).values())\n"
            "print(where['c2'])"
        )
        assert shown.error is None, shown.error
        cluster.root("c2", "kill", "-KILL", shown.text.strip())
        eventually(
            lambda: "with one rank all of them end" in laptop.run("status", "block").stderr,
            what="the cluster's end is told",
        )
        assert running.run("print(len(where))").text == "2\n", "the notebook goes on"
    stopped = laptop.run("stop", "block")
    assert stopped.returncode == 0, stopped.stderr
    eventually(lambda: not cluster.jobs() and not processes(cluster), what="nothing is left")
