"""Locks the pages of a Dask scheduler: without the session's secret every answer is 403.

distributed's pages have no login, and a port on loopback is open to everybody on the node. The
notebook's Jupyter adds the secret as a request header behind its own login.

The session's own scheduler is a `GuardedScheduler`. A scheduler that the user makes in a notebook
loads this module as a preload, which Dask's configuration of the session asks for.
"""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import Any

import dask
from distributed import Scheduler
from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.netutil import bind_unix_socket

from hpclaunch.node.dask import DASHBOARD_HEADER

__all__ = ["Guard", "GuardedScheduler", "dask_setup"]

_REFUSAL = b"This page belongs to an hpclaunch session. Open it through the session's Jupyter.\n"


class Guard(HTTPServerConnectionDelegate):  # type: ignore[misc]
    """Stands before an HTTP application and lets in who knows the secret.

    It decides on the headers of every request, before the application sees any of it, so that
    pages, static files and websockets are all behind it.

    Parameters
    ----------
    application : HTTPServerConnectionDelegate
        What is guarded.
    secret : str
        What the header `DASHBOARD_HEADER` must hold.
    """

    def __init__(self, application: HTTPServerConnectionDelegate, secret: str) -> None:
        if not secret:
            raise ValueError("an empty secret would let everybody in")
        self._application = application
        self._secret = secret.encode("ascii")

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> _Door:
        """Called by tornado for each request."""
        return _Door(self, server_conn, request_conn)

    def on_close(self, server_conn: object) -> None:
        """Called by tornado when a connection ends."""
        self._application.on_close(server_conn)

    def admits(self, headers: HTTPHeaders) -> bool:
        """Whether `headers` hold the secret; takes equally long for every wrong one."""
        told = headers.get(DASHBOARD_HEADER, "").encode("utf-8", "surrogateescape")
        return hmac.compare_digest(told, self._secret)

    def enter(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """The application's own handling of a request."""
        return self._application.start_request(server_conn, request_conn)


class _Door(HTTPMessageDelegate):  # type: ignore[misc]
    """One request before the guard."""

    def __init__(self, guard: Guard, server_conn: object, request_conn: HTTPConnection) -> None:
        self._guard = guard
        self._server_conn = server_conn
        self._request_conn = request_conn
        self._inside: HTTPMessageDelegate | None = None

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Any:
        if not self._guard.admits(headers):
            return None
        del headers[DASHBOARD_HEADER]  # nothing behind the guard needs it, nothing shall show it
        self._inside = self._guard.enter(self._server_conn, self._request_conn)
        return self._inside.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Any:
        return self._inside.data_received(chunk) if self._inside else None

    def finish(self) -> None:
        if self._inside:
            self._inside.finish()
            return
        length = str(len(_REFUSAL))
        headers = HTTPHeaders({"Content-Type": "text/plain", "Content-Length": length})
        line = ResponseStartLine("HTTP/1.1", 403, "Forbidden")
        self._request_conn.write_headers(line, headers, _REFUSAL)
        self._request_conn.finish()

    def on_connection_close(self) -> None:
        if self._inside:
            self._inside.on_connection_close()


class GuardedScheduler(Scheduler):  # type: ignore[misc]
    """A scheduler whose pages are locked from the first moment, and served on a UNIX socket too.

    Parameters
    ----------
    dashboard_socket : str
        Path of the UNIX socket; its directory must be private.
    """

    def __init__(self, *args: Any, dashboard_socket: str, **options: Any) -> None:
        self._dashboard_socket = dashboard_socket
        super().__init__(*args, **options)

    def start_http_server(self, *args: Any, **options: Any) -> None:
        """Start the HTTP server, locked: this thread's event loop serves nobody in between."""
        super().start_http_server(*args, **options)
        _lock(self.http_server)
        self.http_server.add_socket(bind_unix_socket(self._dashboard_socket, mode=0o600))


def dask_setup(scheduler: Scheduler) -> None:
    """Lock a scheduler that a user has made; called by Dask as a preload.

    On the session's own node its pages are also served on a UNIX socket named after their port,
    where the session's Jupyter finds them. Dask only logs what a preload raises, so a scheduler
    that cannot be locked serves no pages.
    """
    server = scheduler.http_server
    if isinstance(server.request_callback, Guard):
        return
    try:
        _lock(server)
        directory = Path(dask.config.get("hpclaunch.node-directory"))
        if directory.is_dir():
            server.add_socket(bind_unix_socket(str(directory / str(server.port)), mode=0o600))
    except Exception:
        server.stop()
        raise


def _lock(server: HTTPServer) -> None:
    secret = Path(dask.config.get("hpclaunch.dashboard-secret")).read_text(encoding="ascii")
    server.request_callback = Guard(server.request_callback, secret)
