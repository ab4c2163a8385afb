"""The sessions under a keeper's watch: who is watched, and what is not worth a record."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from hpclaunch.errors import NoSuchSession
from hpclaunch.keeper.tunnel import Tunnels
from hpclaunch.sessions.book import Book
from hpclaunch.sessions.record import Record

__all__ = ["FIRST_QUERY", "SHORTEST_QUERY", "Batch", "Register", "Watched"]

FIRST_QUERY = 0.5  # seconds until the scheduler is first asked for a job
SHORTEST_QUERY = 2.0  # seconds at least between two questions for it
_FRESH = 30.0  # seconds after the submit, or after the job began to run


@dataclass
class Watched:
    """One session under watch.

    Attributes
    ----------
    fresh_since : float
        When it was submitted, began to run, or somebody began to wait for it.
    known : str
        What its files said last; see `access.read_words`.
    settled : bool
        Whether the slow look at files has it in hand right now.
    next_query, interval : float
        When the scheduler is asked again, and how long the last pause was; seconds.
    absent : int
        How often in a row the scheduler did not know the job.
    gone : int
        How often in a row its directory was missing from among the sessions'.
    concluding : bool
        Whether its end is being looked into right now.
    """

    name: str
    nonce: str
    fresh_since: float = field(default_factory=time.time)
    known: str = ""
    settled: bool = False
    next_query: float = 0.0
    interval: float = FIRST_QUERY
    absent: int = 0
    gone: int = 0
    concluding: bool = False

    @property
    def is_fresh(self) -> bool:
        """Whether something may be heard of it any moment."""
        return time.time() - self.fresh_since < _FRESH

    def hurry(self) -> None:
        """Ask the scheduler again as soon as its pauses allow."""
        asked = self.next_query - self.interval
        self.next_query = min(self.next_query, asked + SHORTEST_QUERY)

    def look_closely(self) -> None:
        """Look and ask at once, and often."""
        self.fresh_since = time.time()
        self.next_query, self.interval = 0.0, FIRST_QUERY


Batch = list[tuple[Watched, Record]]


class Register:
    """The watched sessions, with their records.

    Parameters
    ----------
    book : Book
    tunnels : Tunnels
        A session that leaves the register loses its tunnel.
    """

    def __init__(self, book: Book, tunnels: Tunnels) -> None:
        self.book = book
        self._tunnels = tunnels
        self._watched: dict[str, Watched] = {}
        self.changed = threading.Condition()

    def adopt(self, name: str) -> None:
        """Watch the session of that name; one that is over is left alone.

        Raises
        ------
        NoSuchSession
        """
        record = self.book.read(name)
        if record.is_over:
            return
        if record.tunnel and not self._tunnels.is_open(name):
            # The keeper of before died with it: nobody may believe in it until there is another.
            self.book.update(name, record.nonce, tunnel=False)
        with self.changed:
            watched = self._watched.get(name)
            if watched is None or watched.nonce != record.nonce:
                self._watched[name] = Watched(name, record.nonce)
            else:
                watched.look_closely()
            self.changed.notify_all()

    def release(self, name: str, nonce: str | None = None) -> None:
        """Let go of a session, its tunnel too; with `nonce` only if it is still that one."""
        with self.changed:
            watched = self._watched.get(name)
            if nonce is not None and watched is not None and watched.nonce != nonce:
                return
            self._watched.pop(name, None)
        self._tunnels.close(name)

    def names(self) -> list[str]:
        """The sessions under watch."""
        return list(self._watched)

    def all(self) -> list[Watched]:
        """Every watched session."""
        return list(self._watched.values())

    def batch(self, wanted: Callable[[Watched, Record], bool]) -> Batch:
        """The sessions of which `wanted` is true, with their records.

        Sessions that are over, off the record or being concluded are left out.
        """
        batch = []
        for watched in self.all():
            try:
                record = self.book.read(watched.name)
            except NoSuchSession:
                self.release(watched.name)
                continue
            if record.nonce != watched.nonce or record.is_over:
                self.release(watched.name)
            elif not (watched.concluding or record.stopping) and wanted(watched, record):
                batch.append((watched, record))
        return batch

    def update(self, watched: Watched, **facts: object) -> Record | None:
        """Write new facts into a session's record; None where it is off the record."""
        try:
            return self.book.update(watched.name, watched.nonce, **facts)
        except NoSuchSession:
            self.release(watched.name)
            return None
