"""A web server of a directory on loopback that gives ranges of bytes, or fails to on demand."""

from __future__ import annotations

import hashlib
import http.server
import re
import ssl
import threading
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

__all__ = ["RangeServer"]


@dataclass
class Behaviour:
    """What the server does; tests change it while it runs.

    Attributes
    ----------
    ranges : bool
        Whether it gives ranges.
    etag, dated : bool
        Whether it tells ETag and Last-Modified.
    password : str
        The bearer token that it wants; "" for none.
    cut : int
        So many of the next answers end after half of their body.
    busy : int
        So many of the next answers are 503.
    latency : float
        Seconds before each answer.
    asked : list
        The requests: path, first byte and length.
    together : int
        The most requests that were under way at once.
    """

    ranges: bool = True
    etag: bool = True
    dated: bool = True
    password: str = ""
    cut: int = 0
    busy: int = 0
    latency: float = 0.0
    asked: list[tuple[str, int, int]] = field(default_factory=list)
    together: int = 0


class RangeServer:
    """Serves a directory until it is left as a context.

    Parameters
    ----------
    directory : Path
    certificate : Path, optional
        Of a PEM file with certificate and key: then by https.
    """

    def __init__(self, directory: Path, certificate: Path | None = None) -> None:
        self.behaviour = Behaviour()
        handler = type("Handler", (_Handler,), {"root": directory, "server_of": self})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._scheme = "https"
        self.lock = threading.Lock()
        self.running = 0
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> RangeServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, name: str) -> str:
        """The URL of a file of the directory."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}/{name}"


class _Handler(http.server.BaseHTTPRequestHandler):
    root: Path
    server_of: RangeServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        server = self.server_of
        with server.lock:
            server.running += 1
            server.behaviour.together = max(server.behaviour.together, server.running)
        try:
            time.sleep(server.behaviour.latency)
            self._answer(server.behaviour)
        finally:
            with server.lock:
                server.running -= 1

    def _answer(self, how: Behaviour) -> None:
        path = self.path.partition("?")[0]
        file = self.root / path.lstrip("/")
        if how.password and self.headers.get("Authorization") != f"Bearer {how.password}":
            self._say(401)
            return
        if not file.is_file():
            self._say(404)
            return
        if how.busy:
            how.busy -= 1
            self._say(503)
            return
        data, facts = file.read_bytes(), file.stat()
        told = {}
        if how.etag:
            told["ETag"] = f'"{hashlib.md5(data).hexdigest()}"'
        if how.dated:
            told["Last-Modified"] = formatdate(facts.st_mtime, usegmt=True)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if not how.ranges or wanted is None:
            how.asked.append((path, 0, len(data)))
            self._say(200, data, told)
            return
        first, last = int(wanted[1]), min(int(wanted[2]), len(data) - 1)
        if first >= len(data):
            self._say(416, b"", {**told, "Content-Range": f"bytes */{len(data)}"})
            return
        how.asked.append((path, first, last - first + 1))
        told["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        self._say(206, data[first : last + 1], told)

    def _say(self, status: int, data: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        how = self.server_of.behaviour
        if how.cut and len(data) > 1:
            how.cut -= 1
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
            return
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Nothing is written to the terminal."""
