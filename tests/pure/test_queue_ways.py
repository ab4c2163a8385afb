"""How a queue wants to be asked: partitions that are not its name, a QOS, memory in other ways."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from hpclaunch.clusters.workerjob import job_spec
from hpclaunch.node.layout import Layout
from hpclaunch.node.spec import SpecError, read_session
from hpclaunch.plan import Plan, make_plan
from hpclaunch.request import Request
from hpclaunch.schedulers.slurm import Slurm
from hpclaunch.script import agent_spec
from hpclaunch.units import Memory, Walltime
from tests.pure.plans import loaded

pytestmark = pytest.mark.pure

QUEUES: list[dict[str, Any]] = [
    {"name": "short", "partition": "standard", "qos": "short", "max_walltime": "20m"},
    {"name": "standard", "qos": "standard", "memory_as": "none"},
    {"name": "regular", "partition": "", "qos": "regular_1", "memory_as": "whole"},
    {"name": "shared", "memory_as": "core"},
]
DASK = {"workers": 2, "memory": "4 GB", "cores": 3}


def plan_of(**wishes: Any) -> Plan:
    site = loaded(queues=QUEUES, dask=DASK, session={"memory": "3 GB", "cores": 2})
    return make_plan(site, Request(**wishes), name="x")


def asked(plan: Plan) -> list[str]:
    """What Slurm is told of queue and memory, of the session's job and of a worker's."""
    assert plan.worker is not None
    words = [
        line.removeprefix("#SBATCH ")
        for job in (plan.job, plan.worker.job)
        for line in Slurm().directives(replace(job, log="/s/job.log"))
    ]
    return [word for word in words if word.startswith(("--partition", "--qos", "--mem"))]


@pytest.mark.parametrize(
    ("queue", "said"),
    [
        ("short", ["--mem=2862M", "--partition=standard", "--qos=short",
                   "--mem=3815M", "--partition=standard", "--qos=short"]),
        ("standard", ["--partition=standard", "--qos=standard"] * 2),
        ("regular", ["--mem=0", "--qos=regular_1"] * 2),
        ("shared", ["--mem-per-cpu=1431M", "--partition=shared",
                    "--mem-per-cpu=1272M", "--partition=shared"]),
        ("other", ["--mem=2862M", "--partition=other", "--mem=3815M", "--partition=other"]),
    ],
)  # fmt: skip
def test_a_queue_is_asked_as_it_wants(queue, said):
    plan = plan_of(queue=queue, walltime=Walltime(600))
    assert asked(plan) == said
    assert plan.queue == queue, "people read the name of the profile"
    assert plan.job.memory == Memory(3 * 10**9), "what may be used is the same"


@pytest.mark.parametrize("queue", [one["name"] for one in QUEUES])
def test_worker_jobs_of_the_session_ask_as_planned(queue, tmp_path):
    plan = plan_of(queue=queue, walltime=Walltime(600))
    (tmp_path / Layout.SPEC).write_text(json.dumps(agent_spec(plan)))
    job = job_spec(read_session(str(tmp_path)), Walltime(600))
    assert plan.worker is not None
    planned = plan.worker.job
    assert (job.queue, job.qos, job.memory_as) == (planned.queue, planned.qos, planned.memory_as)


def test_another_way_to_ask_for_memory_is_a_fault(tmp_path):
    spec = agent_spec(plan_of(walltime=Walltime(600)))
    assert isinstance(spec["dask"], dict)
    spec["dask"]["memory_as"] = "gift"
    (tmp_path / Layout.SPEC).write_text(json.dumps(spec))
    with pytest.raises(SpecError, match="asked for as node, core, whole, none, not 'gift'"):
        read_session(str(tmp_path))
