"""Many chunks placed at once, and decoded from address to address."""

import ctypes
import itertools
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch.storage import straight
from hpclaunch.storage.boxes import Boxes
from hpclaunch.storage.decode import Pipeline
from hpclaunch.storage.layout import DEFLATE, SHUFFLE, Filter
from hpclaunch.storage.selection import select

pytestmark = pytest.mark.pure


@given(st.data())
def test_any_range_of_chunks_goes_where_numpy_puts_it(draw):
    dimensions = draw.draw(st.integers(1, 4))
    shape = draw.draw(st.tuples(*[st.integers(1, 9)] * dimensions))
    chunks = tuple(draw.draw(st.integers(1, n)) for n in shape)
    bound = st.one_of(st.none(), st.integers(0, 9))
    step = st.sampled_from([1, 2, 3, -1, -2])
    key = draw.draw(st.tuples(*[st.builds(slice, bound, bound, step)] * dimensions))
    data = np.arange(np.prod(shape)).reshape(shape)
    selection = select(key, shape, chunks)
    grid = [len(ps) for ps in selection.pieces]
    total = int(np.prod(grid))
    padded = np.pad(data, [(0, -n % c) for n, c in zip(shape, chunks, strict=True)])
    decoded = np.zeros((total, *chunks), data.dtype)
    for k, at in enumerate(np.ndindex(*grid)):
        numbers = [ps[i].chunk for ps, i in zip(selection.pieces, at, strict=True)]
        where = [slice(i * c, i * c + c) for i, c in zip(numbers, chunks, strict=True)]
        decoded[k] = padded[tuple(where)]
    cuts = sorted({0, total, *draw.draw(st.lists(st.integers(0, total), max_size=3))})
    out = np.full(selection.shape, -1)
    boxes = Boxes(selection.pieces, chunks)
    for first, stop in itertools.pairwise(cuts):
        boxes.place(decoded[first:stop], first, out)
    assert np.array_equal(out, data[key])


@pytest.mark.parametrize("width", [1, 4])
def test_many_chunks_are_those_decoded_one_by_one(width):
    some = [Filter(DEFLATE, "deflate", (4,))]
    if width > 1:
        some.insert(0, Filter(SHUFFLE, "shuffle", (width,)))
    pipeline = Pipeline(some, 400, width)
    if not pipeline.many:  # the package deflate is not there, or hides the library
        assert not straight.available()
        return
    numbers = np.random.default_rng(0).integers(0, 50, (5, 400), np.uint8)
    stored = [bytearray(zlib.compress(one.tobytes())) for one in numbers]
    held = [(ctypes.c_char * len(one)).from_buffer(one) for one in stored]
    sources, sizes = [ctypes.addressof(one) for one in held], [len(one) for one in stored]
    into = np.empty(5 * 400, np.uint8)
    assert pipeline.decode_many(sources, sizes, into) == -1
    for one, found in zip(stored, into.reshape(5, 400), strict=True):
        assert np.array_equal(pipeline.decode(memoryview(one)), found)
    stored[3][-1] ^= 1
    assert pipeline.decode_many(sources, sizes, into) == 3
    sizes[1] -= 5
    assert pipeline.decode_many(sources, sizes, into) == 1
