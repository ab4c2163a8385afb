"""Filters undone as HDF5 does it; damaged bytes are told, never passed on."""

from __future__ import annotations

import itertools
import zlib

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpclaunch.errors import CorruptFile, StorageError
from hpclaunch.storage import decode, unshuffle
from hpclaunch.storage.decode import Pipeline, decoders
from hpclaunch.storage.fletcher32 import fletcher32, matches
from hpclaunch.storage.layout import DEFLATE, FLETCHER32, SHUFFLE, Filter

pytestmark = pytest.mark.pure

ORDERS = [
    order for n in range(4) for order in itertools.permutations((DEFLATE, SHUFFLE, FLETCHER32), n)
]


def slow_fletcher32(data: bytes) -> int:
    """H5_checksum_fletcher32, step by step."""
    first = second = 0
    words = [data[i] << 8 | data[i + 1] for i in range(0, len(data) - 1, 2)]
    for start in range(0, len(words), 360):
        for word in words[start : start + 360]:
            first += word
            second += first
        first = (first & 0xFFFF) + (first >> 16)
        second = (second & 0xFFFF) + (second >> 16)
    if len(data) % 2:
        first += data[-1] << 8
        second += first
        first = (first & 0xFFFF) + (first >> 16)
        second = (second & 0xFFFF) + (second >> 16)
    first = (first & 0xFFFF) + (first >> 16)
    second = (second & 0xFFFF) + (second >> 16)
    return second << 16 | first


def shuffled(data: bytes, width: int) -> bytes:
    n = len(data) // width
    if width < 2 or n < 2:
        return data
    whole = np.frombuffer(data[: n * width], np.uint8).reshape(n, width)
    return whole.T.tobytes() + data[n * width :]


def written(data: bytes, filters, mask=0) -> bytes:
    """A chunk as HDF5 stores it."""
    for position, one in enumerate(filters):
        if mask >> position & 1:
            continue
        if one.id == DEFLATE:
            data = zlib.compress(data, 4)
        elif one.id == SHUFFLE:
            data = shuffled(data, one.options[0])
        else:
            data += slow_fletcher32(data).to_bytes(4, "little")
    return data


def filters(order, width):
    return [Filter(one, "", (width,) if one == SHUFFLE else (4,)) for one in order]


def decoded(pipeline, stored, mask=0):
    """By both ways; the second one straight to where the values are wanted."""
    found = pipeline.decode(memoryview(stored), mask)
    into = np.full(pipeline.size, 99, np.uint8)
    pipeline.decode_into(memoryview(stored), mask, into, into.ctypes.data)
    assert found.tobytes() == into.tobytes()
    return found.tobytes()


@pytest.fixture(params=["libraries", "python"])
def means(request, monkeypatch):
    """With the libraries that are installed, and with Python and numpy alone."""
    if request.param == "python":
        monkeypatch.setattr(decode, "_inflate", decode._by_zlib)
        monkeypatch.setattr(decode, "library", lambda short=False: None)
        monkeypatch.setattr(unshuffle, "library", lambda short=False: None)
    return request.param


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("width", [1, 2, 3, 4, 8, 16])
def test_every_pipeline_is_undone(means, order, width):
    data = np.random.default_rng(1).integers(0, 50, 12 * 7 * width, np.uint8).tobytes()
    some = filters(order, width)
    for mask in range(1 << len(order)):
        pipeline = Pipeline(some, len(data), width)
        stored = written(data, some, mask)
        assert len(stored) >= pipeline.least(mask)
        assert decoded(pipeline, stored, mask) == data


@pytest.mark.parametrize("width", [2, 3, 4, 5, 8, 16, 300])
@pytest.mark.parametrize("size", [0, 1, 2, 7, 8, 9, 63, 64, 65, 601, 4099])
def test_bytes_left_over_by_shuffle_stand_at_the_end(means, width, size):
    data = (np.arange(size) * 37 % 256).astype(np.uint8)
    source = np.frombuffer(shuffled(data.tobytes(), width), np.uint8)
    into = np.empty(size, np.uint8)
    unshuffle.unshuffle(source, width, into)
    assert into.tobytes() == data.tobytes()


