"""What LSF's words mean: job states, endings, pending reasons, and refusals with their next step.

Sources: the recorded answers of volclava 2.2, which has LSF's commands, in tests/transcripts; for
what IBM's LSF 10.1 says besides, its manual pages of bjobs (states, ``TERM_`` reasons) and bsub.
"""

from __future__ import annotations

from dataclasses import dataclass

from hpclaunch.schedulers.base import JobState, JobStatus

__all__ = ["Ending", "final_state", "never_starts", "state_of", "submit_hint"]

_STATES = {
    "PEND": JobState.QUEUED,
    "WAIT": JobState.QUEUED,  # in a chunk, behind another job
    "PSUSP": JobState.HELD,
    "PROV": JobState.STARTING,  # its host is being powered up
    "RUN": JobState.RUNNING,
    "USUSP": JobState.SUSPENDED,
    "SSUSP": JobState.SUSPENDED,
    "DONE": JobState.DONE,
    "EXIT": JobState.FAILED,
    "ZOMBI": JobState.NODE_FAILED,  # given up while its host did not answer
}
# UNKWN is in no table: LSF has lost sight of the host, and the job may well live on.

_BY_INT, _BY_USR2 = 128 + 2, 128 + 12  # bkill's first signal, and that of a run limit (Linux)

_TERM = {
    "RUNLIMIT": JobState.TIMEOUT,
    "DEADLINE": JobState.TIMEOUT,
    "MEMLIMIT": JobState.OUT_OF_MEMORY,
    "SWAP": JobState.OUT_OF_MEMORY,
    "OWNER": JobState.CANCELLED,
    "ADMIN": JobState.CANCELLED,
    "FORCE_OWNER": JobState.CANCELLED,
    "FORCE_ADMIN": JobState.CANCELLED,
    "REMOVE_HUNG_JOB": JobState.NODE_FAILED,
    "ORPHAN_SYSTEM": JobState.NODE_FAILED,
}


@dataclass(frozen=True)
class Ending:
    """How a job ended.

    Attributes
    ----------
    done : bool
        Whether LSF calls it done.
    code, signal : int or None
    reason : str or None
        IBM's ``TERM_...``, without the beginning.
    began : bool
        Whether it ran at all.
    cancelled : bool
        Whether a user asked for a signal.
    words : str
        LSF's own.
    """

    done: bool
    code: int | None
    signal: int | None
    reason: str | None
    began: bool
    cancelled: bool
    words: str


def state_of(word: str) -> JobState:
    """The state that LSF's `word` means; UNKNOWN for a word that is not in the table."""
    return _STATES.get(word, JobState.UNKNOWN)


def final_state(ending: Ending) -> JobState:
    """What a job's ending means. Without a ``TERM_`` reason the exit code tells what ended it."""
    if ending.reason in _TERM:
        return _TERM[ending.reason]
    if ending.done:
        return JobState.DONE
    if not ending.began or ending.cancelled or ending.code == _BY_INT:
        return JobState.CANCELLED
    return JobState.TIMEOUT if ending.code == _BY_USR2 else JobState.FAILED


def never_starts(status: JobStatus) -> str | None:
    """Why a waiting job can never start, or None if waiting may help.

    Too many slots are refused at once; too much memory waits for ever, and LSF gives the same
    reason as to jobs that only wait.
    """
    if status.state.is_waiting and "never satisfied" in status.reason:
        return (
            f"the job it depends on ended in another way than required (LSF says: {status.reason})"
        )
    return None


_NO_PATH = (
    "LSF's commands are not on the PATH of a command over ssh; a line in the profile's "
    "login.prologue puts them there, such as: . /opt/lsf/conf/profile.lsf"
)
_QUEUES = "`bqueues -l` lists the queues with their limits"
# The first fragment that occurs in LSF's refusal, in lower case, gives the hint.
_HINTS = (
    ("illegal option", "an option of the profile's directives is not this bsub's"),
    ("no such queue", "`bqueues` lists the queues; give one with --queue"),
    ("user cannot use the queue", "`bqueues -u $USER` lists the queues you may use; give --queue"),
    ("closed by the administrator", "the queue takes no jobs now; `bqueues` lists others"),
    ("runlimit", f"{_QUEUES}; give a shorter --walltime or another --queue"),
    ("cpu limit", f"{_QUEUES}; give a shorter --walltime"),
    ("too many processors", f"{_QUEUES}; ask for fewer nodes or cores"),
    ("memlimit", f"{_QUEUES}; ask for less memory"),
    ("resource requirement", "the profile's -R, or its memory unit, is not this LSF's"),
    ("project", "`bugroup` and the site's help tell your projects; give one with --account"),
    ("bad job name", "give a shorter --name"),
    ("job limit", "you have as many jobs as are allowed; wait, or end one"),
    ("lsf.conf", "LSF's settings are not found; login.prologue can read its profile.lsf"),
    ("not responding", "LSF's master does not answer; try again later"),
    ("is down", "LSF does not answer; try again later"),
    ("command not found", _NO_PATH),
    ("no such file or directory", _NO_PATH),
)


def submit_hint(said: str) -> str | None:
    """The next step that fits LSF's refusal `said`, or None for a text we do not know."""
    lowered = said.lower()
    return next((hint for fragment, hint in _HINTS if fragment in lowered), None)
