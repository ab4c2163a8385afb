"""This machine, without a scheduler: `hpclaunch.node.localjob` keeps the jobs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from hpclaunch.errors import SchedulerError, SubmitError
from hpclaunch.node.localjob_text import MAGIC, Row, parse_rows
from hpclaunch.schedulers.base import JobSpec, JobState, JobStatus, OneByOne
from hpclaunch.shell import Completed, quote

__all__ = ["Local"]

_STATES = {
    "STARTING": JobState.STARTING,
    "RUNNING": JobState.RUNNING,
    "ENDING": JobState.ENDING,
    "COMPLETED": JobState.DONE,
    "FAILED": JobState.FAILED,
    "CANCELLED": JobState.CANCELLED,
    "TIMEOUT": JobState.TIMEOUT,
    "NODE_FAIL": JobState.NODE_FAILED,
    "ELSEWHERE": JobState.UNKNOWN,  # the spool is shared, the job runs on another machine
}
_ID_LINE = re.compile(r"localjob\|([1-9]\d*)", re.ASCII)


@dataclass(frozen=True)
class Local(OneByOne):
    """The `Scheduler` of the site ``local``.

    Attributes
    ----------
    python : str
        The interpreter that runs hpclaunch, 3.11 or newer.
    spool : str
        Absolute path of the directory that keeps the jobs.
    """

    kind: ClassVar[str] = "local"
    end_variable: ClassVar[str | None] = None
    exit_tells: ClassVar[tuple[str, ...]] = ()
    python: str
    spool: str

    def directives(self, spec: JobSpec) -> list[str]:
        """The ``#HPCLAUNCH`` lines of a batch script. Cores and memory are not limited here.

        Raises
        ------
        ValueError
            If the job asks for what this machine has not (more nodes, a queue, an account, a
            QOS, further options), or a value cannot be said in a directive.
        """
        if spec.copies != 1:
            raise ValueError(f"this machine has no arrays of jobs, {spec.copies} are asked for")
        if spec.nodes != 1:
            raise ValueError(f"this machine is one node, the job asks for {spec.nodes}")
        for what, value in (("queue", spec.queue), ("account", spec.account), ("QOS", spec.qos)):
            if value is not None:
                raise ValueError(f"this machine has no scheduler, so no {what} {value!r}")
        if spec.extra:
            raise ValueError(f"this machine has no scheduler to take {spec.extra[0]!r}")
        if not spec.name:
            raise ValueError("a job needs a name, or it could not be found again")
        if not spec.log.startswith("/"):
            raise ValueError(f"the log of a job must be an absolute path, not {spec.log!r}")
        named = (("job-name", spec.name), ("output", spec.log), ("time", spec.walltime.clock()))
        return [_directive(name, value) for name, value in named]

    def prologue(self, spec: JobSpec) -> list[str]:
        """Nothing: the log is written while the job runs, and the directory kept."""
        return []

    def submit_command(self, spec: JobSpec | None = None) -> list[str]:
        """Argv that submits the script given on stdin; all is in its directives."""
        return self._command("submit")

    def parse_submit(self, said: Completed) -> str:
        """The job's id.

        Raises
        ------
        SubmitError
            If the job could not be started.
        SchedulerError
            If it may run, but its id was not told.
        """
        ids = _ids(said.stdout)
        if said.exit == 0 and ids:
            return ids[-1]
        kind = SchedulerError if said.exit == 0 else SubmitError
        raise kind("the job could not be started here", command=said.argv, said=said.said)

    def status_command(self, ids: Sequence[str]) -> list[str]:
        """Argv that asks for all `ids` at once."""
        return self._command("status", *ids)

    def parse_status(self, said: Completed, ids: Sequence[str]) -> Mapping[str, JobStatus]:
        """One status for every id; LOST where it is unknown, UNKNOWN where nothing answered."""
        rows = {row.id: _status(row) for row in parse_rows(said.stdout)}
        state, reason = (JobState.UNKNOWN, said.said) if said.exit else (JobState.LOST, "")
        return {one: rows.get(one, JobStatus(one, state, reason=reason)) for one in ids}

    def never_starts(self, status: JobStatus) -> str | None:
        """Nothing waits here, so nothing waits for ever."""
        return None

    def history_command(self, ids: Sequence[str], since: datetime | None = None) -> None:
        """None: there is no accounting, and the status keeps ended jobs for 30 days."""

    def parse_history(self, said: Completed, ids: Sequence[str]) -> Mapping[str, JobStatus]:
        """Like `parse_status`."""
        return self.parse_status(said, ids)

    def find_command(self, name: str) -> list[str]:
        """Argv that lists the live jobs of the name `name`."""
        return self._command("find", name)

    def parse_find(self, said: Completed, name: str) -> list[str]:
        """Ids of the live jobs that have exactly this name.

        Raises
        ------
        SchedulerError
            If the answer failed: then nothing is known.
        """
        if said.exit != 0:
            raise SchedulerError(
                f"cannot tell whether a job named {name!r} runs here",
                command=said.argv,
                said=said.said,
            )
        return _ids(said.stdout)

    def cancel_commands(self, ids: Sequence[str]) -> list[list[str]]:
        """One argv that cancels all `ids`."""
        return [self._command("cancel", *ids)] if ids else []

    def parse_cancel(self, said: Completed) -> None:
        """Check the answer of a cancel command.

        Raises
        ------
        SchedulerError
            If a job may still run.
        """
        if said.exit != 0:
            raise SchedulerError("the job was not cancelled", command=said.argv, said=said.said)

    def _command(self, *words: str) -> list[str]:
        # -P: a random.py in the user's directory must not stand in for Python's own.
        return [self.python, "-P", "-m", "hpclaunch.node.localjob", self.spool, *words]


def _directive(name: str, value: str) -> str:
    if "\n" in value or "\0" in value:
        raise ValueError(f"a newline or NUL character cannot stand in a directive: {value!r}")
    return f"{MAGIC}--{name}={quote(value)}"


def _ids(text: str) -> list[str]:
    matches = [_ID_LINE.fullmatch(line.strip()) for line in text.split("\n")]
    return [match[1] for match in matches if match]


def _status(row: Row) -> JobStatus:
    state = _STATES.get(row.word, JobState.UNKNOWN)
    try:
        ends_at = None if row.ends is None else datetime.fromtimestamp(row.ends)
    except (OverflowError, OSError, ValueError):
        ends_at = None
    return JobStatus(
        id=row.id,
        state=state,
        word=row.word,
        reason=row.reason,
        nodes=() if state is JobState.UNKNOWN else (row.host,),
        ends_at=ends_at,
        exit_code=row.exit_code,
        signal=row.signal,
    )
