"""Where the user's files lie: in one place, closed to others, and said when it cannot be."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from hpclaunch import paths
from hpclaunch.errors import HpclaunchError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def umask():
    """Files are closed because we say so, not because the user's umask does."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_hpclaunch_home_moves_every_file(hpclaunch_home):
    places = {paths.config_dir(), paths.state_dir(), paths.data_dir()}
    assert {place.parent for place in places} == {hpclaunch_home}
    assert len(places) == 3


def test_without_it_the_platforms_own_places_are_used(monkeypatch, tmp_path):
    monkeypatch.delenv("HPCLAUNCH_HOME")
    for variable in ("CONFIG", "STATE", "DATA"):
        monkeypatch.setenv(f"XDG_{variable}_HOME", str(tmp_path / variable))
    assert paths.config_dir() == tmp_path / "CONFIG" / "hpclaunch"
    assert paths.state_dir() == tmp_path / "STATE" / "hpclaunch"
    assert paths.data_dir() == tmp_path / "DATA" / "hpclaunch"


def test_hpclaunch_home_may_be_relative_or_have_a_tilde(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HPCLAUNCH_HOME", "~/x")
    assert paths.state_dir() == tmp_path / "x" / "state"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPCLAUNCH_HOME", "y")
    assert paths.state_dir() == tmp_path / "y" / "state"
    monkeypatch.setenv("HPCLAUNCH_HOME", "~nobody-here/x")
    with pytest.raises(HpclaunchError, match="no user of that name"):
        paths.state_dir()


def test_a_private_directory_is_closed_even_if_it_was_open(tmp_path, umask):
    made = paths.private_dir(tmp_path / "a" / "b")
    assert mode(made) == 0o700
    made.chmod(0o777)
    assert mode(paths.private_dir(made)) == 0o700


def test_a_link_is_no_private_directory(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    with pytest.raises(HpclaunchError, match="is not a directory of yours") as caught:
        paths.private_dir(tmp_path / "link")
    assert "HPCLAUNCH_HOME" in str(caught.value.hint)


def test_a_strangers_directory_is_refused(tmp_path, monkeypatch):
    (tmp_path / "x").mkdir()
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(HpclaunchError, match="is not a directory of yours"):
        paths.private_dir(tmp_path / "x")


def test_a_directory_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "x" / "y"):
        with pytest.raises(HpclaunchError, match="cannot be made") as caught:
            paths.private_dir(path)
        assert "HPCLAUNCH_HOME" in str(caught.value.hint)


@pytest.mark.parametrize("length", [5, 80, 200])
def test_sockets_have_a_short_path_of_their_own(tmp_path, monkeypatch, length):
    """AF_UNIX paths end at about 100 characters."""
    found = []
    for home in (tmp_path / (name * length) for name in "ab"):
        monkeypatch.setenv("HPCLAUNCH_HOME", str(home))
        found.append(paths.runtime_dir())
    for directory in found:
        assert len(str(directory)) <= 50
        assert mode(directory) == 0o700
        assert paths.private_dir(directory) == directory
    assert found[0] != found[1]
    for directory in found:
        directory.rmdir()


def test_a_private_file_is_private_and_whole(tmp_path, umask):
    paths.write_private(tmp_path / "x", b"one")
    assert mode(tmp_path / "x") == 0o600
    (tmp_path / "x").chmod(0o644)
    paths.write_private(tmp_path / "x", b"two")
    assert (mode(tmp_path / "x"), (tmp_path / "x").read_bytes()) == (0o600, b"two")
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


def test_a_reader_never_sees_half_a_file(tmp_path):
    texts = [bytes([number]) * 200_000 for number in (65, 66)]
    paths.write_private(tmp_path / "x", texts[0])
    over = threading.Event()

    def write() -> None:
        for turn in range(40):
            paths.write_private(tmp_path / "x", texts[turn % 2])
        over.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not over.is_set():
        seen.add((tmp_path / "x").read_bytes())
    writer.join()
    assert seen <= set(texts)


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    paths.write_private(tmp_path / "x", b"old")

    def fail(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        paths.write_private(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


def test_profiles_and_templates_are_shipped():
    assert (paths.shipped_dir("site_profiles") / "local.toml").is_file()
    assert (paths.shipped_dir("templates") / "session.sh.j2").is_file()
    assert (paths.shipped_dir("templates") / "remote" / "submit.sh").is_file()
