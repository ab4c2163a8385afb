"""Submits worker jobs from inside a job, many in one submission, and cancels every one of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hpclaunch.clusters.ways import Way
from hpclaunch.errors import SchedulerError, SubmitError
from hpclaunch.schedulers.base import JobSpec, JobState, JobStatus, Scheduler

__all__ = ["Script", "Submitter", "outside_of_job"]

log = logging.getLogger("hpclaunch.holder")

_AT_ONCE = 4  # submit commands that run at the same time: controllers are shared

Script = Callable[[JobSpec, Sequence[str]], str]
"""The text of a batch script for a job and the names of its copies."""


# What a scheduler puts into a job describes this job, and acts as options of the commands that
# submit from it. What says where the scheduler is, is kept.
_OF_THE_JOB = ("SLURM_", "SBATCH_", "SLURMD_", "PBS_", "LSB_", "LS_", "BSUB_")
_OF_THE_SITE = frozenset(
    {
        *("SLURM_CONF", "PBS_CONF_FILE", "PBS_EXEC", "PBS_HOME", "PBS_SERVER", "PBS_DEFAULT"),
        *("LSB_SHAREDIR", "LSB_CONFDIR"),
    }
)
_ID_OF_THE_JOB = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID")


def outside_of_job(surroundings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what the job we run in has put there.

    ``SLURM_*`` of a job act as options of sbatch and srun, and describe this job's nodes to a
    worker that runs on others; so do ``PBS_*`` and ``LSB_*``. A TMPDIR named after this job does
    not exist elsewhere.
    """
    kept = {
        name: value
        for name, value in surroundings.items()
        if name in _OF_THE_SITE or not name.startswith(_OF_THE_JOB)
    }
    jobs = [surroundings[name] for name in _ID_OF_THE_JOB if surroundings.get(name)]
    if any(job in kept.get("TMPDIR", "") for job in jobs):
        del kept["TMPDIR"]
    return kept


@dataclass(frozen=True)
class _Order:
    """One job that somebody waits for."""

    spec: JobSpec
    name: str
    script: Script
    answer: asyncio.Future[str]


