"""Damaged, truncated and changing files: an error that names file and variable, no wrong values."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpclaunch.errors import ChangedFile, CorruptFile, StorageError
from hpclaunch.storage import chunkcache, reader
from hpclaunch.storage.layout import Layout
from hpclaunch.storage.reader import read
from hpclaunch.storage.source import open_source
from tests.storage.layouts import ALL, WHERE, counting, layout_of, standard

pytestmark = pytest.mark.pure


def test_a_layout_that_is_not_read_here_says_why():
    layout = Layout("other", (2,), np.dtype("f4"), reason="variable-length text")
    with pytest.raises(StorageError, match=r"variable /v .*variable-length text"):
        read(open_source(__file__), layout, (0,), where=WHERE)


@pytest.mark.parametrize("key", [ALL, (slice(None), 3, 4), (7, slice(None), slice(5))])
@pytest.mark.parametrize("fletcher32", [False, True])
def test_a_flipped_bit_is_told_with_file_variable_and_chunk(tmp_path, key, fletcher32):
    path, layout, _ = standard(tmp_path, fletcher32=fletcher32)
    at = int(layout.offsets[7, 0, 0]) + int(layout.sizes[7, 0, 0]) // 2
    whole = bytearray(path.read_bytes())
    whole[at] ^= 4
    path.write_bytes(whole)
    with pytest.raises(CorruptFile, match=r"a\.h5: chunk \(7, 0, 0\) of variable /v, at byte \d+"):
        read(open_source(str(path)), layout, key, where=WHERE)


def test_a_truncated_file_is_told_before_it_is_read(tmp_path):
    for how in ({}, {"compression": None}, {"chunks": None, "compression": None, "shuffle": None}):
        path, layout, _ = standard(tmp_path, **how)
        last = int((layout.offsets + layout.sizes).max())
        path.write_bytes(path.read_bytes()[: last - 1])
        source = counting(path)
        with pytest.raises(CorruptFile, match=r"a\.h5.*variable /v.*the file ends before"):
            read(source, layout, ALL, where=WHERE)
        assert source.reads == []


def test_an_offset_beyond_everything_is_told(tmp_path):
    path, layout, _ = standard(tmp_path)
    layout.offsets[3, 0, 0] = 2**64 - 2
    with pytest.raises(CorruptFile, match=r"chunk \(3, 0, 0\).*ends before"):
        read(open_source(str(path)), layout, ALL, where=WHERE)


def test_a_chunk_that_cannot_hold_its_values_is_told(tmp_path):
    path, layout, _ = standard(tmp_path)
    layout.sizes[2, 0, 0] = 2
    with pytest.raises(CorruptFile, match=r"chunk \(2, 0, 0\).*cannot hold"):
        read(open_source(str(path)), layout, ALL, where=WHERE)


def test_a_chunk_larger_than_memory_is_refused(tmp_path, monkeypatch):
    n = (64 << 20) + 1
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("v", data=np.zeros(n, "u1"), chunks=(n,), compression=1)
    monkeypatch.setattr(reader, "memory", lambda: 1 << 20)
    layout = layout_of(tmp_path / "a.h5")
    with pytest.raises(StorageError, match=rf"a\.h5: a chunk of variable /v has {n} bytes") as told:
        read(counting(tmp_path / "a.h5"), layout, (0,), where=WHERE)
    assert "smaller chunks" in told.value.hint


def test_a_file_that_is_written_to_while_it_is_read_is_told(tmp_path):
    path, layout, _ = standard(tmp_path)
    source = counting(path)
    real = source.file.read

    def read_and_write(offset, into):
        real(offset, into)
        with path.open("ab") as more:
            more.write(b"x")

    source.file.read = read_and_write
    with pytest.raises(ChangedFile, match=r"a\.h5 grew"):
        read(source, layout, ALL, where=WHERE)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(at=st.integers(0, 10**6), flip=st.integers(1, 255), fletcher32=st.booleans())
def test_damage_anywhere_is_told_or_does_no_harm(tmp_path, at, flip, fletcher32):
    path, layout, data = standard(tmp_path, fletcher32=fletcher32, chunks=(4, 20, 30))
    whole = bytearray(path.read_bytes())
    whole[at % len(whole)] ^= flip
    path.write_bytes(whole)
    chunkcache.cache.clear()
    try:
        found = read(open_source(str(path)), layout, ALL, where=WHERE)
    except CorruptFile:
        return
    assert np.array_equal(found, data)
