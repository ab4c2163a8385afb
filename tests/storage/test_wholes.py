"""Whole chunks in a row are read with one call, and give what the usual way gives."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpclaunch.errors import ChangedFile, CorruptFile
from hpclaunch.storage import reader, together, wholes
from hpclaunch.storage.compiled import compiled
from hpclaunch.storage.elementwise import Elementwise
from hpclaunch.storage.layout import NOWHERE, Layout
from hpclaunch.storage.pace import Pace
from hpclaunch.storage.reader import Options, read
from hpclaunch.storage.source import open_source
from hpclaunch.storage.wholes import whole
from tests.storage.layouts import WHERE, layout_of

pytestmark = pytest.mark.pure

ALONE = Options(threads=1, cache=0)
EVERY = (slice(None),) * 3


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether it was tried, and whether it went well."""
    found = []
    original = wholes.read_whole

    def noting(*what: object) -> bool:
        found.append(original(*what))
        return found[-1]

    monkeypatch.setattr(reader, "read_whole", noting)
    monkeypatch.setattr(Pace, "copies", True)  # on a busy machine a read may seem to wait
    return found


def made(path: Path, kind: str = "<f4", **how: object) -> np.ndarray:
    rng = np.random.default_rng(20011)
    values = rng.integers(0, 99, (61, 20, 30)).astype(kind)
    how = {"chunks": (2, 20, 30), "compression": 4, "shuffle": True, **how}
    with h5py.File(path, "w") as file:
        file.create_dataset("v", data=values, **how)
    return values


CHUNKED = Layout("chunked", (61, 20, 30), np.dtype("f4"), (2, 20, 30))


@pytest.mark.parametrize(
    ("key", "numbers"),
    [
        (np.s_[:60, :, :], range(30)),
        (np.s_[4:20, 0:20, -30:], range(2, 10)),
        (np.s_[-59:-41:1, :, :], range(1, 10)),
        (np.s_[-60:-41, :, :], None),
        (np.s_[:, :, :], None),  # the last chunk holds one step only
        (np.s_[4:20:2, :, :], None),
        (np.s_[20:4:-1, :, :], None),
        (np.s_[4:20, 1:, :], None),
        (np.s_[4:20, ::-1, :], None),
        (np.s_[4:20, :, 3], None),
        (np.s_[4, :, :], None),
        ((np.arange(4, 20), *EVERY[1:]), None),
        ((slice(4, 20), np.arange(20), slice(None)), None),
        (np.s_[8:8, :, :], range(4, 4)),
        (np.s_[4:20, :], None),
    ],
    ids=repr,
)
def test_which_keys_take_whole_chunks(key, numbers):
    assert whole(CHUNKED, key) == numbers


def test_other_layouts_have_none():
    plain = Layout("contiguous", (61, 20, 30), np.dtype("f4"))
    parted = Layout("chunked", (61, 20, 30), np.dtype("f4"), (2, 10, 30))
    single = Layout("chunked", (), np.dtype("f4"), ())
    assert [whole(one, EVERY[: len(one.shape)]) for one in (plain, parted, single)] == [None] * 3


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.integers(0, 30), count=st.integers(0, 30), into=st.booleans())
@pytest.mark.parametrize("streams", [0, 1 << 40])
def test_values(tmp_path_factory, used, monkeypatch, first, count, into, streams):
    path = tmp_path_factory.getbasetemp() / "wholes.h5"
    if not path.exists():
        made(path)
    monkeypatch.setattr(together, "_STREAMS", streams)
    key = (slice(2 * first, 2 * (first + count)), *EVERY[1:])
    used.clear()
    out = np.empty((len(range(61)[key[0]]), 20, 30), "f4") if into else None
    found = read(open_source(str(path)), layout_of(path), key, where=WHERE, options=ALONE, into=out)
    with h5py.File(path) as file:
        assert np.array_equal(found, file["v"][key])
    assert out is None or found is out
    assert used == ([count > 4] if 0 < count <= 30 - first else [])


