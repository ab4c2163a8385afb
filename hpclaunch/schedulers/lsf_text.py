"""What ``bjobs -UF`` and ``bhist -l`` print about jobs, and the status of a job that they tell.

Only these long forms tell an exit code and why a job waits. A job is one line that names it, then
a line for each event, then paragraphs under headings. Long lines go on in lines that begin with 21
blanks (all of ``bhist -l``, and ``bjobs -l`` of IBM's LSF).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hpclaunch.schedulers.base import JobState, JobStatus
from hpclaunch.schedulers.lsf_words import Ending, final_state, state_of
from hpclaunch.shell import Completed

__all__ = ["Told", "complete", "jobs_of"]

_INDENT = " " * 21
_HEAD = re.compile(
    r"Job <(\d+)(\[\d+\])?>,(?: Job Name <(.*?)>,)? User <[^>]*>,(?P<rest>.*)", re.ASCII
)
_STATUS = re.compile(r" Status <(\w+)>,")
_EVENT = re.compile(r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?: \d{4})?: (.*)")
_BEGUN = re.compile(r"(?:Started|Dispatched)\b[^<]*((?:<[^>]*>\s*)+)")
_REASONS = re.compile(r" (?:PENDING|SUSPENDING) REASONS:")
_CODE = re.compile(r"Exited with exit code (\d+)")
_SIGNAL = re.compile(r"Exited by signal (\d+)")
_TERM = re.compile(r"TERM_([A-Z_]+)")
_NOT_FOUND = re.compile(r"Job <(\d+(?:\[\d+\])?)> is not found")
_NO_HISTORY = "No matching job found"


@dataclass
class Told:
    """One job, as LSF describes it.

    Attributes
    ----------
    id, name : str
    word : str
        LSF's word for the state; empty in a history, which tells events only.
    events : list of str
        What happened, without the time.
    reasons : list of str
        Why it waits.
    """

    id: str
    name: str
    word: str
    events: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Where it runs or ran, each host once; empty before it has begun."""
        begun = [match[1] for one in self.events if (match := _BEGUN.match(one))]
        return _hosts(re.findall(r"<([^>]*)>", begun[-1])) if begun else ()

    @property
    def ending(self) -> Ending | None:
        """How it ended, None if no event says that it has."""
        over = [one for one in self.events if one.startswith(("Done", "Exited", "Completed"))]
        if not over:
            return None
        code, signal = _CODE.search(over[-1]), _SIGNAL.search(over[-1])
        reason = next((match[1] for one in over if (match := _TERM.search(one))), None)
        return Ending(
            done=over[-1].startswith("Done"),
            code=int(code[1]) if code else None,
            signal=int(signal[1]) if signal else None,
            reason=reason,
            began=bool(self.hosts),
            cancelled=any("requested by user or administrator" in one for one in self.events),
            words=over[-1].partition(" The CPU time used")[0].strip(),
        )


def jobs_of(text: str) -> list[Told]:
    """The jobs of an answer."""
    jobs: list[Told] = []
    in_reasons = False
    for line in _unwrapped(text.split("\n")):
        if match := _HEAD.fullmatch(line):
            status = _STATUS.search(match["rest"])  # the first: the command may hold anything
            one = match[1] + (match[2] or "")
            jobs.append(Told(one, match[3] or "", status[1] if status else ""))
            in_reasons = False
        elif not jobs:
            continue  # chatter before the answer
        elif match := _EVENT.fullmatch(line):
            jobs[-1].events.append(match[1])
            in_reasons = False
        elif _REASONS.fullmatch(line):
            in_reasons = True
        elif in_reasons and line.startswith(" ") and not line.rstrip().endswith(":"):
            jobs[-1].reasons.append(line.strip().rstrip(";"))
        else:
            in_reasons = False
            if _TERM.search(line) and jobs[-1].events:  # IBM's says it in a line of its own too
                jobs[-1].events[-1] += f" {line.strip()}"
    return jobs


def complete(said: Completed, ids: Sequence[str]) -> Mapping[str, JobStatus]:
    """One status for every id: what is told of it, LOST where LSF denies it, else UNKNOWN."""
    told = {job.id: job for job in jobs_of(said.stdout)}
    denied = set(_NOT_FOUND.findall(said.stderr))
    none = _NO_HISTORY in said.stdout or _NO_HISTORY in said.stderr
    found = {}
    for one in ids:
        if one in told:
            found[one] = _status(told[one])
        elif one in denied or (none and not told):
            found[one] = JobStatus(one, JobState.LOST)
        else:
            found[one] = JobStatus(one, JobState.UNKNOWN, reason=said.said)
    return found


def _status(job: Told) -> JobStatus:
    ending = job.ending
    if ending is not None and job.word in ("", "EXIT", "DONE"):
        final = final_state(ending)
        by_itself = final in (JobState.DONE, JobState.FAILED)  # else the code is LSF's doing
        return JobStatus(
            id=job.id,
            state=final,
            word=job.word or ("DONE" if ending.done else "EXIT"),
            reason=ending.words,
            nodes=job.hosts,
            exit_code=(0 if ending.done else ending.code) if by_itself else None,
            signal=ending.signal if by_itself else None,
        )
    state = state_of(job.word)
    waits = state.is_waiting or state is JobState.SUSPENDED
    return JobStatus(
        id=job.id,
        state=state,
        word=job.word,
        reason="; ".join(job.reasons) if waits else "",
        nodes=() if state.is_waiting else job.hosts,
    )


def _unwrapped(lines: Iterable[str]) -> list[str]:
    """Lines put together again."""
    whole: list[str] = []
    for line in lines:
        line = line.rstrip("\r")
        if line.startswith(_INDENT) and whole:
            whole[-1] += line[len(_INDENT) :]
        else:
            whole.append(line)
    return whole


def _hosts(names: Iterable[str]) -> tuple[str, ...]:
    """``4*c1:8*c2``, ``c1``, ``c1``: the hosts without the number of their slots, each once."""
    each = [one.rpartition("*")[2] for name in names for one in name.split(":")]
    return tuple(dict.fromkeys(one for one in each if one))
