"""How a session's job reaches the scheduler: by its commands on this node, or by ssh to another.

Where compute nodes can do neither, the laptop does it: see `hpclaunch.clusters.laptop`.
"""
# ruff: noqa: UP017, UP041  (runs on the environment's Python, which may be 3.9 or 3.10)

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Protocol

from hpclaunch.errors import SchedulerError, SubmitError, TransportError
from hpclaunch.frame import Frame
from hpclaunch.schedulers.base import JobSpec, JobState, JobStatus, Scheduler
from hpclaunch.shell import Completed

__all__ = ["Commands", "Run", "Way", "by_ssh", "here"]

_PATIENCE = 60.0  # seconds for one command of the scheduler
_NOT_FOUND = 127  # exit code of env
_CONNECT = 15  # seconds for ssh to connect
_KEEP = 90  # seconds that a connection is kept without a command; jobs are asked about each minute
_ELSE = 'where compute nodes cannot submit the profile says so: dask.submit = "ssh" or "laptop"'

Run = Callable[[Sequence[str], str], Awaitable[Completed]]
"""Run an argv with a text on stdin.

Raises `SubmitError` where the command has certainly not run, and `SchedulerError` where it did not
come back.
"""


class Way(Protocol):
    """The scheduler as a session's job reaches it. All but `copies` raise `SchedulerError`.

    Attributes
    ----------
    waits : str or None
        For what nothing can be submitted or cancelled now, in words; None where it can.
    ends_with_session : bool
        Whether somebody else cancels the worker jobs at the session's end.
    """

    waits: str | None
    ends_with_session: bool

    async def copies(self) -> int:
        """How many copies of a job one submission may have."""

    async def submit(self, spec: JobSpec, script: str) -> str:
        """Submit a script; returns the id.

        Raises
        ------
        SubmitError
            If nothing was submitted.
        SchedulerError
            If the job may be in the queue all the same.
        """

    async def status(self, jobs: Sequence[str]) -> Mapping[str, JobStatus]:
        """What the scheduler says of `jobs`, in one query."""

    async def find(self, name: str) -> list[str]:
        """Ids of the user's live jobs that are called `name`."""

    async def cancel(self, jobs: Sequence[str]) -> None:
        """Cancel `jobs`; cancelling what is gone is no error."""

    def leave(self) -> None:
        """Ask for nothing any more."""


class Commands:
    """By the scheduler's commands.

    Parameters
    ----------
    scheduler : Scheduler
    run : Run
        Where they run.
    """

    waits: str | None = None
    ends_with_session = False

    def __init__(self, scheduler: Scheduler, run: Run) -> None:
        self._scheduler = scheduler
        self._run = run
        self._since = datetime.now(timezone.utc)

    async def copies(self) -> int:
        """As `Way.copies`; raises `SchedulerError` where the scheduler does not say."""
        command = self._scheduler.copies_command()
        return 1 if command is None else self._scheduler.parse_copies(await self._run(command, ""))

    async def submit(self, spec: JobSpec, script: str) -> str:
        """As `Way.submit`."""
        said = await self._run(self._scheduler.submit_command(spec), script)
        return self._scheduler.parse_submit(said)

    async def status(self, jobs: Sequence[str]) -> Mapping[str, JobStatus]:
        """As `Way.status`; of those that have left the queue the accounting is asked."""
        said = await self._run(self._scheduler.status_command(jobs), "")
        told = dict(self._scheduler.parse_status(said, jobs))
        lost = [one for one in jobs if told[one].state is JobState.LOST]
        command = self._scheduler.history_command(lost, self._since) if lost else None
        if command is not None:
            with contextlib.suppress(SchedulerError):  # then they stay lost
                past = self._scheduler.parse_history(await self._run(command, ""), lost)
                told.update({one: past[one] for one in lost if past[one].state.is_final})
        return told

    async def find(self, name: str) -> list[str]:
        """As `Way.find`."""
        return self._scheduler.parse_find(
            await self._run(self._scheduler.find_command(name), ""), name
        )

    async def cancel(self, jobs: Sequence[str]) -> None:
        """As `Way.cancel`."""
        for argv in self._scheduler.cancel_commands(jobs):
            self._scheduler.parse_cancel(await self._run(argv, ""))

    def leave(self) -> None:
        """Nothing is left to withdraw."""