def test_it_is_not_tried_where_others_could_help(tmp_path, used):
    values = made(tmp_path / "a.h5")
    found = read(
        open_source(str(tmp_path / "a.h5")),
        layout_of(tmp_path / "a.h5"),
        np.s_[:60, :, :],
        where=WHERE,
        options=Options(threads=2),
    )
    assert np.array_equal(found, values[:60]) and not used


def test_it_is_not_tried_where_reads_wait(tmp_path, used, monkeypatch):
    values = made(tmp_path / "a.h5")
    monkeypatch.setattr(Pace, "copies", False)
    found = reading(tmp_path / "a.h5")
    assert np.array_equal(found, values[:60]) and not used


def reading(path: Path, key=np.s_[:60, :, :], **more: object) -> np.ndarray:
    return read(open_source(str(path)), layout_of(path), key, where=WHERE, options=ALONE, **more)


def test_values_are_decoded(tmp_path, used):
    values = made(tmp_path / "a.h5", "<i2")
    half = Elementwise([lambda some: some.astype("f4") / 2], np.dtype("i2"), np.dtype("f4"))
    found = reading(tmp_path / "a.h5", decoding=half)
    assert found.dtype == "f4" and np.array_equal(found, values[:60].astype("f4") / 2)
    assert used == [False]  # so few that no table is worth making
    wide = np.tile(values[:2], (300, 2, 2))
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("v", data=wide, chunks=(2, 40, 60), compression=4, shuffle=True)
    half = Elementwise([lambda some: some.astype("f4") / 2], np.dtype("i2"), np.dtype("f4"))
    found = reading(tmp_path / "b.h5", EVERY, decoding=half)
    assert np.array_equal(found, wide.astype("f4") / 2) and used == [False, True]


@pytest.mark.parametrize("size", [1, 20_000, 1 << 20])
def test_many_chunks_are_done_in_parts(tmp_path, used, monkeypatch, size):
    monkeypatch.setattr(wholes, "_AT_ONCE", size)
    values = made(tmp_path / "a.h5")
    assert np.array_equal(reading(tmp_path / "a.h5"), values[:60]) and used == [True]


@pytest.mark.parametrize("order", [[3, 1, 2, 0], [0, 2, 1, 3], [1, 2, 3, 0]])
def test_chunks_lie_in_any_order_in_the_file(tmp_path, used, order):
    path = tmp_path / "a.h5"
    values = np.random.default_rng(7).integers(0, 9, (40, 5, 6)).astype("<i4")
    with h5py.File(path, "w") as file:
        one = file.create_dataset("v", (40, 5, 6), "<i4", chunks=(1, 5, 6), compression=1)
        other = file.create_dataset("w", (40, 5, 6), "<i4", chunks=(1, 5, 6), compression=1)
        for part in order:
            for i in range(10 * part, 10 * part + 10):
                one[i] = values[i]
                other[i] = values[i]
    assert np.array_equal(reading(path, EVERY), values) and used == [True]


def test_chunks_that_were_never_written_are_filled(tmp_path, used):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        one = file.create_dataset(
            *("v", (40, 5, 6), "<i4"), chunks=(1, 5, 6), compression=1, fillvalue=7
        )
        one[:9] = one[12:20] = 3
    layout = layout_of(path)
    assert (layout.offsets == NOWHERE).sum() == 23
    found = reading(path, EVERY)
    assert (found[:9] == 3).all() and (found[9:12] == 7).all() and (found[20:] == 7).all()
    assert used == [False]


def test_chunks_that_left_out_a_filter(tmp_path, used):
    path = tmp_path / "a.h5"
    values = made(path)
    with h5py.File(path, "r+") as file:
        file["v"].id.write_direct_chunk((4, 0, 0), values[4:6].tobytes(), filter_mask=3)
    assert np.array_equal(reading(path), values[:60]) and used == [False]


def test_another_pipeline(tmp_path, used):
    values = made(tmp_path / "a.h5", fletcher32=True)
    assert np.array_equal(reading(tmp_path / "a.h5"), values[:60]) and used == [False]


