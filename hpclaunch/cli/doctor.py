"""`hpclaunch doctor`: one report of laptop, login node and a one-minute job."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import json
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from hpclaunch.cli.check import PATIENCE, Conversations, request_of_check
from hpclaunch.cli.start import interrupt_on_term, timeout_of
from hpclaunch.cli.tell import Progress
from hpclaunch.doctor.finding import Finding, Report, fault
from hpclaunch.doctor.laptop import examine_laptop
from hpclaunch.doctor.login import Place
from hpclaunch.doctor.redact import Redactor
from hpclaunch.doctor.story import examine_job, examine_profile, examine_site
from hpclaunch.errors import ProfileError
from hpclaunch.request import Request
from hpclaunch.sessions.book import Book
from hpclaunch.sessions.probe import Trip
from hpclaunch.sessions.way import Way
from hpclaunch.sites.catalog import LoadedSite, default_site, find, load

__all__ = ["doctor"]


def doctor(arguments: argparse.Namespace) -> int:
    """Report; 1 where there is a problem."""
    timeout = timeout_of(arguments) or PATIENCE
    request, book = request_of_check(arguments), Book()
    name = arguments.site or default_site()
    find(name)
    interrupt_on_term()
    findings, loaded, place = list(examine_laptop(book)), None, None
    try:
        loaded = load(name, arguments.settings)
    except ProfileError as error:
        findings.append(fault("laptop", "profile", error))
    if loaded is not None:
        findings += examine_profile(loaded, request)
        seconds = None if arguments.no_job else timeout
        found, place = _of_site(book, loaded, request, timeout=seconds)
        findings += found
    taken = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    site = name if loaded is None else loaded.site.name
    report = Report(version("hpclaunch"), site, taken, findings)
    redactor = _redactor(book, loaded, place, request)
    if arguments.json:
        print(json.dumps(report.to_dict(redactor)))
    else:
        print(report.text(redactor))
    return int(report.has_problem)


def _of_site(
    book: Book, loaded: LoadedSite, request: Request, *, timeout: float | None
) -> tuple[list[Finding], Place | None]:
    try:
        way = Way.of(loaded)
    except ProfileError as error:
        return [fault("laptop", "transport", error)], None
    with Progress() as progress, Conversations(way, progress) as reach:
        trip = Trip(reach, way, book, loaded, request, progress)
        findings, place = examine_site(trip)
        if place is not None and timeout is not None:
            findings += examine_job(trip, timeout=timeout)
        return findings, place


def _redactor(
    book: Book, loaded: LoadedSite | None, place: Place | None, request: Request
) -> Redactor:
    """What nobody need know: who somebody is here and there, and what opens sessions."""
    names = {str(Path.home()): "~", platform.node(): "<laptop>"}
    with contextlib.suppress(OSError, KeyError, ImportError):  # a user without a name
        names[getpass.getuser()] = "<user>"
    if request.account is not None:
        names[request.account] = "<account>"
    if loaded is not None:
        who = {loaded.site.login.user: "<user>", loaded.site.account: "<account>"}
        names.update({word: instead for word, instead in who.items() if word})
    if place is not None and loaded is not None:
        names[place.facts["user"]] = "<user>"
        names[place.facts["home"]] = "~"
    tokens = []
    for record in book:
        with contextlib.suppress(OSError):
            tokens.append(book.token(record.name))
    return Redactor(names, tokens)
