"""Bytes by pread: whole or an error, few descriptors, changes noticed."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from hpclaunch.errors import ChangedFile, CorruptFile
from hpclaunch.storage import source as module
from hpclaunch.storage.source import identify, open_source

pytestmark = pytest.mark.pure


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "some.bin"
    path.write_bytes(bytes(range(256)) * 16)
    return path


@pytest.fixture
def descriptors(monkeypatch):
    """A fresh set, closed at the end."""
    fresh = module._Descriptors()
    monkeypatch.setattr(module, "_descriptors", fresh)
    yield fresh
    fresh.close()


def part(source, offset, size) -> bytes:
    into = bytearray(size)
    source.read(offset, memoryview(into))
    return bytes(into)


def test_it_fills_what_it_is_given(file):
    source = open_source(str(file))
    assert part(source, 250, 10) == bytes([*range(250, 256), *range(4)])
    assert part(source, 4095, 1) == b"\xff"
    assert part(source, 17, 0) == b""


def test_the_identity_is_that_of_the_real_file(file, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(file)
    assert identify(str(link)) == identify(str(file))
    assert open_source(str(link), identify(str(file))).identity.path == str(file)


def test_a_read_beyond_the_end_says_where_it_ends(file):
    with pytest.raises(CorruptFile, match=r"some\.bin ends before byte 4097"):
        part(open_source(str(file)), 4090, 7)


def test_a_read_in_many_pieces_is_put_together(file, monkeypatch):
    real = module._pread
    monkeypatch.setattr(module, "_pread", lambda number, into, at: real(number, into[:7], at))
    assert part(open_source(str(file)), 3, 400) == file.read_bytes()[3:403]


def cut(path):
    path.write_bytes(path.read_bytes()[:100])


def grow(path):
    with path.open("ab") as more:
        more.write(b"x")


def touch(path):
    os.utime(path, ns=(1, 1))


def put_another_there(path):
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes())
    stamp = path.stat().st_mtime_ns
    os.utime(other, ns=(stamp, stamp))
    other.replace(path)


@pytest.mark.parametrize("change", [cut, grow, touch, put_another_there])
def test_a_file_that_changed_is_not_opened(file, change):
    before = identify(str(file))
    open_source(str(file), before)
    change(file)
    with pytest.raises(ChangedFile, match=r"some\.bin"):
        open_source(str(file), before)


@pytest.mark.parametrize("change", [cut, grow, touch])
def test_a_file_that_changes_while_it_is_open_is_told(file, change):
    source = open_source(str(file))
    part(source, 0, 1)
    source.check()
    change(file)
    with pytest.raises(ChangedFile, match=r"some\.bin"):
        source.check()


def test_a_read_that_comes_short_because_the_file_was_cut_says_so(file):
    source = open_source(str(file))
    part(source, 0, 1)
    cut(file)
    with pytest.raises(ChangedFile, match="was cut from 4096 to 100 bytes"):
        part(source, 90, 20)


def test_the_wrong_file_is_not_read_even_the_first_time(file):
    source = open_source(str(file))
    put_another_there(file)
    with pytest.raises(ChangedFile, match="replaced"):
        part(source, 0, 1)


def test_missing_and_forbidden_files_are_told_by_the_system(tmp_path, file):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_source(str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_source(str(tmp_path / "nowhere"), identify(str(file)))


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ChangedFile, match="not a regular file"):
        part(open_source(str(tmp_path)), 0, 1)


def test_an_error_of_the_system_names_the_file(file, monkeypatch):
    def fail(number, into, at):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(module, "_pread", fail)
    with pytest.raises(OSError, match=r"Input/output error.*some\.bin"):
        part(open_source(str(file)), 0, 1)


def test_descriptors_are_bounded(tmp_path, descriptors):
    descriptors.limit = 5
    paths = [tmp_path / f"{i}" for i in range(12)]
    for i, path in enumerate(paths):
        path.write_bytes(bytes([i]) * 10)
    sources = [open_source(str(path)) for path in paths]
    for _ in range(2):
        for i, source in enumerate(sources):
            assert part(source, 2, 3) == bytes([i]) * 3
            assert len(descriptors.open) <= 5


def test_a_descriptor_in_use_is_not_closed(tmp_path, descriptors, file):
    descriptors.limit = 1
    used = open_source(str(file))
    number = descriptors.take(used._slot, used)
    try:
        for i in range(3):
            other = tmp_path / f"{i}"
            other.write_bytes(b"abc")
            assert part(open_source(str(other)), 0, 3) == b"abc"
        assert os.pread(number, 2, 0) == b"\x00\x01"
    finally:
        descriptors.give(used._slot)


def test_many_threads_share_few_descriptors(tmp_path, descriptors):
    descriptors.limit = 3
    paths = [tmp_path / f"{i}" for i in range(8)]
    for i, path in enumerate(paths):
        path.write_bytes(bytes([i]) * 1000)
    sources = [open_source(str(path)) for path in paths]

    def some(n):
        i = n % len(sources)
        return part(sources[i], n % 900, 100) == bytes([i]) * 100

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(some, range(2000)))
    assert not any(entry.users for entry in descriptors.open)


def test_a_child_reads_though_the_lock_was_held_when_it_was_born(file):
    source = open_source(str(file))
    part(source, 0, 1)
    held, go = threading.Event(), threading.Event()

    def hold():
        with module._descriptors.lock:
            held.set()
            go.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    child = os.fork()
    if not child:
        try:
            os._exit(0 if part(source, 5, 2) == b"\x05\x06" else 1)
        finally:
            os._exit(2)
    go.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_without_an_inode_the_rest_is_compared(file):
    open_source(str(file), replace(identify(str(file)), inode=0))
