"""The scheduler by way of the laptop, for compute nodes that cannot submit.

What is wanted is written into a list of numbered orders, which the laptop's keeper reads on the
login node, within the limits of the plan (`hpclaunch.sessions.orders`). A submission is carried
out at most once: whoever makes the directory ``orders/N`` first, login node or session, decides.
So an order that nobody has begun can be taken back, and what was said about one that has begun
lies there, whether or not the laptop lives to tell it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from hpclaunch.errors import HpclaunchError, SchedulerError, SubmitError
from hpclaunch.node.files import make_private_dir, write_private, write_private_json
from hpclaunch.node.layout import Layout
from hpclaunch.node.spec import Session
from hpclaunch.schedulers.base import JobSpec, JobState, JobStatus, Scheduler
from hpclaunch.shell import Completed

__all__ = ["ByLaptop"]

log = logging.getLogger("hpclaunch.holder")

_TICK = 0.3  # seconds between two looks for an answer
_PATIENCE, _SHORT = 12.0, 6.0  # seconds for the laptop to begin, and once it is known to be away
_SUBMITTING = 150.0  # seconds for a submission that has begun; sbatch may take more than a minute
_AT_ONCE = 5000  # jobs that one order cancels: a list may not be longer than 256 kB
_MOST = 2**24  # bytes of a file that are read
_ENDS = "the session is ending; nothing is asked of the laptop any more"
_UNSEEN = "the laptop has not taken note of it yet"


class ByLaptop:
    """As `hpclaunch.clusters.ways.Way`.

    Parameters
    ----------
    session : Session
    scheduler : Scheduler
        Reads what was said.
    """

    ends_with_session = True

    def __init__(self, session: Session, scheduler: Scheduler) -> None:
        self._session = session
        self._scheduler = scheduler
        self._folder = Path(session.path(Layout.ORDERS))
        make_private_dir(str(self._folder))
        self._orders: dict[int, dict[str, Any]] = {}
        self._unacknowledged: set[int] = set()
        # A job that was requeued goes on behind the orders of its first run.
        found = (re.match(r"\d{1,9}(?=\.sh$|$)", name) for name in _names(self._folder))
        taken = [int(match[0]) for match in found if match]
        self._number = max([int(self._answers().get("done", 0)), *taken])
        self._look = int(time.time())  # rises, also from one run to the next
        self._left = False
        self.waits: str | None = None
        """Since when nothing can be submitted, in words."""

    async def copies(self) -> int:
        """As `Way.copies`."""
        told = await self._carried_out({"copies": True})
        return max(1, int(told.get("copies", 1)))

    async def find(self, name: str) -> list[str]:
        """As `Way.find`; the laptop knows which name."""
        told = await self._carried_out({"find": True})
        return [str(one) for one in told.get("found", ())]

    async def cancel(self, jobs: Sequence[str]) -> None:
        """As `Way.cancel`."""
        for start in range(0, len(jobs), _AT_ONCE):
            await self._carried_out({"cancel": list(jobs[start : start + _AT_ONCE])})

    async def submit(self, spec: JobSpec, script: str) -> str:
        """As `Way.submit`."""
        await self._see_that_it_is_back()
        number = self._next()
        try:
            write_private(str(self._folder / f"{number}.sh"), script.encode())
        except OSError as error:
            raise SubmitError(f"the worker jobs' script cannot be written: {error}") from error
        minutes = max(1, spec.walltime.seconds // 60)
        self._put(number, {"submit": {"copies": spec.copies, "minutes": minutes}})
        try:
            said = await self._submitted(number, spec)
        except BaseException:
            self._take_off(number)
            raise
        # It stays listed until the laptop has taken note of the job, and can watch it.
        self._unacknowledged.add(number)
        return self._scheduler.parse_submit(said)

    async def status(self, jobs: Sequence[str]) -> Mapping[str, JobStatus]:
        """As `Way.status`."""
        self._look += 1
        self._write()
        look = self._look
        answers = await self._wait(lambda found: int(found.get("looked", 0)) >= look)
        if answers is None:
            raise SchedulerError(self._away(), hint=_HINT)
        table = {
            str(one): _status(str(one), row)
            for row in answers.get("jobs", ())
            for one in row["ids"]
        }
        state, why = (JobState.UNKNOWN, _UNSEEN) if self._unacknowledged else (JobState.LOST, "")
        return {one: table.get(one) or JobStatus(one, state, reason=why) for one in jobs}

    def leave(self) -> None:
        """Take everything back that has not begun; the laptop cancels what lives."""
        self._left = True
        self._orders.clear()
        with contextlib.suppress(SchedulerError):
            self._write()

    async def _see_that_it_is_back(self) -> None:
        """Raise `SubmitError` while the laptop is known to be away: no order is begun then."""
        if self.waits is not None:
            try:
                await self.status([])
            except SchedulerError as error:
                raise SubmitError(error.what, hint=_HINT) from error

    async def _carried_out(self, what: dict[str, Any]) -> dict[str, Any]:
        """What the laptop says to an order that does no harm when it is carried out twice."""
        await self._see_that_it_is_back()
        number = self._next()
        self._put(number, what)
        try:
            answers = await self._wait(lambda found: int(found.get("done", 0)) >= number)
        finally:
            self._take_off(number)
        if answers is None:
            raise SchedulerError(self._away(), hint=_HINT)
        told = dict(answers.get("told", {}).get(str(number), {}))
        _raise_what_was_told(told)
        return told

    async def _submitted(self, number: int, spec: JobSpec) -> Completed:
        """What the scheduler said to the submission `number`."""
        folder = self._folder / str(number)

        def told(answers: dict[str, Any]) -> bool:
            return "exit" in _names(folder) or bool(answers.get("told", {}).get(str(number)))

        answers = await self._wait(told)
        if answers is None:
            try:
                folder.mkdir(mode=0o700)
            except FileExistsError:  # it has begun just now
                answers = await self._wait(told, _SUBMITTING)
            else:
                raise SubmitError(self._away(), hint=_HINT)
        if "exit" in _names(folder):
            command = self._scheduler.submit_command(spec)
            texts = [_read(folder / name) for name in ("exit", "stdout", "stderr")]
            return Completed.of(command, int(texts[0]), *texts[1:])
        if answers is None:
            raise SchedulerError(
                "the login node began to submit jobs and did not say what came of it"
            )
        _raise_what_was_told(answers["told"][str(number)])
        raise SchedulerError("the laptop did not say what came of a submission")

    async def _wait(
        self, wanted: Callable[[dict[str, Any]], bool], seconds: float | None = None
    ) -> dict[str, Any] | None:
        """The laptop's answers once they are as `wanted`; None after some time."""
        if seconds is None:
            seconds = _PATIENCE if self.waits is None else _SHORT
        deadline = time.monotonic() + seconds
        while True:
            answers = self._answers()
            if wanted(answers):
                if self.waits is not None:
                    log.info("the laptop is there again")
                self.waits = None
                return answers
            if self._left or time.monotonic() > deadline:
                return None
            await asyncio.sleep(_TICK)

    def _answers(self) -> dict[str, Any]:
        """What the laptop said last; empty where that is nothing."""
        _names(self._folder)
        try:
            found = json.loads(_read(Path(self._session.path(Layout.ANSWERS))))
        except (OSError, ValueError):
            return {}
        if not isinstance(found, dict) or found.get("nonce") != self._session.nonce:
            return {}
        for number in [one for one in self._unacknowledged if one <= int(found.get("done", 0))]:
            self._unacknowledged.discard(number)
            self._take_off(number)
        return found

    def _away(self) -> str:
        """Note that the laptop does not answer, and say so."""
        if self._left:
            return _ENDS
        if self.waits is None:
            now = datetime.now().astimezone()
            self.waits = (
                "scaling waits for the laptop, which submits this session's worker jobs and has "
                f"not answered since {now:%Y-%m-%d %H:%M:%S %z}"
            )
            log.warning(self.waits)
        return self.waits

    def _next(self) -> int:
        if self._left:
            raise SubmitError(_ENDS)
        self._number += 1
        return self._number

    def _put(self, number: int, what: dict[str, Any]) -> None:
        self._orders[number] = {"number": number, **what}
        self._write()

    def _take_off(self, number: int) -> None:
        if self._orders.pop(number, None) is not None:
            with contextlib.suppress(SchedulerError):
                self._write()

    def _write(self) -> None:
        orders = [self._orders[number] for number in sorted(self._orders)]
        content = {"nonce": self._session.nonce, "look": self._look, "orders": orders}
        try:
            write_private_json(self._session.path(Layout.ORDER_LIST), content)
        except OSError as error:
            raise SubmitError(f"the laptop cannot be asked for anything: {error}") from error


_HINT = "it goes on by itself as soon as the laptop is back: `hpclaunch attach` there connects it"


def _raise_what_was_told(told: Mapping[str, Any]) -> None:
    """Raise what speaks against an order."""
    if "refused" in told:
        raise SubmitError(
            "the laptop refused to submit worker jobs",
            said=str(told["refused"]),
            hint="the limits are those of the session's plan; start one with others",
        )
    if "error" in told:
        error = HpclaunchError.from_dict(told["error"])
        raise SchedulerError(error.what, command=error.command, said=error.said, hint=error.hint)


def _status(job: str, row: Mapping[str, Any]) -> JobStatus:
    start = row.get("expected_start")
    return JobStatus(
        job,
        JobState(row["state"]),
        word=str(row.get("word", "")),
        reason=str(row.get("reason", "")),
        expected_start=datetime.fromisoformat(start) if start else None,
    )


def _names(folder: Path) -> set[str]:
    """What is in a directory; a look at it makes NFS ask the server again. Empty without one."""
    try:
        return {path.name for path in folder.iterdir()}
    except OSError:
        return set()


def _read(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(_MOST)
