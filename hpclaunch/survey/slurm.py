"""What SLURM's commands tell of a site. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from hpclaunch.survey.findings import FoundNodes, FoundQueue, Survey
from hpclaunch.survey.numbers import count, days_clock, merged
from hpclaunch.survey.report import Report
from hpclaunch.units import Memory

__all__ = ["read_slurm"]


@dataclass(frozen=True)
class _Qos:
    """The QOS that this user may ask for, and the one of jobs that name none."""

    allowed: frozenset[str] = frozenset()
    default: str | None = None


def read_slurm(survey: Survey, report: Report) -> Survey:
    """Add to a survey what SLURM says; unchanged where it does not answer."""
    config = _config(report.out("slurm.config") or "")
    partitions = [_words(line) for line in (report.out("slurm.partitions") or "").splitlines()]
    partitions = [one for one in partitions if "PartitionName" in one]
    if not partitions:
        return survey
    accounts = _accounts(report)
    nodes = _nodes(report)
    groups = set(report.line("site.groups").split())
    queues = tuple(
        _queue(one, nodes.get(one["PartitionName"], ()), accounts, groups, _qos(report))
        for one in partitions
    )
    enforced = "associations" in config.get("AccountingStorageEnforce", "").split(",") or (
        "limits" in config.get("AccountingStorageEnforce", "").split(",")
    )
    default = _default_account(report)
    known = report.out("accounts.user") is not None
    max_array = count(config.get("MaxArraySize"))
    return replace(
        survey,
        scheduler="slurm",
        release=report.line("slurm.version"),
        cluster=config.get("ClusterName", ""),
        queues=queues,
        accounts=accounts,
        default_account=default,
        account_required=(enforced and default is None) if config and known else None,
        max_jobs=_most_jobs(report),
        max_array=max_array - 1 if max_array and max_array > 1 else None,
        notes=(*survey.notes, *_notes(report, config, queues)),
    )


def _config(text: str) -> dict[str, str]:
    """``scontrol show config``: one ``Key = Value`` a line."""
    found = (re.match(r"(\S+)\s*= ?(.*)", line) for line in text.splitlines())
    return {match[1]: match[2].strip() for match in found if match}


def _words(line: str) -> dict[str, str]:
    """``Key=Value Key=Value`` as scontrol's ``-o`` prints it; values hold no blanks."""
    return dict(word.partition("=")[::2] for word in line.split() if "=" in word)


def _queue(
    words: Mapping[str, str],
    nodes: tuple[FoundNodes, ...],
    accounts: tuple[str, ...] | None,
    groups: set[str],
    qos: _Qos,
) -> FoundQueue:
    most = count(words.get("MaxNodes"))
    least = count(words.get("MinNodes"))
    cap = count(words.get("MaxMemPerNode"))
    cores = count(words.get("MaxCPUsPerNode"))
    return FoundQueue(
        name=words["PartitionName"],
        default=words.get("Default") == "YES",
        open=words.get("State", "UP") == "UP" and count(words.get("TotalNodes")) != 0,
        max_walltime=days_clock(words.get("MaxTime", "")),
        min_nodes=least if least and least > 1 else None,
        max_nodes=most,
        nodes=tuple(_capped(one, cores, cap) for one in nodes),
        allowed=_allowed(words, accounts, groups, qos),
        exclusive=_exclusive(words),
        qos=_needed_qos(words, qos),
        total_nodes=count(words.get("TotalNodes")),
    )


def _exclusive(words: Mapping[str, str]) -> bool | None:
    if words.get("Exclusive") in ("YES", "NODE"):  # Slurm 25.11 and later
        return True
    shares = words.get("OverSubscribe")
    return shares.startswith("EXCLUSIVE") if shares else None


def _needed_qos(words: Mapping[str, str], qos: _Qos) -> str | None:
    """The QOS that jobs must name, where the user's default one is not admitted."""
    admitted = words.get("AllowQos", "ALL")
    if admitted == "ALL" or not qos.allowed or qos.default in admitted.split(","):
        return None
    return next((one for one in admitted.split(",") if one in qos.allowed), None)


def _capped(nodes: FoundNodes, cores: int | None, mebibytes: int | None) -> FoundNodes:
    """Nodes, with what a partition lets one job have of each."""
    memory = nodes.memory
    if mebibytes and memory:
        memory = min(memory, Memory(mebibytes * 2**20))
    return replace(nodes, cores=min(nodes.cores, cores or nodes.cores), memory=memory)


def _allowed(
    words: Mapping[str, str], accounts: tuple[str, ...] | None, groups: set[str], qos: _Qos
) -> bool | None:
    """Whether a partition takes jobs of this user; by what its line says."""
    if words.get("RootOnly") == "YES":
        return False
    listed = words.get("AllowQos", "ALL")
    if listed != "ALL" and qos.allowed and not qos.allowed & set(listed.split(",")):
        return False
    admitted = words.get("AllowGroups", "ALL")
    if admitted != "ALL" and groups and not groups & set(admitted.split(",")):
        return False
    wanted, denied = words.get("AllowAccounts", "ALL"), words.get("DenyAccounts")
    if wanted == "ALL" and not denied:
        return True
    if accounts is None:
        return None
    fits = {one for one in accounts if wanted == "ALL" or one in wanted.split(",")}
    return bool(fits - set((denied or "").split(",")))


