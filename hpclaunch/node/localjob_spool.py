"""The spool of local jobs: one 0700 directory a job, and what its files tell of the job.

Each job has one supervisor process, which holds a lock on the job's directory for as long as it
lives. The kernel gives the lock back whatever happens to the supervisor, and unlike a process id
it is never used again: a held lock means that the job is alive and that the recorded process id
of its supervisor is right.

Standard library only, Python 3.9 or newer.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hpclaunch.node.files import make_private_dir, read_json, write_private, write_private_json
from hpclaunch.node.localjob_text import Request, Row

__all__ = ["Job", "Spool", "boot_id"]

KEPT_DAYS = 30
"""How long the record of an ended job stays."""

_ID = re.compile(r"[1-9]\d*", re.ASCII)


def boot_id() -> str:
    """A word that changes when this machine starts anew, empty where none is known."""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()
    return ""


@dataclass(frozen=True)
class Job:
    """One job's directory.

    The submitting command writes ``script`` and ``job.json``. The supervisor writes ``start.json``
    when the job runs, ``ending`` when it begins to end it, ``end.json`` when nothing of it is left.
    """

    id: str
    path: str

    def file(self, name: str) -> str:
        """The path of one of the job's files."""
        return os.path.join(self.path, name)

    def read(self, name: str) -> dict[str, Any] | None:
        """What a record holds, or None while it does not exist."""
        try:
            record = read_json(self.file(name))
        except FileNotFoundError:
            return None
        if not isinstance(record, dict):
            raise ValueError(f"{self.file(name)} holds no record")
        return record

    def write(self, name: str, record: dict[str, Any]) -> None:
        """Put a record in place, whole or not at all."""
        write_private_json(self.file(name), record)

    def lock(self, *, shared: bool = False) -> int | None:
        """Try to take the job's lock; a descriptor that holds it, or None while it is held."""
        descriptor = os.open(self.file("lock"), os.O_RDWR | os.O_CREAT, 0o600)
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def forget(self) -> None:
        """Remove all that is known of the job."""
        shutil.rmtree(self.path)

    def is_supervised(self) -> bool:
        """Whether its supervisor lives."""
        descriptor = self.lock(shared=True)
        if descriptor is None:
            return True
        os.close(descriptor)
        return False

    def row(self) -> Row | None:
        """What is known of the job now; None where no job was ever submitted."""
        job = self.read("job.json")
        if job is None:
            return None
        end = self.read("end.json")
        alive = end is None and self.is_supervised()
        start = self.read("start.json")
        if end is None and not alive:
            end = self.read("end.json")  # it may have ended since we first looked
        host = str(job["host"])
        if end is not None:
            return Row(
                *(self.id, str(end["word"]), host, end["time"], end["exit_code"], end["signal"]),
                reason=str(end["reason"]),
            )
        if host != platform.node():
            return Row(self.id, "ELSEWHERE", host, reason=f"it was started on {host}")
        if alive and start is None:
            return Row(self.id, "STARTING", host)
        if alive and start is not None:
            word = "ENDING" if os.path.exists(self.file("ending")) else "RUNNING"
            return Row(self.id, word, host, ends=start["time"] + job["seconds"])
        if job["boot"] != boot_id():
            return Row(self.id, "NODE_FAIL", host, reason="this machine was started anew")
        reason = "its supervising process was killed" if start else "it was never started"
        return Row(self.id, "FAILED", host, reason=reason)


class Spool:
    """All jobs of one user on this machine.

    Parameters
    ----------
    path : str
        The spool directory; made, mode 0700, where it does not exist.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        make_private_dir(self.path)
        make_private_dir(os.path.join(self.path, "jobs"))

    def job(self, job_id: str) -> Job:
        """The job of that id, which need not exist.

        Raises
        ------
        ValueError
            If it is no id.
        """
        if not _ID.fullmatch(job_id):
            raise ValueError(f"{job_id!r} is no job id")
        return Job(job_id, os.path.join(self.path, "jobs", job_id))

    def jobs(self) -> Iterator[Job]:
        """All jobs on record, oldest first."""
        names = os.listdir(os.path.join(self.path, "jobs"))
        for name in sorted(filter(_ID.fullmatch, names), key=int):
            yield self.job(name)

    def add(self, request: Request, script: bytes) -> tuple[Job, int]:
        """Record a new job under a fresh id.

        Returns
        -------
        job : Job
        lock : int
            A descriptor that holds its lock: to be handed to its supervisor.
        """
        with self._counting():
            job = self.job(str(1 + self._last_id()))
            make_private_dir(job.path)
            lock = job.lock()
            if lock is None:
                raise RuntimeError(f"the new job directory {job.path} is locked already")
            write_private(os.path.join(self.path, "last"), job.id.encode())
        write_private(job.file("script"), script)
        job.write(
            "job.json",
            {
                "name": request.name,
                "output": request.output,
                "seconds": request.seconds,
                "interpreter": list(request.interpreter),
                "directory": os.getcwd(),
                "host": platform.node(),
                "boot": boot_id(),
                "submitted": time.time(),
            },
        )
        return job, lock

    def prune(self) -> None:
        """Forget ended jobs with which nothing happened for `KEPT_DAYS`."""
        horizon = time.time() - KEPT_DAYS * 86400
        for job in list(self.jobs()):
            with contextlib.suppress(FileNotFoundError):  # another submit prunes too
                if os.stat(job.path).st_mtime < horizon and not job.is_supervised():
                    job.forget()

    def _last_id(self) -> int:
        """The highest id ever given: from the counter, or a job whose counter was not written."""
        counted = 0
        with contextlib.suppress(FileNotFoundError), open(os.path.join(self.path, "last")) as file:
            counted = int(file.read())
        return max([counted, *(int(job.id) for job in self.jobs())])

    @contextlib.contextmanager
    def _counting(self) -> Iterator[None]:
        """One submission at a time."""
        descriptor = os.open(os.path.join(self.path, "lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
