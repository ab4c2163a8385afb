"""``qsub qstat qselect qdel``, as OpenPBS 23.06 was recorded, for what hpclaunch asks."""

from __future__ import annotations

import getopt
import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hpclaunch.demo import site
from hpclaunch.demo.pbs_text import SERVER, described, row
from hpclaunch.demo.runner import Launch, begin
from hpclaunch.demo.spool import Course, Job, Spool, user
from hpclaunch.demo.submits import Command, fail, refused, take

__all__ = ["COMMANDS", "start"]

_GRACE = 10.0  # seconds between two signals
_KNOWN = "a:A:c:C:e:fhIj:J:k:l:m:M:N:o:p:P:q:r:R:S:u:v:VW:Xz"
_HEADS = (
    "Job id            Name             User              Time Use S Queue",
    "----------------  ---------------- ----------------  -------- - -----",
)
_KEPT = ("HOME", "PATH", "USER", "LOGNAME", "SHELL", "LANG")


def start(spool: Spool, job: Job) -> None:
    """Run a job the way of PBS: in the home directory, with a new environment."""
    home = job.environment.get("HOME") or os.path.expanduser("~")  # noqa: PTH111
    temporary = spool.path / f"pbs.{job.id}"
    temporary.mkdir(mode=0o700)
    nodes = spool.path / f"{job.id}.nodes"
    nodes.write_text(f"{os.uname().nodename}\n" * int(job.options["mpiprocs"]))
    environment = {
        **{name: job.environment[name] for name in _KEPT if name in job.environment},
        "HOME": home,
        "ENVIRONMENT": "BATCH",
        "NCPUS": str(job.options["ncpus"]),
        "OMP_NUM_THREADS": str(job.options["ncpus"]),
        "PBS_ENVIRONMENT": "PBS_BATCH",
        "PBS_JOBID": job.id,
        "PBS_JOBNAME": job.name,
        "PBS_NODEFILE": str(nodes),
        "PBS_O_HOME": home,
        "PBS_O_HOST": os.uname().nodename,
        "PBS_O_WORKDIR": job.cwd,
        "PBS_QUEUE": str(job.options["queue"]),
        "TMPDIR": str(temporary),
    }
    wanted = Path(str(job.options["output"]) or f"{job.cwd}/{job.name}.o{job.order[0]}")
    # Output lies on the node until the end, here in the spool, if it is not to be written directly.
    there = wanted if "d" in str(job.options["keep"]) else spool.path / f"{job.id}.OU"

    def deliver(_: Course) -> None:
        if there != wanted:
            wanted.write_bytes(there.read_bytes())
        shutil.rmtree(temporary, ignore_errors=True)

    limit, grace = float(job.options["walltime"]), spool.seconds("grace", _GRACE)
    ends = ((0.0, "TERM"), (grace, "KILL"))
    launch = Launch(environment, home, str(there), limit, ends, ends, deliver)
    begin(spool, job, launch)


def _qsub(spool: Spool, arguments: Sequence[str]) -> int:
    words = refused(spool)
    if words:
        return fail(words, 159)
    if spool.mode("silence") is not None:
        return fail(
            f"Connection refused\nqsub: cannot connect to server {SERVER} (errno=15010)", 162
        )
    found, operands = getopt.getopt(list(arguments), _KNOWN)
    script = _read(operands)
    for line in _directives(script):
        try:
            found = getopt.getopt(shlex.split(line), _KNOWN)[0] + found  # the command line wins
        except (getopt.GetoptError, ValueError):
            return fail(f"qsub: directive error: {line} ", 1)
    options = dict(found)
    name = options.get("-N") or ("STDIN" if not operands else Path(operands[0]).name)
    if not re.fullmatch(r"[A-Za-z0-9_.+=@-]{1,230}", name):
        return fail("qsub: illegal -N value", 2)
    if "-J" in options and options.get("-r") == "n":
        return fail("qsub: cannot submit non-rerunable Array Job", 1)
    resources = [part for flag, value in found if flag == "-l" for part in value.split(",")]
    facts = _facts(options, resources, [word for word in arguments if word != "-f"])
    number = spool.take_number()
    one = f"{number}.{SERVER}"
    return take(spool, [(one, [number])], name, script, arguments, facts, start, one)


