"""The laptop's end of a tunnel carries every byte, both ways, and ends when it should."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpclaunch.keeper.tlsend import TlsEnds, UpstreamError
from hpclaunch.node.layout import Layout
from hpclaunch.tls import make_credentials
from hpclaunch.transports.base import Endpoint
from tests.support.launch import eventually

pytestmark = pytest.mark.local
CREDENTIALS = make_credentials()
AUTHORITY = CREDENTIALS[Layout.CA]


class Server:
    """A TLS server that gives each connection to `serve`, in a thread."""

    def __init__(self, folder: Path, serve: Callable[[ssl.SSLSocket], None]) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        for name in (Layout.JUPYTER_CERT, Layout.JUPYTER_KEY):
            (folder / Path(name).name).write_bytes(CREDENTIALS[name])
        self.context.load_cert_chain(folder / "jupyter.pem", folder / "jupyter.key")
        self.serve = serve
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.endpoint = Endpoint(host="127.0.0.1", port=self.socket.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection = self.socket.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        try:
            with self.context.wrap_socket(connection, server_side=True) as secure:
                self.serve(secure)
        except OSError:
            pass


def echo(connection: ssl.SSLSocket) -> None:
    while data := connection.recv(1 << 16):
        connection.sendall(data)


@pytest.fixture
def ends() -> Iterator[TlsEnds]:
    one = TlsEnds()
    yield one
    one.close()


def connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.settimeout(20)
    return connection


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1 << 18), b""))


def test_megabytes_go_both_ways_at_once_unchanged(ends: TlsEnds, tmp_path: Path) -> None:
    port = ends.listen("one", Server(tmp_path, echo).endpoint, AUTHORITY, None)
    sent = os.urandom(24 << 20)
    with connect(port) as browser:
        writer = threading.Thread(target=browser.sendall, args=(sent,))
        writer.start()
        got = bytearray()
        while len(got) < len(sent):
            chunk = browser.recv(1 << 18)
            assert chunk, "the connection ended early"
            got += chunk
        writer.join()
    assert hashlib.sha256(got).digest() == hashlib.sha256(sent).digest()


def test_a_slow_reader_loses_nothing_and_costs_little_memory(ends: TlsEnds, tmp_path: Path) -> None:
    block = os.urandom(1 << 20)

    def pour(connection: ssl.SSLSocket) -> None:
        for _ in range(32):
            connection.sendall(block)

    port = ends.listen("one", Server(tmp_path, pour).endpoint, AUTHORITY, None)
    with connect(port) as browser:
        time.sleep(1.0)
        assert read_all(browser) == block * 32


def test_two_hundred_connections_at_once_lose_none(ends: TlsEnds, tmp_path: Path) -> None:
    port = ends.listen("one", Server(tmp_path, echo).endpoint, AUTHORITY, None)
    wrong = []

    def talk(number: int) -> None:
        words = f"connection {number} ".encode() * 1000
        with connect(port) as browser:
            browser.sendall(words)
            got = b""
            while len(got) < len(words):
                chunk = browser.recv(1 << 16)
                if not chunk:
                    break
                got += chunk
            if got != words:
                wrong.append(number)

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_the_answer_arrives_after_the_browser_has_said_all(ends: TlsEnds, tmp_path: Path) -> None:
    def answer_late(connection: ssl.SSLSocket) -> None:
        connection.recv(100)
        time.sleep(0.5)
        connection.sendall(b"late answer")

    port = ends.listen("one", Server(tmp_path, answer_late).endpoint, AUTHORITY, None)
    with connect(port) as browser:
        browser.sendall(b"question")
        browser.shutdown(socket.SHUT_WR)
        assert read_all(browser) == b"late answer"


def test_unlisten_ends_connections_and_the_same_port_can_be_had_again(
    ends: TlsEnds, tmp_path: Path
) -> None:
    server = Server(tmp_path, echo)
    port = ends.listen("one", server.endpoint, AUTHORITY, None)
    browser = connect(port)
    browser.sendall(b"hello")
    assert browser.recv(10) == b"hello"
    ends.unlisten("one")
    assert browser.recv(10) == b""
    browser.close()
    with pytest.raises(ConnectionRefusedError):
        connect(port)
    assert ends.listen("one", server.endpoint, AUTHORITY, port) == port


def test_idle_connections_leave_no_thread_behind(ends: TlsEnds, tmp_path: Path) -> None:
    before = threading.active_count()
    port = ends.listen("one", Server(tmp_path, echo).endpoint, AUTHORITY, None)
    for _ in range(20):
        connect(port).close()
    ends.unlisten("one")
    eventually(lambda: threading.active_count() <= before + 2, what="threads ended")


def test_nobody_there_is_told_as_a_bad_gateway(ends: TlsEnds) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        endpoint = Endpoint(host="127.0.0.1", port=gone.getsockname()[1])
    port = ends.listen("one", endpoint, AUTHORITY, None)
    with connect(port) as browser:
        browser.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert read_all(browser).startswith(b"HTTP/1.1 502 Bad Gateway")


def test_a_server_with_another_authority_is_not_believed(ends: TlsEnds, tmp_path: Path) -> None:
    server = Server(tmp_path, echo)
    other = make_credentials()[Layout.CA]
    with pytest.raises(UpstreamError, match="certificate verify failed"):
        ends.answer(server.endpoint, other, "token")
    port = ends.listen("one", server.endpoint, other, None)
    with connect(port) as browser:
        browser.sendall(b"secret")
        assert b"502" in read_all(browser)


def test_a_dask_certificate_of_the_same_session_is_not_jupyter(
    ends: TlsEnds, tmp_path: Path
) -> None:
    server = Server(tmp_path, echo)
    (tmp_path / "dask.pem").write_bytes(CREDENTIALS[Layout.DASK_CERT])
    (tmp_path / "dask.key").write_bytes(CREDENTIALS[Layout.DASK_KEY])
    server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.context.load_cert_chain(tmp_path / "dask.pem", tmp_path / "dask.key")
    with pytest.raises(UpstreamError, match="Hostname mismatch"):
        ends.answer(server.endpoint, AUTHORITY, "token")
