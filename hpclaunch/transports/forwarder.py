"""Carry local connections over an in-process SSH connection: one listener for one place."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import paramiko

from hpclaunch.errors import TransportError
from hpclaunch.transports.base import Endpoint
from hpclaunch.transports.pair import Pair, take_callers

__all__ = ["Forwarder"]

_BACKLOG = 512
"""Connections that may wait to be taken: a browser opens many at once."""
_OPEN = 30.0
"""Seconds for the login node to reach the place."""

OpenChannel = Callable[[str, int, float], paramiko.Channel]


class Forwarder:
    """Listens on `path` and leads each connection to `host`:`port` as seen from the site.

    It outlives the SSH connection: while that is gone, callers are turned away; afterwards the
    same endpoint works again.

    Parameters
    ----------
    path : Path or None
        The UNIX socket to make, 0600; None for a port on 127.0.0.1, where there are none.
    open_channel : callable
        Opens ``(host, port, timeout)`` over the present connection.
    """

    def __init__(self, path: Path | None, host: str, port: int, open_channel: OpenChannel) -> None:
        self._place = (host, port)
        self._open_channel = open_channel
        self._path = path
        self._pairs: set[Pair] = set()
        self._guard = threading.Lock()
        self._closed = False
        self._listener = _listen(path)
        self.endpoint = (
            Endpoint(path=str(path)) if path else Endpoint(port=self._listener.getsockname()[1])
        )
        threading.Thread(target=self._accept, name=f"forward {host}:{port}", daemon=True).start()

    def close(self) -> None:
        """Stop listening and end the connections; idempotent."""
        with self._guard:
            if self._closed:
                return
            self._closed = True
            pairs = list(self._pairs)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept
        self._listener.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        for pair in pairs:
            pair.close()

    def _accept(self) -> None:
        take_callers(self._listener, self._carry, lambda: self._closed)

    def _carry(self, caller: socket.socket) -> None:
        try:
            channel = self._open_channel(*self._place, _OPEN)
        except (TransportError, paramiko.SSHException, EOFError, OSError):
            caller.close()  # what ssh does: the caller sees the connection end
            return
        pair = Pair(caller, channel)
        with self._guard:
            closed = self._closed
            self._pairs.add(pair)
        try:
            if not closed:
                pair.run()
        finally:
            pair.close()
            with self._guard:
                self._pairs.discard(pair)


def _listen(path: Path | None) -> socket.socket:
    if path is None:
        return socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))  # in a 0700 directory, so nobody is faster than the next line
        path.chmod(0o600)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
