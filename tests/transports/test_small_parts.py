"""Targets, key files and the choice of a transport."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sshd_process import make_key, require_sshd

from hpclaunch.errors import ProfileError
from hpclaunch.transports.factory import make_transport, resolve_kind
from hpclaunch.transports.keys import is_locked, public_blob
from hpclaunch.transports.local import LocalTransport
from hpclaunch.transports.openssh import OpenSSH
from hpclaunch.transports.ssh import ParamikoSSH
from hpclaunch.transports.target import Target

pytestmark = pytest.mark.pure


@pytest.mark.parametrize("host", ["", "-oProxyCommand=reboot", "a b", "a\nb", "a\0b", " a"])
def test_a_host_that_ssh_would_misread_is_refused(host: str) -> None:
    with pytest.raises(ProfileError, match="not a host name"):
        Target(host)
    with pytest.raises(ProfileError, match="not a user name"):
        Target("h", user=host)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_that_is_none(port: int) -> None:
    with pytest.raises(ProfileError, match="1 to 65535"):
        Target("h", port=port)


def test_equal_targets_share_a_key_and_others_do_not() -> None:
    assert Target("h", prologue=("x",)).key == Target("h", connect_timeout=3).key
    others = [Target("h"), Target("i"), Target("h", user="u"), Target("h", port=1)]
    others += [Target("h", identity="k"), Target("h", ssh_config=Path("c"))]
    assert len({target.key for target in others}) == len(others)


@pytest.mark.parametrize("options", [("ed25519",), ("rsa",), ("ecdsa",), ("rsa", "-m", "PEM")])
@pytest.mark.parametrize("passphrase", ["", "sesame"])
def test_key_files_tell_lock_and_public_half(
    tmp_path: Path, options: tuple[str, ...], passphrase: str
) -> None:
    key = make_key(tmp_path / "id", passphrase, *options)
    public = key.with_suffix(".pub")
    assert is_locked(key) is bool(passphrase)
    assert public_blob(key) == public_blob(public) is not None
    assert not is_locked(public)


@given(st.binary(max_size=300))
def test_no_file_is_mistaken_for_a_key(junk: bytes) -> None:
    import tempfile

    begin, end = b"-----BEGIN OPENSSH PRIVATE KEY-----\n", b"\n-----END OPENSSH PRIVATE KEY-----\n"
    with tempfile.NamedTemporaryFile() as stream:
        stream.write(begin + junk + end)
        stream.flush()
        is_locked(Path(stream.name))
        public_blob(Path(stream.name))


def test_a_missing_key_file_is_no_key(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "none")
    assert public_blob(tmp_path / "none") is None


def test_the_transports_by_name(tmp_path: Path) -> None:
    target = Target("h")
    assert isinstance(make_transport("openssh", target, tmp_path), OpenSSH)
    assert isinstance(make_transport("auto", target, tmp_path), OpenSSH)
    assert isinstance(make_transport("paramiko", target, tmp_path), ParamikoSSH)
    assert isinstance(make_transport("local"), LocalTransport)


def test_auto_where_ssh_cannot_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert resolve_kind("auto") == "paramiko"
    with pytest.raises(ProfileError, match="no ssh that can share"):
        resolve_kind("openssh")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert resolve_kind("auto") == "paramiko"


def test_wrong_choices_are_told() -> None:
    with pytest.raises(ProfileError, match="telnet") as caught:
        make_transport("telnet")
    assert "openssh" in str(caught.value.hint)
    with pytest.raises(ProfileError, match="needs a login host"):
        make_transport("paramiko")


def test_paramiko_needs_no_posix_module() -> None:
    """As on Windows: these modules do not exist there, nor do UNIX sockets in Python."""
    program = """
import os, socket, sys
for name in ("fcntl", "pwd", "grp", "termios", "tty", "pty", "resource"):
    sys.modules[name] = None
for name in ("getuid", "geteuid", "getpgrp", "tcgetpgrp", "killpg", "setsid"):
    delattr(os, name)
del socket.AF_UNIX
import hpclaunch.transports.factory, hpclaunch.transports.ssh
import hpclaunch.transports.ssh_config_reader
from hpclaunch.transports.target import Target
from pathlib import Path
hpclaunch.transports.factory.make_transport("paramiko", Target("h"), Path("."))
print("imported")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "imported\n", done.stderr


def test_a_missing_sshd_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *args, **more: None)
    with pytest.raises(RuntimeError, match=r"no sshd; run tests/install_system_packages\.sh"):
        require_sshd()
