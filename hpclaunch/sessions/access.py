"""What the laptop does on a site for a session: the few remote commands, and the site's scheduler.

Everything here takes a `Runner`: the keeper's own transport, or a command's conversation with the
keeper.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from hpclaunch.errors import HpclaunchError, SchedulerError, SessionError
from hpclaunch.node.layout import Layout
from hpclaunch.remote import remote_command
from hpclaunch.schedulers.base import JobState, JobStatus, Scheduler
from hpclaunch.sessions.explain import Evidence
from hpclaunch.sessions.record import Record
from hpclaunch.shell import Completed

if TYPE_CHECKING:
    from hpclaunch.sites.model import Site

__all__ = [
    "SUBMIT_TIMEOUT",
    "Runner",
    "Settled",
    "cancel_everything",
    "clean",
    "collect_evidence",
    "find_jobs",
    "is_foreign",
    "job_facts",
    "job_status",
    "log_tail",
    "read_file",
    "read_words",
    "scheduler_for",
    "scheduler_of",
    "settle",
    "status_on_record",
]

SUBMIT_TIMEOUT = 150.0
"""Seconds for a submit; a busy slurmctld makes sbatch wait more than a minute."""
_SCHEDULER_TIMEOUT = 60.0  # seconds; a busy slurmctld answers late, a dead one never
_WORDS = (Layout.RENDEZVOUS, Layout.FAILURE, Layout.ENDING, Layout.EXIT)


class Runner(Protocol):
    """Whatever runs an argv on the login node."""

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60.0) -> Completed:
        """As `Transport.run`."""


def scheduler_for(site: Site, base: str) -> Scheduler:
    """The scheduler of a site; `base` is the absolute path of its ``paths.base``."""
    if site.scheduler.kind == "local":
        from hpclaunch.schedulers.local import Local

        return Local(python=sys.executable, spool=f"{base}/jobs")
    from hpclaunch.schedulers.kinds import batch_scheduler

    table = site.scheduler
    return batch_scheduler(table.kind, table.options, table.quirks)


def scheduler_of(record: Record) -> Scheduler:
    """The scheduler of a session on record."""
    from hpclaunch.sites.model import Site  # a keeper starts without it

    return scheduler_for(Site.model_validate(record.profile), record.base)


def read_words(
    runner: Runner, records: Sequence[Record], known: Sequence[str], *, limit: int, tick: float
) -> tuple[list[str], list[dict[str, dict[str, Any]]]]:
    """Wait until a session's directory says something new, and read what is there.

    Parameters
    ----------
    records : sequence of Record
        Sessions with a directory on the site.
    known : sequence of str
        What each had said before, from the last call; empty strings at first.
    limit : int
        Seconds to wait at most.
    tick : float
        Seconds between two looks.

    Returns
    -------
    known : list of str
        To be given to the next call.
    words : list of dict
        For each session, file name to content. A file that is no JSON object is left out.
    """
    now_known, parts = look(
        runner, "await.sh", [str(limit), str(tick)], records, known, limit=limit, at="sessions"
    )
    words: list[dict[str, dict[str, Any]]] = [{} for _ in records]
    for head, text in parts:
        place, _, name = head.partition(" ")
        try:
            content = json.loads(text)
        except ValueError:
            continue
        if isinstance(content, dict) and name in _WORDS:
            words[int(place)][name] = content
    return now_known, words


def look(
    runner: Runner,
    script: str,
    arguments: Sequence[str],
    records: Sequence[Record],
    known: Sequence[str],
    *,
    limit: int,
    at: str,
) -> tuple[list[str], list[tuple[str, str]]]:
    """Run a script that waits until something in the directories of sessions is new.

    Parameters
    ----------
    script : str
        Takes `arguments`, what is known, a nonce and the directories, and puts what it found
        between marks with the nonce.
    arguments : sequence of str
    records : sequence of Record
    known : sequence of str
        What each had said before, from the last call; empty strings at first.
    limit : int
        Seconds to wait at most.
    at : str
        What is looked at, for people.

    Returns
    -------
    known : list of str
        To be given to the next call.
    parts : list of tuple of str
        What stands in each opening mark, the session's place among `records` first, and the text
        behind it.

    Raises
    ------
    SessionError
        If the answer is not whole.
    """
    nonce = secrets.token_hex(8)
    said = runner.run(
        remote_command(
            script,
            *arguments,
            "".join(f"{one}," for one in known),
            nonce,
            *(record.session_dir for record in records),
        ),
        timeout=limit + 30.0,
    )
    first, _, rest = said.stdout.partition("\n")
    now_known = first.removeprefix("known ").split(",")[: len(records)]
    if len(now_known) != len(records):
        raise SessionError(f"the site's answer to our look at the {at} is not whole", said=rest)
    parts = []
    for part in rest.split(f"<{nonce} ")[1:]:
        head, _, body = part.partition(">\n")
        parts.append((head, body.rpartition(f"\n</{nonce}>")[0]))
    return now_known, parts


def job_status(runner: Runner, record: Record) -> JobStatus:
    """What the scheduler says of a session's job, asking the accounting where the queue forgot."""
    assert record.job_id is not None
    scheduler, ids = scheduler_of(record), [record.job_id]
    said = runner.run(scheduler.status_command(ids), timeout=_SCHEDULER_TIMEOUT)
    status = scheduler.parse_status(said, ids)[record.job_id]
    if status.state in (JobState.LOST, JobState.UNKNOWN):
        # Ids come back after years; an older job of that number is not ours.
        since = datetime.fromtimestamp(record.submitting or record.created, UTC)
        command = scheduler.history_command(ids, since)
        if command is not None:
            said = runner.run(command, timeout=_SCHEDULER_TIMEOUT)
            past = scheduler.parse_history(said, ids)[record.job_id]
            if past.state is not JobState.UNKNOWN and past.state is not JobState.LOST:
                return past
    return status


