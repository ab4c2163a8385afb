"""Dask workers as batch jobs: dask-jobqueue's cluster, with our own way to submit and cancel.

dask-jobqueue pastes values into ``#SBATCH`` lines as they are, logs a refused submit and forgets
it, and takes the first number in the answer for the job's id. Here the directives, the commands
and the reading of their answers are those of `hpclaunch.schedulers`.
"""
# ruff: noqa: UP017  (runs on the environment's Python, which may be 3.9 or 3.10)

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from dask_jobqueue import SLURMCluster
from dask_jobqueue.slurm import SLURMJob
from distributed import Security, Status

from hpclaunch.clusters.guard import GuardedScheduler
from hpclaunch.clusters.submitter import Submitter
from hpclaunch.node import daskconfig
from hpclaunch.node.daskconfig import Place
from hpclaunch.node.layout import Layout
from hpclaunch.node.spec import Session, WorkerJobs
from hpclaunch.schedulers.base import JobSpec
from hpclaunch.shell import quote
from hpclaunch.units import Memory, Walltime

__all__ = ["arguments", "cluster", "job_class", "job_spec", "lifetime", "walltime_left"]

_MINUTE = 60
_MARGIN = timedelta(seconds=60)  # workers end before the session that holds their scheduler
_DEATH_TIMEOUT = 60  # seconds a worker looks for a scheduler that is gone
_RETREAT = 60  # seconds before its job's end that a worker hands its data to others


def walltime_left(wanted: int, end: datetime | None, now: datetime) -> Walltime:
    """How long a worker job may run: as long as is wanted, never longer than the session.

    Whole minutes, rounded down, as SLURM's clock knows no less; at least one.

    Parameters
    ----------
    wanted : int
        Seconds.
    end : datetime or None
        When the session ends.
    now : datetime
    """
    left = wanted if end is None else min(wanted, int((end - _MARGIN - now).total_seconds()))
    return Walltime(max(_MINUTE, left // _MINUTE * _MINUTE))


def job_spec(session: Session, worker: str, walltime: Walltime) -> JobSpec:
    """The batch job of one worker.

    Parameters
    ----------
    session : Session
    worker : str
        Name of the worker, of which its log is named.
    walltime : Walltime
    """
    jobs = _jobs(session)
    return JobSpec(
        name=session.worker_job_name,
        log=session.path(f"{Layout.WORKERS}/{worker}.log"),
        walltime=walltime,
        cores=jobs.cores,
        memory=Memory(jobs.memory),
        queue=jobs.queue,
        account=jobs.account,
        qos=jobs.qos,
        extra=jobs.extra_directives,
    )


def lifetime(walltime: Walltime) -> int | None:
    """Seconds after which a worker retires, so that its data outlives its job.

    None for jobs so short that nothing would be left.
    """
    return walltime.seconds - _RETREAT if walltime.seconds >= 5 * _RETREAT else None


def arguments(session: Session, place: Place) -> dict[str, Any]:
    """Arguments of `SLURMCluster` for the session's cluster.

    Directives are not among them: `job_class` writes them.
    """
    jobs = _jobs(session)
    return {
        "name": "worker",
        "cores": jobs.cores,
        "memory": f"{jobs.memory} B",
        "processes": 1,
        "python": quote(place.python),
        "job_script_prologue": daskconfig.prologue(session, place),
        "death_timeout": _DEATH_TIMEOUT,
        "worker_extra_args": ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"],
        "shebang": "#!/bin/bash",
        "protocol": "tls://",
        "scheduler_options": {
            "host": place.address,
            "port": 0,
            "dashboard": True,
            "dashboard_address": "127.0.0.1:0",
            "dashboard_socket": place.dashboard_socket,
        },
    }


def job_class(
    session: Session, submitter: Submitter, walltime: Callable[[], Walltime]
) -> type[SLURMJob]:
    """The class of the session's worker jobs, as dask-jobqueue wants it.

    Parameters
    ----------
    session : Session
    submitter : Submitter
    walltime : callable
        What a job that is made now may ask for.
    """

    class WorkerJob(SLURMJob):  # type: ignore[misc]
        """One worker."""

        def __init__(
            self,
            scheduler: str | None = None,
            name: str | None = None,
            *,
            worker_extra_args: list[str],
            security: object = None,  # the job reads the session's TLS from DASK_CONFIG
            **options: Any,
        ) -> None:
            granted = walltime()
            retreat = lifetime(granted)
            ends = ["--lifetime", f"{retreat}s"] if retreat else []
            extra = [*worker_extra_args, *ends]
            super().__init__(scheduler, name, worker_extra_args=extra, **options)
            self._spec = job_spec(session, str(name), granted)
            self.job_header = "\n".join(submitter.directives(self._spec))

        async def _submit_job(self, script_filename: str) -> str:
            return await submitter.submit(self._spec, self.job_script())

        def _job_id_from_submit_output(self, out: str) -> str:
            return out

        async def close(self) -> None:
            if self.job_id is not None:
                await submitter.cancel([self.job_id])
            self.status = Status.closed

    return WorkerJob


def cluster(
    session: Session, place: Place, submitter: Submitter, end: datetime | None
) -> SLURMCluster:
    """The session's cluster, not started and without workers.

    Parameters
    ----------
    session : Session
    place : Place
    submitter : Submitter
    end : datetime or None
        When the session ends.
    """
    wanted = _jobs(session).walltime
    if wanted is None:
        raise ValueError("worker jobs need a walltime")

    def walltime() -> Walltime:
        return walltime_left(wanted, end, datetime.now(timezone.utc))

    return SLURMCluster(
        **arguments(session, place),
        job_cls=job_class(session, submitter, walltime),
        scheduler_cls=GuardedScheduler,
        security=Security(),
        silence_logs=False,
        asynchronous=True,
    )


def _jobs(session: Session) -> WorkerJobs:
    if session.jobs is None:
        raise ValueError("the session says nothing about worker jobs")
    return session.jobs
