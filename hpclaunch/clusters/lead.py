"""What rank 1 of a batch job does: run the script on the cluster, and say how it ended.

The script's exit code is written to ``ending.json`` before MPI is left, and is no rank's: launchers
end a job with noise when a rank ends with another code than 0.
"""

from __future__ import annotations

import logging
import os
from dataclasses import asdict
from pathlib import Path

from hpclaunch.node import daskconfig
from hpclaunch.node.dask import place_of
from hpclaunch.node.files import write_private_json
from hpclaunch.node.job import say
from hpclaunch.node.layout import Layout
from hpclaunch.node.spec import Batch, Session

__all__ = ["lead"]

_CLOSE = 5.0  # seconds for the cluster to be told that it is over


def lead(session: Session, batch: Batch, workers: int, scratch: str) -> None:
    """Run the script as soon as all workers are there, and say how it ended.

    Parameters
    ----------
    session : Session
    batch : Batch
    workers : int
        How many there will be.
    scratch : str
        Private directory of this rank.
    """
    import dask
    from distributed import Client

    from hpclaunch.clusters import program
    from hpclaunch.clusters.state import State

    scheduler = dask.config.get("scheduler-address")
    with Client(scheduler, timeout=session.start_timeout) as client:
        client.wait_for_workers(workers, timeout=session.start_timeout)
    # For what the script starts: a process of its own finds the cluster too.
    place = place_of(session, os.environ, scratch, scratch)
    write_private_json(
        session.path(Layout.DASK_FILE), daskconfig.settings(session, place, scheduler)
    )
    state = State("running", "mpi", scheduler, workers)
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
