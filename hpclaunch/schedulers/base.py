"""What a batch scheduler is to hpclaunch: argv lists to run, and text to read. No I/O.

A scheduler is a pair of pure halves. One half builds the argv of a command, the other reads what
the command said. Where the command runs is the business of a transport.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Protocol

from hpclaunch.shell import Completed
from hpclaunch.units import Memory, MemoryAs, Walltime

__all__ = ["JobSpec", "JobState", "JobStatus", "OneByOne", "Scheduler"]


class JobState(enum.Enum):
    """Where a job stands, in words that all schedulers share."""

    QUEUED = "queued"
    HELD = "held"
    STARTING = "starting"  # nodes are being prepared
    RUNNING = "running"
    SUSPENDED = "suspended"
    ENDING = "ending"  # processes are gone or going, the scheduler is cleaning up
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"  # the walltime was over
    OUT_OF_MEMORY = "out of memory"
    NODE_FAILED = "node failed"
    LOST = "lost"  # the scheduler answered and does not know the job
    UNKNOWN = "unknown"  # the scheduler did not answer, or used a word we do not know

    @property
    def is_final(self) -> bool:
        """Whether the job can never run again."""
        return self in _FINAL

    @property
    def is_waiting(self) -> bool:
        """Whether the job has not begun to run."""
        return self in (JobState.QUEUED, JobState.HELD, JobState.STARTING)


_FINAL = frozenset(
    {
        JobState.DONE,
        JobState.FAILED,
        JobState.CANCELLED,
        JobState.TIMEOUT,
        JobState.OUT_OF_MEMORY,
        JobState.NODE_FAILED,
    }
)


@dataclass(frozen=True)
class JobSpec:
    """What one batch job asks for.

    Attributes
    ----------
    name : str
        Unique, so that a job whose id was never read can be found again.
    log : str
        Absolute path on the site of the job's output, both streams. One that ends with ``/`` is a
        directory, in which each job writes ``ID.log``.
    walltime : Walltime
    nodes, tasks_per_node, cores : int
        Nodes, tasks on each node, cores (CPUs as the scheduler counts them) for each task.
    memory : Memory or None
        For each node; None lets the scheduler decide.
    memory_as : MemoryAs
        How it is asked for.
    gpus : int
        For each node.
    queue, account, qos : str or None
    extra : tuple of str
        Further options. To Slurm each is one argument of the submit command line
        (``--constraint=cpu``), to PBS and LSF the rest of a directive's line (``-l name=value``).
    copies : int
        So many equal jobs in one submission (an array). Each finds its number, from 0, in the
        scheduler's `Scheduler.copy_variable`.
    """

    name: str
    log: str
    walltime: Walltime
    nodes: int = 1
    tasks_per_node: int = 1
    cores: int = 1
    memory: Memory | None = None
    gpus: int = 0
    queue: str | None = None
    account: str | None = None
    qos: str | None = None
    extra: tuple[str, ...] = ()
    copies: int = 1
    memory_as: MemoryAs = "node"


@dataclass(frozen=True)
class JobStatus:
    """What the scheduler says of one job.

    Attributes
    ----------
    id : str
    state : JobState
    word : str
        The scheduler's own word for the state (``PENDING``), empty when it did not answer.
    reason : str
        Why it waits or ended, in the scheduler's words; may be empty.
    expected_start : datetime or None
        The scheduler's estimate, with the site's UTC offset unknown: naive, site-local time.
    nodes : tuple of str
        Host names, expanded, once it runs.
    ends_at : datetime or None
        Naive, site-local time.
    exit_code, signal : int or None
    """

    id: str
    state: JobState
    word: str = ""
    reason: str = ""
    expected_start: datetime | None = None
    nodes: tuple[str, ...] = field(default=())
    ends_at: datetime | None = None
    exit_code: int | None = None
    signal: int | None = None


class Scheduler(Protocol):
    """Argv out, text in. Stateless and frozen; safe to share between threads."""

    @property
    def kind(self) -> str:
        """The scheduler's name in a site profile."""

    @property
    def copy_variable(self) -> str | None:
        """The environment variable that numbers the copies of a job; None without arrays."""

    @property
    def end_variable(self) -> str | None:
        """The environment variable that tells a job its end, in seconds since 1970, or None."""

    @property
    def exit_tells(self) -> tuple[str, ...]:
        """Signals (``USR2``) that this scheduler ends jobs by, and knows by their exit status only.

        Where it is empty the scheduler remembers by itself what it ended a job for.
        """

    def copies_command(self) -> list[str] | None:
        """Argv that asks how many copies one submission may have; None without arrays."""

    def parse_copies(self, said: Completed) -> int:
        """Most copies of one submission; 1 where they are switched off or nothing was said."""

    def ids_of_copies(self, job: str, copies: int) -> list[str]:
        """The id of each copy, in the order of their numbers; of a single job its own."""

    def directives(self, spec: JobSpec) -> list[str]:
        """The directive lines of a batch script for `spec`.

        Raises
        ------
        ValueError
            If a value cannot be said in a directive (a newline, a NUL character).
        """

    def prologue(self, spec: JobSpec) -> list[str]:
        """The first lines of bash in the script: what this scheduler does not do by itself.

        From here on output goes to ``spec.log``, and the job is in the directory of its submit.
        """

    def submit_command(self, spec: JobSpec | None = None) -> list[str]:
        """Argv that submits the script given on stdin.

        Give the `spec` of the script where it is known: then nothing in the user's environment
        (``SBATCH_PARTITION`` and the like) changes what was planned.
        """

    def parse_submit(self, said: Completed) -> str:
        """The job's id.

        Raises
        ------
        SubmitError
            If the scheduler refused, with its words: nothing was submitted.
        SchedulerError
            If the job may be in the queue, but no id can be read. Find it by its name.
        """

    def status_command(self, ids: Sequence[str]) -> list[str]:
        """Argv that asks for all `ids` in one query."""

    def parse_status(self, said: Completed, ids: Sequence[str]) -> Mapping[str, JobStatus]:
        """One status for every id; LOST where it is unknown, UNKNOWN where nothing answered."""

    def never_starts(self, status: JobStatus) -> str | None:
        """Why this waiting job can never start, in words; None where it may start yet."""

    def history_command(
        self, ids: Sequence[str], since: datetime | None = None
    ) -> list[str] | None:
        """Argv that asks the accounting for jobs that left the queue, or None where none exists.

        `since`, with a time zone, is when the first of them was submitted: ids are used again.
        """

    def parse_history(self, said: Completed, ids: Sequence[str]) -> Mapping[str, JobStatus]:
        """Like `parse_status`."""

    def find_command(self, name: str) -> list[str]:
        """Argv that lists the user's own live jobs of the name `name`."""

    def parse_find(self, said: Completed, name: str) -> list[str]:
        """Ids of the live jobs that have exactly this name.

        Raises
        ------
        SchedulerError
            If the scheduler did not answer: then nothing is known.
        """

    def cancel_commands(self, ids: Sequence[str]) -> list[list[str]]:
        """Argvs that cancel `ids`; cancelling what is gone is no error."""

    def parse_cancel(self, said: Completed) -> None:
        """Check one cancel command's answer.

        Raises
        ------
        SchedulerError
            If the job may still be alive, with the scheduler's words.
        """


class OneByOne:
    """The part of a `Scheduler` that is about arrays, where every job is submitted by itself."""

    copy_variable: ClassVar[str | None] = None

    def copies_command(self) -> None:
        """None: nothing has to be asked."""

    def parse_copies(self, said: Completed) -> int:
        """One."""
        return 1

    def ids_of_copies(self, job: str, copies: int) -> list[str]:
        """The job's own id."""
        return [job]
