"""The port that the agent holds for Jupyter."""

from __future__ import annotations

import socket
import sys

import pytest
from tornado.netutil import bind_sockets

from hpclaunch.node.jupyter import reserve_port

pytestmark = [
    pytest.mark.local,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's part is Linux's"),
]


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_server_that_names_the_port_gets_it_while_it_is_held(host: str) -> None:
    port, holder = reserve_port(host)
    assert holder is not None
    for _ in range(2):  # Jupyter binds twice: to look, and to listen
        server = bind_sockets(port, host)[0]
        with socket.create_connection(("127.0.0.1", port), 5):
            pass
        server.close()
    holder.close()


def test_nobody_is_given_the_port_while_it_is_held() -> None:
    port, holder = reserve_port("0.0.0.0")
    assert holder is not None
    with holder, socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    taken = []
    try:
        with reserve_port("0.0.0.0")[1] as held:  # type: ignore[union-attr]
            for _ in range(2000):
                taken.append(socket.socket())
                taken[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                taken[-1].bind(("127.0.0.1", 0))
            ports = {one.getsockname()[1] for one in taken}
            assert held.getsockname()[1] not in ports
    finally:
        for one in taken:
            one.close()
