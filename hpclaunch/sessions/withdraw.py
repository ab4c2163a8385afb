"""The story of a start that came to nothing: no job, no secret, and the reason on record."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from hpclaunch.errors import HpclaunchError, NoSuchSession, SessionFailed, SubmitError
from hpclaunch.sessions import access
from hpclaunch.sessions.book import Book
from hpclaunch.sessions.follow import Keeper, Tell
from hpclaunch.sessions.record import Record
from hpclaunch.sessions.stop import stop

__all__ = ["withdraw"]


def withdraw(
    reach: Callable[[], Keeper], book: Book, record: Record, error: BaseException, tell: Tell
) -> None:
    """Take back what a failed or interrupted start has left, on the site and on the laptop.

    A failure stays on record without its secrets, so that `why` can say it again; an interrupt
    leaves nothing.

    Parameters
    ----------
    reach : callable
        A new conversation with the keeper; the old one may still wait for an answer.
    error : BaseException
        Why the start ended. Gets the last lines of the job's log where it has none.

    Raises
    ------
    HpclaunchError
        If a job or a file may be left on the site; the session stays on record then.
    """
    try:
        record = book.read(record.name)
    except NoSuchSession:
        return
    if record.is_over:
        return
    failed = isinstance(error, HpclaunchError)
    if record.submitting is not None:
        if not failed:
            tell("interrupted; cancelling (once more to give up, the record stays)")
        keeper = reach()
        if isinstance(error, SubmitError):  # nothing was submitted, so there is nothing to find
            keeper.release(record.name)
            access.clean(keeper, record, everything=True)
            book.update(record.name, record.nonce, session_dir="")
        else:
            if isinstance(error, SessionFailed) and error.log is None:
                error.log = access.log_tail(keeper, record) or None
            stop(lambda: keeper, book, record, (lambda _: None) if failed else tell)
    if not isinstance(error, HpclaunchError):
        with contextlib.suppress(NoSuchSession):
            book.remove(record.name, record.nonce)
        return
    outcome = {"state": "failed", "error": error.to_dict()}
    book.update(record.name, record.nonce, outcome=outcome, tunnel=False, as_of=time.time())
    book.forget_secrets(record.name, record.nonce)
