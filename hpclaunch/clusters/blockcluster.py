"""A session's cluster whose workers are ranks of its own job: rank 0, by dask-mpi.

There is no process beside it that holds the cluster: who asks how it is asks the scheduler, and
nobody can make it grow.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

from distributed import Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin

from hpclaunch.clusters import control
from hpclaunch.clusters.guard import GuardedScheduler
from hpclaunch.clusters.state import Journal, State
from hpclaunch.errors import UsageError
from hpclaunch.node import daskconfig
from hpclaunch.node.dask import CONTROL
from hpclaunch.node.daskconfig import Place
from hpclaunch.node.files import write_private_json
from hpclaunch.node.layout import Layout
from hpclaunch.node.spec import Block, Session

__all__ = ["BlockCluster", "BlockScheduler"]

log = logging.getLogger("hpclaunch.holder")


class BlockCluster(SchedulerPlugin):  # type: ignore[misc]
    """What a session's own parts ask about the cluster, beside the scheduler.

    Parameters
    ----------
    session : Session
    block : Block
    scheduler : Scheduler
        One that has started.
    """

    def __init__(self, session: Session, block: Block, scheduler: Scheduler) -> None:
        self._block = block
        self._scheduler = scheduler
        self._journal = Journal(session)
        self._keeping = asyncio.ensure_future(self._journal.keep(self._told))
        self._whole = False

    async def set_workers(self, workers: int) -> None:
        """Refuse, unless that is how many there are."""
        if workers != self._block.workers:
            self._refuse()

    def adapt_between(self, minimum: int, maximum: int) -> None:
        """Refuse."""
        self._refuse()

    def document(self) -> dict[str, Any]:
        """How the cluster is; the keys are those of `BatchCluster.document`."""
        workers = list(self._scheduler.workers.values())
        return {
            "scheduler": self._scheduler.address,
            "workers": self._block.workers,
            "adaptive": None,
            "present": len(workers),
            "jobs": [],
            "problem": None,
            "waits": None,
            "threads": self._block.threads,
            "memory": min((one.memory_limit for one in workers), default=0),
            "job_memory": self._block.memory,
        }

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """A rank has arrived; the session is told of the cluster once it is whole."""
        if len(scheduler.workers) == self._block.workers and not self._whole:
            self._whole = True
            log.info("all %d workers are here", self._block.workers)
            self._journal.publish(self._told())
        self._journal.changed()

    def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:
        """A rank has left; MPI ends the others too."""
        self._journal.changed()

    def _told(self) -> State:
        return State.of("running", "mpi", self.document())

    def _refuse(self) -> None:
        raise UsageError(
            f"this session's {self._block.workers} Dask workers are ranks of its own job: there "
            "can be no more and no fewer",
            hint="`hpclaunch start` with --dask mpi takes --nodes and --workers; with "
            "--dask jobqueue the number can change while it runs",
        )


class BlockScheduler(GuardedScheduler):
    """Rank 0 of a session; as soon as it runs, notebooks and the agent know where.

    Parameters
    ----------
    session : Session
    block : Block
    place : Place
    """

    def __init__(
        self, *args: Any, session: Session, block: Block, place: Place, **options: Any
    ) -> None:
        super().__init__(*args, dashboard_socket=place.dashboard_socket, **options)
        self._session, self._block, self._place = session, block, place

    async def start_unsafe(self) -> BlockScheduler:
        """Start it, and serve who asks for the cluster."""
        await super().start_unsafe()
        session, place = self._session, self._place
        cluster = BlockCluster(session, self._block, self)
        self.add_plugin(cluster, name="hpclaunch-block")
        await control.serve(str(Path(place.node_directory, CONTROL)), cluster, cluster.document)
        found = daskconfig.settings(session, place, self.address)
        write_private_json(session.path(Layout.DASK_FILE), found)
        log.info("the scheduler is at %s", self.address)
        return self
