"""``bsub bjobs bhist bkill``, as volclava 2.2 was recorded, for what hpclaunch asks."""

from __future__ import annotations

import getopt
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hpclaunch.demo import site
from hpclaunch.demo.lsf_text import described, history, mail, row
from hpclaunch.demo.runner import Launch, begin
from hpclaunch.demo.spool import Course, Job, Spool
from hpclaunch.demo.submits import Command, fail, hang, refused, take

__all__ = ["COMMANDS", "start"]

_GRACE = 10.0  # seconds between two signals
_LONG_GRACE = 600.0  # seconds that a job may run on after its limit
_KNOWN = "BHJ:M:NP:R:W:b:e:m:n:o:q:rw:x"
_HEAD = "JOBID   USER    STAT  QUEUE      FROM_HOST   EXEC_HOST   JOB_NAME   SUBMIT_TIME"


def start(spool: Spool, job: Job) -> None:
    """Run a job the way of LSF: with the whole environment of the submit, and where it was."""
    slots = int(job.options["slots"])
    host = os.uname().nodename
    environment = {
        **job.environment,
        "LSB_HOSTS": " ".join([host] * slots),
        "LSB_JOBID": job.id,
        "LSB_JOBINDEX": "0",
        "LSB_JOBNAME": job.name,
        "LSB_MCPU_HOSTS": f"{host} {slots} ",
        "LSB_QUEUE": str(job.options["queue"]),
        "LSB_SUB_HOST": host,
        "LS_SUBCWD": job.cwd,
    }
    output = spool.path / f"{job.id}.out"

    def deliver(course: Course) -> None:
        """What the job has said goes into a mail, or behind what is in the output file already."""
        wanted = job.options["output"]
        if wanted:
            said = output.read_text(encoding="utf-8", errors="replace")
            with Path(job.cwd, str(wanted)).open("a", encoding="utf-8") as file:
                file.write(mail(job, course, said))

    walltime, grace = job.options["walltime"], spool.seconds("grace", _GRACE)
    at_cancel = [(0.0, "INT"), (grace, "TERM"), (2 * grace, "KILL")]
    at_limit = [(0.0, "USR2"), *((_LONG_GRACE + later, name) for later, name in at_cancel)]
    launch = Launch(environment, job.cwd, str(output), walltime, at_limit, at_cancel, deliver)
    begin(spool, job, launch)


def _bsub(spool: Spool, arguments: Sequence[str]) -> int:
    words = refused(spool)
    if words:
        return fail(words, 255)
    if spool.mode("silence") is not None:
        hang()
    read = _read(list(arguments))
    if isinstance(read, str):
        return fail(read, 255)
    given, command = read
    # A command in the arguments is the job, and nothing that stands in it is an option.
    script = shlex.join(command) if command else sys.stdin.read()
    found: list[tuple[str, str]] = []
    for line in re.findall("^#BSUB (.*)$", script, re.MULTILINE):  # also behind commands
        read = _read(shlex.split(line, comments=True))
        if isinstance(read, str):
            return fail(read, 255)
        found += read[0]
    found += given
    if [flag for flag, _ in found].count("-R") > 1:
        return fail(
            "Invalid syntax; the -R option was used more than once.\n. Job not submitted.", 255
        )
    options = dict(found)
    if not script.strip():
        return fail("No command is specified. Job not submitted.", 255)
    if re.search(r"rusage\[mem=\d+[A-Za-z]", options.get("-R", "")):
        return fail("Bad resource requirement syntax. Job not submitted.", 255)
    if not re.fullmatch(r"\d+(:\d+)?", options.get("-W", "1")):
        return fail(f"{options['-W']}: Bad RUNLIMIT specification. Job not submitted.", 255)
    number = spool.take_number()
    queue = options.get("-q")
    where = f"queue <{queue}>" if queue else "default queue <normal>"
    answer = "" if os.environ.get("BSUB_QUIET") else f"Job <{number}> is submitted to {where}."
    facts = _facts(options, script)
    name = options.get("-J", "")
    ids: list[tuple[str, Sequence[int]]] = [(str(number), [number])]
    return take(spool, ids, name, script, arguments, facts, start, answer)


def _bjobs(spool: Spool, arguments: Sequence[str]) -> int:
    if spool.mode("silence") is not None:
        hang()
    words = [word for word in arguments if word != "-UF"]
    full = "-UF" in arguments
    found, ids = getopt.getopt(words, "aJ:wl")
    options = dict(found)
    known = {job.id: job for job in spool.jobs()}
    code = 0
    if not ids:
        ids = [one for one in known if "-a" in options or not spool.course(one).is_over]
        if "-J" in options:
            ids = [one for one in ids if known[one].name == options["-J"]]
        if not ids:
            name = options.get("-J")
            return fail(f"Job <{name}> is not found" if name else "No unfinished job found", 254)
    if not full:
        print(_HEAD)
    for one in ids:
        if one in known:
            text = described if full else row
            sys.stdout.write(text(known[one], spool.course(one), spool.mode("hold")))
        else:
            code = fail(f"Job <{one}> is not found", 255)
    return code


def _bhist(spool: Spool, arguments: Sequence[str]) -> int:
    """The log of events knows jobs that bjobs has forgotten."""
    if spool.mode("silence") is not None:
        hang()
    ids = [word for word in arguments if word != "-l"]
    known = {job.id: job for job in spool.jobs(forgotten=True)}
    told = [one for one in ids if one in known]
    for one in told:
        sys.stdout.write(history(known[one], spool.course(one)))
    if not told:
        print("No matching job found")
        return 255
    return 0


def _bkill(spool: Spool, arguments: Sequence[str]) -> int:
    if spool.mode("silence") is not None:
        hang()
    known = {job.id for job in spool.jobs()}
    code = 0
    for one in arguments:
        if one not in known:
            code = fail(f"Job <{one}>: No matching job found", 255)
        elif spool.course(one).is_over:
            code = fail(f"Job <{one}>: Job has already finished", 255)
        else:
            spool.cancel(one, "user")
            print(f"Job <{one}> is being terminated")
    return code


COMMANDS: dict[str, Command] = {
    "bsub": _bsub,
    "bjobs": _bjobs,
    "bhist": _bhist,
    "bkill": _bkill,
    **site.LSF,
}


def _read(words: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]] | str:
    """Options as bsub reads them and the words behind them, or its complaint."""
    try:
        return getopt.getopt(list(words), _KNOWN)
    except getopt.GetoptError as error:
        if "requires" in error.msg:
            return f"bsub: option requires an argument -- {error.opt}"
        return f"bsub: illegal option -- {error.opt}"


def _facts(options: dict[str, str], script: str) -> dict[str, Any]:
    limit = options.get("-W")
    hours, _, minutes = (limit or "0").rpartition(":")
    whole = int(hours or 0) * 60 + int(minutes)
    return {
        "queue": options.get("-q", "normal"),
        "project": options.get("-P", "default"),
        "slots": int(options.get("-n", "1").partition(",")[0]),
        "requirement": options.get("-R"),
        "output": options.get("-o"),
        "held": "-H" in options,
        "limit": whole if limit else None,
        "walltime": 60.0 * whole if whole else None,
        "command": script.rstrip("\n").replace("\n", ";"),
    }
