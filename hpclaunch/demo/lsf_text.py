"""How ``bjobs -UF`` and ``bhist -l`` describe a make-believe job: the words of volclava 2.2."""

from __future__ import annotations

import time

from hpclaunch.demo.spool import Course, Job, user

__all__ = ["described", "history", "mail", "row"]

_HOST = "lsf-c1"
_FROM = "lsf-login"
_COMMAND = 512  # letters of a command that are shown
_INDENT = " " * 21
_WIDTH = 79

_PARAMETERS = """
 SCHEDULING PARAMETERS:
           r15s   r1m  r15m   ut      pg    io   ls    it    tmp    swp    mem
 loadSched   -     -     -     -       -     -    -     -     -      -      -  
 loadStop    -     -     -     -       -     -    -     -     -      -      -  

 RESOURCE REQUIREMENT DETAILS:
"""  # noqa: W291  (as it is printed)


def described(job: Job, course: Course, hold: str | None) -> str:
    """A job as ``bjobs -UF`` prints it."""
    asked = job.options
    lines = ["", f"{_head(job)}, Status <{_word(job, course)}>, Queue <{asked['queue']}>, "
                 f"Command <{_command(job)}>"]  # fmt: skip
    held = " with hold" if asked["held"] else ""
    submitted = f"Submitted from host <{_FROM}>{held}, CWD <{_cwd(job)}>{_requests(job, 'Task(s)')}"
    lines.append(_event(job.submitted, f"{submitted};"))
    if course.begun:
        slots = asked["slots"]
        hosts = f"<{slots}*{_HOST}>" if slots > 1 else f"<{_HOST}>"
        started = (
            f"Started {slots} Task(s) on Host(s) {hosts}, Allocated {slots} Slot(s) on Host(s) "
            f"{hosts}, Execution Home <{_home(job)}>, Execution CWD <{job.cwd}>;"
        )
        lines.append(_event(course.begun["time"], started))
    over = course.ended or (course.cancelled if course.is_over else None)
    if over:
        lines.append(_event(over["time"], _ending(course)))
    elif not course.begun:
        lines += [" PENDING REASONS:", f" {hold or 'New job is waiting for scheduling: 1 host'};"]
    if asked["limit"] is not None:
        lines += ["", " RUNLIMIT                ", f" {asked['limit']:.1f} min                "]
    requirement = f" {asked['requirement']}" if asked["requirement"] else ""
    wanted = f"select[type == local] order[r15s:pg]{requirement}"
    lines += [*_PARAMETERS.rstrip("\n").split("\n"), f" Combined: {wanted}"]
    lines += [f" Effective: {wanted if course.begun else '-'}", "", ""]
    return "\n".join(lines) + "\n"


def history(job: Job, course: Course) -> str:
    """A job as ``bhist -l`` prints it, which breaks lines at 80 letters."""
    lines = ["", f"{_head(job)}, Command <{_command(job)}>"]
    submitted = (
        f"Submitted from host <{_FROM}>, to Queue <{job.options['queue']}>, CWD <{_cwd(job)}>"
        f"{_requests(job, 'Processors Requested')};"
    )
    lines.append(_event(job.submitted, submitted))
    if job.options["limit"] is not None:
        lines += ["", " RUNLIMIT                ", f" {job.options['limit']:.1f} min             "]
    if course.begun:
        then, pid = course.begun["time"], course.begun["pid"]
        lines.append(_event(then, f"Dispatched to <{_HOST}>;"))
        lines.append(_event(then, f"Starting (Pid {pid});"))
        running = (
            f"Running with execution home <{_home(job)}>, Execution CWD <{job.cwd}>, "
            f"Execution Pid <{pid}>;"
        )
        lines.append(_broken(_event(then, running)))
    if course.cancelled:
        wish = f"Signal <KILL> requested by user or administrator <{user()}>;"
        lines.append(_broken(_event(course.cancelled["time"], wish)))
    over = course.ended or (course.cancelled if course.is_over else None)
    if over:
        lines.append(_broken(_event(over["time"], _ending(course).rstrip(".") + ";")))
    return "\n".join([*lines, "", *_summary(job, course), "", ""]) + "\n"


