"""How files are best read by xarray and Dask, by rules. Pure: facts in, advice out.

The rules come from measurements on files of 0.2 GB to 2 GB (docs/performance.md): a decoded block
of about 16 MB stays in a processor's cache, one of 128 MB (Dask's own choice) costs half as much
again; one task for each HDF5 chunk costs two to three times as much; blocks that cut through
chunks decode them twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hpclaunch.storage.arrangement import Access
from hpclaunch.storage.chunking import chunk_shape, even
from hpclaunch.storage.describe import FileFacts, VariableFacts
from hpclaunch.storage.places import Place

__all__ = ["Advice", "Machine", "Pattern", "advise_facts", "block_shape", "stripe_command"]

Pattern = Literal["map", "series", "all"]

SMALLEST, USUAL, LARGEST = 8 * 2**20, 16 * 2**20, 32 * 2**20
"""Bytes of a decoded block, where nothing else speaks against it."""

MANY_TASKS, MOST_TASKS = 10_000, 50_000
"""Tasks of one variable. With more than the first, blocks grow up to the largest; the second is
not exceeded, because a scheduler spends some 0.2 ms on each."""

TASKS_PER_CORE = 4
"""So many at least, that no core waits for the last one."""

HOLDS = 6
"""Blocks that a thread may hold at once: input, output and what lies between."""

WORTH = 16
"""Bytes decoded for one that is wanted, from where on another chunk shape is worth its making."""


@dataclass(frozen=True)
class Machine:
    """What reads.

    Attributes
    ----------
    workers : int
        Processes.
    threads : int
        Of each worker.
    memory : int
        Bytes of each worker.
    """

    workers: int = 1
    threads: int = 1
    memory: int = 4 * 2**30

    @property
    def cores(self) -> int:
        """Threads of all workers."""
        return max(1, self.workers * self.threads)


@dataclass(frozen=True)
class Advice:
    """One thing to do.

    Attributes
    ----------
    key : str
        What it is about, such as ``chunks`` or ``HDF5_USE_FILE_LOCKING``.
    value : str, int, dict or None
        What it shall be; None where it shall be left as it is.
    reason : str
        Why, for people.
    about : str
        The variable, or "" for all files.
    """

    key: str
    value: str | int | Mapping[str, int] | None
    reason: str
    about: str = ""


def block_shape(
    shape: Sequence[int],
    chunk: Sequence[int] | None,
    itemsize: int,
    pattern: Pattern,
    machine: Machine,
    *,
    files: int = 1,
) -> tuple[int, ...]:
    """Choose the shape of Dask's blocks: whole chunks, and neither too many nor too large.

    Parameters
    ----------
    shape : sequence of int
        Of the variable in one file.
    chunk : sequence of int or None
        The HDF5 chunk; None where it is contiguous.
    itemsize : int
        Bytes of a decoded element.
    pattern : {"map", "series", "all"}
        ``series`` grows blocks along the first dimension first, the others along the last.
    machine : Machine
    files : int
        So many of them are read together.

    Returns
    -------
    tuple of int
        Multiples of the chunk, or the whole dimension. A single chunk is never cut.
    """
    if not shape:
        return ()
    unit = tuple(min(c, max(n, 1)) for c, n in zip(chunk or (1,) * len(shape), shape, strict=True))
    total = math.prod(shape) * itemsize * files
    room = max(itemsize, _target(total, machine))
    block = list(unit)
    axes = list(range(len(shape)))
    if pattern == "series" and math.prod(unit[1:]) * shape[0] * itemsize <= _most(machine):
        block[0] = max(shape[0], 1)  # whole series, even where that makes larger blocks
        axes = axes[1:]
    for axis in axes if pattern == "series" else reversed(axes):
        spare = room // (math.prod(block) * itemsize)
        if spare < 1:
            break
        grid = -(-shape[axis] // unit[axis]) if shape[axis] else 1
        block[axis] = min(shape[axis], even(grid, min(grid, spare)) * unit[axis]) or unit[axis]
        if block[axis] < shape[axis]:
            break
    return tuple(block)


def _target(total: int, machine: Machine) -> int:
    """Bytes of a block: enough blocks for all cores, not too many tasks, nor too much memory."""
    wanted = min(max(total // (TASKS_PER_CORE * machine.cores), SMALLEST), USUAL)
    wanted = max(wanted, min(total // MANY_TASKS, LARGEST), total // MOST_TASKS)
    return min(wanted, _fits(machine))


def _most(machine: Machine) -> int:
    return min(LARGEST, _fits(machine))


def _fits(machine: Machine) -> int:
    """Bytes of a block of which a worker's memory holds as many as its threads need."""
    return machine.memory // (HOLDS * max(1, machine.threads))


def advise_facts(
    facts: FileFacts, place: Place, machine: Machine, pattern: Pattern = "all", *, files: int = 1
) -> tuple[Advice, ...]:
    """Advise on files that are laid out like one of them.

    Parameters
    ----------
    facts : FileFacts
    place : Place
    machine : Machine
    pattern : {"map", "series", "all"}
    files : int
        How many there are.
    """
    data = [one for one in facts.variables if one.nbytes and len(one.shape) > 1]
    return (
        _engine(facts),
        *(_blocks(one, pattern, machine, files) for one in data),
        _processes(machine),
        _locking(place),
        *_library_cache(data),
        *(advice for one in data for advice in _rechunk(one, pattern)),
        *_stripes(place, facts.size),
    )


