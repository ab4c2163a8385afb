"""SLURM: argv of its commands, and the reading of their answers.

The formats asked for are the ones that releases 22.05, 24.11 and 26.05 answer alike. ``--json``
is not used: it dumps the whole cluster in old releases and changes its shape between new ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

from hpclaunch.errors import SchedulerError, SubmitError
from hpclaunch.schedulers.base import JobSpec, JobStatus
from hpclaunch.schedulers.checks import checked_ids
from hpclaunch.schedulers.slurm_directives import directive, options
from hpclaunch.schedulers.slurm_rows import (
    HISTORY_FIELDS,
    STATUS_FORMAT,
    accounted_status,
    array_ids,
    complete,
    queue_status,
    rows_of,
)
from hpclaunch.schedulers.slurm_words import never_starts, state_of, submit_hint, was_answered
from hpclaunch.shell import Completed

__all__ = ["Slurm", "never_starts"]

_ID = re.compile(r"\d+(?:[_+]\d+)?", re.ASCII)  # 7, 7_3 of an array, 7+1 of a heterogeneous job
_SUBMITTED = re.compile(r"(?:Submitted batch job )?(\d+)(?:;\S+| on cluster \S+)?", re.ASCII)

_ARRAY_SIZE = re.compile(r"^MaxArraySize\s*=\s*(\d+)", re.MULTILINE | re.ASCII)

_FIND_FORMAT = "%F|%T|%j"  # %F: the array's own id for its tasks, else the job's

# Environment variables of the user that would change what a command does behind our back. They
# beat the directives of a script, and a filter would make a live job look lost.
_UNWANTED = {
    "sbatch": ("ARRAY_INX", "ERROR", "INPUT", "OPEN_MODE", "WAIT"),
    "squeue": ("ACCOUNT", "LICENSES", "NAMES", "PARTITION", "PRIORITY", "QOS", "USERS"),
    "scancel": (
        *("ACCOUNT", "BATCH", "INTERACTIVE", "NAME", "PARTITION", "QOS", "STATE", "USER"),
        "WCKEY",
    ),
    "sacct": (),
    "scontrol": (),
}
# A laptop's clock and a cluster's may differ, so the accounting is asked a little further back.
_CLOCKS_DIFFER = timedelta(hours=1)
_GONE = re.compile(r"already completing or completed|invalid job id specified", re.IGNORECASE)
_MAY_BE_IN = re.compile(r"timed? ?out|zero bytes|receive failure", re.IGNORECASE)


@dataclass(frozen=True)
class Slurm:
    """The `Scheduler` of SLURM sites.

    Attributes
    ----------
    cluster_options : tuple of str
        Options that go on every command, such as ``--clusters=c5``. They must name one cluster:
        a job's id means nothing without it.

    Raises
    ------
    ValueError
        If they name several clusters, or an option and its value are two words.

    Examples
    --------
    >>> Slurm().parse_submit(Completed.of(["sbatch"], 0, "NOTE: maintenance at 3\\n4711;c5\\n"))
    '4711'
    """

    kind: ClassVar[str] = "slurm"
    copy_variable: ClassVar[str | None] = "SLURM_ARRAY_TASK_ID"
    end_variable: ClassVar[str | None] = "SLURM_JOB_END_TIME"
    exit_tells: ClassVar[tuple[str, ...]] = ()
    cluster_options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for option in self.cluster_options:
            if not option.startswith("-"):
                raise ValueError(f"write the value {option!r} in one word with its option")
            if re.fullmatch(r"(?:--clusters?=|-M)(.*,.*|all)", option):
                raise ValueError(
                    f"{option!r} must name one cluster: a job's id is only valid there"
                )

    def copies_command(self) -> list[str]:
        """Argv that asks for Slurm's configuration."""
        return self._command("scontrol", "show", "config")

    def parse_copies(self, said: Completed) -> int:
        """Most tasks of one array: their numbers, from 0, stay below ``MaxArraySize``."""
        match = _ARRAY_SIZE.search(said.stdout)
        return max(1, int(match[1])) if match and said.exit == 0 else 1

    def ids_of_copies(self, job: str, copies: int) -> list[str]:
        """``JOB_INDEX`` for each task of an array."""
        return [job] if copies == 1 else [f"{job}_{index}" for index in range(copies)]

    def directives(self, spec: JobSpec) -> list[str]:
        """The ``#SBATCH`` lines of a batch script, one option each."""
        return [directive(option) for option in options(spec)]

    def prologue(self, spec: JobSpec) -> list[str]:
        """Nothing: Slurm writes the log while the job runs, and keeps the directory."""
        return []

    def submit_command(self, spec: JobSpec | None = None) -> list[str]:
        """Argv that submits the script given on stdin.

        With `spec` its options stand on the command line too: the user's ``SBATCH_ACCOUNT`` and
        the like beat a script's directives, and the command line beats them.
        """
        return self._command("sbatch", "--parsable", *(options(spec) if spec else []))

    def parse_submit(self, said: Completed) -> str:
        """The job's id: the last line that is nothing but an id.

        Raises
        ------
        SubmitError
            If Slurm refused the job.
        SchedulerError
            If the job may be in the queue, but its id was not told. Find it by its name.
        """
        if said.exit == 0:
            for line in reversed(said.stdout.split("\n")):
                if match := _SUBMITTED.fullmatch(line.strip()):
                    return match[1]
        if said.exit == 0 or _MAY_BE_IN.search(said.stderr):
            raise SchedulerError(
                "sbatch did not tell the job's id; the job may be in the queue all the same",
                command=said.argv,
                said=said.said,
                hint="`squeue --me` shows whether it is",
            )
        raise SubmitError(
            "Slurm refused the job",
            command=said.argv,
            said=said.said,
            hint=submit_hint(said.said),
        )

    def status_command(self, ids: Sequence[str]) -> list[str]:
        """Argv that asks for all `ids` in one query, finished ones included.

        Raises
        ------
        ValueError
            If `ids` is empty or one of them is no job id.
        """
        # Of an array the whole is asked: a thousand tasks would not fit on the command line.
        jobs = ",".join(_wholes(ids))
        return self._command(
            *("squeue", "--noheader", "--array", "--states=all", f"--jobs={jobs}"),
            f"--format={STATUS_FORMAT}",
        )

    def parse_status(self, said: Completed, ids: Sequence[str]) -> Mapping[str, JobStatus]:
        """One status for every id; LOST where it is unknown, UNKNOWN where nothing answered.

        A single task of an array that was cancelled before it began is LOST: Slurm keeps no
        record of it, neither in the queue nor in the accounting (seen in 22.05).
        """
        rows = {}
        for fields in rows_of(said.stdout, 6):
            rows[fields[0]] = queue_status(fields)
        return complete(rows, said, ids)

    def never_starts(self, status: JobStatus) -> str | None:
        """Why this pending job can never start; see `slurm_words.never_starts`."""
        return never_starts(status)

    def history_command(self, ids: Sequence[str], since: datetime | None = None) -> list[str]:
        """Argv that asks the accounting.

        Parameters
        ----------
        ids : sequence of str
        since : datetime, optional
            When the first of them was submitted, with a time zone. Ids are used again after some
            years, perhaps for another user's job; this keeps older ones out.

        Raises
        ------
        ValueError
            If `since` has no time zone, `ids` is empty or one of them is no job id.
        """
        # Of an array the whole is asked: sacct finds no single task that never started.
        jobs = ",".join(_wholes(ids))
        start = []
        if since is not None:
            if since.tzinfo is None:
                raise ValueError("`since` needs a time zone: the site's may be another one")
            start = [f"--starttime=uts{int((since - _CLOCKS_DIFFER).timestamp())}"]
        return self._command(
            *("sacct", "--allocations", "--noheader", "--parsable2", *start, f"--jobs={jobs}"),
            f"--format={HISTORY_FIELDS}",
        )

    def parse_history(self, said: Completed, ids: Sequence[str]) -> Mapping[str, JobStatus]:
        """Like `parse_status`; UNKNOWN too where the site keeps no accounting."""
        rows = {}
        for fields in rows_of(said.stdout, 7):
            for one in array_ids(fields[0]):
                rows[one] = accounted_status(one, fields)
        return complete(rows, said, ids)

    def find_command(self, name: str) -> list[str]:
        """Argv that lists all of the user's own jobs.

        ``--name`` is not used: it would split a name at its commas, and the controller sends
        the same list anyway. ``--me`` needs Slurm 20.02 or newer.
        """
        return self._command(
            "squeue", "--noheader", "--me", "--states=all", f"--format={_FIND_FORMAT}"
        )

    def parse_find(self, said: Completed, name: str) -> list[str]:
        """Ids of the live jobs that have exactly this name, in Slurm's order.

        Raises
        ------
        SchedulerError
            If Slurm did not answer: then nothing is known.
        """
        if said.exit != 0 or not was_answered(said.exit, said.stderr):
            raise SchedulerError(
                f"Slurm did not say whether a job named {name!r} exists",
                command=said.argv,
                said=said.said,
                hint="try again; `squeue --me` lists your jobs",
            )
        found = [row[0] for row in rows_of(said.stdout, 3) if row[2] == name and _lives(row[1])]
        return list(dict.fromkeys(found))

    def cancel_commands(self, ids: Sequence[str]) -> list[list[str]]:
        """One argv that cancels all `ids`; for Slurm a finished job is no error."""
        return [self._command("scancel", *_ranges(_checked(ids)))] if ids else []

    def parse_cancel(self, said: Completed) -> None:
        """Check scancel's answer.

        Raises
        ------
        SchedulerError
            If a job may still be alive: another user's, or Slurm did not answer.
        """
        errors = [line for line in said.stderr.splitlines() if "error" in line.lower()]
        harmless = bool(errors) and all(_GONE.search(line) for line in errors)
        if harmless or (said.exit == 0 and was_answered(0, said.stderr)):
            return
        raise SchedulerError(
            "Slurm did not cancel the job",
            command=said.argv,
            said=said.said,
            hint="`squeue --me` lists your jobs; stop the session again later",
        )

    def _command(self, program: str, *arguments: str) -> list[str]:
        unwanted = [f"{program.upper()}_{name}" for name in _UNWANTED[program]]
        unset = [word for name in unwanted for word in ("-u", name)]
        # Times in ISO form, whatever the user likes to see.
        clock = [] if program in ("sbatch", "scancel") else ["SLURM_TIME_FORMAT=standard"]
        return ["env", *unset, *clock, program, *self.cluster_options, *arguments]


