"""``sbatch squeue scancel scontrol sacct``, as far as hpclaunch and dask-jobqueue call them."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from hpclaunch.demo import site
from hpclaunch.demo.runner import Launch, begin
from hpclaunch.demo.spool import Job, Spool
from hpclaunch.demo.submits import Command, fail, refused, take

__all__ = ["COMMANDS", "start"]

_GRACE = 30.0  # seconds between two signals: KillWait
_DOWN = "Unable to contact slurm controller (connect failure)"
_SHORT = {"J": "job-name", "o": "output", "t": "time"}
_EXPECTED = "2026-11-30T10:00:00"  # when every job that waits is said to start


def start(spool: Spool, job: Job) -> None:
    """Run a job the way of Slurm: with the whole environment of the submit."""
    environment = {**job.environment, "SLURM_JOB_ID": job.id}
    if len(job.order) > 1:
        array, task = job.id.split("_")
        environment.update(SLURM_ARRAY_JOB_ID=array, SLURM_ARRAY_TASK_ID=task)
    told = job.options.get("end_in")
    if told:
        environment["SLURM_JOB_END_TIME"] = str(int(time.time() + float(told)))
    output = str(job.options["output"])
    for symbol, text in (("%A_%a", job.id), ("%j", job.id), ("%J", job.id), ("%%", "%")):
        output = output.replace(symbol, text)
    walltime = job.options.get("walltime")
    ends = ((0.0, "TERM"), (spool.seconds("grace", _GRACE), "KILL"))
    begin(spool, job, Launch(environment, job.cwd, output, walltime, ends, ends))


def _sbatch(spool: Spool, arguments: Sequence[str]) -> int:
    words = refused(spool)
    if words:
        return fail(words, 1)
    if spool.mode("silence") is not None:
        return fail(f"sbatch: error: Batch job submission failed: {_DOWN}", 1)
    named = bool(arguments) and not arguments[-1].startswith("-")
    script = Path(arguments[-1]).read_text() if named else sys.stdin.read()
    options = _options(arguments)
    for line in re.findall("^#SBATCH (.*)$", script, re.MULTILINE):
        for match in re.finditer("(?:^| )-([Jot]) ([^ ]+)", line):  # dask-jobqueue's way
            options.setdefault(_SHORT[match[1]], match[2])
    number = spool.take_number()
    last = int(options["array"].partition("-")[2]) if "array" in options else None
    tasks: list[tuple[str, Sequence[int]]] = [(str(number), [number])]
    if last is not None:
        tasks = [(f"{number}_{index}", [number, index]) for index in range(last + 1)]
    facts = {"output": options["output"], "walltime": _seconds(options.get("time"))}
    return take(spool, tasks, options["job-name"], script, arguments, facts, start, str(number))


def _squeue(spool: Spool, arguments: Sequence[str]) -> int:
    if spool.mode("silence") is not None:
        return fail(f"slurm_load_jobs error: {_DOWN}", 1)
    options = _options(arguments)
    if "jobs" in options:
        wanted = set(_chosen(spool, options["jobs"].split(",")))
        if not wanted:
            return fail("slurm_load_jobs error: Invalid job id specified", 1)
        for job in spool.jobs():
            if job.id in wanted:
                word = _word(spool, job)
                reason = (spool.mode("hold") or "None") if word == "PENDING" else "None"
                where = "" if word == "PENDING" else "c1"
                print(f"{job.id}|{word}|{_EXPECTED}|N/A|{where}|{reason}")
        return 0
    for job in spool.jobs():
        if _word(spool, job) in ("PENDING", "RUNNING"):
            print(f"{job.id.split('_')[0]}|{_word(spool, job)}|{job.name}")
    return 0


def _sacct(spool: Spool, arguments: Sequence[str]) -> int:
    wanted = set(_chosen(spool, _options(arguments)["jobs"].split(",")))
    for job in spool.jobs():
        if job.id in wanted:
            ended = spool.course(job.id).ended or {}
            code = f"{ended.get('code') or 0}:{ended.get('signal') or 0}"
            end = datetime.fromtimestamp(ended["time"]).isoformat("T", "seconds") if ended else ""
            print(f"{job.id}|{_word(spool, job)}|{code}|Unknown|{end or 'Unknown'}|c1|None")
    return 0


def _scancel(spool: Spool, arguments: Sequence[str]) -> int:
    if spool.mode("silence") is not None:
        return fail(f"scancel: error: Kill job error: {_DOWN}", 1)
    known = {job.id for job in spool.jobs()}
    for one in _chosen(spool, arguments):
        if one in known and not spool.course(one).is_over:
            spool.cancel(one, "uid")
    return 0


def _scontrol(spool: Spool, arguments: Sequence[str]) -> int:
    return site.scontrol_show(spool, arguments[1])


COMMANDS: dict[str, Command] = {
    "sbatch": _sbatch,
    "squeue": _squeue,
    "sacct": _sacct,
    "scancel": _scancel,
    "scontrol": _scontrol,
    **site.SLURM,
}


def _options(arguments: Sequence[str]) -> dict[str, str]:
    named = (word[2:].partition("=") for word in arguments if re.match("--[a-z-]+=", word))
    return {name: value for name, _, value in named}


def _seconds(clock: str | None) -> float | None:
    if clock is None:
        return None
    parts = [int(part) for part in clock.split(":")]
    return float(sum(part * 60**place for place, part in enumerate(reversed(parts))))


def _word(spool: Spool, job: Job) -> str:
    course = spool.course(job.id)
    if course.cancelled is not None:
        return "CANCELLED"
    if course.begun is None:
        return "PENDING"
    if course.ended is None:
        return "RUNNING"
    if course.ended["why"] == "walltime":
        return "TIMEOUT"
    return "COMPLETED" if course.ended["code"] == 0 else "FAILED"


def _chosen(spool: Spool, words: Sequence[str]) -> Iterator[str]:
    """The jobs that ``7``, ``7_3`` and ``7_[0-2,5]`` stand for."""
    for text in words:
        whole, _, tasks = text.partition("_")
        if not tasks:
            yield from (job.id for job in spool.jobs() if job.id.split("_")[0] == whole)
            continue
        for part in tasks.strip("[]").split(","):
            first, _, last = part.partition("-")
            yield from (f"{whole}_{index}" for index in range(int(first), int(last or first) + 1))
