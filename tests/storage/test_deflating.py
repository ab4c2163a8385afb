"""Deflated chunks: any inflate gives them back, and none is much larger than zlib would make it."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpclaunch.storage import deflating
from hpclaunch.storage.deflating import TRUST, Deflater

library = pytest.importorskip("deflate")
pytestmark = pytest.mark.pure

SIZE = 40_000
"""Elements of a chunk."""


def noise(seed=0, size=SIZE, dtype="f4"):
    """A smooth curve with noise in its last bits."""
    random = np.random.default_rng(seed)
    return (280 + np.sin(np.linspace(0, 9, size)) + random.normal(0, 0.1, size)).astype(dtype)


def planes(values):
    """The bytes of shuffled values."""
    values = np.ascontiguousarray(values)
    return values.view(np.uint8).reshape(-1, values.dtype.itemsize).T.tobytes()


def repeated(period):
    """Noise that comes again after so many elements."""
    return np.tile(noise(3, period), SIZE // period + 1)[:SIZE]


CHUNKS = {
    "noise": noise(),
    "double noise": noise(dtype="f8"),
    "large chunk": noise(1, 300_000),
    "integers": (100 * noise()).astype("i2"),
    "big-endian": noise(dtype=">f4"),
    "constant": np.full(SIZE, 1.5, "f4"),
    "half of it missing": np.where(np.arange(SIZE) % 2000 < 1000, np.float32(1e20), noise()),
    "rows that repeat": repeated(360),
    "long rows that repeat": repeated(9000),
    "every byte equally often": np.arange(SIZE, dtype="u4") * np.uint32(0x01010101),
    "random bytes": np.frombuffer(np.random.default_rng(2).bytes(4 * SIZE), "u4"),
    "small": noise(0, 500),
}


@pytest.mark.parametrize("values", CHUNKS.values(), ids=CHUNKS)
@pytest.mark.parametrize("level", range(1, 10))
def test_no_chunk_is_much_larger_than_zlib_makes_it(values, level):
    data = planes(values)
    deflate = Deflater()
    for _ in range(3):
        found = deflate(data, level, values.dtype.itemsize)
        assert zlib.decompress(found) == data
        assert len(found) <= len(zlib.compress(data, level)) + len(data) // 1000


def test_planes_of_noise_are_stored():
    data = planes(noise())
    found = Deflater()(data, 4, 4)
    assert found[2:7] == b"\0" + SIZE.to_bytes(2, "little") + (0xFFFF ^ SIZE).to_bytes(2, "little")
    assert found[7 : 7 + SIZE] == data[:SIZE]
    assert zlib.decompress(found) == data


def test_chunks_without_noise_shrink_though_those_before_had_some():
    deflate = Deflater()
    assert len(deflate(planes(noise()), 4, 4)) > SIZE
    for values in (np.full(SIZE, 1.5, "f4"), CHUNKS["half of it missing"], repeated(360)):
        data = planes(values)
        found = deflate(data, 4, 4)
        assert zlib.decompress(found) == data
        assert len(found) <= len(zlib.compress(data, 4)) + len(data) // 1000
        assert len(deflate(planes(noise()), 4, 4)) > SIZE


def test_noise_is_looked_for_again_after_some_chunks():
    deflate = Deflater()
    deflate(planes(np.full(SIZE, 1.5, "f4")), 4, 4)
    data = planes(noise())
    whole = library.zlib_compress(data, 4)
    assert [deflate(data, 4, 4) == whole for _ in range(TRUST)] == [True] * (TRUST - 1) + [False]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["noise", "zeros", "ramp"]),
            st.integers(0, 30_000),
            st.integers(0, 7),
        ),
        min_size=1,
        max_size=6,
    ),
    st.integers(1, 9),
    st.sampled_from([1, 2, 3, 4, 8]),
)
def test_whatever_comes_in_comes_out(chunks, level, width):
    deflate = Deflater()
    for kind, elements, rest in chunks:
        size = elements * width + rest % width
        data = {
            "noise": np.random.default_rng(size).bytes(size),
            "zeros": bytes(size),
            "ramp": (np.arange(size) % 251).astype(np.uint8).tobytes(),
        }[kind]
        assert zlib.decompress(deflate(data, level, width)) == data


def test_zlib_serves_without_the_library(monkeypatch):
    monkeypatch.setattr(deflating, "_library", lambda: None)
    data = planes(noise())
    assert Deflater()(data, 4, 4) == zlib.compress(data, 4)
