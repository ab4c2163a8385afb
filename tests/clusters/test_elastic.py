"""Elastic clusters tell the truth, where dask-jobqueue's own class does not.

Each claim is held against both: `xfail(strict=True)` shows that dask-jobqueue 0.9.0 fails it. The
scheduler's commands run for real (`fakes`), and so do the workers. Ours is shown with all of our
schedulers, dask-jobqueue with the one that a claim is about, else Slurm.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import pytest
from dask_jobqueue import LSFCluster, PBSCluster, SLURMCluster
from distributed import Client, Security

from hpclaunch.clusters import elastic, ways
from hpclaunch.clusters.elastic import BatchCluster
from hpclaunch.clusters.submitter import Submitter
from hpclaunch.clusters.ways import Commands, here
from hpclaunch.errors import SchedulerError, UsageError
from hpclaunch.node.daskconfig import Place, settings
from hpclaunch.node.files import write_private_json
from hpclaunch.node.layout import Layout
from hpclaunch.node.spec import read_session
from hpclaunch.schedulers.kinds import batch_scheduler
from tests.clusters.fakes import ASK, SUBMIT, WAITING, Fake
from tests.clusters.test_worker_jobs import JOBS
from tests.node.live import REPOSITORY, make_session
from tests.support.launch import eventually, processes_with

pytestmark = pytest.mark.local

REFUSAL = "Batch job submission failed: Invalid account"
PLAIN = {"slurm": SLURMCluster, "pbs": PBSCluster, "lsf": LSFCluster}
WISHES: dict[str, dict[str, Any]] = {
    "slurm": {},
    "pbs": {"account": "project1", "extra_directives": ["-l filesystems=home"]},
    "lsf": {"extra_directives": ["-x"]},
}


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    """Which scheduler; Slurm, where a test does not say."""
    return str(getattr(request, "param", "slurm"))


@pytest.fixture
def fake(tmp_path: Path, kind: str) -> Iterator[Fake]:
    found = Fake.install(tmp_path / "fake", kind)
    if kind == "lsf":  # whose first signal is INT, of which a nanny with its worker ends late
        found.spool.set_mode("grace", "0.5")
    yield found
    found.kill()


@dataclass
class Bench:
    """A session's directory, in which either kind of cluster can be made."""

    tmp_path: Path
    fake: Fake

    def settings(self, **jobs: Any) -> dict[str, Any]:
        """Dask's configuration of a session whose worker jobs are `jobs`."""
        kind = self.fake.kind
        fields = {**JOBS, "local_directory": None, "setup": [], **WISHES[kind], **jobs}
        self.directory = make_session(self.tmp_path / "demo", scheduler=kind, dask=fields)
        (self.directory / Layout.WORKERS).mkdir(mode=0o700)
        (self.directory / Layout.DASK_CONFIG).mkdir(mode=0o700)
        (self.directory / Layout.DASK_SECRET).write_text("secret")
        self.session = read_session(str(self.directory))
        node = self.tmp_path / "node"
        node.mkdir(mode=0o700)
        python = str(REPOSITORY / ".venv/bin/python")
        self.place = Place("127.0.0.1", python, str(REPOSITORY), str(node))
        found = settings(self.session, self.place)
        write_private_json(str(self.directory / Layout.DASK_FILE), found)
        found["distributed"]["adaptive"] = {"interval": "200ms"}
        found["distributed"]["deploy"] = {"lost-worker-timeout": "1s"}
        merged: dict[str, Any] = dask.config.merge(dask.config.config, found)
        return merged

    @contextlib.asynccontextmanager
    async def ours(self) -> AsyncIterator[BatchCluster]:
        """The session's own cluster, watched as its holder does."""
        environment = {**os.environ, "PATH": self.fake.path}
        scheduler = batch_scheduler(self.fake.kind, ())
        way = Commands(scheduler, here(environment))
        jobs = Submitter(scheduler, self.session.worker_job_name, way)
        async with BatchCluster(self.session, self.place, jobs, None) as cluster:
            watching = asyncio.ensure_future(cluster.follow())
            yield cluster
            watching.cancel()

    @contextlib.asynccontextmanager
    async def plain(self) -> AsyncIterator[Any]:
        """dask-jobqueue's."""
        assert self.session.jobs is not None
        async with PLAIN[self.fake.kind](
            processes=self.session.jobs.processes,  # in a configuration it would half count
            protocol="tls://",
            security=Security(),
            asynchronous=True,
            silence_logs=False,
        ) as cluster:
            yield cluster

    def run(self, whose: str, story: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
        """Let `story` happen to a cluster, and close it."""

        async def whole() -> None:
            async with getattr(self, whose)() as cluster:
                await story(cluster)

        asyncio.run(asyncio.wait_for(whole(), 120))


@pytest.fixture
def bench(
    request: pytest.FixtureRequest, tmp_path: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    monkeypatch.setenv("PATH", fake.path)
    yield Bench(tmp_path, fake)
    if "plain" not in request.node.name:
        eventually(
            lambda: not processes_with(str(tmp_path / "demo"), "dask_worker"),
            what="close() leaves no worker",
        )


FAILS = [pytest.mark.xfail(strict=True, raises=AssertionError), pytest.mark.long]


def shown_with(
    *plain: str, kinds: tuple[str, ...] = ("slurm", "pbs", "lsf"), later: tuple[str, ...] = ()
) -> Any:
    """Ours with `kinds`, and dask-jobqueue's own with `plain`; `later` where tests may be long."""
    marks = {kind: [pytest.mark.long] for kind in later}
    ours = [
        pytest.param(kind, "ours", marks=marks.get(kind, []), id=f"{kind}-ours")
        for kind in (*kinds, *later)
    ]
    theirs = [pytest.param(one, "plain", marks=FAILS, id=f"{one}-plain") for one in plain]
    return pytest.mark.parametrize(("kind", "whose"), [*ours, *theirs], indirect=["kind"])


both = shown_with("slurm")
on_all = pytest.mark.parametrize("kind", ["slurm", "pbs", "lsf"], indirect=True)


async def until(condition: Callable[[], object], seconds: float = 40) -> None:
    """Wait until `condition` holds."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "it did not come to be"
        await asyncio.sleep(0.05)


async def scale(cluster: Any, workers: int) -> None:
    """Scale as each kind wants it."""
    asked = cluster.scale(workers)
    if isinstance(asked, Awaitable):
        await asked


@both
def test_a_job_that_never_starts_is_queued_with_its_reason(
    bench: Bench, fake: Fake, whose: str
) -> None:
    fake.hold()
    reason = WAITING[fake.kind]
    expected = None if fake.kind == "lsf" else "2026-11-30T10:00:00"  # LSF has no estimate

    async def story(cluster: Any) -> None:
        await scale(cluster, 2)
        await until(lambda: len(fake.jobs) == 2)
        await asyncio.sleep(2)
        for job in cluster.workers.values():
            assert f"queued {reason}" in repr(job)
        assert "2 queued" in repr(cluster)
        told = cluster.document()
        assert [job["state"] for job in told["jobs"]] == ["queued", "queued"]
        assert {job["reason"] for job in told["jobs"]} == {reason}
        assert {job["expected_start"] for job in told["jobs"]} == {expected}
        fake.release()
        await until(lambda: cluster.document()["present"] == 2)
        await until(lambda: "2 running" in repr(cluster))

    with dask.config.set(bench.settings()):
        bench.run(whose, story)


@both
def test_a_refused_submit_raises_the_schedulers_words_and_close_works(
    bench: Bench, fake: Fake, whose: str
) -> None:
    fake.refuse(REFUSAL)

    async def story(cluster: Any) -> None:
        try:
            await scale(cluster, 2)
        except Exception as error:
            told = str(getattr(error, "said", error))
        else:
            raise AssertionError("nothing was raised")
        assert REFUSAL in told
        fake.refuse("")
        await scale(cluster, 1)
        await until(lambda: len(cluster.scheduler.workers) == 1)
        assert cluster.document()["problem"] is None

    with dask.config.set(bench.settings()):
        bench.run(whose, story)


@both
def test_chatter_before_the_answer_is_no_job(bench: Bench, fake: Fake, whose: str) -> None:
    fake.chatter("NOTE: 3 hours of maintenance on Sunday\n")

    async def story(cluster: Any) -> None:
        await scale(cluster, 1)
        await until(lambda: any(job.job_id for job in cluster.workers.values()))
        assert [job.job_id for job in cluster.workers.values()] == fake.ids(1)

    with dask.config.set(bench.settings()):
        bench.run(whose, story)


def replaced(bench: Bench, fake: Fake, whose: str, how: str) -> None:
    """Kill the one job, and wait for its successor's workers."""

    async def story(cluster: Any) -> None:
        if how == "scale":
            await scale(cluster, 2)
        elif whose == "ours":
            cluster.adapt_between(2, 2)
        else:
            cluster.adapt(minimum=2, maximum=2)
        await until(lambda: len(cluster.scheduler.workers) == 2)
        before = set(cluster.scheduler.workers)
        fake.kill_job(fake.ids(1)[0])
        await until(lambda: len(set(cluster.scheduler.workers) - before) == 2, 12)
        assert len(fake.jobs) == 2, "one job for one job"

    with dask.config.set(bench.settings(processes=2)):
        bench.run(whose, story)


@both
def test_a_killed_job_of_two_workers_is_replaced(bench: Bench, fake: Fake, whose: str) -> None:
    replaced(bench, fake, whose, "scale")


@shown_with("slurm", kinds=("slurm",), later=("pbs", "lsf"))
def test_a_killed_job_of_two_workers_is_replaced_while_it_adapts(
    bench: Bench, fake: Fake, whose: str
) -> None:
    replaced(bench, fake, whose, "adapt")


@shown_with("slurm", kinds=("slurm",), later=("pbs", "lsf"))
def test_adapting_to_a_part_of_a_job_submits_and_kills_nothing(
    bench: Bench, fake: Fake, whose: str
) -> None:
    fake.hold()

    async def story(cluster: Any) -> None:
        if whose == "ours":
            cluster.adapt_between(1, 1)
        else:
            cluster.adapt(minimum=1, maximum=1)
        await until(lambda: len(fake.jobs) == 1)
        await asyncio.sleep(4)  # twenty turns of adapting
        assert (len(fake.jobs), fake.cancelled) == (1, set())

    with dask.config.set(bench.settings(processes=2)):
        bench.run(whose, story)


@shown_with("slurm", kinds=("slurm",))
def test_many_workers_are_one_submission_and_one_cancellation(
    bench: Bench, fake: Fake, whose: str
) -> None:
    fake.hold()

    async def story(cluster: Any) -> None:
        await scale(cluster, 64)
        await until(lambda: len(fake.jobs) == 64)
        assert fake.calls.count("sbatch") == 1
        ids = {job.job_id for job in cluster.workers.values()}
        assert ids == {f"1_{index}" for index in range(64)}
        await scale(cluster, 32)
        await until(lambda: len(fake.cancelled) == 32)
        assert fake.calls.count("scancel") == 1

    with dask.config.set(bench.settings()):
        bench.run(whose, story)
    assert len(fake.cancelled) == 64


def test_arrays_are_no_larger_than_the_scheduler_allows(bench: Bench, fake: Fake) -> None:
    fake.hold()
    fake.limit_arrays(10)

    async def story(cluster: BatchCluster) -> None:
        await cluster.set_workers(24)
        sizes = sorted(len(str(job["argv"])) > 0 for job in fake.jobs.values())
        assert len(sizes) == 24
        assert fake.calls.count("sbatch") == 3

    with dask.config.set(bench.settings()):
        bench.run("ours", story)


@on_all
def test_without_arrays_jobs_are_submitted_one_by_one(bench: Bench, fake: Fake) -> None:
    fake.hold()
    fake.limit_arrays(0)

    async def story(cluster: BatchCluster) -> None:
        await cluster.set_workers(5)
        assert sorted(fake.jobs) == fake.ids(1, 2, 3, 4, 5)
        assert fake.calls.count(SUBMIT[fake.kind]) == 5

    with dask.config.set(bench.settings()):
        bench.run("ours", story)
    assert fake.cancelled == set(fake.jobs)


def test_a_limit_of_the_site_is_told_and_not_hit(bench: Bench, fake: Fake) -> None:
    async def story(cluster: BatchCluster) -> None:
        with pytest.raises(UsageError, match=r"7 workers are 4 jobs.* room for 3"):
            await cluster.set_workers(7)
        with pytest.raises(UsageError, match="room for 3"):
            cluster.adapt_between(0, 8)
        assert cluster.document()["workers"] == 0

    with dask.config.set(bench.settings(processes=2, max_jobs=3)):
        bench.run("ours", story)
    assert SUBMIT[fake.kind] not in fake.calls


@on_all
def test_jobs_whose_workers_never_arrive_are_told_and_not_submitted_for_ever(
    bench: Bench, fake: Fake
) -> None:
    async def story(cluster: BatchCluster) -> None:
        await cluster.set_workers(1)
        await until(lambda: cluster.problem is not None)
        assert cluster.problem is not None
        assert "ended before its workers arrived" in cluster.problem
        log = Path(cluster.problem.rpartition(" ")[2])
        assert "no such environment" in log.read_text()
        submitted = len(fake.jobs)
        await asyncio.sleep(3)
        assert len(fake.jobs) == submitted <= 3

    broken = ["echo 'no such environment' >&2; exit 3"]
    with dask.config.set(bench.settings(setup=broken)):
        bench.run("ours", story)


@on_all
def test_a_scheduler_that_does_not_answer_ends_nothing(
    bench: Bench, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LSF's commands hang then, and do not come back by themselves."""
    monkeypatch.setattr(elastic, "_QUICK", 0.2)
    monkeypatch.setattr(elastic, "_SLOW", 0.5)  # however long the worker took to come

    async def story(cluster: BatchCluster) -> None:
        await cluster.set_workers(1)
        await until(lambda: cluster.document()["present"] == 1)
        monkeypatch.setattr(ways, "_PATIENCE", 2.0)
        fake.silence(True)
        try:
            # A command that was under way has the patience of before.
            await until(lambda: "does not answer" in (cluster.document()["problem"] or ""), 75)
            asked = fake.calls.count(ASK[fake.kind])
            await until(lambda: fake.calls.count(ASK[fake.kind]) > asked + 1)
            assert cluster.document()["present"] == 1
        finally:  # or the end of the cluster would hide what went wrong
            fake.silence(False)
            monkeypatch.setattr(ways, "_PATIENCE", 60.0)
        await until(lambda: cluster.document()["problem"] is None)
        assert len(fake.jobs) == 1

    with dask.config.set(bench.settings()):
        bench.run("ours", story)


def test_data_outlives_the_jobs_that_hold_it(bench: Bench, fake: Fake) -> None:
    """Through two generations: every worker that held a part at first is gone at the end."""
    fake.end_jobs_after(46)  # workers leave after 1 to 16 seconds

    async def story(cluster: BatchCluster) -> None:
        await cluster.set_workers(3)
        await until(lambda: cluster.document()["present"] == 3)
        first = set(cluster.scheduler.workers)
        async with Client(cluster, asynchronous=True) as client:
            parts = client.map(bytes, range(1000, 1040), pure=False)
            await client.gather(client.map(len, parts))
            await until(lambda: not first & set(cluster.scheduler.workers), 45)
            assert await client.gather(client.map(len, parts)) == list(range(1000, 1040))
        assert not fake.cancelled, "they left by themselves"

    with dask.config.set(bench.settings(walltime=120)):
        bench.run("ours", story)


@on_all
def test_a_submit_without_an_answer_leaves_no_job_that_nobody_knows(
    bench: Bench, fake: Fake
) -> None:
    """The submit says nothing, though the job is in the queue."""
    fake.hold()

    async def story(cluster: BatchCluster) -> None:
        fake.mute(True)
        with pytest.raises(SchedulerError, match="did not tell"):
            await cluster.set_workers(1)
        fake.mute(False)
        await until(lambda: fake.cancelled == set(fake.ids(1)))
        await cluster.set_workers(2)
        assert len(fake.jobs) == 3

    with dask.config.set(bench.settings()):
        bench.run("ours", story)


@shown_with("pbs", kinds=("pbs",))
def test_an_id_keeps_the_server_that_pbs_needs(bench: Bench, fake: Fake, whose: str) -> None:
    """A number alone is a job of whichever server is asked."""
    fake.hold()

    async def story(cluster: Any) -> None:
        await scale(cluster, 1)
        await until(lambda: any(job.job_id for job in cluster.workers.values()))
        assert [job.job_id for job in cluster.workers.values()] == ["1.pbs-login"]

    with dask.config.set(bench.settings()):
        bench.run(whose, story)
    assert fake.cancelled == {"1.pbs-login"}


@shown_with("lsf", kinds=("lsf",))
def test_lsf_counts_minutes_and_its_own_unit_of_memory(
    bench: Bench, fake: Fake, whose: str
) -> None:
    """An hour and 500 MB, as every other scheduler is asked for them."""
    fake.hold()
    found = bench.settings()
    # What dask-jobqueue has by itself, where nobody has set it up for the site.
    found["jobqueue"]["lsf"].update({"walltime": "01:00:00", "lsf-units": None})

    async def story(cluster: Any) -> None:
        await scale(cluster, 1)
        await until(lambda: len(fake.jobs) == 1, 5)
        (job,) = fake.jobs.values()
        script = str(job["script"])
        assert "#BSUB -W 60\n" in script
        assert "rusage[mem=477]" in script

    with dask.config.set(found):
        bench.run(whose, story)


def test_who_stops_waiting_for_workers_ends_no_submit(bench: Bench, fake: Fake) -> None:
    """The submit is under way, and others wait for it too."""
    fake.delay(0.5)

    async def story(cluster: BatchCluster) -> None:
        first = asyncio.ensure_future(cluster.set_workers(1))
        await until(lambda: any(fake.calls))
        second = asyncio.ensure_future(cluster.set_workers(1))
        await asyncio.sleep(0)
        first.cancel()
        await second
        await until(lambda: cluster.document()["present"] == 1)
        assert [job["id"] for job in cluster.document()["jobs"]] == fake.ids(1)

    with dask.config.set(bench.settings()):
        bench.run("ours", story)
