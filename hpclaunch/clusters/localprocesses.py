"""Dask workers as processes of the session's own job, on a site without a scheduler."""

from __future__ import annotations

import asyncio
from typing import Any

from distributed import Nanny, Security, SpecCluster

from hpclaunch.clusters.control import check_bounds, check_number
from hpclaunch.clusters.guard import GuardedScheduler
from hpclaunch.clusters.workerjob import jobs_of
from hpclaunch.node.daskconfig import Place
from hpclaunch.node.layout import LOOPBACK_ANY
from hpclaunch.node.spec import Session

__all__ = ["LocalProcesses"]


class LocalProcesses(SpecCluster):  # type: ignore[misc]
    """Like ``distributed.LocalCluster``, which takes no scheduler class.

    Parameters
    ----------
    session : Session
    place : Place
    """

    def __init__(self, session: Session, place: Place) -> None:
        self._jobs = jobs_of(session)
        self._wanted: int | None = session.workers
        self._bounds: dict[str, int] | None = None
        common = {"host": place.address, "protocol": session.protocol, "security": Security()}
        pages = {"dashboard_address": LOOPBACK_ANY}
        worker = {
            **common,
            **pages,
            "dashboard": False,
            "nthreads": self._jobs.cores,
            "memory_limit": self._jobs.memory,
        }
        scheduler = {
            **common,
            **pages,
            "port": 0,
            "dashboard": True,
            "dashboard_socket": place.dashboard_socket,
        }
        super().__init__(
            scheduler={"cls": GuardedScheduler, "options": scheduler},
            worker={"cls": Nanny, "options": worker},
            security=Security(),
            asynchronous=True,
            name="local",
        )

    async def set_workers(self, workers: int) -> None:
        """Have so many workers from now on.

        Raises
        ------
        UsageError
            If that is no number of workers.
        """
        check_number(workers)
        adaptive = getattr(self, "_adaptive", None)
        if adaptive is not None:
            adaptive.stop()
        self._wanted, self._bounds = workers, None
        self.scale(workers)
        await self._correct_state()

    def adapt_between(self, minimum: int, maximum: int) -> None:
        """Have as many workers as the computation can use, within bounds.

        Raises
        ------
        UsageError
            If the bounds are none.
        """
        check_bounds(minimum, maximum)
        self._wanted, self._bounds = None, {"minimum": minimum, "maximum": maximum}
        self.adapt(minimum=minimum, maximum=maximum)

    def document(self) -> dict[str, Any]:
        """How the cluster is; the keys are those of `BatchCluster.document`."""
        scheduler = self.scheduler
        return {
            "scheduler": self.scheduler_address,
            "workers": self._wanted,
            "adaptive": self._bounds,
            "present": len(scheduler.workers) if scheduler is not None else 0,
            "jobs": [],
            "problem": None,
            "waits": None,
            "threads": self._jobs.cores,
            "memory": self._jobs.memory,
            "job_memory": None,
        }

    async def follow(self) -> None:
        """Wait for ever: the nannies watch their workers."""
        await asyncio.Event().wait()