def test_damage_names_the_chunk(tmp_path, used):
    path = tmp_path / "a.h5"
    made(path)
    layout = layout_of(path)
    with path.open("r+b") as file:
        file.seek(int(layout.offsets[9, 0, 0]) + int(layout.sizes[9, 0, 0]) - 1)
        last = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([last[0] ^ 1]))
    with pytest.raises(CorruptFile, match=r"chunk \(9, 0, 0\) of variable /v.*does not inflate"):
        reading(path)
    assert used == [False]


def test_a_file_that_is_cut_or_changed_meanwhile_is_told(tmp_path, used):
    path = tmp_path / "a.h5"
    made(path)
    layout, source = layout_of(path), open_source(str(path))
    source.read(0, memoryview(bytearray(8)))  # so that it is open when it is cut
    with path.open("r+b") as file:
        file.truncate(int(layout.offsets[25, 0, 0]) + 3)
    with pytest.raises(ChangedFile, match="was cut"):
        read(source, layout, np.s_[:60, :, :], where=WHERE, options=ALONE)
    with pytest.raises(ChangedFile, match="was cut"):  # although all that it needs is there
        read(source, layout, np.s_[:40, :, :], where=WHERE, options=ALONE)
    assert used == [False, True]


def test_an_index_with_absurd_places_is_told(tmp_path, used):
    path = tmp_path / "a.h5"
    made(path)
    layout = layout_of(path)
    for offset in (2**63, 2**63 - 1, 2**62, 1 << 40):
        layout.offsets[9] = offset
        with pytest.raises(CorruptFile, match=r"chunk \(9, 0, 0\) of variable /v"):
            read(open_source(str(path)), layout, np.s_[:60, :, :], where=WHERE, options=ALONE)
    layout.offsets[9] = layout.offsets[8]
    layout.sizes[9] = 2**32 - 1
    with pytest.raises(CorruptFile, match=r"chunk \(\d+, 0, 0\) of variable /v"):
        read(open_source(str(path)), layout, np.s_[:60, :, :], where=WHERE, options=ALONE)
    assert used == [False] * 5


def test_without_compiled_code(tmp_path, used, monkeypatch):
    values = made(tmp_path / "a.h5")
    monkeypatch.setattr(together, "compiled", lambda: None)
    assert compiled() is not None
    assert np.array_equal(reading(tmp_path / "a.h5"), values[:60]) and used == [False]


def test_unfiltered_chunks_are_not_its_work(tmp_path, used):
    values = made(tmp_path / "a.h5", compression=None, shuffle=None)
    assert np.array_equal(reading(tmp_path / "a.h5"), values[:60]) and not used
    assert whole(Layout("chunked", (60, 20, 30), np.dtype("f4"), (2, 20, 30)), EVERY) == range(30)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("key", [np.s_[:60, :, :], np.s_[:60, 3, :]])
@pytest.mark.parametrize(
    "wrong",
    [
        lambda shape: np.zeros((30, *shape[1:]), "f4"),
        lambda shape: np.zeros((*shape[:-1], 2 * shape[-1]), "f4")[..., ::2],
        lambda shape: np.zeros(shape, "f8"),
        lambda shape: np.broadcast_to(np.zeros(1, "f4"), shape),
        lambda shape: np.frombuffer(bytes(4 * int(np.prod(shape))), "f4").reshape(shape),
    ],
)
def test_memory_into_which_values_do_not_go_is_refused(tmp_path, key, threads, wrong):
    made(tmp_path / "a.h5")
    layout, source = layout_of(tmp_path / "a.h5"), open_source(str(tmp_path / "a.h5"))
    shape = (60, 20, 30) if key[1] != 3 else (60, 30)
    into = wrong(shape)
    before = into.tobytes()
    with pytest.raises(ValueError, match="values"):
        read(source, layout, key, where=WHERE, options=Options(threads=threads), into=into)
    assert into.tobytes() == before
