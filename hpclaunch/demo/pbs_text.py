"""How ``qstat -f`` describes a make-believe job: the attributes and the breaks of OpenPBS 23.06."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from hpclaunch.demo.spool import Course, Job, user

__all__ = ["SERVER", "described", "row", "wrapped"]

SERVER = "pbs-login"
_EXPECTED = time.mktime((2026, 11, 30, 10, 0, 0, 0, 0, -1))  # when a job that waits may start
_WIDTH = 79  # columns of a line, of which a tab is eight
_MIB = {"kb": 1, "mb": 2**10, "gb": 2**20}


def described(job: Job, course: Course, hold: str | None) -> str:
    """A job as ``qstat -f`` prints it.

    Parameters
    ----------
    job : Job
    course : Course
    hold : str or None
        Why it waits, where the scheduler holds it.
    """
    lines = [wrapped(f"    {name} = ", value) for name, value in _fields(job, course, hold)]
    return "\n".join([f"Job Id: {job.id}", *lines, "", ""])


def row(job: Job, course: Course, hold: str | None) -> str:
    """A job as a line of the table that ``qstat`` prints."""
    state = _state(job, course)
    used = "00:00:00" if course.begun else "0"
    name = job.name if len(job.name) <= 15 else job.name[:15] + "*"
    return f"{job.id:<17} {name:<16} {user():<16}  {used:>8} {state} {job.options['queue']:<16}\n"


def wrapped(head: str, value: str) -> str:
    """One attribute, with the breaks that qstat makes: at commas, else wherever the line is full.

    Examples
    --------
    >>> wrapped("    comment = ", "x" * 70)[70:]
    'xxxxxxxxx\\n\\txxxxx'
    """
    lines, line, column = [], head, len(head)
    listed = "," in value
    for piece in value.replace(",", ",\0").split("\0") if listed else [value]:
        width = _WIDTH - 1 if listed else _WIDTH
        if listed and column + len(piece.rstrip(",")) > _WIDTH and column > 8:
            lines.append(line)
            line, column = "\t", 8
        while column + len(piece.rstrip(",")) > _WIDTH:
            room = width - column
            lines.append(line + piece[:room])
            line, column, piece = "\t", 8, piece[room:]
        line, column = line + piece, column + len(piece)
    return "\n".join([*lines, line])


def _fields(job: Job, course: Course, hold: str | None) -> Iterator[tuple[str, str]]:
    asked, begun, ended = job.options, course.begun, course.ended
    output = str(asked["output"]) or f"{job.cwd}/{job.name}.o{job.order[0]}"
    last = ended or course.cancelled or begun or {"time": job.submitted}
    yield "Job_Name", job.name
    yield "Job_Owner", f"{user()}@{SERVER}"
    if begun:
        used = int((ended["time"] if ended else time.time()) - begun["time"])
        clock = time.strftime("%H:%M:%S", time.gmtime(used))
        for name, value in (("cpupercent", "0"), ("cput", "00:00:00"), ("mem", "0kb"),
                            ("ncpus", str(asked["ncpus"])), ("vmem", "0kb"),
                            ("walltime", clock)):  # fmt: skip
            yield f"resources_used.{name}", value
    yield "job_state", _state(job, course)
    yield "queue", str(asked["queue"])
    yield "server", SERVER
    yield "Checkpoint", "u"
    yield "ctime", _moment(job.submitted)
    yield "Error_Path", f"{SERVER}:{job.cwd}/{job.name}.e{job.order[0]}"
    if begun:
        many = f"*{asked['ncpus']}" if asked["ncpus"] > 1 else ""
        yield "exec_host", "+".join(f"pbs-c{n}/0{many}" for n in range(1, asked["count"] + 1))
        yield "exec_vnode", _vnode(job)
    yield "Hold_Types", "u" if asked["held"] else "n"
    yield "Join_Path", str(asked["join"])
    yield "Keep_Files", str(asked["keep"])
    yield "Mail_Points", str(asked["mail"])
    yield "mtime", _moment(last["time"])
    yield "Output_Path", f"{SERVER}:{output}"
    yield "Priority", "0"
    yield "qtime", _moment(job.submitted)
    yield "Rerunable", str(asked["rerunable"])
    if asked["mem"]:
        yield "Resource_List.mem", str(asked["mem"])
    if asked["says_mpiprocs"]:
        yield "Resource_List.mpiprocs", str(asked["mpiprocs"] * asked["count"])
    yield "Resource_List.ncpus", str(asked["ncpus"] * asked["count"])
    yield "Resource_List.nodect", str(asked["count"])
    yield "Resource_List.place", str(asked["place"])
    yield "Resource_List.select", str(asked["select"])
    yield "Resource_List.walltime", str(asked["limit"])
    if begun:
        yield "stime", _moment(begun["time"])
        if ended:
            yield "obittime", _moment(ended["time"])
        yield "session_id", str(begun["pid"])
        yield "jobdir", job.environment.get("HOME", "/")
    yield "substate", _substate(job, course)
    yield "Variable_List", _variables(job)
    comment = _comment(job, course, hold)
    if comment:
        yield "comment", comment
    if not asked["held"]:
        yield "etime", _moment(job.submitted)
    if begun:
        yield "run_count", "1"
    if ended:
        yield "Stageout_status", "1"
        yield "Exit_status", str(_exit_status(course))
    if asked["arguments"]:
        yield "Submit_arguments", " ".join(asked["arguments"])
    if comment.startswith("Not Running: Insufficient"):
        yield "estimated.exec_vnode", _vnode(job)
        yield "estimated.start_time", _moment(_EXPECTED)
    if course.is_over:
        yield "history_timestamp", str(int(last["time"]))
    yield "project", "_pbs_project_default"
    yield "Submit_Host", SERVER


def _state(job: Job, course: Course) -> str:
    if course.is_over:
        return "F"
    if course.begun:
        return "R"
    return "H" if job.options["held"] else "Q"


def _substate(job: Job, course: Course) -> str:
    if course.cancelled and course.is_over:
        return "91"
    if course.ended:
        return "92" if course.ended["code"] == 0 and not course.ended["why"] else "93"
    if course.begun:
        return "42"
    return "20" if job.options["held"] else "10"


def _exit_status(course: Course) -> int:
    ended = course.ended
    assert ended is not None
    if ended["why"] == "walltime":
        return -29
    if ended["why"] == "cancelled" and ended["signal"]:
        return 256 + int(ended["signal"])
    return int(ended["code"]) if ended["signal"] is None else 128 + int(ended["signal"])


def _comment(job: Job, course: Course, hold: str | None) -> str:
    if not course.begun:
        return "" if course.is_over or job.options["held"] else hold or ""
    ran = f"Job run at {time.strftime('%a %b %d at %H:%M', time.localtime(course.begun['time']))}"
    ran += f" on {_vnode(job)}"
    if course.cancelled:
        return f"{ran} and terminated by {course.cancelled['who']}"
    if not course.ended:
        return ran
    if course.ended["why"] == "walltime":
        return f"{ran} and exceeded resource walltime"
    return f"{ran} and {'finished' if course.ended['code'] == 0 else 'failed'}"


def _vnode(job: Job) -> str:
    memory = job.options["mem"]
    number, unit = (int(memory[:-2]), memory[-2:]) if memory else (0, "kb")
    mem = f":mem={number * _MIB[unit]}kb" if memory else ""
    rest = f":ncpus={job.options['ncpus']}{mem})"
    return "+".join(f"(pbs-c{n}{rest}" for n in range(1, int(job.options["count"]) + 1))


def _variables(job: Job) -> str:
    told = {
        "HOME": job.environment.get("HOME", "/"),
        "LANG": job.environment.get("LANG", "C.UTF-8"),
        "LOGNAME": user(),
        "PATH": job.environment.get("PATH", os.defpath),
        "SHELL": job.environment.get("SHELL", "/bin/bash"),
        "WORKDIR": job.cwd,
        "SYSTEM": "Linux",
        "QUEUE": str(job.options["queue"]),
        "HOST": SERVER,
    }
    return ",".join(f"PBS_O_{name}={value}" for name, value in told.items())


def _moment(seconds: float) -> str:
    return time.strftime("%a %b %d %H:%M:%S %Y", time.localtime(seconds))
