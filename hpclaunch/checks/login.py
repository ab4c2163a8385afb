"""What a profile says of scheduler, accounts and environments, seen from the login node. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hpclaunch.checks.line import Fix, Line, differs, holds, unknown
from hpclaunch.checks.queues import check_queues, found_queue, named_queues, other_cluster
from hpclaunch.sessions.environments import Interpreter
from hpclaunch.sites.catalog import LoadedSite
from hpclaunch.survey.findings import Survey

__all__ = ["check_environments", "check_survey"]

_SESSION_NEEDS = ("jupyterlab", "jupyter_server")
_WORKERS_NEED = ("dask", "distributed")
_MPI_NEEDS = ("mpi4py", "dask-mpi", "distributed")


def check_survey(loaded: LoadedSite, survey: Survey, account: str | None) -> Iterator[Line]:
    """Scheduler, account and queues.

    Parameters
    ----------
    account : str or None
        The account that jobs are charged to.
    """
    kind = loaded.site.scheduler.kind
    if survey.scheduler is None:
        yield unknown("scheduler.kind", "no scheduler was recognized on the login node")
        return
    if survey.scheduler != kind:
        yield differs("scheduler.kind", f"{survey.scheduler} ({survey.release})")
        return
    yield holds("scheduler.kind", survey.release or kind)
    elsewhere = other_cluster(loaded.site, survey)
    if elsewhere is not None:
        asked = f"cluster {survey.cluster} was asked, and the profile's commands go to {elsewhere}"
        yield unknown("queues", asked)
        return
    yield from _account(loaded, survey, account)
    lsf = loaded.site.scheduler.lsf
    if lsf is not None and survey.memory_unit is not None:
        key, unit = "scheduler.lsf.memory_unit", survey.memory_unit
        fix = Fix(("scheduler", "lsf", "memory_unit"), unit)
        yield holds(key, unit) if lsf.memory_unit == unit else differs(key, unit, fix)
    yield from _named_queues(loaded, survey)
    yield from check_queues(loaded, survey)


def _account(loaded: LoadedSite, survey: Survey, account: str | None) -> Iterator[Line]:
    required = loaded.site.scheduler.account_required
    if survey.account_required and not required:
        fix = Fix(("scheduler", "account_required"), True)
        yield differs("scheduler.account_required", "jobs without an account are refused", fix)
    elif survey.account_required is not None and survey.account_required == required:
        yield holds("scheduler.account_required", str(required).lower())
    if account is None:
        return
    if survey.accounts is None:
        yield unknown("account", "the scheduler does not tell which accounts you may charge")
    elif account in survey.accounts:
        yield holds("account", f"you may charge {account}")
    else:
        yours = ", ".join(survey.accounts) or "none"
        mine = loaded.origin("account") == str(loaded.path)
        instead = Fix(("account",), survey.default_account) if mine else None
        yield differs("account", f"you may not charge {account}; yours are: {yours}", instead)


def _named_queues(loaded: LoadedSite, survey: Survey) -> Iterator[Line]:
    """The queues that jobs name by default."""
    site = loaded.site
    for place, name in named_queues(site):
        described, key = site.queue(name), ".".join(place)
        if not survey.queues or (described and described.partition == ""):
            continue
        if found_queue(loaded, survey, name) is None:
            instead = survey.default_queue if place[0] == "scheduler" else None
            yield differs(key, f"no queue {name}", Fix(place, instead))
        else:
            yield holds(key, f"{name} is there")


def check_environments(
    loaded: LoadedSite, found: Mapping[str, Interpreter], used: str | None
) -> Iterator[Line]:
    """Each environment: whether its interpreter is there, and has what its use needs.

    Parameters
    ----------
    found : mapping
        By the names of the environments.
    used : str or None
        Which of them sessions use.
    """
    site = loaded.site
    for name, interpreter in found.items():
        key = f"environments.{name}"
        if interpreter.lack:
            told = differs if interpreter.answered else unknown
            yield told(key, interpreter.lack)
            continue
        needs: tuple[str, ...] = ()
        if name == used:
            needs = _SESSION_NEEDS + (_WORKERS_NEED if site.dask.memory is not None else ())
            if site.dask.memory is not None and site.scheduler.kind != "local":
                needs += ("dask-jobqueue",)
        if name == site.mpi.environment:
            needs += _MPI_NEEDS
        yield _packages(key, interpreter, tuple(dict.fromkeys(needs)))


def _packages(key: str, found: Interpreter, needs: tuple[str, ...]) -> Line:
    python = f"{found.python} (Python {found.version})"
    lacking = [name for name in needs if name not in found.packages]
    if lacking:
        return differs(key, f"{python} has no {', '.join(lacking)}")
    if "jupyter_server" in needs and int(found.packages["jupyter_server"].split(".")[0]) < 2:
        return differs(key, f"{python} has jupyter_server {found.packages['jupyter_server']}")
    versions = ", ".join(f"{name} {version}" for name, version in found.packages.items())
    return holds(key, f"{python}: {versions}" if versions else python)
