"""From what was found to a site profile with comments. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import tomlkit
from tomlkit.items import AoT, Table

from hpclaunch.shell import printable
from hpclaunch.sites.model import Site
from hpclaunch.survey.choices import (
    choose_environment,
    choose_name,
    choose_queue,
    choose_sizes,
    has_mpi,
    takes_whole_nodes,
    usable,
)
from hpclaunch.survey.findings import FoundEnvironment, FoundQueue, Survey
from hpclaunch.survey.remarks import env_words, found_lines, kind_words, remarks, wrapped
from hpclaunch.survey.toml import note, table, told
from hpclaunch.units import Memory

__all__ = ["Access", "Profile", "write_profile"]

_OTHERS = 5  # environments besides the default one


@dataclass(frozen=True)
class Access:
    """How the laptop gets to the login node: the keys of ``[login]``, None where left out."""

    host: str | None
    user: str | None = None
    port: int | None = None
    identity: str | None = None
    ssh_config: str | None = None
    transport: str | None = None


@dataclass(frozen=True)
class Profile:
    """A profile as text.

    Attributes
    ----------
    name : str
        The site's name.
    text : str
        TOML that the model takes.
    remarks : tuple of str
        What a person should look at, also in the text.
    """

    name: str
    text: str
    remarks: tuple[str, ...]


def write_profile(
    survey: Survey,
    access: Access,
    *,
    name: str | None = None,
    python: str | None = None,
    account: str | None = None,
) -> Profile:
    """Write the profile of a surveyed site.

    Parameters
    ----------
    survey : Survey
        With a scheduler.
    access : Access
    name : str, optional
        The site's name; by default what the cluster or its host is called.
    python : str, optional
        Interpreter of sessions; by default the found one with most of what can be used.
    account : str, optional
        The account to charge; by default none where none is needed.

    Raises
    ------
    ValueError
        If name, host or another given value cannot stand in a profile.
    """
    name = name or choose_name(survey, access.host or survey.host)
    queue = choose_queue(survey)
    chosen, others = choose_environment(survey, python)
    others = tuple(sorted(others, key=lambda one: not has_mpi(one)))[:_OTHERS]
    account = account or _needed_account(survey)
    remarked = tuple(remarks(survey, queue, chosen, account))
    document = tomlkit.document()
    for line in _head(survey, remarked):
        document.add(note(line) if line else tomlkit.nl())
    document.add("name", tomlkit.item(name))
    document.add("source", tomlkit.item(printable(f"the site itself, asked as {survey.user}")))
    day = _day(survey.taken_on)
    if day is not None:
        document.add("checked_on", tomlkit.item(day))
    if account:
        document.add("account", told(account, "yours: take it out before you share this file"))
    document.add("login", _login(survey, access))
    document.add("scheduler", _scheduler(survey, queue))
    if any(usable(survey)):
        document.add("queues", _queues(survey))
    document.add("environments", _environments(chosen, others))
    document.add("session", _session(queue))
    document.add("dask", _dask(queue))
    if not (chosen and has_mpi(chosen)) and others and has_mpi(others[0]):
        document.add("mpi", table(environment=_names(others)[others[0].python]))
    found = "".join(f"# {printable(line)}\n" for line in found_lines(survey))
    text = f"{tomlkit.dumps(document)}\n{found}"
    Site.model_validate(tomlkit.parse(text).unwrap())
    return Profile(name, text, remarked)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _needed_account(survey: Survey) -> str | None:
    """The account without which nothing runs, where it is the only one."""
    accounts = survey.accounts or ()
    return accounts[0] if survey.account_required and len(accounts) == 1 else None


def _head(survey: Survey, remarked: tuple[str, ...]) -> Iterator[str]:
    yield f"Written by `hpclaunch site init` on {survey.taken_on}:"
    yield f"{survey.release} on {survey.host}."
    yield "What stands here was measured, or is said to be a choice. What could not be told is left"
    yield "out; the scheduler has the last word. Keys and meanings: `hpclaunch site schema`."
    if remarked:
        yield ""
        yield "To look at:"
        for line in remarked:
            yield from wrapped(f"- {line}")
    yield ""


def _login(survey: Survey, access: Access) -> Table:
    made = table(
        transport=access.transport,
        host=access.host,
        user=access.user,
        port=access.port,
        identity=access.identity,
        ssh_config=access.ssh_config,
    )
    if survey.prologue:
        made.add(note("Without this the scheduler's commands are not found there."))
        made.add("prologue", list(survey.prologue))
    return made


def _scheduler(survey: Survey, queue: FoundQueue | None) -> Table:
    made = table(kind=survey.scheduler)
    if queue is not None:
        why = "the scheduler's own default" if queue.default else "a choice: there is no default"
        made.add("default_queue", told(queue.name, why))
    if survey.account_required:
        made.add("account_required", told(True, f"accounts: {_some(survey.accounts)}"))
    elif survey.default_account:
        known = f"{survey.default_account}, yours of: {_some(survey.accounts)}"
        made.add(note(f"Jobs without an account are charged to {known}"))
    if survey.dialect:
        made.add("pbs", table(dialect=survey.dialect))
    if survey.scheduler == "lsf" and (units := _lsf(survey)):
        made.add("lsf", units)
    return made


def _lsf(survey: Survey) -> Table:
    unit = survey.memory_unit if survey.memory_unit in ("KB", "MB", "GB", "TB") else None
    per = survey.memory_per
    return table(
        memory_unit=unit and told(unit, "LSF_UNIT_FOR_LIMITS of lsf.conf"),
        memory_per=per and told(per, "RESOURCE_RESERVE_PER_TASK of bparams"),
    )


def _queues(survey: Survey) -> AoT:
    by_name: dict[str, FoundQueue] = {}
    for queue in usable(survey):
        by_name.setdefault(queue.name, queue)
    array = tomlkit.aot()
    for queue in by_name.values():
        array.append(_queue(queue, survey))
    return array


def _queue(queue: FoundQueue, survey: Survey) -> Table:
    kinds = queue.nodes
    unsure = queue.allowed is None
    return table(
        map(kind_words, kinds),
        name=queue.name,
        qos=queue.qos,
        max_walltime=queue.max_walltime and str(queue.max_walltime),
        min_nodes=queue.min_nodes,
        max_nodes=min(filter(None, (queue.max_nodes, queue.total_nodes)), default=None),
        cores_per_node=max((kind.cores for kind in kinds), default=None),
        memory_per_node=_most_memory(queue),
        gpus_per_node=max((kind.gpus for kind in kinds), default=0) or None,
        max_jobs=min(filter(None, (queue.max_jobs, survey.max_jobs)), default=None),
        memory_as=_memory_as(queue) if survey.scheduler == "slurm" else None,
        choose=told(False, "whether it takes your jobs could not be told") if unsure else None,
    )


def _memory_as(queue: FoundQueue) -> object:
    """How SLURM's memory is asked for, where not of each node; None for that."""
    if takes_whole_nodes(queue):
        return told("whole", "its jobs get whole nodes")
    if queue.nodes and all(kind.memory is None for kind in queue.nodes):
        return told("none", "the scheduler knows of no memory to ask for")
    return None


