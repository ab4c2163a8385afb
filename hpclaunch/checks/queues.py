"""The queues of a profile against those of the scheduler. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hpclaunch.checks.line import Fix, Line, differs, holds, unknown
from hpclaunch.sites.catalog import LoadedSite
from hpclaunch.sites.layers import Place
from hpclaunch.sites.model import Queue, Site
from hpclaunch.survey.findings import FoundNodes, FoundQueue, Survey
from hpclaunch.units import Memory, Walltime

__all__ = ["check_queues", "found_queue", "named_queues", "other_cluster"]


def check_queues(loaded: LoadedSite, survey: Survey) -> Iterator[Line]:
    """Each queue that the profile describes: whether it is there, and its limits."""
    for index, queue in enumerate(loaded.site.queues):
        yield from _queue(loaded, survey, index, queue)


def other_cluster(site: Site, survey: Survey) -> str | None:
    """The cluster to which the profile's commands go, where that is not the one that was asked."""
    for option in site.scheduler.options:
        match = re.fullmatch(r"(?:--clusters?=|-M\s*)(\S+)", option)
        if match and match[1] != survey.cluster:
            return match[1]
    return None


def named_queues(site: Site) -> Iterator[tuple[Place, str]]:
    """The queues that jobs name by default, and where the profile says so."""
    for place, name in (
        (("scheduler", "default_queue"), site.scheduler.default_queue),
        (("session", "queue"), site.session.queue),
        (("dask", "queue"), site.dask.queue),
    ):
        if name is not None:
            yield place, name


def found_queue(loaded: LoadedSite, survey: Survey, name: str) -> FoundQueue | None:
    """What the scheduler has under the name that the profile gives a queue."""
    described = loaded.site.queue(name)
    spelled = name if described is None else _spelled(described)
    return next((one for one in survey.queues if one.name == spelled), None)


def _spelled(queue: Queue) -> str:
    return queue.name if queue.partition is None else queue.partition


def _queue(loaded: LoadedSite, survey: Survey, index: int, queue: Queue) -> Iterator[Line]:
    key = f"queues.{queue.name}"
    if not _spelled(queue):
        yield unknown(key, f"jobs name the QOS {queue.qos} alone, whose limits are not read")
        return
    if not survey.queues:
        yield unknown(key, "the scheduler did not tell its queues")
        return
    found = found_queue(loaded, survey, queue.name)
    if found is None:
        there = ", ".join(one.name for one in survey.queues)
        fix = Fix(("queues", str(index)))
        yield differs(key, f"no queue {_spelled(queue)}; there are {there}", fix)
        return
    yield _presence(key, queue, found)
    for limit in _LIMITS:
        if loaded.origin("queues", str(index), limit.key) == "default":
            continue
        claimed = getattr(queue, limit.key)
        if claimed is not None:
            place = ("queues", str(index), limit.key)
            line = limit.line(f"{key}.{limit.key}", claimed, limit.found(found, survey), queue)
            yield Line(line.key, line.result, line.found, line.fix and Fix(place, line.fix.value))


def _presence(key: str, queue: Queue, found: FoundQueue) -> Line:
    if found.allowed is False:
        words = "it is there, and you may not submit to it"
        return differs(key, words) if queue.choose else unknown(key, words)
    if not found.open:
        return unknown(key, "it is there, and takes or runs no jobs now")
    return holds(key, "it is there" + (", the scheduler's default" if found.default else ""))


@dataclass(frozen=True)
class _Limit:
    """A limit that the scheduler sets, and that the profile repeats."""

    key: str
    found: Callable[[FoundQueue, Survey], Any]

    def line(self, key: str, claimed: Any, found: Any, queue: Queue) -> Line:
        """What came of it; the place of the fix is filled in by the caller."""
        if found is None:
            return unknown(key, "the scheduler sets no such limit, or does not tell it")
        if claimed == found:
            return holds(key, _say(found))
        if claimed < found and queue.qos is not None:
            why = f"the partition allows {_say(found)}; what QOS {queue.qos} allows is not read"
            return unknown(key, why)
        return differs(key, _say(found), Fix((), _toml(found)))


class _OfNodes(_Limit):
    """What a node has; the profile may leave some of it to the node itself."""

    def line(self, key: str, claimed: Any, found: Any, queue: Queue) -> Line:
        if found is None:
            return unknown(key, "the scheduler does not tell it of this queue's nodes")
        if claimed > found:
            return differs(key, _say(found), Fix((), _toml(found)))
        return holds(key, f"nodes have {_say(found)}")


class _MostNodes(_Limit):
    """The most nodes of a job, which no limit may say but the number of nodes."""

    def line(self, key: str, claimed: Any, found: Any, queue: Queue) -> Line:
        limit, there = found
        if limit is not None and (there is None or limit <= there or claimed == limit):
            return super().line(key, claimed, limit, queue)
        if there is None:
            return unknown(key, "the scheduler sets no such limit, or does not tell it")
        if claimed == there:
            return holds(key, f"the queue has {there} nodes")
        if claimed > there:
            return differs(key, f"the queue has {there} nodes", Fix((), there))
        return unknown(key, f"the scheduler sets no limit; the queue has {there} nodes")


def _most(what: Callable[[FoundNodes], Any]) -> Callable[[FoundQueue, Survey], Any]:
    """The most that any node of a queue has."""
    return lambda queue, _: max(
        (value for nodes in queue.nodes if (value := what(nodes)) is not None), default=None
    )


def _nodes(queue: FoundQueue, _: Survey) -> tuple[int | None, int | None]:
    return queue.max_nodes, queue.total_nodes or sum(one.count for one in queue.nodes) or None


def _gpus(queue: FoundQueue, survey: Survey) -> int | None:
    """The most GPUs of a node; SLURM tells of all, others of those that a site has declared."""
    most: int | None = _most(lambda nodes: nodes.gpus)(queue, survey)
    return most if survey.scheduler == "slurm" else most or None


_LIMITS = (
    _Limit("max_walltime", lambda queue, _: queue.max_walltime),
    _MostNodes("max_nodes", _nodes),
    _Limit("min_nodes", lambda queue, _: queue.min_nodes),
    _OfNodes("cores_per_node", _most(lambda nodes: nodes.cores)),
    _OfNodes("memory_per_node", _most(lambda nodes: nodes.memory)),
    _OfNodes("gpus_per_node", _gpus),
    _Limit("max_jobs", lambda queue, survey: queue.max_jobs or survey.max_jobs),
)


def _say(value: Any) -> str:
    return str(value)


def _toml(value: Any) -> Any:
    return str(value) if isinstance(value, Memory | Walltime) else value
