"""What one job of Dask workers asks for, and the batch script that it runs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from hpclaunch.node import daskconfig
from hpclaunch.node.daskconfig import Place
from hpclaunch.node.layout import LOOPBACK_ANY, Layout
from hpclaunch.node.spec import Session, WorkerJobs
from hpclaunch.schedulers.base import JobSpec, Scheduler
from hpclaunch.shell import quote
from hpclaunch.units import Memory, Walltime

__all__ = ["job_spec", "jobs_of", "log_of", "memory_limit", "retreat", "script", "walltime_left"]

_MINUTE = 60
_MARGIN = timedelta(seconds=60)  # workers end before the session that holds their scheduler
_DEATH_TIMEOUT = 60  # seconds a worker looks for a scheduler that is gone
_NANNIES = 100 * 10**6  # bytes for the process with all nannies of a job: 63 MB once it is up


def jobs_of(session: Session) -> WorkerJobs:
    """What the session says about worker jobs.

    Raises
    ------
    ValueError
        If it says nothing.
    """
    if session.jobs is None:
        raise ValueError("the session says nothing about worker jobs")
    return session.jobs


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


def job_spec(session: Session, walltime: Walltime) -> JobSpec:
    """The batch job of ``jobs.processes`` workers; its log is named after its id."""
    jobs = jobs_of(session)
    return JobSpec(
        name=session.worker_job_name,
        log=session.path(Layout.WORKERS) + "/",
        walltime=walltime,
        cores=jobs.cores * jobs.processes,
        memory=Memory(jobs.memory * jobs.processes),
        queue=jobs.queue,
        account=jobs.account,
        qos=jobs.qos,
        memory_as=jobs.memory_as,
        extra=jobs.extra_directives,
    )


def log_of(session: Session, job: str) -> str:
    """Where the output of the worker job `job` is."""
    return session.path(f"{Layout.WORKERS}/{job}.log")


def memory_limit(jobs: WorkerJobs) -> int:
    """Bytes that one worker may use of its share of the job: the nannies need some too.

    Where the scheduler kills jobs that use more than they asked for, a worker must be stopped by
    its nanny before, or its data goes with all other workers of the job.
    """
    return jobs.memory - min(_NANNIES // jobs.processes, jobs.memory // 5)


def retreat(walltime: Walltime) -> int | None:
    """Seconds before its job's end that a worker hands its data to others and leaves.

    A twentieth of the walltime, between half a minute and five. None for jobs so short that
    nothing would be left.

    Examples
    --------
    >>> retreat(Walltime(120)), retreat(Walltime(3600)), retreat(Walltime(60))
    (30, 180, None)
    """
    if walltime.seconds < 90:
        return None
    return max(30, min(300, walltime.seconds // 20))


def script(
    session: Session,
    place: Place,
    address: str,
    scheduler: Scheduler,
    spec: JobSpec,
    names: Sequence[str],
) -> str:
    """The batch script of a submission: each copy starts the workers of its name.

    The lifetime of workers counts from the end that the job really has, and differs from job to
    job by up to half the `retreat`, so that they do not all hand over their data at one time.

    Parameters
    ----------
    session : Session
    place : Place
    address : str
        Of the Dask scheduler.
    scheduler : Scheduler
        The batch scheduler that reads the script.
    spec : JobSpec
    names : sequence of str
        One for each copy; a job with several workers adds ``-0``, ``-1`` and so on.
    """
    jobs = jobs_of(session)
    copy, end = scheduler.copy_variable, scheduler.end_variable
    number = f"${{{copy}:-0}}" if copy and len(names) > 1 else "0"
    python = daskconfig.interpreter(session, quote(place.python), place.pythonpath)
    words = [
        *(python, "-m", "distributed.cli.dask_worker", quote(address)),
        *("--name", f'"${{names[{number}]}}"', "--nthreads", str(jobs.cores)),
        *("--memory-limit", f"{memory_limit(jobs)}B", "--nworkers", str(jobs.processes)),
        *("--nanny", "--death-timeout", str(_DEATH_TIMEOUT), "--protocol", session.protocol),
        *("--no-dashboard", "--dashboard-address", LOOPBACK_ANY),
    ]
    # The scheduler's commands run where the session's notebooks are, if the session runs them.
    there = [] if jobs.submit == "node" else [f"cd -- {quote(session.work_dir)} || exit"]
    lines = [
        "#!/bin/bash",
        *scheduler.directives(spec),
        *scheduler.prologue(spec),
        *there,
        *daskconfig.prologue(session, place.pythonpath),
        "names=(" + " ".join(map(quote, names)) + ")",
    ]
    margin = retreat(spec.walltime)
    if margin is not None:
        words += ["--lifetime", '"$lifetime s"']
        planned = f"$((now + {spec.walltime.seconds}))"
        lines += [
            "now=$(date +%s)",
            f"ends=${{{end}:-{planned}}}" if end else f"ends={planned}",
            f"lifetime=$((ends - now - {margin} - RANDOM % {margin // 2 + 1}))",
            "((lifetime > 0)) || lifetime=1",
        ]
    return "\n".join([*lines, " ".join(words), ""])
