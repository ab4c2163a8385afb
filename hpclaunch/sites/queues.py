"""The tables ``[[queues]]`` of a site profile: queues, told by their limits."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from hpclaunch.sites.scheduler_table import Table
from hpclaunch.sites.values import (
    Count,
    CountOrNone,
    Flag,
    Line,
    MemoryValue,
    WalltimeValue,
    one_line,
)
from hpclaunch.units import MemoryAs

__all__ = ["Queue", "WalltimeBin"]


class WalltimeBin(Table):
    """How long jobs of a queue may run, by the number of their nodes."""

    max_nodes: Count
    """The bin is for jobs of so many nodes or fewer, down to the bin before."""

    max_walltime: WalltimeValue
    """Longest job in it."""


class Queue(Table):
    """One queue (SLURM: partition), told by its limits so that a plan can be held against them."""

    name: Line
    """What people call it; as the scheduler spells it, where `partition` says nothing else."""

    partition: Annotated[str, AfterValidator(one_line)] | None = None
    """SLURM's partition, where that is not the name; ``""`` where jobs name a QOS alone."""

    qos: Line | None = None
    """SLURM's QOS of its jobs."""

    memory_as: MemoryAs = "node"
    """How memory is asked for: of each ``node``, of each ``core``, as the ``whole`` memory of each
    node (SLURM: ``--mem=0``), or ``none`` where the site refuses to be asked. What a session or a
    worker may use is the same in every case."""

    choose: Flag = True
    """Whether a plan may take it by itself: where nobody names a queue, the first one whose limits
    allow the job is taken. ``false`` for queues that are for some people only, or cost more."""

    max_walltime: WalltimeValue | None = None
    """Longest job."""

    walltime_bins: tuple[WalltimeBin, ...] = ()
    """Where the longest job depends on its number of nodes: bins, fewest nodes first. A job of more
    nodes than the last bin has is held against ``max_walltime``."""

    min_nodes: Count = 1
    """Fewest nodes of a job."""

    max_nodes: Count | None = None
    """Most nodes of a job."""

    cores_per_node: Count | None = None
    """Cores that a job may use on one node, as the scheduler counts CPUs."""

    memory_per_node: MemoryValue | None = None
    """Memory that a job may use on one node; less than what is installed."""

    gpus_per_node: CountOrNone = 0
    """GPUs of one node."""

    max_jobs: Count | None = None
    """Most jobs that one user may have in it, waiting ones included."""

    def walltime_bin(self, nodes: int) -> WalltimeBin | None:
        """The bin of a job of so many nodes, None where there is none for it."""
        return next((one for one in self.walltime_bins if nodes <= one.max_nodes), None)
