"""What a make-believe scheduler knows: its jobs, and how it shall misbehave. Files in a directory.

Of a job there is ``ID.job`` (what was submitted), ``ID.begun``, ``ID.cancelled`` and ``ID.ended``:
each is written once, by one process.

The modes are files too, named after what they do (`hpclaunch.demo.modes`); what is
in them says how.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Course", "Job", "Spool", "group_lives", "user"]


@dataclass(frozen=True)
class Job:
    """What was submitted.

    Attributes
    ----------
    id : str
        As the scheduler spells it.
    order : list of int
        Its number, and its index in an array.
    name, script, cwd : str
    argv : list of str
        Of the submit.
    environment : dict of str to str
        Of the submit.
    options : dict
        What the scheduler's own reader made of directives and argv.
    submitted : float
        Seconds since 1970.
    """

    id: str
    order: Sequence[int]
    name: str
    script: str
    cwd: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    options: Mapping[str, Any] = field(default_factory=dict)
    submitted: float = 0.0


@dataclass(frozen=True)
class Course:
    """How a job has gone so far, as far as the scheduler shows it.

    Attributes
    ----------
    begun, ended, cancelled : dict or None
        ``begun`` has ``time, pid``, ``ended`` has ``time, code, signal, why``.
    """

    begun: dict[str, Any] | None
    cancelled: dict[str, Any] | None
    ended: dict[str, Any] | None

    @property
    def waits(self) -> bool:
        """Whether it has neither begun nor been cancelled."""
        return self.begun is None and self.cancelled is None

    @property
    def is_over(self) -> bool:
        """Whether nothing of it will run any more."""
        return self.ended is not None or (self.begun is None and self.cancelled is not None)


class Spool:
    """The directory.

    Parameters
    ----------
    path : path
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    # Modes

    def mode(self, name: str) -> str | None:
        """What a mode says, None where it is off."""
        try:
            return (self.path / name).read_text()
        except FileNotFoundError:
            return None

    def set_mode(self, name: str, how: str | None) -> None:
        """Switch a mode on, or off with None."""
        if how is None:
            (self.path / name).unlink(missing_ok=True)
        else:
            self._write(name, how)

    def seconds(self, name: str, otherwise: float = 0.0) -> float:
        """A mode that is a number of seconds; `otherwise` where it is off."""
        return float(self.mode(name) or otherwise)

    # Jobs

    def take_number(self) -> int:
        """A number that no job has had."""
        number = 1
        while True:
            try:
                (self.path / f"{number}.number").touch(exist_ok=False)
            except FileExistsError:
                number += 1
            else:
                return number

    def add(self, job: Job) -> None:
        """Take a job."""
        self._write(f"{job.id}.job", json.dumps(asdict(job)))

    def jobs(self, *, forgotten: bool = False) -> list[Job]:
        """Every job that the scheduler shows, in the order of their numbers.

        Parameters
        ----------
        forgotten : bool
            Whether jobs count that are not known any more.
        """
        shown = time.time() - self.seconds("lag")
        found = [Job(**json.loads(path.read_text())) for path in self.path.glob("*.job")]
        if self.mode("forget") is not None and not forgotten:
            found = [job for job in found if not self.course(job.id).is_over]
        return sorted(
            (job for job in found if job.submitted <= shown), key=lambda job: list(job.order)
        )

    def course(self, job: str) -> Course:
        """How a job has gone."""
        shown = time.time() - self.seconds("lag")
        notes = []
        for kind in ("begun", "cancelled", "ended"):
            note = self.note_of(job, kind)
            notes.append(note if note is not None and note["time"] <= shown else None)
        return Course(*notes)

    def note(self, job: str, kind: str, **facts: Any) -> None:
        """Write down that something has happened to a job."""
        self._write(f"{job}.{kind}", json.dumps({"time": time.time(), **facts}))

    def note_of(self, job: str, kind: str) -> dict[str, Any] | None:
        """Read it, whether it is shown already or not."""
        try:
            found: dict[str, Any] = json.loads((self.path / f"{job}.{kind}").read_text())
        except FileNotFoundError:
            return None
        return found

    def cancel(self, job: str, who: str) -> None:
        """Cancel a job that waits or runs; what runs it is woken."""
        self.note(job, "cancelled", who=who)
        begun = self.note_of(job, "begun")
        if begun is not None:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(begun["runner"], signal.SIGUSR1)

    def called(self, program: str) -> None:
        """Write down that a command was called."""
        with (self.path / "calls").open("a") as calls:
            calls.write(program + "\n")

    def _write(self, name: str, text: str) -> None:
        writing = self.path / f".{name}.{os.getpid()}"
        writing.write_text(text)
        writing.rename(self.path / name)


def user() -> str:
    """Who we are."""
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def group_lives(group: int) -> bool:
    """Whether a process group has a member."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            return True
    return False
