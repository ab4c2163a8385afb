"""The laptop's end of the tunnels: plain http on 127.0.0.1, TLS towards the node.

Each session has one listener. What comes in is carried byte by byte over TLS, verified against the
session's own authority and the name in Jupyter's certificate; nothing is parsed or changed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import ssl
import threading
from typing import Any

from hpclaunch.keeper.pump import carry
from hpclaunch.node.layout import JUPYTER_TLS_NAME
from hpclaunch.tls import verify_context
from hpclaunch.transports.base import Endpoint

__all__ = ["TlsEnds", "UpstreamError"]

_CONNECT_TIMEOUT = 15.0  # seconds for the way through the tunnel and the handshake
_log = logging.getLogger("hpclaunch.keeper.tlsend")


class UpstreamError(Exception):
    """The server did not answer through the tunnel, or was not the session's own."""


class TlsEnds:
    """All listeners of a keeper."""

    def __init__(self) -> None:
        self._listeners: dict[str, _Listener] = {}

    def answer(self, endpoint: Endpoint, authority: bytes, token: str) -> dict[str, Any]:
        """Ask the server behind `endpoint` for ``/api/status`` and return what it says.

        Raises
        ------
        UpstreamError
            If nothing answers there, or not the session's own server.
        """
        request = (
            f"GET /api/status HTTP/1.0\r\nHost: 127.0.0.1\r\nAuthorization: token {token}\r\n\r\n"
        )
        try:
            with _dial(endpoint, verify_context(authority)) as server:
                server.sendall(request.encode())
                said = b"".join(iter(lambda: server.recv(1 << 16), b""))
        except OSError as error:
            raise UpstreamError(str(error) or type(error).__name__) from error
        head, _, body = said.partition(b"\r\n\r\n")
        if head.split(b" ", 2)[1:2] != [b"200"]:
            raise UpstreamError(f"the server said {head[:80].decode(errors='replace')!r}")
        found: dict[str, Any] = json.loads(body)
        return found

    def listen(self, name: str, endpoint: Endpoint, authority: bytes, port: int | None) -> int:
        """Open the listener of a session and return its port.

        The port of before is taken again where it is free, so that a browser's page lives on.
        """
        self.unlisten(name)
        listener = _Listener(endpoint, verify_context(authority), port)
        self._listeners[name] = listener
        return listener.port

    def unlisten(self, name: str) -> None:
        """Close the listener of a session and every connection through it."""
        listener = self._listeners.pop(name, None)
        if listener is not None:
            listener.close()

    def close(self) -> None:
        """Close everything."""
        for name in list(self._listeners):
            self.unlisten(name)


class _Listener:
    """The listener of one session, with a thread for each connection through it."""

    def __init__(self, endpoint: Endpoint, context: ssl.SSLContext, port: int | None) -> None:
        self._endpoint = endpoint
        self._context = context
        self._closed = threading.Event()
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        try:
            self._socket = socket.create_server(("127.0.0.1", port or 0), backlog=256)
        except OSError:
            self._socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True, name=f"port-{self.port}").start()

    def close(self) -> None:
        """Take no more connections and end those there are."""
        self._closed.set()
        with contextlib.suppress(OSError):
            # Wakes the thread that waits in accept; closing alone would not.
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with self._guard:
            for browser in self._open:
                with contextlib.suppress(OSError):
                    browser.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                browser = self._socket.accept()[0]
            except OSError as error:
                if not self._closed.wait(0.1):  # too many open files, say: later ones may succeed
                    _log.warning("port %s: %s", self.port, error)
                continue
            with self._guard:
                self._open.add(browser)
            threading.Thread(target=self._serve, args=(browser,), daemon=True).start()

    def _serve(self, browser: socket.socket) -> None:
        try:
            browser.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                server = _dial(self._endpoint, self._context)
            except OSError as error:
                _log.info("no way to the node: %s", error)
                _refuse(browser)
                return
            carry(browser, server)
        finally:
            with self._guard:
                self._open.discard(browser)
            browser.close()


def _dial(endpoint: Endpoint, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Connect to `endpoint` and verify who answers.

    Raises
    ------
    OSError
        If nobody answers in time, or not the session's own server.
    """
    family = socket.AF_INET if endpoint.path is None else socket.AF_UNIX
    way = socket.socket(family)
    way.settimeout(_CONNECT_TIMEOUT)
    try:
        way.connect(endpoint.path or (endpoint.host, endpoint.port))
        return context.wrap_socket(way, server_hostname=JUPYTER_TLS_NAME)
    except BaseException:
        way.close()
        raise


def _refuse(browser: socket.socket) -> None:
    """Tell the browser why nothing comes, and hear it out: a reset would eat the words."""
    with contextlib.suppress(OSError):
        browser.settimeout(1.0)
        browser.sendall(_BAD_GATEWAY)
        browser.shutdown(socket.SHUT_WR)
        while browser.recv(1 << 16):
            pass


_PAGE = b"hpclaunch: the way to the compute node is down at present; it is being mended.\n"
_BAD_GATEWAY = (
    b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_PAGE), _PAGE)
)
