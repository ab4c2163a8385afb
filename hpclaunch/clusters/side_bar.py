"""The session's cluster in the side bar of dask-labextension; NEW never makes a second one.

dask-labextension makes what Dask's configuration names as its factory for each click on NEW, and
speaks to it in Jupyter's own event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator
from dataclasses import dataclass
from typing import Any, ClassVar

from hpclaunch.clusters.session import SessionCluster

__all__ = ["Bounds", "SideBarCluster"]

_TICK = 0.2  # seconds between two looks for the holder
_PATIENCE = 600.0  # seconds for it to come up


@dataclass(frozen=True)
class Bounds:
    """What the side bar shows of a cluster that adapts itself."""

    minimum: int
    maximum: int


class SideBarCluster(SessionCluster):
    """The session's own cluster, with what the side bar asks of one.

    Raises
    ------
    RuntimeError
        If it is in the side bar already.
    """

    shown: ClassVar[bool] = False

    def __init__(self, *, asynchronous: bool = True) -> None:
        if SideBarCluster.shown:
            raise RuntimeError(
                "this session has one cluster, and it is in the list: scale it there, "
                "or by client.cluster.scale(N)"
            )
        SideBarCluster.shown = True
        super().__init__()

    def __await__(self) -> Generator[Any, Any, SideBarCluster]:
        return self._come_up().__await__()

    async def _come_up(self) -> SideBarCluster:
        """Wait for the process that holds the cluster: it starts beside Jupyter."""
        waited = 0.0
        while not self.is_here:
            if waited > _PATIENCE:
                SideBarCluster.shown = False
                raise RuntimeError("the session's Dask cluster did not come up")
            await asyncio.sleep(_TICK)
            waited += _TICK
        self.scheduler_address = str((await asyncio.to_thread(self.document))["scheduler"])
        return self

    @property
    def scheduler_info(self) -> dict[str, Any]:
        """The workers, as far as the side bar counts them."""
        told = self.document()
        one = {"nthreads": told["threads"], "memory_limit": told["memory"]}
        return {"workers": {str(number): one for number in range(told["present"])}}

    def scale(self, n: int) -> Awaitable[None]:  # type: ignore[override]
        """Have `n` workers; Jupyter goes on while the scheduler answers."""
        return asyncio.to_thread(super().scale, n)

    def adapt(self, minimum: int = 0, maximum: int | None = None) -> Bounds:  # type: ignore[override]
        """Have as many workers as the computation can use."""
        super().adapt(minimum, maximum)
        return Bounds(minimum, int(maximum or 0))

    async def close(self, timeout: float | None = None) -> None:  # type: ignore[override]
        """Let all workers go, for SHUTDOWN; NEW shows the same cluster again."""
        await self.scale(0)
        SideBarCluster.shown = False
