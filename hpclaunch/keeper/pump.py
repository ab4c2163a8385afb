"""Carry bytes between a plain socket and a TLS one, both ways, until either side ends.

One thread for each connection and non-blocking sockets: a TLS object must not be used by two
threads at once, and an event loop in Python copies every byte several times more.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import time

__all__ = ["carry"]

_CHUNK = 1 << 18
_ENOUGH = 1 << 20  # bytes that wait for a slow reader until the other side is read no further
_LAST_ANSWER = 5.0  # seconds for an answer under way when the browser has said all it will
_AGAIN = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class _Side:
    """One of the two sockets, with what waits to be written to it."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.waiting = bytearray()
        self.ended = False
        self._interest = 0

    def attend(self, selector: selectors.BaseSelector, other: _Side) -> None:
        """Have `selector` wait for what this side can do at present."""
        reads = not self.ended and len(other.waiting) < _ENOUGH
        interest = selectors.EVENT_READ * reads | selectors.EVENT_WRITE * bool(self.waiting)
        if interest == self._interest:
            return
        if not interest:
            selector.unregister(self.sock)
        elif not self._interest:
            selector.register(self.sock, interest)
        else:
            selector.modify(self.sock, interest)
        self._interest = interest

    def read_into(self, other: _Side, buffer: memoryview) -> None:
        """Read what is there, all of it (TLS may hold more than select sees), into `other`.

        TLS gives 16 KiB at a time: they are handed on together, or the other end's reader would
        be woken for each.
        """
        full = True
        while full and not self.ended and len(other.waiting) < _ENOUGH:
            filled = self._fill(buffer)
            if filled:
                other.write(buffer[:filled])
            full = filled == len(buffer)

    def _fill(self, buffer: memoryview) -> int:
        """Read until `buffer` is full or nothing more is there; returns how much that was."""
        filled = 0
        while filled < len(buffer):
            try:
                count = self.sock.recv_into(buffer[filled:])
            except _AGAIN:
                break
            if count == 0:
                self.ended = True
                break
            filled += count
        return filled

    def write(self, data: memoryview) -> None:
        """Write `data` as far as it goes, and keep the rest."""
        if self.waiting:
            self.waiting += data
            return
        try:
            sent = self.sock.send(data)
        except _AGAIN:
            sent = 0
        if sent < len(data):
            self.waiting += data[sent:]

    def flush(self) -> None:
        """Write what waits, as far as it goes."""
        while self.waiting:
            try:
                sent = self.sock.send(self.waiting[:_CHUNK])
            except _AGAIN:
                return
            del self.waiting[:sent]


def carry(plain: socket.socket, secure: ssl.SSLSocket) -> None:
    """Carry bytes both ways until either side ends, then close both.

    Parameters
    ----------
    plain : socket.socket
        The browser's side. When it ends, an answer under way gets 5 s: TLS knows no half-close.
    secure : ssl.SSLSocket
        The server's side, after its handshake. When it ends nothing more can come.
    """
    browser, server = _Side(plain), _Side(secure)
    buffer = memoryview(bytearray(_CHUNK))
    deadline: float | None = None
    with plain, secure, selectors.DefaultSelector() as selector:
        try:
            while not (server.ended and not browser.waiting):
                browser.attend(selector, server)
                server.attend(selector, browser)
                selector.select(None if deadline is None else deadline - time.monotonic())
                browser.flush()
                server.flush()
                browser.read_into(server, buffer)
                server.read_into(browser, buffer)
                if browser.ended and deadline is None:
                    deadline = time.monotonic() + _LAST_ANSWER
                if deadline is not None and time.monotonic() > deadline:
                    return
        except (OSError, ValueError):  # reset by a peer, or shut by `TlsEnds.unlisten`
            return
