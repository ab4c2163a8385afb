"""Jobs on a machine without a scheduler: ``python -m hpclaunch.node.localjob SPOOL COMMAND``.

::

    SPOOL submit           start the script on stdin as a job, print ``localjob|ID``
    SPOOL status ID...     one line for each job that is known
    SPOOL find NAME        the ids of the live jobs of that name, one a line: ``localjob|ID``
    SPOOL cancel ID...     ask the jobs to end, and return; what has ended is no error

A job runs in a session of its own, with the environment and directory of the submitting command,
under a supervisor process that enforces the walltime and leaves no process of the job behind.
Cores and memory are not limited.

Exit codes: 0 done, 1 failed (stderr says why), 2 wrong usage.

Standard library only, Python 3.9 or newer.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

from hpclaunch.node.localjob_members import orphans
from hpclaunch.node.localjob_spool import Job, Spool
from hpclaunch.node.localjob_supervisor import supervise, sweep
from hpclaunch.node.localjob_text import Row, read_request, render_row

__all__ = ["main"]

_LIVE = ("STARTING", "RUNNING", "ENDING")
_STARTED = "started"
_PATIENCE = 10.0  # seconds for a supervisor to record itself


def submit(spool: Spool, script: bytes) -> str:
    """Start `script` as a job and return its id.

    Raises
    ------
    ValueError
        If the script's directives cannot be read.
    RuntimeError
        If the job could not be started; nothing is left of it.
    """
    request = read_request(script)
    spool.prune()
    job, lock = spool.add(request, script)
    try:
        answer = _spawn(spool, "supervise", job, lock)
    finally:
        os.close(lock)
    if answer != _STARTED:
        job.forget()
        raise RuntimeError(answer or "the job's supervisor ended without a word")
    return job.id


def status(spool: Spool, job_id: str) -> Row | None:
    """What is known of a job, or None."""
    job = spool.job(job_id)
    row = job.row()
    if row is not None and row.word == "FAILED" and job.read("end.json") is None and _left(job):
        # Its supervisor was killed, but the job goes on.
        return replace(row, word="RUNNING", reason=row.reason + "; its walltime is not watched")
    return row


def find(spool: Spool, name: str) -> list[str]:
    """The ids of the live jobs named `name`."""
    found = []
    for job in spool.jobs():
        record = job.read("job.json")
        row = status(spool, job.id) if record and record["name"] == name else None
        if row is not None and row.word in _LIVE:
            found.append(job.id)
    return found


def cancel(spool: Spool, job_id: str) -> None:
    """Ask a job to end; its supervisor does the rest.

    Raises
    ------
    RuntimeError
        If the job runs on another machine, or its supervisor cannot be found.
    """
    job = spool.job(job_id)
    row = job.row()
    if row is None or job.read("end.json") is not None:
        return
    if row.word == "ELSEWHERE":
        raise RuntimeError(f"job {job_id} can only be cancelled on {row.host}")
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        start = job.read("start.json")
        lock = job.lock()
        if lock is not None:  # nobody supervises it
            try:
                if job.read("end.json") is None and _left(job):
                    _spawn(spool, "sweep", job, lock)
            finally:
                os.close(lock)
            return
        if start is not None:
            # While the lock is held this id is the supervisor's and no other process's.
            os.kill(int(start["supervisor"]), signal.SIGTERM)
            return
        time.sleep(0.02)
    raise RuntimeError(f"the supervisor of job {job_id} does not start")


def _left(job: Job) -> list[int]:
    start = job.read("start.json")
    return orphans(job.path, int(start["session"])) if start else []


def _spawn(spool: Spool, command: str, job: Job, lock: int) -> str:
    """Start this program anew in a session of its own, holding `lock`; what it said first."""
    safe = ["-P"] if getattr(sys.flags, "safe_path", False) else []
    with open(job.file("supervisor.log"), "ab") as log:
        os.fchmod(log.fileno(), 0o600)
        process = subprocess.Popen(
            [sys.executable, *safe, "-m", __spec__.name, spool.path, command, job.id],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            pass_fds=(lock,),
        )
    process.returncode = 0  # it outlives us
    if process.stdout is None:
        raise RuntimeError("no pipe to the supervisor")
    with process.stdout as pipe:
        return pipe.read().decode("utf-8", "replace").strip()


def _be_supervisor(job: Job) -> None:
    """The supervisor's whole life. What it prints until it closes stdout is its first word."""
    os.chdir("/")  # keep no directory of the user's busy
    try:
        supervise(job, started=lambda: _say_last(_STARTED))
    except OSError as error:
        _say_last("{}: {}".format(error.filename or "", error.strerror or error).lstrip(": "))
        sys.exit(1)


def _say_last(word: str) -> None:
    print(word, flush=True)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _run(spool: Spool, command: str, arguments: list[str]) -> None:
    if command == "submit" and not arguments:
        print("localjob|" + submit(spool, sys.stdin.buffer.read()))
    elif command == "status" and arguments:
        for row in filter(None, [status(spool, job_id) for job_id in arguments]):
            print(render_row(row))
    elif command == "find" and len(arguments) == 1:
        for job_id in find(spool, arguments[0]):
            print("localjob|" + job_id)
    elif command == "cancel" and arguments:
        for job_id in arguments:
            cancel(spool, job_id)
    elif command == "supervise" and len(arguments) == 1:
        _be_supervisor(spool.job(arguments[0]))
    elif command == "sweep" and len(arguments) == 1:
        _say_last("")
        sweep(spool.job(arguments[0]))
    else:
        print(__doc__, file=sys.stderr)
        sys.exit(2)


def main(arguments: list[str]) -> None:
    """Run one command; see the module's text."""
    if len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    try:
        _run(Spool(arguments[0]), arguments[1], arguments[2:])
    except (OSError, RuntimeError, ValueError) as error:
        print(f"localjob: error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
