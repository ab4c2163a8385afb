"""`hpclaunch list`, `status`, `why` and `stop`."""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from datetime import UTC, datetime
from typing import Any

from hpclaunch.cli.ask import asker
from hpclaunch.cli.tell import table, tell
from hpclaunch.errors import HpclaunchError, KeeperError, UsageError
from hpclaunch.keeper.client import KeeperClient
from hpclaunch.sessions import access
from hpclaunch.sessions.book import Book
from hpclaunch.sessions.cluster import ask_cluster, cluster_lines
from hpclaunch.sessions.follow import progress
from hpclaunch.sessions.record import Record, as_of_text
from hpclaunch.sessions.stop import stop as stop_session
from hpclaunch.sessions.way import Way

__all__ = ["list_all", "status", "stop", "why"]

_REFRESH = 5.0  # seconds that a site gets to say something new
IDLE_HINT = (
    "start again; --set session.idle_limit=8h allows more idle hours, --set session.idle_limit=0 "
    "lets it live until its walltime is over"
)


def list_all(arguments: argparse.Namespace) -> int:
    """All sessions of all sites and their state."""
    book = Book()
    seen = _refreshed(book, list(book), connect=arguments.refresh)
    documents = [document(record, reachable) for record, reachable in seen]
    for trouble in book.unreadable():
        tell("\n".join(trouble.lines()))
    if arguments.json:
        print(json.dumps(documents))
        return 0
    if not documents:
        tell("no sessions; `hpclaunch start SITE` makes one")
        return 0
    rows = [
        (
            str(one["name"]),
            str(one["site"]),
            str(one["state"]),
            str(one["job"] or "-"),
            _words(one),
            _age(one["as_of"]),
        )
        for one in documents
    ]
    print(table(("NAME", "SITE", "STATE", "JOB", "WHAT", "AS OF"), rows))
    return 0


def status(arguments: argparse.Namespace) -> int:
    """One session, now."""
    book = Book()
    record, reachable = _refreshed_one(book, arguments.name)
    one = document(record, reachable)
    dask = _cluster(book, record, one["state"])
    if dask is not None:
        one["dask"] = dask
    if (words := _scaling_waits(record, one["state"])) is not None:
        one["waits"] = words
    if arguments.json:
        print(json.dumps(one))
        return 0
    one.pop("dask", None)
    waits = one.pop("waits", None)
    for key, value in one.items():
        print(f"{key.replace('_', ' ')}: {'-' if value is None else value}")
    if record.outcome is not None and record.outcome["error"] is not None:
        print("\n".join(HpclaunchError.from_dict(record.outcome["error"]).lines()))
    elif record.url is not None and one["state"] == "ready":
        print(f"url: {record.url}/lab (`hpclaunch attach {record.name}` opens it)")
    if dask is not None:
        print("\n".join(cluster_lines(dask)))
    if waits is not None:
        print(waits)
    return 0


def _cluster(book: Book, record: Record, state: str) -> dict[str, Any] | None:
    """How the session's Dask cluster is; None without one, or while nothing answers."""
    if state != "ready" or record.dask is None:
        return None
    try:
        return ask_cluster(record, book.token(record.name), timeout=_REFRESH)
    except HpclaunchError as error:
        tell("\n".join(error.lines()))
        return None


def why(arguments: argparse.Namespace) -> int:
    """The cause of a failure or of waiting, the evidence, and what to do next."""
    book = Book()
    record, reachable = _refreshed_one(book, arguments.name)
    found = reasons(record, reachable)
    if arguments.json:
        print(json.dumps(found))
        return 0
    print(found["cause"])
    for line in found["evidence"]:
        print(f"  {line}")
    if found["next"]:
        print(f"next: {found['next']}")
    return 0


def stop(arguments: argparse.Namespace) -> int:
    """Cancel jobs, close tunnels, remove remote secrets; idempotent."""
    book = Book()
    if bool(arguments.names) == arguments.all:
        raise UsageError(
            "stop: name the sessions, or say --all", hint="`hpclaunch list` shows their names"
        )
    records = (
        [record for record in book if not record.is_over or record.untidy]
        if arguments.all
        else [book.read(name) for name in dict.fromkeys(arguments.names)]
    )
    failed = 0
    for record in records:
        try:
            _stop_one(book, record)
            tell(f"session {record.name} is stopped")
        except HpclaunchError as error:
            failed += 1
            tell("\n".join(error.lines()))
    return 1 if failed else 0


def _stop_one(book: Book, record: Record) -> None:
    with contextlib.ExitStack() as stack:

        def reach() -> KeeperClient:
            keeper = stack.enter_context(KeeperClient(Way.from_dict(record.target)))
            keeper.connect(asker())
            return keeper

        stop_session(reach, book, record, tell)


