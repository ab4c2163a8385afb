"""The story of a batch that somebody waits for: its place in the queue, its output, its end."""

from __future__ import annotations

import time

from hpclaunch.errors import SessionFailed, TransportError
from hpclaunch.node.layout import Layout
from hpclaunch.sessions import access
from hpclaunch.sessions.book import Book
from hpclaunch.sessions.follow import Keeper, Tell, follow
from hpclaunch.sessions.record import Record

__all__ = ["begin", "output"]

_LOOK = 1.0  # seconds between two looks at the output


def begin(
    keeper: Keeper,
    book: Book,
    record: Record,
    tell: Tell,
    *,
    timeout: float | None,
    since: float,
) -> Record:
    """Wait until the script runs, or the batch is over; telling what happens meanwhile.

    Raises
    ------
    SessionFailed
        If it can never start, or the time is up; not if it has failed, see its record.
    """
    try:
        return follow(keeper, book, record, tell, timeout=timeout, since=since)
    except SessionFailed:
        record = book.read(record.name)
        if record.outcome is None:
            raise
        return record


def output(keeper: Keeper, book: Book, record: Record, tell: Tell, show: Tell) -> Record:
    """Show the job's output as it comes, until the batch is over.

    Parameters
    ----------
    show : callable
        Takes a piece of the output, with its newlines.

    Returns
    -------
    Record
        With its outcome.
    """
    size, told = 0, record.trouble
    while True:
        record = book.read(record.name)
        if record.trouble != told:
            told = record.trouble
            tell(f"unreachable: {told}" if told else "reachable again")
        if record.session_dir:
            try:
                size, text = access.read_file(
                    keeper, f"{record.session_dir}/{Layout.LOG}", "from", size
                )
                show(text)
            except TransportError:  # the keeper mends it, and the record tells
                pass
        if record.outcome is not None:
            return record
        time.sleep(_LOOK)
        keeper.alive()
