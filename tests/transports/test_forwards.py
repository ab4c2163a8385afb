"""Ways to ports beyond the login node, over both SSH transports."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hpclaunch.errors import UnreachableError
from hpclaunch.transports.base import Endpoint

pytestmark = pytest.mark.local


class Echo:
    """Sends back everything until its caller stops, then says how much that was."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, 0), family=family, backlog=512)
        self.host, self.port = host, self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening at once; close alone would let a thread in accept go on."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(caller,), daemon=True).start()

    def _serve(self, caller: socket.socket) -> None:
        with caller, contextlib.suppress(ConnectionResetError, BrokenPipeError):
            size = 0
            while data := caller.recv(65536):
                size += len(data)
                caller.sendall(data)
            caller.sendall(b"|%d" % size)


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


def call(endpoint: Endpoint) -> socket.socket:
    if endpoint.path is None:
        return socket.create_connection((endpoint.host, endpoint.port), 60)
    caller = socket.socket(socket.AF_UNIX)
    caller.settimeout(60)
    caller.connect(endpoint.path)
    return caller


def talk(endpoint: Endpoint, payload: bytes) -> bytes:
    """Send `payload`, stop sending, and return all that comes back."""
    with call(endpoint) as caller:
        sender = threading.Thread(
            target=lambda: (caller.sendall(payload), caller.shutdown(socket.SHUT_WR))
        )
        sender.start()
        heard = bytearray()
        while data := caller.recv(1 << 17):
            heard += data
        sender.join()
        return bytes(heard)


def test_bytes_go_both_ways_and_each_end_stops_by_itself(site, echo) -> None:
    endpoint = site.connected().forward(echo.host, echo.port)
    payload = os.urandom(3_000_000)
    assert talk(endpoint, payload) == payload + b"|3000000"


def test_the_socket_is_ours_alone(site, echo) -> None:
    endpoint = site.connected().forward(echo.host, echo.port)
    assert endpoint.path is not None
    assert stat.S_IMODE(Path(endpoint.path).stat().st_mode) == 0o600
    assert Path(endpoint.path).parent == site.control


def test_200_connections_at_once_none_lost(site, echo) -> None:
    endpoint = site.connected().forward(echo.host, echo.port)
    together = threading.Barrier(200)

    def one(number: int) -> bool:
        payload = hashlib.sha256(b"%d" % number).digest() * (500 + number)
        with call(endpoint) as caller:
            together.wait(60)  # all are open at the same time
            caller.sendall(payload)
            caller.shutdown(socket.SHUT_WR)
            heard = bytearray()
            while data := caller.recv(65536):
                heard += data
        return bytes(heard) == payload + b"|%d" % len(payload)

    with ThreadPoolExecutor(200) as pool:
        assert list(pool.map(one, range(200))) == [True] * 200
    assert site.sshd.logins() == 1


def test_forward_is_idempotent_and_unforward_closes_it(site, echo) -> None:
    transport = site.connected()
    endpoint = transport.forward(echo.host, echo.port)
    assert transport.forward(echo.host, echo.port) == endpoint
    assert talk(endpoint, b"x") == b"x|1"
    transport.unforward(echo.host, echo.port)
    transport.unforward(echo.host, echo.port)
    with pytest.raises(OSError):
        call(endpoint)
    assert talk(transport.forward(echo.host, echo.port), b"again") == b"again|5"


def test_an_ipv6_address(site) -> None:
    try:
        echo = Echo("::1")
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    assert talk(site.connected().forward("::1", echo.port), b"six") == b"six|3"
    echo.close()


def test_a_closed_port_ends_the_call_not_the_connection(site, echo) -> None:
    transport = site.connected()
    port = echo.port
    echo.close()
    endpoint = transport.forward("127.0.0.1", port)
    assert what_comes(endpoint) == b""
    assert transport.run(["echo", "fine"]).stdout == "fine\n"


def what_comes(endpoint: Endpoint) -> bytes:
    """Call, say nothing, and return what comes; a refused call brings nothing."""
    try:
        with call(endpoint) as caller:
            return caller.recv(100)
    except ConnectionError:
        return b""


def test_forward_on_a_lost_connection_is_an_error(site, echo) -> None:
    transport = site.connected()
    transport.close()
    with pytest.raises(UnreachableError):
        transport.forward(echo.host, echo.port)


def test_close_leaves_no_socket(site, echo) -> None:
    transport = site.connected()
    transport.forward(echo.host, echo.port)
    transport.close()
    left = [path.name for path in site.control.iterdir() if not path.name.endswith(".lock")]
    assert left == []
