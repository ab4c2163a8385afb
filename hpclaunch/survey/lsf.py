"""What LSF's commands tell of a site. Pure."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from hpclaunch.survey.findings import FoundNodes, FoundQueue, Survey
from hpclaunch.survey.numbers import count, memory, merged
from hpclaunch.survey.report import Report
from hpclaunch.units import Walltime

__all__ = ["read_lsf"]

_LIMITS = ("CPULIMIT", "RUNLIMIT", "PROCLIMIT", "TASKLIMIT", "MEMLIMIT", "SWAPLIMIT", "FILELIMIT",
           "DATALIMIT", "STACKLIMIT", "CORELIMIT", "PROCESSLIMIT", "THREADLIMIT")  # fmt: skip
_VALUE = re.compile(r"\d+(?:\.\d+)?(?:\s+(?:min|sec|[KMGT]\b))?(?:\s+of\s+\S+)?")


@dataclass(frozen=True)
class _Host:
    name: str
    cores: int
    memory: str
    gpus: int


def read_lsf(survey: Survey, report: Report) -> Survey:
    """Add to a survey what LSF says; unchanged where it does not answer."""
    text = report.out("lsf.queues") or ""
    blocks = re.split(r"^QUEUE:\s*", text, flags=re.MULTILINE)[1:]
    if not blocks:
        return survey
    hosts = list(_hosts(report))
    groups = _groups(report.out("lsf.groups") or "")
    defaults = _defaults(report)
    params = "\n".join(filter(None, map(report.out, ("lsf.params", "lsf.params_long"))))
    unit = re.search(
        r"LSF_UNIT_FOR_LIMITS\s*=\s*([KMGT]B?)\b", report.out("lsf.conf") or "", re.IGNORECASE
    )
    cluster = re.search(r"My cluster name is (\S+)", report.out("lsf.id") or "")
    arrays = re.search(r"MAX_JOB_ARRAY_SIZE\s*=\s*(\d+)", params)
    return replace(
        survey,
        scheduler="lsf",
        release=report.line("lsf.id"),
        cluster=cluster[1] if cluster else "",
        queues=tuple(_queue(one, hosts, groups, defaults, survey.user) for one in blocks),
        max_array=count(arrays[1]) if arrays else None,
        memory_unit=f"{unit[1].upper().rstrip('B')}B" if unit else None,
        memory_per=_memory_per(params),
        notes=(*survey.notes, *_notes(report, hosts)),
    )


def _memory_per(params: str) -> str | None:
    match = re.search(r"RESOURCE_RESERVE_PER_TASK\s*=\s*([YN])\b", params)
    return {"Y": "task", "N": "host"}[match[1]] if match else None


def _defaults(report: Report) -> list[str]:
    """The queues of jobs that name none; the first one that can take a job is used."""
    for name in ("lsf.params", "lsf.params_long"):
        match = re.search(r"(?:DEFAULT_QUEUE\s*=|Default Queues:)\s*(.+)", report.out(name) or "")
        if match:
            return match[1].split()
    return []


def _queue(
    block: str, hosts: list[_Host], groups: Mapping[str, list[str]], defaults: list[str], user: str
) -> FoundQueue:
    name = (block.split() or [""])[0]
    limits = _limits(block)
    slots = _most_slots(limits)
    status = re.search(r"\b(Open|Closed)(?::(\w+))?", block)
    nodes = _nodes_of(_after("HOSTS", block), hosts, groups)
    first = defaults[0] if defaults else None
    return FoundQueue(
        name=name,
        default=name == first or (first is None and "This is the default queue" in block),
        open=status is None or (status[1] == "Open" and status[2] in (None, "Active")),
        max_walltime=_minutes(limits.get("RUNLIMIT", "")),
        nodes=tuple(replace(one, cores=min(one.cores, slots or one.cores)) for one in nodes),
        allowed=_allowed(_after("USERS", block).split(), user),
        exclusive=None,
        total_nodes=sum(one.count for one in nodes) or None,
    )


def _minutes(text: str) -> Walltime | None:
    match = re.match(r"(\d+(?:\.\d+)?)\s+min", text, re.ASCII)
    seconds = int(float(match[1]) * 60) if match else 0
    return Walltime(seconds) if seconds else None


def _limits(block: str) -> dict[str, str]:
    """Hard limits of a queue: names in one line, values in the next; defaults are skipped."""
    found: dict[str, str] = {}
    default = False
    lines = block.splitlines()
    for line, values in itertools.pairwise(lines):
        if re.match(r"(DEFAULT|MAXIMUM) LIMITS", line):
            default = line.startswith("DEFAULT")
        names = line.split()
        if default or not names or not set(names) <= set(_LIMITS):
            continue
        parts = [values.strip()] if len(names) == 1 else _VALUE.findall(values)
        found.update(zip(names, parts, strict=False))
    return found


def _most_slots(limits: Mapping[str, str]) -> int | None:
    """``PROCLIMIT`` (IBM: ``TASKLIMIT``) is ``MAX``, ``MIN MAX`` or ``MIN DEFAULT MAX``."""
    words = (limits.get("TASKLIMIT") or limits.get("PROCLIMIT") or "").split()
    return count(words[-1]) if words else None


def _after(key: str, block: str) -> str:
    match = re.search(rf"^{key}:\s*(.*)$", block, re.MULTILINE)
    return match[1].strip() if match else ""


def _allowed(users: list[str], user: str) -> bool | None:
    if not users:
        return None
    if "all" in users or user in users:
        return f"~{user}" not in users
    return None if any(one.endswith("/") for one in users) else False


def _hosts(report: Report) -> Iterator[_Host]:
    """Hosts that have slots for jobs; ``-`` slots are as many as CPUs."""
    machines = {row[0]: row for row in _rows(report.out("lsf.machines") or "") if len(row) >= 6}
    for row in _rows(report.out("lsf.hosts") or ""):
        if len(row) < 4 or row[0] == "HOST_NAME":
            continue
        machine = machines.get(row[0], [])
        cpus = count(machine[4]) if machine else None
        slots = count(row[3]) if row[3] != "-" else cpus
        if slots:
            yield _Host(row[0], slots, machine[5] if machine else "", 0)


def _rows(text: str) -> Iterator[list[str]]:
    return (line.split() for line in text.splitlines() if line.strip())


def _groups(text: str) -> dict[str, list[str]]:
    """``bmgroup -w``: a name and its hosts in each line."""
    return {row[0]: row[1:] for row in _rows(text) if len(row) > 1 and row[0] != "GROUP_NAME"}


def _nodes_of(
    named: str, hosts: list[_Host], groups: Mapping[str, list[str]]
) -> tuple[FoundNodes, ...]:
    """Kinds of the hosts that a queue's ``HOSTS`` names; all where it says so or names unknowns."""
    wanted: set[str] = set()
    for word in named.split():
        plain = re.sub(r"\+\d*$", "", word).rstrip("/")
        wanted |= {plain, *groups.get(plain, ())}
    own = [one for one in hosts if one.name in wanted] or hosts
    return merged(Counter(FoundNodes(0, one.cores, memory(one.memory), one.gpus) for one in own))


def _notes(report: Report, hosts: list[_Host]) -> Iterator[str]:
    optional = {"lsf.params", "lsf.params_long", "lsf.groups", "lsf.conf"}
    for name, answer in report.named("lsf").items():
        if not answer.good and f"lsf.{name}" not in optional:
            yield answer.complaint
    if not hosts:
        yield "bhosts names no hosts with slots: sizes of nodes are not known"
    conf = report.answers.get("lsf.conf")
    if conf is None or conf.exit not in (0, 1):  # 1: grep has read it, and it is not there
        yield "LSF_UNIT_FOR_LIMITS cannot be read: memory is asked for in MB (before LSF 10.1: KB)"
    yield "LSF does not tell which projects may be charged, nor whether a job must name one"
