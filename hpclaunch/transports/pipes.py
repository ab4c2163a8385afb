"""Talk to a local process: feed it, hear both streams, stop at the frame's end or in time."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from hpclaunch.transports.base import Frame, Heard
from hpclaunch.transports.limits import timed_out

__all__ = ["Said", "exchange"]

_CHUNK = 1 << 16
_GRACE = 0.5
"""Seconds a process may take to exit by itself once its frame is whole."""


@dataclass(frozen=True)
class Said:
    """What a process printed and how it ended; `exit` is -N where signal N ended it."""

    exit: int
    stdout: bytes
    stderr: bytes


def exchange(argv: Sequence[str], frame: Frame, payload: bytes, timeout: float) -> Said:
    """Run local `argv`, which runs `frame`, and return what it said.

    Parameters
    ----------
    argv : sequence of str
        A process that hands its stdin to ``frame.command_line()``.
    payload : bytes
        The framed command's own stdin. What it does not read is dropped.
    timeout : float
        Seconds.

    Raises
    ------
    CommandTimeout
        If the frame was not whole in time; the local process and its children are killed.
    """
    process = subprocess.Popen(
        list(argv),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,  # Ctrl-C is for us to handle, not for the command
    )
    with process:
        try:
            out, err = _listen(process, frame, payload, time.monotonic() + timeout)
        except BaseException as error:
            _kill(process)
            if isinstance(error, TimeoutError):
                raise timed_out(frame, timeout) from None
            raise
        return Said(_reap(process), bytes(out.words), bytes(err.words))


def _listen(
    process: subprocess.Popen[bytes], frame: Frame, payload: bytes, deadline: float
) -> tuple[Heard, Heard]:
    assert process.stdin and process.stdout and process.stderr
    out, err = Heard(frame), Heard(frame)
    unsent = memoryview(frame.stdin(payload))
    with selectors.DefaultSelector() as selector:
        for pipe, stream in ((process.stdout, out), (process.stderr, err)):
            selector.register(pipe, selectors.EVENT_READ, stream)
        os.set_blocking(process.stdin.fileno(), False)
        selector.register(process.stdin, selectors.EVENT_WRITE, None)
        while not (out.done and err.done):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            for key, _ in selector.select(left):
                if key.data is None:
                    unsent = unsent[_write(key.fd, unsent) :]
                    if not unsent:
                        selector.unregister(key.fileobj)
                        process.stdin.close()
                    continue
                chunk = os.read(key.fd, _CHUNK)
                key.data.take(chunk)
                if not chunk:
                    selector.unregister(key.fileobj)
    return out, err


def _write(fd: int, data: memoryview) -> int:
    """Write what fits; a reader that has gone takes everything."""
    try:
        return os.write(fd, data[:_CHUNK])
    except BlockingIOError:
        return 0
    except BrokenPipeError:
        return len(data)


def _reap(process: subprocess.Popen[bytes]) -> int:
    if process.stdin and not process.stdin.closed:
        process.stdin.close()
    try:
        return process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.terminate()
        try:
            return process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the process with the children that stayed in its session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
