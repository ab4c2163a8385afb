"""Compiled code gives what Python gives, and nothing depends on its being there."""

from __future__ import annotations

import ctypes
import errno
import functools
import gc
import pickle
import platform
import re
import shutil
import subprocess
import tracemalloc
import weakref
import zlib
from pathlib import Path

import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from xarray.coding import variables

from hpclaunch.errors import ChangedFile, CorruptFile
from hpclaunch.storage import compiled as module
from hpclaunch.storage import elementwise, together
from hpclaunch.storage.compiled import How, compiled
from hpclaunch.storage.decode import Pipeline
from hpclaunch.storage.direct import Direct, faster
from hpclaunch.storage.layout import DEFLATE, SHUFFLE, Filter
from hpclaunch.storage.pace import Pace
from hpclaunch.storage.placing import Placer
from hpclaunch.storage.reader import Options, read
from hpclaunch.storage.selection import select
from hpclaunch.storage.source import open_source
from hpclaunch.storage.together import Together, decode_each
from tests.storage.layouts import WHERE, layout_of
from tests.storage.opening import ours
from tests.storage.same import differences, outcome
from tests.storage.zoo import NAMES, Zoo

pytestmark = pytest.mark.pure

SOURCES = [Path(module.__file__).with_name(one) for one in ("chunks.c", "streaming.h", "values.h")]


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch):
    """Take the library away, as where hpclaunch was installed without a compiler."""

    def take_away() -> None:
        monkeypatch.setattr(module, "_LIBRARY", Path("/nowhere/chunks.so"))
        compiled.cache_clear()
        assert compiled() is None

    yield take_away
    monkeypatch.undo()
    compiled.cache_clear()


def test_it_is_there():
    """Else the tests below say nothing; `make install` compiles it."""
    assert compiled() is not None


@st.composite
def chosen(draw):
    """A shape, its chunks and a key of ints, slices and arrays."""
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)))
    chunks = tuple(draw(st.integers(1, n)) for n in shape)
    bound = st.one_of(st.none(), st.integers(0, 9))
    ranges = st.builds(slice, bound, bound, st.sampled_from([1, 2, 3, -1, -2]))
    key = tuple(
        draw(
            st.one_of(
                ranges,
                st.integers(0, n - 1),
                st.lists(st.integers(-n, n - 1), min_size=1, max_size=9).map(np.array),
            )
        )
        for n in shape
    )
    return shape, chunks, key


def picked(data: np.ndarray, key: tuple) -> np.ndarray:
    """What a key of one index per dimension selects, ints keeping their dimension."""
    for axis, one in enumerate(key):
        data = data[(slice(None),) * axis + ([one] if isinstance(one, int) else one,)]
    return data


@given(chosen(), st.sampled_from(["u1", "<i2", "<f4", ">f8", "<c16"]))
def test_any_selection_goes_where_numpy_puts_it(what, dtype):
    shape, chunks, key = what
    data = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    selection = select(key, shape, chunks)
    out = np.full(selection.shape, 99, dtype)
    if not out.size:
        return
    padded = np.pad(data, [(0, -n % c) for n, c in zip(shape, chunks, strict=True)])
    decoded = []
    for at in np.ndindex(*[len(ps) for ps in selection.pieces]):
        numbers = [ps[i].chunk for ps, i in zip(selection.pieces, at, strict=True)]
        decoded.append(
            padded[tuple(slice(i * c, i * c + c) for i, c in zip(numbers, chunks, strict=True))]
        )
    order = np.random.default_rng(len(decoded)).permutation(len(decoded))
    values = np.array(decoded, dtype)[order]
    put(Placer(selection.pieces, chunks, out), order.astype(np.int64), values)
    assert np.array_equal(out, picked(data, key))


def put(placer, ks, values):
    """Have chunks placed that are stored as they are."""
    size = values[0].nbytes
    inflate = module._INFLATE(module._copies)
    how = How(size=size, width=1, inflate=ctypes.cast(inflate, ctypes.c_void_p).value)
    sources = values.ctypes.data + size * np.arange(len(ks), dtype=np.int64)
    sizes, chunk = np.full(len(ks), size, np.int64), np.empty(size, np.uint8)
    arrays = (one.ctypes.data for one in (sources, sizes, ks, chunk))
    wrong = compiled().decode_and_place(ctypes.addressof(how), len(ks), *arrays, *placer.arguments)
    assert wrong == -1


