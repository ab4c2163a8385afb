"""What ``qstat -f`` prints about jobs, and the status of a job that it tells.

The text is read, not the JSON: ``qstat -F json`` of OpenPBS 23.06 is no JSON where a value holds
UTF-8, looks like ``nan`` or is empty. Long values go on in lines that begin with a tab.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hpclaunch.schedulers.base import JobState, JobStatus
from hpclaunch.schedulers.pbs_words import final_state, reason_of, state_of
from hpclaunch.shell import Completed

__all__ = ["Row", "complete", "rows_of", "status_of"]

_HEAD = re.compile(r"Job Id: (\S+)\s*")
_FIELD = re.compile(r"    (\S+) = (.*)")
_CLOCK = re.compile(r"(\d+):(\d\d):(\d\d)", re.ASCII)
_UNKNOWN = re.compile(r"Unknown Job Id(?: Error)?:? (\S+)", re.IGNORECASE)
_FINISHED = re.compile(r"(\S+) Job has finished", re.IGNORECASE)


@dataclass
class Row:
    """One job: its id as PBS spells it, and its attributes by name."""

    id: str
    fields: dict[str, str] = field(default_factory=dict)


def rows_of(text: str) -> list[Row]:
    """The jobs of an answer. Of an attribute that stands there twice the first counts."""
    rows: list[Row] = []
    name: str | None = None
    for line in text.split("\n"):
        line = line.rstrip("\r")
        if match := _HEAD.fullmatch(line):
            rows.append(Row(match[1]))
            name = None
        elif not rows:
            continue  # chatter before the answer
        elif match := _FIELD.fullmatch(line):
            name = match[1] if match[1] not in rows[-1].fields else None
            if name is not None:
                rows[-1].fields[name] = match[2]
        elif line.startswith("\t") and name is not None:
            rows[-1].fields[name] += line[1:]
        else:
            name = None
    return rows


def complete(said: Completed, ids: Sequence[str]) -> Mapping[str, JobStatus]:
    """One status for every id: its row, LOST where PBS denies the job, else UNKNOWN."""
    rows = {_number_of(row.id): row for row in rows_of(said.stdout)}
    unknown = set(map(_number_of, _UNKNOWN.findall(said.stderr)))
    finished = set(map(_number_of, _FINISHED.findall(said.stderr)))
    found: dict[str, JobStatus] = {}
    for one in ids:
        number = _number_of(one)
        if number in rows:
            found[one] = status_of(one, rows[number].fields)
        elif number in finished:  # how it ended is in the history
            found[one] = JobStatus(one, JobState.LOST, word="F", reason="the job has finished")
        elif number in unknown:
            found[one] = JobStatus(one, JobState.LOST)
        else:
            found[one] = JobStatus(one, JobState.UNKNOWN, reason=said.said)
    return found


def status_of(one: str, fields: Mapping[str, str]) -> JobStatus:
    """The status of the job `one`, of which qstat tells these attributes."""
    word = fields.get("job_state", "")
    code = _number(fields.get("Exit_status", fields.get("exit_status")))
    over = word in ("F", "C")
    state = final_state(code, fields) if over else state_of(word, fields)
    own_code = code is not None and 0 <= code < 256
    killed_by = code - 256 if code is not None and code >= 256 else None
    return JobStatus(
        id=one,
        state=state,
        word=word,
        reason=reason_of(state, code if over else None, fields),
        expected_start=_moment(fields.get("estimated.start_time")) if state.is_waiting else None,
        nodes=_hosts(fields.get("exec_host", "")),
        ends_at=_end(state, fields),
        exit_code=code if over and own_code else None,
        signal=killed_by if over else None,
    )


def _number_of(one: str) -> str:
    """An id without its server, which may be spelled with its domain and without."""
    return one.partition(".")[0]


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"-?\d+", text, re.ASCII) else None


def _hosts(text: str) -> tuple[str, ...]:
    """``c1/0*3+c2/1`` without the cores: each host once, in the order of the job."""
    names = [part.partition("/")[0] for part in text.split("+")]
    return tuple(dict.fromkeys(name for name in names if name))


def _end(state: JobState, fields: Mapping[str, str]) -> datetime | None:
    """When it ended, or will; None while it has not begun."""
    if state.is_final:
        return _moment(fields.get("obittime") or fields.get("comp_time"))
    begun = _moment(fields.get("stime") or fields.get("start_time"))
    limit = _CLOCK.fullmatch(fields.get("Resource_List.walltime", ""))
    if begun is None or limit is None:
        return None
    hours, minutes, seconds = map(int, limit.groups())
    return begun + timedelta(hours=hours, minutes=minutes, seconds=seconds)


def _moment(text: str | None) -> datetime | None:
    try:
        return datetime.strptime(text or "", "%a %b %d %H:%M:%S %Y")
    except ValueError:
        return None
