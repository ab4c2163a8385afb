"""From what was found to a site profile with comments. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import tomlkit
from tomlkit.items import Table

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
    environment, others = choose_environment(survey, python)
    account = account or _needed_account(survey)
    told = tuple(remarks(survey, queue, environment, account))
    document = tomlkit.document()
    for line in _head(survey, told):
        document.add(tomlkit.comment(_clean(line)) if line else tomlkit.nl())
    document.add("name", tomlkit.item(name))
    document.add("source", tomlkit.item(_clean(f"the site itself, asked as {survey.user}")))
    if re.fullmatch(r"\d{4}-\d\d-\d\d", survey.taken_on):
        document.add("checked_on", tomlkit.item(date.fromisoformat(survey.taken_on)))
    if account:
        document.add("account", _told(account, "yours: take it out before you share this file"))
    document.add("login", _login(survey, access))
    document.add("scheduler", _scheduler(survey, queue))
    if any(usable(survey)):
        document.add("queues", _queues(survey))
    document.add("environments", _environments(environment, others))
    document.add("session", _session(queue))
    document.add("dask", _dask(queue))
    batch = next((one for one in others if has_mpi(one)), None)
    if batch and not (environment and has_mpi(environment)):
        document.add("mpi", _table(environment=_names(others)[batch.python]))
    text = (
        tomlkit.dumps(document)
        + "\n"
        + "".join(f"{_clean(f'# {line}').rstrip()}\n" for line in found_lines(survey))
    )
    Site.model_validate(tomlkit.parse(text).unwrap())
    return Profile(name, text, told)


def _needed_account(survey: Survey) -> str | None:
    """The account without which nothing runs, where it is the only one."""
    accounts = survey.accounts or ()
    return accounts[0] if survey.account_required and len(accounts) == 1 else None


def _head(survey: Survey, told: tuple[str, ...]) -> Iterator[str]:
    yield f"Written by `hpclaunch site init` on {survey.taken_on}:"
    yield f"{survey.release} on {survey.host}."
    yield "What stands here was measured, or is said to be a choice. What could not be told is left"
    yield "out; the scheduler has the last word. Keys and meanings: `hpclaunch site schema`."
    if told:
        yield ""
        yield "To look at:"
        for line in told:
            yield from wrapped(f"- {line}")
    yield ""


def _login(survey: Survey, access: Access) -> Table:
    table = _table(
        transport=access.transport,
        host=access.host,
        user=access.user,
        port=access.port,
        identity=access.identity,
        ssh_config=access.ssh_config,
    )
    if survey.prologue:
        table.add(tomlkit.comment("Without this the scheduler's commands are not found there."))
        table.add("prologue", list(survey.prologue))
    return table


def _scheduler(survey: Survey, queue: FoundQueue | None) -> Table:
    table = _table(kind=survey.scheduler)
    if queue is not None:
        why = "the scheduler's own default" if queue.default else "a choice: there is no default"
        table.add("default_queue", _told(queue.name, why))
    if survey.account_required:
        table.add("account_required", _told(True, f"accounts: {_some(survey.accounts)}"))
    elif survey.default_account:
        table.add(
            tomlkit.comment(
                _clean(
                    f"Jobs without an account are charged to {survey.default_account}, yours"
                    f" of: {_some(survey.accounts)}"
                )
            )
        )
    if survey.dialect:
        table.add("pbs", _table(dialect=survey.dialect))
    units = tomlkit.table()
    if survey.memory_unit in ("KB", "MB", "GB", "TB"):
        units.add("memory_unit", _told(survey.memory_unit, "LSF_UNIT_FOR_LIMITS of lsf.conf"))
    if survey.memory_per:
        units.add("memory_per", _told(survey.memory_per, "RESOURCE_RESERVE_PER_TASK of bparams"))
    if survey.scheduler == "lsf" and len(units):
        table.add("lsf", units)
    return table


def _queues(survey: Survey) -> Any:
    array = tomlkit.aot()
    by_name: dict[str, FoundQueue] = {}
    for queue in usable(survey):
        by_name.setdefault(queue.name, queue)
    for queue in by_name.values():
        array.append(_queue(queue, survey))
    return array


def _queue(queue: FoundQueue, survey: Survey) -> Table:
    kinds = queue.nodes
    table = tomlkit.table()
    for kind in kinds:
        table.add(tomlkit.comment(_clean(kind_words(kind))))
    table.add("name", tomlkit.item(queue.name))
    for key, value in (
        ("qos", queue.qos),
        ("max_walltime", queue.max_walltime and str(queue.max_walltime)),
        ("min_nodes", queue.min_nodes),
        ("max_nodes", min(filter(None, (queue.max_nodes, queue.total_nodes)), default=None)),
        ("cores_per_node", max((kind.cores for kind in kinds), default=None)),
        ("memory_per_node", _most_memory(queue)),
        ("gpus_per_node", max((kind.gpus for kind in kinds), default=0) or None),
        ("max_jobs", min(filter(None, (queue.max_jobs, survey.max_jobs)), default=None)),
    ):
        if value is not None:
            table.add(key, tomlkit.item(value))
    if survey.scheduler == "slurm" and takes_whole_nodes(queue):
        table.add("memory_as", _told("whole", "its jobs get whole nodes"))
    elif survey.scheduler == "slurm" and kinds and all(kind.memory is None for kind in kinds):
        table.add("memory_as", _told("none", "the scheduler knows of no memory to ask for"))
    if queue.allowed is None:
        table.add("choose", _told(False, "whether it takes your jobs could not be told"))
    return table


def _most_memory(queue: FoundQueue) -> str | None:
    sizes = [kind.memory for kind in queue.nodes]
    known = [size for size in sizes if size is not None]
    return str(_readable(max(known))) if known and len(known) == len(sizes) else None


def _readable(size: Memory) -> Memory:
    """In whole MiB as schedulers count, which is exact, or rounded down to them."""
    return Memory(max(size.bytes // 2**20, 1) * 2**20)


def _environments(chosen: FoundEnvironment | None, others: tuple[FoundEnvironment, ...]) -> Table:
    table = tomlkit.table(is_super_table=True)
    default = tomlkit.table()
    if chosen is None:
        default.add(tomlkit.comment("No Python with JupyterLab was found: name yours here."))
        default.add("python", tomlkit.item("python3"))
    else:
        for line in env_words(chosen):
            default.add(tomlkit.comment(_clean(line)))
        default.add("python", tomlkit.item(chosen.python))
    table.add("default", default)
    names = _names(others)
    for one in others[:_OTHERS]:
        inner = tomlkit.table()
        for line in env_words(one):
            inner.add(tomlkit.comment(_clean(line)))
        inner.add("python", tomlkit.item(one.python))
        table.add(names[one.python], inner)
    return table


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
    table = tomlkit.table()
    table.add(tomlkit.comment("What `hpclaunch start` asks for by default: a choice."))
    table.add("walltime", tomlkit.item(str(sizes.walltime)))
    table.add("cores", tomlkit.item(sizes.cores))
    if sizes.memory is not None:
        table.add("memory", tomlkit.item(str(sizes.memory)))
    return table


def _dask(queue: FoundQueue | None) -> Table:
    sizes = choose_sizes(queue)
    table = tomlkit.table()
    table.add(tomlkit.comment("One worker, with `--workers N`: a choice."))
    table.add("cores", tomlkit.item(sizes.worker_cores))
    if sizes.worker_memory is not None:
        table.add("memory", tomlkit.item(str(sizes.worker_memory)))
    else:
        guess = Memory(2 * 10**9 * sizes.worker_cores)
        table.add("memory", _told(str(guess), "a guess: what nodes have is not known"))
    if sizes.processes > 1:
        table.add("processes", _told(sizes.processes, "workers of one job, which has a whole node"))
    return table


def _table(**values: Any) -> Table:
    table = tomlkit.table()
    for key, value in values.items():
        if value is not None:
            table.add(key, tomlkit.item(value))
    return table


def _told(value: Any, comment: str) -> Any:
    item = tomlkit.item(value).comment(_clean(comment))
    item.trivia.comment_ws = "  "
    return item


def _some(names: tuple[str, ...] | None, most: int = 12) -> str:
    names = names or ()
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "") or "not known"


def _clean(text: str) -> str:
    """One printable line, whatever a site may have said."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