def here(surroundings: Mapping[str, str]) -> Run:
    """Run commands on this node, in the environment `surroundings`."""

    async def run(argv: Sequence[str], text: str) -> Completed:
        code, out, err = await _process(argv, text.encode(), surroundings, argv)
        said = Completed.of(argv, code, out.decode(errors="replace"), err.decode(errors="replace"))
        return _found(said, "on this node", _ELSE)

    return run


def by_ssh(
    host: str, prologue: Sequence[str], surroundings: Mapping[str, str], control: str
) -> Run:
    """Run commands on the login node `host` by ssh, which may ask nobody anything.

    Host keys are verified, neither an agent nor a display is forwarded, and there is one connection
    as long as commands come: sites count them.

    Parameters
    ----------
    host : str
        As this node knows it.
    prologue : sequence of str
        Lines of sh that run there before each command.
    surroundings : mapping
        The environment of ssh.
    control : str
        Path of the connection's socket, in a private directory of this node.
    """
    options = [
        *("BatchMode=yes", "StrictHostKeyChecking=yes", f"ConnectTimeout={_CONNECT}"),
        *("ForwardAgent=no", "ForwardX11=no", "ClearAllForwardings=yes", "RequestTTY=no"),
        *("ControlMaster=auto", f"ControlPath={control}", f"ControlPersist={_KEEP}"),
        *("ServerAliveInterval=15", "ServerAliveCountMax=2"),
    ]
    ssh = ["ssh", *(word for option in options for word in ("-o", option)), "--", host]

    async def run(argv: Sequence[str], text: str) -> Completed:
        frame = Frame.around(argv, prologue)
        command = [*ssh, frame.command_line()]
        code, out, err = await _process(command, frame.stdin(text.encode()), surroundings, argv)
        try:
            said = frame.unwrap(out, err)
        except TransportError as error:
            if frame.began(out):
                raise SchedulerError(
                    f"the ssh connection to {host} broke during a command of the scheduler",
                    command=argv,
                    said=error.said,
                ) from error
            raise SubmitError(
                f"ssh from this node to {host} did not work: {error.said or f'exit code {code}'}",
                command=[*ssh, "true"],
                hint="it must let you in without a question: a key without passphrase or "
                "host-based login, and the host's key in known_hosts; else the profile may say "
                'dask.submit = "laptop"',
            ) from error
        return _found(said, f"on {host}", "login.prologue of the profile may bring them into PATH")

    return run


def _found(said: Completed, where: str, hint: str) -> Completed:
    """Raise `SubmitError` where the command was not found; the words are not the scheduler's."""
    if said.exit == _NOT_FOUND:
        raise SubmitError(
            f"the scheduler's commands are not found {where}: {said.said}",
            command=said.argv,
            hint=hint,
        )
    return said


async def _process(
    argv: Sequence[str], text: bytes, surroundings: Mapping[str, str], command: Sequence[str]
) -> tuple[int, bytes, bytes]:
    """Run a process of this node; `command` is what it is about."""
    # Not a pipe: an ssh that keeps its connection may hold it open (releases before 8.5).
    with tempfile.TemporaryFile() as errors:
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env=dict(surroundings),
                start_new_session=True,
            )
        except OSError as error:
            raise SubmitError(
                f"{argv[0]} cannot be run here: {error}", command=command, hint=_ELSE
            ) from error
        try:
            out, _ = await asyncio.wait_for(process.communicate(text), _PATIENCE)
        except asyncio.TimeoutError:
            with contextlib.suppress(ProcessLookupError):  # all of it: some are started by another
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            raise SchedulerError(
                f"the scheduler did not answer within {_PATIENCE:.0f} s", command=command
            ) from None
        errors.seek(0)
        return process.returncode or 0, out, errors.read()