def test_what_is_kept_of_a_selection_grows_with_its_chunks_only():
    n = 20_000_007
    out = np.empty(n, np.float32)
    selection = select((slice(None),), (n,), (10_000,))
    placer = Placer(selection.pieces, (10_000,), out)
    assert sum(table.nbytes for table in placer.tables) < 100 * len(selection.pieces[0])
    assert placer.listed == []


def test_a_changed_source_has_another_number():
    """A library of another source is known by it, as in a checkout that was not made anew."""
    source = b"".join(one.read_bytes() for one in SOURCES)
    assert (module._VERSION, zlib.crc32(source)) == (6, 198028027), (
        "raise the number, here and there"
    )


def test_single_bytes_are_decoded_together_though_netcdf_shuffles_them():
    assert Pipeline([Filter(SHUFFLE, "", (1,)), Filter(DEFLATE, "", (4,))], 400, 1).many
    assert Pipeline([Filter(SHUFFLE, "", (4,)), Filter(DEFLATE, "", (4,))], 4, 4).many


def test_large_chunks_take_no_more_memory_than_one_by_one(tmp_path):
    path = tmp_path / "a.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("x", 30 << 20)
        one = file.createVariable("v", "i1", "x", zlib=True, complevel=1, chunksizes=(5 << 20,))
        one.scale_factor = 0.5
        one[:] = np.zeros(30 << 20, np.int8)
    with xr.open_dataset(path, engine="hpclaunch") as found:
        found["v"][: 1 << 18].load()
        tracemalloc.start()
        found["v"][:: 1 << 8].load()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 40 << 20  # the cache of decoded chunks holds 30 of them


def test_no_chunk_stored_at_all_is_told(tmp_path):
    """Two requests of nothing, of a file whose index says so."""
    path = tmp_path / "a"
    path.write_bytes(b"x" * 100)
    open_source(str(path)).read_each([0, 50], [0, 0], memoryview(bytearray()))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, np.ndarray]:
    """Chunks of 96 and of 40 960 bytes, some of which were never written."""
    path = tmp_path_factory.mktemp("compiled") / "a.h5"
    rng = np.random.default_rng(20011)
    small = rng.integers(0, 99, (11, 13, 14)).astype("<i4")
    large = rng.integers(0, 99, (6, 130, 170)).astype("<f4")
    with h5py.File(path, "w") as made:
        how = {"compression": 4, "shuffle": True, "fillvalue": 7}
        one = made.create_dataset("small", small.shape, small.dtype, chunks=(2, 3, 4), **how)
        one[:, :, :8] = small[:, :, :8]
        made.create_dataset("large", data=large, chunks=(1, 64, 160), **how)
    small[:, :, 8:] = 7
    return str(path), {"small": small, "large": large}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("name", ["small", "large"])
def test_both_ways_read_any_selection(file, name, data):
    path, everything = file
    wanted = everything[name]
    key = tuple(
        data.draw(
            st.one_of(
                st.just(slice(None)),
                st.builds(slice, st.integers(0, n), st.integers(0, n), st.sampled_from([1, 3, -1])),
                st.integers(0, n - 1),
                st.lists(st.integers(0, n - 1), min_size=1, max_size=5).map(np.array),
            )
        )
        for n in wanted.shape
    )
    layout = layout_of(path, name)
    found = read(open_source(path), layout, key, where=WHERE, options=Options(cache=0, gap=64))
    ints = tuple(i for i, one in enumerate(key) if isinstance(one, int))
    assert np.array_equal(found, picked(wanted, key).squeeze(ints))


