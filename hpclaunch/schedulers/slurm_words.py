"""What Slurm's words mean: job states, reasons that never pass, and refusals with their next step.

Sources: ``job_state_string`` of Slurm's src/common/slurm_protocol_defs.c, its page "Job Reason
Codes" (slurm.schedmd.com/job_reason_codes.html), the error table src/common/slurm_errno.c, and
the recorded answers of releases 22.05, 24.11 and 26.05 in tests/transcripts.
"""

from __future__ import annotations

import re

from hpclaunch.schedulers.base import JobState, JobStatus

__all__ = ["never_starts", "state_of", "submit_hint", "was_answered"]

_STATES = {
    "PENDING": JobState.QUEUED,
    "REQUEUED": JobState.QUEUED,
    "REQUEUE_FED": JobState.QUEUED,
    "REQUEUE_HOLD": JobState.HELD,
    "RESV_DEL_HOLD": JobState.HELD,
    "SPECIAL_EXIT": JobState.HELD,
    "CONFIGURING": JobState.STARTING,
    "POWER_UP_NODE": JobState.STARTING,
    "EXPEDITING": JobState.QUEUED,
    "RUNNING": JobState.RUNNING,
    "RESIZING": JobState.RUNNING,
    "SIGNALING": JobState.RUNNING,
    "SUSPENDED": JobState.SUSPENDED,
    "STOPPED": JobState.SUSPENDED,
    "COMPLETING": JobState.ENDING,
    "STAGE_OUT": JobState.ENDING,
    "COMPLETED": JobState.DONE,
    "FAILED": JobState.FAILED,
    "PREEMPTED": JobState.FAILED,
    "DEADLINE": JobState.FAILED,  # it could no longer start in time
    "CANCELLED": JobState.CANCELLED,
    "TIMEOUT": JobState.TIMEOUT,
    "OUT_OF_MEMORY": JobState.OUT_OF_MEMORY,
    "NODE_FAIL": JobState.NODE_FAILED,
    "BOOT_FAIL": JobState.NODE_FAILED,
}
# A held job is PENDING with one of these reasons.
_HELD = re.compile(r"JobHeld|JobHoldMaxRequeue|.*requeued held", re.IGNORECASE)


def state_of(word: str, reason: str = "") -> JobState:
    """The state that Slurm's `word` means; UNKNOWN for a word that is not in the table."""
    state = _STATES.get(word, JobState.UNKNOWN)
    return JobState.HELD if state is JobState.QUEUED and _HELD.match(reason) else state


# Reasons of a PENDING job that no waiting removes: the request itself is outside a limit. Limits
# on what a user, account or QOS uses at one time (PerUser, PerAccount, Grp) pass and are not here.
_NEVER = (
    ("PartitionTimeLimit", "the walltime is longer than the partition allows"),
    ("PartitionNodeLimit", "the partition does not allow this number of nodes"),
    # Newer releases say this too where the account may not use the partition.
    ("PartitionConfig", "the partition does not allow it, by its limits or to this account"),
    ("BadConstraints", "no node fits what the job asks for"),
    ("DependencyNeverSatisfied", "the job it depends on ended in another way than required"),
    ("AccountNotAllowed", "the account may not use this partition"),
    ("QOSNotAllowed", "the QOS may not be used here"),
    ("InvalidAccount", "the account is not valid"),
    ("InvalidQOS", "the QOS is not valid"),
    ("ReservationDeleted", "the reservation was deleted"),
    ("DeadLine", "it cannot end before its deadline"),
    ("MaxMemPerLimit", "it asks for more memory for a core or node than is allowed"),
    # 22.05 gives whole sentences here.
    (r"Job's account not permitted to use this partition.*", "the account may not use it"),
    (r"Job's QOS not permitted to use this partition.*", "the QOS may not be used with it"),
    (r"uid \d+ not in group permitted to use this partition.*", "your groups may not use it"),
    (r"(QOS|Assoc)Max\w+PerJob(Limit)?", "it asks for more than one job may have"),
    (r"(QOS|Assoc)Max\w+PerNode", "it asks for more on one node than is allowed"),
    (r"QOSMin\w+", "it asks for less than the QOS demands"),
)


