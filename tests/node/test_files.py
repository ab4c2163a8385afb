"""Files appear whole, private, and where they were meant to."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from hpclaunch.node.files import make_private_dir, read_json, remove, write_private_json

pytestmark = pytest.mark.pure


def test_written_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        write_private_json(str(tmp_path / "told.json"), {"é": [1, None]})
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "told.json").stat().st_mode) == 0o600
    assert read_json(str(tmp_path / "told.json")) == {"é": [1, None]}
    assert [path.name for path in tmp_path.iterdir()] == ["told.json"]


def test_a_link_in_the_way_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("untouched")
    (tmp_path / "told.json").symlink_to(tmp_path / "elsewhere")
    write_private_json(str(tmp_path / "told.json"), 1)
    assert (tmp_path / "elsewhere").read_text() == "untouched"
    assert not (tmp_path / "told.json").is_symlink()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "told.json"
    target.mkdir()
    (target / "in the way").touch()
    with pytest.raises(OSError):
        write_private_json(str(target), 1)
    assert [path.name for path in tmp_path.iterdir()] == ["told.json"]


def test_private_directory_is_closed_when_it_was_open(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    for name in ("open", "new/below"):
        make_private_dir(str(tmp_path / name))
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o700


def test_remove_takes_files_trees_links_and_nothing(tmp_path: Path) -> None:
    (tmp_path / "tree" / "below").mkdir(parents=True)
    (tmp_path / "file").touch()
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    for name in ("tree", "file", "link", "absent"):
        remove(str(tmp_path / name))
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
