"""What SLURM's commands tell of a site. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from hpclaunch.survey.findings import FoundNodes, FoundQueue, Survey
from hpclaunch.survey.numbers import count, days_clock, merged
from hpclaunch.survey.report import Report
from hpclaunch.survey.slurm_rights import Limits, Rights
from hpclaunch.units import Memory

__all__ = ["read_slurm"]


def read_slurm(survey: Survey, report: Report) -> Survey:
    """Add to a survey what SLURM says; unchanged where it does not answer."""
    config = _config(report.out("slurm.config") or "")
    partitions = [_words(line) for line in (report.out("slurm.partitions") or "").splitlines()]
    partitions = [one for one in partitions if "PartitionName" in one]
    if not partitions:
        return survey
    rights = Rights.read(report, config.get("ClusterName", ""))
    nodes = _nodes(report)
    groups = set(report.line("site.groups").split())
    queues = tuple(
        _queue(one, nodes.get(one["PartitionName"], ()), rights, groups) for one in partitions
    )
    enforced = config.get("AccountingStorageEnforce", "").split(",")
    known = bool(config) and report.out("accounts.user") is not None
    needed = bool({"associations", "limits", "qos", "safe", "all"} & set(enforced))
    max_array = count(config.get("MaxArraySize"))
    return replace(
        survey,
        scheduler="slurm",
        release=report.line("slurm.version"),
        cluster=config.get("ClusterName", ""),
        queues=queues,
        accounts=rights.accounts,
        default_account=rights.default_account,
        account_required=(needed and rights.default_account is None) if known else None,
        max_jobs=rights.limits(None, None).jobs,
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
    rights: Rights,
    groups: set[str],
) -> FoundQueue:
    most = count(words.get("MaxNodes"))
    least = count(words.get("MinNodes"))
    cap = count(words.get("MaxMemPerNode"))
    cores = count(words.get("MaxCPUsPerNode"))
    _, qos = rights.admitted_qos(words.get("AllowQos", "ALL"))
    limits = rights.limits(words.get("QoS"), qos)
    longest = Limits(days_clock(words.get("MaxTime", ""))).and_also(limits).walltime
    return FoundQueue(
        name=words["PartitionName"],
        default=words.get("Default") == "YES",
        open=words.get("State", "UP") == "UP" and count(words.get("TotalNodes")) != 0,
        max_walltime=longest,
        min_nodes=least if least and least > 1 else None,
        max_nodes=most,
        max_jobs=limits.jobs,
        nodes=tuple(_capped(one, cores, cap) for one in nodes),
        allowed=_allowed(words, rights, groups),
        exclusive=_exclusive(words),
        qos=qos,
        total_nodes=count(words.get("TotalNodes")),
    )


def _exclusive(words: Mapping[str, str]) -> bool | None:
    if words.get("Exclusive") in ("YES", "NODE"):  # Slurm 25.11 and later
        return True
    shares = words.get("OverSubscribe")
    return shares.startswith("EXCLUSIVE") if shares else None


def _capped(nodes: FoundNodes, cores: int | None, mebibytes: int | None) -> FoundNodes:
    """Nodes, with what a partition lets one job have of each."""
    memory = nodes.memory
    if mebibytes and memory:
        memory = min(memory, Memory(mebibytes * 2**20))
    return replace(nodes, cores=min(nodes.cores, cores or nodes.cores), memory=memory)


def _allowed(words: Mapping[str, str], rights: Rights, groups: set[str]) -> bool | None:
    """Whether a partition takes jobs of this user; by what its line says."""
    if words.get("RootOnly") == "YES" or not rights.admitted_qos(words.get("AllowQos", "ALL"))[0]:
        return False
    admitted = words.get("AllowGroups", "ALL")
    if admitted != "ALL" and groups and not groups & set(admitted.split(",")):
        return False
    wanted, denied = words.get("AllowAccounts", "ALL"), words.get("DenyAccounts")
    if wanted == "ALL" and not denied:
        return True
    if rights.accounts is None:
        return None
    fits = {one for one in rights.accounts if wanted == "ALL" or one in wanted.split(",")}
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
