"""Take connections, and carry their bytes over a channel of an in-process SSH connection."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

import paramiko

__all__ = ["Pair", "take_callers"]

_CHUNK = 1 << 17


class Pair:
    """A connection and the channel that carries it; each direction ends by itself (half-close)."""

    def __init__(self, caller: socket.socket, channel: paramiko.Channel) -> None:
        self._caller, self._channel = caller, channel
        self._sent = threading.Event()

    def run(self) -> None:
        """Carry both ways until both have ended or the channel is gone."""
        threading.Thread(target=self._outward, daemon=True).start()
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            while data := self._channel.recv(_CHUNK):
                self._caller.sendall(data)
            self._caller.shutdown(socket.SHUT_WR)
        while not (self._sent.wait(0.2) or self._channel.closed):
            pass

    def close(self) -> None:
        """End both sides; a thread that waits on one of them wakes up."""
        with contextlib.suppress(OSError):
            self._caller.shutdown(socket.SHUT_RDWR)
        self._caller.close()
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.close()

    def _outward(self) -> None:
        try:
            while data := self._caller.recv(_CHUNK):
                self._channel.sendall(data)
            self._channel.shutdown_write()
        except (OSError, EOFError, paramiko.SSHException):
            self._channel.close()
        finally:
            self._sent.set()


def take_callers(
    listener: socket.socket, serve: Callable[[socket.socket], None], closed: Callable[[], bool]
) -> None:
    """Serve each connection in a thread of its own, until the listener is closed on purpose."""
    while True:
        try:
            caller, _ = listener.accept()
        except OSError:
            if closed():
                return
            continue  # the caller has gone again, or no descriptor is left for now
        threading.Thread(target=serve, args=(caller,), daemon=True).start()