def reasons(record: Record, reachable: bool) -> dict[str, Any]:
    """What `why --json` prints, as the contract says: ``{"cause", "evidence", "next"}``."""
    name, error = record.name, (record.outcome or {}).get("error")
    if record.untidy:
        ended = error["what"] if error else (record.outcome or {}).get("reason") or "it has ended"
        return {
            "cause": f"{ended}; something may be left on the site",
            "evidence": [record.untidy],
            "next": f"`hpclaunch stop {name}` removes it",
        }
    if error is not None:
        evidence = [*(error["said"] or "").splitlines(), *(error["log"] or "").splitlines()]
        return {"cause": error["what"], "evidence": evidence, "next": error["hint"]}
    if (ended := (record.outcome or {}).get("reason")) is not None:
        return {"cause": ended, "evidence": [], "next": IDLE_HINT}
    state = document(record, reachable)["state"]
    if state == "ready" and record.batch is not None:
        return {"cause": f"nothing is wrong: {progress(record)}", "evidence": [], "next": None}
    if state in ("queued", "starting"):
        status = access.status_on_record(record)
        never = access.scheduler_of(record).never_starts(status)
        words = f"{status.word} ({status.reason})" if status.word else ""
        return {
            "cause": f"it can never start: {never}" if never else progress(record),
            "evidence": [words] if words else [],
            "next": f"`hpclaunch stop {name}`, and ask for less" if never else None,
        }
    if state == "unreachable":
        return {
            "cause": record.trouble or "no program on this laptop holds its connection",
            "evidence": [
                f"last heard of: {_age(document(record, reachable)['as_of'])}",
                *([waits] if (waits := _scaling_waits(record, state)) else []),
            ],
            "next": f"`hpclaunch attach {name}` connects again",
        }
    refused = ((record.rendezvous or {}).get("dask") or {}).get("problem")
    if refused:
        return {
            "cause": "Dask workers were refused by the scheduler",
            "evidence": str(refused).splitlines(),
            "next": "the tables [dask] and [[queues]] of the site's profile say what is asked for",
        }
    return {"cause": f"nothing is wrong: it is {state}", "evidence": [], "next": None}


def _scaling_waits(record: Record, state: str) -> str | None:
    """That scaling waits for this very laptop, in words, where it does."""
    if record.workers is None or state != "unreachable":
        return None
    return (
        "scaling waits: this laptop submits the session's worker jobs, and is not connected "
        f"(`hpclaunch attach {record.name}` connects it)"
    )


def idle_limit(record: Record) -> str | None:
    """After how long without use the session ends by itself, in words; None never."""
    limit = (record.profile.get("session") or {}).get("idle_limit")
    return None if limit in (None, "0") or record.batch is not None else str(limit)


def document(record: Record, reachable: bool) -> dict[str, Any]:
    """What `list --json` prints of one session, as the contract says."""
    state: str = record.state
    if not reachable and state == "ready":
        state = "unreachable"
    error = (record.outcome or {}).get("error")
    ended = (record.outcome or {}).get("reason")
    reason = error["what"] if error else ended or record.trouble or record.job.get("reason") or None
    return {
        "name": record.name,
        "kind": "session" if record.batch is None else "batch",
        "site": record.site,
        "state": state,
        "job": record.job_id,
        "reason": None if reason == "None" else reason,
        "expected_start": record.job.get("expected_start"),
        "ends_at": record.ends_at.isoformat() if record.ends_at else None,
        "idle_limit": idle_limit(record),
        "exit": record.exit_code,
        "as_of": as_of_text(record),
    }


def _refreshed(book: Book, records: list[Record], *, connect: bool) -> list[tuple[Record, bool]]:
    """The records as fresh as live connections make them, and whether each site is connected.

    Asks for no secret unless `connect` is true; `local` needs none.
    """
    live: dict[str, list[Record]] = {}
    for record in records:
        if not record.is_over and record.submitting is not None:
            live.setdefault(json.dumps(record.target, sort_keys=True), []).append(record)
    reachable: set[str] = set()
    began = time.time()
    for target, sessions in live.items():
        way = Way.from_dict(json.loads(target))
        connecting = connect or way.kind == "local"
        try:
            with KeeperClient(way, start=connecting) as keeper:
                if connecting:
                    keeper.connect(asker())
                if not keeper.status()["connected"]:
                    continue
                reachable.update(record.name for record in sessions)
                for record in sessions:
                    keeper.adopt(record.name)
                _await_news(book, sessions, began)
        except HpclaunchError as error:
            if connecting or not isinstance(error, KeeperError):
                tell("\n".join(error.lines()))
    out = []
    for record in records:
        with contextlib.suppress(HpclaunchError):
            out.append((book.read(record.name), record.name in reachable))
    return out


def _refreshed_one(book: Book, name: str) -> tuple[Record, bool]:
    """One session as `_refreshed` has it.

    Raises
    ------
    NoSuchSession
        Also where it went off the record meanwhile.
    """
    found = _refreshed(book, [book.read(name)], connect=False)
    return found[0] if found else (book.read(name), False)


def _await_news(book: Book, sessions: list[Record], since: float) -> None:
    deadline = time.monotonic() + _REFRESH
    while time.monotonic() < deadline:
        with contextlib.suppress(HpclaunchError):
            now = [book.read(record.name) for record in sessions]
            if all(_is_news(record, since) for record in now):
                return
        time.sleep(0.05)


def _is_news(record: Record, since: float) -> bool:
    """Whether the site was heard since, and a server that answers there is reached or is not."""
    told = record.rendezvous is None or record.tunnel or record.trouble is not None
    return record.is_over or (record.as_of >= since and told)


def _words(one: dict[str, Any]) -> str:
    if one["state"] == "ready" and one["ends_at"]:
        return f"until {datetime.fromisoformat(one['ends_at']).astimezone():%Y-%m-%d %H:%M}"
    words = str(one["reason"] or ("" if one["exit"] is None else f"exit code {one['exit']}"))
    if one["expected_start"] and one["state"] == "queued":
        words += f" expected {one['expected_start'].replace('T', ' ')}"
    return words.strip() or "-"


def _age(as_of: str | None) -> str:
    if as_of is None:
        return "-"
    seconds = (datetime.now(UTC) - datetime.fromisoformat(as_of)).total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return "now" if seconds < 5 else f"{seconds:.0f} s ago"
