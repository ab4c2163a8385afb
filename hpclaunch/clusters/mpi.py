"""One rank of a job, by dask-mpi: the Dask scheduler, the script of a batch, or a worker.

``LAUNCHER PYTHON -m hpclaunch.clusters.mpi SESSION_DIR`` runs as many times as the job has ranks.
Rank 0 is the scheduler; in a batch rank 1 runs the script, and its output is the job's log. All
others are workers, and have logs of their own.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from hpclaunch.clusters.lead import lead
from hpclaunch.node import address, daskconfig, ranks
from hpclaunch.node.dask import place_of
from hpclaunch.node.failure import Failure
from hpclaunch.node.files import remove
from hpclaunch.node.job import report
from hpclaunch.node.layout import LOOPBACK_ANY, Layout
from hpclaunch.node.spec import Block, Session, read_session

__all__ = ["main"]

_SCHEDULER, _SCRIPT = 0, 1
_SCHEDULERS = "distributed.scheduler."
_GRACE = 1.0  # seconds for the other ranks to tidy up, when the job is asked to end
_WORKER = "hpclaunch.clusters.rankworker.RankWorker"
_NO_PAGES = {"dashboard": False, "dashboard_address": LOOPBACK_ANY}
_SCHEDULER_FILE = f"{Layout.WORKERS}/scheduler.json"  # where workers look for it
# As a nanny of Dask sets them: a worker's threads are its own, not each library's as well.
_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def run(session: Session, block: Block) -> None:
    """Be the rank that MPI says we are, until the cluster's end."""
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    rank, size = world.Get_rank(), world.Get_size()
    if size != block.ranks:
        library = ranks.library_name(MPI.Get_library_version())
        report(session.directory, Failure.mpi_mismatch(block.ranks, size, library))
        return
    beside = world.Split_type(MPI.COMM_TYPE_SHARED).Get_size()
    speaker = _SCHEDULER if session.batch is None else _SCRIPT
    if rank != speaker:
        _speak_into(session.path(ranks.log_of(rank)))
    if rank >= block.others:
        for name in _ONE_THREAD:
            os.environ.setdefault(name, "1")
    os.chdir(session.work_dir)
    sys.path.append(
        session.work_dir if session.batch is None else str(Path(session.batch.program).parent)
    )
    with _scratch(session) as scratch:
        mine: dict[str, Any] = {"temporary-directory": scratch}
        if session.batch is None:
            _serve(session, block, rank, block.memory // beside, mine)
            return
        mine["hpclaunch.node-directory"] = scratch
        if rank == _SCHEDULER:  # its pages have no login, and cannot be seen from the laptop
            mine.update({_SCHEDULERS + "http.routes": [], _SCHEDULERS + "preload": []})
        if rank == _SCRIPT:
            mine["logging.distributed"] = "warning"  # the job's log is the script's
        _join(session, block, block.memory // beside, mine)
        if rank == _SCRIPT:
            lead(session, session.batch, block.workers, scratch)


def _speak_into(path: str) -> None:
    """Send our output there; the job's log is the script's."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)


@contextlib.contextmanager
def _scratch(session: Session) -> Iterator[str]:
    """A new private directory of this node, where this rank spills."""
    base = daskconfig.scratch_here(session)
    if base is not None:
        Path(base).mkdir(parents=True, exist_ok=True)
    made = tempfile.mkdtemp(prefix="hpclaunch-", dir=base)

    def leave(_number: int, _frame: FrameType | None) -> None:
        """The job is cancelled or over: as Python does, nothing else is unwound."""
        shutil.rmtree(made, ignore_errors=True)
        time.sleep(_GRACE)  # launchers kill all ranks when the first one leaves like this
        os._exit(0)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield made
    finally:
        remove(made)


def _join(session: Session, block: Block, memory: int, mine: dict[str, Any]) -> None:
    """Take part in a batch's cluster: the script's rank returns at once, the others at its end.

    Parameters
    ----------
    memory : int
        Of one worker, bytes: the node's, shared by all ranks on it, so that all together never
        have more than the job.
    mine : dict
        Dask's configuration of this rank, over that of the session.
    """
    import dask

    dask.config.set(mine)
    from dask_mpi import initialize

    initialize(
        interface=_interface(session),
        nthreads=block.threads,
        local_directory=mine["temporary-directory"],
        memory_limit=memory,
        dashboard=False,
        dashboard_address=LOOPBACK_ANY,
        protocol=session.protocol.removesuffix("://"),
        worker_class=_WORKER,
        worker_options=_NO_PAGES,
        exit=False,
    )


def _serve(session: Session, block: Block, rank: int, memory: int, mine: dict[str, Any]) -> None:
    """Take part in a session's cluster until its end; see `_join`."""
    import dask

    if rank != _SCHEDULER:
        mine["hpclaunch.node-directory"] = mine["temporary-directory"]
    dask.config.set(mine)
    from dask_mpi import cli

    from hpclaunch.clusters.blockcluster import BlockScheduler

    if rank == _SCHEDULER:
        directory = dask.config.get("hpclaunch.node-directory")
        if not Path(directory).is_dir():  # it belongs to the agent, who is on the first node
            report(session.directory, Failure.rank_astray(socket.gethostname()))
            raise SystemExit(1)
        place = place_of(session, os.environ, directory, mine["temporary-directory"])
        # dask-mpi takes no class of scheduler, and one that is locked later was open before.
        cli.Scheduler = partial(BlockScheduler, session=session, block=block, place=place)
    interface = _interface(session)
    argv = {
        **({"--interface": interface} if interface else {}),
        "--scheduler-file": session.path(_SCHEDULER_FILE),
        "--protocol": session.protocol.removesuffix("://"),
        "--nthreads": str(block.threads),
        "--memory-limit": str(memory),
        "--local-directory": mine["temporary-directory"],
        "--dashboard-address": LOOPBACK_ANY,
        "--worker-class": _WORKER,
        "--worker-options": json.dumps(_NO_PAGES),
        "--name": "rank",
    }
    cli.main([word for pair in argv.items() for word in pair], standalone_mode=False)


def _interface(session: Session) -> str | None:
    """The network interface that other nodes reach us by."""
    found = [address.LOOPBACK] if session.is_local else address.for_nodes(session.interface)
    return address.interface_of(found[0]) if found else None


def main(argv: list[str]) -> None:
    """Be one rank of the batch job in the directory ``argv[0]``."""
    session = read_session(argv[0])
    if session.block is None:
        raise ValueError(f"{Layout.SPEC} describes no ranks")
    if sys.path and os.path.realpath(sys.path[0]) == os.path.realpath(session.directory):
        del sys.path[0]
    try:
        run(session, session.block)
    except Exception:
        # Without a word MPI's end would wait for the other ranks, and they for us.
        traceback.print_exc()
        sys.stderr.flush()
        from mpi4py import MPI

        MPI.COMM_WORLD.Abort(1)


if __name__ == "__main__":
    main(sys.argv[1:])