def mail(job: Job, course: Course, said: str) -> str:
    """What LSF sends, or appends to the output file, when a job is over."""
    assert course.begun is not None and course.ended is not None
    code = course.ended["code"] if course.ended["signal"] is None else 128 + course.ended["signal"]
    slots = job.options["slots"]
    return f"""\
Sender: LSF System <volclava@{_HOST}>
Subject: Job {job.id}: <{job.name}> {"Done" if code == 0 else "Exited"}

Job <{job.name}> was submitted from host <{_FROM}> by user <{user()}>.
Job was executed on host(s) <{f"{slots}*" if slots > 1 else ""}{_HOST}>, in queue \
<{job.options["queue"]}>, as user <{user()}>.
<{_home(job)}> was used as the home directory.
<{job.cwd}> was used as the working directory.
Started at {time.ctime(course.begun["time"])}
Results reported at {time.ctime(course.ended["time"])}

Your job looked like:

------------------------------------------------------------
# LSBATCH: User input
{job.script}
------------------------------------------------------------

{"Successfully completed." if code == 0 else f"Exited with exit code {code}."}

Resource usage summary:

    CPU time   :      0.02 sec.

The output (if any) follows:

{said}
"""


def row(job: Job, course: Course, hold: str | None) -> str:
    """A job as a line of the table that ``bjobs`` prints."""
    host = _HOST if course.begun else ""
    when = time.strftime("%b %d %H:%M", time.localtime(job.submitted))
    name = job.name or _command(job)
    return (
        f"{job.id:<7} {user():<7} {_word(job, course):<5} {job.options['queue']:<10} "
        f"{_FROM:<11} {host:<11} {name:<10} {when}\n"
    )


def _head(job: Job) -> str:
    named = f" Job Name <{job.name}>," if job.name else ""
    return f"Job <{job.id}>,{named} User <{user()}>, Project <{job.options['project']}>"


def _requests(job: Job, slots_are: str) -> str:
    asked = job.options
    words = [f", Output File <{asked['output']}>"] if asked["output"] else []
    if asked["slots"] > 1:
        words.append(f", {asked['slots']} {slots_are}")
    if asked["requirement"]:
        words.append(f", Requested Resources <{asked['requirement']}>")
    return "".join(words)


def _word(job: Job, course: Course) -> str:
    if course.ended:
        return "DONE" if course.ended["code"] == 0 else "EXIT"
    if course.is_over:
        return "EXIT"
    if course.begun:
        return "RUN"
    return "PSUSP" if job.options["held"] else "PEND"


def _ending(course: Course) -> str:
    ended = course.ended
    if ended is None:
        return "Exited"
    used = "The CPU time used is 0.0 seconds."
    if ended["code"] == 0:
        return f"Done successfully. {used}"
    if ended["why"] and ended["signal"] == 9:
        return f"Exited by signal 9. {used}"
    code = ended["code"] if ended["signal"] is None else 128 + ended["signal"]
    return f"Exited with exit code {code}. {used}"


def _summary(job: Job, course: Course) -> list[str]:
    now = (course.ended or {}).get("time") or time.time()
    begun = course.begun["time"] if course.begun else now
    pending, running = int(begun - job.submitted), int(now - begun)
    numbers = (pending, 0, running, 0, 0, 0, pending + running)
    return [
        f"Summary of time in seconds spent in various states by  {_moment(now)}",
        "  PEND     PSUSP    RUN      USUSP    SSUSP    UNKWN    TOTAL",
        "  " + "".join(f"{number:<9}" for number in numbers[:-1]) + f"{numbers[-1]:<12}",
    ]


def _command(job: Job) -> str:
    text = str(job.options["command"])
    return text if len(text) <= _COMMAND else text[: _COMMAND - 1] + "|"


def _cwd(job: Job) -> str:
    home = _home(job)
    return f"$HOME{job.cwd[len(home) :]}" if job.cwd.startswith(home) else job.cwd


def _home(job: Job) -> str:
    return job.environment.get("HOME", "/")


def _event(seconds: float, words: str) -> str:
    return f"{_moment(seconds)}: {words}"


def _broken(line: str) -> str:
    """A long line with the breaks that bhist makes."""
    if len(line) < _WIDTH:
        return line
    rest = line[_WIDTH:]  # a line that is just full is followed by an empty one
    pieces = [rest[at : at + _WIDTH - 21] for at in range(0, len(rest) or 1, _WIDTH - 21)]
    return "\n".join([line[:_WIDTH], *(_INDENT + piece for piece in pieces)])


def _moment(seconds: float) -> str:
    return time.strftime("%a %b %d %H:%M:%S", time.localtime(seconds))
