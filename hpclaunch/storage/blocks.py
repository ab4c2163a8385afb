"""The shape of Dask's blocks: whole chunks, and neither too many nor too large. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hpclaunch.storage.chunking import Access, even

__all__ = ["LARGEST", "MOST_TASKS", "SMALLEST", "Machine", "block_shape", "fits"]


SMALLEST, USUAL, LARGEST = 8 * 2**20, 24 * 2**20, 32 * 2**20
"""Bytes of a decoded block, where nothing else speaks against it."""

SMALL_CHUNK = 32 * 2**10
"""Bytes of a decoded chunk up to which blocks are the largest: what Python spends on a block is
then much beside what a part of it costs to read."""

MANY_TASKS, MOST_TASKS = 10_000, 50_000
"""Tasks of one variable. With more than the first, blocks grow up to the largest; the second is
not exceeded, because a scheduler spends some 0.2 ms on each."""

TASKS_PER_CORE = 4
"""So many at least, that no core waits for the last one."""

HOLDS = 6
"""Blocks that a thread may hold at once: input, output and what lies between."""


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


def block_shape(
    shape: Sequence[int],
    chunk: Sequence[int] | None,
    itemsize: int,
    pattern: Access,
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
    small = chunk is not None and math.prod(unit) * itemsize <= SMALL_CHUNK
    room = max(itemsize, _target(total, machine, LARGEST if small else USUAL))
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


def _target(total: int, machine: Machine, usual: int) -> int:
    """Bytes of a block: enough blocks for all cores, not too many tasks, nor too much memory."""
    wanted = min(max(total // (TASKS_PER_CORE * machine.cores), SMALLEST), usual)
    wanted = max(wanted, min(total // MANY_TASKS, LARGEST), total // MOST_TASKS)
    return min(wanted, fits(machine))


def _most(machine: Machine) -> int:
    return min(LARGEST, fits(machine))


def fits(machine: Machine) -> int:
    """Bytes of a block of which a worker's memory holds as many as its threads need."""
    return machine.memory // (HOLDS * max(1, machine.threads))
