"""`hpclaunch site check`: a site's profile against the live site, line by line."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from hpclaunch.checks.consistency import consistency
from hpclaunch.checks.line import Fix, Line, differs, verdict
from hpclaunch.checks.mend import write_profile
from hpclaunch.checks.repair import difference, mendable, repaired
from hpclaunch.checks.story import compare, visit
from hpclaunch.cli.start import interrupt_on_term, pausing, timeout_of
from hpclaunch.cli.tell import Progress, tell
from hpclaunch.errors import ProfileError, UsageError
from hpclaunch.keeper.client import KeeperClient
from hpclaunch.request import Request
from hpclaunch.sessions.book import Book
from hpclaunch.sessions.probe import Trip
from hpclaunch.sessions.way import Way
from hpclaunch.sites.catalog import LoadedSite, default_site, find, load

__all__ = ["PATIENCE", "Conversations", "check", "request_of_check"]

PATIENCE = 300.0  # seconds for the job to answer, where nobody says another number
_WORDS = {"holds": "holds", "differs": "differs", "unknown": "could not tell"}


def check(arguments: argparse.Namespace) -> int:
    """Hold a profile against its site; 1 where something differs."""
    timeout = timeout_of(arguments) or PATIENCE
    if arguments.offline and arguments.fix:
        raise UsageError("--fix with --offline: what the site is like is not known offline")
    name = arguments.site or default_site()
    find(name)
    try:
        loaded = load(name, arguments.settings)
    except ProfileError as error:
        return _present((differs("profile", error.what),), as_json=arguments.json)
    request = request_of_check(arguments)
    lines = tuple(consistency(loaded, request))
    if not arguments.offline:
        lines += _live(loaded, request, timeout=None if arguments.no_job else timeout)
    code = _present(lines, as_json=arguments.json)
    return _fix(loaded, lines) if arguments.fix and code else code


def request_of_check(arguments: argparse.Namespace) -> Request:
    """What the user asks for besides what the profile says."""
    try:
        return Request(
            queue=arguments.queue, account=arguments.account, environment=arguments.environment
        )
    except ValueError as error:
        raise UsageError(str(error)) from None


class Conversations(contextlib.ExitStack):
    """Conversations with the keeper of a way; each call opens one more that is connected."""

    def __init__(self, way: Way, progress: Progress) -> None:
        super().__init__()
        self._way = way
        self._progress = progress
        self._first: KeeperClient | None = None

    def __call__(self) -> KeeperClient:
        """The conversation; a new one where the last one may still wait for an answer."""
        keeper = self.enter_context(KeeperClient(self._way))
        keeper.connect(pausing(self._progress) if self._first is None else None)
        self._first = self._first or keeper
        return keeper


def _live(loaded: LoadedSite, request: Request, *, timeout: float | None) -> tuple[Line, ...]:
    interrupt_on_term()
    way = Way.of(loaded)
    with Progress() as progress, Conversations(way, progress) as reach:
        progress(f"connecting to {way}")
        trip = Trip(reach, way, Book(), loaded, request, progress)
        return tuple(compare(trip, visit(trip, timeout=timeout)))


def _present(lines: Sequence[Line], *, as_json: bool) -> int:
    if as_json:
        print(json.dumps([line.to_dict() for line in lines]))
    else:
        width = max(len(line.key) for line in lines)
        for line in lines:
            found = f"found {line.found}" if line.result == "differs" else line.found
            print(f"{line.key.ljust(width)}  {_WORDS[line.result]} ({found})")
    counts = {word: sum(line.result == word for line in lines) for word in _WORDS}
    tell(
        f"{counts['holds']} hold, {counts['differs']} differ, {counts['unknown']} could not be told"
    )
    return verdict(lines)


def _fix(loaded: LoadedSite, lines: Sequence[Line]) -> int:
    """Repair what can be; 0 where that is all that differed."""
    wrong = [line for line in lines if line.result == "differs"]
    mended = [line for line in wrong if line.fix is not None and mendable(loaded, line.fix)]
    left = [line.key for line in wrong if line not in mended]
    if mended:
        _rewrite(loaded.path, [line.fix for line in mended if line.fix is not None])
    if left:
        tell(f"cannot be repaired in {loaded.path.name}: {', '.join(left)}")
        tell("what a wrong value has caused may hold now: check again")
    return int(bool(left))


def _rewrite(path: Path, fixes: Sequence[Fix]) -> None:
    old = path.read_text(encoding="utf-8")
    new = repaired(old, fixes, datetime.now(UTC).date())
    for line in difference(old, new, path.name):
        tell(line)
    written = write_profile(path, new)
    if written.backup is None:
        tell(f"{path} is shipped with hpclaunch and stays as it is; yours is {written.path} now")
    else:
        tell(f"{path} is repaired; as it was it lies in {written.backup}")
