"""One command of a make-believe login node: a process, and the SSH channel it talks through."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

import paramiko

__all__ = ["Command", "Terminal"]

_CHUNK = 1 << 16
_GONE = (OSError, EOFError, paramiko.SSHException)
# A new session has no terminal until it takes one; that must happen in the child.
_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execvp(sys.argv[1], sys.argv[1:])"
)


@dataclass(frozen=True)
class Terminal:
    """What a client says of its terminal.

    Attributes
    ----------
    kind : str
        Its name, for ``TERM``.
    columns, rows : int
    """

    kind: str
    columns: int
    rows: int


class Command:
    """A process in a session of its own, as sshd starts one.

    Parameters
    ----------
    argv : sequence of str
    environment : mapping
    directory : str
        Where it starts.
    terminal : Terminal, optional
        Give it one of its own.

    Raises
    ------
    OSError
        If it cannot be started.
    """

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        directory: str,
        terminal: Terminal | None = None,
    ) -> None:
        self._guard = threading.Lock()
        self._master: int | None = None
        streams: tuple[int, int, int] = (subprocess.PIPE,) * 3
        if terminal is not None:
            self._master, slave = os.openpty()
            streams = (slave,) * 3
            argv = [sys.executable, "-IS", "-c", _TAKE_TERMINAL, *argv]
            environment = {**environment, "TERM": terminal.kind}
        try:
            self.resize(terminal)
            self._process = subprocess.Popen(
                list(argv),
                stdin=streams[0],
                stdout=streams[1],
                stderr=streams[2],
                env=dict(environment),
                cwd=directory,
                bufsize=0,
                start_new_session=True,
            )
        except OSError:
            if self._master is not None:
                os.close(self._master)
            raise
        finally:
            if terminal is not None:
                os.close(slave)

    def resize(self, terminal: Terminal | None) -> None:
        """Tell the process how large its terminal is."""
        with self._guard:
            if self._master is not None and terminal is not None:
                import termios

                termios.tcsetwinsize(self._master, (terminal.rows, terminal.columns))

    def converse(self, channel: paramiko.Channel) -> None:
        """Carry all streams until the process has ended and all it said is sent."""
        if self._master is None:
            self._by_pipes(channel)
        else:
            self._by_terminal(channel, self._master)
        code = self._process.wait()
        with contextlib.suppress(*_GONE):
            channel.send_exit_status(code if code >= 0 else 128 - code)
        channel.close()  # whoever still feeds it ends

    def kill(self) -> None:
        """End it, with what it has started and not sent away."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _by_pipes(self, channel: paramiko.Channel) -> None:
        stdin, stdout, stderr = (self._process.stdin, self._process.stdout, self._process.stderr)
        assert stdin is not None and stdout is not None and stderr is not None
        _begin(_feed, channel, stdin)
        complaints = _begin(_send, stderr, channel.sendall_stderr)
        _send(stdout, channel.sendall)
        complaints.join()

    def _by_terminal(self, channel: paramiko.Channel, master: int) -> None:
        _begin(_feed, channel, os.fdopen(os.dup(master), "wb", 0))
        _send(os.fdopen(os.dup(master), "rb", 0), channel.sendall)
        with self._guard:
            os.close(master)
            self._master = None


def _begin(function: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


def _feed(channel: paramiko.Channel, stdin: IO[bytes]) -> None:
    """Let the process read what the client sends; who does not read it misses it."""
    with stdin, contextlib.suppress(*_GONE):
        while data := channel.recv(_CHUNK):
            with contextlib.suppress(BrokenPipeError):
                stdin.write(data)


def _send(stream: IO[bytes], send: Callable[[bytes], object]) -> None:
    """Send what the process says, until nobody says or hears anything more."""
    with stream, contextlib.suppress(*_GONE):  # EIO is the end of a terminal
        while data := stream.read(_CHUNK):
            send(data)
