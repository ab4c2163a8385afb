"""What PBS's commands tell of a site (OpenPBS, PBS Pro; Torque as far as it is alike). Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from hpclaunch.survey.findings import FoundNodes, FoundQueue, Survey
from hpclaunch.survey.numbers import clock, count, memory, merged
from hpclaunch.survey.report import Report
from hpclaunch.units import Memory, Walltime

__all__ = ["read_pbs"]

_FEATURES = ("model", "cpu_type", "gpu_model", "gpu_type", "arch_type")
Words = Mapping[str, str]


def read_pbs(survey: Survey, report: Report) -> Survey:
    """Add to a survey what PBS says; unchanged where it does not answer."""
    queues = _blocks(report.out("pbs.queues") or "", "Queue: ")
    if not queues:
        return survey
    servers = _blocks(report.out("pbs.server") or "", "Server: ")
    name, server = next(iter(servers.items()), ("", {}))
    nodes = _hosts(report.out("pbs.nodes") or "")
    torque = any("np" in words for words in nodes)
    groups = set(report.line("site.groups").split())
    found = tuple(
        _queue(one, words, queues, server, _nodes_of(words, one, nodes), survey.user, groups)
        for one, words in queues.items()
    )
    return replace(
        survey,
        scheduler="pbs",
        dialect="torque" if torque else "",
        release=f"{'Torque' if torque else 'PBS'} {server.get('pbs_version', '')}".strip(),
        cluster=name,
        queues=found,
        max_jobs=_of_each_user(server),
        max_array=count(server.get("max_array_size")),
        notes=(*survey.notes, *_notes(report, nodes)),
    )


def _blocks(text: str, head: str) -> dict[str, dict[str, str]]:
    """``Queue: NAME`` and its indented ``key = value`` lines, which a tab continues."""
    found: dict[str, dict[str, str]] = {}
    for line in text.replace("\n\t", "").splitlines():
        if line.startswith(head):
            found[line[len(head) :].strip()] = {}
        elif found and " = " in line and line.startswith(" "):
            key, _, value = line.strip().partition(" = ")
            found[list(found)[-1]][key] = value.strip()
    return found


def _queue(
    name: str,
    words: Words,
    queues: Mapping[str, Words],
    server: Words,
    nodes: tuple[FoundNodes, ...],
    user: str,
    groups: set[str],
) -> FoundQueue:
    takes = words.get("enabled") == "True" and words.get("started") == "True"
    if words.get("queue_type", "").startswith("R"):
        ends = [queues[one] for one in words.get("route_destinations", "").split(",")
                if one in queues]  # fmt: skip
        takes = takes and (not ends or any(one.get("started") == "True" for one in ends))
    else:
        ends = []
    longest = _walltime(words) or _longest(ends)
    cores = count(words.get("resources_max.ncpus"))
    least = count(words.get("resources_min.nodect"))
    return FoundQueue(
        name=name,
        default=server.get("default_queue") == name,
        open=takes,
        max_walltime=longest,
        min_nodes=least if least and least > 1 else None,
        max_nodes=count(words.get("resources_max.nodect")),
        max_jobs=_of_each_user(words),
        # A limit on all cores of a job holds for those on one node, too.
        nodes=tuple(replace(one, cores=min(one.cores, cores or one.cores)) for one in nodes),
        allowed=_allowed(words, user, groups),
        exclusive=words.get("default_excl") == "True" or None,
        total_nodes=sum(one.count for one in nodes) or None,
    )


def _walltime(words: Words) -> Walltime | None:
    return clock(words.get("resources_max.walltime"))


def _longest(queues: list[Words]) -> Walltime | None:
    """Of the queues that a routing queue leads to; unknown where one of them has no limit."""
    limits = [_walltime(one) for one in queues]
    known = [one for one in limits if one is not None]
    return max(known) if known and len(known) == len(limits) else None


def _of_each_user(words: Words) -> int | None:
    """Jobs of one user: ``max_queued = [u:PBS_GENERIC=40]``; running ones are another limit."""
    match = re.search(r"\bu:PBS_GENERIC=(\d+)", words.get("max_queued", ""))
    return count(match[1]) if match else count(words.get("max_user_queuable"))


def _allowed(words: Words, user: str, groups: set[str]) -> bool | None:
    if words.get("from_route_only") == "True":
        return False
    if words.get("acl_user_enable") == "True":
        named = {one.strip().lstrip("+").partition("@")[0]
                 for one in words.get("acl_users", "").split(",")
                 if not one.strip().startswith("-")}  # fmt: skip
        if user not in named and "*" not in named:
            return False
    if words.get("acl_group_enable") == "True":
        named = {one.strip().lstrip("+").partition("@")[0]
                 for one in words.get("acl_groups", "").split(",")}  # fmt: skip
        if groups and not groups & named:
            return False
    return None if words.get("acl_host_enable") == "True" else True


def _hosts(text: str) -> list[Words]:
    """The hosts of ``pbsnodes -av``; the vnodes of one are added up."""
    vnodes: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        if line.strip() and not line[0].isspace():
            vnodes[line.strip()] = {}
        elif vnodes and " = " in line:
            key, _, value = line.strip().partition(" = ")
            vnodes[list(vnodes)[-1]][key] = value.strip()
    hosts: dict[str, dict[str, str]] = {}
    for name, words in vnodes.items():
        host = words.get("resources_available.host", name)
        if host not in hosts:
            hosts[host] = words
            continue
        for key in ("ncpus", "ngpus"):
            full = f"resources_available.{key}"
            total = (count(hosts[host].get(full)) or 0) + (count(words.get(full)) or 0)
            hosts[host][full] = str(total)
        here, more = (memory(one.get("resources_available.mem")) for one in (hosts[host], words))
        if here and more:
            hosts[host]["resources_available.mem"] = f"{here.bytes + more.bytes}b"
    return list(hosts.values())


def _nodes_of(queue: Words, name: str, hosts: list[Words]) -> tuple[FoundNodes, ...]:
    """Kinds of nodes on which jobs of a queue may run: its own, else those that are nobody's."""
    label = queue.get("default_chunk.Qlist")
    if label is not None:
        own = [one for one in hosts if label in _listed(one, "resources_available.Qlist")]
    else:
        own = [one for one in hosts if name in _listed(one, "queue")]
        own = own or [one for one in hosts if not one.get("queue")]
    kinds = Counter(kind for kind in map(_kind, own) if kind is not None)
    return merged(kinds)


