"""A SLURM on PATH that runs its jobs for real, as processes of this machine.

It knows what the holder uses: ``sbatch --parsable`` with a script on stdin, ``scancel ID…`` and
``squeue --me``. It can refuse (`Slurm.refuse`) and answer slowly (`Slurm.delay`).
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

PROGRAM = """#!{python}
import json, os, pathlib, re, signal, subprocess, sys, time
state = pathlib.Path({state!r})
name, arguments = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
options = dict(word[2:].split("=", 1) for word in arguments if re.match("--[a-z-]+=", word))
jobs = {{path.stem: json.loads(path.read_text()) for path in state.glob("*.job")}}

def alive(job):
    try:
        stat = pathlib.Path("/proc/%d/stat" % job["pid"]).read_text()
        return stat.rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

if name == "sbatch":
    time.sleep(float((state / "delay").read_text()))
    if (state / "refusal").exists():
        sys.exit((state / "refusal").read_text())
    script = sys.stdin.read()
    number = 1
    while True:
        try:
            (state / ("%d.number" % number)).touch(exist_ok=False)
            break
        except FileExistsError:
            number += 1
    environment = dict(os.environ, SLURM_JOB_ID=str(number))
    with open(options["output"], "wb") as log:
        job = subprocess.Popen(
            ["bash", "-s"], stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment,
            start_new_session=True,
        )
    job.stdin.write(script.encode())
    job.stdin.close()
    note = state / ("%d.writing" % number)
    note.write_text(json.dumps(dict(
        pid=job.pid, name=options["job-name"], script=script, argv=arguments,
        environment=dict(os.environ), cwd=os.getcwd())))
    note.rename(note.with_suffix(".job"))
    print(number)
elif name == "scancel":
    for one in arguments:
        if one in jobs and alive(jobs[one]):
            os.killpg(jobs[one]["pid"], signal.SIGTERM)
            (state / (one + ".cancelled")).touch()
elif name == "squeue":
    for one, job in jobs.items():
        if alive(job):
            print("%s|RUNNING|%s" % (one, job["name"]))
"""


@dataclass(frozen=True)
class Slurm:
    """One such SLURM."""

    bin: Path
    state: Path

    @classmethod
    def install(cls, base: Path) -> Slurm:
        """Put the commands below `base`."""
        found = cls(base / "bin", base / "state")
        found.bin.mkdir(parents=True)
        found.state.mkdir()
        text = PROGRAM.format(python=sys.executable, state=str(found.state))
        for name in ("sbatch", "scancel", "squeue"):
            (found.bin / name).write_text(text)
            (found.bin / name).chmod(0o755)
        found.delay(0)
        return found

    @property
    def path(self) -> str:
        """A PATH that finds it."""
        return f"{self.bin}:{os.environ['PATH']}"

    def delay(self, seconds: float) -> None:
        """Let sbatch take its time."""
        (self.state / "delay").write_text(str(seconds))

    def refuse(self, words: str) -> None:
        """Let sbatch refuse every job."""
        (self.state / "refusal").write_text(words)

    @property
    def jobs(self) -> dict[str, dict[str, object]]:
        """Every job ever submitted, by its id."""
        files = sorted(self.state.glob("*.job"), key=lambda path: int(path.stem))
        return {path.stem: json.loads(path.read_text()) for path in files}

    @property
    def cancelled(self) -> set[str]:
        """Ids of the jobs that were cancelled while they ran."""
        return {path.stem for path in self.state.glob("*.cancelled")}

    @property
    def alive(self) -> list[str]:
        """Ids of the jobs whose process group still has a member."""
        return [one for one, job in self.jobs.items() if _group_lives(int(str(job["pid"])))]

    def kill(self) -> None:
        """End what is left."""
        for one in self.alive:
            os.killpg(int(str(self.jobs[one]["pid"])), signal.SIGKILL)


def _group_lives(group: int) -> bool:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            return True
    return False
