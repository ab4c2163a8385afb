"""LSF: argv of its commands, and the reading of their answers.

What each command prints was recorded with volclava 2.2, an open scheduler that has LSF's commands;
where IBM's LSF 10.1 differs by its manual, both are read.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from hpclaunch.errors import SchedulerError, SubmitError
from hpclaunch.schedulers.base import JobSpec, JobStatus, OneByOne
from hpclaunch.schedulers.checks import checked_ids
from hpclaunch.schedulers.lsf_directives import MemoryRule, directives
from hpclaunch.schedulers.lsf_text import complete, jobs_of
from hpclaunch.schedulers.lsf_words import never_starts, state_of, submit_hint
from hpclaunch.schedulers.own_log import own_log
from hpclaunch.shell import Completed

__all__ = ["Lsf"]

_ID = re.compile(r"\d+(?:\[\d+\])?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_.+-]+", re.ASCII)
_SUBMITTED = re.compile(r"Job <(\d+)> is submitted to ", re.ASCII)
_NONE_LISTED = re.compile(r"No unfinished job found|Job <[^>]*> is not found", re.IGNORECASE)
# The job is over, or LSF has noted that it shall be.
_GONE = re.compile(
    r"already finished|No matching job found|is not found|Operation is in progress", re.IGNORECASE
)
_UNANSWERED = (124, 137)  # what `timeout` ends with
_MAY_BE_IN = re.compile(r"still trying|timed? ?out|connection reset", re.IGNORECASE)

# Every command waits for ever for a master that is down; a bsub that waits on would submit a job
# hours later, of which nobody knows. Seconds, below what we wait for any command.
_PATIENCE = "50"
# The script, from stdin, becomes a file beside the job's log, which the nodes see.
_AS_FILE = """\
file=$(mktemp "$1"/script-XXXXXXXX) && cat >"$file" || exit 71
shift
exec "$@" /bin/bash "$file"
"""
# Variables of the user's that hide the answer or make bsub wait for the job.
_UNWANTED = ("BSUB_QUIET", "BSUB_QUIET2", "BSUB_STDERR", "BSUB_BLOCK")


@dataclass(frozen=True)
class Lsf(OneByOne):
    """The `Scheduler` of LSF sites.

    Jobs are submitted one by one. An array's largest size stands in ``bparams -l`` only, its tasks
    are numbered from 1, and how its tasks look in the long form that tells exit codes is not known.

    Attributes
    ----------
    options : tuple of str
        Always empty: LSF's commands have no option in common.
    memory_unit, memory_per : str
        See `lsf_directives.MemoryRule`.
    script : {"stdin", "argument"}
        How bsub gets a job: its script on stdin, or the name of a file with all options before it,
        at sites whose bsub reads no script.

    Raises
    ------
    ValueError
        If there are options, or a value is not one of those that are possible.

    Examples
    --------
    >>> said = "3 hours left\\nJob <4711> is submitted to default queue <normal>.\\n"
    >>> Lsf().parse_submit(Completed.of(["bsub"], 0, said))
    '4711'
    """

    kind: ClassVar[str] = "lsf"
    end_variable: ClassVar[str | None] = None
    exit_tells: ClassVar[tuple[str, ...]] = ("INT", "USR2")
    options: tuple[str, ...] = ()
    memory_unit: str = "MB"
    memory_per: str = "host"
    script: str = "stdin"

    def __post_init__(self) -> None:
        if self.options:
            raise ValueError(
                f"{self.options[0]!r}: no option is common to all commands of LSF; "
                "a line of login.prologue that reads another profile.lsf chooses another cluster"
            )
        _ = self._memory  # which checks its values
        if self.script not in ("stdin", "argument"):
            raise ValueError(f"script is 'stdin' or 'argument', not {self.script!r}")

    @property
    def _memory(self) -> MemoryRule:
        return MemoryRule(self.memory_unit, self.memory_per)

    def directives(self, spec: JobSpec) -> list[str]:
        """The ``#BSUB`` lines of a batch script; see `lsf_directives.directives`."""
        return directives(spec, self._memory)

    def prologue(self, spec: JobSpec) -> list[str]:
        """LSF's own output file is a mail with the script in it, written when all is over."""
        return [own_log(spec, "LSB_JOBID")]

    def submit_command(self, spec: JobSpec | None = None) -> list[str]:
        """Argv that submits the script given on stdin; nothing but its directives counts.

        Where bsub reads no script, the directives of `spec` become its arguments. The environment
        goes along whole. ``-env`` would change that with IBM's LSF; volclava would take its value
        for the job's command, silently.
        """
        if self.script == "stdin" or spec is None:
            return self._command("bsub")
        options = [line.removeprefix("#BSUB ") for line in self.directives(spec)]
        words = [word for option in options for word in shlex.split(option)]
        where = posixpath.dirname(spec.log)
        return ["sh", "-c", _AS_FILE, "sh", where, *self._command("bsub", *words)]

    def parse_submit(self, said: Completed) -> str:
        """The job's id.

        Raises
        ------
        SubmitError
            If LSF refused the job.
        SchedulerError
            If the job may be in the queue, but its id was not told. Find it by its name.
        """
        ids = _SUBMITTED.findall(said.stdout)
        if said.exit == 0 and ids:
            return str(ids[-1])
        refused = "not submitted" in said.stderr
        unanswered = said.exit in _UNANSWERED or bool(_MAY_BE_IN.search(said.stderr))
        if not refused and (said.exit == 0 or unanswered):
            raise SchedulerError(
                "bsub did not tell the job's id; the job may be in the queue all the same",
                command=said.argv,
                said=said.said,
                hint="`bjobs -w` shows whether it is",
            )
        raise SubmitError(
            "LSF refused the job", command=said.argv, said=said.said, hint=submit_hint(said.said)
        )

    def status_command(self, ids: Sequence[str]) -> list[str]:
        """Argv that asks for all `ids` in one query, finished ones included for an hour or so.

        Raises
        ------
        ValueError
            If `ids` is empty or one of them is no job id.
        """
        return self._command("bjobs", "-UF", *_checked(ids))

    def parse_status(self, said: Completed, ids: Sequence[str]) -> Mapping[str, JobStatus]:
        """One status for every id; LOST where LSF says that it has no such job."""
        return complete(said, ids)

    def never_starts(self, status: JobStatus) -> str | None:
        """Why this waiting job can never start; see `lsf_words.never_starts`."""
        return never_starts(status)

    def history_command(self, ids: Sequence[str], since: datetime | None = None) -> list[str]:
        """Argv that asks for what the log of events has of jobs that left the queue.

        Its times have no year, so `since` cannot be used.
        """
        return self._command("bhist", "-l", *_checked(ids))

    def parse_history(self, said: Completed, ids: Sequence[str]) -> Mapping[str, JobStatus]:
        """Like `parse_status`; UNKNOWN for a job of whose end nothing is told."""
        return complete(said, ids)

    def find_command(self, name: str) -> list[str]:
        """Argv that describes the user's own unfinished jobs of the name `name`.

        Raises
        ------
        ValueError
            If LSF would take the name for a pattern or an array.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a job that LSF has from us")
        return self._command("bjobs", "-UF", "-J", name)

    def parse_find(self, said: Completed, name: str) -> list[str]:
        """Ids of the live jobs that have exactly this name.

        Raises
        ------
        SchedulerError
            If LSF did not answer: then nothing is known.
        """
        if said.exit != 0 and not _NONE_LISTED.search(said.stderr):
            raise SchedulerError(
                f"LSF did not say whether a job named {name!r} exists",
                command=said.argv,
                said=said.said,
                hint="try again; `bjobs -w` lists your jobs",
            )
        named = [job for job in jobs_of(said.stdout) if job.name == name]
        return [job.id for job in named if not state_of(job.word).is_final]

    def cancel_commands(self, ids: Sequence[str]) -> list[list[str]]:
        """One argv that cancels all `ids`."""
        return [self._command("bkill", *_checked(ids))] if ids else []

    def parse_cancel(self, said: Completed) -> None:
        """Check bkill's answer; a job that is over is no error.

        Raises
        ------
        SchedulerError
            If a job may still be alive: another user's, or LSF did not answer.
        """
        lines = [line for line in said.stderr.splitlines() if line.strip()]
        harmless = bool(lines) and all(_GONE.search(line) for line in lines)
        if said.exit == 0 or (harmless and said.exit not in _UNANSWERED):
            return
        raise SchedulerError(
            "LSF did not end the job",
            command=said.argv,
            said=said.said,
            hint="`bjobs -w` lists your jobs; stop the session again later",
        )

    def _command(self, program: str, *arguments: str) -> list[str]:
        unset = [word for name in _UNWANTED for word in ("-u", name)]
        # In English; bsub's environment is the job's, so it stays as it is.
        words = [] if program == "bsub" else ["LC_ALL=C"]
        return ["timeout", _PATIENCE, "env", *unset, *words, program, *arguments]


def _checked(ids: Sequence[str]) -> Sequence[str]:
    return checked_ids(ids, _ID, "job id of LSF", "user")
