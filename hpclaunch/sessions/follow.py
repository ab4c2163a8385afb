"""The story from a submitted job to a server that answers on the laptop, told as it goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import PurePath
from typing import Protocol

from hpclaunch.errors import HpclaunchError, SessionFailed
from hpclaunch.schedulers.base import Scheduler
from hpclaunch.sessions import access
from hpclaunch.sessions.book import Book
from hpclaunch.sessions.record import Record
from hpclaunch.transports.base import Ask

__all__ = ["Keeper", "Tell", "follow", "outcome_error", "progress"]

Tell = Callable[[str], None]
"""Tell the person one line of progress."""

_LOOK, _LAZY_LOOK = 0.05, 0.5  # seconds between two looks at the record, at first and at last
_LAZIER = 0.01  # of the time since the last news, until the next look
_ALIVE = 2.0  # seconds between two looks at the keeper
_TUNNEL_PATIENCE = 30.0  # seconds for a server that answers on its node, but not here


class Keeper(access.Runner, Protocol):
    """What a story needs of the keeper."""

    def connect(self, ask: Ask | None) -> None:
        """Make sure of a live connection."""

    def adopt(self, name: str) -> None:
        """Watch a session."""

    def release(self, name: str) -> None:
        """Let go of a session."""

    def alive(self) -> bool:
        """Make sure that a keeper is there; whether another had to be started."""


def follow(
    keeper: Keeper,
    book: Book,
    record: Record,
    tell: Tell,
    *,
    timeout: float | None = None,
    since: float | None = None,
) -> Record:
    """Wait until the session's server answers on the laptop, telling what happens meanwhile.

    Parameters
    ----------
    timeout : float, optional
        Seconds; waits for ever when left out.
    since : float, optional
        When they began to count, on the clock of ``time.monotonic``; by default now.

    Raises
    ------
    SessionFailed
        If the session is over, can never start, cannot be reached, or the time is up.
    """
    scheduler = access.scheduler_of(record)
    began = time.monotonic() if since is None else since
    deadline = None if timeout is None else began + timeout
    told, alive_at, trouble_since = "", time.monotonic(), None
    news_at = alive_at
    hopeless: float | None = None
    while True:
        record = book.read(record.name)
        if record.outcome is not None:
            raise outcome_error(record)
        if record.state == "ready":
            return record
        words = progress(record)
        now = time.monotonic()
        if words != told:
            tell(words)
            told, news_at = words, now
        hopeless = _refuse_the_hopeless(scheduler, record, hopeless)
        if record.rendezvous is not None and record.trouble is not None:
            trouble_since = trouble_since or now
            if now - trouble_since > _TUNNEL_PATIENCE:
                raise SessionFailed(
                    f"session {record.name} runs, but cannot be reached from here",
                    said=record.trouble,
                    hint=f"`hpclaunch attach {record.name}` tries again",
                )
        else:
            trouble_since = None
        if deadline is not None and now > deadline:
            raise SessionFailed(
                f"session {record.name} was not ready within {timeout:g} s; it is {words}",
                hint="give it longer with --timeout, or choose another queue",
            )
        if now - alive_at > _ALIVE:
            keeper.alive()
            alive_at = now
        time.sleep(min(max(_LOOK, (now - news_at) * _LAZIER), _LAZY_LOOK))


def _refuse_the_hopeless(scheduler: Scheduler, record: Record, since: float | None) -> float | None:
    """A pending job that can never start is a failure, however patient the user is.

    The scheduler must say so twice: between two of its cycles a reason can be a passing one.
    Returns when it was first said, for the next call.
    """
    if record.job_id is None or record.job.get("state") not in ("queued", "held"):
        return None
    status = access.status_on_record(record)
    why = scheduler.never_starts(status)
    if not why:
        return None
    if since is not None and record.as_of > since:
        raise SessionFailed(
            f"job {record.job_id} was accepted by {record.site} and can never start: {why}",
            said=f"{status.word} ({status.reason})",
            hint="ask for less, or for another queue: --walltime --memory --cores --nodes --queue",
        )
    return record.as_of if since is None else since


def progress(record: Record) -> str:
    """Where a session stands, in one line."""
    job = f"job {record.job_id}" if record.job_id else "the job"
    if record.trouble is not None:
        return f"unreachable: {record.trouble}"
    if record.rendezvous is not None:
        host = record.rendezvous.get("hostname")
        if record.batch is not None:
            return f"{PurePath(record.batch['script']).name} runs on {host}"
        return f"JupyterLab answers on {host}; opening the tunnel"
    state = record.job.get("state")
    if record.job.get("silent"):
        return f"{job} was {state or 'submitted'}; the scheduler does not answer now"
    nodes = ", ".join(record.job.get("nodes") or ())
    if state in ("running", "suspended"):
        what = "JupyterLab is" if record.batch is None else "its MPI ranks are"
        return f"{job} runs{f' on {nodes}' if nodes else ''}; {what} starting"
    if not state:
        return f"{job} is submitted" if record.job_id else "submitting"
    reason = record.job.get("reason")
    words = f"{job} is {state}" + (f" ({reason})" if reason and reason != "None" else "")
    start = record.job.get("expected_start")
    return words + (f", expected to start at {start.replace('T', ' ')}" if start else "")


def outcome_error(record: Record) -> HpclaunchError:
    """Why a session is over, as an error."""
    assert record.outcome is not None
    error = record.outcome.get("error")
    if error is None:
        return SessionFailed(f"session {record.name} has ended")
    return HpclaunchError.from_dict(error)
