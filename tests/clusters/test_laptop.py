"""A cluster whose worker jobs the laptop submits: a real keeper's loops beside a real cluster."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dask
import pytest

from hpclaunch.clusters import laptop as module
from hpclaunch.clusters.elastic import BatchCluster
from hpclaunch.clusters.laptop import ByLaptop
from hpclaunch.clusters.session import summary
from hpclaunch.clusters.submitter import Submitter
from hpclaunch.errors import SchedulerError, SubmitError
from hpclaunch.keeper import orders
from hpclaunch.schedulers.slurm import Slurm as Scheduler
from hpclaunch.sessions.cluster import cluster_lines
from tests.clusters.fakes import Fake
from tests.clusters.test_elastic import Bench, until
from tests.support.launch import eventually, processes_with
from tests.support.login_node import FACTS, Laptop

pytestmark = pytest.mark.local

REFUSAL = "sbatch: error: Batch job submission failed: Invalid account"


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Fake]:
    found = Fake.install(tmp_path / "slurm")
    yield found
    found.kill()


@dataclass
class Desk(Bench):
    """A bench whose node has no commands of a scheduler, and a laptop that has."""

    facts: dict[str, Any] = field(default_factory=dict)

    def settings(self, **jobs: Any) -> dict[str, Any]:
        found = super().settings(submit="laptop", **jobs)
        self.laptop = Laptop(self.fake.path)
        name = self.session.worker_job_name
        self.laptop.put(
            self.directory,
            nonce=self.session.nonce,
            worker_job_name=name,
            workers={**FACTS, **self.facts},
        )
        return found

    @contextlib.asynccontextmanager
    async def ours(self) -> AsyncIterator[BatchCluster]:
        with self.laptop.at_work():
            async with self.alone() as cluster:
                yield cluster

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[BatchCluster]:
        """The cluster while the laptop is away."""
        way = ByLaptop(self.session, Scheduler())
        submitter = Submitter(Scheduler(), self.session.worker_job_name, way)
        async with BatchCluster(self.session, self.place, submitter, None) as cluster:
            watching = asyncio.ensure_future(cluster.follow())
            yield cluster
            watching.cancel()
            await submitter.cancel_all()

    @property
    def workers(self) -> list[str]:
        """The ids of all worker jobs that there ever were."""
        name = self.session.worker_job_name
        return [job for job, facts in self.fake.jobs.items() if facts["name"] == name]


@pytest.fixture
def desk(tmp_path: Path, slurm: Fake, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(module, "_TICK", 0.05)
    monkeypatch.setattr(orders, "_BUSY_TICK", 0.1)
    monkeypatch.setattr(orders, "_CALM_TICK", 0.1)
    yield Desk(tmp_path, slurm)
    slurm.kill()
    eventually(lambda: not processes_with(str(tmp_path / "demo"), "dask_worker"), what="all end")


def test_workers_arrive_change_in_number_and_are_replaced(desk: Desk, slurm: Fake) -> None:
    async def story(cluster: BatchCluster) -> None:
        await cluster.set_workers(2)
        assert desk.workers == ["2_0", "2_1"], "one submission"
        await until(lambda: cluster.document()["present"] == 2)
        await cluster.set_workers(3)
        await until(lambda: cluster.document()["present"] == 3)
        await until(lambda: {job["state"] for job in cluster.document()["jobs"]} == {"running"})
        before = set(cluster.scheduler.workers)
        slurm.kill_job("2_0")
        await until(lambda: len(set(cluster.scheduler.workers) - before) == 1)
        assert len(desk.workers) == 4
        await cluster.set_workers(1)
        await until(lambda: len(slurm.cancelled) == 2)
        await until(lambda: cluster.document()["present"] == 1)
        cluster.adapt_between(0, 2)
        await until(lambda: cluster.document()["present"] == 0)
        assert cluster.document()["problem"] is None

    with dask.config.set(desk.settings()):
        desk.run("ours", story)


def test_many_are_one_submission_and_one_cancellation(desk: Desk, slurm: Fake) -> None:
    async def story(cluster: BatchCluster) -> None:
        slurm.hold("Priority")
        await cluster.set_workers(64)
        assert (len(desk.workers), slurm.calls.count("sbatch")) == (64, 2)
        await until(lambda: {job["reason"] for job in cluster.document()["jobs"]} == {"Priority"})
        await cluster.set_workers(32)
        assert len(slurm.cancelled) == 32
        assert slurm.calls.count("scancel") == 1

    with dask.config.set(desk.settings()):
        desk.run("ours", story)


def test_a_refusal_is_told_in_the_schedulers_words(desk: Desk, slurm: Fake) -> None:
    async def story(cluster: BatchCluster) -> None:
        slurm.refuse(REFUSAL)
        with pytest.raises(SubmitError) as caught:
            await cluster.set_workers(2)
        assert caught.value.said == REFUSAL
        assert cluster.document()["problem"] == REFUSAL
        slurm.refuse("")
        await cluster.set_workers(1)
        assert cluster.document()["problem"] is None

    with dask.config.set(desk.settings()):
        desk.run("ours", story)


def test_a_limit_of_the_plan_is_told(desk: Desk, slurm: Fake) -> None:
    """A session that does not know it, or does not care."""
    desk.facts = {"max_jobs": 1}

    async def story(cluster: BatchCluster) -> None:
        with pytest.raises(SubmitError, match="the laptop refused") as caught:
            await cluster.set_workers(2)
        assert caught.value.said is not None and "where 1 are allowed" in caught.value.said
        assert desk.workers == []

    with dask.config.set(desk.settings()):
        desk.run("ours", story)


def test_a_submit_without_an_answer_is_found_by_its_name(desk: Desk, slurm: Fake) -> None:
    """sbatch says nothing, though the job is in the queue; it is cancelled, and made once."""
    sbatch, real = slurm.bin / "sbatch", slurm.bin / "sbatch.real"

    async def story(cluster: BatchCluster) -> None:
        slurm.hold("Priority")
        sbatch.rename(real)
        sbatch.write_text(f'#!/bin/sh\n"{real}" "$@" >/dev/null\n')
        sbatch.chmod(0o755)
        with pytest.raises(SchedulerError, match="did not tell"):
            await cluster.set_workers(1)
        assert desk.workers == ["2"]
        real.rename(sbatch)
        await until(lambda: slurm.cancelled == {"2"})
        await cluster.set_workers(2)
        assert len(desk.workers) == 3

    with dask.config.set(desk.settings()):
        desk.run("ours", story)


def test_while_the_laptop_is_away_scaling_waits_and_says_so(
    desk: Desk, slurm: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def impatient(patience: float, short: float) -> None:
        monkeypatch.setattr(module, "_PATIENCE", patience)
        monkeypatch.setattr(module, "_SHORT", short)

    async def told_to_wait(cluster: BatchCluster, workers: int) -> None:
        began = asyncio.get_running_loop().time()
        with pytest.raises(SchedulerError, match="scaling waits for the laptop"):
            await cluster.set_workers(workers)
        assert asyncio.get_running_loop().time() - began < 10

    async def story(cluster: BatchCluster) -> None:
        impatient(1.0, 0.3)
        for workers in (1, 500, 2):
            await told_to_wait(cluster, workers)
        told = cluster.document()
        assert (told["workers"], told["problem"]) == (2, None)
        assert told["waits"].startswith("scaling waits for the laptop, which submits")
        assert told["waits"] in cluster_lines(told)[-1]
        assert told["waits"] in summary(told)
        await asyncio.sleep(1)  # some more tries
        left = sorted(path.name for path in (desk.directory / "orders").iterdir())
        assert left == ["1", "1.sh", "list.json"], "waiting for long fills no directory"
        assert desk.workers == []
        impatient(20.0, 6.0)
        with desk.laptop.at_work():
            await until(lambda: cluster.document()["present"] == 2)
            assert len(desk.workers) == 2
            assert cluster.document()["waits"] is None
            slurm.hold("Priority")
            await cluster.set_workers(3)
        desk.laptop.wake()
        impatient(1.0, 0.3)
        await told_to_wait(cluster, 2)
        assert slurm.cancelled == set(), "the one that is queued"
        impatient(20.0, 6.0)
        with desk.laptop.at_work():
            await until(lambda: slurm.cancelled == {desk.workers[-1]})
            await until(lambda: cluster.document()["waits"] is None)
            assert (len(desk.workers), cluster.document()["present"]) == (3, 2)

    with dask.config.set(desk.settings()):
        desk.run("alone", story)


def test_a_second_run_of_the_job_goes_on_behind_the_first(desk: Desk, slurm: Fake) -> None:
    """Numbers that were used are no orders any more."""
    desk.settings()
    folder = desk.directory / "orders"
    folder.mkdir()
    told = {"nonce": desk.session.nonce, "done": 7, "told": {}, "looked": 1, "jobs": []}
    (folder / "answers.json").write_text(json.dumps(told))
    assert ByLaptop(desk.session, Scheduler())._next() == 8
    (folder / "9.sh").touch()
    (folder / "11").mkdir()
    assert ByLaptop(desk.session, Scheduler())._next() == 12


def test_nothing_is_ordered_once_the_session_ends(
    desk: Desk, slurm: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was asked for while the laptop was away is withdrawn."""
    monkeypatch.setattr(orders, "_CALL", 0)
    ended: list[BaseException | None] = []

    async def story(cluster: BatchCluster) -> None:
        asked = asyncio.ensure_future(cluster.set_workers(2))
        listed = desk.directory / "orders" / "list.json"
        await until(lambda: listed.exists() and "copies" in listed.read_text())
        asked.add_done_callback(lambda done: ended.append(done.exception()))

    with dask.config.set(desk.settings()):
        desk.run("alone", story)
        for _ in range(3):
            desk.laptop.serve()
    assert desk.workers == []
    assert "the session is ending" in str(ended[0])
