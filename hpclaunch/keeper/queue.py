"""Ask the scheduler for the jobs of all sessions, in one query, backing off from 2 to 60 s.

The longer nothing has changed, the longer the next pause: a tenth of that time. So a change in the
first minute is heard of within 6 s at most, and a job that waits for hours costs the site one query
a minute. The end of a session that answers is not waited for here: see `pulse`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence

from hpclaunch.errors import CommandTimeout, HpclaunchError, SchedulerError
from hpclaunch.keeper.link import Link
from hpclaunch.keeper.orders import Orders, Question
from hpclaunch.keeper.register import SHORTEST_QUERY, Batch, Register, Watched
from hpclaunch.schedulers.base import JobState, JobStatus, Scheduler
from hpclaunch.sessions import access
from hpclaunch.sessions.record import Record

__all__ = ["Queue"]

_LONGEST_QUERY = 60.0
_BACK_OFF = 0.1  # of the time since the last change, until the next query
_STARTING = 4.0  # seconds at most, while a job runs and its server does not answer yet
_LATE = "its answer is late"
_SILENCE = 8.0  # seconds without an answer until the person is told
_NO_ID = 15.0  # seconds after a submit without answer until the job is looked for by its name
_NEVER_ENDED = 900.0  # seconds until a submit that began was killed on its way
_NEVER_CAME = access.SUBMIT_TIMEOUT + 30.0  # seconds until a job that cannot be found never was


class Queue:
    """Knows what the scheduler says of the watched jobs."""

    def __init__(
        self,
        register: Register,
        link: Link,
        orders: Orders,
        conclude: Callable[[Watched], None],
    ) -> None:
        self._register = register
        self._link = link
        self._orders = orders
        self._conclude = conclude
        self._changed_at: dict[str, float] = {}  # by nonce: when the scheduler's word changed last

    def ask(self) -> bool:
        """Ask for every job whose time has come; False if there is none."""
        now = time.time()
        nameless = self._register.batch(
            lambda watched, record: (
                record.job_id is None
                and record.submitting is not None
                and now - record.submitting > _NO_ID
                and now >= watched.next_query
            )
        )
        for watched, record in nameless:
            self._find_by_name(watched, record)
        batch = self._register.batch(lambda _, record: record.job_id is not None)
        # One login may lead to several: clusters of one SLURM, spools of this machine.
        schedulers: dict[Scheduler, Batch] = {}
        for watched, record in batch:
            schedulers.setdefault(access.scheduler_of(record), []).append((watched, record))
        due = [
            (scheduler, jobs)
            for scheduler, jobs in schedulers.items()
            if any(now >= watched.next_query for watched, _ in jobs)
        ]
        for scheduler, jobs in due:
            self._ask_one(scheduler, jobs)
        return bool(nameless or due)

    def _ask_one(self, scheduler: Scheduler, batch: Batch) -> None:
        """Ask one scheduler for all of its jobs, worker jobs that a session asks for included."""
        by_id = {record.job_id: watched for watched, record in batch if record.job_id}
        questions = [(watched, self._orders.question(watched, scheduler)) for watched, _ in batch]
        ids = [*by_id, *(one for _, question in questions for one in question.ids)]
        # squeue asks a silent slurmctld for more than a minute before it gives up.
        alarm = threading.Timer(_SILENCE, self._all_silent, [batch, questions])
        alarm.start()
        try:
            said = self._link.transport.run(scheduler.status_command(ids), timeout=60.0)
        except CommandTimeout:
            for watched, _ in batch:
                self._ask_again(watched, changed=False)
            raise
        finally:
            alarm.cancel()
        statuses = scheduler.parse_status(said, ids)
        for job_id, watched in by_id.items():
            self._note(watched, statuses[job_id])
        for watched, question in questions:
            self._orders.heard(watched, question, statuses)

    def _note(self, watched: Watched, status: JobStatus) -> None:
        """Write a job's status into its record, and decide when to ask again."""
        record = self._register.book.read(watched.name)
        if record.is_over or record.stopping:
            return
        if status.state is JobState.UNKNOWN and not status.word:
            self._silent(watched, record)
            return
        facts = access.job_facts(status)
        runs = status.state is JobState.RUNNING
        if runs and record.ran_at is None:
            watched.fresh_since = time.time()
        absent = status.state is JobState.LOST
        watched.absent = watched.absent + 1 if absent else 0
        if absent:
            self._ask_again(watched, changed=True)
        else:
            self._register.update(
                watched,
                job=facts,
                as_of=time.time(),
                ran_at=record.ran_at or (time.time() if runs else None),
            )
            starts = runs and record.rendezvous is None
            self._ask_again(
                watched,
                changed=facts != record.job,
                longest=_STARTING if starts else _LONGEST_QUERY,
                calm=runs and record.serves,
            )
        if status.state.is_final or watched.absent >= 2:
            self._conclude(watched)

    def _silent(self, watched: Watched, record: Record) -> None:
        """The scheduler does not answer: nothing is known, least of all that the job is gone."""
        if not record.job.get("silent"):
            self._register.update(watched, job={**record.job, "silent": True})
        self._ask_again(watched, changed=False)

    def _all_silent(self, batch: Batch, questions: Sequence[tuple[Watched, Question]]) -> None:
        """The answer is late; another thread may know more than the question did."""
        for watched, question in questions:
            late = {one: JobStatus(one, JobState.UNKNOWN, reason=_LATE) for one in question.ids}
            with contextlib.suppress(HpclaunchError):
                self._orders.heard(watched, question, late)
        for watched, _ in batch:
            with contextlib.suppress(HpclaunchError):
                self._silent(watched, self._register.book.read(watched.name))

    def _ask_again(
        self,
        watched: Watched,
        *,
        changed: bool,
        longest: float = _LONGEST_QUERY,
        calm: bool = False,
    ) -> None:
        now = time.time()
        if changed:
            self._changed_at[watched.nonce] = now
        since = now - self._changed_at.setdefault(watched.nonce, now)
        pause = _LONGEST_QUERY if calm else since * _BACK_OFF
        watched.interval = min(max(pause, SHORTEST_QUERY), longest)
        watched.next_query = now + watched.interval

    def _find_by_name(self, watched: Watched, record: Record) -> None:
        """A submit whose answer nobody read: look for the job by its unique name."""
        try:
            ids = access.find_jobs(self._link.transport, record, record.job_name)
        except SchedulerError:
            self._silent(watched, record)
            return
        if ids:
            self._register.update(watched, job_id=ids[0], job={}, as_of=time.time())
        elif (waited := time.time() - (record.submitting or 0.0)) > _NEVER_CAME:
            # The scheduler's answer may lie in the session's directory; where the submit has not
            # begun it never can from now on.
            settled = access.settle(self._link.transport, record, limit=1)
            if settled.job_id is not None:
                self._register.update(watched, job_id=settled.job_id, job={}, as_of=time.time())
            elif not settled.open or waited > _NEVER_ENDED:
                self._conclude(watched)
        self._ask_again(watched, changed=bool(ids))