@pytest.mark.parametrize("name", ["small", "large"])
@pytest.mark.parametrize("cached", [0, 1 << 20])
@pytest.mark.parametrize("compiling", [True, False])
def test_damage_is_told_alike(file, name, cached, compiling, without, tmp_path):
    path, _ = file
    layout = layout_of(path, name)
    where = (1, 1, 0)
    damaged = tmp_path / "damaged.h5"
    shutil.copy(path, damaged)
    with damaged.open("r+b") as into:
        into.seek(int(layout.offsets[where]) + int(layout.sizes[where]) - 1)
        last = into.read(1)
        into.seek(-1, 1)
        into.write(bytes([last[0] ^ 1]))
    if not compiling:
        without()
    told = r"chunk \(1, 1, 0\) of variable /v.*does not inflate"
    for key in [(slice(None),) * 3, (slice(None), slice(1, -1), slice(0, 9, 2))]:
        with pytest.raises(CorruptFile, match=told):
            read(
                *(open_source(str(damaged)), layout, key),
                where=WHERE,
                options=Options(cache=cached),
            )


def test_a_file_that_is_cut_while_it_is_read_is_told(file, tmp_path):
    path, _ = file
    copy = tmp_path / "cut.h5"
    shutil.copy(path, copy)
    source = open_source(str(copy))
    source.read(0, memoryview(bytearray(8)))
    size = copy.stat().st_size
    with copy.open("r+b") as into:
        into.truncate(size - 5)
    with pytest.raises(ChangedFile, match="was cut"):
        source.read_each([0, size - 9], [8, 9], memoryview(bytearray(17)))


