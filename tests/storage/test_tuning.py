"""The reader's options by where a file lies."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

import hpclaunch.storage
from hpclaunch.filesystems import KINDS
from hpclaunch.storage import tuning
from hpclaunch.storage.places import Place
from hpclaunch.storage.reader import Options
from hpclaunch.storage.stripes import Stripes

pytestmark = pytest.mark.pure


@pytest.fixture(autouse=True)
def forgotten():
    tuning._options.cache_clear()
    yield
    tuning._options.cache_clear()


def test_stripes_reach_the_reader_once_for_a_directory(monkeypatch):
    asked = []

    def place(path, *, ask):
        asked.append(path)
        assert ask(["lfs"]) is None, "no tool is run"
        return Place(path, KINDS["lustre"], components=(Stripes(4 * 2**20, 8),), size=2**30)

    monkeypatch.setattr(tuning, "place", place)
    for path in ("/lustre/a/1.nc", "/lustre/a/2.nc", "/lustre/b/1.nc"):
        assert tuning.options_for(path) == replace(Options(), align=4 * 2**20, gap=2**20)
    assert asked == ["/lustre/a/1.nc", "/lustre/b/1.nc"]


def test_a_local_file_is_read_with_the_usual_options(tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a tool was run"))
    (tmp_path / "f.nc").touch()
    found = tuning.options_for(str(tmp_path / "f.nc"))
    assert replace(found, gap=Options().gap) == Options()


def test_what_is_not_there_is_told_by_whoever_reads_it():
    assert tuning.options_for("/absent/f.nc") == Options()


@pytest.mark.parametrize("name", hpclaunch.storage.__all__)
def test_a_public_name_is_there(name):
    assert callable(getattr(hpclaunch.storage, name))
