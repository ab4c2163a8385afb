"""Dask workers as batch jobs: dask-jobqueue's cluster, told the truth by our own schedulers.

dask-jobqueue takes an accepted job for a running one, logs a refused submit and forgets it, takes
the first number in the answer for the job's id, and never replaces a job of several workers. Here
jobs are submitted, watched and cancelled by `hpclaunch.schedulers`; what a job is, is what the
scheduler says of it.
"""
# ruff: noqa: UP017, UP041  (runs on the environment's Python, which may be 3.9 or 3.10)

from __future__ import annotations

import asyncio
import logging
import math
import pickle
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timezone
from typing import Any

from dask_jobqueue.core import Job, JobQueueCluster
from distributed import Security, Status
from distributed.deploy.adaptive import Adaptive
from distributed.deploy.cluster import Cluster

from hpclaunch.clusters import workerjob
from hpclaunch.clusters.control import check_bounds, check_number
from hpclaunch.clusters.guard import GuardedScheduler
from hpclaunch.clusters.submitter import Submitter
from hpclaunch.errors import SchedulerError, UsageError
from hpclaunch.node.daskconfig import Place
from hpclaunch.node.layout import LOOPBACK_ANY
from hpclaunch.node.spec import Session
from hpclaunch.schedulers.base import JobSpec, JobState, JobStatus
from hpclaunch.units import Memory

__all__ = ["BatchCluster", "job_of"]

log = logging.getLogger("hpclaunch.holder")

_QUICK, _SLOW = 1.0, 60.0  # seconds between two questions to the scheduler, at first and at last
_SETTLE = 0.3  # seconds after a worker came or went until the scheduler is asked
_EMPTY = 90.0  # seconds that a running job may be without workers
_FIRST_RETRY, _LAST_RETRY = 30.0, 600.0  # seconds after a refusal, growing
_STILLBORN = 2  # jobs in a row that end before a worker arrives, until that is a fault


def job_of(worker: Any) -> str:
    """The name of the job that a worker belongs to; for the Dask scheduler's own use.

    Parameters
    ----------
    worker : WorkerState or str
        Or its name.
    """
    return str(getattr(worker, "name", worker)).partition("-")[0]


class WorkerJob(Job):  # type: ignore[misc]
    """One job of the cluster, as dask-jobqueue wants it.

    Attributes
    ----------
    told : JobStatus
        The scheduler's last word on it.
    seen : bool
        Whether a worker of it ever arrived.
    """

    config_name = "slurm"  # what dask-jobqueue has in its own configuration; all of it is replaced

    def __init__(
        self,
        scheduler: str | None = None,
        name: str | None = None,
        *,
        submitter: Submitter,
        spec: Callable[[], JobSpec],
        script: Callable[[JobSpec, Sequence[str]], str],
        security: object = None,  # workers read the session's TLS from DASK_CONFIG
        **options: Any,
    ) -> None:
        super().__init__(scheduler, name, **options)
        self._submitter = submitter
        self._script = script
        self.spec = spec()
        self.told = JobStatus("", JobState.UNKNOWN)
        self.seen = False
        self.missing = 0
        self.empty_since: float | None = None

    def job_script(self) -> str:
        """The script that would be submitted for this job alone."""
        return self._script(self.spec, [str(self.name)])

    def __repr__(self) -> str:
        words = f"{self.told.state.value} {self.told.reason}".strip()
        return f"<{type(self).__name__} {self.name}: job {self.job_id}, {words}>"

    async def start(self) -> None:
        """Submit it.

        Raises
        ------
        SchedulerError
            If the scheduler refused it, with its words.
        """
        try:
            self.job_id = await self._submitter.submit(self.spec, str(self.name), self._script)
        except BaseException:
            self.status = Status.failed
            raise
        self.told = JobStatus(self.job_id, JobState.QUEUED)
        self.status = Status.running

    async def close(self) -> None:
        """Cancel it, if it may be alive.

        Raises
        ------
        SchedulerError
            If the scheduler did not cancel it.
        """
        if self.job_id is not None:
            await self._submitter.cancel([self.job_id])
        self.over()

    def over(self) -> None:
        """Note that nothing of it is left."""
        self.status = Status.closed
        self._event_finished.set()


