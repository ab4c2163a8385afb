"""What is read equals what numpy says, for any layout and any key; and damage is told."""

from __future__ import annotations

import itertools
import math
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpclaunch.storage import chunkcache
from hpclaunch.storage.pace import pace
from hpclaunch.storage.reader import Options, read
from hpclaunch.storage.source import open_source
from tests.storage.layouts import ALL, WHERE, counting, layout_of, standard

pytestmark = pytest.mark.pure

DTYPES = ["<f4", ">f4", "<i2", ">i8", "u1", "S1", "S3", "<c16", "<f8", ">u2"]
NUMBER = itertools.count()


@st.composite
def files(draw):
    """A shape, a dtype and what h5py is told about the dataset."""
    shape = tuple(draw(st.lists(st.integers(1, 30), max_size=4)))
    while np.prod(shape) > 20_000:
        shape = shape[1:]
    how = {}
    if shape and draw(st.integers(0, 4)):
        how["chunks"] = tuple(draw(st.integers(1, n)) for n in shape)
        if draw(st.booleans()):
            how["compression"] = draw(st.sampled_from([0, 1, 6]))
        how["shuffle"] = draw(st.booleans())
        how["fletcher32"] = draw(st.booleans())
    holes = bool(shape) and draw(st.integers(0, 3)) == 0
    return shape, np.dtype(draw(st.sampled_from(DTYPES))), how, holes


def indices(n):
    """Anything that a dimension of `n` can be asked for."""
    bound = st.one_of(st.none(), st.integers(-n - 2, n + 2))
    step = st.sampled_from([None, 1, 2, 3, 7, -1, -2, -5])
    return st.one_of(
        st.just(slice(None)),
        st.integers(-n, n - 1),
        st.builds(slice, bound, bound, step),
        st.lists(st.integers(-n, n - 1), max_size=2 * n).map(lambda some: np.array(some, int)),
        st.lists(st.integers(0, n - 1), unique=True).map(lambda some: np.array(sorted(some), int)),
    )


options = st.builds(
    Options,
    request=st.sampled_from([1, 300, 4000, 8 << 20]),
    gap=st.sampled_from([0, 50, 5000, 1 << 20]),
    align=st.sampled_from([0, 100, 4096]),
    threads=st.sampled_from([0, 1, 4]),
    cache=st.sampled_from([0, 20_000, 1 << 26]),
)


def outer(data, key):
    """Index each dimension by itself."""
    axis = 0
    for one in key:
        if isinstance(one, slice):
            data = data[(slice(None),) * axis + (one,)]
            axis += 1
        else:
            data = np.take(data, one, axis=axis)
            axis += np.ndim(one)
    return data


def values(shape, dtype):
    numbers = np.random.default_rng(3).integers(0, 120, shape)
    return np.asarray(numbers.astype("S3") if dtype.kind == "S" else numbers, dtype)


