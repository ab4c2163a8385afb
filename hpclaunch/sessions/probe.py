"""The story of a check's one-minute job: a session in small that walks the whole way, and leaves.

It is planned, submitted, started and reached as every session is; what it measures on its node lies
in ``facts.json``. Whatever happens, its job is cancelled and its directory removed.
"""

from __future__ import annotations

import contextlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from hpclaunch.errors import HpclaunchError, NoSuchSession, SchedulerError, SubmitError
from hpclaunch.node.layout import Layout
from hpclaunch.node.sight import NodeFacts, Sights
from hpclaunch.plan import Plan, make_plan
from hpclaunch.request import Request
from hpclaunch.sessions import access
from hpclaunch.sessions.book import Book
from hpclaunch.sessions.follow import Keeper, Tell, follow, progress
from hpclaunch.sessions.record import Record
from hpclaunch.sessions.start import prepare, put_on_record, submit
from hpclaunch.sessions.stop import stop
from hpclaunch.sessions.way import Way
from hpclaunch.sessions.withdraw import withdraw
from hpclaunch.sites.catalog import LoadedSite
from hpclaunch.units import Walltime

__all__ = ["Probe", "Trip", "command_time", "plan_probe", "probe"]

_WALLTIME = Walltime(600)  # what the job may use at most, should nobody be left to cancel it
_ASKED = 5  # times that a host is asked, to know how long an answer takes


@dataclass(frozen=True)
class Trip:
    """Where a check goes, and by what.

    Attributes
    ----------
    reach : callable
        A conversation with a keeper that is connected; another one after an interrupt.
    way : Way
    book : Book
    loaded : LoadedSite
    request : Request
        What the user asks for besides what the profile says.
    tell : callable
        Takes a line of progress.
    """

    reach: Callable[[], Keeper]
    way: Way
    book: Book
    loaded: LoadedSite
    request: Request
    tell: Tell


@dataclass(frozen=True)
class Probe:
    """What came of the job.

    Attributes
    ----------
    ready : bool
        Whether its server answered through the tunnel.
    facts : NodeFacts or None
        What its node is like, where it came so far.
    error : HpclaunchError or None
        Why it did not get ready.
    waits : str
        Why that says nothing against the site: where the job stood when the time was up.
    timings : dict
        Seconds of each phase, as `start` has them.
    answer : float or None
        Seconds of an answer of the node through the tunnel, at best.
    login_answer : float or None
        Seconds of a command on the login node, at best, over the same connection.
    untidy : str
        What may be left on the site, and why.
    """

    ready: bool = False
    facts: NodeFacts | None = None
    error: HpclaunchError | None = None
    waits: str = ""
    timings: dict[str, float] = field(default_factory=dict)
    answer: float | None = None
    login_answer: float | None = None
    untidy: str = ""


def plan_probe(loaded: LoadedSite, request: Request, book: Book) -> Plan:
    """The session that the site's profile describes, on one node, without Dask and for minutes.

    Raises
    ------
    PlanError
        If the profile does not allow even that.
    """
    walltime = min(_WALLTIME, loaded.site.session.walltime)
    small = replace(request, walltime=walltime, nodes=1, workers=0, dask="none")
    name = book.free_name(f"check-{loaded.site.name[:30]}")
    plan = make_plan(loaded, small, name=name)
    places = {"paths.base": plan.base, "paths.notebooks": plan.root_dir or "~"}
    if plan.worker is not None and plan.worker.local_directory:
        places["dask.local_directory"] = plan.worker.local_directory
    return replace(plan, sights=Sights(places, _question(loaded, plan)))


def _question(loaded: LoadedSite, plan: Plan) -> tuple[str, ...]:
    """What a node asks that submits worker jobs, by the way the profile says."""
    if plan.worker is None or loaded.site.scheduler.kind == "local":
        return ()
    if plan.worker.submit == "node":
        return tuple(
            access.scheduler_for(loaded.site, plan.base).find_command(plan.worker.job.name)
        )
    if plan.worker.submit == "ssh" and plan.worker.submit_host:
        quiet = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=15")
        return ("ssh", *quiet, "--", plan.worker.submit_host, "true")
    return ()


def probe(trip: Trip, plan: Plan, *, timeout: float) -> Probe:
    """Run the job to its end, and tell what came of it.

    Parameters
    ----------
    trip : Trip
    plan : Plan
        See `plan_probe`.
    timeout : float
        Seconds until the server must answer; a job that still waits then says nothing.
    """
    began = time.monotonic()
    keeper = trip.reach()
    record = put_on_record(trip.book, trip.loaded, trip.request, plan, trip.way)
    try:
        return _walk(trip, keeper, plan, record, began, timeout)
    except BaseException as interrupt:
        untidy = _withdrawn(trip, record, interrupt)
        if untidy:
            trip.tell(untidy)
        raise


