"""One rank of a batch job: the Dask scheduler, the script, or a worker, by dask-mpi.

``LAUNCHER PYTHON -m hpclaunch.clusters.mpi SESSION_DIR`` runs as many times as the job has ranks.
Rank 0 is the scheduler, rank 1 runs the script, the others are workers. The output of rank 1 is the
job's log; the others have logs of their own.

The script's exit code is written to ``ending.json`` before MPI is left, and is no rank's: launchers
end a job with noise when a rank ends with another code than 0.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

from hpclaunch.node import address, daskconfig, ranks
from hpclaunch.node.agent import report, say
from hpclaunch.node.dask import place_of
from hpclaunch.node.failure import Failure
from hpclaunch.node.files import remove, write_private_json
from hpclaunch.node.layout import Layout
from hpclaunch.node.spec import Batch, Session, read_session

__all__ = ["main"]

_SCHEDULER, _SCRIPT = 0, 1
_SCHEDULERS = "distributed.scheduler."
_GRACE = 1.0  # seconds for the other ranks to tidy up, when the job is asked to end
_CLOSE = 5.0  # seconds for the cluster to be told that it is over
# As a nanny of Dask sets them: a worker's threads are its own, not each library's as well.
_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def run(session: Session, batch: Batch) -> None:
    """Be the rank that MPI says we are, until the script has ended."""
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    rank, size = world.Get_rank(), world.Get_size()
    if size != batch.ranks:
        library = ranks.library_name(MPI.Get_library_version())
        report(session.directory, Failure.mpi_mismatch(batch.ranks, size, library))
        return
    beside = world.Split_type(MPI.COMM_TYPE_SHARED).Get_size()
    if rank != _SCRIPT:
        _speak_into(session.path(ranks.log_of(rank)))
    if rank not in (_SCHEDULER, _SCRIPT):
        for name in _ONE_THREAD:
            os.environ.setdefault(name, "1")
    os.chdir(session.work_dir)
    sys.path.append(str(Path(batch.program).parent))
    with _scratch(session) as scratch:
        mine: dict[str, Any] = {"temporary-directory": scratch, "hpclaunch.node-directory": scratch}
        if rank == _SCHEDULER:  # its pages have no login, and cannot be seen from the laptop
            mine.update({_SCHEDULERS + "http.routes": [], _SCHEDULERS + "preload": []})
        if rank == _SCRIPT:
            mine["logging.distributed"] = "warning"  # the job's log is the script's
        _join(session, batch, batch.memory // beside, mine)
        if rank == _SCRIPT:
            _lead(session, batch, scratch)


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


def _join(session: Session, batch: Batch, memory: int, mine: dict[str, Any]) -> None:
    """Take part in the cluster: the script's rank returns at once, the others at its end.

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

    found = [address.LOOPBACK] if session.is_local else address.for_nodes(session.interface)
    initialize(
        interface=address.interface_of(found[0]) if found else None,
        nthreads=batch.threads,
        local_directory=mine["temporary-directory"],
        memory_limit=memory,
        dashboard=False,
        dashboard_address="127.0.0.1:0",
        protocol="tls",
        worker_class="hpclaunch.clusters.rankworker.RankWorker",
        worker_options={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
        exit=False,
    )


def _lead(session: Session, batch: Batch, scratch: str) -> None:
    """Run the script as soon as all workers are there, and say how it ended."""
    import dask
    from distributed import Client

    from hpclaunch.clusters import program
    from hpclaunch.clusters.state import State

    scheduler = dask.config.get("scheduler-address")
    with Client(scheduler, timeout=session.start_timeout) as client:
        client.wait_for_workers(batch.workers, timeout=session.start_timeout)
    # For what the script starts: a process of its own finds the cluster too.
    place = place_of(session, os.environ, scratch, scratch)
    write_private_json(
        session.path(Layout.DASK_FILE), daskconfig.settings(session, place, scheduler)
    )
    state = State("running", "mpi", scheduler, batch.workers)
    write_private_json(session.path(Layout.DASK_STATE), asdict(state))
    written: list[str] = []
    if batch.is_notebook:
        from hpclaunch.clusters import notebook

        source = Path(batch.program)
        sent = source.parent == Path(session.path(Layout.PROGRAM))
        folder = Path(session.work_dir) if sent else source.parent
        code, written = notebook.run(batch.program, folder / source.stem, session.work_dir, scratch)
        if written:
            say("saved {}".format(" and ".join(written)))
    else:
        code = program.run(batch.program, batch.arguments)
    what = f"{Path(batch.program).name} ended with exit code {code}"
    word = {"nonce": session.nonce, "cause": "script", "what": what, "exit": code}
    write_private_json(session.path(Layout.ENDING), {**word, "outputs": written})
    _dismiss(scheduler)


def _dismiss(scheduler: str) -> None:
    """End the cluster. Where it is gone already, or does not answer, the job's agent ends it."""
    from distributed import Client

    logging.disable()  # that connections end now is no news
    try:
        with Client(scheduler, timeout=_CLOSE) as client:
            client.shutdown()
    except Exception as error:  # whatever the script has left of it
        say(f"the Dask cluster does not end by itself: {error!r}")


def main(argv: list[str]) -> None:
    """Be one rank of the batch job in the directory ``argv[0]``."""
    session = read_session(argv[0])
    if session.batch is None:
        raise ValueError(f"{Layout.SPEC} describes no batch job")
    if sys.path and os.path.realpath(sys.path[0]) == os.path.realpath(session.directory):
        del sys.path[0]
    try:
        run(session, session.batch)
    except Exception:
        # Without a word MPI's end would wait for the other ranks, and they for us.
        traceback.print_exc()
        sys.stderr.flush()
        from mpi4py import MPI

        MPI.COMM_WORLD.Abort(1)


if __name__ == "__main__":
    main(sys.argv[1:])
