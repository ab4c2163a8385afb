"""The process beside a make-believe job: starts it, ends it in time, notes how it ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpclaunch.demo.spool import Course, Job, Spool

__all__ = ["Launch", "begin"]

_WAKE = {signal.SIGCHLD, signal.SIGUSR1}
_DAY = 86400.0
_PATIENCE = 10.0  # seconds for a job to begin


@dataclass(frozen=True)
class Launch:
    """How a scheduler runs a job.

    Attributes
    ----------
    environment : mapping
    cwd : str
    output : str
        Where both streams go.
    walltime : float or None
        Seconds.
    at_limit, at_cancel : sequence of (float, str)
        What is sent when the walltime is over, and on a cancellation: seconds from then, and the
        name of a signal.
    deliver : callable
        Brings the output where it belongs, once nothing of the job is left.
    """

    environment: Mapping[str, str]
    cwd: str
    output: str
    walltime: float | None
    at_limit: Sequence[tuple[float, str]]
    at_cancel: Sequence[tuple[float, str]]
    deliver: Callable[[Course], None] = lambda _: None


def begin(spool: Spool, job: Job, launch: Launch) -> None:
    """Run a job in a process of its own; returns when it has begun."""
    if os.fork() == 0:
        code = 1
        try:
            os.setsid()
            _detach(spool)
            _run(spool, job, launch)
            code = 0
        finally:
            os._exit(code)
    deadline = time.monotonic() + _PATIENCE
    while spool.note_of(job.id, "begun") is None and time.monotonic() < deadline:
        time.sleep(0.005)


def _detach(spool: Spool) -> None:
    """Keep nothing of who submitted: its pipes would stay open as long as the job runs."""
    silent = os.open(os.devnull, os.O_RDWR)
    errors = os.open(spool.path / "errors", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number, own in ((0, silent), (1, silent), (2, errors)):
        os.dup2(own, number)
    os.closerange(3, 256)


def _run(spool: Spool, job: Job, launch: Launch) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, _WAKE)
    script = spool.path / f"{job.id}.script"
    script.write_text(job.script)
    script.chmod(0o700)
    argv = [str(script)] if job.script.startswith("#!") else ["/bin/sh", str(script)]
    with Path(launch.output).open("ab") as output:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(launch.environment),
            cwd=launch.cwd,
            start_new_session=True,
            preexec_fn=_unblock,
        )
    begun = time.monotonic()
    spool.note(job.id, "begun", pid=process.pid, runner=os.getpid())
    die = float(job.options["die"]) if "die" in job.options else None
    why: str | None = None
    due: list[tuple[float, str]] = []
    if launch.walltime is not None:
        due += [(begun + launch.walltime + later, name) for later, name in launch.at_limit]
    if die is not None:
        due.append((begun + die, "KILL"))
    while process.poll() is None:
        now = time.monotonic()
        if why is None and spool.note_of(job.id, "cancelled") is not None:
            why = "cancelled"
            due = [(now + later, name) for later, name in launch.at_cancel]
        for moment, name in [one for one in due if one[0] <= now]:
            due.remove((moment, name))
            if why is None and launch.walltime is not None and now >= begun + launch.walltime:
                why = "walltime"
            _send(process.pid, name)
        left = min((moment for moment, _ in due), default=now + _DAY) - time.monotonic()
        signal.sigtimedwait(_WAKE, max(0.0, min(left, _DAY)))
    code = process.returncode
    _send(process.pid, "KILL")  # what the job has left behind
    facts = {"code": code if code >= 0 else None, "signal": -code if code < 0 else None}
    begun_note, cancelled = spool.note_of(job.id, "begun"), spool.note_of(job.id, "cancelled")
    launch.deliver(Course(begun_note, cancelled, {"time": time.time(), "why": why, **facts}))
    spool.note(job.id, "ended", why=why, **facts)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _WAKE)


def _send(group: int, name: str) -> None:
    with contextlib.suppress(ProcessLookupError):  # there is nobody left
        os.killpg(group, signal.Signals[f"SIG{name}"])