def _walk(
    trip: Trip, keeper: Keeper, plan: Plan, record: Record, began: float, timeout: float
) -> Probe:
    """Go the whole way and back."""
    book = trip.book
    try:
        record = _submitted(keeper, trip, plan)
        record = follow(keeper, book, record, trip.tell, timeout=timeout, since=began)
        found = _measured(keeper, book, record)
    except HpclaunchError as error:
        record = book.read(plan.name)
        waits = "" if time.monotonic() - began < timeout else _still_waiting(keeper, record)
        facts = _facts(keeper, record)
        found = Probe(facts=facts, error=error, waits=waits, timings=record.timings)
        return replace(found, untidy=_withdrawn(trip, record, error))
    return replace(found, untidy=_ended(trip, record))


def _submitted(keeper: Keeper, trip: Trip, plan: Plan) -> Record:
    """Submit it; the job may be in the queue without an id, to be found by its name."""
    try:
        return submit(keeper, trip.book, trip.loaded, plan, prepare(), trip.tell)
    except SubmitError:
        raise
    except SchedulerError as error:
        trip.tell(f"{error}; looking for it by its name")
        return trip.book.read(plan.name)


def _still_waiting(keeper: Keeper, record: Record) -> str:
    """Where a job stands that has come neither to its end nor to an answer when the time is up."""
    if record.outcome is not None or record.trouble is not None:
        return ""
    if record.job_id is not None and record.rendezvous is None:
        with contextlib.suppress(HpclaunchError):  # the reason as it is now
            record = replace(record, job=access.job_facts(access.job_status(keeper, record)))
    return progress(record)


def _measured(keeper: Keeper, book: Book, record: Record) -> Probe:
    """What a session says that is ready."""
    facts = _facts(keeper, record)
    answers = [_answer_time(record, book.token(record.name)) for _ in range(_ASKED)]
    return Probe(
        ready=True,
        facts=facts,
        timings={**record.timings, **_of_server(record)},
        answer=min((one for one in answers if one is not None), default=None),
        login_answer=command_time(keeper),
    )


def _of_server(record: Record) -> dict[str, float]:
    timings = (record.rendezvous or {}).get("timings", {})
    return {"server": float(timings["server"])} if "server" in timings else {}


def _answer_time(record: Record, token: str) -> float | None:
    """Seconds of one answer of the node's server; None where it gave none."""
    asked = urllib.request.Request(
        f"{record.url}/api/status", headers={"Authorization": f"token {token}"}
    )
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    began = time.monotonic()
    try:
        with direct.open(asked, timeout=10) as answer:
            answer.read()
    except (urllib.error.URLError, OSError):
        return None
    return time.monotonic() - began


def command_time(keeper: Keeper) -> float:
    """Seconds of a command on the login node, at best."""
    took = []
    for _ in range(_ASKED):
        began = time.monotonic()
        keeper.run(["true"])
        took.append(time.monotonic() - began)
    return min(took)


def _facts(keeper: Keeper, record: Record) -> NodeFacts | None:
    """What the node has left in the session's directory; None where there is nothing of it."""
    if not record.session_dir:
        return None
    try:
        said = keeper.run(["cat", f"{record.session_dir}/{Layout.FACTS}"])
        facts = NodeFacts.from_dict(json.loads(said.stdout)) if said.exit == 0 else None
    except (HpclaunchError, KeyError, TypeError, ValueError, AttributeError):
        return None
    return facts if facts is not None and facts.nonce == record.nonce else None


def _ended(trip: Trip, record: Record) -> str:
    """End the session as `stop` does; what may be left, in words."""
    try:
        stop(trip.reach, trip.book, record, trip.tell)
        trip.book.remove(record.name, record.nonce)
    except NoSuchSession:
        pass
    except HpclaunchError as trouble:
        return _left(record, trouble)
    return ""


def _withdrawn(trip: Trip, record: Record, error: BaseException) -> str:
    """Take back what a start has left that came to nothing; what may be left, in words."""
    try:
        withdraw(trip.reach, trip.book, record, error, trip.tell)
        record = trip.book.read(record.name)
        if record.untidy is None:
            if record.session_dir:  # its log: the error has its last lines
                access.clean(trip.reach(), record, everything=True)
            trip.book.remove(record.name, record.nonce)
        else:
            return f"session {record.name} may have left something: {record.untidy}"
    except NoSuchSession:
        pass
    except HpclaunchError as trouble:
        return _left(record, trouble)
    return ""


def _left(record: Record, trouble: HpclaunchError) -> str:
    return (
        f"something of session {record.name} may be left on the site: {trouble.what}; "
        f"`hpclaunch stop {record.name}` removes it"
    )
