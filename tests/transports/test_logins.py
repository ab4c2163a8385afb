"""Logging in without a question: what the SSH configuration says, and what is refused."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from sshd_process import free_port, make_key

from hpclaunch.errors import (
    LoginNeededError,
    LoginRefusedError,
    ProfileError,
    TransportError,
    UnreachableError,
)

pytestmark = pytest.mark.local


def whoami(transport) -> str:
    return str(transport.run(["id", "-un"]).stdout.strip())


def test_a_key_without_passphrase_logs_in_without_a_question(site) -> None:
    transport = site.connected()
    transport.connect()  # alive already: nothing happens
    assert transport.is_alive()
    assert site.sshd.logins() == 1


def test_host_user_port_and_identity_of_the_target_win(site, user_key) -> None:
    site.config.write_text(
        f"Host *\n  Port 9\n  User nobody-here\n  UserKnownHostsFile {site.known_hosts}\n"
    )
    me = whoami_here()
    transport = site.connected("127.0.0.1", user=me, port=site.sshd.port, identity=str(user_key))
    assert whoami(transport) == me


def whoami_here() -> str:
    return subprocess.check_output(["id", "-un"], text=True).strip()


def test_user_and_hostname_and_include_of_the_configuration(site, tmp_path) -> None:
    (tmp_path / "more").write_text(
        f"Host inner\n  HostName 127.0.0.1\n  User {whoami_here()}\n  Port {site.sshd.port}\n"
        f"  IdentityFile {site.key}\n"
    )
    site.write_config(f"Include {tmp_path}/mor?")
    assert whoami(site.connected("inner")) == whoami_here()


def test_a_user_the_configuration_invents_is_refused(site) -> None:
    site.write_config("Host site", "  User no_such_user")
    with pytest.raises(LoginRefusedError, match="did not let us in"):
        site.connected()


def test_match_of_the_configuration(site) -> None:
    site.write_config(
        "Match host other exec true",
        f"  HostName 127.0.0.1\n  Port {site.sshd.port}",
        f"  IdentityFile {site.key}",
    )
    assert whoami(site.connected("other")) == whoami_here()


def test_proxy_jump(start_sshd, site_of, kind) -> None:
    gate, inner = start_sshd(), start_sshd("AllowTcpForwarding no")
    site = site_of(inner, kind)
    site.jump_over(gate)
    assert site.connected().run(["echo", "through"]).stdout == "through\n"
    assert (gate.logins(), inner.logins()) == (1, 1)


def test_proxy_jump_over_two_hosts_with_user_and_port(start_sshd, site_of, kind) -> None:
    first, second, inner = start_sshd(), start_sshd(), start_sshd()
    site = site_of(inner, kind)
    with site.known_hosts.open("a") as stream:
        stream.write(first.known_line + second.known_line)
    me = whoami_here()
    jump = f"{me}@127.0.0.1:{first.port},{me}@127.0.0.1:{second.port}"
    site.write_config(
        f"Host 127.0.0.1\n  IdentityFile {site.key}", f"Host site\n  ProxyJump {jump}"
    )
    assert site.connected().run(["echo", "through"]).stdout == "through\n"
    assert [sshd.logins() for sshd in (first, second, inner)] == [1, 1, 1]


def test_proxy_command(site) -> None:
    relay = "import socket,sys,threading,os;s=socket.create_connection((sys.argv[1],sys.argv[2]))\n"
    script = site.config.with_name("relay.py")
    script.write_text(
        relay + "def up():\n while (d:=os.read(0,65536)): s.sendall(d)\n s.shutdown(1)\n"
        "threading.Thread(target=up,daemon=True).start()\n"
        "while (d:=s.recv(65536)): os.write(1,d)\n"
    )
    site.write_config("Host site", f"  ProxyCommand python3 {script} %h %p")
    assert site.connected().run(["cat"], stdin=b"y" * 200_000).stdout == "y" * 200_000


def test_a_proxy_command_that_fails_is_unreachable(site) -> None:
    site.write_config("Host site", "  ProxyCommand false")
    with pytest.raises(UnreachableError):
        site.connected()


def test_a_port_nobody_listens_on(site) -> None:
    with pytest.raises(UnreachableError) as caught:
        site.connected("127.0.0.1", port=free_port())
    assert "refused" in str(caught.value.said)


def test_a_host_that_does_not_exist(site) -> None:
    with pytest.raises(UnreachableError):
        site.connected("no-such-host.invalid")


def test_a_host_that_never_answers(site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(UnreachableError):
        site.connected("127.0.0.1", port=silent.getsockname()[1], connect_timeout=1.0)


def test_a_host_that_hangs_up(site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as rude:

        def hang_up() -> None:
            while True:
                try:
                    rude.accept()[0].close()
                except OSError:
                    return

        threading.Thread(target=hang_up, daemon=True).start()
        with pytest.raises(UnreachableError):
            site.connected("127.0.0.1", port=rude.getsockname()[1])
        rude.shutdown(socket.SHUT_RDWR)


def test_a_key_the_host_does_not_know(site, tmp_path) -> None:
    stranger = make_key(tmp_path / "id_stranger")
    site.key = stranger
    site.write_config()
    with pytest.raises(LoginRefusedError) as caught:
        site.connected()
    assert "Permission denied (publickey)" in str(caught.value.said)


def test_a_locked_key_needs_somebody(site, tmp_path) -> None:
    site.key = make_key(tmp_path / "id_locked", "open sesame")
    site.sshd.authorize(site.key)
    site.write_config()
    with pytest.raises(LoginNeededError) as caught:
        site.connected()
    assert "ssh-add" in str(caught.value.hint)


def test_a_key_file_that_is_not_there(site) -> None:
    with pytest.raises(ProfileError, match="does not exist"):
        site.connected(identity="/no/such/key")


def test_a_configuration_that_is_wrong(site) -> None:
    site.config.write_text("Host *\n  NoSuchKeyword yes\n")
    with pytest.raises(ProfileError) as caught:
        site.connected()
    assert "NoSuchKeyword" in str(caught.value.said).replace("nosuchkeyword", "NoSuchKeyword")


@pytest.mark.parametrize("with_key_file", [True, False])
def test_a_certificate(start_sshd, site_of, kind, tmp_path, with_key_file) -> None:
    authority, key = make_key(tmp_path / "ca"), make_key(tmp_path / "id_cert", "", "rsa")
    name = ["-s", str(authority), "-I", "me", "-n", whoami_here(), f"{key}.pub"]
    subprocess.run(["ssh-keygen", "-q", *name], check=True)
    site = site_of(start_sshd(f"TrustedUserCAKeys {authority}.pub"), kind)
    site.key = key
    if with_key_file:
        site.write_config()
    else:
        moved = (tmp_path / "id_cert-cert.pub").rename(tmp_path / "elsewhere.pub")
        site.write_config("Host site", f"  CertificateFile {moved}")
    site.connected()


@pytest.fixture
def agent(tmp_path, monkeypatch):
    """An ssh-agent of our own; yields its socket."""
    path = Path("/tmp") / f"hl-agent-{os.getpid()}-{free_port()}"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    while not path.exists():
        assert process.poll() is None
    monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
    yield path
    process.kill()
    process.wait()
    path.unlink(missing_ok=True)


def lock(key: Path) -> None:
    """Put a passphrase on a key that has none."""
    command = ["ssh-keygen", "-p", "-N", "sesame", "-f", str(key)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def test_a_locked_key_that_an_agent_holds(site, tmp_path, agent) -> None:
    key = make_key(tmp_path / "id_agent")
    subprocess.run(["ssh-add", "-q", str(key)], check=True)
    lock(key)
    site.sshd.authorize(key)
    site.key = key
    site.write_config("Host site", "  IdentityAgent SSH_AUTH_SOCK")
    assert site.connected().run(["sh", "-c", "echo ${SSH_AUTH_SOCK:-none}"]).stdout == "none\n"


@pytest.mark.parametrize("where", ["beside the key file", "in the agent"])
def test_a_certificate_for_a_key_that_an_agent_holds(
    start_sshd, site_of, kind, tmp_path, agent, where
) -> None:
    authority, key = make_key(tmp_path / "ca"), make_key(tmp_path / "id_cert")
    name = ["-s", str(authority), "-I", "me", "-n", whoami_here(), f"{key}.pub"]
    subprocess.run(["ssh-keygen", "-q", *name], check=True)
    certificate = tmp_path / "id_cert-cert.pub"
    if where == "beside the key file":
        aside = certificate.rename(tmp_path / "aside")
        subprocess.run(["ssh-add", "-q", str(key)], check=True)
        aside.rename(certificate)
    else:
        subprocess.run(["ssh-add", "-q", str(key)], check=True)
        certificate.unlink()
    lock(key)
    site = site_of(start_sshd(f"TrustedUserCAKeys {authority}.pub"), kind)
    site.config.write_text(
        f"Host site\n  HostName 127.0.0.1\n  Port {site.sshd.port}\n"
        f"  IdentityFile {key}\n  UserKnownHostsFile {site.known_hosts}\n"
        f"  IdentitiesOnly {'yes' if certificate.exists() else 'no'}\n"
    )
    site.connected()


def test_only_the_named_key_of_an_agent_is_offered(start_sshd, site_of, kind, tmp_path, agent):
    for number in range(4):
        subprocess.run(["ssh-add", "-q", make_key(tmp_path / f"id_{number}")], check=True)
    site = site_of(start_sshd("MaxAuthTries 2"), kind)
    site.write_config("Host site", "  IdentityAgent SSH_AUTH_SOCK")
    site.connected(identity=str(site.key))


def test_too_many_keys_say_so(start_sshd, site_of, kind, tmp_path) -> None:
    site = site_of(start_sshd("MaxAuthTries 2"), kind)
    keys = [f"  IdentityFile {make_key(tmp_path / f'id_{number}')}" for number in range(4)]
    site.write_config("Host site", *keys)
    with pytest.raises(LoginRefusedError) as caught:
        site.connected()
    assert "login.identity" in str(caught.value.hint)


def test_a_directory_for_sockets_with_too_long_a_name(site, tmp_path) -> None:
    site.control = tmp_path / ("long" * 20)
    site.control.mkdir(mode=0o700)
    with pytest.raises(TransportError, match="too long a name"):
        site.connected().forward("127.0.0.1", 1)


def test_a_directory_for_sockets_that_is_open_to_others(site) -> None:
    site.control.chmod(0o755)
    with pytest.raises(TransportError, match="open to others"):
        site.connected()
