"""The key a login node shows: known, unknown, changed, revoked, hashed or aliased."""

from __future__ import annotations

import subprocess

import pytest
from sshd_process import make_key

from hpclaunch.errors import (
    HostKeyError,
)

pytestmark = pytest.mark.local


def test_the_key_of_a_jump_host_is_verified_too(start_sshd, site_of, kind) -> None:
    gate, inner = start_sshd(), start_sshd()
    site = site_of(inner, kind)
    site.write_config(
        "Host gate",
        "  HostName 127.0.0.1",
        f"  Port {gate.port}",
        f"  IdentityFile {site.key}",
        "Host site",
        "  ProxyJump gate",
    )
    with pytest.raises(HostKeyError):
        site.connected()
    assert (gate.logins(), inner.logins()) == (0, 0)


def test_strict_host_key_checking_yes_is_kept(site) -> None:
    site.known_hosts.write_text("")
    site.write_config("StrictHostKeyChecking yes")
    with pytest.raises(HostKeyError, match="unknown"):
        site.connected()
    assert site.known_hosts.read_text() == ""


def test_an_unknown_host_key_is_refused_where_nobody_is_asked(site) -> None:
    site.known_hosts.write_text("")
    with pytest.raises(HostKeyError, match="unknown and was not accepted") as caught:
        site.connected()
    assert "terminal" in str(caught.value.hint)
    assert site.sshd.logins() == 0


@pytest.mark.parametrize("setting", ["accept-new", "no"])
def test_accept_new_remembers_and_even_no_refuses_a_changed_key(site, setting, tmp_path) -> None:
    site.known_hosts.write_text("")
    site.write_config(f"StrictHostKeyChecking {setting}")
    site.connected().close()
    assert site.sshd.host_key_public().split()[1] in site.known_hosts.read_text()
    other = make_key(tmp_path / "other").with_suffix(".pub").read_text().split()
    site.known_hosts.write_text(f"{site.sshd.name} {other[0]} {other[1]}\n")
    with pytest.raises(HostKeyError, match="not the one we know"):
        site.connected()


def test_a_changed_host_key_is_refused(site, tmp_path) -> None:
    other = make_key(tmp_path / "other").with_suffix(".pub").read_text().split()
    site.known_hosts.write_text(f"{site.sshd.name} {other[0]} {other[1]}\n")
    with pytest.raises(HostKeyError, match="not the one we know") as caught:
        site.connected()
    assert "ssh-keygen -R" in str(caught.value.hint)
    assert "SHA256:" in str(caught.value.said)


def test_a_revoked_host_key_is_refused(site) -> None:
    with site.known_hosts.open("a") as stream:
        stream.write("@revoked * " + " ".join(site.sshd.host_key_public().split()[:2]) + "\n")
    with pytest.raises(HostKeyError):
        site.connected()


def test_a_hashed_name_is_found(site) -> None:
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(site.known_hosts)], check=True)
    assert "127.0.0.1" not in site.known_hosts.read_text()
    site.connected()


def test_names_with_blanks(site, tmp_path) -> None:
    folder = tmp_path / "My Files"
    folder.mkdir()
    known = site.known_hosts.rename(folder / "known hosts")
    key = folder / "my key"
    key.write_bytes(site.key.read_bytes())
    key.chmod(0o600)
    site.config = site.config.rename(folder / "my config")
    site.config.write_text(
        f'Host site\n  HostName 127.0.0.1\n  Port {site.sshd.port}\n  IdentityFile "{key}"\n'
        f'  UserKnownHostsFile "{folder}/first one" "{known}"\n'
    )
    site.connected()


def test_host_key_alias(site) -> None:
    site.known_hosts.write_text(site.sshd.known_line.replace(site.sshd.name, "the-site"))
    site.write_config("Host site", "  HostKeyAlias the-site")
    site.connected()


def test_a_second_type_of_key_is_not_unknown(start_sshd, site_of, kind, tmp_path) -> None:
    rsa = make_key(tmp_path / "host_rsa", "", "rsa")
    site = site_of(start_sshd(f"HostKey {rsa}"), kind)
    public = rsa.with_suffix(".pub").read_text().split()
    site.known_hosts.write_text(f"{site.sshd.name} {public[0]} {public[1]}\n")
    site.connected()
