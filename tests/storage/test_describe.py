"""What is told of a file's layout, and the traps in it: rules on indices made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch.storage.arrangement import (
    Access,
    Order,
    Written,
    map_cost,
    order_of,
    series_cost,
    written_of,
)
from hpclaunch.storage.describe import ChunkRow, chunk_rows, describe, find_variable
from hpclaunch.storage.layout import (
    DEFLATE,
    NOWHERE,
    SHUFFLE,
    FileIndex,
    Filter,
    Group,
    Identity,
    Layout,
    Variable,
)

pytestmark = pytest.mark.pure

PACKED = (Filter(SHUFFLE, "shuffle", (4,)), Filter(DEFLATE, "deflate", (4,)))


def chunked(shape, chunks, *, filters=PACKED, dtype="f4", size=1000, start=4096, **more) -> Layout:
    """Chunks of `size` stored bytes, one behind the other."""
    grid = tuple(-(-n // c) for n, c in zip(shape, chunks, strict=True))
    offsets = (start + size * np.arange(math.prod(grid), dtype=np.uint64)).reshape(grid)
    values = {
        "offsets": offsets,
        "sizes": np.full(grid, size, np.uint32),
        "fill": np.zeros((), dtype).tobytes(),
        "index": "btree1",
        **more,
    }
    return Layout("chunked", shape, np.dtype(dtype), chunks, filters, **values)


def contiguous(shape, *, dtype="f4", offset=2048, **more) -> Layout:
    size = math.prod(shape) * np.dtype(dtype).itemsize
    where = {"offsets": np.array(offset, np.uint64), "sizes": np.array(size, np.uint64)}
    return Layout("contiguous", shape, np.dtype(dtype), **{**where, **more})


def variable(name: str, layout: Layout, dims: tuple[str, ...] | None = None) -> Variable:
    named = dims or tuple("tyxabc"[: len(layout.shape)])
    return Variable(name, named, layout.dtype, {}, {}, layout)


def index(*variables: Variable, size=10**6, unlimited=(), facts=None, path="/") -> FileIndex:
    root = Group("/", {}, frozenset(unlimited), {}, {})
    group = Group(path, {}, frozenset(unlimited), {}, {one.name: one for one in variables})
    groups = {"/": root, path: group}
    return FileIndex(Identity("/data/f.nc", size, 1, 2), groups, 2, facts or {})


def facts_of(layout: Layout, **more):
    (found,) = describe(index(variable("v", layout), **more)).variables
    return found


def traps(layout: Layout, **more) -> set[str]:
    return {one.code for one in facts_of(layout, **more).traps}


# facts


def test_a_chunked_variable():
    found = facts_of(chunked((744, 181, 360), (1, 181, 360), size=140_000))
    assert (found.name, found.dtype, found.kind, found.index) == (
        "v",
        "float32",
        "chunked",
        "btree1",
    )
    assert found.filters == ("shuffle", "deflate 4")
    assert (found.count, found.written) == (744, 744)
    assert found.stored == 744 * 140_000 and found.mean_chunk == 140_000
    assert found.ratio == pytest.approx(181 * 360 * 4 / 140_000)
    assert found.maps == Access(1, 181 * 360 * 4, 181 * 360 * 4)
    assert found.series == Access(744, 744 * 181 * 360 * 4, 744 * 4)
    assert found.order == Order(1.0, 1.0, 1, 0)
    assert found.fill == 0.0 and found.reason == ""


def test_a_contiguous_variable():
    found = facts_of(contiguous((3, 4), dtype=">i2"))
    assert (found.kind, found.dtype, found.chunks, found.count) == ("contiguous", ">i2", None, 0)
    assert (found.stored, found.ratio, found.order, found.mean_chunk) == (24, 1.0, None, None)


def test_what_is_left_to_the_library_tells_no_places():
    for layout in (
        Layout("other", (3,), np.dtype(object), reason="its type is strings"),
        Layout("contiguous", (3,), np.dtype("f4"), reason="the file has a user block"),
        Layout("chunked", (9,), np.dtype("f4"), (3,), reason="szip"),
    ):
        found = facts_of(layout)
        assert found.reason and found.stored is None and found.written is None
        assert found.order is None and found.ratio is None


def test_strings_have_no_bytes_and_no_traps():
    found = facts_of(Layout("chunked", (10**6,), np.dtype(object), (1,), reason="strings"))
    assert (found.dtype, found.nbytes, found.traps, found.maps) == ("variable", None, (), None)


def test_chunks_that_were_never_written_are_counted():
    layout = chunked((8, 4, 4), (1, 4, 4))
    layout.offsets[2:5] = NOWHERE
    found = facts_of(layout)
    assert (found.count, found.written, found.stored) == (8, 5, 5000)


def test_a_variable_that_was_never_written():
    found = facts_of(contiguous((5, 5), offset=NOWHERE))
    assert (found.written, found.stored, found.ratio) == (0, 0, None)
    empty = facts_of(chunked((0, 4, 4), (1, 4, 4)))
    assert (empty.count, empty.written, empty.maps, empty.ratio) == (0, 0, None, None)


def test_metadata_is_what_lies_between_the_data():
    one = variable("a", chunked((4, 2), (1, 2), size=100, start=1000))
    two = variable("b", contiguous((10,), offset=2000))
    found = describe(index(one, two, size=2140))
    assert found.data == 440
    assert (found.between, found.pieces) == (1000 + 600 + 100, 3)
    assert (found.paged, found.page) == (False, 0)
    paged = describe(index(one, facts={"paged": True, "page size": 4096}))
    assert (paged.paged, paged.page) == (True, 4096)
    bare = describe(index(size=500))
    assert (bare.data, bare.between, bare.pieces, bare.variables) == (0, 500, 1, ())


def test_groups_are_part_of_the_name():
    inside = index(variable("v", contiguous((3,))), path="/a/b")
    found = describe(inside)
    assert found.variables[0].name == "/a/b/v" and found.groups == 2
    assert find_variable(inside, "/a/b/v") is find_variable(inside, "a/b/v") is not None
    assert find_variable(inside, "v") is find_variable(inside, "/c/v") is None


def test_fill_values():
    fill = np.array(-32767, "i2").tobytes()
    assert facts_of(chunked((4,), (2,), dtype="i2", fill=fill)).fill == -32767
    nan = np.array(np.nan, ">f8").tobytes()
    assert facts_of(chunked((4,), (2,), dtype=">f8", fill=nan)).fill == "nan"
    assert facts_of(contiguous((4,))).fill is None


# order


def test_the_order_of_chunks():
    def order(*pairs):
        offsets, sizes = np.array(pairs, np.uint64).T
        return order_of(Written(offsets, sizes))

    assert order((100, 10), (110, 10), (120, 5)) == Order(1.0, 1.0, 1, 0)
    assert order((100, 10), (150, 10)) == Order(1.0, 0.0, 2, 40)
    assert order((200, 10), (100, 10), (210, 10)) == Order(0.5, 0.0, 3, 90)
    assert order((7, 3)) == Order(1.0, 1.0, 1, 0)


@given(st.permutations(range(8)))
def test_ascending_is_one_only_for_the_order_of_the_indices(places):
    offsets = np.array(places, np.uint64) * np.uint64(10)
    found = order_of(Written(offsets, np.full(8, 10, np.uint64)))
    assert (found.ascending == 1) == (list(places) == sorted(places))
    assert found.gaps == 0 and 1 <= found.runs <= 8


@given(st.data())
def test_costs_are_those_of_counting_chunks(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 9), min_size=3, max_size=4)))
    chunks = tuple(data.draw(st.integers(1, 10)) for _ in shape)
    layout = chunked(shape, chunks)
    owner = np.arange(math.prod(layout.grid)).reshape(layout.grid)
    for axis, length in enumerate(chunks):
        owner = owner.repeat(length, axis=axis).take(range(shape[axis]), axis=axis)
    at = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    for cost, picked in (
        (map_cost(layout), owner[at[:-2]]),
        (series_cost(layout), owner[(slice(None), *at[1:])]),
    ):
        assert cost is not None
        assert cost.chunks == len(np.unique(picked))
        assert cost.wanted == picked.size * 4
        assert cost.decoded == cost.chunks * layout.chunk_bytes


def test_costs_need_the_dimensions():
    assert map_cost(chunked((4, 4), (2, 2))) is None
    assert series_cost(chunked((4,), (2,))) is None
    assert map_cost(contiguous((4, 4, 4))) is series_cost(contiguous((4, 4, 4))) is None


def test_places_of_another_shape_are_not_believed():
    layout = chunked((8, 8), (4, 4), offsets=np.zeros((3,), np.uint64))
    assert written_of(layout) is None


# rows


def test_rows_name_every_chunk():
    layout = chunked((3, 4), (2, 4), masks=np.array([[0], [2]], np.uint32))
    layout.offsets[0, 0] = NOWHERE
    assert chunk_rows(layout) == (ChunkRow((0, 0), None, 0, 0), ChunkRow((2, 0), 5096, 1000, 2))
    assert chunk_rows(contiguous((3,))) == ()


# traps


def test_a_well_made_variable_has_no_traps():
    assert traps(chunked((744, 181, 360), (31, 91, 90), size=500_000)) == set()
    assert traps(contiguous((181, 360))) == set()


@pytest.mark.parametrize(
    ("layout", "code"),
    [
        (chunked((8760,), (1,), dtype="f8", filters=()), "one-step chunks"),
        (chunked((8760, 100, 100), (1, 100, 100)), "one-step chunks"),
        (chunked((200, 200), (2, 2)), "small chunks"),
        (chunked((100, 1000, 1000), (50, 1000, 1000)), "large chunks"),
        (chunked((10, 100, 10_000), (1024, 100, 100), filters=()), "padding"),
        (chunked((50, 100, 100), (5, 100, 100), filters=PACKED[1:]), "no shuffle"),
        (
            chunked((50, 100), (5, 100), filters=(PACKED[0], Filter(DEFLATE, "deflate", (9,)))),
            "high level",
        ),
        (chunked((4, 4), (2, 4), masks=np.array([[0], [1]], np.uint32)), "filters left out"),
        (contiguous((100, 1000, 1000)), "contiguous"),
        (chunked((1000, 1000, 100), (1000, 10, 10)), "bad for maps"),
        (chunked((1000, 200, 200), (2, 200, 200)), "bad for series"),
    ],
)
def test_traps(layout, code):
    assert code in traps(layout, unlimited="t")


def test_chunks_out_of_order_are_a_trap():
    layout = chunked((200, 10), (1, 10), size=10**5)
    layout.offsets[:] = layout.offsets[::-1].copy()
    assert "out of order" in traps(layout)


def test_no_trap_where_it_does_not_hold():
    assert "one-step chunks" not in traps(chunked((8760, 100, 100), (1, 100, 100)))
    single = chunked((50, 100), (5, 100), dtype="i1", filters=PACKED[1:])
    assert "no shuffle" not in traps(single)
    bits = (Filter(32008, "bitshuffle"), PACKED[1])
    assert "no shuffle" not in traps(chunked((50, 100), (5, 100), filters=bits))
    both = traps(chunked((8760, 200, 200), (1, 200, 200)), unlimited="t")
    assert both == {"one-step chunks"}, "a series is told of once"


def test_a_trap_says_what_it_costs():
    (trap,) = facts_of(chunked((8760,), (1,), dtype="f8", filters=()), unlimited="t").traps
    assert "8760 chunks of 8 bytes" in trap.what and "dimension t" in trap.what
