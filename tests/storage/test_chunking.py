"""Chunk shapes: their size, their form for each access, and how blocks are drawn to them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch.storage.chunking import aligned_blocks, chunk_shape, even, fit

pytestmark = pytest.mark.pure

MIB = 2**20
SIZES = st.lists(st.integers(0, 5000), min_size=0, max_size=5)
ACCESS = st.sampled_from(["map", "series", "all"])


@given(SIZES, st.sampled_from([1, 2, 4, 8]), ACCESS, st.data())
def test_every_shape_gives_chunks_within_bounds(shape, itemsize, access, data):
    along = data.draw(st.integers(0, len(shape) - 1)) if shape else None
    chunk = chunk_shape(shape, itemsize, access, along=along)
    assert len(chunk) == len(shape)
    assert all(1 <= c <= max(1, n) for c, n in zip(chunk, shape, strict=True))
    nbytes = math.prod(chunk) * itemsize
    assert nbytes <= 4 * MIB
    total = math.prod(max(1, n) for n in shape) * itemsize
    assert nbytes >= min(total, MIB // 4)


@pytest.mark.parametrize(
    ("shape", "access", "expected"),
    [
        ((8760, 181, 360), "map", (8, 181, 360)),
        ((8760, 721, 1440), "map", (1, 721, 1440)),
        ((8760, 37, 721, 1440), "map", (1, 1, 721, 1440)),
        ((8760, 3000, 6000), "map", (1, 500, 1000)),
        ((120, 181, 360), "series", (120, 46, 90)),
        ((100, 200), "map", (100, 200)),
        ((10_000_000,), "all", (500_000,)),
    ],
)
def test_shapes_that_are_known_to_be_good(shape, access, expected):
    assert chunk_shape(shape, 4, access) == expected


def test_series_are_long_and_all_is_between():
    shape = (8760, 181, 360)
    maps, series, both = (chunk_shape(shape, 4, access) for access in ("map", "series", "all"))
    assert series[0] == 8760
    assert maps[0] < both[0] < series[0]
    for_series = 8760 / both[0]
    for_map = math.ceil(181 / both[1]) * math.ceil(360 / both[2])
    assert 0.4 < for_series / for_map < 2.5


def test_an_unlimited_dimension_has_no_chunks_of_one_step_unless_a_step_is_large():
    assert chunk_shape((100_000, 50, 50), 4, "map")[0] >= 100
    assert chunk_shape((100_000, 10), 4, "map")[0] >= 10_000
    assert chunk_shape((100_000,), 4, "map")[0] >= 10_000


def test_a_series_axis_that_is_not_the_first():
    chunk = chunk_shape((181, 360, 8760), 4, "series", along=2)
    assert chunk[2] == 8760 and chunk[0] * chunk[1] <= 60


def test_chunks_are_drawn_to_the_blocks():
    months = tuple(24 * days for days in (31, 28, 31, 30))
    chunk = chunk_shape((sum(months), 91, 180), 4, "map", blocks=(months, (91,), (180,)))
    assert chunk == (24, 91, 180)
    assert aligned_blocks((months, (91,), (180,)), chunk, 4, 128 * MIB) == (months, (91,), (180,))


@given(st.integers(1, 1000), st.lists(st.integers(1, 800), min_size=1, max_size=6))
def test_fit_stays_near(length, blocks):
    assert length / 2 <= fit(length, blocks) <= 2 * length


@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_even_keeps_the_number_of_pieces(size, length):
    assert math.ceil(size / even(size, length)) == math.ceil(size / min(size, length))


@given(
    st.lists(st.lists(st.integers(1, 300), min_size=1, max_size=8), min_size=1, max_size=3),
    st.data(),
)
def test_aligned_blocks_cover_all_and_cut_between_chunks(blocks, data):
    chunk = [data.draw(st.integers(1, sum(b))) for b in blocks]
    made = aligned_blocks(blocks, chunk, 4, MIB)
    assert [sum(b) for b in made] == [sum(b) for b in blocks]
    for lengths, c in zip(made, chunk, strict=True):
        assert all(n % c == 0 for n in lengths[:-1])
    given_again = tuple(map(tuple, blocks)) == made
    assert given_again or math.prod(map(max, made)) * 4 <= max(MIB, math.prod(chunk) * 4)
