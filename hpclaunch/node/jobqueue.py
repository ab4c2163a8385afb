"""Defaults of dask-jobqueue's own clusters, so that ``PBSCluster()`` needs no argument.

dask-jobqueue pastes most values into a script as they are: each is a word of sh already. What it
cannot be told by a key of its own goes into the further directives.

Standard library only, Python 3.9 or newer: this runs on the compute node.
"""

from __future__ import annotations

from typing import Any, Optional

from hpclaunch.node.layout import LOOPBACK_ANY, Layout
from hpclaunch.node.spec import Session, WorkerJobs
from hpclaunch.shell import quote
from hpclaunch.units import Memory, Walltime

__all__ = ["defaults"]

_MINUTE = 60  # seconds


def defaults(session: Session, python: str, before: list[str]) -> dict[str, Any]:
    """Return what stands below ``jobqueue`` for the scheduler of the session.

    Parameters
    ----------
    session : Session
    python : str
        The interpreter of the workers, as a word of sh.
    before : list of str
        Lines of sh that a worker job runs before its worker.
    """
    found: dict[str, Any] = {
        "python": python,
        "job-script-prologue": before,
        "worker-extra-args": ["--no-dashboard", "--dashboard-address", LOOPBACK_ANY],
    }
    logs = session.path(Layout.WORKERS)
    if quote(logs) == logs:  # dask-jobqueue also makes the directory, under this very name
        found["log-directory"] = logs
    jobs = session.jobs
    if jobs is None:
        return found
    found.update(
        {
            "cores": jobs.cores * jobs.processes,
            "memory": "{} B".format(jobs.memory * jobs.processes),
            "processes": jobs.processes,
            "queue": _word(jobs.queue),
        }
    )
    found.update({"slurm": _slurm, "pbs": _pbs, "lsf": _lsf}[session.scheduler](session, jobs))
    if session.scheduler == "pbs":  # whose jobs begin in the home directory
        found["job-script-prologue"] = ['cd "$PBS_O_WORKDIR"', *before]
    return found


def _slurm(session: Session, jobs: WorkerJobs) -> dict[str, Any]:
    own = [*_slurm_memory(jobs), *(["--qos=" + jobs.qos] if jobs.qos else []), "--no-requeue"]
    extra = (*own, *session.scheduler_options, *jobs.extra_directives)
    return {
        "account": _word(jobs.account),
        **_without("#SBATCH --mem=", jobs.memory_as != "node"),
        "job-extra-directives": [quote(option) for option in extra],
        **_clock(jobs),
    }


def _slurm_memory(jobs: WorkerJobs) -> list[str]:
    """What asks for memory where that is not dask-jobqueue's own ``--mem``."""
    each = -(-_mib(jobs) // (jobs.cores * jobs.processes))
    asked = {"whole": ["--mem=0"], "core": ["--mem-per-cpu={}M".format(each)]}
    return asked.get(jobs.memory_as, [])


def _pbs(session: Session, jobs: WorkerJobs) -> dict[str, Any]:
    """qsub's directives are no words of sh: values stand as they are."""
    quirks = session.scheduler_quirks
    chunk, place = list(quirks.get("chunk") or ()), quirks.get("place")
    cores = "{}".format(jobs.cores * jobs.processes)
    memory = ["mem={}mb".format(_mib(jobs))] if _is_asked(jobs) else []
    extra = ["-r n", "-m n"]
    if quirks.get("dialect") == "torque":
        spec = ":".join(["nodes=1:ppn=" + cores, *chunk])
        extra += ["-l " + one for one in memory]
    elif quirks.get("dialect") == "totals":
        spec = ",".join(["ncpus=" + cores, *memory])
    else:
        spec = ":".join(["select=1:ncpus=" + cores, *memory, *chunk])
    if place:
        extra.append("-l place=" + str(place))
    charged = quirks.get("charge_by", "-A")
    if jobs.account and charged != "-A":
        option = "-W group_list=" if charged == "group_list" else "{} ".format(charged)
        extra.append(option + jobs.account)
    return {
        "account": jobs.account if charged == "-A" else None,
        "resource-spec": spec,
        "job-extra-directives": [*extra, *jobs.extra_directives],
        **_clock(jobs),
    }


def _lsf(session: Session, jobs: WorkerJobs) -> dict[str, Any]:
    """LSF counts minutes, and memory in a unit of the site's."""
    quirks = session.scheduler_quirks
    parts = jobs.cores * jobs.processes if quirks.get("memory_per") == "task" else 1
    found: dict[str, Any] = {
        "project": jobs.account,
        "mem": -(-jobs.memory * jobs.processes // parts),
        "lsf-units": str(quirks.get("memory_unit", "MB")).lower(),
        **_without("#BSUB -M ", not _is_asked(jobs)),
        "use-stdin": quirks.get("script", "stdin") == "stdin",
        "job-extra-directives": list(jobs.extra_directives),
    }
    if jobs.walltime is not None:
        found["walltime"] = str(-(-jobs.walltime // _MINUTE))
    return found


def _without(line: str, leave_out: bool) -> dict[str, list[str]]:
    """Lines that dask-jobqueue writes by itself, left out by what they begin with."""
    return {"job-directives-skip": [line]} if leave_out else {}


def _is_asked(jobs: WorkerJobs) -> bool:
    """Whether the site wants to be asked for a number."""
    return jobs.memory_as not in ("whole", "none")


def _clock(jobs: WorkerJobs) -> dict[str, str]:
    return {} if jobs.walltime is None else {"walltime": Walltime(jobs.walltime).clock()}


def _mib(jobs: WorkerJobs) -> int:
    return Memory(jobs.memory * jobs.processes).in_mib()


def _word(text: Optional[str]) -> Optional[str]:
    return None if text is None else quote(text)