def find_jobs(runner: Runner, record: Record, name: str) -> list[str]:
    """Ids of the user's live jobs named `name`.

    Raises
    ------
    SchedulerError
        If the scheduler did not answer.
    """
    scheduler = scheduler_of(record)
    said = runner.run(scheduler.find_command(name), timeout=_SCHEDULER_TIMEOUT)
    return scheduler.parse_find(said, name)


def cancel_everything(runner: Runner, record: Record) -> list[str]:
    """Cancel a session's job and all its worker jobs, and return the ids that were cancelled.

    Jobs are also looked for by their unique names: an id may never have been read. The session's
    own job goes first, so that its cluster holder cannot replace the workers.

    Raises
    ------
    SchedulerError
        If a job may still be alive.
    """
    if record.submitting is None:
        return []
    scheduler = scheduler_of(record)
    cancelled: list[str] = []
    # Clusters that a notebook made have workers of that name too, in a session without Dask.
    for name, known in ((record.job_name, record.job_id), (record.worker_job_name, None)):
        found = find_jobs(runner, record, name)
        ids = list(dict.fromkeys([*([known] if known else []), *found]))
        for command in scheduler.cancel_commands(ids) if ids else []:
            scheduler.parse_cancel(runner.run(command, timeout=_SCHEDULER_TIMEOUT))
        cancelled += ids
    return cancelled


@dataclass(frozen=True)
class Settled:
    """What is known of a submit whose answer nobody read.

    Attributes
    ----------
    job_id : str or None
        The id that the scheduler gave, where its answer was left.
    open : bool
        Whether the submit has begun and not ended: a job may still come of it.
    """

    job_id: str | None = None
    open: bool = False


