"""A SLURM on PATH that runs its jobs for real, as processes of this machine.

It knows what the holder uses: ``sbatch --parsable`` with a script on stdin and ``--array``,
``scancel``, ``squeue`` for jobs and for a user, ``scontrol show config``. It can refuse
(`Slurm.refuse`), answer slowly (`Slurm.delay`), chatter (`Slurm.chatter`), keep jobs waiting
(`Slurm.hold`) and end them early (`Slurm.end_jobs_after`).
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

PROGRAM = r"""#!{python}
import json, os, pathlib, re, signal, subprocess, sys, time
state = pathlib.Path({state!r})
name, arguments = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
options = dict(word[2:].split("=", 1) for word in arguments if re.match("--[a-z-]+=", word))

def said(mode, default=""):
    return (state / mode).read_text() if (state / mode).exists() else default

with open(state / "calls", "a") as calls:
    calls.write(name + "\n")

def jobs():
    found = {{path.stem: json.loads(path.read_text()) for path in state.glob("*.job")}}
    return dict(sorted(found.items(), key=lambda one: [int(n) for n in one[0].split("_")]))

def alive(job):
    if job["pid"] is None:
        return True
    try:
        stat = pathlib.Path("/proc/%d/stat" % job["pid"]).read_text()
        return stat.rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

def word(one, job):
    if (state / (one + ".cancelled")).exists():
        return "CANCELLED"
    if job["pid"] is None:
        return "PENDING"
    return "RUNNING" if alive(job) else "COMPLETED"

def note(one, job):
    path = state / (one + ".writing%d" % os.getpid())
    path.write_text(json.dumps(job))
    path.rename(state / (one + ".job"))

def begin(one, job):
    environment = dict(job["environment"], SLURM_JOB_ID=one)
    if "_" in one:
        environment["SLURM_ARRAY_JOB_ID"], environment["SLURM_ARRAY_TASK_ID"] = one.split("_")
    if said("end_in"):
        environment["SLURM_JOB_END_TIME"] = str(int(time.time() + float(said("end_in"))))
    output = job["output"].replace("%A_%a", one).replace("%j", one).replace("%%", "%")
    with open(output, "wb") as log:
        process = subprocess.Popen(
            ["bash", "-s"], stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment,
            cwd=job["cwd"], start_new_session=True,
        )
    process.stdin.write(job["script"].encode())
    process.stdin.close()
    note(one, dict(job, pid=process.pid))

def chosen(words):
    for text in words:
        whole, _, tasks = text.partition("_")
        if not tasks:
            yield from (one for one in jobs() if one.split("_")[0] == whole)
            continue
        for part in tasks.strip("[]").split(","):
            first, _, last = part.partition("-")
            yield from ("%s_%d" % (whole, n) for n in range(int(first), int(last or first) + 1))

if name == "sbatch":
    time.sleep(float(said("delay", "0")))
    if said("refusal"):
        sys.exit(said("refusal"))
    if arguments and not arguments[-1].startswith("-"):
        script = pathlib.Path(arguments[-1]).read_text()
    else:
        script = sys.stdin.read()
    short = {{"J": "job-name", "o": "output"}}
    for line in re.findall("^#SBATCH (.*)$", script, re.MULTILINE):
        for match in re.finditer("(?:^| )-([Jo]) ([^ ]+)", line):
            options.setdefault(short[match[1]], match[2].replace("%J", "%j"))
    number = 1
    while True:
        try:
            (state / ("%d.number" % number)).touch(exist_ok=False)
            break
        except FileExistsError:
            number += 1
    tasks = [str(number)]
    if "array" in options:
        tasks = ["%d_%d" % (number, n) for n in range(int(options["array"][2:]) + 1)]
    for one in tasks:
        job = dict(
            pid=None, name=options["job-name"], script=script, argv=arguments, cwd=os.getcwd(),
            environment=dict(os.environ), output=options["output"])
        if said("held"):
            note(one, job)
        else:
            begin(one, job)
    print(said("chatter") + str(number))