def _most_memory(queue: FoundQueue) -> str | None:
    sizes = [kind.memory for kind in queue.nodes]
    known = [size for size in sizes if size is not None]
    return str(_readable(max(known))) if known and len(known) == len(sizes) else None


def _readable(size: Memory) -> Memory:
    """In whole MiB as schedulers count, which is exact, or rounded down to them."""
    return Memory(max(size.bytes // 2**20, 1) * 2**20)


def _environments(chosen: FoundEnvironment | None, others: tuple[FoundEnvironment, ...]) -> Table:
    made = tomlkit.table(is_super_table=True)
    if chosen is None:
        lost = "No Python with JupyterLab was found: name yours here."
        made.add("default", table([lost], python="python3"))
    else:
        made.add("default", table(env_words(chosen), python=chosen.python))
    names = _names(others)
    for one in others:
        made.add(names[one.python], table(env_words(one), python=one.python))
    return made


def _names(others: tuple[FoundEnvironment, ...]) -> dict[str, str]:
    """Names of environments by their interpreters: what their directories are called."""
    names: dict[str, str] = {}
    for one in others:
        parts = one.python.split("/")
        base = re.sub(r"[^A-Za-z0-9._-]+", "-", parts[-3] if len(parts) > 3 else "").strip("-._")
        base = base[:28] or "other"
        taken = {"default", *names.values()}
        at = next(n for n in range(1, 99) if (base if n == 1 else f"{base}-{n}") not in taken)
        names[one.python] = base if at == 1 else f"{base}-{at}"
    return names


def _session(queue: FoundQueue | None) -> Table:
    sizes = choose_sizes(queue)
    return table(
        ["What `hpclaunch start` asks for by default: a choice."],
        walltime=str(sizes.walltime),
        cores=sizes.cores,
        memory=sizes.memory and str(sizes.memory),
    )


def _dask(queue: FoundQueue | None) -> Table:
    sizes = choose_sizes(queue)
    memory, guess = sizes.worker_memory, Memory(2 * 10**9 * sizes.worker_cores)
    many = told(sizes.processes, "workers of one job, which has a whole node")
    return table(
        ["One worker, with `--workers N`: a choice."],
        cores=sizes.worker_cores,
        memory=str(memory) if memory else told(str(guess), "a guess: what nodes have is not known"),
        processes=many if sizes.processes > 1 else None,
    )


def _some(names: tuple[str, ...] | None, most: int = 12) -> str:
    names = names or ()
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "") or "not known"
