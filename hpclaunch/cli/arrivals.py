"""How the Dask workers of a session arrive: a table on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from hpclaunch.cli.board import Board
from hpclaunch.cli.tell import table, tell
from hpclaunch.errors import HpclaunchError
from hpclaunch.sessions.cluster import arrival_rows, arrival_words, ask_cluster, present_words
from hpclaunch.sessions.record import Record

__all__ = ["Arrivals"]

_ANSWER = 3.0  # seconds for the cluster to answer
_OFTEN, _SELDOM = 1.0, 5.0  # seconds between two looks at workers that start, or whose jobs wait
_HEADS = ("JOB", "STATE", "REASON", "EXPECTED START", "WORKERS")


class Arrivals:
    """Shows the worker jobs of a session until all workers that were asked for are there.

    A context manager.

    Parameters
    ----------
    record : Record
    token : str
        Jupyter's.
    board : Board, optional
        Where the table is drawn; without one, changes are told in lines.

    Attributes
    ----------
    awaited : bool
        Whether there are workers to wait for.
    """

    def __init__(self, record: Record, token: str, board: Board | None = None) -> None:
        self.awaited = record.dask is not None and bool(record.rendezvous)
        self._token = token
        self._board = board
        self._told: str | None = None
        self._next = time.monotonic()

    def __enter__(self) -> Arrivals:
        if self._board is not None:
            self._board.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._board is not None:
            self._board.__exit__(kind, error, trace)

    def look(self, record: Record) -> None:
        """Ask the cluster, where it is time to, and show what has changed."""
        if self._board is not None:
            self._board.keep()
        if not self.awaited or not record.tunnel or time.monotonic() < self._next:
            return
        try:
            self.show(record, ask_cluster(record, self._token, timeout=_ANSWER))
        except HpclaunchError:
            self._next = time.monotonic() + _SELDOM  # what is wrong with it is told by others

    def show(self, record: Record, document: dict[str, Any]) -> None:
        """Show how the cluster is; see `ask_cluster` for the `document`."""
        asked = document["workers"]
        self.awaited = asked is not None and document["present"] < asked
        waits = any(job["state"] == "queued" for job in document["jobs"])
        self._next = time.monotonic() + (_SELDOM if waits else _OFTEN)
        if self._board is not None:
            self._board.show(lambda rows: _lines(record.name, document, rows))
        elif (words := arrival_words(document)) != self._told:
            self._told = words
            tell(f"{record.name}: Dask: {words}")


def _lines(name: str, document: dict[str, Any], rows: int) -> list[str]:
    """At most so many lines: how many workers there are, what is wrong, and their jobs."""
    lines = [f"{name}: Dask: {present_words(document)}"]
    if document["problem"]:
        lines.append(f"the scheduler refused more: {document['problem']}")
    if document.get("waits"):
        lines.append(document["waits"])
    jobs = arrival_rows(document, max(1, rows - len(lines) - 1))
    return [*lines, *(table(_HEADS, jobs).splitlines() if jobs else [])]
