"""``dask-state.json``: how the session's cluster is, for the agent and the laptop to read."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace

from hpclaunch.node.files import write_private_json
from hpclaunch.node.layout import Layout
from hpclaunch.node.spec import Session

__all__ = ["Journal", "State"]


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
    workers : int
        Workers asked for.
    jobs : tuple of str
        Ids of the worker jobs that have been submitted and not been cancelled.
    problem : str or None
        The scheduler's own words, where it refused a worker job.
    """

    state: str
    mode: str
    scheduler: str
    workers: int
    jobs: tuple[str, ...] = field(default=())
    problem: str | None = None


class Journal:
    """Keeps the state on disk, always whole. The file appears with `publish`."""

    def __init__(self, session: Session) -> None:
        self._path = session.path(Layout.DASK_STATE)
        self._state: State | None = None
        self._public = False

    @property
    def state(self) -> State:
        """What the file holds now.

        Raises
        ------
        RuntimeError
            Before `opened`.
        """
        if self._state is None:
            raise RuntimeError("the cluster is not up yet")
        return self._state

    def opened(self, state: State) -> None:
        """Note that the scheduler is up."""
        self._write(state)

    def publish(self) -> None:
        """Write the file from now on; the agent waits for it. Idempotent."""
        if not self._public:
            self._public = True
            self._write(self.state)

    def submitted(self, job: str) -> None:
        """Note a worker job that is in the queue."""
        self._write(replace(self.state, jobs=(*self.state.jobs, job)))

    def cancelled(self, job: str) -> None:
        """Note a worker job that is no more."""
        left = tuple(one for one in self.state.jobs if one != job)
        self._write(replace(self.state, jobs=left))

    def refused(self, words: str) -> None:
        """Note that the batch scheduler refused a worker job, in its words."""
        self._write(replace(self.state, problem=words))

    def closed(self) -> None:
        """Note the end."""
        self._write(replace(self.state, state="closed"))

    def _write(self, state: State) -> None:
        self._state = state
        if self._public:
            write_private_json(self._path, asdict(state))