@given(st.binary(max_size=5000), st.sampled_from([b"", b"\xff" * 2100, b"\0" * 4100]))
def test_fletcher32_is_that_of_hdf5(data, before):
    data = before + data
    assert fletcher32(np.frombuffer(data, np.uint8)) == slow_fletcher32(data)


def test_fletcher32_of_a_great_chunk():
    data = np.random.default_rng(0).integers(0, 256, 2_000_003, np.uint8)
    assert fletcher32(data) == slow_fletcher32(data.tobytes())


def test_fletcher32_of_old_releases_is_taken():
    data = np.arange(40, dtype=np.uint8)
    right = fletcher32(data)
    a, b, c, d = right.to_bytes(4, "big")
    assert matches(data, right)
    assert matches(data, int.from_bytes(bytes([b, a, d, c]), "big"))
    assert not matches(data, int.from_bytes(bytes([a, b, d, c]), "big"))


def test_a_chunk_of_the_hdf5_library_is_decoded(tmp_path):
    data = np.arange(1000, dtype="<f8").reshape(10, 100)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        one = file.create_dataset(
            "v", data=data, chunks=data.shape, compression=3, shuffle=True, fletcher32=True
        )
        plist = one.id.get_create_plist()
        some = [plist.get_filter(i) for i in range(plist.get_nfilters())]
        mask, stored = one.id.read_direct_chunk((0, 0))
    pipeline = Pipeline([Filter(f[0], "", f[2]) for f in some], data.nbytes, 8)
    assert len(some) == 3
    assert decoded(pipeline, stored, mask) == data.tobytes()


def test_a_filter_that_is_not_known_is_named():
    with pytest.raises(StorageError, match="szip"):
        Pipeline([Filter(4, "szip")], 10, 1)


def test_it_is_told_what_decodes(means):
    assert set(decoders()) == {"deflate", "shuffle", "fletcher32", "many chunks at once"}
    if means == "python":
        assert decoders()["shuffle"] == "numpy"


def test_so_few_bytes_are_refused_before_memory_is_asked_for(means):
    pipeline = Pipeline(filters((SHUFFLE, DEFLATE), 4), 1 << 50, 4)
    with pytest.raises(CorruptFile, match="cannot hold"):
        pipeline.admit(1000)
    with pytest.raises(CorruptFile, match="cannot hold"):
        pipeline.decode(memoryview(bytes(1000)))


@pytest.mark.parametrize("wrong", [-8, -1, 1, 8])
@pytest.mark.parametrize("order", ORDERS)
def test_a_chunk_of_the_wrong_size_is_corrupt(means, order, wrong):
    data = bytes(range(240))
    some = filters(order, 4)
    stored = written(data, some)
    pipeline = Pipeline(some, len(data) + wrong, 4)
    with pytest.raises(CorruptFile):
        pipeline.decode(memoryview(stored))


@pytest.mark.parametrize("order", [one for one in ORDERS if DEFLATE in one or FLETCHER32 in one])
def test_damage_is_found_by_the_checksums(means, order):
    data = np.random.default_rng(2).integers(0, 9, 960, np.uint8).tobytes()
    some = filters(order, 4)
    stored = written(data, some)
    pipeline = Pipeline(some, len(data), 4)

    @settings(max_examples=60, deadline=None)
    @given(at=st.integers(0, len(stored) - 1), flip=st.integers(1, 255), cut=st.booleans())
    def damaged(at, flip, cut):
        broken = bytearray(stored)
        broken[at] ^= flip
        if cut:
            del broken[at:]
        try:
            found = decoded(pipeline, bytes(broken))
        except CorruptFile:
            return
        assert found == data  # a bit that says nothing, as the level in the header of zlib

    damaged()


@settings(max_examples=300, deadline=None)
@given(
    stored=st.binary(max_size=300),
    order=st.sampled_from(ORDERS),
    width=st.sampled_from([1, 2, 3, 8]),
    size=st.integers(1, 400),
    mask=st.integers(0, 7),
)
def test_any_bytes_give_a_chunk_or_an_error(stored, order, width, size, mask):
    pipeline = Pipeline(filters(order, width), size, width)
    try:
        found = pipeline.decode(memoryview(stored), mask)
    except CorruptFile:
        return
    assert found.size == size
