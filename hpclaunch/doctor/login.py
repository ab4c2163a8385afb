"""How the way to a site is, and the user's place on its login node."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from hpclaunch.bundle import bundle
from hpclaunch.doctor.finding import Finding, fault, fine, untold
from hpclaunch.errors import HpclaunchError
from hpclaunch.plan import make_plan
from hpclaunch.remote import remote_command
from hpclaunch.request import Request
from hpclaunch.sessions.book import Book
from hpclaunch.sessions.follow import Keeper
from hpclaunch.sessions.probe import command_time
from hpclaunch.sessions.start import first_look
from hpclaunch.sites.catalog import LoadedSite
from hpclaunch.survey.take import take

__all__ = ["Place", "examine_login", "look_at_place"]

_SKEW = 60.0  # seconds that clocks may differ
_LEAST = 200 * 10**6  # bytes; hpclaunch's own modules and a session's files need less
_LEAST_FILES = 2000
_SLOW = 2.0  # seconds of one answer


@dataclass(frozen=True)
class Place:
    """What the login node says of itself and the user's place there.

    Attributes
    ----------
    facts : dict of str to str
    base : str or None
        Where sessions lie; None where that is not known.
    sessions : tuple of str
        Names of the session directories there.
    quota : tuple of str
        Lines of ``quota``.
    answer : float
        Seconds of a command there, at best.
    skew : float
        Seconds that its clock is ahead of the laptop's.
    """

    facts: dict[str, str]
    base: str | None
    sessions: tuple[str, ...] = ()
    quota: tuple[str, ...] = ()
    answer: float = 0.0
    skew: float = 0.0


def look_at_place(keeper: Keeper, loaded: LoadedSite, request: Request) -> Place:
    """Ask the login node.

    Raises
    ------
    HpclaunchError
        If it does not answer as it should.
    """
    base = _base(loaded, request)
    answer = command_time(keeper)
    before = time.time()
    facts = first_look(keeper, loaded.site.name, base or "~", bundle().key)
    after = time.time()
    told = keeper.run(remote_command("doctor.sh", facts["base"]), timeout=90.0)
    more = list(_pairs(told.stdout))
    return Place(
        base=None if base is None else facts["base"],
        facts={**facts, **dict(more)},
        sessions=tuple(value for key, value in more if key == "session"),
        quota=tuple(value for key, value in more if key == "quota"),
        answer=answer,
        # `date` says whole seconds; half a second is what they lack on average.
        skew=int(facts["time"]) + 0.5 - (before + after) / 2,
    )


def _base(loaded: LoadedSite, request: Request) -> str | None:
    """Where sessions lie on the site; None where that needs values that nobody has given."""
    request = replace(request, account=request.account or loaded.site.account or "<ACCOUNT>")
    base = make_plan(loaded, request, name="doctor", draft=True).base
    return None if "<" in base else base


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            yield key, value


def examine_login(
    keeper: Keeper, book: Book, loaded: LoadedSite, place: Place
) -> Iterator[Finding]:
    """What the login node said, judged; then its scheduler is asked."""
    facts = place.facts
    yield fine("login node", "system", f"{facts['host']}, {facts.get('system', 'unknown system')}")
    words = f"an answer takes {1000 * place.answer:.0f} ms"
    if place.answer > _SLOW:
        next = "a network or a login node that is overloaded; try again, or another login node"
        yield fault("login node", "latency", words, next)
    else:
        yield fine("login node", "latency", words)
    if loaded.site.scheduler.kind != "local":
        auth = facts.get("auth", "").strip()
        told = fine("login node", "login by", auth) if auth else None
        yield told or untold("login node", "login by", "the host does not say")
        yield _clock(place.skew)
        yield from _scheduler(keeper, loaded)
    yield from _room(place)
    yield _left(book, place)


def _clock(skew: float) -> Finding:
    words = f"the clock there is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this one"
    if abs(skew) > _SKEW:
        next = "set the clock of this laptop by the network; if it is right, tell the help desk"
        return fault("login node", "clock", words, next)
    return fine("login node", "clock", words)


def _scheduler(keeper: Keeper, loaded: LoadedSite) -> Iterator[Finding]:
    kind = loaded.site.scheduler.kind
    try:
        survey = take(keeper.run)
    except HpclaunchError as error:
        yield fault("login node", "scheduler", error)
        return
    if survey.scheduler is None:
        why = "; ".join(survey.notes[:2]) or "none was recognized"
        next = "where only login shells find it, say so: login.prologue in the profile"
        yield fault("login node", "scheduler", f"{kind} does not answer ({why})", next)
    elif survey.scheduler != kind:
        next = f"`hpclaunch site check {loaded.site.name}` compares it all"
        words = f"it is {survey.scheduler}, and the profile says {kind}"
        yield fault("login node", "scheduler", words, next)
    else:
        yield fine("login node", "scheduler", survey.release or kind)


def _room(place: Place) -> Iterator[Finding]:
    base = place.base
    if base is None:
        yield untold("login node", "place", "paths.base needs values that nobody has given")
        return
    writable = place.facts.get("writable", "")
    if writable == "yes":
        yield fine("login node", "place", f"{base} can be written")
    else:
        next = "choose another place with --set paths.base=/another/directory"
        yield fault("login node", "place", f"{base} cannot be written: {writable}", next)
    mode = place.facts.get("mode", "")
    if mode and mode[4:10] != "------":
        words = f"others can look into {base} ({mode})"
        yield fault("login node", "place", words, f"chmod 700 {base}")
    room, files = _first(place.facts.get("room")), _first(place.facts.get("files"))
    words = "unknown" if room is None else f"{room * 1024 / 1e9:.1f} GB"
    words += " and " + ("unknown" if files is None else f"{files}") + " files are free"
    if (room is not None and room * 1024 < _LEAST) or (files is not None and files < _LEAST_FILES):
        yield fault("login node", "room", words, f"remove files, or move {base} elsewhere")
    elif room is None:
        yield untold("login node", "room", "the file system gives no answer")
    else:
        yield fine("login node", "room", words)
    for line in place.quota:
        if "*" in line:
            yield fault("login node", "quota", f"exceeded: {line}", "remove files")
    if place.quota and not any("*" in line for line in place.quota):
        yield fine("login node", "quota", f"not exceeded ({len(place.quota)} file systems)")


def _first(text: str | None) -> int | None:
    """The first number; file systems that count no files say ``0 -``."""
    words = (text or "").split()
    if len(words) < 2 or not words[0].isdigit() or words[1] == "-":
        return None
    return int(words[0])


def _left(book: Book, place: Place) -> Finding:
    known = {record.session_dir.rpartition("/")[2] for record in book}
    others = [name for name in place.sessions if name not in known]
    words = f"{len(place.sessions)} session directories"
    if others:
        words += f", {len(others)} of them not of this laptop's record ({', '.join(others[:5])})"
    return fine("login node", "sessions", words)
