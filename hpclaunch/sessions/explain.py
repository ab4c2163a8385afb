"""From what is known of a session that is over to one clear error. Pure.

The job's own files speak first (``failure.json``, ``exit.json``), then the scheduler, then the log.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpclaunch.errors import SessionFailed
from hpclaunch.node.failure import FILESYSTEM
from hpclaunch.schedulers.base import JobState, JobStatus
from hpclaunch.sessions.record import Record
from hpclaunch.units import Walltime

__all__ = ["Evidence", "conclude"]


@dataclass(frozen=True)
class Evidence:
    """What is known of a job that ended.

    Attributes
    ----------
    failure : mapping or None
        The agent's ``failure.json``: ``cause, what, hint``.
    ending : mapping or None
        The agent's ``ending.json``, where it ended by itself though all was well: ``cause, what``,
        and of a batch the ``exit`` code of its script.
    exit_code : int or None
        From ``exit.json``, the last word of the job itself.
    job : JobStatus or None
        The scheduler's last word.
    log : str
        The last lines of the job's log.
    foreign : bool
        Whether the session's directory holds a rendezvous with another session's nonce.
    """

    failure: Mapping[str, Any] | None = None
    ending: Mapping[str, Any] | None = None
    exit_code: int | None = None
    job: JobStatus | None = None
    log: str = ""
    foreign: bool = False

    @property
    def shows_life(self) -> bool:
        """Whether the scheduler has the job among the living, and no word of its end is there."""
        silent = self.failure is None and self.ending is None and self.exit_code is None
        return silent and self.job is not None and self.job.state in _LIVING


_LIVING = frozenset(
    {
        JobState.QUEUED,
        JobState.HELD,
        JobState.STARTING,
        JobState.RUNNING,
        JobState.SUSPENDED,
    }
)
_ENDS = {
    JobState.CANCELLED: (
        "was cancelled from outside",
        "if it was not you, ask the site's help desk; `hpclaunch start` tries again",
    ),
    JobState.TIMEOUT: (
        "reached its walltime",
        "start again with a longer --walltime",
    ),
    JobState.OUT_OF_MEMORY: (
        "was killed because it used more memory than it asked for",
        "start again with more --memory",
    ),
    JobState.NODE_FAILED: (
        "lost its node: the scheduler reports a node failure",
        "nothing of yours is wrong; start again",
    ),
}

# Where Slurm itself measures memory (jobacct_gather with OverMemoryKill) the state is FAILED or
# CANCELLED, and only the words of slurmstepd in the job's log tell the cause. Slurm 26.05 puts the
# time before them instead of its name.
_OVER_MEMORY = re.compile(
    r"(slurmstepd\S*:|^\[[0-9T:.-]+\]) error: .*(exceeded (job |step )?memory limit|oom.kill)",
    re.IGNORECASE | re.MULTILINE,
)


def conclude(record: Record, evidence: Evidence) -> dict[str, Any]:
    """The outcome: ``{"state", "error"}`` for the record, and perhaps ``"reason"`` or ``"exit"``.

    A batch ends as its script did, whatever was said after that word. A session that had answered
    and left by itself has ended. One that reached its walltime has ended too, with words: not
    everybody looks at the clock. Everything else has failed.
    """
    if record.stopping:
        return {"state": "ended", "error": None}
    if record.batch is not None and isinstance((evidence.ending or {}).get("exit"), int):
        return _script_ended(record, evidence)
    state = _state(evidence)
    was_ready = record.rendezvous is not None and record.batch is None
    left_by_itself = evidence.failure is None and evidence.exit_code == 0
    if was_ready and left_by_itself and state not in _ENDS:
        why = (evidence.ending or {}).get("what")
        return {"state": "ended", "error": None, **({"reason": str(why)} if why else {})}
    lost = evidence.failure is None and evidence.exit_code is None and state is JobState.LOST
    at_its_end = was_ready and state is JobState.TIMEOUT
    return {
        "state": "ended" if at_its_end else "lost" if lost else "failed",
        "error": _error(record, evidence, state).to_dict(),
    }


def _script_ended(record: Record, evidence: Evidence) -> dict[str, Any]:
    """The outcome of a batch whose script has come to its end, well or not."""
    assert evidence.ending is not None
    code = int(evidence.ending["exit"])
    outputs = evidence.ending.get("outputs")
    found: dict[str, Any] = {"exit": code, **({"outputs": outputs} if outputs else {})}
    if code == 0:
        return {"state": "ended", "error": None, **found}
    error = SessionFailed(
        f"{evidence.ending.get('what')} (job {record.job_id} of batch {record.name} on "
        f"{record.site})",
        log=evidence.log or None,
        hint=f"`hpclaunch logs {record.name}` shows its whole output; mend it, or run it as it was "
        f"with `hpclaunch batch --again {record.name}`",
    )
    return {"state": "failed", "error": error.to_dict(), **found}


def _state(evidence: Evidence) -> JobState | None:
    """The scheduler's last word, corrected where the log knows better."""
    state = evidence.job.state if evidence.job else None
    if state in (JobState.FAILED, JobState.CANCELLED) and _OVER_MEMORY.search(evidence.log):
        return JobState.OUT_OF_MEMORY
    return state


