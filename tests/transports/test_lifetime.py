"""How long a connection lives, how its loss is noticed, and that no second one is ever made."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Iterable

import psutil
import pytest
from sshd_process import processes_with, wait_for
from test_forwards import Echo, call, talk

from hpclaunch.errors import TransportError, UnreachableError
from hpclaunch.transports import openssh, ssh
from tests.support.launch import signal_each

pytestmark = pytest.mark.local


def tell(processes: Iterable[psutil.Process], what: signal.Signals) -> None:
    """Send `what` to those of `processes` that still are."""
    signal_each((one.pid for one in processes), what)


@pytest.fixture
def echo():
    server = Echo()
    yield server
    server.close()


def test_a_loss_is_noticed_and_a_new_connection_restores_the_forwards(site, echo) -> None:
    transport = site.connected()
    transport.hold()
    endpoint = transport.forward(echo.host, echo.port)
    assert talk(endpoint, b"before") == b"before|6"
    site.sshd.sever()
    assert transport.lost.wait(5)
    assert not transport.is_alive()
    with pytest.raises(UnreachableError, match="is lost"):
        transport.run(["true"])
    transport.connect()
    assert not transport.lost.is_set()
    assert transport.is_alive()
    assert talk(endpoint, b"after") == b"after|5"
    assert transport.run(["echo", "back"]).stdout == "back\n"
    assert site.sshd.logins() == 2
    site.sshd.sever()
    assert transport.lost.wait(5), "a second loss is noticed as well"


def test_a_loss_in_the_middle_of_a_command_is_told_at_once(site) -> None:
    transport = site.connected()
    caught: list[TransportError] = []

    def run() -> None:
        try:
            transport.run(["sleep", "30"])
        except TransportError as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(1)
    site.sshd.sever()
    thread.join(8)
    assert [type(error) for error in caught] == [UnreachableError]


def test_a_loss_in_the_middle_of_a_forwarded_call_ends_the_call(site, echo) -> None:
    transport = site.connected()
    endpoint = transport.forward(echo.host, echo.port)
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(8)
        caller.connect(str(endpoint.path))
        caller.sendall(b"hello")
        assert caller.recv(5) == b"hello"
        site.sshd.sever()
        with contextlib.suppress(ConnectionResetError):
            assert caller.recv(5) == b""


def test_the_loss_of_a_jump_host_is_noticed(start_sshd, site_of, kind) -> None:
    gate, inner = start_sshd(), start_sshd()
    site = site_of(inner, kind)
    site.jump_over(gate)
    transport = site.connected()
    transport.hold()
    assert transport.is_alive()
    gate.sever()
    assert transport.lost.wait(8)
    transport.connect()
    assert transport.run(["echo", "back"]).stdout == "back\n"
    assert (gate.logins(), inner.logins()) == (2, 2)


def test_a_command_without_a_connection_never_logs_in(site) -> None:
    transport = site.connected()
    transport.close()
    for _ in range(3):
        with pytest.raises(UnreachableError, match="there is no connection"):
            transport.run(["true"])
    assert not transport.is_alive()
    assert not transport.lost.is_set(), "it was closed, not lost"
    assert site.sshd.connections() == 1


def test_reconnecting_waits_for_nobody_when_the_site_is_down(site) -> None:
    transport = site.connected()
    transport.hold()
    site.sshd.stop()
    assert transport.lost.wait(5)
    with pytest.raises(UnreachableError):
        transport.connect()
    assert transport.lost.is_set()
    site.sshd.start()
    transport.connect()
    assert transport.run(["echo", "up"]).stdout == "up\n"


@pytest.fixture
def frozen(site, monkeypatch):
    """A held connection to a site that has stopped to answer."""
    for module in (openssh, ssh):
        monkeypatch.setattr(module, "SILENCE", 2.0)
    transport = site.connected()
    transport.hold()
    assert transport.is_alive()
    stopped = site.sshd.sessions()
    tell(stopped, signal.SIGSTOP)
    yield transport
    tell(stopped, signal.SIGCONT)


def test_a_frozen_site_is_not_alive_and_its_connection_is_kept(site, frozen) -> None:
    began = time.monotonic()
    assert not frozen.is_alive()
    with pytest.raises(UnreachableError, match="does not answer"):
        frozen.connect()
    assert time.monotonic() - began < 12
    tell(site.sshd.sessions(), signal.SIGCONT)
    frozen.connect()
    assert frozen.is_alive()
    assert not frozen.lost.is_set()
    assert site.sshd.logins() == 1


def test_a_person_who_waits_gets_a_new_connection(site, frozen, echo) -> None:
    frozen.connect(lambda prompt, echo: pytest.fail(f"nothing is to be asked: {prompt}"))
    assert frozen.run(["echo", "anew"]).stdout == "anew\n"
    assert talk(frozen.forward(echo.host, echo.port), b"x") == b"x|1"
    assert site.sshd.logins() == 2


def test_close_ends_every_process_and_connection(site) -> None:
    transport = site.connected()
    transport.hold()
    transport.close()
    transport.close()
    wait_for(lambda: not site.sshd.sessions(), what="the end of the connection")
    wait_for(lambda: not processes_with(str(site.control)), what="the end of all processes")


def test_a_silent_connection_is_replaced_as_often_as_needed(site, echo) -> None:
    """The processes of the old ones are left suspended: they may say anything at any time."""
    transport = site.connected()
    transport.hold()
    endpoint = transport.forward(echo.host, echo.port)
    suspended: list[psutil.Process] = []
    for round_ in range(1, 4):
        silent = [process for process in site.sshd.sessions() if process not in suspended]
        tell(silent, signal.SIGSTOP)
        suspended += silent
        assert not transport.is_alive(0.5)
        transport.renew(5.0)
        assert transport.run(["echo", "again"]).stdout == "again\n"
        assert talk(endpoint, b"again") == b"again|5"
        assert not transport.lost.is_set()
        assert site.sshd.logins() == 1 + round_
    tell(suspended, signal.SIGCONT)
    assert transport.is_alive(), "the end of the old ones takes nothing from the new one"
    assert transport.run(["echo", "still"]).stdout == "still\n"


@pytest.mark.parametrize("kind", ["paramiko"], indirect=True)  # ssh ends all with its connection
@pytest.mark.parametrize("comes_back", [True, False])
def test_what_runs_through_a_connection_outlives_its_replacement(
    site, echo, comes_back: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page's websocket is not cut because its connection was slow to answer."""
    monkeypatch.setattr(ssh, "_FADE", 4.0)
    transport = site.connected()
    transport.hold()
    endpoint = transport.forward(echo.host, echo.port)
    with call(endpoint) as page:
        page.sendall(b"before")
        assert page.recv(100) == b"before"
        silent = site.sshd.sessions()
        tell(silent, signal.SIGSTOP)
        assert not transport.is_alive(0.5)
        transport.renew(5.0)
        assert site.sshd.logins() == 2
        page.sendall(b"after")
        if comes_back:
            tell(silent, signal.SIGCONT)
            assert page.recv(100) == b"after"
            page.shutdown(socket.SHUT_WR)
            assert page.recv(100) == b"|11"
        else:
            assert page.recv(100) == b"", "it is given up in the end"
        assert talk(endpoint, b"new") == b"new|3"
    tell(silent, signal.SIGCONT)
    wait_for(
        lambda: len({one.pid for one in silent} & {p.pid for p in site.sshd.sessions()}) == 0,
        15,
        "the end of the connection that was replaced",
    )
    assert transport.is_alive() and not transport.lost.is_set()
