"""The block layout: one job of several nodes in which MPI starts the ranks of dask-mpi. Pure.

Rank 0 is the Dask scheduler and lies on the first node, where a session's JupyterLab runs too; in a
batch rank 1, beside it, runs the script. All other ranks are workers, as many on every node.
"""

from __future__ import annotations

from dataclasses import replace

from hpclaunch.errors import PlanError, UsageError
from hpclaunch.limits import willing_queues
from hpclaunch.node.layout import Layout
from hpclaunch.node.spec import Batch, Block
from hpclaunch.request import Request
from hpclaunch.schedulers.base import JobSpec
from hpclaunch.sites.catalog import LoadedSite
from hpclaunch.units import Memory

__all__ = ["block_job", "has_block", "plan_batch", "plan_block"]

_FEWEST = 2  # workers of a node where nobody says how many: a cluster of one worker is none
_LEAST = Memory.parse("200 MB")  # a Dask worker that has done nothing yet needs nearly as much


def has_block(request: Request) -> bool:
    """Whether the workers are ranks of the job itself."""
    return request.program is not None or request.dask == "mpi"


def block_job(loaded: LoadedSite, request: Request, name: str, account: str | None) -> JobSpec:
    """The job that holds all ranks.

    Cores and memory are those of a whole node: without wishes as many cores as its workers need,
    and memory for them and for what else runs on the first node, as far as the queue has it.

    Raises
    ------
    UsageError
        If a session asks for workers that cannot be as many on every node.
    PlanError
        If nobody says how much memory the workers get.
    """
    site, workers = loaded.site, _workers_per_node(loaded, request)
    usual, of_session = site.scheduler.default_queue, site.session.queue
    named = (usual, of_session) if request.program else (of_session, usual)
    queue = request.queue or named[0] or named[1]
    gpus = request.gpus if request.gpus is not None or request.program else site.session.gpus
    job = JobSpec(
        name=name,
        log="job.log",
        walltime=request.walltime or site.session.walltime,
        nodes=request.nodes or 1,
        cores=request.cores or workers * site.dask.cores,
        gpus=gpus or 0,
        queue=queue,
        account=account,
    )
    return replace(job, memory=request.memory or _memory(loaded, request, job, workers))


def plan_block(loaded: LoadedSite, request: Request, job: JobSpec) -> Block | None:
    """The ranks of the job, None where the workers are none of it.

    Raises
    ------
    PlanError
        If the workers of a node have no core each, or there is too little memory for the ranks.
    """
    if not has_block(request):
        return None
    assert job.memory is not None  # `block_job` sees to it
    workers, others = _workers_per_node(loaded, request), _others(request)
    option = "--workers-per-node" if request.program else "--workers"
    if job.cores < workers:
        raise PlanError(
            f"{workers} workers on each node need as many cores, and --cores asks for {job.cores}",
            hint=f"ask for --cores {workers} or more, or for fewer {option}",
        )
    beside = _beside(loaded, request)
    memory = job.memory.bytes - beside
    if memory < (workers + others) * _LEAST.bytes:
        for_lab = f" beside {Memory(beside)} for JupyterLab" if beside else ""
        needed = Memory((workers + others) * _LEAST.bytes + beside)
        raise PlanError(
            f"{job.memory} of memory on each node is too little for {workers + others} ranks of "
            f"at least {_LEAST}{for_lab}",
            hint=f"ask for --memory '{needed}' or more, or for fewer {option}",
        )
    return Block(
        nodes=job.nodes,
        workers_per_node=workers,
        others=others,
        threads=job.cores // workers,
        memory=memory,
        launcher=loaded.site.mpi.launcher,
    )


def plan_batch(request: Request) -> Batch | None:
    """What a batch job runs, None for a session.

    A program that is sent along will lie in the session's directory.
    """
    program = request.program
    if program is None:
        return None
    sent = program.content is not None
    path = f"{Layout.PROGRAM}/{program.name}" if sent else program.path
    return Batch(path, program.arguments)


def _others(request: Request) -> int:
    """Ranks that are no workers: the scheduler, and the one that runs a script."""
    return 1 if request.program is None else 2


def _workers_per_node(loaded: LoadedSite, request: Request) -> int:
    """As asked for; otherwise those of a worker job, which a profile sizes for its nodes."""
    usual = max(loaded.site.dask.processes, _FEWEST)
    if request.program is not None:
        return request.workers_per_node or usual
    nodes, workers = request.nodes or 1, request.workers
    if workers is None:
        return usual
    if workers == 0 or workers % nodes:
        raise UsageError(
            f"--dask mpi --workers {workers}: there are as many workers on each node "
            f"(--nodes {nodes}), at least one",
            hint=f"ask for --workers {max(1, workers // nodes) * nodes} or another multiple of "
            f"{nodes}"
            if nodes > 1
            else "ask for --workers 1 or more",
        )
    return workers // nodes


def _beside(loaded: LoadedSite, request: Request) -> int:
    """Bytes of each node that are not for ranks: a session's JupyterLab and its kernels."""
    if request.program is not None:
        return 0
    kept = loaded.site.session.memory or loaded.site.dask.memory
    return kept.bytes if kept else 0


def _memory(loaded: LoadedSite, request: Request, job: JobSpec, workers: int) -> Memory:
    """Memory of a node: each of its ranks gets what a worker gets, within what the queue has.

    Where the queue will be chosen, within what the largest of those has that take the job.
    """
    one = loaded.site.dask.memory
    if one is None:
        raise PlanError(
            f"site {loaded.site.name} does not say how much memory a Dask worker gets",
            hint=f"give --memory (of each node), or set memory in [dask] of {loaded.path}",
        )
    wanted = Memory((workers + _others(request)) * one.bytes + _beside(loaded, request))
    named = loaded.site.queue(job.queue)
    queues = willing_queues(loaded, job) if job.queue is None else (named,)
    most = [queue.memory_per_node if queue else None for queue in queues]
    limits = [memory for memory in most if memory is not None]
    return min(wanted, max(limits)) if limits and None not in most else wanted