def settle(runner: Runner, record: Record, *, limit: int) -> Settled:
    """Learn what became of an interrupted submit, or make sure that it can never happen.

    Parameters
    ----------
    limit : int
        Seconds to wait for a submit under way.
    """
    folder = record.session_dir.rpartition("/")[2]
    command = remote_command("settle.sh", record.base, folder, str(limit))
    verdict, _, words = runner.run(command, timeout=limit + 30.0).stdout.partition("\n")
    if verdict != "submitted":
        return Settled(open=verdict == "open")
    code, _, words = words.partition("\n")
    scheduler = scheduler_of(record)
    answer = Completed.of(scheduler.submit_command(), int(code) if code.isdigit() else 1, words)
    try:
        return Settled(scheduler.parse_submit(answer))
    except SchedulerError:
        return Settled()  # refused, or accepted without a word: then it is found by its name


def clean(runner: Runner, record: Record, *, everything: bool) -> None:
    """Remove a session's secrets from the site, or its whole directory.

    Raises
    ------
    SessionError
        If something could not be removed, with the site's words.
    """
    if not record.session_dir:
        return
    folder = record.session_dir.rpartition("/")[2]
    what = "all" if everything else "secrets"
    said = runner.run(remote_command("clean.sh", record.base, folder, what, *Layout.SECRETS))
    if said.exit != 0:
        raise SessionError(
            f"the files of session {record.name} on {record.site} could not be removed",
            said=said.said,
            hint=f"remove {record.session_dir} on the site by hand",
        )


def log_tail(runner: Runner, record: Record, lines: int = 15) -> str:
    """The last lines of the job's log; empty where there is none."""
    if not record.session_dir:
        return ""
    log = f"{record.session_dir}/{Layout.LOG}"
    said = runner.run(remote_command("tail.sh", log, "lines", str(lines)))
    return said.stdout.partition("\n")[2]  # behind the size


def read_file(runner: Runner, file: str, how: str, number: int) -> tuple[int, str]:
    """The size of a growing file of the site, such as a log, and its end.

    Parameters
    ----------
    how : {"from", "lines"}
        All behind the first `number` bytes, or the last `number` lines.

    Returns
    -------
    size : int
        Bytes; where to go on next time.
    text : str

    Raises
    ------
    HpclaunchError
        If it cannot be read.
    """
    said = runner.run(remote_command("tail.sh", file, how, str(number)))
    if said.exit != 0:
        raise HpclaunchError(
            f"the log {file} cannot be read", said=said.said, hint="the session's directory is gone"
        )
    size, _, text = said.stdout.partition("\n")
    return int(size), text


def collect_evidence(runner: Runner, record: Record) -> Evidence:
    """All that is known of a session whose job ended, as far as the site answers."""
    words = read_words(runner, [record], [""], limit=0, tick=1)[1][0] if record.session_dir else {}
    job = None
    if record.job_id is not None:
        try:
            job = job_status(runner, record)
        except SchedulerError:
            job = JobStatus(record.job_id, JobState.UNKNOWN)
    exit_code = words.get(Layout.EXIT, {}).get("exit")
    return Evidence(
        failure=words.get(Layout.FAILURE),
        ending=words.get(Layout.ENDING),
        exit_code=exit_code if isinstance(exit_code, int) else None,
        job=job,
        log=log_tail(runner, record),
        foreign=is_foreign(record, words),
    )


def is_foreign(record: Record, words: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a rendezvous was read that is not this session's own."""
    rendezvous = words.get(Layout.RENDEZVOUS)
    return rendezvous is not None and rendezvous.get("nonce") != record.nonce


def status_on_record(record: Record) -> JobStatus:
    """The scheduler's last word on a session's job, as its record keeps it; see `job_facts`."""
    return JobStatus(
        record.job_id or "",
        JobState(record.job.get("state") or "unknown"),
        word=str(record.job.get("word", "")),
        reason=str(record.job.get("reason", "")),
    )


def job_facts(status: JobStatus) -> dict[str, Any]:
    """A job's status as a record keeps it."""
    start = status.expected_start
    return {
        "state": status.state.value,
        "word": status.word,
        "reason": status.reason,
        "expected_start": start.isoformat() if start else None,
        "nodes": list(status.nodes),
    }
