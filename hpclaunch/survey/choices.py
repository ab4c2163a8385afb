"""What a profile asks for by default, from what was found. Pure.

The sizes are ours: small enough for every node of the queue, so that a first session starts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hpclaunch.survey.findings import FoundEnvironment, FoundQueue, Survey
from hpclaunch.units import Memory, Walltime

__all__ = [
    "Sizes",
    "choose_environment",
    "choose_name",
    "choose_queue",
    "choose_sizes",
    "has_mpi",
    "node_size",
    "takes_whole_nodes",
    "usable",
]

_USUAL = Walltime(4 * 3600)
_SMALL = 2 * 10**9  # bytes with which JupyterLab and a kernel are at ease
_MUCH = 16 * 10**9
_SESSION = ("jupyterlab", "distributed", "dask-jobqueue", "jupyter-server-proxy")
_BATCH = ("mpi4py", "dask-mpi")


@dataclass(frozen=True)
class Sizes:
    """What sessions and workers ask for.

    Attributes
    ----------
    walltime : Walltime
    cores, worker_cores, processes : int
        Of the session, of one worker; workers of one job.
    memory, worker_memory : Memory or None
        None where nobody knows what a node has.
    """

    walltime: Walltime
    cores: int
    memory: Memory | None
    worker_cores: int
    worker_memory: Memory | None
    processes: int = 1


def usable(survey: Survey) -> Iterator[FoundQueue]:
    """Queues that run jobs, and take those of this user as far as can be told."""
    return (one for one in survey.queues if one.name and one.open and one.allowed is not False)


def choose_queue(survey: Survey) -> FoundQueue | None:
    """The scheduler's default queue where it can be used, else the largest one that can."""
    queues = list(usable(survey))
    for queue in queues:
        if queue.default:
            return queue

    def size(queue: FoundQueue) -> tuple[bool, bool, int]:
        plain = not any(kind.gpus for kind in queue.nodes)
        return queue.allowed is True, plain, queue.total_nodes or 0

    return max(queues, key=size, default=None)


def node_size(queue: FoundQueue | None) -> tuple[int, Memory | None]:
    """Cores and memory that every node of a queue has; 1 core where nothing is known."""
    kinds = queue.nodes if queue else ()
    sizes = [kind.memory for kind in kinds]
    known = [size for size in sizes if size is not None]
    memory = min(known) if known and len(known) == len(sizes) else None
    return min((kind.cores for kind in kinds), default=1), memory


def choose_sizes(queue: FoundQueue | None) -> Sizes:
    """Sizes of the session's job and of its workers."""
    cores, memory = node_size(queue)
    longest = queue.max_walltime if queue else None
    walltime = min(_USUAL, longest or _USUAL)
    if queue and takes_whole_nodes(queue):
        processes = max(1, cores // 8) if cores >= 16 else 1
        share = memory and _plain(memory.bytes * 0.9 / processes)
        whole = memory and _plain(memory.bytes * 0.9)
        return Sizes(walltime, cores, whole, cores // processes, share, processes)
    own = 1 if cores < 8 else 2 if cores < 32 else 4
    worker = max(1, min(cores // 2, 8 if cores >= 64 else 4))
    if memory is None:
        return Sizes(walltime, own, None, worker, None)
    each = memory.bytes * 0.95 / cores
    session = min(max(each * own, min(_SMALL, memory.bytes * 0.5)), _MUCH)
    return Sizes(walltime, own, _plain(session), worker, _plain(each * worker))


def takes_whole_nodes(queue: FoundQueue) -> bool:
    """Whether jobs of a queue get nodes for themselves."""
    kinds = [kind.exclusive for kind in queue.nodes]
    return bool(queue.exclusive) or (bool(kinds) and all(kinds))


def choose_environment(
    survey: Survey, python: str | None
) -> tuple[FoundEnvironment | None, tuple[FoundEnvironment, ...]]:
    """The environment of sessions, and others that have JupyterLab.

    Parameters
    ----------
    survey : Survey
    python : str or None
        The interpreter that the user wants, else the one with most of what can be used.
    """
    able = [one for one in survey.environments if "jupyterlab" in one.versions]
    if python is not None:
        place = survey.home + python[1:] if python.startswith("~/") else python

        def meant(one: FoundEnvironment) -> bool:
            return one.python == place or one.python.rpartition("/")[2] == python

        wanted = next(filter(meant, survey.environments), FoundEnvironment(python, "", {}))
        return wanted, tuple(one for one in able if one is not wanted)
    if not able:
        return None, ()

    def worth(one: FoundEnvironment) -> tuple[int, int, int]:
        counts = [sum(name in one.versions for name in names) for names in (_SESSION, _BATCH)]
        return counts[0], counts[1], len(one.versions)

    best = max(able, key=worth)
    return best, tuple(one for one in able if one is not best)


def has_mpi(one: FoundEnvironment) -> bool:
    """Whether batch jobs can use an environment."""
    return all(name in one.versions for name in _BATCH)


def choose_name(survey: Survey, host: str) -> str:
    """A site's name: what SLURM or LSF call the cluster, else the telling part of the host name."""
    labels = [] if re.fullmatch(r"[\d.:]+", host) else host.split(".")
    plain = [one for one in labels[:3] if not re.fullmatch(r"(login|gate|ssh|hpc)[-\d]*", one)]
    told = [survey.cluster] if survey.scheduler in ("slurm", "lsf") else []
    for one in (*told, *plain[:1], *labels[:1], survey.host.split(".")[0]):
        name = re.sub(r"[^a-z0-9._-]+", "-", one.lower()).strip("-._")[:32]
        if name and name != "local":
            return name
    return "mysite"


def _plain(size: float) -> Memory:
    """Rounded down, so that people can read it."""
    step = 10**9 if size >= 10**10 else 10**8
    return Memory(max(int(size // step * step), 10**8))
