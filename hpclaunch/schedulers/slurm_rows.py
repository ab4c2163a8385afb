"""The rows that squeue and sacct print, and the status of a job that they tell."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from hpclaunch.schedulers.base import JobState, JobStatus
from hpclaunch.schedulers.nodelist import expand_nodes
from hpclaunch.schedulers.slurm_words import state_of, was_answered
from hpclaunch.shell import Completed

__all__ = [
    "HISTORY_FIELDS",
    "STATUS_FORMAT",
    "accounted_status",
    "array_ids",
    "complete",
    "queue_status",
    "rows_of",
]

# The reason comes last: in 22.05 it can be a whole sentence with any character in it.
STATUS_FORMAT = "%i|%T|%S|%e|%N|%r"
HISTORY_FIELDS = "JobID,State,ExitCode,Start,End,NodeList,Reason"


def rows_of(text: str, width: int) -> list[list[str]]:
    """The lines that are a row of `width` fields about a job; chatter is none."""
    rows = [line.split("|", width - 1) for line in text.split("\n")]
    return [row for row in rows if len(row) == width and row[0][:1].isdigit()]


def complete(
    rows: Mapping[str, JobStatus], said: Completed, ids: Sequence[str]
) -> dict[str, JobStatus]:
    """One status for every id: its row, else LOST if Slurm answered, else UNKNOWN."""
    if was_answered(said.exit, said.stderr):
        return {one: rows.get(one, JobStatus(one, JobState.LOST)) for one in ids}
    return {one: rows.get(one, JobStatus(one, JobState.UNKNOWN, reason=said.said)) for one in ids}


def queue_status(fields: Sequence[str]) -> JobStatus:
    one, word, start, end, nodes, reason = fields
    reason = _known(reason)
    state = state_of(word, reason)
    waits = state in (JobState.QUEUED, JobState.HELD)
    return JobStatus(
        id=one,
        state=state,
        word=word,
        reason=reason,
        expected_start=_moment(start) if waits else None,
        nodes=_names(nodes),
        ends_at=None if waits else _moment(end),
    )


def accounted_status(one: str, fields: Sequence[str]) -> JobStatus:
    _, words, exit_field, _, end, nodes, reason = fields
    word = words.partition(" ")[0]  # "CANCELLED by 2001"
    reason = _known(reason)
    state = state_of(word, reason)
    code, signal = _exit(exit_field) if state in (JobState.DONE, JobState.FAILED) else (None, None)
    return JobStatus(
        id=one,
        state=state,
        word=words,
        reason=reason,
        nodes=_names(nodes),
        ends_at=_moment(end),
        exit_code=code,
        signal=signal,
    )


def _exit(text: str) -> tuple[int | None, int | None]:
    """Read ``CODE:SIGNAL``; a job that a signal ended has no exit code of its own."""
    match = re.fullmatch(r"(\d+):(\d+)", text, re.ASCII)
    if match is None:
        return None, None
    code, signal = int(match[1]), int(match[2])
    return (None if signal and not code else code), signal or None


def array_ids(text: str) -> tuple[str, ...]:
    """The ids of one accounting row: ``7_[1-3%2]`` stands for tasks that never started."""
    try:
        return expand_nodes(re.sub(r"%\d+\]$", "]", text))
    except ValueError:
        return (text,)


def _names(text: str) -> tuple[str, ...]:
    """Host names; a list that cannot be read is shown as it is."""
    if not _known(text):
        return ()
    try:
        return expand_nodes(text)
    except ValueError:
        return (text,)


def _known(text: str) -> str:
    """Slurm's ways to say nothing become the empty text."""
    text = text.strip()
    return "" if text in ("None", "(null)", "None assigned", "N/A", "Unknown", "NONE") else text


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None  # N/A, NONE, Unknown
    return moment.replace(tzinfo=None)
