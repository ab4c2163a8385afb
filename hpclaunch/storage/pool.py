"""Threads that read and decode: the caller's own, and helpers while cores are free.

One crew of helpers serves the process. A call that reads takes part itself, so it goes on without
any helper; helpers join while fewer threads read than may, and leave when other calls come. Two
threads of Dask on two cores thus decode without handing anything over, and one `load()` uses all
cores. The jobs of a call are taken from one iterator: while one thread waits for the file another
decodes. Where reads wait for the storage, half as many threads again join, so that there is always
something to decode.
"""

from __future__ import annotations

import contextvars
import functools
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, TypeVar

from hpclaunch.storage.pace import pace

__all__ = ["free_threads", "run"]

Job = TypeVar("Job")

_RECENT = 0.05
"""Seconds for which a thread that has read counts as one that will read again."""


class _Crew:
    """Who reads in this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.calls: dict[int, float] = {}  # thread to when its last call ended, inf while it runs
        self.helpers = 0
        self.pool: ThreadPoolExecutor | None = None

    @contextmanager
    def call(self) -> Iterator[None]:
        me = threading.get_ident()
        with self.lock:
            inner = self.calls.get(me) == float("inf")
            self.calls[me] = float("inf")
        try:
            yield
        finally:
            with self.lock:
                self.calls[me] = float("inf") if inner else time.monotonic()
                if len(self.calls) > 256:
                    self._forget()

    def _forget(self) -> None:
        past = time.monotonic() - _RECENT
        self.calls = {who: when for who, when in self.calls.items() if when >= past}

    def busy(self) -> int:
        """Threads that read or did a moment ago, helpers and the one that asks included."""
        past = time.monotonic() - _RECENT
        me = threading.get_ident()
        with self.lock:
            others = sum(when >= past for who, when in self.calls.items() if who != me)
            return others + self.helpers + 1

    def submit(self, function: Callable[[], None]) -> Future[None] | None:
        """Let a helper do it; None where there can be none, as when the interpreter ends."""
        with self.lock:
            if self.pool is None:
                most = max(32, 2 * (os.cpu_count() or 1))
                self.pool = ThreadPoolExecutor(most, thread_name_prefix="hpclaunch-read")
            pool = self.pool
        try:
            return pool.submit(function)
        except RuntimeError:
            return None


_crew = _Crew()


def _after_fork() -> None:
    global _crew
    _crew = _Crew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def free_threads(limit: int) -> int:
    """How many threads, the caller's included, a call that starts now may use of `limit`."""
    return max(1, limit - _crew.busy() + 1)


def run(jobs: Sequence[Job], work: Callable[[Job], None], limit: int, *, more: bool = True) -> None:
    """Do all jobs, in this thread and in helpers.

    Parameters
    ----------
    jobs : sequence
        Started in this order.
    work : callable
        Called once for each job, in any of the threads.
    limit : int
        Threads that read in this process at most.
    more : bool, default True
        Whether half as many again join where reads wait for the storage.

    Raises
    ------
    Exception
        The first that `work` raised; jobs not yet started are left out then.
    """
    with _crew.call():
        if len(jobs) < 2:
            for job in jobs:
                work(job)
            return
        shared = _Shared(jobs, work)
        free = free_threads(limit)
        helpers = _recruit(shared, min(free, len(jobs)) - 1, limit)
        ahead = [max(1, free // 2)] if more and len(jobs) > 2 else []

        def read_ahead() -> bool:
            if ahead and pace.slow:
                more = ahead.pop()
                helpers.extend(_recruit(shared, more, limit + more))
            return False

        try:
            shared.drain(read_ahead)
        finally:
            shared.stop()
            for one in helpers:
                if not one.cancel():
                    one.result()
        if shared.error is not None:
            raise shared.error


def _recruit(shared: _Shared[Job], count: int, limit: int) -> list[Future[None]]:
    # Helpers see what the caller sees, such as which Dask worker this is.
    here = [contextvars.copy_context() for _ in range(count)]
    started = [_crew.submit(functools.partial(one.run, shared.help, limit)) for one in here]
    return [one for one in started if one is not None]


class _Shared(Generic[Job]):
    """The jobs of one call, and the first thing that went wrong."""

    def __init__(self, jobs: Sequence[Job], work: Callable[[Job], None]) -> None:
        self.jobs = iter(jobs)
        self.work = work
        self.lock = threading.Lock()
        self.error: Exception | None = None

    def next(self) -> Job | None:
        with self.lock:
            return next(self.jobs, None)

    def stop(self) -> None:
        with self.lock:
            self.jobs = iter(())

    def drain(self, leave: Callable[[], bool]) -> None:
        while not leave() and (job := self.next()) is not None:
            try:
                self.work(job)
            except Exception as wrong:
                with self.lock:
                    self.error = self.error or wrong
                self.stop()
            except BaseException:
                self.stop()
                raise

    def help(self, limit: int) -> None:
        """Take part as a helper, as long as no other call needs the core."""
        crew = _crew
        with crew.lock:
            crew.helpers += 1
        try:
            self.drain(
                lambda: (
                    crew.helpers + sum(w == float("inf") for w in list(crew.calls.values())) > limit
                )
            )
        finally:
            with crew.lock:
                crew.helpers -= 1