def _qstat(spool: Spool, arguments: Sequence[str]) -> int:
    if spool.mode("silence") is not None:
        return fail(
            f"Connection refused\nqstat: cannot connect to server {SERVER} (errno=15010)", 255
        )
    told = site.tells_of_site(arguments)
    if told is not None:
        sys.stdout.write(told)
        return 0
    found, ids = getopt.getopt(list(arguments), "fxau:w")
    flags = {flag for flag, _ in found}
    history = "-x" in flags
    if history and spool.mode("forget") is not None:
        return fail(f"qstat: PBS is not configured to maintain job history {' '.join(ids)}", 0)
    known = {job.id: job for job in spool.jobs()}
    code = 0
    if not ids:
        ids = [one for one in known if history or not spool.course(one).is_over]
    headed = "-f" in flags
    for one in map(_whole, ids):
        if one not in known:
            code = fail(f"qstat: Unknown Job Id {one}", 153)
        elif spool.course(one).is_over and not history:
            code = fail(
                f"qstat: {one} Job has finished, use -x or -H to obtain historical job information",
                35,
            )
        else:
            job, course = known[one], spool.course(one)
            if not headed:
                print(*_HEADS, sep="\n")
                headed = True
            text = described if "-f" in flags else row
            sys.stdout.write(text(job, course, spool.mode("hold")))
    return code


def _qselect(spool: Spool, arguments: Sequence[str]) -> int:
    if spool.mode("silence") is not None:
        return fail(
            f"Connection refused\nqselect: cannot connect to server {SERVER} (errno=15010)", 255
        )
    for job in spool.jobs():
        if not spool.course(job.id).is_over:
            print(job.id)
    return 0


def _qdel(spool: Spool, arguments: Sequence[str]) -> int:
    if spool.mode("silence") is not None:
        return fail(f"Connection refused\nCouldn't connect to cluster: {SERVER}", 162)
    known = {job.id for job in spool.jobs()}
    alive = False
    for one in map(_whole, arguments):
        if one not in known:
            if alive:  # the server dies of it, and qdel says nothing
                spool.set_mode("silence", "")
                return 0
            return fail(f"qdel: Unknown Job Id {one}", 153)
        if spool.course(one).is_over:
            return fail(f"qdel: Job has finished {one}", 35)
        alive = True
        spool.cancel(one, f"{user()}@{SERVER}")
    return 0


COMMANDS: dict[str, Command] = {
    "qsub": _qsub,
    "qstat": _qstat,
    "qselect": _qselect,
    "qdel": _qdel,
    **site.PBS,
}


def _whole(one: str) -> str:
    return one if "." in one else f"{one}.{SERVER}"


def _read(operands: Sequence[str]) -> str:
    if not operands:
        return sys.stdin.read()
    return Path(operands[0]).read_text(encoding="utf-8")


def _directives(script: str) -> list[str]:
    """The ``#PBS`` lines before the first command."""
    found = []
    for line in script.splitlines():
        if line.startswith("#PBS"):
            found.append(line[len("#PBS") :].strip())
        elif line.strip() and not line.startswith("#"):
            break
    return found


def _facts(
    options: dict[str, str], resources: Sequence[str], arguments: Sequence[str]
) -> dict[str, Any]:
    """What a job asks for, and what qstat shows of it."""
    asked = dict(part.partition("=")[::2] for part in resources)
    select = asked.get("select")
    chunk = dict(part.partition("=")[::2] for part in (select or "1").split(":")[1:])
    count = int((select or "1").partition(":")[0])
    limit = asked.get("walltime", "01:00:00")
    hours, minutes, seconds = (int(part) for part in limit.split(":"))
    return {
        "queue": options.get("-q", "workq"),
        "join": options.get("-j", "n"),
        "keep": options.get("-k", "n"),
        "mail": options.get("-m", "a"),
        "rerunable": "False" if options.get("-r") == "n" else "True",
        "output": options.get("-o", ""),
        "held": "-h" in options,
        "place": asked.get("place") or ("free" if select else "pack"),
        "select": select or "1:ncpus=1",
        "count": count,
        "ncpus": int(chunk.get("ncpus", 1)),
        "mem": chunk.get("mem"),
        "mpiprocs": int(chunk.get("mpiprocs", 1)),
        "says_mpiprocs": "mpiprocs" in chunk,
        "limit": limit,
        "walltime": (hours * 60 + minutes) * 60 + seconds,
        "arguments": list(arguments),
        "qtime": time.time(),
    }