def make(folder, shape, dtype, how, holes=False):
    """Write a file of one dataset; return its path and the values."""
    path = str(folder / f"{next(NUMBER)}.h5")
    data = values(shape, dtype)
    with h5py.File(path, "w") as file:
        if holes:
            fill = np.array(7).astype(dtype)[()]
            one = file.create_dataset("v", shape, dtype, fillvalue=fill, **how)
            one[: shape[0] // 3] = data[: shape[0] // 3]
            data[shape[0] // 3 :] = fill
        else:
            file.create_dataset("v", data=data, **how)
    return path, data


@pytest.fixture(autouse=True)
def as_in_a_fresh_process():
    chunkcache.cache.clear()
    pace.waited = 0.0


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(file=files(), how=options, draw=st.data())
def test_any_key_of_any_layout_gives_what_numpy_gives(tmp_path, file, how, draw):
    path, data = make(tmp_path, *file)
    layout = layout_of(path)
    for _ in range(4):
        key = draw.draw(st.tuples(*map(indices, data.shape)))
        found = read(counting(path), layout, key, where=WHERE, options=how)
        expected = np.asarray(outer(data, key), data.dtype)
        assert found.dtype == expected.dtype and found.shape == expected.shape
        assert found.tobytes() == expected.tobytes()
        assert found.flags.c_contiguous
        assert found.flags.writeable
        assert found.base is None or found.base.nbytes == found.nbytes
    Path(path).unlink()


ONE_THREAD = Options(threads=1, cache=0)


def test_a_scalar_is_read(tmp_path):
    path, data = make(tmp_path, (), np.dtype("<f8"), {})
    found = read(counting(path), layout_of(path), (), where=WHERE)
    assert found.shape == () and found == data


def test_nothing_is_read_for_nothing(tmp_path):
    path, layout, _ = standard(tmp_path)
    source = counting(path)
    assert read(source, layout, (slice(0), 0, slice(None)), where=WHERE).shape == (0, 30)
    assert source.reads == []


def test_what_was_never_written_is_the_fill_value(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("v", (4, 6), "<i2", chunks=(2, 2), compression=1, fillvalue=-7)
        file.create_dataset("w", (4, 6), "<i2", fillvalue=-8)
    source = counting(tmp_path / "a.h5")
    for name, fill in (("v", -7), ("w", -8)):
        layout = layout_of(tmp_path / "a.h5", name)
        found = read(source, layout, (slice(1, 4), slice(None)), where=WHERE)
        assert found.tolist() == [[fill] * 6] * 3
    assert source.reads == []


def test_a_huge_grid_costs_no_more_than_what_is_touched(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        one = file.create_dataset("v", (10**7,), "u1", chunks=(5,), maxshape=(None,))
        one[9_000_000:9_000_010] = np.arange(10)
    layout = layout_of(tmp_path / "a.h5")
    source = counting(tmp_path / "a.h5")
    found = read(source, layout, (slice(8_999_999, 9_000_003),), where=WHERE)
    assert found.tolist() == [0, 0, 1, 2]
    assert len(source.reads) == 1


# Calls do not jitter: these are the gate for joining reads.


def test_a_filtered_variable_is_read_in_few_requests(tmp_path):
    path, layout, data = standard(tmp_path)
    source = counting(path)
    assert np.array_equal(read(source, layout, ALL, where=WHERE, options=ONE_THREAD), data)
    assert len(source.reads) == 1
    source = counting(path)
    request = 4 * int(layout.sizes.max())
    read(source, layout, ALL, where=WHERE, options=Options(request=request, threads=1))
    assert len(source.reads) == 3


def test_one_map_is_one_request_of_its_chunk(tmp_path):
    path, layout, data = standard(tmp_path)
    source = counting(path)
    found = read(source, layout, (5, slice(None), slice(None)), where=WHERE)
    assert np.array_equal(found, data[5])
    assert source.reads == [(int(layout.offsets[5, 0, 0]), int(layout.sizes[5, 0, 0]))]


def test_a_contiguous_variable_is_read_without_a_copy(tmp_path):
    path, layout, data = standard(tmp_path, chunks=None, compression=None, shuffle=None)
    source = counting(path)
    assert np.array_equal(read(source, layout, ALL, where=WHERE), data)
    assert source.reads == [(int(layout.offsets), data.nbytes)]
    source = counting(path)
    assert np.array_equal(read(source, layout, (3, 4, slice(None)), where=WHERE), data[3, 4])
    assert source.reads == [(int(layout.offsets) + (3 * 600 + 4 * 30) * 4, 120)]


def test_the_gap_decides_between_many_reads_and_much_for_nothing(tmp_path):
    data = np.arange(6 * 100 * 100, dtype="<f4").reshape(6, 100, 100)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["v"] = data
    layout = layout_of(tmp_path / "a.h5")
    key = (slice(None), 50, 60)
    for gap, calls, most in ((0, 6, 6 * 4), (1 << 20, 1, data.nbytes)):
        source = counting(tmp_path / "a.h5")
        found = read(source, layout, key, where=WHERE, options=Options(gap=gap))
        assert np.array_equal(found, data[:, 50, 60])
        assert len(source.reads) == calls
        assert sum(size for _, size in source.reads) <= most


def test_unfiltered_chunks_are_read_together_and_in_part(tmp_path):
    path, layout, data = standard(tmp_path, compression=None, shuffle=None)
    source = counting(path)
    assert np.array_equal(read(source, layout, ALL, where=WHERE, options=ONE_THREAD), data)
    assert len(source.reads) == 1
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("v", data=np.arange(4 * 90_000.0), chunks=(90_000,))
    layout = layout_of(tmp_path / "b.h5")
    source = counting(tmp_path / "b.h5")
    found = read(source, layout, (slice(5, None, 90_000),), where=WHERE)
    assert found.tolist() == [5, 90_005, 180_005, 270_005]
    assert [size for _, size in source.reads] == [8] * 4


def test_a_chunk_that_reads_take_in_parts_is_decoded_once(tmp_path):
    path, layout, data = standard(tmp_path)
    source = counting(path)
    for y in range(0, 20, 5):
        for x in range(0, 30, 10):
            key = (slice(None), slice(y, y + 5), slice(x, x + 10))
            assert np.array_equal(read(source, layout, key, where=WHERE), data[key])
    assert sum(size for _, size in source.reads) < 1.2 * layout.stored


def test_points_and_whole_chunks_do_not_fill_the_cache(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("v", data=np.zeros((3, 100, 100)), chunks=(1, 100, 100), compression=1)
    layout = layout_of(tmp_path / "a.h5")
    for key in (ALL, (slice(None), 5, 5), (1, slice(None), slice(None))):
        read(counting(tmp_path / "a.h5"), layout, key, where=WHERE)
        assert chunkcache.cache.bytes == 0
    read(counting(tmp_path / "a.h5"), layout, (0, 0, slice(50)), where=WHERE)
    assert chunkcache.cache.bytes == layout.chunk_bytes


def test_the_cache_keeps_to_its_budget(tmp_path):
    path, layout, _ = standard(tmp_path)
    budget = 4 * layout.chunk_bytes
    for t in range(12):
        read(
            counting(path),
            layout,
            (t, slice(7), slice(9)),
            where=WHERE,
            options=Options(cache=budget),
        )
        assert chunkcache.cache.bytes <= budget
    assert chunkcache.cache.bytes == budget


# Threads


def test_many_calls_at_once_get_the_right_values(tmp_path):
    path, layout, data = standard(tmp_path)
    source = open_source(str(path))
    how = Options(request=2000, threads=3)

    def one(n):
        y, x = n % 15, n % 25
        key = (slice(n % 3, None), slice(y, y + 5), slice(x, None) if n % 4 else slice(None))
        return np.array_equal(read(source, layout, key, where=WHERE, options=how), data[key])

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(one, range(300)))


def test_helpers_take_part_and_the_limit_is_kept(tmp_path):
    path, layout, data = standard(tmp_path)
    threads = set()

    class Slow:
        identity = open_source(str(path)).identity
        far = False

        def read(self, offset, into):
            threads.add(threading.get_ident())
            time.sleep(0.01)
            open_source(str(path)).read(offset, into)

        def check(self):
            pass

    for limit in (1, 3):
        threads.clear()
        time.sleep(0.06)
        how = Options(request=1, threads=limit, cache=0, gap=0)
        assert np.array_equal(read(Slow(), layout, ALL, where=WHERE, options=how), data)
        assert limit <= len(threads) <= limit + 1  # one reads ahead, as this is slow


@pytest.mark.parametrize("threads", [1, 4])
def test_the_first_error_comes_out_and_the_rest_is_left(tmp_path, threads):
    path, layout, _ = standard(tmp_path)

    class Broken:
        identity = open_source(str(path)).identity
        far = False
        calls = 0

        def read(self, offset, into):
            self.calls += 1
            raise OSError(5, "Input/output error")

    broken = Broken()
    with pytest.raises(OSError, match="Input/output error"):
        read(
            broken,
            layout,
            ALL,
            where=WHERE,
            options=Options(request=1, gap=0, threads=threads, cache=0),
        )
    assert broken.calls <= threads


def test_a_call_whose_partner_fails_decodes_for_itself(tmp_path):
    """One that waits for a chunk that another thread was to decode."""
    path, layout, data = standard(tmp_path)
    identity = open_source(str(path)).identity
    file = chunkcache.cache.file(identity)
    offset = int(layout.offsets[0, 0, 0])
    assert chunkcache.cache.take(file, [offset])[1] == [0]
    with ThreadPoolExecutor(1) as pool:
        key = (0, slice(10), slice(10))
        waiting = pool.submit(read, open_source(str(path)), layout, key, where=WHERE)
        with pytest.raises(TimeoutError):
            waiting.result(0.2)
        chunkcache.cache.land(file, offset, None, 0)
        assert np.array_equal(waiting.result(20), data[key])


def test_a_child_process_reads(tmp_path):
    path, layout, data = standard(tmp_path)
    read(open_source(str(path)), layout, ALL, where=WHERE, options=Options(request=1, threads=3))
    child = os.fork()
    if not child:
        try:
            how = Options(request=1, threads=3)
            found = read(open_source(str(path)), layout, ALL, where=WHERE, options=how)
            os._exit(0 if np.array_equal(found, data) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_one_thread_reads_ahead_where_the_storage_is_slow(tmp_path):
    path, layout, data = standard(tmp_path)
    local = open_source(str(path))
    going, together = [], []

    class Slow:
        identity = local.identity
        far = False

        def read(self, offset, into):
            going.append(offset)
            together.append(len(going))
            time.sleep(0.02)
            local.read(offset, into)
            going.remove(offset)

        def check(self):
            pass

    how = Options(request=1, gap=0, threads=1, cache=0)
    assert np.array_equal(read(Slow(), layout, ALL, where=WHERE, options=how), data)
    assert pace.slow
    assert max(together) == 2


def test_chunks_larger_than_what_a_thread_keeps(tmp_path):
    """Memory that is borrowed for them must live as long as it is used."""
    shape = (8, 2048, 2048)
    values = np.arange(math.prod(shape), dtype="f4").reshape(shape)
    path = tmp_path / "large.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("v", data=values, chunks=(1, 2048, 2048), compression=1, shuffle=True)
    source, layout = open_source(str(path)), layout_of(path, "v")
    with ThreadPoolExecutor(4) as pool:
        keys = [(slice(at, at + 2), slice(None), slice(None)) for at in range(7)] * 2
        found = pool.map(lambda key: (key, read(source, layout, key, where="v")), keys)
        for key, one in found:
            np.testing.assert_array_equal(one, values[key])
