"""What people see of make-believe Slurm jobs: the tables of ``squeue`` and ``sacct``."""

from __future__ import annotations

import time

from hpclaunch.demo.spool import Course, Job, user

__all__ = ["ACCOUNTING", "QUEUE", "accounted", "queued"]

QUEUE = "             JOBID PARTITION     NAME     USER ST       TIME  NODES NODELIST(REASON)"
ACCOUNTING = (
    "JobID           JobName  Partition    Account  AllocCPUS      State ExitCode \n"
    "------------ ---------- ---------- ---------- ---------- ---------- -------- "
)
_LETTERS = {"PENDING": "PD", "RUNNING": "R"}


def queued(job: Job, course: Course, word: str, reason: str) -> str:
    """A job in the queue, as a row below `QUEUE`."""
    seconds = int(time.time() - course.begun["time"]) if course.begun else 0
    clock = f"{seconds // 60}:{seconds % 60:02d}"
    where = "c1" if course.begun else f"({reason})"
    name, partition = job.name[:8], str(job.options["partition"])[:9]
    return (
        f"{job.id:>18} {partition:>9} {name:>8} {user()[:8]:>8} {_LETTERS[word]:>2} "
        f"{clock:>10} {1:>6} {where}"
    )


def accounted(job: Job, word: str, code: str) -> str:
    """A job in the accounting, as a row below `ACCOUNTING`."""
    partition = str(job.options["partition"])[:10]
    return (
        f"{job.id:<12} {job.name[:10]:>10} {partition:>10} {'':>10} {1:>10} {word:>10} {code:>8} "
    )