def _nodes(report: Report) -> dict[str, tuple[FoundNodes, ...]]:
    """Kinds of nodes by partition, from sinfo's rows."""
    kinds: dict[str, Counter[FoundNodes]] = {}
    usable = _usable(report.out("slurm.reserved") or "")
    for line in (report.out("slurm.nodes") or "").splitlines():
        row = line.split("~|~")
        number = count(row[1]) if len(row) == 6 else None
        cores = count(row[2].rstrip("+")) if len(row) == 6 else None
        if not number or not cores:
            continue
        partition, mebibytes = row[0].rstrip("*").strip(), count(row[3].rstrip("+")) or 0
        cores, mebibytes = usable.get((partition, cores, mebibytes), (cores, mebibytes))
        kind = FoundNodes(
            count=0,
            cores=cores,
            # 1 is what SLURM takes where nobody has said how much there is.
            memory=Memory(mebibytes * 2**20) if mebibytes > 1 else None,
            gpus=_gpus(row[4]),
            features=tuple(sorted({*row[5].strip().split(",")} - {"", "(null)"})),
        )
        kinds.setdefault(partition, Counter())[kind] += number
    return {name: merged(counted) for name, counted in kinds.items()}


def _gpus(gres: str) -> int:
    """GPUs of ``gpu:a100:4(S:0-1),gpu:v100:2``."""
    return sum(int(match[1]) for match in re.finditer(r"(?:^|,)gpu(?::[^:,()]+)?:(\d+)", gres))


def _usable(text: str) -> dict[tuple[str, int, int], tuple[int, int]]:
    """What jobs may have of nodes that keep some for the system.

    By partition and what such a node has: cores, and MiB of memory; the same in whole nodes.
    """
    found = {}
    for line in text.splitlines():
        words = _words(line)
        cores, memory = count(words.get("CPUTot")), count(words.get("RealMemory"))
        if cores is None or memory is None:
            continue
        left = (
            count(words.get("CPUEfctv")) or cores,
            memory - (count(words.get("MemSpecLimit")) or 0),
        )
        for partition in words.get("Partitions", "").split(","):
            found[partition, cores, memory] = left
    return found


def _accounts(report: Report) -> tuple[str, ...] | None:
    text = report.out("accounts.assoc")
    if text is None:
        return None
    return tuple(dict.fromkeys(row[1] for row in _rows(text, 8) if row[1]))


def _qos(report: Report) -> _Qos:
    rows = list(_rows(report.out("accounts.assoc") or "", 8))
    allowed = frozenset(one for row in rows for one in row[6].split(",") if one)
    named = {row[7] for row in rows if row[7]}
    if len(named) == 1:
        return _Qos(allowed, named.pop())
    # Without a default of the association SLURM takes "normal", or the only one there is.
    return _Qos(allowed, "normal" if "normal" in allowed else next(iter(sorted(allowed)), None))


def _default_account(report: Report) -> str | None:
    rows = list(_rows(report.out("accounts.user") or "", 2))
    return (rows[0][1] or None) if rows else None


def _most_jobs(report: Report) -> int | None:
    """Jobs that this user may have submitted, where all associations or the default QOS say so."""
    rows = list(_rows(report.out("accounts.assoc") or "", 8))
    limits = [count(row[4]) for row in rows]
    qos = {row[0]: count(row[3]) for row in _rows(report.out("accounts.qos") or "", 5)}
    defaults = {row[7] or (row[6] if "," not in row[6] else "") for row in rows}
    by_qos = [qos.get(one) for one in defaults]
    told = [
        max(one for one in some if one is not None)
        for some in (limits, by_qos)
        if some and None not in some
    ]
    return min(told, default=None)


def _rows(text: str, width: int) -> Iterator[list[str]]:
    for line in text.splitlines():
        row = line.strip().split("|")
        if len(row) == width:
            yield row


def _notes(
    report: Report, config: Mapping[str, str], queues: tuple[FoundQueue, ...]
) -> Iterator[str]:
    yield from report.complaints("slurm")
    yield from report.complaints("accounts")
    plugins = config.get("JobSubmitPlugins", "(null)")
    if plugins not in ("(null)", ""):
        yield (
            f"jobs pass a plugin of the site when they are submitted ({plugins}): it may want "
            "more of them than the scheduler tells"
        )
    if queues and not any(one.nodes for one in queues):
        yield "sinfo names no nodes: sizes of nodes are not known"
    for row in _rows(report.out("accounts.assoc") or "", 8):
        longest = days_clock(row[5])
        if longest:
            yield f"jobs of account {row[1]} may run for {longest} at most"
