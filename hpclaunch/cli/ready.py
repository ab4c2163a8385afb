"""What `start` and `attach` show of a session that is ready, and while they stay with it."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from hpclaunch.cli.arrivals import Arrivals
from hpclaunch.cli.board import board_here
from hpclaunch.cli.sessions import idle_limit
from hpclaunch.cli.tell import tell
from hpclaunch.keeper.client import KeeperClient
from hpclaunch.sessions.book import Book
from hpclaunch.sessions.follow import outcome_error
from hpclaunch.sessions.record import Record

__all__ = ["ready_document", "stay"]

_SLEPT = 5.0  # seconds between two looks that are meant to be half a second apart


def stay(keeper: KeeperClient, book: Book, record: Record, arguments: argparse.Namespace) -> int:
    """Tell where it is, open the browser, and stay until interrupted or over."""
    token = book.token(record.name)
    url = f"{record.url}/lab?token={token}"
    if arguments.json:
        print(json.dumps(ready_document(record, token)), flush=True)
    else:
        print(url, flush=True)
        tell(f"session {record.name} is ready; it ends at {_clock(record)}")
        for line in _dask_words(record):
            tell(line)
    if (limit := idle_limit(record)) is not None:
        tell(f"unused for {limit} it ends by itself, with its workers (session.idle_limit)")
    if not arguments.no_browser:
        from hpclaunch.cli.browser import open_browser

        open_browser(book.directory(record.name) / "open.html", url)
    if arguments.detach:
        return 0
    if sys.stderr.isatty():
        tell(f"Ctrl-C lets go of the terminal; `hpclaunch stop {record.name}` ends the session")
    board = None if arguments.json else board_here()
    try:
        with Arrivals(record, token, board) as arrivals:
            return _watch(keeper, book, record, arrivals)
    except KeyboardInterrupt:
        tell(f"session {record.name} lives on; `hpclaunch attach {record.name}` opens it again")
        return 130


def _dask_words(record: Record) -> list[str]:
    """What there is to say of the session's Dask cluster."""
    dask = (record.rendezvous or {}).get("dask")
    if not dask:
        return []
    lines = ["Dask: Client() in a notebook finds the session's cluster"]
    if dask.get("dashboard", True):
        lines = [f"Dask dashboard: {record.url}/dask/status (Client() in a notebook finds it)"]
    else:
        lines.append(
            "warning: no Dask dashboard: the environment's jupyter-server-proxy is "
            f"missing or too old (`hpclaunch logs {record.name}` says which)"
        )
    if dask.get("problem"):
        lines.append(f"warning: Dask workers were refused by the scheduler: {dask['problem']}")
    return lines


def _watch(keeper: KeeperClient, book: Book, record: Record, arrivals: Arrivals) -> int:
    """Tell what happens to a ready session, until it is over."""
    told, outage, url = record.trouble, record.outage, record.url
    while True:
        seen = time.time()
        time.sleep(0.5)
        restarted = keeper.alive()  # takes its time, in which nobody slept
        slept = time.time() - seen
        if slept > _SLEPT and not restarted:
            tell(f"{record.name}: this laptop slept for {slept:.0f} s")
        record = book.read(record.name)
        if record.outcome is not None:
            if record.outcome["error"] is not None:
                raise outcome_error(record)
            tell(f"session {record.name} has {record.outcome.get('reason') or 'ended'}")
            return 0
        if record.trouble is None and record.outage != outage and record.outage and not told:
            tell(f"{record.name}: unreachable for a moment: {record.outage['why']}")
            tell(f"{record.name}: reachable again")
        elif record.trouble != told:
            told = record.trouble
            words = f"unreachable: {told}" if told else "reachable again"
            tell(f"{record.name}: {words}")
        outage = record.outage
        arrivals.look(record)
        if record.url != url:
            url = record.url
            tell(f"{record.name}: its port was taken; it is now at {url}/lab?token=…")
            tell(f"`hpclaunch attach {record.name}` opens it there")


def ready_document(record: Record, token: str) -> dict[str, Any]:
    """What `start --json` prints, as the contract says."""
    assert record.rendezvous is not None
    dask = record.rendezvous.get("dask")
    nodes = record.job.get("nodes") or [record.rendezvous.get("hostname")]
    return {
        "name": record.name,
        "site": record.site,
        "state": record.state,
        "url": f"{record.url}/lab?token={token}",
        "token": token,
        "job": {"id": record.job_id, "scheduler": record.scheduler, "node": nodes[0]},
        "dask": dask
        and {
            "mode": dask["mode"],
            "dashboard": f"{record.url}/dask/status" if dask.get("dashboard", True) else None,
            "scheduler": dask["scheduler"],
            "workers": dask["workers"],
            "problem": dask.get("problem"),
        },
        "ends_at": record.ends_at.isoformat() if record.ends_at else None,
        "timings": {
            key: round(seconds, 3) if (seconds := record.timings.get(key)) is not None else None
            for key in ("connect", "submit", "queue", "server", "tunnel")
        },
    }


def _clock(record: Record) -> str:
    ends = record.ends_at
    return ends.astimezone().strftime("%Y-%m-%d %H:%M") if ends else "no set time"
