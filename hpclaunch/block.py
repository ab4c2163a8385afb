"""The block layout: a batch job of several nodes in which MPI starts the ranks of dask-mpi. Pure.

Rank 0 is the Dask scheduler and rank 1 runs the script; both lie on the first node, beside its
workers. All other ranks are workers, as many on every node.
"""

from __future__ import annotations

from hpclaunch.errors import PlanError
from hpclaunch.node.layout import Layout
from hpclaunch.node.spec import OTHER_RANKS, Batch
from hpclaunch.request import Request
from hpclaunch.schedulers.base import JobSpec
from hpclaunch.sites.catalog import LoadedSite
from hpclaunch.units import Memory

__all__ = ["batch_job", "plan_batch"]

_WORKERS_PER_NODE = 2  # where nobody says how many: a cluster of one worker is none


def batch_job(loaded: LoadedSite, request: Request, name: str, account: str | None) -> JobSpec:
    """The job that holds all ranks.

    Cores and memory are those of a whole node: without wishes as many cores as its workers need,
    and memory for them and for the two other ranks of the first node, as far as the queue has it.

    Raises
    ------
    PlanError
        If nobody says how much memory the workers get.
    """
    site, workers = loaded.site, _workers_per_node(request)
    queue = request.queue or site.scheduler.default_queue or site.session.queue
    return JobSpec(
        name=name,
        log="job.log",
        walltime=request.walltime or site.session.walltime,
        nodes=request.nodes or 1,
        cores=request.cores or workers * site.dask.cores,
        memory=request.memory or _memory(loaded, queue, workers),
        gpus=request.gpus or 0,
        queue=queue,
        account=account,
        extra=site.scheduler.directives,
    )


def plan_batch(loaded: LoadedSite, request: Request, job: JobSpec) -> Batch | None:
    """What the ranks of the job run, None for a session.

    A program that is sent along will lie in the session's directory.

    Raises
    ------
    PlanError
        If the workers of a node have no core each.
    """
    program = request.program
    if program is None:
        return None
    assert job.memory is not None  # `batch_job` sees to it
    workers = _workers_per_node(request)
    if job.cores < workers:
        raise PlanError(
            f"{workers} workers on each node need as many cores, and --cores asks for {job.cores}",
            hint=f"ask for --cores {workers} or more, or for fewer --workers-per-node",
        )
    sent = program.content is not None
    return Batch(
        program=f"{Layout.PROGRAM}/{program.name}" if sent else program.path,
        arguments=program.arguments,
        nodes=job.nodes,
        workers_per_node=workers,
        threads=job.cores // workers,
        memory=job.memory.bytes,
        launcher=loaded.site.mpi.launcher,
    )


def _workers_per_node(request: Request) -> int:
    return request.workers_per_node or _WORKERS_PER_NODE


def _memory(loaded: LoadedSite, queue_name: str | None, workers: int) -> Memory:
    """Memory of a node: each of its ranks gets what a worker gets, within what the queue has."""
    one = loaded.site.dask.memory
    if one is None:
        raise PlanError(
            f"site {loaded.site.name} does not say how much memory a Dask worker gets",
            hint=f"give --memory (of each node), or set memory in [dask] of {loaded.path}",
        )
    wanted = Memory((workers + OTHER_RANKS) * one.bytes)
    queue = loaded.site.queue(queue_name)
    most = queue.memory_per_node if queue else None
    return wanted if most is None else min(wanted, most)
