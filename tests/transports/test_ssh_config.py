"""The user's SSH configuration: ssh is asked, and our own reader agrees with it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from hpclaunch.errors import ProfileError
from hpclaunch.transports import ssh_config
from hpclaunch.transports.ssh_config import Settings, resolve, settings_from
from hpclaunch.transports.ssh_config_reader import read_config
from hpclaunch.transports.target import Target

pytestmark = pytest.mark.local

CONFIG = """\
User everyone
Include {folder}/parts/*.conf
Host login
    HostName login.example.org
    Port 2222
    User me
    IdentityFile {folder}/id_%r
    IdentitiesOnly yes
    UserKnownHostsFile {folder}/known1 {folder}/known2
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
Host jumped
    HostName inner
    ProxyJump me@gate.example.org:2200,second
    HostKeyAlias the-site
Host commanded
    ProxyCommand nc -x proxy:1080 %h %p
Host quiet
    PasswordAuthentication no
    PreferredAuthentications publickey,password
Match host matched
    Port 99
Host *.wild !no.wild
    Port 77
Host plain
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a.conf").write_text("Host included\n  Port 4444\n  User them\n")
    (tmp_path / "parts" / "b.conf").write_text(f"Include {tmp_path}/deep\n")
    (tmp_path / "deep").write_text("Host deep\n  HostName deeper\n")
    path = tmp_path / "config"
    path.write_text(CONFIG.format(folder=tmp_path))
    return path


HOSTS = ["login", "jumped", "commanded", "quiet", "matched", "a.wild", "no.wild", "plain"]


@pytest.mark.parametrize("host", [*HOSTS, "included", "deep"])
def test_our_reader_and_ssh_agree(config: Path, host: str) -> None:
    target = Target(host, ssh_config=config)
    ours, its = settings_from(host, read_config(target)), resolve(target)
    if host != "login":  # where nothing is said the defaults differ: ours are those we can use
        ours, its = comparable(ours), comparable(its)
    assert ours.proxy_line == its.proxy_line
    ours, its = replace(ours, proxy_command=None), replace(its, proxy_command=None)
    assert replace(ours, host_key_algorithms=()) == replace(its, host_key_algorithms=())


def comparable(settings: Settings) -> Settings:
    return replace(settings, identities=(), known_hosts=(), global_known_hosts=())


def test_what_the_configuration_says(config: Path, tmp_path: Path) -> None:
    found = resolve(Target("login", ssh_config=config))
    assert (found.hostname, found.port, found.user) == ("login.example.org", 2222, "everyone")
    assert found.identities == (tmp_path / "id_everyone",)
    assert found.known_hosts == (tmp_path / "known1", tmp_path / "known2")
    assert found.strict == "yes"
    assert found.key_name == "[login.example.org]:2222"
    jumped = resolve(Target("jumped", ssh_config=config))
    assert jumped.proxy_jump == "me@gate.example.org:2200,second"
    assert jumped.key_name == "the-site"
    commanded = resolve(Target("commanded", ssh_config=config))
    assert commanded.proxy_line == "nc -x proxy:1080 commanded 22"
    assert resolve(Target("quiet", ssh_config=config)).methods == ("publickey",)


def test_the_target_wins(config: Path, tmp_path: Path) -> None:
    key = tmp_path / "id_special"
    key.touch()
    target = Target("login", user="root", port=1, identity=str(key), ssh_config=config)
    for found in (resolve(target), settings_from("login", read_config(target))):
        assert (found.user, found.port, found.identities[0]) == ("root", 1, key)
        assert found.identities_only


def test_without_ssh_the_reader_is_used(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(ssh_config.subprocess, "run", lambda *a, **k: pytest.fail("no ssh here"))
    assert resolve(Target("login", ssh_config=config)).port == 2222


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Match exec true\n  Port 1\n", "Match exec"),
        ("Host a\n  Include {folder}/inner\n", "Host lines"),
        ("Include {folder}/config\nInclude {folder}/loop\n", "too many times"),
        ("Match host a !exec false\n", "Match exec"),
        ("Match nonsense x\n", "Match nonsense"),
        ("what is this\nHost\n", "cannot be read"),
    ],
)
def test_what_only_ssh_can_read_is_said(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "inner").write_text("Host b\n  Port 3\n")
    (tmp_path / "loop").write_text(f"Include {tmp_path}/loop2\n")
    (tmp_path / "loop2").write_text(f"Include {tmp_path}/loop\n")
    path = tmp_path / "config"
    path.write_text(text.format(folder=tmp_path))
    with pytest.raises(ProfileError, match=words):
        read_config(Target("a", ssh_config=path))


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="does not exist"):
        resolve(Target("a", ssh_config=tmp_path / "nowhere"))
