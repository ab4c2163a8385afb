"""A scheduler of hpclaunch.demo on PATH, and how tests make it misbehave."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from hpclaunch.demo.modes import WAITING
from hpclaunch.demo.programs import install
from hpclaunch.demo.spool import Spool, group_lives

SUBMIT = {"slurm": "sbatch", "pbs": "qsub", "lsf": "bsub"}
ASK = {"slurm": "squeue", "pbs": "qstat", "lsf": "bjobs"}


@dataclass(frozen=True)
class Fake:
    """One such scheduler; see `hpclaunch.demo.spool` for its modes."""

    kind: str
    bin: Path
    state: Path

    @classmethod
    def install(cls, base: Path, kind: str = "slurm") -> Fake:
        """Put the commands below `base`."""
        found = cls(kind, base / "bin", base / "state")
        install(kind, found.bin, found.state)
        return found

    @property
    def spool(self) -> Spool:
        """What it knows."""
        return Spool(self.state)

    @property
    def path(self) -> str:
        """A PATH that finds it."""
        return f"{self.bin}:{os.environ['PATH']}"

    def delay(self, seconds: float) -> None:
        """Let a submit take its time."""
        self.spool.set_mode("delay", str(seconds))

    def refuse(self, words: str) -> None:
        """Refuse every job; empty words let it take them again."""
        self.spool.set_mode("refuse", words or None)

    def chatter(self, words: str) -> None:
        """Say `words` before the answer to a submit."""
        self.spool.set_mode("chatter", words)

    def mute(self, on: bool) -> None:
        """Take jobs without a word, or with their ids again."""
        self.spool.set_mode("mute", "" if on else None)

    def silence(self, on: bool) -> None:
        """Answer no question, or answer them again."""
        self.spool.set_mode("silence", "" if on else None)

    def hold(self, reason: str = "") -> None:
        """Keep every job that comes from now on waiting for `reason`."""
        self.spool.set_mode("hold", reason or WAITING[self.kind])

    def release(self) -> None:
        """Start all jobs that wait."""
        os.spawnl(os.P_WAIT, str(self.bin / "behave"), "behave", "hold")

    def end_jobs_after(self, seconds: float) -> None:
        """Tell each job that comes from now on that it ends so many seconds after its start."""
        self.spool.set_mode("end_in", str(seconds))

    def limit_arrays(self, size: int) -> None:
        """Set ``MaxArraySize``."""
        self.spool.set_mode("array_size", str(size))

    @property
    def calls(self) -> list[str]:
        """The commands that were called, in order."""
        path = self.state / "calls"
        return path.read_text().split() if path.exists() else []

    @property
    def jobs(self) -> dict[str, dict[str, object]]:
        """Every job ever submitted, by its id, and its process number ``pid`` once it has begun."""
        found = {}
        for path in sorted(self.state.glob("*.job")):
            begun = self.spool.note_of(path.name.removesuffix(".job"), "begun")
            found[path.name.removesuffix(".job")] = {
                **json.loads(path.read_text()),
                "pid": begun["pid"] if begun else None,
            }
        return found

    def ids(self, *numbers: int) -> list[str]:
        """Ids of single jobs by their numbers."""
        return [f"{number}.pbs-login" if self.kind == "pbs" else str(number) for number in numbers]

    @property
    def cancelled(self) -> set[str]:
        """Ids of the jobs that were cancelled while they waited or ran."""
        return {path.name.removesuffix(".cancelled") for path in self.state.glob("*.cancelled")}

    @property
    def alive(self) -> list[str]:
        """Ids of the jobs whose process group still has a member."""
        pids = {one: job["pid"] for one, job in self.jobs.items()}
        return [one for one, pid in pids.items() if pid and group_lives(int(str(pid)))]

    def kill_job(self, job: str) -> None:
        """End a job from outside, at once."""
        os.killpg(int(str(self.jobs[job]["pid"])), signal.SIGKILL)

    def kill(self) -> None:
        """End what is left."""
        for one in self.alive:
            self.kill_job(one)
