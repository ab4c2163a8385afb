"""The kept index: found again, made anew when it must be, and never believed when it is wrong."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpclaunch.errors import StorageError
from hpclaunch.storage import index_many, indexformat, sidecar
from hpclaunch.storage.indexformat import Damaged, Unkeepable, decode, encode
from hpclaunch.storage.layout import FileIndex, Filter, Group, Identity, Layout, Variable
from hpclaunch.storage.scan import scan

pytestmark = pytest.mark.pure

ATTRIBUTES: dict[str, Any] = {
    "text": "Grüße\n\0",
    "empty": "",
    "one": np.float32(0.1),
    "big": np.dtype(">i2").type(3),
    "nan": np.float64("nan"),
    "many": np.array([1, 2, 3], ">f8"),
    "none": np.array([], "i4"),
    "words": ["a", "bc", ""],
    "no words": [],
    "bytes": b"\x00\xff",
    "python": [1, 2.5, float("inf"), True, None, (1, "x"), {"a": {"b": 1}}],
    "compound": np.zeros(2, [("a", "<f4"), ("b", ">i2", (2,))]),
    "surrogate": "\udcff",
}


@pytest.fixture(autouse=True)
def cache(hpclaunch_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("HPCLAUNCH_INDEX_CACHE", str(folder))
    sidecar.forget()
    return folder


def write(path: Path, value: int = 1, size: int = 50) -> Path:
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("x", size)
        file.createVariable("v", "i4", ("x",), chunksizes=(7,), zlib=True)[:] = value
        file.createVariable("x", "f8", ("x",))[:] = np.arange(size)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "a.nc")


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were scanned."""
    seen: list[str] = []

    def noted(path: str) -> FileIndex:
        seen.append(path)
        return scan(path)

    monkeypatch.setattr(sidecar, "scan", noted)
    return seen


