"""The one process that watches a local job: starts it, ends it in time, notes how it ended.

Standard library only, Python 3.9 or newer.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable

from hpclaunch.node.localjob_members import MARK, members, orphans
from hpclaunch.node.localjob_spool import Job
from hpclaunch.node.processes import Bell, adopt_orphans

__all__ = ["GRACE", "supervise", "sweep"]

GRACE = 10.0
"""Seconds between asking the job's processes to end and killing them."""

_UNKILLABLE = 60.0  # seconds after which a process that KILL does not end is given up
_RESET = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD)


class _Leader:
    """The job's first process, and the wait status it left."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.status: int | None = None

    def reap(self) -> None:
        """Collect every child that ended; orphans of the job are our children too."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self.pid:
                    self.status = status

    def outcome(self) -> tuple[int | None, int | None]:
        """Exit code and signal."""
        if self.status is None:
            return None, None
        if os.WIFSIGNALED(self.status):
            return None, os.WTERMSIG(self.status)
        return os.WEXITSTATUS(self.status), None


def supervise(job: Job, started: Callable[[], None]) -> None:
    """Run `job` to its end. The caller holds the job's lock.

    Parameters
    ----------
    job : Job
    started : callable
        Called once the job runs.

    Raises
    ------
    OSError
        If the job cannot be started: no such interpreter, or the log cannot be written.
    """
    adopt_orphans()
    bell = _listen()
    record = job.read("job.json")
    if record is None:
        raise FileNotFoundError(job.file("job.json"))
    leader = _Leader(_start(job, record["interpreter"], record["output"], record["directory"]))
    begun = time.time()
    job.write("start.json", {"time": begun, "supervisor": os.getpid(), "session": leader.pid})
    started()
    word = _watch(bell, leader, begun + record["seconds"])
    job.write("ending", {"time": time.time()})
    stubborn = _clear(lambda: members(leader.pid), leader)
    _note_end(job, word, leader, stubborn)


def sweep(job: Job) -> None:
    """Cancel what is left of a job whose supervisor is gone. The caller holds the job's lock."""
    _listen()  # a signal must not stop this half way
    start = job.read("start.json")
    leader = _Leader(int(start["session"]) if start else 0)
    stubborn = _clear(lambda: orphans(job.path, leader.pid), leader)
    _note_end(job, "CANCELLED", leader, stubborn)


def _listen() -> Bell:
    """Hear signals, also those that whoever started us had blocked."""
    bell = Bell()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    return bell


def _start(job: Job, interpreter: list[str], output: str, directory: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    log = os.open(output, flags, 0o600)
    try:
        process = subprocess.Popen(
            [*interpreter, job.file("script")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=directory,
            env={**os.environ, MARK: job.path},
            start_new_session=True,
            preexec_fn=_forget_signals,
        )
    finally:
        os.close(log)
    process.returncode = 0  # `_Leader` waits for it, not this object
    return process.pid


def _forget_signals() -> None:
    """Give the job the signal settings of a fresh login, whatever started us ignored."""
    for number in _RESET:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _watch(bell: Bell, leader: _Leader, deadline: float) -> str | None:
    """Wait until the job ends, is cancelled or its walltime is over; the word for the latter."""
    while True:
        leader.reap()
        if leader.status is not None:
            return None
        if bell.ending is not None:
            return "CANCELLED"
        left = deadline - time.time()
        if left <= 0:
            return "TIMEOUT"
        bell.wait(min(left, 60.0))  # the clock of a laptop that slept jumps


def _clear(find: Callable[[], list[int]], leader: _Leader) -> list[int]:
    """End every process of the job: TERM, and KILL after `GRACE` seconds.

    Returns
    -------
    list of int
        Processes that even KILL did not end.
    """
    begun = time.monotonic()
    asked: set[int] = set()
    while True:
        leader.reap()
        alive = find()
        waited = time.monotonic() - begun
        if not alive or waited > GRACE + _UNKILLABLE:
            leader.reap()
            return alive
        for pid in alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if waited >= GRACE:
                    os.kill(pid, signal.SIGKILL)
                elif pid not in asked:
                    os.kill(pid, signal.SIGTERM)
                    os.kill(pid, signal.SIGCONT)  # a stopped process hears TERM only then
        asked.update(alive)
        time.sleep(0.02 if waited < 1 else 0.1)


def _note_end(job: Job, word: str | None, leader: _Leader, stubborn: list[int]) -> None:
    code, number = leader.outcome()
    if word is None:
        word = "COMPLETED" if code == 0 else "FAILED"
    reason = ""
    if stubborn:
        reason = "processes that cannot be killed: " + " ".join(str(pid) for pid in stubborn)
    end = {"word": word, "time": time.time(), "exit_code": code, "signal": number}
    job.write("end.json", {**end, "reason": reason})
