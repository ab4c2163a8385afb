"""The story of `hpclaunch doctor` on a site: the way there, the login node, the one-minute job."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from hpclaunch.checks.consistency import consistency
from hpclaunch.checks.line import Line
from hpclaunch.checks.node import check_job, check_node
from hpclaunch.checks.story import run_job
from hpclaunch.doctor.finding import Finding, fault, fine, untold
from hpclaunch.doctor.login import Place, examine_login, look_at_place
from hpclaunch.errors import HpclaunchError
from hpclaunch.request import Request
from hpclaunch.sessions.probe import Trip
from hpclaunch.sites.catalog import LoadedSite

__all__ = ["examine_job", "examine_profile", "examine_site"]

_NEXT = "`hpclaunch site check {}` holds the profile against the site, line by line"


def examine_profile(loaded: LoadedSite, request: Request) -> Iterator[Finding]:
    """Whether the profile agrees with itself."""
    wrong = [one for one in consistency(loaded, request) if one.result == "differs"]
    for one in wrong:
        next = _NEXT.format(f"{loaded.site.name} --offline")
        yield fault("laptop", "profile", f"{one.key}: {one.found}", next)
    if not wrong:
        yield fine("laptop", "profile", f"{loaded.path} agrees with itself")


def examine_site(trip: Trip) -> tuple[list[Finding], Place | None]:
    """The way to the login node, and what it says.

    Returns
    -------
    findings : list of Finding
    place : Place or None
        None where there was no way.
    """
    way, loaded = trip.way, trip.loaded
    began = time.monotonic()
    try:
        trip.tell(f"connecting to {way}")
        keeper = trip.reach()
        took = time.monotonic() - began
        found = [fine("login node", "connection", f"by {way.kind} to {way} in {took:.1f} s")]
        trip.tell("asking the login node")
        place = look_at_place(keeper, loaded, trip.request)
        return [*found, *examine_login(keeper, trip.book, loaded, place)], place
    except HpclaunchError as error:
        return [fault("login node", "connection", error)], None


def examine_job(trip: Trip, *, timeout: float) -> list[Finding]:
    """The one-minute job."""
    loaded = trip.loaded
    try:
        found, why = run_job(trip, timeout=timeout)
    except HpclaunchError as error:
        return [fault("job", "job", error)]
    if found is None:
        return [untold("job", "job", why)]
    lines: Sequence[Line] = [*check_job(found), *check_node(loaded, found.facts, "")]
    hint = found.error.hint if found.error is not None else ""
    findings = [_finding(one, loaded.site.name, hint) for one in lines if one.found]
    if found.facts is not None and loaded.site.scheduler.kind != "local":
        findings.append(fine("job", "node", _node(found.facts.python, found.facts.packages)))
    return findings


def _finding(line: Line, site: str, hint: str) -> Finding:
    if line.result == "holds":
        return fine("job", line.key, line.found)
    if line.result == "unknown":
        return untold("job", line.key, line.found)
    return fault("job", line.key, line.found, hint if line.key == "job" else _NEXT.format(site))


def _node(python: str, packages: Mapping[str, str]) -> str:
    return ", ".join([python, *(f"{name} {version}" for name, version in packages.items())])