def test_what_the_system_refuses_is_told(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x" * 100)
    source = open_source(str(path))
    with pytest.raises(OSError) as refused:
        source.read_each([0, -(1 << 40)], [8, 9], memoryview(bytearray(17)))
    assert refused.value.errno == errno.EINVAL and refused.value.filename == str(path)


def test_pieces_lie_one_behind_another(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(bytes(range(256)))
    into = bytearray(9)
    open_source(str(path)).read_each([200, 3, 100], [2, 4, 3], memoryview(into))
    assert into == bytes([200, 201, 3, 4, 5, 6, 100, 101, 102])


@pytest.mark.parametrize("width", [1, 4])
def test_each_chunk_comes_where_it_is_wanted(width):
    some = [Filter(DEFLATE, "deflate", (4,))]
    if width > 1:
        some.insert(0, Filter(SHUFFLE, "shuffle", (width,)))
    pipeline = Pipeline(some, 400, width)
    assert pipeline.many
    numbers = np.random.default_rng(0).integers(0, 50, (5, 400), np.uint8)
    stored = [bytearray(zlib.compress(one.tobytes())) for one in numbers]
    held = [(ctypes.c_char * len(one)).from_buffer(one) for one in stored]
    sources = np.array([ctypes.addressof(one) for one in held], np.int64)
    sizes = np.array([len(one) for one in stored], np.int64)
    into = np.full((5, 410), 99, np.uint8)
    targets = into.ctypes.data + 410 * np.array([4, 0, 3, 1, 2], np.int64)
    assert decode_each(pipeline, sources, sizes, targets) == -1
    for one, found in zip(stored, into[[4, 0, 3, 1, 2]], strict=True):
        assert np.array_equal(pipeline.decode(memoryview(one)), found[:400])
    assert (into[:, 400:] == 99).all()
    stored[3][-1] ^= 1
    assert decode_each(pipeline, sources, sizes, targets) == 3
    sizes[1] -= 5
    assert decode_each(pipeline, sources, sizes, targets) == 1


@given(data=st.data(), kind=st.sampled_from(["u1", "<i2", "<i4", "<f4", "<i8", "<f8", "<c16"]))
def test_what_is_written_past_the_cache_is_the_same(data, kind):
    """Any number of elements anywhere in a line of the cache, masked, looked up and as they are."""
    kind = np.dtype(kind)
    width, count = kind.itemsize, data.draw(st.integers(3, 300))
    numbers = np.random.default_rng(count).integers(0, 50, count)
    some = [Filter(DEFLATE, "deflate", (4,))]
    if width > 1 and data.draw(st.booleans()):
        some.insert(0, Filter(SHUFFLE, "shuffle", (width,)))
    pipeline = Pipeline(some, count * width, width)
    stored, direct, item = numbers.astype(kind), None, width
    if kind.kind == "f" and data.draw(st.booleans()):
        fills = np.array(data.draw(st.lists(st.integers(0, 50), max_size=3)), kind)
        stored[: count // 3] = [np.nan, -0.0, np.inf][count % 3]
        direct = Direct(width, None, fills, np.array([np.nan], kind))
    elif width <= 2:
        out = np.dtype(data.draw(st.sampled_from(["<f4", "<f8"])))
        item, table = out.itemsize, np.arange(1 << 8 * width).astype(out) * out.type(0.01)
        direct = Direct(width, table)
        if data.draw(st.booleans()):
            direct = faster(direct, 0.01, 0.0, None)
    at = item * data.draw(st.integers(0, 8))
    bytes_ = stored.tobytes()
    if len(some) > 1:
        bytes_ = stored.view(np.uint8).reshape(-1, width).T.tobytes()
    packed = bytearray(zlib.compress(bytes_))
    held = (ctypes.c_char * len(packed)).from_buffer(packed)
    one, size = (np.array([n], np.int64) for n in (ctypes.addressof(held), len(packed)))
    found = []
    for streams in (False, True):
        memory = np.full(16 + count * item // 8 + 16, 99, np.int64).view(np.uint8)
        target = np.array([memory.ctypes.data + 64 + at], np.int64)
        assert decode_each(pipeline, one, size, target, direct, streams) == -1
        found.append(memory.tobytes())
    assert found[0] == found[1] and found[0].count(99) < len(found[0])
    if direct is None:
        assert found[1][64 + at : 64 + at + stored.nbytes] == stored.tobytes()


@pytest.fixture
def parted(monkeypatch):
    """The requests that are read a part at a time, and whether that was done."""
    found = []
    read = Together.read

    def noting(self, *what):
        found.append(read(self, *what))
        return found[-1]

    monkeypatch.setattr(Together, "read", noting)
    monkeypatch.setattr(Pace, "copies", True)  # on a busy machine a read may seem to wait
    return found


def interleaved(tmp_path) -> tuple[Path, np.ndarray]:
    """Two variables whose chunks take turns in the file, of sizes that differ widely."""
    rng = np.random.default_rng(20011)
    values = rng.integers(0, 99, (90, 40, 50)).astype("i4")
    values[::3] = 7  # these chunks become very small
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        both = [
            file.create_dataset(name, values.shape, "i4", chunks=(1, 40, 50), compression="gzip",
                                shuffle=True)
            for name in "vw"
        ]  # fmt: skip
        for i, one in enumerate(values):
            for dataset in both:
                dataset[i] = one
    return path, values


@pytest.mark.parametrize("room", [4000, 10_000, 60_000])
def test_a_request_is_read_in_parts(room, tmp_path, parted, monkeypatch):
    monkeypatch.setattr(together, "_IN_CACHE", room)
    path, values = interleaved(tmp_path)
    layout = layout_of(path)
    assert layout.sizes.max() < room < layout.sizes.sum()
    every = (slice(None),) * 3
    source = open_source(str(path))
    for key in (every, (slice(3, 80), *every[1:]), (slice(None, None, -1), *every[1:])):
        assert np.array_equal(read(source, layout, key, where=WHERE), values[key])
    assert parted and all(parted)
    count = len(parted)
    monkeypatch.setattr(together, "_IN_CACHE", int(layout.sizes.max()) - 1)
    assert np.array_equal(read(source, layout, every, where=WHERE), values)
    assert not any(parted[count:]) and parted[count:]


def test_it_is_read_as_a_whole_where_reads_wait(tmp_path, parted, monkeypatch):
    monkeypatch.setattr(Pace, "copies", False)
    path, values = interleaved(tmp_path)
    found = read(open_source(str(path)), layout_of(path), (slice(None),) * 3, where=WHERE)
    assert np.array_equal(found, values) and not parted


def test_what_goes_wrong_in_a_part_is_told(tmp_path, parted):
    path, _ = interleaved(tmp_path)
    layout, source = layout_of(path), open_source(str(path))
    source.read(0, memoryview(bytearray(8)))  # so that it is open when it is cut
    with path.open("r+b") as file:
        file.truncate(int(layout.offsets.reshape(-1)[70]) + 3)
    with pytest.raises(ChangedFile, match="was cut"):
        read(source, layout, (slice(None),) * 3, where=WHERE)
    assert parted and not parted[-1]


def test_whether_reads_wait():
    one = Pace()
    assert one.copies and not one.slow
    one.note(0.0008)
    assert not one.copies and not one.slow
    one.note(0.01)
    assert one.slow
    for _ in range(20):
        one.note(-1e-6)  # of two clocks one may be ahead
    assert one.copies


@pytest.mark.parametrize("compiling", [True, False])
@pytest.mark.parametrize("chunk", [(1, 40, 50), (2, 8, 10), (3, 40, 49)])
@pytest.mark.parametrize("cached", [0, 1 << 20])
def test_a_result_is_gone_when_nobody_holds_it(chunk, compiling, cached, without, tmp_path):
    """Not only when Python looks for cycles, which may be many blocks later."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("v", data=np.zeros((90, 40, 50)), chunks=chunk, compression="gzip")
    if not compiling:
        without()
    layout, options = layout_of(path), Options(cache=cached)
    gc.collect()
    gc.disable()
    try:
        for key in [(slice(None),) * 3, (slice(None), 3, slice(4, 9))]:
            found = read(open_source(str(path)), layout, key, where=WHERE, options=options)
            held = weakref.ref(found)
            del found
            assert held() is None
    finally:
        gc.enable()


def test_the_zoo_without_it(zoo: Zoo, without):
    """One after the other: what takes time is writing the files, which other tests want too."""
    names = [name for name in NAMES if "iris" not in name]
    found = {name: ours(zoo.path(name), "/") for name in names if _opens(zoo.path(name))}
    assert len(found) > 60
    without()
    for name, with_it in found.items():
        assert differences(ours(zoo.path(name), "/"), with_it) == [], name


def test_the_zoo_past_the_cache(zoo: Zoo, monkeypatch):
    paths = {name: zoo.path(name) for name in NAMES if "iris" not in name}
    found = {name: outcome(lambda path=one: ours(path).load()) for name, one in paths.items()}
    usual = {name: one for name, one in found.items() if not isinstance(one, Exception)}
    assert len(usual) > 60
    monkeypatch.setattr(together, "_STREAMS", 0)
    for name, wanted in usual.items():
        assert differences(ours(paths[name]).load(), wanted) == [], name


def _opens(path: Path) -> bool:
    try:
        ours(path, "/")
    except Exception:
        return False
    return True


@pytest.fixture
def another(without, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A library of a source in which something stands instead of something else."""

    def build(old: str, new: str) -> None:
        texts = {one.name: re.sub(old, new, one.read_text()) for one in SOURCES}
        assert any(texts[one.name] != one.read_text() for one in SOURCES)
        for name, text in texts.items():
            (tmp_path / name).write_text(text)
        source, library = tmp_path / "chunks.c", tmp_path / "chunks.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
        monkeypatch.setattr(module, "_LIBRARY", library)
        compiled.cache_clear()

    return build


def test_a_library_of_another_source_is_not_used(another):
    another(r"_version\(void\) \{ return \d+; \}", "_version(void) { return 99; }")
    assert compiled() is None


def test_a_library_that_places_wrongly_is_not_used(another):
    another(r"to \+ i \* one->outside_step", "to")
    assert compiled() is None


@pytest.mark.skipif(platform.machine() != "x86_64", reason="it is not compiled there")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (r"_mm_unpackhi_epi8\(found", "_mm_unpacklo_epi8(found"),
        (r"mask\(how, before \* width, to\);", ""),
        (r"int64_t after = i;", "int64_t after = n; i = n;"),
        (r"_mm_cmpeq_##name", "_mm_cmpneq_##name"),
    ],
)
def test_a_library_that_writes_wrongly_past_the_cache_is_not_used(another, old, new):
    another(old, new)
    assert compiled() is None


def test_the_same_source_is_used(another):
    another(r"/\* What Python", "/* Whatever Python")
    assert compiled() is not None


PACKED = {
    "scale and offset of eight bytes": {"scale_factor": 0.01, "add_offset": 270.0},
    "of four": {"scale_factor": np.float32(0.01), "add_offset": np.float32(270)},
    "of both": {"scale_factor": np.float32(0.01), "add_offset": 270.0},
    "scale alone": {"scale_factor": 0.1},
    "offset alone": {"add_offset": -3.0},
    "a negative scale": {"scale_factor": -0.01},
    "a fill value alone": {},
    "several missing values": {"missing_value": [5, 7], "scale_factor": 0.5},
    "unsigned": {"_Unsigned": "true", "scale_factor": 0.01},
}


@pytest.mark.parametrize("told", PACKED)
@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", ">i2", "f4", "f8", ">f4"])
@pytest.mark.parametrize("fill", [True, False])
@pytest.mark.parametrize("how", ["compiled", "past the cache", "Python"])
def test_values_are_decoded_as_xarray_does(told, dtype, fill, how, without, monkeypatch, tmp_path):
    monkeypatch.setattr(elementwise, "_MANY", 0)
    monkeypatch.setattr(together, "_STREAMS", 0 if how == "past the cache" else 1 << 40)
    path = tmp_path / "a.nc"
    kind = np.dtype(dtype)
    rng = np.random.default_rng(20011)
    numbers = rng.integers(0, 256, (5, 40, 60 * kind.itemsize)).astype(np.uint8)
    values = np.ascontiguousarray(numbers).view(kind)
    values[1, 3, :9] = 5
    if kind.kind == "f":
        values[0, 0, :5] = [np.nan, np.inf, -0.0, 0.0, 1.0]
    with netCDF4.Dataset(path, "w") as file:
        file.set_auto_maskandscale(False)
        for name, n in zip("tyx", values.shape, strict=True):
            file.createDimension(name, n)
        one = file.createVariable(
            *("v", kind, ("t", "y", "x")),
            zlib=True,
            chunksizes=(1, 16, 60),
            endian="big" if kind.str[0] == ">" else "native",
            fill_value=kind.type(5) if fill else None,
        )
        attributes = dict(PACKED[told])
        if "missing_value" in attributes:
            attributes["missing_value"] = np.array(attributes["missing_value"], kind)
        one.setncatts(attributes)
        one[:] = values
    if how == "Python":
        without()
    with ours(path) as found, xr.open_dataset(path, engine="netcdf4") as wanted:
        assert differences(found, wanted) == []
        for key in [np.s_[1:, ::-1, 3:50], np.s_[:, 3, 7], np.s_[[0, 3], :, :]]:
            assert differences(found.isel(_sizes(key)), wanted.isel(_sizes(key))) == []


def _sizes(key):
    return dict(zip("tyx", key, strict=True))


def test_what_is_decoded_by_arithmetic_and_what_by_a_table(monkeypatch):
    numbers, mask = np.dtype("i2"), variables._apply_mask
    scale = variables._scale_offset_decoding
    for wide in (np.float32, np.float64):
        masks = functools.partial(
            mask, encoded_fill_values={np.int16(7)}, decoded_fill_value=np.nan, dtype=wide
        )
        scales = functools.partial(scale, scale_factor=0.01, add_offset=270.0, dtype=wide)
        one = elementwise.Elementwise([masks, scales], numbers, np.dtype(wide))
        one.prepare(1 << 20)
        assert one.direct is not None and one.direct.linear is not None
        twice = elementwise.Elementwise([masks, scales, scales], numbers, np.dtype(wide))
        twice.prepare(1 << 20)
        assert twice.direct is not None and twice.direct.linear is None
    alone = functools.partial(
        mask, encoded_fill_values={np.float32(7)}, decoded_fill_value=np.nan, dtype=np.float32
    )
    one = elementwise.Elementwise([alone], np.dtype("f4"), np.dtype("f4"))
    assert one.direct is not None and one.direct.fills.tolist() == [7]
    assert pickle.loads(pickle.dumps(one)).direct is not None
