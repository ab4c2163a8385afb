"""The one process that owns the session's Dask cluster, in the user's environment.

``PYTHON -m hpclaunch.clusters.holder SESSION_DIR`` starts the scheduler and asks for the workers,
writes where the scheduler is into Dask's configuration of the session and into
``dask-state.json``, and holds the cluster until SIGTERM.
"""
# ruff: noqa: UP017, UP041  (runs on the environment's Python, which may be 3.9 or 3.10)

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Awaitable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dask

from hpclaunch.clusters import control
from hpclaunch.clusters.jobspage import add_jobs_page
from hpclaunch.clusters.laptop import ByLaptop
from hpclaunch.clusters.localprocesses import LocalProcesses
from hpclaunch.clusters.state import Journal, State
from hpclaunch.clusters.submitter import Submitter, outside_of_job
from hpclaunch.clusters.ways import Commands, Way, by_ssh, here
from hpclaunch.clusters.workerjob import jobs_of
from hpclaunch.errors import HpclaunchError, SchedulerError
from hpclaunch.node import daskconfig
from hpclaunch.node.clock import ends_at
from hpclaunch.node.dask import CONTROL, place_of
from hpclaunch.node.daskconfig import Place
from hpclaunch.node.files import write_private_json
from hpclaunch.node.layout import Layout
from hpclaunch.node.processes import end_with_parent
from hpclaunch.node.spec import Session, read_session
from hpclaunch.schedulers.base import Scheduler
from hpclaunch.schedulers.kinds import batch_scheduler

__all__ = ["Holder", "main"]

log = logging.getLogger("hpclaunch.holder")

_TICK = 0.05  # seconds between two looks at a file
_ANSWERS = 5.0  # seconds that the first submits may keep the session from being ready
_PATIENCE = 3.0  # seconds for each part of the end; the agent kills after 8


class Holder:
    """Holds the cluster of one session.

    Parameters
    ----------
    session : Session
        One that asks for a cluster.
    place : Place
    surroundings : mapping
        The environment of the job.
    """

    def __init__(self, session: Session, place: Place, surroundings: dict[str, str]) -> None:
        self._session = session
        self._place = place
        self._surroundings = surroundings
        self._journal = Journal(session)
        self._submitter: Submitter | None = None

    async def run(self) -> None:
        """Hold the cluster until SIGTERM or SIGINT."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        self._cluster = await self._make()
        tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._journal.keep(self._told))]
        try:
            self._configure()
            path = str(Path(self._place.node_directory, CONTROL))
            await control.serve(path, self._cluster, self._cluster.document)
            if self._session.mode == "local":
                self._journal.publish(self._told())
                await self._jupyter_first(stop)
                await self._cluster.set_workers(self._session.workers)
            else:
                add_jobs_page(self._cluster.scheduler, self._cluster.document)
                tasks.append(asyncio.ensure_future(self._first_workers()))
                tasks.append(asyncio.ensure_future(stop.wait()))
                await asyncio.wait(
                    tasks[-2:], timeout=_ANSWERS, return_when=asyncio.FIRST_COMPLETED
                )
                self._journal.publish(self._told())
                tasks.append(asyncio.ensure_future(self._cluster.follow()))
            self._journal.changed()
            await stop.wait()
        finally:
            for task in tasks:
                task.cancel()
            await self._close()

    async def _jupyter_first(self, stop: asyncio.Event) -> None:
        """Wait until Jupyter answers: workers that start here meanwhile take its cores from it."""
        rendezvous = Path(self._session.path(Layout.RENDEZVOUS))
        while not rendezvous.exists() and not stop.is_set():
            await asyncio.sleep(_TICK)

    async def _first_workers(self) -> None:
        """Ask for what the session wants; a refusal is told with the session, which lives on."""
        with contextlib.suppress(SchedulerError):  # logged, and told by the cluster's document
            await self._cluster.set_workers(self._session.workers)

    async def _make(self) -> Any:
        """The cluster, started and without workers."""
        if self._session.mode == "local":
            return await LocalProcesses(self._session, self._place)
        from hpclaunch.clusters.elastic import BatchCluster

        session = self._session
        scheduler = batch_scheduler(
            session.scheduler, session.scheduler_options, session.scheduler_quirks
        )
        way = self._way(scheduler)
        self._submitter = Submitter(scheduler, session.worker_job_name, way)
        end = ends_at(session, datetime.now(timezone.utc), self._surroundings)
        return await BatchCluster(session, self._place, self._submitter, end, self._journal.changed)

    def _way(self, scheduler: Scheduler) -> Way:
        """To the scheduler, as the session's profile has it."""
        jobs, outside = jobs_of(self._session), outside_of_job(self._surroundings)
        if jobs.submit == "laptop":
            return ByLaptop(self._session, scheduler)
        if jobs.submit == "ssh":
            assert jobs.submit_host is not None
            control = str(Path(self._place.node_directory, "ssh"))
            run = by_ssh(jobs.submit_host, jobs.submit_prologue, outside, control)
            return Commands(scheduler, run)
        return Commands(scheduler, here(outside))

    def _configure(self) -> None:
        """Let notebooks know where the scheduler is."""
        session, address = self._session, self._cluster.scheduler_address
        found = daskconfig.settings(session, self._place, address)
        write_private_json(session.path(Layout.DASK_FILE), found)
        log.info("the scheduler is at %s", address)

    def _told(self) -> State:
        """What the agent and the laptop are told."""
        assert self._session.mode is not None
        return State.of("running", self._session.mode, self._cluster.document())

    async def _close(self) -> None:
        """Cancel the worker jobs first: they cost the user's allocation."""
        log.info("closing the cluster")
        told = self._told()
        if self._submitter is not None:
            await _within(_PATIENCE, self._submitter.cancel_all())
            left = self._submitter.alive
            told.jobs[:] = [job for job in told.jobs if job["id"] in left]
        await _within(_PATIENCE, self._cluster.close())
        self._journal.write(replace(told, state="closed"))


async def _within(seconds: float, work: Awaitable[Any]) -> None:
    """Wait for a part of the end, and go on with the next when it fails or takes too long."""
    try:
        await asyncio.wait_for(work, seconds)
    except asyncio.TimeoutError:
        log.error("not done within %.0f s", seconds)
    except HpclaunchError as error:
        log.error("\n".join(error.lines()))


def main(argv: list[str]) -> None:
    """Hold the cluster of the session in the directory ``argv[0]``."""
    end_with_parent()
    logging.getLogger("hpclaunch").addHandler(logging.StreamHandler())
    logging.getLogger("hpclaunch").setLevel(logging.INFO)
    session = read_session(argv[0])
    if sys.path and Path(sys.path[0]) == Path(session.directory):
        del sys.path[0]
    surroundings = dict(os.environ)
    place = place_of(
        session,
        surroundings,
        dask.config.get("hpclaunch.node-directory"),
        dask.config.get("temporary-directory"),
    )
    # Relative paths, and modules that lie beside a notebook, mean the same to a worker. Last on the
    # path, so that a user's random.py hides nothing from us.
    os.chdir(session.work_dir)
    sys.path.append(session.work_dir)
    asyncio.run(Holder(session, place, surroundings).run())


if __name__ == "__main__":
    main(sys.argv[1:])
