"""What a session may have the laptop do, where compute nodes cannot submit. Pure.

A session asks in a list of numbered orders. It names no command, no script and no job of others:
it may have the planned worker job submitted, so many times and for so many minutes, and its own
worker jobs cancelled. Whoever has taken over the session can write such a list too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from hpclaunch.node.layout import Layout
from hpclaunch.schedulers.base import JobSpec
from hpclaunch.sessions.record import Record
from hpclaunch.units import Memory, Walltime, memory_as

if TYPE_CHECKING:
    from hpclaunch.plan import Plan

__all__ = [
    "MOST_LIVE",
    "MOST_TEXT",
    "Order",
    "OrderList",
    "read_list",
    "refusal",
    "worker_facts",
    "worker_spec",
]

MOST_TEXT = 2**18
"""Bytes of a list that are read: room for the ids of 10,000 jobs."""
MOST_LIVE = 1000
"""Worker jobs of one session at one time, where the profile names no ``max_jobs``."""
_MOST_ORDERS = 64
_MOST_NUMBER = 10**12
_MOST_WORD = 100  # characters of a job's id

Kind = Literal["submit", "cancel", "find", "copies"]


@dataclass(frozen=True)
class Order:
    """One thing to do.

    Attributes
    ----------
    number : int
        Rises from order to order; each is carried out once.
    kind : {"submit", "cancel", "find", "copies"}
        Submit worker jobs, cancel some, find all by their name, or ask how many copies one
        submission may have.
    copies, minutes : int
        Of a submission: how many jobs, and how long each may run.
    ids : tuple of str
        What to cancel.
    """

    number: int
    kind: Kind
    copies: int = 0
    minutes: int = 0
    ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class OrderList:
    """What a session asks for.

    Attributes
    ----------
    orders : tuple of Order
        In the order of their numbers.
    look : int
        Rises whenever the session wants to know the state of its worker jobs.
    """

    orders: tuple[Order, ...]
    look: int


def read_list(text: str, nonce: str) -> OrderList:
    """Read a list of orders.

    Raises
    ------
    ValueError
        If it is none of the session `nonce`, or anything in it is not as it must be.
    """
    if len(text) >= MOST_TEXT:
        raise ValueError(f"the list is longer than {MOST_TEXT} bytes")
    try:
        fields = json.loads(text)
    except RecursionError:
        raise ValueError("the list is nested too deeply") from None
    if not isinstance(fields, dict) or set(fields) != {"nonce", "look", "orders"}:
        raise ValueError("a list has nonce, look and orders")
    if fields["nonce"] != nonce:
        raise ValueError("the list is another session's")
    if not isinstance(fields["orders"], list) or len(fields["orders"]) > _MOST_ORDERS:
        raise ValueError(f"orders must be a list of at most {_MOST_ORDERS}")
    orders = tuple(map(_order, fields["orders"]))
    numbers = [order.number for order in orders]
    if numbers != sorted(set(numbers)):
        raise ValueError("the numbers of orders must rise")
    return OrderList(orders, _number(fields["look"], 0))


def _order(fields: Any) -> Order:
    if not isinstance(fields, dict) or len(fields) != 2 or "number" not in fields:
        raise ValueError("an order has a number and one thing to do")
    number = _number(fields["number"], 1)
    (kind, what) = next(item for item in fields.items() if item[0] != "number")
    if kind == "submit" and isinstance(what, dict) and set(what) == {"copies", "minutes"}:
        copies, minutes = _number(what["copies"], 1), _number(what["minutes"], 1)
        return Order(number, kind, copies=copies, minutes=minutes)
    if kind == "cancel" and isinstance(what, list) and what:
        if not all(isinstance(one, str) and 0 < len(one) < _MOST_WORD for one in what):
            raise ValueError("what is to be cancelled must be ids of jobs")
        return Order(number, kind, ids=tuple(what))
    if kind in ("find", "copies") and what is True:
        return Order(number, kind)
    raise ValueError(f"no such order: {str(kind)[:_MOST_WORD]!r}")


def _number(value: Any, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _MOST_NUMBER:
        raise ValueError(f"not a number between {least} and {_MOST_NUMBER}")
    return value


def worker_facts(plan: Plan) -> dict[str, Any] | None:
    """One worker job as a record keeps it; None where the laptop submits none."""
    worker = plan.worker
    if plan.dask is None or plan.dask.mode != "jobqueue":
        return None
    if worker is None or worker.submit != "laptop":
        return None
    job = worker.job
    return {
        "cores": job.cores,
        "memory": job.memory.bytes if job.memory else None,
        "walltime": job.walltime.seconds,
        "queue": job.queue,
        "account": job.account,
        "qos": job.qos,
        "memory_as": job.memory_as,
        "extra": list(job.extra),
        "max_jobs": worker.max_jobs,
    }


def worker_spec(record: Record, order: Order) -> JobSpec:
    """What a submission asks the scheduler for: the plan's job, for the minutes of the order."""
    facts = _facts(record)
    return JobSpec(
        name=record.worker_job_name,
        log=f"{record.session_dir}/{Layout.WORKERS}/",
        walltime=Walltime(order.minutes * 60),
        cores=facts["cores"],
        memory=None if facts["memory"] is None else Memory(facts["memory"]),
        queue=facts["queue"],
        account=facts["account"],
        qos=facts["qos"],
        memory_as=memory_as(facts["memory_as"]),
        extra=tuple(facts["extra"]),
        copies=order.copies,
    )


def refusal(record: Record, order: Order, live: int) -> str | None:
    """Why a submission passes the limits of the plan, in words; None where it does not.

    Parameters
    ----------
    live : int
        Worker jobs of the session that may live.
    """
    facts = _facts(record)
    planned = max(1, facts["walltime"] // 60)
    if order.minutes > planned:
        return f"worker jobs of {order.minutes} minutes, where {planned} were planned"
    most = MOST_LIVE if facts["max_jobs"] is None else facts["max_jobs"]
    if live + order.copies > most:
        source = "max_jobs of the queue" if facts["max_jobs"] is not None else "without max_jobs"
        return f"{order.copies} worker jobs beside {live}, where {most} are allowed ({source})"
    return None


def _facts(record: Record) -> dict[str, Any]:
    if record.workers is None:
        raise ValueError(f"the laptop submits no worker jobs for session {record.name}")
    return record.workers
