"""Hold a job against what a profile says of the queues. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hpclaunch.errors import PlanError
from hpclaunch.schedulers.base import JobSpec
from hpclaunch.sites.catalog import LoadedSite
from hpclaunch.sites.model import Queue

__all__ = ["choose_queue", "hold_against_limits", "most_jobs", "source_of", "willing_queues"]


@dataclass(frozen=True)
class _Limit:
    """One limit of a queue, and what of a job it bounds."""

    key: str
    what: str
    asked: Callable[[JobSpec], Any]
    at_least: bool = False

    def bound(self, queue: Queue, job: JobSpec) -> Any:
        return getattr(queue, self.key)

    def key_of(self, queue: Queue, job: JobSpec) -> str:
        """The key that sets the bound."""
        return self.key

    def refuses(self, queue: Queue, job: JobSpec) -> bool:
        bound, asked = self.bound(queue, job), self.asked(job)
        if bound is None or asked is None:
            return False
        return bool(asked < bound if self.at_least else asked > bound)

    def allows(self, queue: Queue, job: JobSpec) -> str:
        return f"at {'least' if self.at_least else 'most'} {self.bound(queue, job)}"

    def most_generous(self, queues: tuple[Queue, ...], job: JobSpec) -> Queue:
        """Of queues that all refuse, the one that comes nearest."""
        choose = min if self.at_least else max
        return choose(queues, key=lambda queue: self.bound(queue, job))


class _Walltime(_Limit):
    """The longest job, which may depend on the number of its nodes."""

    def bound(self, queue: Queue, job: JobSpec) -> Any:
        found = queue.walltime_bin(job.nodes)
        return queue.max_walltime if found is None else found.max_walltime

    def key_of(self, queue: Queue, job: JobSpec) -> str:
        return "max_walltime" if queue.walltime_bin(job.nodes) is None else "walltime_bins"

    def allows(self, queue: Queue, job: JobSpec) -> str:
        found = queue.walltime_bin(job.nodes)
        to_whom = "" if found is None else f" to jobs of up to {found.max_nodes} nodes"
        return super().allows(queue, job) + to_whom


_LIMITS = (
    _Walltime("max_walltime", "a walltime of {}", lambda job: job.walltime),
    _Limit("max_nodes", "{} nodes", lambda job: job.nodes),
    _Limit("min_nodes", "{} nodes", lambda job: job.nodes, at_least=True),
    _Limit("cores_per_node", "{} cores on a node", lambda job: job.tasks_per_node * job.cores),
    _Limit("memory_per_node", "{} of memory on a node", lambda job: job.memory),
    _Limit("gpus_per_node", "{} GPUs on a node", lambda job: job.gpus),
)


def hold_against_limits(loaded: LoadedSite, job: JobSpec, who: str, option: str) -> str | None:
    """Check a job against the limits of its queue.

    Parameters
    ----------
    loaded : LoadedSite
    job : JobSpec
    who : str
        Whose job it is, for people.
    option : str
        What chooses another queue, with ``{}`` for its name.

    Returns
    -------
    str or None
        A warning where nothing is known of the queue.

    Raises
    ------
    PlanError
        If a limit is passed; names the limit, where it stands, and the nearest possibility.
    """
    queue = loaded.site.queue(job.queue)
    if queue is None:
        return _unchecked(loaded, job.queue)
    passed = [limit for limit in _LIMITS if limit.refuses(queue, job)]
    if passed:
        faults = "; ".join(
            f"{limit.what.format(limit.asked(job))}, where queue {queue.name!r} allows "
            f"{limit.allows(queue, job)} ({(key := limit.key_of(queue, job))} in "
            f"{source_of(loaded, queue, key)})"
            for limit in passed
        )
        hint = _nearest(loaded.site.queues, job, passed, option)
        raise PlanError(f"{who} asks for {faults}", hint=hint)
    return None


def choose_queue(loaded: LoadedSite, job: JobSpec, who: str) -> Queue | None:
    """The first queue of the profile that takes the job, of those a plan may choose.

    Returns
    -------
    Queue or None
        None where the profile lets the scheduler choose, because it describes no such queue.

    Raises
    ------
    PlanError
        If all of them refuse it; names the nearest possibility.
    """
    queues = tuple(queue for queue in loaded.site.queues if queue.choose)
    if not queues:
        return None
    willing = willing_queues(loaded, job)
    if willing:
        return willing[0]
    refused = {limit: [limit.refuses(queue, job) for queue in queues] for limit in _LIMITS}
    passed = [limit for limit, by in refused.items() if all(by)]
    passed = passed or [limit for limit, by in refused.items() if any(by)]
    asked = " and ".join(limit.what.format(limit.asked(job)) for limit in passed)
    keys = dict.fromkeys(
        limit.key_of(queue, job)
        for limit in passed
        for queue in queues
        if limit.refuses(queue, job)
    )
    raise PlanError(
        f"{who} asks for {asked}, and no queue of {loaded.path} allows that "
        f"({', '.join(keys)} of {', '.join(queue.name for queue in queues)})",
        hint=_nearest(queues, job, passed, "--queue {}"),
    )


def willing_queues(loaded: LoadedSite, job: JobSpec) -> tuple[Queue, ...]:
    """The queues that a plan may choose and whose limits allow the job, in the profile's order."""
    return tuple(
        queue
        for queue in loaded.site.queues
        if queue.choose and not any(limit.refuses(queue, job) for limit in _LIMITS)
    )


def most_jobs(loaded: LoadedSite, name: str | None, *, beside: JobSpec) -> int | None:
    """How many jobs fit into the queue `name` beside the job `beside`; None without a limit."""
    queue = loaded.site.queue(name)
    if queue is None or queue.max_jobs is None:
        return None
    return queue.max_jobs - (loaded.site.queue(beside.queue) is queue)


def _unchecked(loaded: LoadedSite, name: str | None) -> str | None:
    """A warning where the profile describes queues, and not the one that the job will be in."""
    queues = loaded.site.queues
    if not queues:
        return None
    if name is None:
        return (
            "no queue is named, so the scheduler chooses one; "
            f"the limits in {loaded.path} are not checked"
        )
    return (
        f"queue {name!r} is not described in {loaded.path} "
        f"({', '.join(one.name for one in queues)}); its limits are not checked"
    )


def _nearest(queues: tuple[Queue, ...], job: JobSpec, passed: list[_Limit], option: str) -> str:
    for queue in queues:
        if not any(limit.refuses(queue, job) for limit in _LIMITS):
            return f"queue {queue.name!r} allows it: {option.format(queue.name)}"
    words = []
    for limit in passed:
        willing = [queue for queue in queues if not limit.refuses(queue, job)]
        best = willing[0] if willing else limit.most_generous(queues, job)
        value = limit.asked(job) if willing else limit.bound(best, job)
        words.append(f"{limit.what.format(value)} (queue {best.name!r})")
    return f"no queue allows it all; the nearest: {', '.join(words)}"


def source_of(loaded: LoadedSite, queue: Queue, key: str) -> str:
    """Where a limit stands, and by whose word where the table says it.

    A limit that nobody wrote is a default of what describes the queue. A user's own has no source
    but the user.
    """
    place = ("queues", str(loaded.site.queues.index(queue)))
    origin, described = loaded.origin(*place, key), loaded.origin(*place, "name")
    if origin == "default":
        return f"{described}, by default"
    sourced = queue.source is not None and origin == loaded.origin(*place, "source")
    return f"{origin}, by {queue.source}" if sourced else origin
