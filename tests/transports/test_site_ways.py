"""What login nodes of real sites do: names that stand for several hosts, and no forwarding."""

from __future__ import annotations

import sys

import pytest

from hpclaunch.errors import UnreachableError
from hpclaunch.keeper.tunnel import Tunnels
from hpclaunch.node.layout import Layout
from hpclaunch.sessions.book import Book
from hpclaunch.tls import make_credentials
from tests.pure.records import record

pytestmark = pytest.mark.local

CONNECT = """\
import os, socket, sys, threading
there = socket.create_connection(("127.0.0.1", int(open(sys.argv[1]).read())))
def up():
    while part := os.read(0, 65536):
        there.sendall(part)
    there.shutdown(socket.SHUT_WR)
threading.Thread(target=up, daemon=True).start()
while part := there.recv(65536):
    os.write(1, part)
"""


def test_a_name_may_stand_for_another_login_node_at_every_login(
    start_sshd, site_of, kind, tmp_path
) -> None:
    """Each has a host key of its own, and all are known for the one name."""
    hosts = [start_sshd(), start_sshd()]
    site = site_of(hosts[0], kind)
    keys = [host.known_line.split(" ", 1)[1] for host in hosts]
    assert keys[0] != keys[1]
    site.known_hosts.write_text("".join(f"login.big.example {key}" for key in keys))
    (tmp_path / "connect.py").write_text(CONNECT)
    turn = tmp_path / "turn"
    site.write_config(
        *("Host round", "  HostName login.big.example", f"  IdentityFile {site.key}"),
        f"  ProxyCommand {sys.executable} {tmp_path}/connect.py {turn}",
    )
    turn.write_text(str(hosts[0].port))
    transport = site.connected("round")
    transport.hold()
    assert transport.run(["echo", "first"]).stdout == "first\n"
    turn.write_text(str(hosts[1].port))
    hosts[0].sever()
    assert transport.lost.wait(10)
    transport.connect()
    assert transport.run(["echo", "second"]).stdout == "second\n"
    assert [host.logins() for host in hosts] == [1, 1]


def test_a_login_node_that_forwards_nothing_is_told_with_what_to_ask_for(
    start_sshd, site_of, kind, tmp_path
) -> None:
    site = site_of(start_sshd("AllowTcpForwarding no"), kind)
    transport = site.connected()
    book = Book(tmp_path / "book")
    one = record(rendezvous={"hostname": "c1", "port": 1, "addresses": ["127.0.0.1"]})
    book.create(one)
    book.keep_secrets(one.name, one.nonce, make_credentials()[Layout.CA], "x")
    tunnels = Tunnels(transport)
    with pytest.raises(
        UnreachableError, match="JupyterLab runs on c1 but does not answer"
    ) as caught:
        tunnels.open(one, book)
    assert caught.value.hint and "AllowTcpForwarding" in caught.value.hint
    assert transport.run(["echo", "on"]).stdout == "on\n"
    tunnels.close_all()