elif name == "release":
    (state / "held").unlink(missing_ok=True)
    for one, job in jobs().items():
        if word(one, job) == "PENDING":
            begin(one, job)
elif name == "scancel":
    known = jobs()
    for one in chosen(arguments):
        if one in known and alive(known[one]):
            (state / (one + ".cancelled")).touch()
            if known[one]["pid"] is not None:
                os.killpg(known[one]["pid"], signal.SIGTERM)
elif name == "scontrol":
    print("Configuration data as of now\nMaxArraySize            = " + said("array_size", "1001"))
elif name == "squeue" and "jobs" in options:
    wanted = set(chosen(options["jobs"].split(",")))
    for one, job in jobs().items():
        if one in wanted:
            state_of = word(one, job)
            reason = said("held") if state_of == "PENDING" else "None"
            print("%s|%s|2026-11-30T10:00:00|N/A|c1|%s" % (one, state_of, reason))
elif name == "squeue":
    for one, job in jobs().items():
        if word(one, job) in ("PENDING", "RUNNING"):
            print("%s|%s|%s" % (one.split("_")[0], word(one, job), job["name"]))
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
        for name in ("sbatch", "scancel", "squeue", "scontrol", "release"):
            (found.bin / name).write_text(text)
            (found.bin / name).chmod(0o755)
        return found

    @property
    def path(self) -> str:
        """A PATH that finds it."""
        return f"{self.bin}:{os.environ['PATH']}"

    def delay(self, seconds: float) -> None:
        """Let sbatch take its time."""
        (self.state / "delay").write_text(str(seconds))

    def refuse(self, words: str) -> None:
        """Let sbatch refuse every job; empty words let it take them again."""
        (self.state / "refusal").write_text(words)

    def chatter(self, words: str) -> None:
        """Let sbatch say `words` before its answer."""
        (self.state / "chatter").write_text(words)

    def hold(self, reason: str) -> None:
        """Keep every job that comes from now on waiting for `reason`."""
        (self.state / "held").write_text(reason)

    def release(self) -> None:
        """Start all jobs that wait."""
        os.spawnl(os.P_WAIT, str(self.bin / "release"), "release")

    def end_jobs_after(self, seconds: float) -> None:
        """Tell each job that comes from now on that it ends so many seconds after its start."""
        (self.state / "end_in").write_text(str(seconds))

    def limit_arrays(self, size: int) -> None:
        """Set ``MaxArraySize``."""
        (self.state / "array_size").write_text(str(size))

    @property
    def calls(self) -> list[str]:
        """The commands that were called, in order."""
        path = self.state / "calls"
        return path.read_text().split() if path.exists() else []

    @property
    def jobs(self) -> dict[str, dict[str, object]]:
        """Every job ever submitted, by its id; tasks of an array are ``ARRAY_INDEX``."""
        files = sorted(self.state.glob("*.job"), key=lambda path: path.stem)
        return {path.stem: json.loads(path.read_text()) for path in files}

    @property
    def cancelled(self) -> set[str]:
        """Ids of the jobs that were cancelled while they waited or ran."""
        return {path.stem for path in self.state.glob("*.cancelled")}

    @property
    def alive(self) -> list[str]:
        """Ids of the jobs whose process group still has a member."""
        pids = {one: job["pid"] for one, job in self.jobs.items()}
        return [one for one, pid in pids.items() if pid and _group_lives(int(str(pid)))]

    def kill_job(self, job: str) -> None:
        """End a job from outside, at once."""
        os.killpg(int(str(self.jobs[job]["pid"])), signal.SIGKILL)

    def kill(self) -> None:
        """End what is left."""
        for one in self.alive:
            self.kill_job(one)


def _group_lives(group: int) -> bool:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            return True
    return False