def same(one: Any, other: Any) -> bool:
    """Whether two values are of one type and equal, to the last bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray | np.generic):
        return bool(
            one.dtype == other.dtype
            and one.dtype.str == other.dtype.str
            and one.shape == other.shape
            and one.tobytes() == other.tobytes()
        )
    if isinstance(one, dict):
        return list(one) == list(other) and all(map(same, one.values(), other.values()))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def assert_same_index(one: FileIndex, other: FileIndex) -> None:
    assert (one.identity, one.superblock, one.facts) == (
        other.identity,
        other.superblock,
        other.facts,
    )
    assert list(one.groups) == list(other.groups)
    for mine, theirs in zip(one.groups.values(), other.groups.values(), strict=True):
        assert (mine.path, mine.dims, mine.unlimited) == (
            theirs.path,
            theirs.dims,
            theirs.unlimited,
        )
        assert same(mine.attrs, theirs.attrs)
        assert list(mine.variables) == list(theirs.variables)
        for name, a in mine.variables.items():
            b = theirs.variables[name]
            assert (a.name, a.dims, a.dtype, a.shape) == (b.name, b.dims, b.dtype, b.shape)
            assert a.dtype.metadata == b.dtype.metadata
            assert same(a.attrs, b.attrs) and same(a.encoding, b.encoding)
            assert same(a.values, b.values)
            for field in Layout.__dataclass_fields__:
                assert same(getattr(a.layout, field), getattr(b.layout, field)), field


def rich_index() -> FileIndex:
    """An index with one of everything."""
    enum = np.dtype("i1", metadata={"enum": {"a": 0, "b": 1}, "enum_name": "e"})
    offsets = np.arange(6, dtype=np.uint64).reshape(2, 3)
    chunked = Layout(
        *("chunked", (4, 9), np.dtype(">i2"), (2, 3), (Filter(1, "deflate", (4,)),), b"\1\2"),
        *(offsets, offsets.astype(np.uint32), offsets.astype(np.uint32), "btree1", ""),
    )
    other = Layout("other", (2,), np.dtype(object), reason="its type is enum")
    text = np.dtype(object, metadata={"element_type": str})
    variables = {
        "v": Variable(
            *("v", ("y", "x"), np.dtype(">i2"), ATTRIBUTES, {"dtype": np.dtype(">i2")}, chunked),
            np.array([[1, 2]], ">i2"),
        ),
        "s": Variable("s", ("y",), text, {}, {"dtype": str, "chunksizes": (1,)}, other),
        "e": Variable("e", ("y",), enum, {}, {"dtype": enum}, other),
    }
    groups = {
        "/": Group("/", {"y": 2, "x": 9}, frozenset("yx"), ATTRIBUTES, {}),
        "/a": Group("/a", {}, frozenset(), {}, variables),
    }
    return FileIndex(Identity("/data/é\udcff.nc", 2**40, 2**60, 2**63), groups, 3, {"paged": True})


def test_everything_comes_back_as_it_was():
    index = rich_index()
    assert_same_index(decode(encode(index)), index)


def test_arrays_of_an_index_cannot_be_written_to():
    index = decode(encode(rich_index()))
    with pytest.raises(ValueError, match="read-only"):
        index.groups["/a"].variables["v"].layout.offsets[0, 0] = 1


@pytest.mark.parametrize("value", [object(), np.array([None, "a"], object), {1, 2}])
def test_what_has_no_words_is_not_kept(value):
    index = FileIndex(Identity("/a", 1, 1, 1), {"/": Group("/", {}, frozenset(), {"a": value}, {})})
    with pytest.raises(Unkeepable):
        encode(index)


def test_an_index_is_found_again_without_opening_the_file(path, cache, scans):
    first = sidecar.load(str(path))
    sidecar.forget()
    again = sidecar.load(str(path), build=False)
    assert scans == [str(path)]
    assert_same_index(again, first)
    kept = sidecar.sidecar_of(str(path))
    assert kept.is_relative_to(cache) and kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    assert [one for one in cache.rglob("*") if one.is_file()] == [kept]


def test_a_file_with_values_of_variable_length_is_kept(path, scans):
    with netCDF4.Dataset(path, "a") as file:
        ragged = file.createVLType("i4", "ragged")
        file.createVariable("r", ragged, ("x",))[0] = np.arange(3, dtype="i4")
    assert sidecar.load(str(path)).groups["/"].variables["r"].values is None
    sidecar.forget()
    found = sidecar.load(str(path), build=False).groups["/"].variables["r"]
    assert "variable-length" in found.layout.reason and len(scans) == 1


def test_a_link_has_the_index_of_its_file(path, tmp_path, scans):
    (tmp_path / "link.nc").symlink_to(path)
    sidecar.load(str(path))
    assert sidecar.load(str(tmp_path / "link.nc")).identity.path == str(path)
    assert len(scans) == 1


def test_without_building_there_may_be_none(path):
    assert sidecar.cached(str(path)) is None
    with pytest.raises(StorageError, match=r"no index of .*a\.nc"):
        sidecar.load(str(path), build=False)
    with pytest.raises(FileNotFoundError):
        sidecar.load(str(path) + "x")


def replaced(path: Path) -> None:
    write(path.with_name("new.nc"), 2).replace(path)


def rewritten(path: Path) -> None:
    """In place, with as many bytes."""
    data, inode = write(path.with_name("new.nc"), 2).read_bytes(), path.stat().st_ino
    with path.open("r+b") as file:
        file.write(data)
    assert path.stat().st_ino == inode


def touched(path: Path) -> None:
    os.utime(path, ns=(0, time.time_ns() - 10**10))


def grown(path: Path) -> None:
    write(path, 1, 70)


@pytest.mark.parametrize("change", [replaced, rewritten, touched, grown])
@pytest.mark.parametrize("forget", [True, False])
def test_a_changed_file_has_a_new_index(change, forget, path, scans):
    before = sidecar.load(str(path))
    change(path)
    if forget:
        sidecar.forget()
    assert sidecar.cached(str(path)) is None
    after = sidecar.load(str(path))
    assert after.identity != before.identity and len(scans) == 2
    assert sidecar.cached(str(path)) is after


def test_the_index_of_another_file_is_not_believed(path, tmp_path, scans):
    other = write(tmp_path / "b.nc", 2)
    sidecar.load(str(path))
    mine, theirs = (sidecar.sidecar_of(str(one)) for one in (path, other))
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_bytes(mine.read_bytes())
    assert sidecar.load(str(other)).identity.path == str(other)
    assert scans == [str(path), str(other)]


def test_the_index_of_another_user_is_not_believed(path, monkeypatch, scans):
    sidecar.load(str(path))
    sidecar.forget()
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    monkeypatch.setattr(sidecar, "_ROOT", uid + 1)
    sidecar.load(str(path))
    assert len(scans) == 2


@pytest.mark.parametrize("how", ["file", "folder of a file", "full"])
def test_a_cache_that_cannot_be_written_is_no_error(how, path, cache, monkeypatch):
    if how == "full":

        def full(*_: object, **__: object) -> Any:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(sidecar.tempfile, "mkstemp", full)
    elif how == "file":
        cache.write_text("")
    else:
        sidecar.sidecar_of(str(path)).mkdir(parents=True)
    assert sidecar.load(str(path)).groups["/"].variables["v"].shape == (50,)
    sidecar.forget()
    assert sidecar.cached(str(path)) is None
    leftovers = list(cache.rglob(".new-*")) if cache.is_dir() else []
    assert leftovers == []


def test_the_memory_is_bounded(tmp_path):
    memory = sidecar._Memory(100)
    index = rich_index()
    for at in range(10):
        one = FileIndex(Identity(f"/{at}", 1, 1, 1), index.groups)
        memory.put(one, None, 30)
        memory.put(one, None, 30)
        assert memory.get(one.identity, None) is one
    assert len(memory._kept) == 3 and memory._bytes == 90
    assert memory.get(Identity("/9", 2, 1, 1), None) is None


ENCODED = encode(rich_index())


@settings(max_examples=100)
@given(at=st.integers(0, len(ENCODED) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found(at, bit):
    data = bytearray(ENCODED)
    data[at] ^= 1 << bit
    with pytest.raises(Damaged):
        decode(bytes(data))


@given(length=st.integers(0, len(ENCODED) - 1), tail=st.binary(max_size=40))
def test_a_cut_or_overlong_index_is_found(length, tail):
    for data in (ENCODED[:length], ENCODED[:length] + tail, ENCODED + tail + b"\0"):
        with pytest.raises(Damaged):
            decode(data)


def walk(index: FileIndex) -> None:
    """Ask for everything that is made late."""
    for group in index.groups.values():
        for one in group.variables.values():
            _ = one.layout, one.values


HEAD_END = 32 + int.from_bytes(ENCODED[16:24], "little")


@settings(max_examples=100)
@given(
    at=st.integers(32, HEAD_END - 1),
    new=st.sampled_from([b"9", b"-1", b"[", b"null", b"{}", b'"', b"1e9", b"", b"99999999999"]),
    cut=st.integers(0, 8),
)
def test_a_wrong_index_with_a_right_checksum_harms_nobody(at, new, cut):
    """Whoever wrote it: it is refused, or its arrays lie within it."""
    body = ENCODED[16:at] + new + ENCODED[min(at + cut, HEAD_END) :]
    grown_by = len(body) + 16 - len(ENCODED)
    head = (HEAD_END - 32 + grown_by).to_bytes(8, "little")
    body = head + (len(body) + 16).to_bytes(8, "little") + body[16:]
    data = ENCODED[:12] + zlib.crc32(body).to_bytes(4, "little") + body
    with contextlib.suppress(Damaged):
        walk(decode(data))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:100],
        lambda data: data[:-1],
        lambda data: b"\x80\x04K\x01." + data,
        lambda data: data.replace(b'"v"', b'"w"'),
        lambda data: data[:8] + (99).to_bytes(4, "little") + data[12:],
    ],
    ids=["empty", "cut", "one short", "pickle", "other content", "other version"],
)
def test_a_damaged_sidecar_is_made_anew(damage: Callable[[bytes], bytes], path, scans):
    first = sidecar.load(str(path))
    kept = sidecar.sidecar_of(str(path))
    kept.write_bytes(damage(kept.read_bytes()))
    sidecar.forget()
    assert_same_index(sidecar.load(str(path)), first)
    assert len(scans) == 2
    assert decode(kept.read_bytes()).identity == first.identity


BUILD = """
import sys
from hpclaunch.storage import sidecar
print(sidecar.load(sys.argv[1]).groups["/"].variables["v"].layout.stored)
"""


def test_many_processes_build_at_once(path, cache):
    asked = [sys.executable, "-c", BUILD, str(path)]
    team = [subprocess.Popen(asked, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert len({one.communicate()[0] for one in team}) == 1
    assert [one.returncode for one in team] == [0, 0]
    (kept,) = [one for one in cache.rglob("*") if one.is_file()]
    assert_same_index(decode(kept.read_bytes()), scan(str(path)))


def test_the_indexes_of_many_files(path, tmp_path):
    sidecar.load(str(path))
    more = [write(tmp_path / f"{at}.nc", at) for at in range(5)]
    (tmp_path / "bad.nc").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\xff" * 2000)
    paths = [str(path), *map(str, more), str(tmp_path / "bad.nc"), str(tmp_path / "none.nc")]
    told: list[tuple[int, int]] = []
    found = index_many(
        [*paths, paths[0]], processes=2, progress=lambda done, total, _: told.append((done, total))
    )
    assert found.kept == (str(path),) and found.built == tuple(map(str, more))
    assert set(found.failed) == set(paths[-2:])
    assert "bad.nc cannot be read" in found.failed[paths[-2]]
    assert told[-1] == (8, 8) and [done for done, _ in told] == sorted({done for done, _ in told})
    assert index_many(paths[:-2]).kept == tuple(paths[:-2])


def test_a_process_that_dies_takes_no_other_file_with_it(path, tmp_path, monkeypatch):
    from hpclaunch.storage import many

    killing = many._WORKER.replace(
        "serve()",
        "from hpclaunch.storage import sidecar; import os; load = sidecar.load\n"
        "sidecar.load = lambda p, **k: os.abort() if 'deadly' in p else load(p, **k)\nserve()",
    )
    monkeypatch.setattr(many, "_WORKER", killing)
    deadly = [write(tmp_path / f"deadly-{at}.nc") for at in range(2)]
    found = index_many([*deadly, path], processes=1)
    assert found.built == (str(path),)
    assert set(found.failed.values()) == {"the process that read it ended with -6"}


def test_the_formats_version_is_written_where_it_is_looked_for():
    assert ENCODED[:12] == indexformat.MAGIC + indexformat.VERSION.to_bytes(4, "little")
