"""The story of `hpclaunch stop`: cancel the jobs, close the tunnel, remove what is secret."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from hpclaunch.errors import HpclaunchError, NoSuchSession
from hpclaunch.schedulers.base import JobState
from hpclaunch.sessions import access
from hpclaunch.sessions.book import Book
from hpclaunch.sessions.follow import Keeper, Tell
from hpclaunch.sessions.record import Record

__all__ = ["stop"]

_SETTLE = 60  # seconds for a submit under way to end
_LAST_BREATH = 40.0  # seconds for a cancelled job to be gone; SLURM's KillWait is 30
_DOWN = (JobState.LOST, JobState.ENDING)


def stop(reach: Callable[[], Keeper], book: Book, record: Record, tell: Tell) -> None:
    """End a session for good, and remove what it left on the site. Idempotent.

    Parameters
    ----------
    reach : callable
        A conversation with the keeper; only called where something may be on the site.

    Raises
    ------
    HpclaunchError
        If the site could not be reached or refused; the session stays on record then.
    """
    if book.remove(record.name, record.nonce, planned_only=True):
        return
    record = book.read(record.name)  # what is on the site may have come meanwhile
    if record.is_over:
        book.forget_secrets(record.name, record.nonce)
        if record.session_dir:
            _tidy(reach(), book, record)
        return
    keeper = reach()
    record = book.update(record.name, record.nonce, stopping=True)
    keeper.release(record.name)
    try:
        _end(keeper, book, record, tell)
    except BaseException:
        with contextlib.suppress(HpclaunchError):  # it lives on, as far as we know
            book.update(record.name, record.nonce, stopping=False)
            keeper.adopt(record.name)
        raise


def _end(keeper: Keeper, book: Book, record: Record, tell: Tell) -> None:
    if record.job_id is None:
        tell("waiting for the scheduler's answer to the submit")
        settled = access.settle(keeper, record, limit=_SETTLE)
        if settled.job_id is not None:
            record = book.update(record.name, record.nonce, job_id=settled.job_id)
    tell(f"cancelling {f'job {record.job_id}' if record.job_id else 'what was submitted'}")
    access.cancel_everything(keeper, record)
    _see_it_gone(keeper, record, tell)
    access.cancel_everything(keeper, record)  # workers that were submitted meanwhile
    access.clean(keeper, record, everything=True)
    try:
        book.update(
            record.name,
            record.nonce,
            outcome={"state": "ended", "error": None},
            session_dir="",
            tunnel=False,
            as_of=time.time(),
        )
    except NoSuchSession:  # another command was faster
        return
    book.forget_secrets(record.name, record.nonce)


def _tidy(keeper: Keeper, book: Book, record: Record) -> None:
    """Remove what a session that is over has left: its log, and what nobody could remove then."""
    outcome = dict(record.outcome or {})
    if outcome.pop("untidy", None):
        access.cancel_everything(keeper, record)
    access.clean(keeper, record, everything=True)
    with contextlib.suppress(NoSuchSession):
        book.update(record.name, record.nonce, outcome=outcome, session_dir="")


def _see_it_gone(keeper: Keeper, record: Record, tell: Tell) -> None:
    """Wait until the scheduler says that the job's processes are going."""
    if record.job_id is None:
        return
    deadline = time.monotonic() + _LAST_BREATH
    while time.monotonic() < deadline:
        state = access.job_status(keeper, record).state
        if state.is_final or (state in _DOWN and record.scheduler != "local"):
            return
        time.sleep(0.2)
    tell(f"job {record.job_id} is cancelled, but not gone after {_LAST_BREATH:.0f} s")
