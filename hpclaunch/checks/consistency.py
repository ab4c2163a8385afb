"""Whether a profile agrees with itself: what it asks for by default fits its own limits. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from hpclaunch.checks.line import Line, differs, holds, unknown
from hpclaunch.checks.queues import named_queues
from hpclaunch.errors import HpclaunchError
from hpclaunch.plan import make_plan
from hpclaunch.request import Request
from hpclaunch.sites.catalog import LoadedSite

__all__ = ["consistency"]


def consistency(loaded: LoadedSite, request: Request) -> Iterator[Line]:
    """Plan what the profile describes, as a draft that touches nothing.

    Parameters
    ----------
    request : Request
        What the user asks for besides, such as an account.
    """
    yield holds("profile", f"{loaded.path} is a profile")
    yield from _references(loaded)
    if loaded.site.scheduler.account_required and not (request.account or loaded.site.account):
        yield unknown("account", "none is known: give --account, or write it into user.toml")
        request = _with(request, account="ACCOUNT")
    yield _planned(loaded, "session", _with(request, dask="none", workers=0))
    if loaded.site.dask.memory is not None:
        yield _planned(loaded, "dask", _with(request, workers=1))


def _with(request: Request, **fields: object) -> Request:
    return Request.from_dict({**request.to_dict(), **fields}, None)


def _planned(loaded: LoadedSite, key: str, request: Request) -> Line:
    what = "a session" if key == "session" else "a worker job"
    try:
        plan = make_plan(loaded, request, name="check", nonce="0" * 8, draft=True)
    except HpclaunchError as error:
        return differs(key, f"{what} as described is refused: {error.what}")
    job = plan.job if key == "session" or plan.worker is None else plan.worker.job
    words = [f"queue {job.queue}"] if job.queue else []
    words += [f"{job.cores} cores", *([str(job.memory)] if job.memory else []), str(job.walltime)]
    return holds(key, f"{what} ({', '.join(words)}) fits the limits of the profile")


def _references(loaded: LoadedSite) -> Iterator[Line]:
    """Names that the profile uses and does not describe."""
    site = loaded.site
    if site.queues:
        known = ", ".join(queue.name for queue in site.queues)
        for place, name in named_queues(site):
            if site.queue(name) is None:
                found = f"{name!r} is described nowhere in the profile ({known})"
                yield differs(".".join(place), found)
    if site.mpi.environment is not None and site.mpi.environment not in site.environments:
        environments = ", ".join(site.environments) or "none"
        yield differs(
            "mpi.environment",
            f"{site.mpi.environment!r} is described nowhere in the profile ({environments})",
        )