class JobAdaptive(Adaptive):  # type: ignore[misc]
    """Counts in jobs: of a job with several workers all come and go together."""

    cluster: BatchCluster

    @property
    def plan(self) -> set[str]:
        """Jobs that shall be."""
        return set(self.cluster.worker_spec)

    @property
    def requested(self) -> set[str]:
        """Jobs that were submitted."""
        return set(self.cluster.workers) & self.plan

    @property
    def observed(self) -> set[str]:
        """Jobs with a worker."""
        return self.cluster.present_jobs()

    async def safe_target(self) -> int:
        """How many jobs the computation wants, within the bounds."""
        cluster = self.cluster
        wanted = cluster.jobs_for(int(await super().safe_target()))
        most = max(1, int(self.maximum) // cluster.processes, cluster.jobs_for(self.minimum))
        return min(wanted, most)

    async def recommendations(self, target: int) -> dict[str, Any]:
        """As distributed's, without its wait for jobs that a scheduler has refused."""
        return dict(await super(Adaptive, self).recommendations(target))

    async def workers_to_close(self, target: int) -> list[str]:
        """Jobs that can be missed best."""
        names = await self.scheduler.workers_to_close(
            target=target * self.cluster.processes, key=pickle.dumps(job_of), attribute="name"
        )
        return list(dict.fromkeys(map(job_of, names)))

    async def scale_up(self, n: int) -> None:
        """Submit jobs until there are `n`."""
        await self.cluster.grow(n)

    async def scale_down(self, workers: Iterable[str]) -> None:
        """Let jobs go."""
        await self.cluster.let_go(workers)


class BatchCluster(JobQueueCluster):  # type: ignore[misc]
    """The session's cluster: workers in jobs of a batch scheduler.

    Parameters
    ----------
    session : Session
    place : Place
    submitter : Submitter
    end : datetime or None
        When the session ends.
    changed : callable
        Called when something that `document` tells has changed.
    """

    def __init__(
        self,
        session: Session,
        place: Place,
        submitter: Submitter,
        end: datetime | None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        jobs = workerjob.jobs_of(session)
        if jobs.walltime is None:
            raise ValueError("worker jobs need a walltime")
        self._session, self._place, self._submitter, self._end = session, place, submitter, end
        self._jobs = jobs
        self._changed = changed
        self._woken = asyncio.Event()
        self._wanted: int | None = 0
        self._bounds: dict[str, int] | None = None
        self._retry_at = 0.0
        self._pause = 0.0
        self._stillborn = 0
        self._silence: str | None = None
        self.problem: str | None = None
        super().__init__(
            job_cls=WorkerJob,
            scheduler_cls=GuardedScheduler,
            scheduler_options={
                "host": place.address,
                "port": 0,
                "dashboard": True,
                "dashboard_address": LOOPBACK_ANY,
                "dashboard_socket": place.dashboard_socket,
            },
            protocol=session.protocol,
            security=Security(),
            silence_logs=False,
            asynchronous=True,
            name=session.name,
            submitter=submitter,
            spec=self._spec,
            script=self._script,
            cores=jobs.cores * jobs.processes,
            memory=f"{jobs.memory * jobs.processes} B",
            processes=jobs.processes,
        )

    @property
    def processes(self) -> int:
        """Workers of one job."""
        return self._jobs.processes

    def jobs_for(self, workers: int) -> int:
        """How many jobs make so many workers."""
        return self._jobs.jobs_for(workers)

    # What is asked for

    async def set_workers(self, workers: int) -> None:
        """Have so many workers from now on, in whole jobs.

        Raises
        ------
        UsageError
            If that is more than the site allows.
        SchedulerError
            If the scheduler refused a job, with its words. Those it took are kept, and the
            others are asked for again after a while.
        """
        jobs = self._allowed(workers)
        self._no_adaptive()
        self._wanted = jobs
        self._retry_at = self._pause = 0.0
        surplus = len(self.worker_spec) - jobs
        if surplus > 0:
            by_worth = sorted(self.worker_spec, key=self._worth)
            await self.let_go(by_worth[:surplus])
        await self._fill()
        self._wake()

    def adapt_between(self, minimum: int, maximum: int) -> None:
        """Have as many workers as the computation can use, within bounds, in whole jobs.

        Raises
        ------
        UsageError
            If the bounds are none, or more than the site allows.
        """
        check_bounds(minimum, maximum)
        self._allowed(maximum)
        self._wanted = None
        self._bounds = {"minimum": minimum, "maximum": maximum}
        self._retry_at = self._pause = 0.0
        self.adapt(Adaptive=JobAdaptive, minimum=minimum, maximum=maximum)
        self._wake()

    def scale(
        self,
        n: int | None = None,
        jobs: int = 0,
        memory: str | None = None,
        cores: int | None = None,
    ) -> Awaitable[None]:
        """As dask-jobqueue's; what it returns raises what `set_workers` raises."""
        wanted = jobs if n is None else self.jobs_for(n)
        if memory is not None:
            per_job = self._jobs.memory * self.processes
            wanted = max(wanted, math.ceil(Memory.parse(memory).bytes / per_job))
        if cores is not None:
            wanted = max(wanted, math.ceil(cores / (self._jobs.cores * self.processes)))
        return asyncio.ensure_future(self.set_workers(wanted * self.processes))

    async def grow(self, jobs: int) -> None:
        """Submit jobs until there are `jobs`; a refusal is told, and asked again later."""
        if self._wanted is None and time.monotonic() >= self._retry_at:
            most = self._jobs.max_jobs
            await self._open(jobs if most is None else min(jobs, most))

    async def let_go(self, names: Iterable[str]) -> None:
        """Let jobs go: their workers hand over their data, then they are cancelled."""
        leaving = [name for name in names if name in self.worker_spec]
        workers = [one.name for one in self._present() if job_of(one) in leaving]
        if workers and len(leaving) < len(self.worker_spec):  # somebody is there to take the data
            await self.scheduler.retire_workers(names=workers, close_workers=True, remove=True)
        for name in leaving:
            self.worker_spec.pop(name, None)
        await self._correct_state()
        self._changed()

    # What there is

    def document(self) -> dict[str, Any]:
        """How the cluster is, as JSON.

        Returns
        -------
        dict
            ``scheduler`` (its address), ``workers`` asked for (None while it adapts itself),
            ``adaptive`` (``minimum`` and ``maximum``, or None), ``present`` workers, ``jobs`` (a
            list of ``id, name, state, reason, expected_start, workers``), ``problem`` in the
            scheduler's words or None, ``waits`` (for what scaling waits, in words, or None), and
            of one worker ``threads`` and ``memory`` (bytes it may
            use); ``job_memory`` is what the scheduler was asked for (bytes).
        """
        present = Counter(map(job_of, self._present()))
        return {
            "scheduler": self.scheduler_address,
            "workers": None if self._wanted is None else self._wanted * self.processes,
            "adaptive": self._bounds,
            "present": sum(present.values()),
            "jobs": [
                self._job_document(name, job, present[name]) for name, job in self.workers.items()
            ],
            "problem": self.problem or self._silence,
            "waits": self._submitter.waits,
            "threads": self._jobs.cores,
            "memory": workerjob.memory_limit(self._jobs),
            "job_memory": self._jobs.memory * self.processes,
        }

    def _job_document(self, name: str, job: WorkerJob, workers: int) -> dict[str, Any]:
        told = job.told
        start = told.expected_start
        return {
            "id": job.job_id,
            "name": name,
            "state": told.state.value,
            "reason": self._submitter.never_starts(told) or told.reason,
            "expected_start": start.isoformat() if start else None,
            "workers": workers,
        }

    def __repr__(self) -> str:
        states = Counter(job.told.state.value for job in self.workers.values())
        jobs = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
        present = self._present()
        return (
            f"{type(self).__name__}({self._name}, workers={len(present)}, "
            f"threads={sum(one.nthreads for one in present)}, jobs: {jobs or 'none'})"
        )

    def present_jobs(self) -> set[str]:
        """Names of the jobs that have a worker here."""
        return {job_of(one) for one in self._present()} & set(self.worker_spec)

    def _present(self) -> list[Any]:
        scheduler = getattr(self, "scheduler", None)
        return list(scheduler.workers.values()) if scheduler is not None else []

    # Following the jobs

    async def follow(self) -> None:
        """Watch the jobs for ever: know how each is, and replace those that are over."""
        pause = _QUICK
        while True:
            news, looked, waited = False, time.monotonic(), self._submitter.waits
            try:
                news = await self._look()
                if self._submitter.may_have_strays:
                    await self._submitter.cancel_strays()
                if set(self.workers) - set(self.worker_spec):  # could not be cancelled before
                    await self._correct_state()
                await self._fill_again()
            except SchedulerError as error:
                log.warning("\n".join(error.lines()))
            except Exception:  # nobody else minds the jobs: go on, whatever it was
                log.exception("the worker jobs could not be followed")
            waits = self._submitter.waits
            if waits != waited:
                self._changed()
            # Whoever is waited for is looked for all the time, and costs no scheduler anything.
            pause = _QUICK if news or waits is not None else min(pause * 1.5, _SLOW)
            if await self._sleep(pause):
                pause = _QUICK
                await asyncio.sleep(max(_SETTLE, _QUICK - (time.monotonic() - looked)))
                self._woken.clear()

    async def _sleep(self, seconds: float) -> bool:
        """Whether something happened meanwhile."""
        if self._wanted is not None and len(self.worker_spec) < self._wanted:
            seconds = min(seconds, max(0.1, self._retry_at - time.monotonic()))
        try:
            await asyncio.wait_for(self._woken.wait(), seconds)
        except asyncio.TimeoutError:
            return False
        return True

    async def _look(self) -> bool:
        """Ask the scheduler about every job; whether it said something new."""
        known = {name: job for name, job in self.workers.items() if job.job_id is not None}
        if not known:
            self._silence = None
            if self._submitter.waits is not None:
                await self._submitter.status([])  # which sees that there is nothing to wait for
            return False
        said = await self._submitter.status([str(job.job_id) for job in known.values()])
        self._silence = None
        over: dict[str, str] = {}
        news = False
        for name, job in known.items():
            if self.workers.get(name) is not job:
                continue  # gone while we asked
            told = said[str(job.job_id)]
            if told.state is JobState.UNKNOWN and not told.word:
                if self._submitter.waits is None:
                    self._silence = f"the scheduler does not answer: {told.reason}"
                continue
            job.missing = job.missing + 1 if told.state is JobState.LOST else 0
            if told.state is JobState.LOST and job.missing < 2:
                news = True  # look again before that is believed
                continue
            news = news or told != job.told
            job.told = told
            if self._is_over(name, job):
                over[name] = f"{told.word or told.state.value} {told.reason}".strip()
            elif self._is_empty(name, job):
                over[name] = f"it ran for {_EMPTY:.0f} s without a worker"
        if over:
            await self._bury(over)
        if news or over:
            self._changed()
        return news

    def _is_over(self, name: str, job: WorkerJob) -> bool:
        """Whether nothing runs in a job any more; the scheduler may still be tidying up."""
        if job.told.state is JobState.ENDING:
            return job.seen and name not in self.present_jobs()
        return job.told.state.is_final or job.told.state is JobState.LOST

    def _is_empty(self, name: str, job: WorkerJob) -> bool:
        """Whether a job runs, and has had no worker for too long."""
        if job.told.state is not JobState.RUNNING or name in self.present_jobs():
            job.empty_since = None
            return False
        job.empty_since = job.empty_since or time.monotonic()
        return time.monotonic() - job.empty_since > _EMPTY

    async def _bury(self, over: dict[str, str]) -> None:
        """Take jobs that are over off the books."""
        empty = [self.workers[name] for name in over]
        running = [one for one in empty if one.told.state is JobState.RUNNING]
        await self._submitter.cancel([str(job.job_id) for job in running])
        stillborn = None
        for name, why in over.items():
            self.worker_spec.pop(name, None)
            job = self.workers.pop(name, None)
            if job is None:
                continue  # somebody else let it go meanwhile
            self._submitter.forget(str(job.job_id))
            job.over()
            log.info("job %s is over: %s", job.job_id, why)
            self._stillborn = 0 if job.seen else self._stillborn + 1
            if self._stillborn >= _STILLBORN:
                stillborn = (
                    f"job {job.job_id} ended before its workers arrived ({why}); "
                    f"its log is {workerjob.log_of(self._session, str(job.job_id))}"
                )
        if stillborn is not None:
            self.problem = stillborn
            self._wait_longer()
        if self._wanted is None and self._adaptive is not None:
            await self._adaptive.adapt()  # now, and not only at its next turn

    async def _fill_again(self) -> None:
        if time.monotonic() >= self._retry_at:
            try:
                await self._fill()
            except SchedulerError:
                return  # told by `document`

    async def _fill(self) -> None:
        if self._wanted is not None:
            await self._open(self._wanted, tell=True)

    async def _open(self, jobs: int, *, tell: bool = False) -> None:
        """Submit jobs until there are `jobs`."""
        if self.status in (Status.closing, Status.closed) or len(self.worker_spec) >= jobs:
            return
        while len(self.worker_spec) < jobs:
            self.worker_spec.update(self.new_worker_spec())
            self._i += 1
        try:
            await self._correct_state()
        except SchedulerError as error:
            if self._submitter.waits is None:
                self.problem = error.said or error.what
                self._wait_longer()
            if tell:
                raise
        else:
            if self._stillborn < _STILLBORN:
                self.problem, self._pause = None, 0.0
        finally:
            for name, job in list(self.workers.items()):
                if job.status is Status.failed:
                    del self.workers[name]
                    self.worker_spec.pop(name, None)
            self._changed()

    def _wait_longer(self) -> None:
        self._pause = min(max(2 * self._pause, _FIRST_RETRY), _LAST_RETRY)
        self._retry_at = time.monotonic() + self._pause

    def _update_worker_status(self, op: str, msg: Any) -> None:
        """A worker came or went. A job that has none is not over: the scheduler says when it is."""
        if op == "add":
            for worker in msg["workers"].values():
                job = self.workers.get(job_of(worker["name"]))
                if job is not None:
                    job.seen = True
                    if job.told.state.is_waiting:
                        job.told = JobStatus(str(job.job_id), JobState.RUNNING)
                    self._stillborn = 0
                    if self._retry_at <= time.monotonic():
                        self.problem = None
        Cluster._update_worker_status(self, op, msg)
        if op == "remove":
            self._wake()
        self._changed()

    def _correct_state(self) -> Awaitable[None]:
        """As distributed's; several wait for the same, and one that is cancelled ends it not."""
        return asyncio.shield(super()._correct_state())

    def _wake(self) -> None:
        self._woken.set()

    # The rest

    def _allowed(self, workers: int) -> int:
        """The number of jobs of so many workers, if the site allows it."""
        check_number(workers)
        jobs, most = self.jobs_for(workers), self._jobs.max_jobs
        if most is not None and jobs > most:
            raise UsageError(
                f"{workers} workers are {jobs} jobs, and the queue leaves room for {most}",
                hint=f"ask for {most * self.processes} workers or fewer",
            )
        return jobs

    def _no_adaptive(self) -> None:
        self._bounds = None
        adaptive = getattr(self, "_adaptive", None)
        if adaptive is not None:
            adaptive.stop()

    def _worth(self, name: str) -> tuple[int, int]:
        """Jobs that wait are worth least, then those without workers, then little data."""
        job = self.workers.get(name)
        workers = [one for one in self._present() if job_of(one) == name]
        running = job is not None and not job.told.state.is_waiting
        return (running + bool(workers), sum(one.nbytes for one in workers))

    def _new_worker_name(self, worker_number: int) -> str:
        return f"worker{worker_number}"

    def _spec(self) -> JobSpec:
        assert self._jobs.walltime is not None
        left = workerjob.walltime_left(self._jobs.walltime, self._end, datetime.now(timezone.utc))
        return workerjob.job_spec(self._session, left)

    def _script(self, spec: JobSpec, names: Sequence[str]) -> str:
        scheduler = getattr(self, "scheduler", None)
        return workerjob.script(
            self._session,
            self._place,
            scheduler.address if scheduler is not None else f"{self._session.protocol}scheduler",
            self._submitter.scheduler,
            spec,
            names,
        )
