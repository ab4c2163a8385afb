"""`hpclaunch logs`."""

from __future__ import annotations

import argparse
import sys
import time

from hpclaunch.cli.ask import asker
from hpclaunch.errors import HpclaunchError, UsageError
from hpclaunch.keeper.client import KeeperClient
from hpclaunch.node.layout import Layout
from hpclaunch.sessions.access import read_file
from hpclaunch.sessions.book import Book
from hpclaunch.sessions.way import Way

__all__ = ["logs"]

_FOLLOW = 1.0  # seconds between two looks at a growing log


def logs(arguments: argparse.Namespace) -> int:
    """The job's output."""
    if arguments.lines is not None and arguments.lines < 1:
        raise UsageError(f"-n {arguments.lines}: must be a positive number")
    book = Book()
    record = book.read(arguments.name)
    if not record.session_dir:
        raise HpclaunchError(
            f"session {record.name} has no log"
            + (": it went with the session" if record.submitting else ": it was never submitted"),
            hint=f"`hpclaunch why {record.name}` says what is known of it",
        )
    log = f"{record.session_dir}/{Layout.LOG}"
    with KeeperClient(Way.from_dict(record.target)) as keeper:
        keeper.connect(asker())
        if arguments.lines is None:
            size = _write_from(keeper, log, 0)
        else:
            size, text = read_file(keeper, log, "lines", arguments.lines)
            sys.stdout.write(text)
        while arguments.follow:
            sys.stdout.flush()
            over = book.read(record.name).is_over
            size = _write_from(keeper, log, size)
            if over:
                break
            time.sleep(_FOLLOW)
    return 0


def _write_from(keeper: KeeperClient, log: str, start: int) -> int:
    """Write what a log holds behind byte `start`; returns its size."""
    size, text = read_file(keeper, log, "from", start)
    sys.stdout.write(text)
    return size
