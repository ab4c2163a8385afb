"""What PBS's words mean: job states, exit statuses, comments, and refusals with their next step.

Sources: the recorded answers of OpenPBS 23.06.06 and of its master in tests/transcripts; for what
these do not show, ``src/include/job.h`` of OpenPBS (``JOB_EXEC_...``, ``JOB_SUBSTATE_...``).
"""

from __future__ import annotations

from collections.abc import Mapping

from hpclaunch.schedulers.base import JobState, JobStatus

__all__ = ["final_state", "never_starts", "reason_of", "state_of", "submit_hint"]

_STATES = {
    "Q": JobState.QUEUED,
    "T": JobState.QUEUED,  # on its way to another server or queue
    "W": JobState.QUEUED,  # until the time it asked for
    "H": JobState.HELD,
    "R": JobState.RUNNING,
    "B": JobState.RUNNING,  # an array of which a part has begun
    "S": JobState.SUSPENDED,
    "U": JobState.SUSPENDED,  # somebody sits at the keyboard of its node
    "E": JobState.ENDING,
}
_PRERUN = "41"
_FOR_OTHERS = "22"  # held for a job that it depends on
_DELETED = "91"
_BY_SIGTERM = 256 + 15

# What PBS itself ended a job for.
_KILLED = {
    -29: (JobState.TIMEOUT, "its walltime was over"),
    -28: (JobState.FAILED, "it used more CPU time than it asked for"),
    -27: (JobState.OUT_OF_MEMORY, "it used more memory than it asked for"),
    -26: (JobState.OUT_OF_MEMORY, "it used more virtual memory than it asked for"),
    -25: (JobState.FAILED, "it used more CPUs than it asked for"),
    -24: (JobState.FAILED, "it used more CPUs at one time than it asked for"),
    -6: (JobState.NODE_FAILED, "PBS was started anew on its node"),
    -5: (JobState.NODE_FAILED, "PBS was started anew on its node"),
    -4: (JobState.NODE_FAILED, "PBS was started anew on its node"),
}


def state_of(word: str, fields: Mapping[str, str]) -> JobState:
    """The state of a job that has not ended; UNKNOWN for a word that is not in the table."""
    substate = fields.get("substate")
    if word == "R" and substate == _PRERUN:
        return JobState.STARTING
    if word == "H" and substate == _FOR_OTHERS:
        return JobState.QUEUED
    return _STATES.get(word, JobState.UNKNOWN)


def final_state(code: int | None, fields: Mapping[str, str]) -> JobState:
    """How a job ended that is in state F, or C with Torque.

    A job that never ran has no exit status, whether it was deleted or what it waited for failed.
    """
    deleted = fields.get("substate") == _DELETED
    if code in _KILLED:
        return _KILLED[code][0]
    # Torque has neither a substate for it nor a comment: its jobs end by SIGTERM then.
    by_torque = fields.get("job_state") == "C" and code == _BY_SIGTERM
    if deleted or by_torque or "terminated by" in fields.get("comment", ""):
        return JobState.CANCELLED
    return JobState.DONE if code == 0 else JobState.FAILED


def reason_of(state: JobState, code: int | None, fields: Mapping[str, str]) -> str:
    """Why a job waits or ended, in PBS's words where it has some; empty while it runs."""
    comment = fields.get("comment", "")
    if state.is_final:
        if comment:
            return comment
        if code in _KILLED:
            return _KILLED[code][1]
        if state is JobState.FAILED and code is None:
            waited = fields.get("depend")
            return f"it never ran; it depended on {waited}" if waited else "it never ran"
        return ""
    if state is JobState.QUEUED and not comment and "depend" in fields:
        return f"it waits for {fields['depend']}"
    return comment if state in (JobState.QUEUED, JobState.HELD) else ""


def never_starts(status: JobStatus) -> str | None:
    """Why a waiting job can never start, or None if waiting may help.

    qsub accepts requests that no node can meet; the scheduler's comment tells.
    """
    if not status.state.is_waiting or not status.reason.startswith("Can Never Run"):
        return None
    return f"no node or queue here has what the job asks for (PBS says: {status.reason})"


_NO_PATH = (
    "PBS's commands are not on the PATH of a command over ssh; a line in the profile's "
    "login.prologue puts them there, such as: module load pbs"
)
_LIMITS = "`qstat -Qf` lists the queues with their limits; ask for less or give --queue"
# The first fragment that occurs in PBS's refusal, in lower case, gives the hint.
_HINTS = (
    ("unknown queue", "`qstat -Q` lists the queues; give one with --queue"),
    ("queue is not enabled", "the queue takes no jobs now; `qstat -Q` lists others"),
    ("unauthorized request", "you may not use this queue; `qstat -Q` lists others, give --queue"),
    ("violates queue and/or server resource limits", _LIMITS),
    ("violates resource limits", _LIMITS),
    ("would exceed", "you have as many jobs or cores as are allowed; wait, or end one"),
    ("resource_list.walltime", "give --walltime as HH:MM:SS"),
    ("unknown resource", "the profile asks for a resource that this PBS does not have"),
    ("illegal attribute or resource value", "the profile's directives hold a value PBS refuses"),
    (
        "cannot be used with",
        "the profile's directives and the request for nodes exclude each other",
    ),
    ("directive error", "an option of the profile's directives is not qsub's, or has a comment"),
    ("bad gid", "the account is no group of yours; `id -Gn` lists them, give --account"),
    ("bad uid", "PBS does not let this user run jobs here"),
    ("account", "give the account with --account"),
    ("project", "give the account with --account"),
    ("cannot connect to server", "PBS's server does not answer; try again later"),
    ("command not found", _NO_PATH),
    ("no such file or directory", _NO_PATH),
)


def submit_hint(said: str) -> str | None:
    """The next step that fits PBS's refusal `said`, or None for a text we do not know."""
    lowered = said.lower()
    return next((hint for fragment, hint in _HINTS if fragment in lowered), None)
