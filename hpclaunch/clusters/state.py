"""``dask-state.json``: how the session's cluster is, for the agent and the laptop to read."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, field
from typing import Any

from hpclaunch.node.files import write_private_json
from hpclaunch.node.layout import Layout
from hpclaunch.node.spec import Session

__all__ = ["Journal", "State"]

_PAUSE = 0.3  # seconds between two writes: a thousand jobs come one after another


@dataclass(frozen=True)
class State:
    """What the file holds.

    Attributes
    ----------
    state : str
        ``"running"`` or ``"closed"``; the agent writes ``"dead"``.
    mode : str
    scheduler : str
        Address of the Dask scheduler.
    workers : int or None
        Workers asked for; None while the cluster adapts itself.
    jobs : list of dict
        The worker jobs that are not known to be over, as `BatchCluster.document` tells them.
    problem : str or None
        The batch scheduler's own words, where it refused a worker job.
    more : dict
        What else the cluster tells of itself.
    """

    state: str
    mode: str
    scheduler: str
    workers: int | None
    jobs: list[dict[str, Any]] = field(default_factory=list)
    problem: str | None = None
    more: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, state: str, mode: str, document: dict[str, Any]) -> State:
        """Put the document of a cluster into words for the file."""
        more = dict(document)
        told = {key: more.pop(key) for key in ("scheduler", "workers", "jobs", "problem")}
        return cls(state, mode, more=more, **told)


class Journal:
    """Keeps the state on disk, always whole. The file appears with `publish`."""

    def __init__(self, session: Session) -> None:
        self._path = session.path(Layout.DASK_STATE)
        self._stale = asyncio.Event()
        self._public = False

    def changed(self) -> None:
        """Note that the file does not tell the truth any more."""
        self._stale.set()

    async def keep(self, state: Any) -> None:
        """Write what `state()` returns whenever something has changed, for ever."""
        while True:
            await self._stale.wait()
            self._stale.clear()
            if self._public:
                self.write(state())
            await asyncio.sleep(_PAUSE)

    def publish(self, state: State) -> None:
        """Write the file, now and whenever something changes; the agent waits for it."""
        self._public = True
        self.write(state)

    def write(self, state: State) -> None:
        """Write the file, if it is public."""
        if self._public:
            write_private_json(self._path, asdict(state))