def _error(record: Record, evidence: Evidence, state: JobState | None) -> SessionFailed:
    what, hint = _cause(record, evidence, state)
    said = _scheduler_words(evidence.job)
    last = evidence.failure.get("said") if evidence.failure is not None else None
    log = f"{evidence.log}{last or ''}".strip("\n")
    return SessionFailed(what, said=said, log=log or None, hint=hint)


def _cause(record: Record, evidence: Evidence, state: JobState | None) -> tuple[str, str]:
    """What happened, and the next step."""
    kind = "session" if record.batch is None else "batch"
    job = f"job {record.job_id} of {kind} {record.name} on {record.site}"
    phase = "" if record.rendezvous is not None else " while it was starting"
    hint = f"`hpclaunch logs {record.name}` shows the whole log"
    if evidence.foreign:
        return (
            f"the directory of session {record.name} on {record.site} holds a rendezvous of "
            "another session; nothing was connected to it",
            f"look who wrote {record.session_dir}/rendezvous.json, then start again",
        )
    if state is not None and state in _ENDS:
        what, hint = _ENDS[state]
        walltime = f" of {Walltime(record.walltime)}" if state is JobState.TIMEOUT else ""
        return f"{job} {what}{walltime}{phase}", hint
    if evidence.failure is not None:
        what = str(evidence.failure.get("what", "the agent gave up"))
        return f"{what} ({job})", str(evidence.failure.get("hint") or hint)
    if evidence.exit_code is not None:
        return _by_exit_code(record, evidence.exit_code, job, phase, hint)
    if evidence.job is not None and evidence.job.exit_code:
        # No file of its own: what the scheduler says of the exit is all there is.
        return _by_exit_code(record, evidence.job.exit_code, job, phase, hint)
    if record.job_id is None:
        return (
            f"session {record.name} never came into the queue of {record.site}: the submit was not "
            "answered, and no job has its name",
            "try again; if it stays so, ask the site's help desk whether the scheduler is well",
        )
    if state is JobState.LOST:
        lost = "is gone: the scheduler does not know it, and it left no word of its end"
        return f"{job} {lost}", hint
    return f"{job} ended{phase} and left no word", hint


def _by_exit_code(record: Record, code: int, job: str, phase: str, hint: str) -> tuple[str, str]:
    """What the last word of the job's script means; see templates/session.sh.j2."""
    usual = (record.profile.get("session") or {}).get("environment", "default")
    environment = (record.batch or {}).get("environment", usual)
    check = f"check [environments.{environment}] of the profile of {record.site}"
    if code == 127:
        return f"the environment {environment!r} has no working Python on the node ({job})", check
    if code == 126:
        return f"the environment {environment!r} cannot be made on the node ({job})", check
    if code == 137:
        return (
            f"the session's own process on the node was killed by SIGKILL{phase} ({job})",
            "somebody or something on the node killed it: too much memory is the usual reason",
        )
    if code == FILESYSTEM:
        return (
            f"a file of the session could not be used on the node{phase} ({job})",
            "check your quota, and that your home directory is the same on compute nodes",
        )
    return f"{job} ended with exit code {code}{phase}", hint


def _scheduler_words(job: JobStatus | None) -> str | None:
    if job is None or not job.word or job.state is JobState.RUNNING:
        return None  # a job that still runs while its agent gives up: nothing of its end
    words = [job.word]
    if job.reason and job.reason not in ("None", "none"):
        words.append(f"({job.reason})")
    if job.exit_code is not None:
        words.append(f"exit code {job.exit_code}")
    if job.signal:
        words.append(f"signal {job.signal}")
    return " ".join(words)
