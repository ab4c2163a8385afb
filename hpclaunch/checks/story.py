"""The story of `hpclaunch site check`: survey, environments and the one-minute job, compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from hpclaunch.activation import environment_name
from hpclaunch.checks.line import Line, differs, holds, unknown
from hpclaunch.checks.login import check_environments, check_survey
from hpclaunch.checks.node import check_job, check_node
from hpclaunch.checks.queues import found_queue, other_cluster
from hpclaunch.errors import HpclaunchError, PlanError, TransportError
from hpclaunch.sessions.environments import Interpreter, look_at_environments
from hpclaunch.sessions.probe import Probe, Trip, plan_probe, probe
from hpclaunch.survey.findings import Survey
from hpclaunch.survey.take import take

__all__ = ["Visit", "compare", "run_job", "visit"]

_NO_JOB = "no job was run"


@dataclass(frozen=True)
class Visit:
    """What a site has told and shown.

    Attributes
    ----------
    survey : Survey or None
        None of a site without scheduler, or where it could not be taken: `no_survey` says why.
    environments : dict of str to Interpreter
        By name.
    probe : Probe or None
        What came of the job; None where none was run: `no_job` says why.
    """

    survey: Survey | None
    environments: dict[str, Interpreter]
    probe: Probe | None
    no_survey: str = ""
    no_job: str = _NO_JOB


def visit(trip: Trip, *, timeout: float | None) -> Visit:
    """Ask the login node, then run the job.

    Parameters
    ----------
    trip : Trip
    timeout : float or None
        Seconds for the job until it answers; None runs none.

    Raises
    ------
    TransportError
        If the way to the login node is broken.
    """
    keeper, site = trip.reach(), trip.loaded.site
    survey, no_survey = None, ""
    if site.scheduler.kind != "local":
        trip.tell("asking the site what it is like")
        try:
            survey = take(keeper.run)
        except TransportError:
            raise
        except HpclaunchError as error:
            no_survey = error.what
    trip.tell("asking the environments what they have")
    environments = look_at_environments(keeper, trip.loaded, trip.request.account or site.account)
    found, no_job = None, _NO_JOB
    if timeout is not None:
        comparable = survey is not None and other_cluster(site, survey) is None
        able = _able(trip, survey) if survey is not None and comparable else trip
        found, no_job = run_job(able, timeout=timeout)
    return Visit(survey, environments, found, no_survey, no_job)


def _able(trip: Trip, survey: Survey) -> Trip:
    """With another account or queue where the site does not have that of the profile.

    The line of that claim says so; a job that is refused for it would tell nothing of the rest.
    """
    request, site = trip.request, trip.loaded.site
    account = request.account or site.account
    if account and survey.accounts and account not in survey.accounts and survey.default_account:
        request = replace(request, account=survey.default_account)
    default = survey.default_queue
    try:
        queue = plan_probe(trip.loaded, request, trip.book).queue
    except PlanError:
        queue = None
    described = site.queue(queue)
    named = queue is not None and not (described and described.partition == "")
    if named and default and found_queue(trip.loaded, survey, str(queue)) is None:
        request = replace(request, queue=default)
    return replace(trip, request=request)


def run_job(trip: Trip, *, timeout: float) -> tuple[Probe | None, str]:
    """Run the one-minute job; or say why the profile allows none."""
    try:
        plan = plan_probe(trip.loaded, trip.request, trip.book)
    except PlanError as error:
        return None, f"no job could be planned: {error.what}; {error.hint}"
    trip.tell(f"running a one-minute job ({plan.name})")
    return probe(trip, plan, timeout=timeout), ""


def compare(trip: Trip, seen: Visit) -> Iterator[Line]:
    """Every claim of the profile against what was seen. Pure."""
    loaded, request = trip.loaded, trip.request
    yield holds("login", f"by {trip.way.kind}: {trip.way}")
    if seen.survey is not None:
        account = request.account or loaded.site.account
        yield from check_survey(loaded, seen.survey, account)
        if seen.survey.forwarding is False and not (seen.probe and seen.probe.ready):
            yield differs("forwarding", "the login node's sshd forwards no ports: ask for it")
    elif seen.no_survey:
        yield unknown("scheduler", seen.no_survey)
    used = environment_name(loaded, request)
    yield from check_environments(loaded, seen.environments, used)
    facts = None if seen.probe is None else seen.probe.facts
    yield from check_node(loaded, facts, _why_no_facts(seen))
    if seen.probe is None:
        yield unknown("job", seen.no_job)
        return
    yield from check_job(seen.probe)


def _why_no_facts(seen: Visit) -> str:
    if seen.probe is None:
        return seen.no_job
    if seen.probe.waits:
        return f"when the time was up, {seen.probe.waits}"
    return "the job did not come so far"
