"""A request that does not fit a queue: the limit, where it stands, and the nearest possibility."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch.errors import PlanError, ProfileError
from hpclaunch.limits import _LIMITS, hold_against_limits
from hpclaunch.plan import make_plan
from hpclaunch.request import Request
from hpclaunch.schedulers.base import JobSpec
from hpclaunch.sites.model import Queue
from hpclaunch.units import Memory, Walltime
from tests.pure.plans import loaded
from tests.pure.sites import load_content, slurm_with, user_toml

GB = 10**9
QUEUES: list[dict[str, Any]] = [
    {"name": "short", "max_walltime": "1:00:00", "max_nodes": 2, "cores_per_node": 8,
     "memory_per_node": "32 GB"},
    {"name": "long", "max_walltime": "2-00:00:00", "max_nodes": 4, "cores_per_node": 8,
     "memory_per_node": "32 GB"},
    {"name": "fat", "max_walltime": "4:00:00", "max_nodes": 1, "cores_per_node": 64,
     "memory_per_node": "1 TB", "gpus_per_node": 4},
    {"name": "huge", "min_nodes": 64, "max_walltime": "12:00:00"},
]  # fmt: skip
SCHEDULER = {"kind": "slurm", "default_queue": "short"}
SESSION = {"walltime": "30m"}


def refusal(**wishes: Any) -> PlanError:
    with pytest.raises(PlanError) as caught:
        make_plan(
            loaded(queues=QUEUES, scheduler=SCHEDULER, session=SESSION),
            Request(**wishes),
            name="x",
        )
    return caught.value


@pytest.mark.parametrize(
    ("wishes", "what", "hint"),
    [
        (
            {"walltime": Walltime(7200)},
            "a walltime of 02:00:00, where queue 'short' allows at most 01:00:00 (max_walltime in",
            "queue 'long' allows it: --queue long",
        ),
        (
            {"nodes": 3},
            "3 nodes, where queue 'short' allows at most 2 (max_nodes in",
            "queue 'long' allows it: --queue long",
        ),
        (
            {"nodes": 3, "queue": "huge"},
            "3 nodes, where queue 'huge' allows at least 64 (min_nodes in",
            "queue 'long' allows it: --queue long",
        ),
        (
            {"cores": 9},
            "9 cores on a node, where queue 'short' allows at most 8 (cores_per_node in",
            "queue 'fat' allows it: --queue fat",
        ),
        (
            {"memory": Memory(64 * GB)},
            "64 GB of memory on a node, where queue 'short' allows at most 32 GB (memory_per_node",
            "queue 'fat' allows it: --queue fat",
        ),
        (
            {"gpus": 1},
            "1 GPUs on a node, where queue 'short' allows at most 0 (gpus_per_node in",
            "queue 'fat' allows it: --queue fat",
        ),
        (
            {"walltime": Walltime(72 * 3600)},
            "a walltime of 72:00:00, where queue 'short' allows at most 01:00:00",
            "no queue allows it all; the nearest: a walltime of 48:00:00 (queue 'long')",
        ),
        (
            {"gpus": 8},
            "8 GPUs on a node, where queue 'short' allows at most 0",
            "no queue allows it all; the nearest: 4 GPUs on a node (queue 'fat')",
        ),
        (
            {"memory": Memory(32 * GB + 1)},
            "32000000.001 KB of memory on a node, where queue 'short' allows at most 32 GB",
            "queue 'fat' allows it: --queue fat",
        ),
    ],
)
def test_a_limit_is_named_with_the_nearest_possibility(wishes, what, hint):
    error = refusal(**wishes)
    assert error.what.startswith(f"the session asks for {what}")
    assert error.hint == hint


def test_all_limits_are_named_at_once():
    error = refusal(walltime=Walltime(7200), cores=16, nodes=3)
    for key in ("max_walltime", "cores_per_node", "max_nodes"):
        assert f"({key} in " in error.what
    assert error.hint == (
        "no queue allows it all; the nearest: a walltime of 02:00:00 (queue 'long'), "
        "3 nodes (queue 'long'), 16 cores on a node (queue 'fat')"
    )


def test_a_worker_is_held_against_its_own_queue():
    dask = {"workers": 1, "cores": 16, "memory": "4 GB", "queue": "long"}
    site = loaded(queues=QUEUES, scheduler=SCHEDULER, session=SESSION, dask=dask)
    with pytest.raises(PlanError, match="a Dask worker asks for 16 cores on a node") as caught:
        make_plan(site, Request(), name="x")
    assert caught.value.hint == "queue 'fat' allows it: --set dask.queue=fat"


MANY = [{**QUEUES[0], "max_jobs": 5}, QUEUES[1]]


@pytest.mark.parametrize(
    ("queue", "workers", "fits"),
    [("short", 8, True), ("short", 9, False), ("long", 500, True)],
)
def test_workers_are_held_against_the_jobs_that_a_queue_takes(queue, workers, fits):
    """Two workers are one job; in its own queue the session's job counts too."""
    dask = {"workers": workers, "memory": "1 GB", "processes": 2, "queue": queue}
    site = loaded(queues=MANY, scheduler=SCHEDULER, session=SESSION, dask=dask)
    if fits:
        plan = make_plan(site, Request(), name="x")
        assert plan.worker is not None
        assert (plan.worker.jobs, plan.worker.job.memory) == (workers // 2, Memory(2 * GB))
        assert plan.worker.max_jobs == (4 if queue == "short" else None)
        return
    with pytest.raises(PlanError, match=r"9 Dask workers are 5 jobs.* leaves room for 4") as caught:
        make_plan(site, Request(), name="x")
    assert "(max_jobs = 5 in " in caught.value.what
    assert caught.value.hint.startswith("ask for 8 workers or fewer")


def test_a_job_of_several_workers_is_held_against_the_limits_of_a_node():
    dask = {"workers": 1, "cores": 3, "memory": "4 GB", "processes": 3}
    site = loaded(queues=QUEUES, scheduler=SCHEDULER, session=SESSION, dask=dask)
    with pytest.raises(PlanError, match="a job of 3 Dask workers asks for 9 cores on a node"):
        make_plan(site, Request(), name="x")


def test_the_limits_source_is_the_layer_that_says_it(tmp_path):
    profile = slurm_with(queues=QUEUES, scheduler=SCHEDULER)
    asks = Request(walltime=Walltime(7200))
    with pytest.raises(PlanError, match=rf"\(max_walltime in {tmp_path}/big\.toml\)"):
        make_plan(load_content(tmp_path, profile), asks, name="x")
    with pytest.raises(PlanError, match=r"\(gpus_per_node in .*/big\.toml, by default\)"):
        make_plan(load_content(tmp_path, profile), Request(gpus=1, walltime=Walltime(1)), name="x")
    file = user_toml({"big": {"queues": QUEUES[:1]}})
    with pytest.raises(PlanError, match=rf"\(max_walltime in {file}\)"):
        make_plan(load_content(tmp_path, profile), asks, name="x")
    setting = "queues=[{name='short', max_walltime='1m'}]"
    with pytest.raises(PlanError) as caught:
        make_plan(load_content(tmp_path, profile, setting), asks, name="x")
    assert f"(max_walltime in --set {setting})" in caught.value.what


@pytest.mark.parametrize(
    ("queue", "words"),
    [
        (
            "secret",
            "queue 'secret' is not described in .* (short, long, fat, huge); its limits are",
        ),
        (None, "no queue is named, so the scheduler chooses one; the limits in .* are not checked"),
    ],
)
def test_what_cannot_be_checked_is_a_warning(queue, words):
    scheduler = {"kind": "slurm", **({"default_queue": queue} if queue else {})}
    dask = {"workers": 1, "memory": "4 GB"}
    queues = [{**one, "choose": False} for one in QUEUES]
    site = loaded(queues=queues, scheduler=scheduler, dask=dask)
    (warning,) = make_plan(site, Request(walltime=Walltime(10**6)), name="x").warnings
    before, after = words.split(" .* ")
    assert warning.startswith(f"{before} {site.path} ") and after in warning


@pytest.mark.parametrize(
    ("wishes", "queue"),
    [
        ({}, "short"),
        ({"walltime": Walltime(7200)}, "long"),
        ({"gpus": 1}, "fat"),
        ({"nodes": 100}, "huge"),
    ],
)
def test_where_nobody_names_a_queue_the_first_that_takes_the_job_is_chosen(wishes, queue):
    site = loaded(queues=QUEUES, session=SESSION, dask={"workers": 1, "memory": "4 GB"})
    plan = make_plan(site, Request(**{"workers": 0, **wishes}), name="x")
    assert (plan.job.queue, plan.queue_chosen, plan.warnings) == (queue, True, ())
    named = make_plan(site, Request(queue="long"), name="x")
    assert (named.job.queue, named.queue_chosen) == ("long", False)


def test_a_queue_that_is_not_to_be_chosen_is_not_and_where_none_fits_the_nearest_is_told():
    queues = [{**one, "choose": one["name"] != "fat"} for one in QUEUES]
    site = loaded(queues=queues, session=SESSION)
    with pytest.raises(PlanError, match="the session asks for 1 GPUs on a node, and no q") as no:
        make_plan(site, Request(gpus=1), name="x")
    assert "(gpus_per_node of short, long, huge)" in no.value.what
    with pytest.raises(PlanError, match="asks for a walltime of 72:00:00, and no q") as longer:
        make_plan(site, Request(walltime=Walltime(3 * 86400)), name="x")
    assert "a walltime of 48:00:00 (queue 'long')" in str(longer.value.hint)
    assert make_plan(site, Request(gpus=1, queue="fat"), name="x").job.queue == "fat"


BINS = [
    {"max_nodes": 91, "max_walltime": "2:00:00"},
    {"max_nodes": 183, "max_walltime": "6:00:00"},
]


def test_a_limit_says_by_whose_word_it_is_and_a_users_own_has_none(tmp_path):
    queue = {"name": "long", "max_nodes": 2, "source": "https://docs.big.example/queues"}
    content = slurm_with(queues=[queue], scheduler={"kind": "slurm", "default_queue": "long"})
    site = load_content(tmp_path, content)
    with pytest.raises(PlanError) as caught:
        make_plan(site, Request(nodes=3), name="x")
    told = f"(max_nodes in {tmp_path / 'big.toml'}, by https://docs.big.example/queues)"
    assert told in caught.value.what
    file = user_toml({"big": {"queues": [{"name": "long", "max_nodes": 2}]}})
    with pytest.raises(PlanError) as caught:
        make_plan(load_content(tmp_path, content), Request(nodes=3), name="x")
    assert f"(max_nodes in {file})" in caught.value.what


@pytest.mark.parametrize(
    ("nodes", "hours", "said"),
    [
        (91, 2, None),
        (91, 3, "allows at most 02:00:00 to jobs of up to 91 nodes (walltime_bins in"),
        (92, 6, None),
        (183, 7, "allows at most 06:00:00 to jobs of up to 183 nodes (walltime_bins in"),
        (184, 12, None),
        (184, 13, "allows at most 12:00:00 (max_walltime in"),
    ],
)
def test_the_longest_job_may_depend_on_its_nodes(nodes, hours, said):
    queue = {"name": "batch", "max_walltime": "12:00:00", "walltime_bins": BINS}
    site = loaded(queues=[queue], session=SESSION)
    wishes = Request(nodes=nodes, walltime=Walltime(hours * 3600))
    if said is None:
        assert make_plan(site, wishes, name="x").job.queue == "batch"
        return
    with pytest.raises(PlanError) as refused:
        make_plan(site, replace(wishes, queue="batch"), name="x")
    assert said in refused.value.what


def test_bins_are_in_order(tmp_path):
    queue = {"name": "batch", "walltime_bins": BINS[::-1]}
    with pytest.raises(ProfileError, match="walltime_bins") as wrong:
        load_content(tmp_path, slurm_with(queues=[queue]))
    assert "must be in the order of max_nodes, fewest first and each once" in str(wrong.value)


def test_without_described_queues_there_is_nothing_to_warn_of():
    assert make_plan(loaded(), Request(queue="any", gpus=99), name="x").warnings == ()


jobs = st.builds(
    JobSpec,
    name=st.just("j"),
    log=st.just("/l"),
    walltime=st.integers(1, 10**6).map(Walltime),
    nodes=st.integers(1, 100),
    tasks_per_node=st.integers(1, 4),
    cores=st.integers(1, 100),
    memory=st.none() | st.integers(1, 2 * 10**12).map(Memory),
    gpus=st.integers(0, 8),
    queue=st.sampled_from([queue["name"] for queue in QUEUES]),
)


@given(job=jobs)
def test_what_is_let_through_fits_and_what_is_recommended_is_let_through(job):
    site = loaded(queues=QUEUES)
    queue = site.site.queue(job.queue)
    assert queue is not None
    try:
        assert hold_against_limits(site, job, "it", "--queue {}") is None
    except PlanError as error:
        assert not fits(queue, job)
        if option := (error.hint or "").partition(": --queue ")[2]:
            assert hold_against_limits(site, replace(job, queue=option), "it", "") is None
        else:
            assert not any(fits(one, job) for one in site.site.queues)
    else:
        assert fits(queue, job)


def fits(queue: Queue, job: JobSpec) -> bool:
    """The limits, said once more in plain words."""
    return (
        (queue.max_walltime is None or job.walltime.seconds <= queue.max_walltime.seconds)
        and (queue.max_nodes is None or job.nodes <= queue.max_nodes)
        and job.nodes >= queue.min_nodes
        and (queue.cores_per_node is None or job.cores * job.tasks_per_node <= queue.cores_per_node)
        and (
            queue.memory_per_node is None
            or job.memory is None
            or job.memory.bytes <= queue.memory_per_node.bytes
        )
        and job.gpus <= queue.gpus_per_node
    )


def test_every_limit_of_the_model_is_checked():
    described = set(Queue.model_fields) - {
        *("name", "choose", "partition", "qos", "memory_as", "source", "checked_on"),
    }
    elsewhere = {"max_jobs", "walltime_bins"}  # of many jobs; part of max_walltime
    assert {limit.key for limit in _LIMITS} | elsewhere == described
