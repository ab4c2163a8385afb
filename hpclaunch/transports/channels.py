"""Talk to a command in an SSH channel: feed it and hear both streams, in time."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

import paramiko

from hpclaunch.transports.base import Frame, Heard

__all__ = ["converse"]

_CHUNK = 1 << 16


def converse(
    channel: paramiko.Channel, frame: Frame, payload: bytes, deadline: float
) -> tuple[bytes, bytes]:
    """Feed the started `frame` and return its two streams.

    Parameters
    ----------
    channel : paramiko.Channel
        A session whose command reads ``frame.stdin(payload)``.
    deadline : float
        On the clock of ``time.monotonic``.

    Raises
    ------
    TimeoutError
        If the frame was not whole in time; the channel is then closed.
    """
    out, err = Heard(frame), Heard(frame)
    threads = [
        threading.Thread(target=_hear, args=(channel.recv, out), daemon=True),
        threading.Thread(target=_hear, args=(channel.recv_stderr, err), daemon=True),
    ]
    feeder = threading.Thread(target=_feed, args=(channel, frame.stdin(payload)), daemon=True)
    for thread in (*threads, feeder):
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    if any(thread.is_alive() for thread in threads):
        channel.close()  # the three threads end with it
        raise TimeoutError
    return bytes(out.words), bytes(err.words)


def _hear(recv: Callable[[int], bytes], heard: Heard) -> None:
    while not heard.done:
        heard.take(recv(_CHUNK))


def _feed(channel: paramiko.Channel, data: bytes) -> None:
    # A command that does not read its stdin closes the channel under us: no harm.
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        channel.sendall(data)
        channel.shutdown_write()
