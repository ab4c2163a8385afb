"""Carry out what a session has ordered: commands on the login node that the laptop itself makes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hpclaunch.errors import SchedulerError, SessionError
from hpclaunch.remote import remote_command
from hpclaunch.sessions import access
from hpclaunch.sessions.orders import MOST_TEXT, Order, refusal, worker_spec
from hpclaunch.sessions.record import Record
from hpclaunch.shell import Completed

__all__ = ["Done", "carry_out", "read_lists", "tell"]

_NOT_TRIED = 75  # exit code of order.sh where it came to no submit
_WORDS = 2000  # characters of the site's words that are passed on


@dataclass(frozen=True)
class Done:
    """An order that was carried out, or refused.

    Attributes
    ----------
    told : dict
        What the session is told: ``{}``, ``{"refused": words}``, ``{"error": fields}``,
        ``{"found": ids}`` or ``{"copies": number}``.
    jobs : dict
        Submissions that came of it: id to number of copies.
    over : tuple of str
        Ids of the jobs that were cancelled.
    """

    told: dict[str, Any] = field(default_factory=dict)
    jobs: dict[str, int] = field(default_factory=dict)
    over: tuple[str, ...] = ()


def read_lists(
    runner: access.Runner,
    records: Sequence[Record],
    known: Sequence[str],
    *,
    limit: int,
    tick: float,
) -> tuple[list[str], list[str]]:
    """Wait until the list of orders of a session has changed.

    Parameters
    ----------
    records : sequence of Record
    known : sequence of str
        What this function returned last for each; empty strings at first.
    limit : int
        Seconds to wait at most.
    tick : float
        Seconds between two looks.

    Returns
    -------
    known : list of str
        To be given to the next call.
    texts : list of str
        The lists as they are now; empty where there is none, or nothing has changed.
    """
    arguments = [str(limit), str(tick), str(MOST_TEXT)]
    now_known, parts = access.look(
        runner, "orders.sh", arguments, records, known, limit=limit, at="orders"
    )
    texts = ["" for _ in records]
    for place, text in parts:
        texts[int(place)] = text
    return now_known, texts


def carry_out(runner: access.Runner, record: Record, order: Order, live: int) -> Done | None:
    """Carry out one order, within the limits of the plan.

    Parameters
    ----------
    live : int
        Worker jobs of the session that may live.

    Returns
    -------
    Done or None
        None for a submission of which it cannot be said yet whether it has happened.

    Raises
    ------
    TransportError
        If the way to the site is broken; then the order is to be carried out again.
    """
    if order.kind == "submit":
        return _submit(runner, record, order, live)
    try:
        if order.kind == "cancel":
            return _cancel(runner, record, order)
        if order.kind == "find":
            found = access.find_jobs(runner, record, record.worker_job_name)
            return Done({"found": found})
        return Done({"copies": _copies(runner, record)})
    except SchedulerError as error:
        return Done({"error": {**error.to_dict(), "said": (error.said or "")[:_WORDS]}})


def _submit(runner: access.Runner, record: Record, order: Order, live: int) -> Done | None:
    why = refusal(record, order, live)
    if why is not None:
        return Done({"refused": why})
    from hpclaunch.script import render_worker  # a keeper starts without templates

    scheduler, spec = access.scheduler_of(record), worker_spec(record, order)
    try:
        directives = scheduler.directives(spec)
    except ValueError as error:
        return Done({"refused": f"the job cannot be described to {record.scheduler}: {error}"})
    script = render_worker(directives, session_dir=record.session_dir, number=order.number)
    command = scheduler.submit_command(spec)
    said = runner.run(
        remote_command("order.sh", record.session_dir, str(order.number), *command),
        stdin=script.encode(),
        timeout=access.SUBMIT_TIMEOUT,
    )
    if said.exit == _NOT_TRIED:
        return Done({"refused": said.said[:_WORDS]})
    first, _, words = said.stdout.partition("\n")
    verdict, _, code = first.partition(" ")
    if verdict not in ("submitted", "before"):
        return None
    answer = Completed.of(command, int(code) if code.isdigit() else 1, words, said.stderr)
    try:
        job = scheduler.parse_submit(answer)
    except SchedulerError:
        return Done()  # the session reads the same words
    if verdict == "before":  # what lies on the site may have been written by anybody there
        try:
            known = access.find_jobs(runner, record, record.worker_job_name)
        except SchedulerError:
            return None
        if job not in known:
            return Done()
    return Done(jobs={job: order.copies})


def _cancel(runner: access.Runner, record: Record, order: Order) -> Done:
    """Cancel worker jobs of this session, and nothing else: what else is named is left alone."""
    scheduler = access.scheduler_of(record)
    ours: set[str] = set()
    for job, copies in record.orders.get("jobs", {}).items():
        ours.update([job, *scheduler.ids_of_copies(job, copies)])
    if not ours.issuperset(order.ids):
        ours.update(access.find_jobs(runner, record, record.worker_job_name))
    ids = [one for one in dict.fromkeys(order.ids) if one in ours]
    for command in scheduler.cancel_commands(ids) if ids else []:
        scheduler.parse_cancel(runner.run(command))
    return Done(over=tuple(ids))


def _copies(runner: access.Runner, record: Record) -> int:
    scheduler = access.scheduler_of(record)
    command = scheduler.copies_command()
    return 1 if command is None else scheduler.parse_copies(runner.run(command))


def tell(runner: access.Runner, record: Record, answers: dict[str, Any]) -> None:
    """Put the laptop's answers into the session's directory.

    Raises
    ------
    SessionError
        If they cannot be written.
    """
    command = remote_command("answer.sh", record.session_dir)
    said = runner.run(command, stdin=json.dumps(answers).encode())
    if said.exit != 0:
        raise SessionError(
            f"session {record.name} cannot be told what came of its orders", said=said.said
        )