def _listed(words: Words, key: str) -> list[str]:
    return [one.strip() for one in words.get(key, "").split(",")]


def _kind(words: Words) -> FoundNodes | None:
    cores = count(words.get("resources_available.ncpus")) or count(words.get("np"))
    if not cores:
        return None
    physical = re.search(r"(?:^|,)physmem=(\w+)", words.get("status", ""))
    size: Memory | None = memory(words.get("resources_available.mem"))
    if size is None and physical:
        size = memory(physical[1])
    features = [
        f"{key}={words[full]}" for key in _FEATURES
        if (full := f"resources_available.{key}") in words
    ]  # fmt: skip
    features += [one for one in _listed(words, "properties") if one]
    return FoundNodes(
        count=0,
        cores=cores,
        memory=_rounded(size),
        gpus=count(words.get("resources_available.ngpus")) or 0,
        features=tuple(features),
        exclusive=words.get("sharing", "").endswith(("_excl", "_exclhost")) or None,
    )


def _rounded(size: Memory | None) -> Memory | None:
    """Down to whole GiB: nodes that are alike differ by what their kernels keep."""
    if size is None or size.bytes < 2**31:
        return size
    return Memory(size.bytes // 2**30 * 2**30)


def _notes(report: Report, hosts: list[Words]) -> Iterator[str]:
    yield from report.complaints("pbs")
    if not any(_kind(one) for one in hosts):
        yield "pbsnodes names no nodes: sizes of nodes are not known"
    yield "PBS does not tell which accounts may be charged, nor whether a job must name one"
