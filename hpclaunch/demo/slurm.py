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
from hpclaunch.demo.slurm_text import ACCOUNTING, QUEUE, accounted, queued
from hpclaunch.demo.spool import Job, Spool
from hpclaunch.demo.submits import Command, fail, refused, take

__all__ = ["COMMANDS", "start"]

_GRACE = 30.0  # seconds between two signals: KillWait
_DOWN = "Unable to contact slurm controller (connect failure)"
_SHORT = {"J": "job-name", "a": "array", "j": "jobs", "o": "output", "p": "partition", "t": "time"}
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
    name, script = _script(arguments)
    options = {"job-name": name}
    for line in re.findall("^#SBATCH (.*)$", script, re.MULTILINE):
        options.update(_options(line.split()))
    options.update(_options(arguments))
    number = spool.take_number()
    last = int(options["array"].partition("-")[2]) if "array" in options else None
    tasks: list[tuple[str, Sequence[int]]] = [(str(number), [number])]
    if last is not None:
        tasks = [(f"{number}_{index}", [number, index]) for index in range(last + 1)]
    facts = {
        "output": options.get("output", "slurm-%J.out"),
        "partition": options.get("partition", "compute"),
        "walltime": _seconds(options.get("time")),
    }
    answer = str(number) if "--parsable" in arguments else f"Submitted batch job {number}"
    return take(spool, tasks, options["job-name"], script, arguments, facts, start, answer)


def _squeue(spool: Spool, arguments: Sequence[str]) -> int:
    if spool.mode("silence") is not None:
        return fail(f"slurm_load_jobs error: {_DOWN}", 1)
    asked = _options(arguments).get("jobs")
    if asked is not None and not set(_chosen(spool, asked.split(","))):
        return fail("slurm_load_jobs error: Invalid job id specified", 1)
    if "--noheader" not in arguments:
        return _show_queue(spool, asked)
    for job in _of(spool, asked):
        word = _word(spool, job)
        if asked is not None:
            reason = (spool.mode("hold") or "None") if word == "PENDING" else "None"
            where = "" if word == "PENDING" else "c1"
            print(f"{job.id}|{word}|{_EXPECTED}|N/A|{where}|{reason}")
        elif word in ("PENDING", "RUNNING"):
            print(f"{job.id.split('_')[0]}|{word}|{job.name}")
    return 0


def _show_queue(spool: Spool, asked: str | None) -> int:
    """What people see who type ``squeue``."""
    print(QUEUE)
    for job in _of(spool, asked):
        word = _word(spool, job)
        if word in ("PENDING", "RUNNING"):
            print(queued(job, spool.course(job.id), word, spool.mode("hold") or "None"))
    return 0


def _sacct(spool: Spool, arguments: Sequence[str]) -> int:
    for_people = "--noheader" not in arguments
    if for_people:
        print(ACCOUNTING)
    for job in _of(spool, _options(arguments).get("jobs")):
        ended = spool.course(job.id).ended or {}
        code = f"{ended.get('code') or 0}:{ended.get('signal') or 0}"
        if for_people:
            print(accounted(job, _word(spool, job), code))
            continue
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


def _script(arguments: Sequence[str]) -> tuple[str, str]:
    """What a job is called where nothing else says it, and its script."""
    before, last = ["", "", *arguments][-2:]
    if not last or last.startswith("-") or before[1:] in _SHORT:
        return "sbatch", sys.stdin.read()
    return Path(last).name, Path(last).read_text()


def _of(spool: Spool, asked: str | None) -> list[Job]:
    """The jobs that are asked for; all, where none is named."""
    wanted = None if asked is None else set(_chosen(spool, asked.split(",")))
    return [job for job in spool.jobs() if wanted is None or job.id in wanted]


def _options(words: Sequence[str]) -> dict[str, str]:
    """``--name=value``, and those short ones that are read, each followed by its value."""
    found = {}
    for at, word in enumerate(words):
        if match := re.fullmatch("--([a-z-]+)=(.*)", word, re.DOTALL):
            found[match[1]] = match[2]
        elif word[:1] == "-" and word[1:] in _SHORT:
            found[_SHORT[word[1:]]] = "".join(words[at + 1 : at + 2])
    return found


def _seconds(clock: str | None) -> float | None:
    """``MM``, ``MM:SS``, ``HH:MM:SS`` and ``D-HH[:MM[:SS]]``, as sbatch(1) has them."""
    if clock is None:
        return None
    days, _, rest = clock.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if days or len(parts) == 3:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
    else:
        hours, minutes, seconds = 0, *(*parts, 0)[:2]
    return float(((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds)


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
