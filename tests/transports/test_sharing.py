"""One OpenSSH connection, shared by several processes and left by them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sshd_process import free_port, processes_with, wait_for
from test_forwards import Echo, talk

from hpclaunch.errors import LoginNeededError, UnreachableError
from hpclaunch.transports import master
from hpclaunch.transports.target import Target

pytestmark = pytest.mark.local


@pytest.fixture
def echo():
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def shared(start_sshd, site_of):
    return site_of(start_sshd(), "openssh")


def test_a_stale_control_socket_never_opens_a_second_connection(shared) -> None:
    transport = shared.connected()
    transport.hold()
    control = next(path for path in shared.control.iterdir() if path.is_socket())
    (ssh,) = [process for process in processes_with(str(control)) if "-M" in process.cmdline()]
    ssh.kill()
    assert transport.lost.wait(5)
    assert control.is_socket(), "the dead master has left its socket behind"
    for _ in range(3):
        with pytest.raises(UnreachableError, match="is lost"):
            transport.run(["true"])
    assert shared.sshd.connections() == 1
    transport.connect()
    assert transport.run(["echo", "anew"]).stdout == "anew\n"
    assert shared.sshd.logins() == 2


def test_a_client_without_a_master_does_not_even_try_the_network(short_dir) -> None:
    client = master.Master(Target("127.0.0.1"), short_dir).client("-T", "--", "127.0.0.1", "true")
    done = subprocess.run(client, capture_output=True, text=True, timeout=20)
    assert done.returncode == 255
    assert "port 22" not in done.stderr, "that would have been a connection of its own"


def test_another_process_uses_the_same_connection(shared) -> None:
    shared.connected()
    other = shared.connected()
    assert other.run(["echo", "shared"]).stdout == "shared\n"
    assert shared.sshd.logins() == 1


def test_processes_that_connect_at_the_same_time_log_in_once(shared) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from hpclaunch.transports.factory import make_transport\n"
        "from hpclaunch.transports.target import Target\n"
        "t = make_transport('openssh', Target('site', ssh_config=Path(sys.argv[1])),"
        " Path(sys.argv[2]))\n"
        "t.connect(); print(t.run(['echo', 'in']).stdout, end='')"
    )
    command = [sys.executable, "-c", program, str(shared.config), str(shared.control)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate(timeout=60)[0] for process in running] == ["in\n"] * 4
    assert shared.sshd.logins() == 1
    shared.transport().close()


def test_a_login_that_another_process_is_busy_with_is_not_waited_for_long(shared) -> None:
    from filelock import FileLock

    transport = shared.transport(connect_timeout=0.5)
    with (
        FileLock(master.Master(transport._target, shared.control).path.with_suffix(".lock")),
        pytest.raises(LoginNeededError, match="still logging in"),
    ):
        transport.connect()


def test_nobody_waits_for_the_shared_connection_to_end(shared, tmp_path) -> None:
    """``$(hpclaunch …)`` must return although the connection lives on."""
    program = (
        "import sys; from pathlib import Path\n"
        "from hpclaunch.transports.openssh import OpenSSH\n"
        "from hpclaunch.transports.target import Target\n"
        "OpenSSH(Target('site', ssh_config=Path(sys.argv[1])), Path(sys.argv[2])).connect()\n"
        "print('done')"
    )
    command = [sys.executable, "-c", program, str(shared.config), str(shared.control)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert (done.stdout, done.stderr) == ("done\n", "")
    other = shared.connected()
    assert other.is_alive()
    assert shared.sshd.logins() == 1


HOLDER = (
    "import sys, time; from pathlib import Path\n"
    "from hpclaunch.transports import master; master._PERSIST = 2\n"
    "from hpclaunch.transports.openssh import OpenSSH\n"
    "from hpclaunch.transports.target import Target\n"
    "target, place = Target('site', ssh_config=Path(sys.argv[1])), Path(sys.argv[2])\n"
    "t = OpenSSH(target, place); t.connect(); t.hold()\n"
    "other = OpenSSH(target, place / 'b'); other.connect()\n"
    "print('holding', flush=True); time.sleep(600)"
)


@pytest.fixture
def beside(shared):
    """The same login node, with another place for connections: they are not shared."""
    folder = shared.control / "b"
    folder.mkdir(mode=0o700)
    return replace(shared, control=folder)


def test_a_holder_that_is_killed_leaves_nothing_behind(shared, beside) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(shared.config), str(shared.control)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "holding\n"
    wait_for(lambda: not processes_with(str(beside.control)), 30, "the end of an unused one")
    assert shared.transport().is_alive(), "held for longer than an unused connection lives"
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    wait_for(lambda: not processes_with(str(shared.control)), 15, "the end of the connection")
    wait_for(lambda: not shared.sshd.sessions(), what="the end of the sessions on the site")


def test_ctrl_c_ends_the_program_not_the_shared_connection(start_sshd, site_of, terminal) -> None:
    """The process that ssh runs for a ProxyJump stays in the terminal's foreground."""
    gate, inner = start_sshd(), start_sshd()
    site = site_of(inner, "openssh")
    site.jump_over(gate)
    window = terminal(site)
    window.see("said: I am in")
    window.child.sendintr()
    window.see("interrupted")
    window.child.close()
    other = site.connected()
    assert other.run(["echo", "alive"]).stdout == "alive\n"
    assert (gate.logins(), inner.logins()) == (1, 1)


def test_a_session_that_the_site_reaps_is_renewed(shared, beside, monkeypatch) -> None:
    monkeypatch.setattr(master, "_PERSIST", 4)
    transport = shared.connected()
    transport.hold()
    assert transport.is_alive()
    (cat,) = [process for process in shared.sshd.sessions() if process.name() == "cat"]
    cat.kill()
    beside.connected()
    wait_for(lambda: processes_with(str(beside.control)), what="a connection that nobody uses")
    wait_for(lambda: not processes_with(str(beside.control)), 30, "its end")
    assert not transport.lost.is_set()
    assert transport.is_alive()
    assert shared.sshd.logins() == 2, "the unused one's, and not another"


def test_an_unused_connection_ends_by_itself(shared, monkeypatch) -> None:
    monkeypatch.setattr(master, "_PERSIST", 1)
    shared.connected()
    wait_for(lambda: not processes_with(str(shared.control)), 10, "the end of the connection")


def test_a_socket_that_someone_removed_is_made_anew(shared, echo) -> None:
    transport = shared.connected()
    endpoint = transport.forward(echo.host, echo.port)
    Path(str(endpoint.path)).unlink()
    assert transport.forward(echo.host, echo.port) == endpoint
    assert talk(endpoint, b"x") == b"x|1"


def test_options_of_the_user_that_would_disturb_do_not(shared, tmp_path) -> None:
    port = free_port()
    shared.write_config(
        "Host site",
        "  RemoteCommand echo wrong",
        "  RequestTTY force",
        f"  LocalForward 127.0.0.1:{port} 127.0.0.1:2",
        "  ForwardAgent yes",
        "  ForwardX11 yes",
        "  PermitLocalCommand yes",
        f"  LocalCommand touch {tmp_path / 'touched'}",
        "  ControlMaster auto",
        f"  ControlPath {tmp_path}/mine",
        "  LogLevel DEBUG3",
    )
    assert shared.connected().run(["echo", "right"]).stdout == "right\n"
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0, "nobody asked us for that forward"
    assert not (tmp_path / "touched").exists()
    assert not (tmp_path / "mine").exists()