class Submitter:
    """The worker jobs of one session.

    Jobs that are asked for in one turn of the event loop and are equal become one submission, as
    far as the scheduler has arrays; so do cancellations.

    Parameters
    ----------
    scheduler : Scheduler
    name : str
        The name that the worker jobs of this session have, and nobody else's.
    way : Way
        To the scheduler.
    """

    def __init__(self, scheduler: Scheduler, name: str, way: Way) -> None:
        self._scheduler = scheduler
        self._name = name
        self._way = way
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._closing = False
        self._orders: list[_Order] = []
        self._cancels: list[tuple[Sequence[str], asyncio.Future[None]]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._most_copies: int | None = None
        self._submissions: set[str] = set()
        self._alive: dict[str, None] = {}
        self.may_have_strays = False
        """Whether a submit was not answered: its job may be in the queue all the same."""

    @property
    def alive(self) -> list[str]:
        """Ids of the jobs that were submitted and are not known to be over."""
        return list(self._alive)

    @property
    def scheduler(self) -> Scheduler:
        """Whose jobs they are."""
        return self._scheduler

    @property
    def waits(self) -> str | None:
        """For what nothing can be submitted or cancelled now, in words; None where it can."""
        return self._way.waits

    async def submit(self, spec: JobSpec, name: str, script: Script) -> str:
        """Submit one job; returns its id.

        Parameters
        ----------
        spec : JobSpec
            A single one; equal ones become copies of one submission.
        name : str
            What the script knows this job by.
        script : callable

        Raises
        ------
        SchedulerError
            If the scheduler refused the job, or the session is ending.
        """
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        if not self._orders:
            asyncio.get_running_loop().call_soon(self._send_orders)
        self._orders.append(_Order(spec, name, script, answer))
        return await answer

    async def cancel(self, jobs: Sequence[str]) -> None:
        """Cancel those of `jobs` that are still alive.

        Raises
        ------
        SchedulerError
            If one may still be alive.
        """
        alive = [job for job in jobs if job in self._alive]
        if not alive or (self._closing and self._way.ends_with_session):
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self._cancels:
            asyncio.get_running_loop().call_soon(self._send_cancels)
        self._cancels.append((alive, done))
        await done

    async def status(self, jobs: Sequence[str]) -> Mapping[str, JobStatus]:
        """What the scheduler says of `jobs`, in one query; UNKNOWN where it does not answer.

        Of those that have left its queue the accounting is asked, where there is one.
        """
        try:
            return await self._way.status(jobs)
        except SchedulerError as error:
            return {one: JobStatus(one, JobState.UNKNOWN, reason=error.what) for one in jobs}

    def never_starts(self, status: JobStatus) -> str | None:
        """Why a waiting job can never start, in words."""
        return self._scheduler.never_starts(status)

    def forget(self, job: str) -> None:
        """Note that a job is over."""
        self._alive.pop(job, None)

    async def cancel_strays(self) -> None:
        """Cancel jobs that came into the queue by a submit that was not answered.

        Raises
        ------
        SchedulerError
            If the scheduler does not answer.
        """
        for _ in range(_AT_ONCE):  # no submit is under way while we look
            await self._turn.acquire()
        try:
            strays = [job for job in await self._find() if job not in self._submissions]
            await self._cancel_now(strays)
            self.may_have_strays = False
        finally:
            for _ in range(_AT_ONCE):
                self._turn.release()

    async def cancel_all(self) -> None:
        """Cancel every worker job, also one whose id was never told; submit no more.

        Where the laptop submits it cancels too: it sees that the session ends.

        Raises
        ------
        SchedulerError
            If one may still be alive.
        """
        self._closing = True
        if self._way.ends_with_session:
            self._way.leave()
            return
        await self._cancel_now(self.alive)
        for _ in range(_AT_ONCE):  # a command that is under way ends before we look
            await self._turn.acquire()
        await self._cancel_now(await self._find())

    def _send_orders(self) -> None:
        orders, self._orders = self._orders, []
        groups: dict[tuple[JobSpec, Script], list[_Order]] = {}
        for order in orders:
            groups.setdefault((order.spec, order.script), []).append(order)
        for group in groups.values():
            self._begin(self._submit_group(group))

    def _send_cancels(self) -> None:
        cancels, self._cancels = self._cancels, []
        self._begin(self._cancel_group(cancels))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _submit_group(self, orders: list[_Order]) -> None:
        try:
            most = await self._copies() if len(orders) > 1 else 1
        except SchedulerError as error:
            _fail(orders, error)
            return
        parts = [orders[start : start + most] for start in range(0, len(orders), most)]
        await asyncio.gather(*map(self._submit_part, parts))

    async def _copies(self) -> int:
        """How many copies of a job one submission may have; the scheduler is asked once.

        Raises
        ------
        SchedulerError
            If nothing can be submitted now.
        """
        if self._most_copies is None:
            try:
                self._most_copies = await self._way.copies()
            except SchedulerError as error:
                if self._way.waits is not None:
                    raise
                log.warning("jobs are submitted one by one: %s", error.what)
                return 1
        return self._most_copies

    async def _submit_part(self, orders: list[_Order]) -> None:
        """One submission."""
        spec = replace(orders[0].spec, copies=len(orders))
        try:
            async with self._turn:
                if self._closing:
                    raise SchedulerError("the session is ending; no more workers are submitted")
                script = orders[0].script(spec, [order.name for order in orders])
                try:
                    job = await self._way.submit(spec, script)
                except SubmitError:
                    raise
                except SchedulerError:
                    self.may_have_strays = True
                    raise
                self._submissions.add(job)
                ids = self._scheduler.ids_of_copies(job, len(orders))
                self._alive.update(dict.fromkeys(ids))
        except Exception as error:
            if isinstance(error, SchedulerError) and self._way.waits is None:
                log.error("\n".join(error.lines()))
            _fail(orders, error)
            return
        for index, order in enumerate(orders):
            if not order.answer.done():
                order.answer.set_result(ids[index])

    async def _cancel_group(
        self, cancels: list[tuple[Sequence[str], asyncio.Future[None]]]
    ) -> None:
        failure: Exception | None = None
        try:
            await self._cancel_now([job for jobs, _ in cancels for job in jobs])
        except SchedulerError as error:
            failure = error
        for _, done in cancels:
            if done.done():
                continue
            if failure is None:
                done.set_result(None)
            else:
                done.set_exception(failure)

    async def _cancel_now(self, jobs: Sequence[str]) -> None:
        if jobs:
            await self._way.cancel(jobs)
        for job in jobs:
            self.forget(job)

    async def _find(self) -> list[str]:
        return await self._way.find(self._name)


def _fail(orders: Sequence[_Order], error: Exception) -> None:
    """Tell all who wait for `orders`."""
    for order in orders:
        if not order.answer.done():
            order.answer.set_exception(error)