def _engine(facts: FileFacts) -> Advice:
    left = [one.name for one in facts.variables if one.reason]
    if left and len(left) == len(facts.variables):
        return Advice("engine", "netcdf4", "all variables are left to the HDF5 library")
    some = f"; the HDF5 library reads {', '.join(left)}" if left else ""
    return Advice("engine", "hpclaunch", f"it decodes outside of HDF5's lock{some}")


def _blocks(one: VariableFacts, pattern: Pattern, machine: Machine, files: int) -> Advice:
    nbytes = one.nbytes or 0
    itemsize = nbytes // math.prod(one.shape)
    block = block_shape(one.shape, one.chunks, itemsize, pattern, machine, files=files)
    tasks = files * math.prod(-(-n // b) for n, b in zip(one.shape, block, strict=True))
    each = math.prod(block) * itemsize
    whole = "whole HDF5 chunks, " if one.chunks is not None else ""
    reason = f"{whole}{each / 2**20:.3g} MiB decoded in each of {tasks} tasks"
    return Advice("chunks", dict(zip(one.dims, block, strict=True)), reason, one.name)


def _processes(machine: Machine) -> Advice:
    if machine.workers > 1 and machine.threads == 1:
        return Advice(
            "threads",
            "more threads in fewer workers",
            "decoding does not hold Python's lock, and threads share decoded chunks",
        )
    return Advice("threads", None, "threads decode beside one another")


def _locking(place: Place) -> Advice:
    key = "HDF5_USE_FILE_LOCKING"
    if place.shared:
        return Advice(
            key,
            "FALSE",
            f"for reading on {place.kind.title}: locks over the network are slow or refused, and "
            "nobody writes to these files",
        )
    return Advice(key, None, f"locks are cheap on {place.kind.title}")


def _library_cache(data: Sequence[VariableFacts]) -> Iterator[Advice]:
    """The chunk cache of the HDF5 library, for what it must read (H5Pset_chunk_cache)."""
    for one in data:
        if not one.reason or one.chunks is None or not one.count:
            continue
        costs = [cost for cost in (one.maps, one.series) if cost is not None]
        chunk = (one.nbytes or 0) * math.prod(one.chunks) // math.prod(one.shape)
        held = min((cost.chunks for cost in costs), default=1)
        size = min(max(2**20, chunk * held), 2**28)
        if size >= chunk:
            yield Advice(
                "rdcc_nbytes",
                size,
                f"the HDF5 library reads it, and keeps {size // max(chunk, 1)} of its chunks then",
                one.name,
            )


def _rechunk(one: VariableFacts, pattern: Pattern) -> Iterator[Advice]:
    """Whether another chunk shape is worth writing the file anew."""
    cost = {"map": one.maps, "series": one.series, "all": None}[pattern]
    if cost is None or cost.amplification < WORTH or cost.decoded < LARGEST or not one.nbytes:
        return
    itemsize = one.nbytes // math.prod(one.shape)
    shape = chunk_shape(one.shape, itemsize, "all")
    better = _cost_with(one.shape, shape, itemsize, pattern)
    if better.decoded * 4 > cost.decoded:
        return
    pays = max(1, round(3 * one.nbytes / (cost.decoded - better.decoded)))
    yield Advice(
        "rechunk",
        dict(zip(one.dims, shape, strict=True)),
        f"one {pattern} decodes {cost.decoded / 2**20:.3g} MiB, with these chunks "
        f"{better.decoded / 2**20:.3g} MiB: writing it anew pays after about {pays} of them",
        one.name,
    )


def _cost_with(
    shape: Sequence[int], chunk: Sequence[int], itemsize: int, pattern: Pattern
) -> Access:
    single = range(len(shape) - 2) if pattern == "map" else range(1, len(shape))
    grid = [-(-n // c) for n, c in zip(shape, chunk, strict=True)]
    chunks = math.prod(1 if i in single else n for i, n in enumerate(grid))
    wanted = math.prod(1 if i in single else n for i, n in enumerate(shape))
    return Access(chunks, chunks * math.prod(chunk) * itemsize, wanted * itemsize)


def _stripes(place: Place, size: int) -> Iterator[Advice]:
    command = stripe_command(place.kind.name, size)
    if command is None:
        return
    now = place.stripes
    if now is not None and 0 < now.count < _targets(size):
        yield Advice(
            "stripes",
            command,
            f"for new files of this size: these lie on {now.count} target(s) only",
        )


def _targets(size: int) -> int:
    """Targets for a file: one for each 4 GiB, a power of two up to 16.

    Small files have one: each further target costs time when they are opened.
    """
    return min(16, 1 << max(0, -(-size // 2**32) - 1).bit_length())


def stripe_command(kind: str, size: int) -> str | None:
    """What sets the stripes for new files of `size` bytes in a directory; None where nothing does.

    Sources: lfs-setstripe(1); BeeGFS's documentation, "Striping".
    """
    count = _targets(size)
    if kind == "lustre":
        return (
            f"lfs setstripe -E 1G -c 1 -S 1M -E -1 -c {count} -S 4M DIRECTORY"
            if count > 1
            else "lfs setstripe -c 1 -S 1M DIRECTORY"
        )
    if kind == "beegfs":
        return f"beegfs entry set --num-targets={count} --chunk-size=1M DIRECTORY"
    return None
