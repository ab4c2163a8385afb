"""Serve the sessions whose worker jobs the laptop submits: orders in, answers out.

Lists of orders are looked at in one remote command for all sessions, a few seconds apart. The
states of worker jobs come with the one query that `queue` makes for everything. See
`hpclaunch.sessions.orders` for what a session may order.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpclaunch.errors import HpclaunchError, TransportError
from hpclaunch.keeper.link import Link
from hpclaunch.keeper.register import Register, Watched
from hpclaunch.schedulers.base import JobState, JobStatus, Scheduler
from hpclaunch.sessions import access
from hpclaunch.sessions.errands import carry_out, read_lists, tell
from hpclaunch.sessions.orders import OrderList, read_list
from hpclaunch.sessions.record import Record

__all__ = ["Orders", "Question"]

_CALL = 8  # seconds of one look at the lists
_BUSY_TICK, _CALM_TICK = 0.5, 3.0  # seconds between two looks of it
_BUSY = 60.0  # seconds after the last order
_MOST_AT_ONCE, _EVERY = 30, 2.0  # orders in a row; then one in so many seconds
_REASON = 300  # characters

_log = logging.getLogger("hpclaunch.keeper.orders")


@dataclass(frozen=True)
class Question:
    """What is to be asked about the worker jobs of one session.

    Attributes
    ----------
    ids : tuple of str
    look : int
        The number of the session's wish to know.
    """

    ids: tuple[str, ...] = ()
    look: int = 0


@dataclass
class _Desk:
    """One session's orders, as this keeper has them in hand.

    Attributes
    ----------
    known : str
        What its list was last; see `read_lists`.
    told : dict
        What came of the orders that are still listed, by number.
    done : int
        The number of the last order whose outcome was told.
    looked, wants_look : int
        The session's last wish to know the states that was fulfilled, and the last one at all.
    over : set of str
        Worker jobs that are over, of submissions of which others may live.
    missing : set of str
        Worker jobs that the scheduler did not know once.
    tokens, filled : float
        How many orders may be carried out at once, and when that was last counted.
    """

    known: str = ""
    told: dict[str, Any] = field(default_factory=dict)
    done: int = 0
    looked: int = 0
    wants_look: int = 0
    jobs: list[dict[str, Any]] = field(default_factory=list)
    over: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    tokens: float = _MOST_AT_ONCE
    filled: float = field(default_factory=time.monotonic)
    telling: threading.Lock = field(default_factory=threading.Lock)

    def may_go_on(self) -> bool:
        """Whether another order may be carried out now; schedulers are shared."""
        now = time.monotonic()
        self.tokens = min(_MOST_AT_ONCE, self.tokens + (now - self.filled) / _EVERY)
        self.filled = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Orders:
    """Carries out what the sessions of one site order."""

    def __init__(self, register: Register, link: Link) -> None:
        self._register = register
        self._link = link
        self._desks: dict[str, _Desk] = {}
        self._busy_until = 0.0
        self._amending = threading.Lock()

    def serve(self) -> bool:
        """Look for orders, and carry them out; False if no session can have any."""
        batch = self._register.batch(
            lambda _, record: bool(record.workers and record.submitting and record.session_dir)
        )
        self._desks = {watched.nonce: self._desk(watched) for watched, _ in batch}
        if not batch:
            return False
        desks = [self._desk(watched) for watched, _ in batch]
        busy = time.monotonic() < self._busy_until or any(one.is_fresh for one, _ in batch)
        known, texts = read_lists(
            self._link.transport,
            [record for _, record in batch],
            [desk.known for desk in desks],
            limit=_CALL,
            tick=_BUSY_TICK if busy else _CALM_TICK,
        )
        whole = True
        for (watched, record), desk, now_known, text in zip(
            batch, desks, known, texts, strict=True
        ):
            if now_known != desk.known and self._take(watched, record, desk, text):
                desk.known = now_known
            whole = whole and now_known == desk.known
        if not whole:
            time.sleep(_BUSY_TICK)
        return True

    def question(self, watched: Watched, scheduler: Scheduler) -> Question:
        """What is to be asked for `heard`, where the session wants to know the states."""
        desk = self._desks.get(watched.nonce)
        if desk is None or desk.wants_look <= desk.looked:
            return Question()
        look = desk.wants_look  # before the record is read: it holds what was ordered until then
        return Question(_tasks(scheduler, self._register.book.read(watched.name)), look)

    def heard(
        self, watched: Watched, question: Question, statuses: Mapping[str, JobStatus]
    ) -> None:
        """Tell a session what the scheduler says of its worker jobs."""
        desk = self._desks.get(watched.nonce)
        if desk is None or question.look <= desk.looked:
            return
        found = [statuses[one] for one in question.ids]
        lost = {status.id for status in found if status.state is JobState.LOST}
        final = {status.id for status in found if status.state.is_final}
        over = final | lost & desk.missing
        desk.missing = lost - over
        desk.over = desk.over | over
        desk.jobs, desk.looked = _alike(found), question.look
        record = self._amend(watched, desk)
        if record is not None:
            self._tell(record, desk)

    def _desk(self, watched: Watched) -> _Desk:
        return self._desks.setdefault(watched.nonce, _Desk())

    def _take(self, watched: Watched, record: Record, desk: _Desk, text: str) -> bool:
        """Carry out a list; returns whether all of it could be."""
        if not text.strip():
            return True
        try:
            wanted = read_list(text, record.nonce)
        except ValueError as error:
            _log.warning("%s: a list of orders was not taken: %s", record.name, error)
            return True
        if wanted.orders:
            self._busy_until = time.monotonic() + _BUSY
        return self._serve(watched, desk, wanted)

    def _serve(self, watched: Watched, desk: _Desk, wanted: OrderList) -> bool:
        listed = {str(order.number) for order in wanted.orders}
        desk.told = {number: told for number, told in desk.told.items() if number in listed}
        record = self._register.book.read(watched.name)
        for order in wanted.orders:
            if record.nonce != watched.nonce or record.is_over or record.stopping:
                return True
            if order.number <= record.orders.get("done", 0):
                continue  # each is carried out once
            if not desk.may_go_on():
                return False
            done = carry_out(self._link.transport, record, order, self._live(record, desk))
            if done is None:
                return False
            _log.info("%s: %s: %s", record.name, order, done)
            desk.over = desk.over | set(done.over)
            changed = self._amend(watched, desk, jobs=done.jobs)
            if changed is None or changed.is_over or changed.stopping:
                # It was ended meanwhile, perhaps before this job could be found by its name.
                self._cancel(record, list(done.jobs))
                return True
            # First told, then on record: a keeper that dies in between carries it out again, which
            # does no harm; the other way round the session would wait for ever.
            desk.told, desk.done = {**desk.told, str(order.number): done.told}, order.number
            self._tell(changed, desk)
            record = self._amend(watched, desk, done=order.number) or changed
        if wanted.look > desk.wants_look:
            desk.wants_look = wanted.look
            watched.hurry()
        return True

    def _cancel(self, record: Record, ids: Sequence[str]) -> None:
        scheduler = access.scheduler_of(record)
        for command in scheduler.cancel_commands(ids) if ids else []:
            scheduler.parse_cancel(self._link.transport.run(command))

    def _live(self, record: Record, desk: _Desk) -> int:
        """How many worker jobs may live."""
        tasks = _tasks(access.scheduler_of(record), record)
        return len([one for one in tasks if one not in desk.over])

    def _amend(
        self,
        watched: Watched,
        desk: _Desk,
        *,
        jobs: Mapping[str, int] | None = None,
        done: int | None = None,
    ) -> Record | None:
        """Write new submissions and the last order into the record; leave out what is over.

        Two threads have something to write.
        """
        with self._amending:
            record = self._register.book.read(watched.name)
            scheduler = access.scheduler_of(record)
            known = {**record.orders.get("jobs", {}), **(jobs or {})}
            left = {}
            for job, copies in known.items():
                tasks = set(scheduler.ids_of_copies(job, copies))
                if job in desk.over or tasks <= desk.over:
                    desk.over = desk.over - tasks - {job}
                else:
                    left[job] = copies
            number = record.orders.get("done", 0) if done is None else done
            orders = {"done": number, "jobs": left}
            return self._register.update(watched, orders=orders)

    def _tell(self, record: Record, desk: _Desk) -> None:
        with desk.telling:
            answers = {
                "nonce": record.nonce,
                "done": max(desk.done, record.orders.get("done", 0)),
                "told": desk.told,
                "looked": desk.looked,
                "jobs": desk.jobs,
            }
            try:
                tell(self._link.transport, record, answers)
            except TransportError:
                raise
            except HpclaunchError as error:
                _log.warning("\n".join(error.lines()))


def _tasks(scheduler: Scheduler, record: Record) -> tuple[str, ...]:
    """The ids of all worker jobs on record, copy by copy."""
    jobs = record.orders.get("jobs", {})
    return tuple(
        one for job, copies in jobs.items() for one in scheduler.ids_of_copies(job, copies)
    )


def _alike(statuses: Sequence[JobStatus]) -> list[dict[str, Any]]:
    """States as the session is told them: one entry for jobs of which the same is said."""
    found: dict[tuple[str, ...], list[str]] = {}
    for status in statuses:
        start = status.expected_start
        key = (
            status.state.value,
            status.word,
            status.reason[:_REASON],
            start.isoformat() if start else "",
        )
        found.setdefault(key, []).append(status.id)
    names = ("state", "word", "reason", "expected_start")
    return [{**dict(zip(names, key, strict=True)), "ids": ids} for key, ids in found.items()]