def _checked(ids: Sequence[str]) -> Sequence[str]:
    return checked_ids(ids, _ID, "Slurm job id", "cluster")


def _wholes(ids: Sequence[str]) -> list[str]:
    """The jobs that `ids` belong to: for tasks of an array the array's own id."""
    return list(dict.fromkeys(one.partition("_")[0] for one in _checked(ids)))


def _ranges(ids: Sequence[str]) -> list[str]:
    """`ids` with the tasks of an array in one word: one request to the controller.

    Examples
    --------
    >>> _ranges(["7_0", "9", "7_1", "7_2", "7_5", "8_3"])
    ['7_[0-2,5]', '9', '8_3']
    """
    tasks: dict[str, set[int]] = {one.partition("_")[0]: set() for one in ids}
    for job, _, index in (one.partition("_") for one in ids):
        if job not in ids:
            tasks[job].add(int(index))
    return [f"{job}_{_spelled(sorted(found))}" if found else job for job, found in tasks.items()]


def _spelled(indices: Sequence[int]) -> str:
    if len(indices) == 1:
        return str(indices[0])
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1][1:] = [index]
        else:
            runs.append([index])
    return "[" + ",".join("-".join(map(str, run)) for run in runs) + "]"


def _lives(word: str) -> bool:
    return not state_of(word).is_final
