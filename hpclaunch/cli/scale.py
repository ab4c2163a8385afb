"""`hpclaunch scale`: more or fewer Dask workers in a session, fixed or adaptive."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from hpclaunch.cli.arrivals import Arrivals
from hpclaunch.cli.board import board_here
from hpclaunch.cli.tell import tell
from hpclaunch.errors import SessionError, UsageError
from hpclaunch.sessions.book import Book
from hpclaunch.sessions.cluster import ask_cluster, cluster_lines
from hpclaunch.sessions.follow import outcome_error
from hpclaunch.sessions.record import Record

__all__ = ["scale"]

_TICK = 0.2  # seconds


def scale(arguments: argparse.Namespace) -> int:
    """Ask the session's cluster for workers, and print how it is then."""
    request = _request(arguments)
    book = Book()
    record = book.read(arguments.name)
    if record.is_over:
        raise SessionError(
            f"session {record.name} is over", hint=f"`hpclaunch why {record.name}` says why"
        )
    if record.batch is not None:
        raise SessionError(
            f"{record.name} is a batch job: its workers are ranks of MPI, no more and no fewer",
            hint="`hpclaunch batch` takes --nodes and --workers-per-node",
        )
    if record.dask is None:
        raise SessionError(
            f"session {record.name} was started without Dask workers",
            hint="`hpclaunch start --workers N` starts one with a cluster",
        )
    if record.dask["mode"] == "mpi":
        raise SessionError(
            f"the workers of {record.name} are ranks of its own job: no more and no fewer",
            hint="`hpclaunch start` with --dask mpi takes --nodes and --workers; with "
            "--dask jobqueue the number can change while it runs",
        )
    if record.state != "ready":
        raise SessionError(
            f"session {record.name} is {record.state}, and cannot be asked",
            hint=f"`hpclaunch attach {record.name}` connects to it; then scale again",
        )
    token = book.token(record.name)
    document = ask_cluster(record, token, request)
    board = None if arguments.json or not sys.stdout.isatty() else board_here()
    if board is not None and document["workers"] is not None:
        return _watch(book, record, Arrivals(record, token, board), document)
    if arguments.json:
        print(json.dumps(document))
    else:
        print("\n".join(cluster_lines(document)))
    return 0


def _watch(book: Book, record: Record, arrivals: Arrivals, document: dict[str, Any]) -> int:
    """Stay until all workers are there; the session goes on without us."""
    tell(cluster_lines(document)[0])
    try:
        with arrivals:
            arrivals.show(record, document)
            while arrivals.awaited:
                time.sleep(_TICK)
                record = book.read(record.name)
                if record.outcome is not None:
                    raise outcome_error(record)
                arrivals.look(record)
    except KeyboardInterrupt:
        tell(f"they are asked for all the same; `hpclaunch status {record.name}` shows them")
        return 130
    return 0


def _request(arguments: argparse.Namespace) -> dict[str, int]:
    bounds = (arguments.min, arguments.max)
    if arguments.workers is not None and bounds == (None, None):
        return {"workers": arguments.workers}
    if arguments.workers is None and None not in bounds:
        return {"minimum": arguments.min, "maximum": arguments.max}
    raise UsageError(
        "scale: say how many workers",
        hint=f"hpclaunch scale {arguments.name} N, or --min A --max B to let it adapt itself",
    )
