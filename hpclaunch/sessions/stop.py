"""The story of `hpclaunch stop`: cancel the jobs, close the tunnel, remove what is secret."""

from __future__ import annotations

import time

from hpclaunch.errors import NoSuchSession, SchedulerError
from hpclaunch.schedulers.base import JobState
from hpclaunch.script import remote_command
from hpclaunch.sessions import access
from hpclaunch.sessions.record import Book, Record
from hpclaunch.sessions.start import Keeper, Tell
from hpclaunch.shell import Completed

__all__ = ["stop"]

_SETTLE = 60  # seconds for a submit under way to end
_LAST_BREATH = 40.0  # seconds for a cancelled job to be gone; SLURM's KillWait is 30
_DOWN = (JobState.LOST, JobState.ENDING)


def stop(keeper: Keeper, book: Book, record: Record, tell: Tell) -> None:
    """End a session for good. Idempotent; needs a live connection where a job may exist.

    Raises
    ------
    HpclaunchError
        If the site could not be reached or refused; the session stays on record then.
    """
    if record.is_over:
        return
    if record.submitting is None:
        book.remove(record.name, record.nonce)
        return
    record = book.update(record.name, record.nonce, stopping=True)
    keeper.release(record.name)
    if record.job_id is None:
        record = _settle(keeper, book, record, tell)
    tell(f"cancelling {f'job {record.job_id}' if record.job_id else 'what was submitted'}")
    access.cancel_everything(keeper, record)
    _see_it_gone(keeper, record)
    access.cancel_everything(keeper, record)  # workers that were submitted meanwhile
    access.clean(keeper, record, everything=True)
    try:
        book.update(
            record.name,
            record.nonce,
            outcome={"state": "ended", "error": None},
            tunnel=False,
            as_of=time.time(),
        )
    except NoSuchSession:  # another command was faster
        return
    book.forget_secrets(record.name)


def _settle(keeper: Keeper, book: Book, record: Record, tell: Tell) -> Record:
    """Learn the id of a job whose submit was interrupted, or make sure that it can never come."""
    tell("waiting for the scheduler's answer to the submit")
    folder = record.session_dir.rpartition("/")[2]
    said = keeper.run(
        remote_command("settle.sh", record.base, folder, str(_SETTLE)), timeout=_SETTLE + 30.0
    )
    verdict, _, words = said.stdout.partition("\n")
    if verdict != "submitted":
        return record  # never, or still open: then it is looked for by its name
    code, _, words = words.partition("\n")
    scheduler = access.scheduler_of(record)
    try:
        job_id = scheduler.parse_submit(
            Completed.of(scheduler.submit_command(), int(code) if code.isdigit() else 1, words)
        )
    except SchedulerError:
        return record  # refused, or accepted without a word: it is looked for by its name
    return book.update(record.name, record.nonce, job_id=job_id)


def _see_it_gone(keeper: Keeper, record: Record) -> None:
    """Wait until the scheduler says that the job's processes are going."""
    if record.job_id is None:
        return
    deadline = time.monotonic() + _LAST_BREATH
    while time.monotonic() < deadline:
        state = access.job_status(keeper, record).state
        if state.is_final or (state in _DOWN and record.scheduler != "local"):
            return
        time.sleep(0.2)
