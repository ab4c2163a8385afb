"""The one process that owns the session's Dask cluster, in the user's environment.

``PYTHON -m hpclaunch.clusters.holder SESSION_DIR`` starts the scheduler and asks for the workers,
writes where the scheduler is into Dask's configuration of the session and into
``dask-state.json``, and holds the cluster until SIGTERM.
"""
# ruff: noqa: UP017, UP041  (runs on the environment's Python, which may be 3.9 or 3.10)

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dask
from distributed import Nanny, Security, SpecCluster

from hpclaunch.clusters.guard import GuardedScheduler
from hpclaunch.clusters.state import Journal, State
from hpclaunch.clusters.submitter import Submitter, outside_of_job
from hpclaunch.errors import HpclaunchError
from hpclaunch.node import daskconfig
from hpclaunch.node.clock import ends_at
from hpclaunch.node.dask import place_of
from hpclaunch.node.daskconfig import Place
from hpclaunch.node.files import write_private_json
from hpclaunch.node.layout import Layout
from hpclaunch.node.processes import end_with_parent
from hpclaunch.node.spec import Session, read_session
from hpclaunch.schedulers.slurm import Slurm

__all__ = ["Holder", "local_cluster", "main"]

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
        self._journal = Journal(session)
        self._end = ends_at(session, datetime.now(timezone.utc), surroundings)
        self._submitter = Submitter(
            Slurm(session.scheduler_options),
            session.worker_job_name,
            self._journal,
            outside_of_job(surroundings),
        )

    async def run(self) -> None:
        """Hold the cluster until SIGTERM or SIGINT."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        cluster = await self._cluster()
        try:
            self._tell(cluster.scheduler_address)
            if self._session.mode == "local":
                self._journal.publish()
                await self._jupyter_first(stop)
                cluster.scale(self._session.workers)
            else:
                cluster.scale(self._session.workers)
                await self._first_answers(stop)
                self._journal.publish()
            await stop.wait()
        finally:
            await self._close(cluster)

    async def _jupyter_first(self, stop: asyncio.Event) -> None:
        """Wait until Jupyter answers: workers that start here meanwhile take its cores from it."""
        rendezvous = Path(self._session.path(Layout.RENDEZVOUS))
        while not rendezvous.exists() and not stop.is_set():
            await asyncio.sleep(_TICK)

    async def _first_answers(self, stop: asyncio.Event) -> None:
        """Wait for what the scheduler says to the first submits, so that a refusal is told."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _ANSWERS
        while self._submitter.answers < self._session.workers and loop.time() < deadline:
            if stop.is_set():
                return
            await asyncio.sleep(_TICK)

    def _cluster(self) -> SpecCluster:
        if self._session.mode == "local":
            return local_cluster(self._session, self._place)
        from hpclaunch.clusters import jobqueue

        return jobqueue.cluster(self._session, self._place, self._submitter, self._end)

    def _tell(self, address: str) -> None:
        """Let notebooks, the agent and the laptop know where the scheduler is."""
        session = self._session
        found = daskconfig.settings(session, self._place, address)
        write_private_json(session.path(Layout.DASK_FILE), found)
        assert session.mode is not None
        self._journal.opened(State("running", session.mode, address, session.workers))
        log.info("the scheduler is at %s", address)

    async def _close(self, cluster: SpecCluster) -> None:
        """Cancel the worker jobs first: they cost the user's allocation."""
        log.info("closing the cluster")
        if self._session.mode == "jobqueue":
            await _within(_PATIENCE, self._submitter.cancel_all())
        await _within(_PATIENCE, cluster.close())
        self._journal.closed()


def local_cluster(session: Session, place: Place) -> SpecCluster:
    """A cluster whose workers are processes of this job.

    Like ``distributed.LocalCluster``, which takes no scheduler class.
    """
    jobs = session.jobs
    if jobs is None:
        raise ValueError("the session says nothing about workers")
    common = {"host": place.address, "protocol": "tls://", "security": Security()}
    pages = {"dashboard_address": "127.0.0.1:0"}
    worker = {
        **common,
        **pages,
        "dashboard": False,
        "nthreads": jobs.cores,
        "memory_limit": jobs.memory,
    }
    scheduler = {
        **common,
        **pages,
        "port": 0,
        "dashboard": True,
        "dashboard_socket": place.dashboard_socket,
    }
    return SpecCluster(
        scheduler={"cls": GuardedScheduler, "options": scheduler},
        worker={"cls": Nanny, "options": worker},
        security=Security(),
        asynchronous=True,
        name="local",
    )


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
