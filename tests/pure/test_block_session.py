"""A session whose Dask workers are ranks of its own job (--dask mpi): the plan, and the words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hpclaunch.cli import main
from hpclaunch.errors import PlanError, UsageError
from hpclaunch.node.layout import Layout
from hpclaunch.node.spec import SpecError, read_session
from hpclaunch.plan import Cluster, Plan, make_plan
from hpclaunch.request import Request
from hpclaunch.script import agent_spec
from hpclaunch.sessions.book import Book
from hpclaunch.units import Memory
from tests.pure.plans import NONCE, loaded
from tests.pure.records import record

pytestmark = pytest.mark.pure

GB = 10**9
SITE: dict[str, Any] = {
    "dask": {"cores": 2, "memory": "4 GB"},
    "session": {"memory": "6 GB", "cores": 1},
}


def plan_of(site: dict[str, Any] | None = None, **wishes: Any) -> Plan:
    return make_plan(
        loaded(**{**SITE, **(site or {})}), Request(dask="mpi", **wishes), name="big-1", nonce=NONCE
    )


def test_without_wishes_two_workers_share_one_node_with_scheduler_and_jupyterlab():
    plan = plan_of()
    assert plan.dask == Cluster("mpi", 2) and plan.batch is None
    assert plan.block is not None
    assert (plan.block.nodes, plan.block.workers, plan.block.ranks) == (1, 2, 3)
    assert (plan.job.nodes, plan.job.cores, plan.block.threads) == (1, 4, 2)
    assert plan.block.memory == 3 * 4 * GB, "each rank gets what a worker gets"
    assert plan.job.memory == Memory(plan.block.memory + 6 * GB), "and JupyterLab its own"


def test_workers_are_those_of_all_nodes_as_many_on_each():
    plan = plan_of(nodes=2, workers=6, memory=Memory(26 * GB), cores=9)
    assert plan.block is not None
    assert (plan.block.workers_per_node, plan.block.workers, plan.block.ranks) == (3, 6, 7)
    assert (plan.job.nodes, plan.job.cores, plan.block.threads) == (2, 9, 3)
    assert plan.block.memory == 20 * GB
    with pytest.raises(UsageError, match="as many workers on each node") as uneven:
        plan_of(nodes=4, workers=6)
    assert uneven.value.hint == "ask for --workers 4 or another multiple of 4"
    with pytest.raises(UsageError, match="at least one"):
        plan_of(workers=0)


def test_memory_that_is_too_little_beside_jupyterlab_is_refused_with_what_is_needed():
    with pytest.raises(PlanError, match="3 ranks of at least 200 MB beside 6 GB for Jup") as little:
        plan_of(memory=Memory(6 * GB))
    assert "--memory '6.6 GB' or more, or for fewer --workers" in str(little.value.hint)
    assert plan_of(memory=Memory(6_600_000_000)).block is not None


def test_the_queue_is_that_of_sessions_and_its_limits_hold():
    site = {
        "session": {"queue": "interactive", "memory": "6 GB"},
        "scheduler": {"kind": "slurm", "default_queue": "main"},
        "queues": [{"name": "interactive", "memory_per_node": "12 GB", "max_nodes": 2}],
    }
    plan = plan_of(site)
    assert plan.job.queue == "interactive"
    assert plan.job.memory == Memory(12 * GB), "as far as the queue has it"
    with pytest.raises(PlanError, match="the session asks for 3 nodes"):
        plan_of(site, nodes=3)


def test_without_wishes_a_node_has_as_many_workers_as_a_worker_job():
    site = {"dask": {"cores": 2, "memory": "4 GB", "processes": 8}}
    plan = plan_of(site, nodes=2)
    assert plan.dask == Cluster("mpi", 16)
    assert plan.job.cores == 16
    assert plan.job.memory == Memory((8 + 1) * 4 * GB + 6 * GB)
    assert plan_of(site, nodes=2, workers=2).dask == Cluster("mpi", 2)


def test_memory_is_cut_to_what_the_largest_queue_has_that_takes_the_job_otherwise():
    small = {"name": "small", "max_nodes": 1, "memory_per_node": "99 GB"}
    large = {"name": "large", "memory_per_node": "14 GB"}
    asked = {"name": "asked", "memory_per_node": "50 GB", "choose": False}
    plan = plan_of({"queues": [small, large, asked]}, nodes=2)
    assert (plan.job.queue, plan.job.memory) == ("large", Memory(14 * GB))
    assert plan_of({"queues": [small, large, asked]}).job.memory == Memory(18 * GB)
    open_ended = {"name": "huge"}
    plan = plan_of({"queues": [large, open_ended]}, nodes=2)
    assert (plan.job.queue, plan.job.memory) == ("huge", Memory(18 * GB)), "as much as wanted"
    with pytest.raises(PlanError, match=r"20 GB of memory on a node.*no queue"):
        plan_of({"queues": [small, large]}, nodes=2, memory=Memory(20 * GB))


def test_the_environment_is_the_one_with_mpi():
    site = {
        "environments": {"default": {"python": "/a"}, "mpi": {"python": "/b"}},
        "mpi": {"environment": "mpi", "launcher": ["mpirun"]},
    }
    plan = plan_of(site)
    assert plan.python == "/b"
    assert plan.block is not None and plan.block.launcher == ("mpirun",)
    assert plan_of(site, environment="default").python == "/a"


@pytest.mark.parametrize("insecure", [False, True])
def test_the_agent_reads_what_was_planned(tmp_path, insecure):
    plan = plan_of(nodes=2, workers=2, insecure_dask=insecure)
    (tmp_path / Layout.SPEC).write_text(json.dumps(agent_spec(plan)))
    read = read_session(str(tmp_path))
    assert (read.mode, read.workers, read.batch) == ("mpi", 2, None)
    assert read.block == plan.block
    assert read.protocol == ("tcp://" if insecure else "tls://")
    assert read.jobs is not None, "the user's own cluster has its defaults all the same"
    assert (read.jobs.cores, read.jobs.memory) == (2, 4 * GB)


def test_ranks_without_their_number_are_a_fault(tmp_path):
    spec = agent_spec(plan_of())
    (tmp_path / Layout.SPEC).write_text(json.dumps({**spec, "block": None}))
    with pytest.raises(SpecError, match="block is missing"):
        read_session(str(tmp_path))


def test_scale_refuses_in_words_before_it_connects(capsys, hpclaunch_home):
    Book().create(record(dask={"mode": "mpi", "workers": 2}))
    assert main(["scale", "big-1", "3"]) == 1
    told = capsys.readouterr().err
    assert "the workers of big-1 are ranks of its own job: no more and no fewer" in told
    assert "--dask jobqueue" in told