def never_starts(status: JobStatus) -> str | None:
    """Why a waiting job can never start, in words, or None if waiting may help.

    Slurm accepts many impossible requests (the default ``EnforcePartLimits=NO``) and leaves them
    pending for ever; only the reason tells. The limits could still be changed by an administrator.
    """
    if not status.state.is_waiting:
        return None
    for pattern, words in _NEVER:
        if re.fullmatch(pattern, status.reason, re.DOTALL):
            return f"{words} (Slurm says: {status.reason})"
    return None


# The first fragment that occurs in Slurm's refusal, in lower case, gives the hint.
_NO_PATH = (
    "Slurm's commands are not on the PATH of a command over ssh; a line in the profile's "
    "login.prologue puts them there, such as: module load slurm"
)
_NODES = "`sinfo -o '%P %D %c %m %G'` lists nodes, cores, memory (MB) and GPUs; ask for less"
_ASSOCIATIONS = "`sacctmgr show assoc user=$USER format=account,partition,qos` lists yours"
_HINTS = (
    ("partition not available", "the partition is drained or inactive; ask `sinfo` for another"),
    ("partition in down state", "the partition is down; ask `sinfo` for another"),
    ("not permitted to use this partition", "ask `sinfo` for another partition, give --queue"),
    ("invalid account", f"{_ASSOCIATIONS}; give the account with --account"),
    ("partition name", "`sinfo` lists the partitions; give one with --queue"),
    ("no partition specified", "`sinfo` lists the partitions; give one with --queue"),
    ("invalid qos", f"{_ASSOCIATIONS}; the profile's `qos` names another"),
    ("accounting/qos policy", f"a limit of your account or QOS; {_ASSOCIATIONS}"),
    ("time limit is invalid", "`sinfo -o '%P %l'` lists the longest walltimes; give --walltime"),
    ("invalid --time", "give --walltime as HH:MM:SS"),
    ("memory specification", _NODES),
    ("memory required by task", _NODES),
    ("gres) specification", f"no such GPUs in this partition; {_NODES}"),
    ("cpu count", _NODES),
    ("more processors requested", _NODES),
    ("node count", _NODES),
    ("node configuration is not available", _NODES),
    ("invalid node name", "`sinfo -N` lists the nodes"),
    ("invalid feature", "`sinfo -o '%P %f'` lists the features that --constraint may name"),
    ("reservation", "`scontrol show reservation` lists the reservations"),
    ("license specification", "`scontrol show licenses` lists the licenses"),
    ("use 'sacctmgr list clusters'", "the profile's scheduler options name an unknown cluster"),
    ("unrecognized option", "this release of Slurm does not know that option of the profile"),
    ("slurm controller", "Slurm's controller does not answer; try again later"),
    ("command not found", _NO_PATH),
    ("no such file or directory", _NO_PATH),
)


def submit_hint(said: str) -> str | None:
    """The next step that fits Slurm's refusal `said`, or None for a text we do not know."""
    lowered = said.lower()
    return next((hint for fragment, hint in _HINTS if fragment in lowered), None)


# Slurm's commands can exit 0 although nobody answered; then stderr holds one of these.
_NO_ANSWER = re.compile(
    r"_load_jobs error|unable to contact|timed? ?out|connection (refused|reset)|zero bytes"
    r"|standby mode|could not get cluster|problem talking to the database|protocol authentication",
    re.IGNORECASE,
)
_UNKNOWN_ID = re.compile(r"invalid job id specified", re.IGNORECASE)


def was_answered(exit: int, stderr: str) -> bool:
    """Whether Slurm answered a question about jobs, so that a missing job is really not there."""
    if _UNKNOWN_ID.search(stderr):
        return True
    return exit == 0 and not _NO_ANSWER.search(stderr)
