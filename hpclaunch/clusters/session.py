"""The session's cluster as a notebook sees it: ``Client().cluster``.

Dask loads this module as a preload of every client of the session, and of the side bar.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import dask
from dask.utils import format_bytes
from distributed import Client, Status

from hpclaunch.clusters.control import ask
from hpclaunch.errors import HpclaunchError
from hpclaunch.node.dask import CONTROL

__all__ = ["SessionCluster", "dask_setup", "summary"]


class SessionCluster:
    """The cluster that the session's own process holds.

    It is made by ``Client()``; what it is asked goes to that process, so that notebook, side bar
    and ``hpclaunch scale`` all speak of the same workers.

    Attributes
    ----------
    scheduler_address, dashboard_link : str
    """

    def __init__(self) -> None:
        self._socket = str(Path(dask.config.get("hpclaunch.node-directory"), CONTROL))
        self.scheduler_address = str(dask.config.get("scheduler-address", ""))
        self.dashboard_link = str(dask.config.get("distributed.dashboard.link"))
        self.status = Status.running
        self.name = "hpclaunch"

    @property
    def is_here(self) -> bool:
        """Whether the holder runs on this node; a client in a worker cannot ask it."""
        return Path(self._socket).exists()

    def scale(self, n: int) -> None:
        """Have `n` workers from now on.

        Raises
        ------
        HpclaunchError
            If the scheduler refused jobs (with its words), or the site allows fewer.
        """
        ask(self._socket, {"workers": n})

    def adapt(self, minimum: int = 0, maximum: int | None = None) -> None:
        """Have as many workers as the computation can use.

        Parameters
        ----------
        minimum, maximum : int
            Bounds; the upper one is needed.

        Raises
        ------
        HpclaunchError
            If the bounds are none, or more than the site allows.
        """
        if maximum is None:
            raise TypeError("adapt() needs a maximum: jobs are charged to somebody")
        ask(self._socket, {"minimum": minimum, "maximum": maximum})

    def document(self) -> dict[str, Any]:
        """How it is: jobs with their state and reason, workers, and what the scheduler refused."""
        return ask(self._socket, {})

    def close(self, timeout: float | None = None) -> _Done:
        """Let all workers go: what ``Client.shutdown()`` asks for. The scheduler stays."""
        self.scale(0)
        return _Done()

    def __repr__(self) -> str:
        try:
            return f"SessionCluster({summary(self.document())})"
        except HpclaunchError as error:  # what is shown must not raise
            return f"SessionCluster({error})"

    def _repr_html_(self) -> str:
        return f"<p>The session's Dask cluster: {escape(repr(self))}</p>"


class _Done:
    """Nothing to wait for, for those who wait and those who do not."""

    def __await__(self) -> Any:
        yield from ()


def summary(document: dict[str, Any]) -> str:
    """One line about a cluster.

    Parameters
    ----------
    document : dict
        As `BatchCluster.document` gives it.
    """
    memory = format_bytes(document["memory"])
    words = [f"{document['present']} workers of {document['threads']} threads and {memory}"]
    states: dict[str, int] = {}
    for job in document["jobs"]:
        text = job["state"] + (f" ({job['reason']})" if job["reason"] else "")
        states[text] = states.get(text, 0) + 1
    words += [f"{number} jobs {state}" for state, number in states.items()]
    words += [f"refused: {document['problem']}"] if document["problem"] else []
    words += [document["waits"]] if document["waits"] else []
    return ", ".join(words)


def dask_setup(client: Client) -> None:
    """Give a client of the session's scheduler its cluster; called by Dask as a preload."""
    ours = dask.config.get("scheduler-address", None)
    if client.cluster is None and ours is not None and client.scheduler.address == ours:
        cluster = SessionCluster()
        if cluster.is_here:
            client.cluster = cluster
