"""PBS Pro, OpenPBS and Torque: argv of their commands, and the reading of their answers.

What each command prints was recorded with OpenPBS 23.06.06 and its master; Torque is known from
its manual alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from hpclaunch.errors import SchedulerError, SubmitError
from hpclaunch.schedulers.base import JobSpec, JobStatus, OneByOne
from hpclaunch.schedulers.checks import checked_ids
from hpclaunch.schedulers.own_log import own_log
from hpclaunch.schedulers.pbs_directives import Dialect, directives
from hpclaunch.schedulers.pbs_rows import complete, rows_of
from hpclaunch.schedulers.pbs_words import never_starts, submit_hint
from hpclaunch.shell import Completed

__all__ = ["Pbs"]

_ID = re.compile(r"\d+(?:\[\d*\])?(?:\.[A-Za-z][A-Za-z0-9_.-]*)?", re.ASCII)
_SUBMITTED = re.compile(r"\d+(?:\[\])?\.[A-Za-z][A-Za-z0-9_.-]*", re.ASCII)
_SUBMITTED_TO_TORQUE = re.compile(rf"\d+|{_SUBMITTED.pattern}", re.ASCII)
# The job is over, or will be without us.
_GONE = re.compile(
    r"unknown job id|job has finished|request invalid for state of job|invalid state for job",
    re.IGNORECASE,
)
_MAY_BE_IN = re.compile(r"timed? ?out|premature end|protocol error|end of file", re.IGNORECASE)

# qsub reads directives behind another prefix where this is set.
_UNSET = ("env", "-u", "PBS_DPREFIX")
# `-W umask`: the job would else have 077, whatever the user's is. Three digits, as PBS knows them.
_SUBMIT = 'mask=$(umask) && exec "$@" -W umask="${mask#0}"'
# Tables cut names, `qstat -f` does not; without ids it would describe every job of the site. The
# brackets of an array's id are no pattern of files.
_FIND = 'set -f; ids=$(qselect -u "$(id -un)") || exit; [ -z "$ids" ] || exec qstat -f $ids'
_DELETED_AT_ONCE = 100  # by one command, which has a minute
# A server of OpenPBS dies of a known and an unknown id in one qdel, so each has its own.
_DELETE = 'code=0; for one; do qdel "$one" || code=$?; done; exit "$code"'


@dataclass(frozen=True)
class Pbs(OneByOne):
    """The `Scheduler` of PBS sites.

    There are no arrays: PBS takes only such as it may run a second time (``cannot submit
    non-rerunable Array Job``), and ours must not.

    Attributes
    ----------
    options : tuple of str
        Always empty: PBS's commands have no option in common.
    dialect, chunk, place, charge_by
        See `pbs_directives.Dialect`.

    Raises
    ------
    ValueError
        If there are options, or a value is not one of those that are possible.

    Examples
    --------
    >>> Pbs().parse_submit(Completed.of(["qsub"], 0, "3 hours left\\n4711.pbs-login\\n"))
    '4711.pbs-login'
    """

    kind: ClassVar[str] = "pbs"
    end_variable: ClassVar[str | None] = None
    exit_tells: ClassVar[tuple[str, ...]] = ()
    options: tuple[str, ...] = ()
    dialect: str = "pbs"
    chunk: tuple[str, ...] = ()
    place: str | None = None
    charge_by: str = "-A"

    def __post_init__(self) -> None:
        if self.options:
            raise ValueError(
                f"{self.options[0]!r}: no option is common to all commands of PBS; "
                "a line 'export PBS_SERVER=HOST' of login.prologue chooses another server"
            )
        _ = self._dialect  # which checks its values

    @property
    def _dialect(self) -> Dialect:
        return Dialect(self.dialect, self.chunk, self.place, self.charge_by)

    def directives(self, spec: JobSpec) -> list[str]:
        """The ``#PBS`` lines of a batch script; see `pbs_directives.directives`."""
        return directives(spec, self._dialect)

    def prologue(self, spec: JobSpec) -> list[str]:
        """PBS keeps output on the node until the end, and starts in the home directory."""
        return [own_log(spec, "PBS_JOBID"), 'cd "$PBS_O_WORKDIR" || exit 1']

    def submit_command(self, spec: JobSpec | None = None) -> list[str]:
        """Argv that submits the script given on stdin; nothing but its directives counts.

        Never with ``-V``: OpenPBS 23.06.06 passes nothing then. ``-f`` leaves no process behind on
        the login node; to Torque it means something else.
        """
        stay = [] if self._dialect.is_torque else ["-f"]
        return ["/bin/sh", "-c", _SUBMIT, "submit", *_UNSET, "qsub", *stay]

    def parse_submit(self, said: Completed) -> str:
        """The job's id, its server included: the last line that is nothing but an id.

        Raises
        ------
        SubmitError
            If PBS refused the job.
        SchedulerError
            If the job may be in the queue, but its id was not told. Find it by its name.
        """
        pattern = _SUBMITTED_TO_TORQUE if self._dialect.is_torque else _SUBMITTED
        if said.exit == 0:
            for line in reversed(said.stdout.split("\n")):
                if pattern.fullmatch(line.strip()):
                    return line.strip()
        if said.exit == 0 or _MAY_BE_IN.search(said.stderr):
            raise SchedulerError(
                "qsub did not tell the job's id; the job may be in the queue all the same",
                command=said.argv,
                said=said.said,
                hint="`qstat -u $USER` shows whether it is",
            )
        raise SubmitError(
            "PBS refused the job", command=said.argv, said=said.said, hint=submit_hint(said.said)
        )

    def status_command(self, ids: Sequence[str]) -> list[str]:
        """Argv that asks for all `ids` in one query.

        Without ``-x``, which fails for running jobs too where PBS keeps no history.

        Raises
        ------
        ValueError
            If `ids` is empty or one of them is no job id.
        """
        return ["qstat", "-f", *_checked(ids)]

    def parse_status(self, said: Completed, ids: Sequence[str]) -> Mapping[str, JobStatus]:
        """One status for every id; LOST where PBS denies the job or has only its history."""
        return complete(said, ids)

    def never_starts(self, status: JobStatus) -> str | None:
        """Why this waiting job can never start; see `pbs_words.never_starts`."""
        return never_starts(status)

    def history_command(
        self, ids: Sequence[str], since: datetime | None = None
    ) -> list[str] | None:
        """Argv that asks for finished jobs too; None with Torque, which shows them anyway.

        `since` is not needed: a server gives no number twice while it has a job of that number.
        """
        return None if self._dialect.is_torque else ["qstat", "-x", "-f", *_checked(ids)]

    def parse_history(self, said: Completed, ids: Sequence[str]) -> Mapping[str, JobStatus]:
        """Like `parse_status`; UNKNOWN too where the site keeps no history."""
        return complete(said, ids)

    def find_command(self, name: str) -> list[str]:
        """Argv that describes all of the user's own live jobs."""
        return ["/bin/sh", "-c", _FIND, "find"]

    def parse_find(self, said: Completed, name: str) -> list[str]:
        """Ids of the live jobs that have exactly this name.

        Raises
        ------
        SchedulerError
            If PBS did not answer: then nothing is known.
        """
        # Jobs that ended between the two questions are no fault.
        if said.exit != 0 and not _only_gone(said):
            raise SchedulerError(
                f"PBS did not say whether a job named {name!r} exists",
                command=said.argv,
                said=said.said,
                hint="try again; `qstat -u $USER` lists your jobs",
            )
        named = [row for row in rows_of(said.stdout) if row.fields.get("Job_Name") == name]
        return [row.id for row in named if row.fields.get("job_state") not in ("F", "C")]

    def cancel_commands(self, ids: Sequence[str]) -> list[list[str]]:
        """Argvs that delete `ids`, each by a qdel of its own; a hundred in one command."""
        parts = [
            ids[start : start + _DELETED_AT_ONCE] for start in range(0, len(ids), _DELETED_AT_ONCE)
        ]
        return [["/bin/sh", "-c", _DELETE, "delete", *_checked(part)] for part in parts]

    def parse_cancel(self, said: Completed) -> None:
        """Check what qdel has said; a job that is over or about to be is no error.

        Raises
        ------
        SchedulerError
            If the job may still be alive: another user's, its node down, or no answer.
        """
        if said.exit == 0 or _only_gone(said):
            return
        raise SchedulerError(
            "PBS did not delete the job",
            command=said.argv,
            said=said.said,
            hint="`qstat -u $USER` lists your jobs; where a node is down `qdel -W force ID` helps",
        )


def _only_gone(said: Completed) -> bool:
    """Whether all that PBS complains of is that jobs are over."""
    lines = [line for line in said.stderr.splitlines() if line.strip()]
    return bool(lines) and all(_GONE.search(line) for line in lines)


def _checked(ids: Sequence[str]) -> Sequence[str]:
    return checked_ids(ids, _ID, "job id of PBS", "site")
