"""Index arithmetic: every selected element once, and nothing that grows with the grid."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpclaunch.storage.requests import coalesce
from hpclaunch.storage.selection import select
from tests.storage.test_reader import indices

pytestmark = pytest.mark.pure


@settings(max_examples=500, deadline=None)
@given(
    st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), indices(n), st.integers(1, 70))),
    st.integers(1, 70),
)
def test_the_pieces_of_a_dimension_make_up_what_is_asked(case, jump):
    n, key, chunk = case
    data = np.arange(n)
    expected = np.atleast_1d(data[key])
    selection = select((key,), (n,), (chunk,), (jump,))
    found = np.full(expected.size, -1)
    assert selection.shape == (expected.size,)
    assert selection.kept == data[key].shape
    for piece in selection.pieces[0]:
        block = data[piece.chunk * chunk : (piece.chunk + 1) * chunk]
        found[piece.outside] = block[piece.inside]
        inside = np.arange(block.size)[piece.inside]
        assert (piece.count, piece.first, piece.last) == (inside.size, inside.min(), inside.max())
        assert np.diff(inside).max(initial=1) <= piece.stride
        assert (np.diff(inside) >= 0).all()
        if piece.whole:
            assert piece.count == chunk == block.size
            assert np.array_equal(found[piece.outside], block)
            assert isinstance(piece.outside, slice) and piece.outside.start is not None
    assert np.array_equal(found, expected)


def test_only_touched_chunks_are_looked_at():
    selection = select((slice(5, 10**15, 4 * 10**14),), (10**18,), (1,))
    assert [piece.chunk for piece in selection.pieces[0]] == [5, 5 + 4 * 10**14, 5 + 8 * 10**14]


@pytest.mark.parametrize(
    "key",
    [
        (5,),
        (-6,),
        (np.array([0, 5]),),
        (np.array([-6]),),
        (0, 0),
        (),
        (np.array([[1]]),),
        (np.array([0.5]),),
        (np.array([True]),),
    ],
)
def test_a_key_that_does_not_fit_is_refused(key):
    with pytest.raises(IndexError):
        select(key, (5,), (2,))


def test_a_mask_selects():
    mask = np.array([True, False, True, False, False])
    assert select((mask,), (5,), (2,)).kept == (2,)


pieces = st.lists(st.tuples(st.integers(0, 500), st.integers(1, 300)), min_size=1, max_size=40)


@given(pieces, st.integers(1, 3000), st.integers(0, 600), st.sampled_from([0, 64, 1000, 4096]))
def test_joined_reads_bring_every_piece_once(gaps, request, gap, align):
    offsets, sizes, end = [], [], 0
    for space, size in gaps:
        offsets.append(end + space)
        sizes.append(size)
        end += space + size
    joined = coalesce(offsets, sizes, request=request, gap=gap, align=align)
    assert joined[0].start == 0 and joined[-1].stop == len(offsets)
    for one, after in itertools.pairwise(joined):
        assert one.stop == after.start
    for one in joined:
        assert one.offset == offsets[one.start]
        assert one.offset + one.size == offsets[one.stop - 1] + sizes[one.stop - 1]
        assert one.stop - one.start == 1 or one.size <= request + request // 4
        spaces = [offsets[i + 1] - offsets[i] - sizes[i] for i in range(one.start, one.stop - 1)]
        assert all(space <= gap for space in spaces)
    if align and align <= request:
        window = request // align * align
        for one in joined:
            assert offsets[one.start] // window == offsets[one.stop - 1] // window


def test_a_small_rest_does_not_cost_a_read():
    assert len(coalesce(range(0, 110, 10), [10] * 11, request=100, gap=0)) == 1
    assert len(coalesce(range(0, 140, 10), [10] * 14, request=100, gap=0)) == 2
