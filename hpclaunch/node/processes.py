"""Child processes of the agent: start them, notice what happens, leave none behind.

Standard library only, Python 3.9 or newer: this runs on the compute node.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import IO, Optional, Union

__all__ = [
    "Bell",
    "adopt_orphans",
    "descendants",
    "end_all",
    "end_with_parent",
    "kill_descendants",
    "reap",
    "start",
]

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36


class Bell:
    """Wakes the agent when a child ends, a signal arrives or a thread calls.

    Handlers and threads only write a byte; the agent does its work in one place, after `wait`.

    Attributes
    ----------
    ending : signal.Signals or None
        The signal that asked the agent to end, if one did.
    """

    _ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def __init__(self) -> None:
        self.ending: Optional[signal.Signals] = None
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, self._note)
        for number in self._ENDS:
            signal.signal(number, self._note)

    def _note(self, number: int, _frame: Optional[FrameType]) -> None:
        if number in self._ENDS:
            self.ending = signal.Signals(number)

    def ring(self) -> None:
        """Wake the agent; may be called from any thread."""
        with contextlib.suppress(BlockingIOError):  # it is full of calls already
            self._write.send(b"\0")

    def wait(self, seconds: Optional[float]) -> None:
        """Return when something happened, or after `seconds`."""
        ready, _, _ = select.select([self._read], [], [], seconds)
        if ready:
            self._read.recv(4096)

    def wait_for_end(self, seconds: float) -> bool:
        """Whether a signal asks the agent to end within `seconds`."""
        deadline = time.monotonic() + seconds
        while self.ending is None and time.monotonic() < deadline:
            self.wait(max(0.0, deadline - time.monotonic()))
        return self.ending is not None


def start(
    argv: Sequence[str],
    environment: Mapping[str, str],
    directory: str,
    output: Union[IO[bytes], int, None] = None,
    umask: int = -1,
) -> subprocess.Popen[bytes]:
    """Start a child in a process group of its own, so that a Ctrl-C reaches the agent alone.

    Parameters
    ----------
    argv : sequence of str
    environment : mapping
    directory : str
        Where it starts.
    output : file, optional
        Where both its streams go; by default the agent's own.
    umask : int, optional
        The user's own, with which kernels and workers make files; by default the agent's.
    """
    return subprocess.Popen(
        list(argv),
        env=dict(environment),
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=None if output is None else subprocess.STDOUT,
        start_new_session=True,
        umask=umask,
    )


def end_all(children: Sequence[subprocess.Popen[bytes]], patience: float) -> None:
    """Ask `children` to end, all at once, and kill what is left after `patience` seconds."""
    for child in children:
        if child.poll() is None:
            child.terminate()
    deadline = time.monotonic() + patience
    for child in children:
        try:
            child.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies (Linux; elsewhere nothing).

    Kernels and workers start sessions of their own. When Jupyter is killed they would become
    children of init and nobody here could find them.
    """
    prctl = getattr(ctypes.CDLL(None, use_errno=True), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_with_parent() -> None:
    """Ask the kernel to send this process SIGTERM when its parent dies (Linux; elsewhere nothing).

    Called by the agent's children: without it a killed agent would leave them behind.
    """
    prctl = getattr(ctypes.CDLL(None, use_errno=True), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def descendants(root: int) -> list[int]:
    """Process ids of the living descendants of `root`, children before grandchildren."""
    parents = _parents()
    found: list[int] = []
    front = {root}
    while front:
        front = {pid for pid, parent in parents.items() if parent in front}
        found += sorted(front)
    return found


def _parents() -> dict[int, int]:
    """The parent of every process that is not a zombie, from /proc, or from ps without it."""
    parents: dict[int, int] = {}
    if os.path.isdir("/proc/self"):
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/{}/stat".format(entry), encoding="latin-1") as file:
                    # pid (name) state ppid …; a name may hold blanks and parentheses
                    state, parent = file.read().rpartition(")")[2].split()[:2]
            except OSError:
                continue  # it ended while we looked
            if state != "Z":
                parents[int(entry)] = int(parent)
        return parents
    listing = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,state="], stdout=subprocess.PIPE, check=True
    )
    for line in listing.stdout.decode("ascii", "replace").splitlines():
        pid, parent, state = line.split()[:3]
        if not state.startswith("Z"):
            parents[int(pid)] = int(parent)
    return parents


def reap(children: Sequence[subprocess.Popen[bytes]]) -> None:
    """Take note of every ended child, also of those that `adopt_orphans` brought.

    Parameters
    ----------
    children : sequence of Popen
        The agent's own: their exit codes are kept in them.
    """
    own = {child.pid: child for child in children}
    flags = os.WEXITED | os.WNOHANG | os.WNOWAIT if hasattr(os, "waitid") else 0
    while flags:  # systems without waitid have no orphans to adopt either
        try:
            ended = os.waitid(os.P_ALL, 0, flags)
        except ChildProcessError:
            return
        if ended is None:
            return
        if ended.si_pid in own:
            own[ended.si_pid].poll()
        else:
            os.waitpid(ended.si_pid, 0)


def kill_descendants(patience: float = 2.0) -> None:
    """Kill every descendant of this process that is still there: TERM, then KILL."""
    me = os.getpid()
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + patience
        left = descendants(me)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        while left and time.monotonic() < deadline:
            time.sleep(0.02)
            left = descendants(me)
        reap([])
        if not left:
            return
