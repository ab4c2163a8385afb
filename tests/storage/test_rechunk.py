"""A file written anew with other chunks has the same stored values, in bounded memory."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import textwrap

import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch.cli import main
from hpclaunch.errors import ChangedFile, StorageError
from hpclaunch.storage import raw, rechunk
from hpclaunch.storage.slabs import overlap, passes, regions
from hpclaunch.storage.spill import Spill

pytestmark = [pytest.mark.pure, pytest.mark.filterwarnings("ignore:endian-ness of dtype")]


def make(path, chunks=(1, 40, 50), shape=(120, 40, 50), unlimited=False):
    random = np.random.default_rng(20011)
    with netCDF4.Dataset(path, "w") as file:
        file.title = "a test"
        file.createDimension("time", None if unlimited else shape[0])
        file.createDimension("lat", shape[1])
        file.createDimension("lon", shape[2])
        file.createDimension("free", None)
        time = file.createVariable("time", "i4", ("time",))
        time.units = "hours since 2001-01-01"
        time[:] = np.arange(shape[0])
        tas = file.createVariable(
            "tas", "f4", ("time", "lat", "lon"), zlib=chunks is not None, complevel=2,
            chunksizes=chunks, contiguous=chunks is None,
        )  # fmt: skip
        tas.units = "K"
        tas.coordinates = "words"
        tas[:] = random.normal(280, 12, shape)
        packed = file.createVariable(
            "packed", "i2", ("time", "lat", "lon"), fill_value=-32767, chunksizes=(7, 9, 11)
        )
        packed.scale_factor, packed.add_offset = 0.01, 273.15
        packed.set_auto_maskandscale(False)
        packed[:] = random.integers(-9, 99, shape)
        big = file.createVariable(
            "big", "f8", ("time", "lat", "lon"), contiguous=not unlimited, endian="big"
        )
        big[:] = random.normal(0, 1, shape)
        words = file.createVariable("words", str, ("lat",))
        words[:] = np.array([f"word {i}" for i in range(shape[1])], object)
        inner = file.createGroup("a").createGroup("b")
        inner.note = "inside"
        inner.createDimension("level", 3)
        deep = inner.createVariable(
            "deep", "u1", ("level", "time", "lat", "lon"), zlib=True, chunksizes=(1, 5, 20, 25)
        )
        deep[:] = random.integers(0, 9, (3, *shape))
    return path


def assert_same_values(one, other):
    with netCDF4.Dataset(one) as a, netCDF4.Dataset(other) as b:
        for file in (a, b):
            file.set_auto_maskandscale(False)
        same_group(a, b)


def same_group(a, b):
    assert list(a.groups) == list(b.groups)
    assert a.ncattrs() == b.ncattrs()
    assert set(a.variables) == set(b.variables)
    for name in a.dimensions:
        if name != "free":  # no variable has it, and xarray does not see it
            assert len(a.dimensions[name]) == len(b.dimensions[name])
            assert a.dimensions[name].isunlimited() == b.dimensions[name].isunlimited()
    for name, x in a.variables.items():
        y = b.variables[name]
        assert x.dimensions == y.dimensions
        assert np.dtype(x.dtype if x.dtype != str else object).newbyteorder("=") == np.dtype(
            y.dtype if y.dtype != str else object
        )
        assert {k: x.getncattr(k) for k in x.ncattrs()} == {k: y.getncattr(k) for k in y.ncattrs()}
        np.testing.assert_array_equal(x[...], y[...])
    for name in a.groups:
        same_group(a.groups[name], b.groups[name])


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("HPCLAUNCH_INDEX_CACHE", str(tmp_path_factory.mktemp("index")))
    monkeypatch.setattr(raw, "SMALL", 1000)


@pytest.mark.parametrize("unlimited", [False, True])
@pytest.mark.parametrize("access", ["map", "series", "all", None])
@pytest.mark.parametrize("memory", [2**22, 2**30])
def test_values_attributes_and_groups_stay(tmp_path, access, memory, unlimited):
    source = make(tmp_path / "a.nc", unlimited=unlimited)
    told = []
    done = rechunk(
        source,
        tmp_path / "b.nc",
        access=access,
        chunks={"time": 24, "lat": 20},
        memory=memory,
        progress=lambda *n: told.append(n),
    )
    assert_same_values(source, tmp_path / "b.nc")
    assert {one.path for one in done.variables} == {"/tas", "/packed", "/big", "/a/b/deep"}
    assert told[-1][0] == told[-1][1] >= done.nbytes
    with netCDF4.Dataset(tmp_path / "b.nc") as made:
        assert made["tas"].chunking()[:2] == [24, 20]
        assert made["tas"].filters()["complevel"] == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nc", "b.nc"]


def test_chunks_stay_where_no_dimension_of_a_variable_is_named(tmp_path):
    source = make(tmp_path / "a.nc")
    done = rechunk(source, tmp_path / "b.nc", chunks={"level": -1})
    after = {one.path: one.after for one in done.variables}
    assert (after["/tas"], after["/packed"]) == ((1, 40, 50), (7, 9, 11))
    assert after["/a/b/deep"] == (3, 5, 20, 25)


def test_maps_to_series_go_through_a_file_where_memory_is_short(tmp_path):
    source = make(tmp_path / "a.nc", shape=(300, 40, 50))
    chunks = {"time": -1, "lat": 4, "lon": 5}
    done = rechunk(source, tmp_path / "b.nc", chunks=chunks, memory=2**22)
    assert_same_values(source, tmp_path / "b.nc")
    turned = {one.path: one for one in done.variables}
    assert turned["/tas"].after == (300, 4, 5)
    assert turned["/tas"].spilled == 300 * 40 * 50 * 4
    assert turned["/tas"].reads == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nc", "b.nc"]
    back = rechunk(tmp_path / "b.nc", tmp_path / "c.nc", access="map", memory=2**28)
    assert_same_values(source, tmp_path / "c.nc")
    assert all(one.spilled == 0 for one in back.variables)


def test_contiguous_and_classic_files(tmp_path):
    make(tmp_path / "a.nc", chunks=None)
    rechunk(tmp_path / "a.nc", tmp_path / "b.nc", access="series", level=1)
    assert_same_values(tmp_path / "a.nc", tmp_path / "b.nc")
    classic = tmp_path / "classic.nc"
    values = np.random.default_rng(1).normal(0, 1, (50, 60)).astype("f4")
    xr.Dataset({"v": (("t", "x"), values)}).to_netcdf(classic, format="NETCDF3_64BIT")
    rechunk(classic, tmp_path / "c.nc", chunks={"t": 5}, level=0)
    with netCDF4.Dataset(tmp_path / "c.nc") as made:
        assert np.array_equal(made["v"][:], values)
        assert made["v"].chunking() == [5, 60] and not made["v"].filters()["zlib"]


def test_what_is_refused(tmp_path):
    source = make(tmp_path / "a.nc")
    before = source.read_bytes()
    for target, options, match in [
        ("a.nc", {"overwrite": True}, "is the source itself"),
        ("a.nc", {}, "exists"),
        ("b.nc", {"chunks": {"tiem": 3}}, "no dimension is called tiem"),
        ("b.nc", {"memory": 10_000}, "does not fit into"),
    ]:
        with pytest.raises(StorageError, match=match):
            rechunk(source, tmp_path / target, **options)
    with pytest.raises(FileNotFoundError):
        rechunk(tmp_path / "none.nc", tmp_path / "b.nc")
    assert source.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.nc"]


def test_a_source_that_changes_meanwhile(tmp_path):
    source = make(tmp_path / "a.nc")

    def touch(done, total):
        os.utime(source)

    with pytest.raises(ChangedFile):
        rechunk(source, tmp_path / "b.nc", access="series", progress=touch)
    assert [p.name for p in tmp_path.iterdir()] == ["a.nc"]


@pytest.mark.long
def test_memory_stays_within_what_was_given(tmp_path):
    """320 MB through 64 MiB, maps to series: less than the given memory above what is imported."""
    source, target = tmp_path / "a.nc", tmp_path / "b.nc"
    with h5py.File(source, "w") as file:
        data = file.create_dataset("v", (400, 400, 500), "f4", chunks=(1, 400, 500))
        plane = np.random.default_rng(1).normal(0, 1, (400, 500)).astype("f4")
        for step in range(400):
            data[step] = plane + step
    program = """
        import resource, sys
        import numpy, xarray, netCDF4, h5py, dask.array
        from hpclaunch.storage import rechunk
        from hpclaunch.storage import engine, reader, rechunking
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        rechunk(sys.argv[1], sys.argv[2], chunks={"phony_dim_0": -1, "phony_dim_1": 20,
                "phony_dim_2": 25}, level=1, memory=64 * 2**20)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(source), str(target)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    grown = int(ran.stdout) * 1024
    assert grown < 64 * 2**20 + 32 * 2**20  # and what libraries load on first use
    with h5py.File(target) as made:
        assert made["v"].chunks == (400, 20, 25)
        for step in (0, 123, 399):
            np.testing.assert_array_equal(made["v"][step], plane + step)


DIMS = st.integers(1, 4).flatmap(
    lambda n: st.tuples(
        st.tuples(*[st.integers(1, 60)] * n),
        st.tuples(*[st.integers(1, 20)] * n),
        st.tuples(*[st.integers(1, 20)] * n),
    )
)


@given(DIMS, st.integers(1, 100_000))
def test_passes_stay_within_the_budget(dims, budget):
    shape, stored, chunks = dims
    old = [min(c, n) for c, n in zip(stored, shape, strict=True)]
    new = [min(c, n) for c, n in zip(chunks, shape, strict=True)]
    if max(math.prod(old), math.prod(new)) * 4 > budget:
        with pytest.raises(ValueError, match="bytes"):
            passes(shape, 4, stored, chunks, budget)
        return
    made = passes(shape, 4, stored, chunks, budget)
    assert math.prod(made.target) * 4 <= budget
    assert made.reads <= 2
    for length, c, n in zip(made.target, new, shape, strict=True):
        assert length % c == 0 or length == n
    if made.source is not None:
        assert math.prod(made.source) * 4 <= budget
        for length, c, n in zip(made.source, old, shape, strict=True):
            assert length % c == 0 or length == n


@given(DIMS)
def test_slabs_cover_everything_once(dims):
    shape, lengths, _ = dims
    seen = np.zeros(shape, int)
    for region in regions(shape, lengths):
        seen[region] += 1
    assert (seen == 1).all()


def test_a_spill_gives_back_what_it_took(tmp_path):
    values = np.arange(6 * 7 * 8, dtype="i4").reshape(6, 7, 8)
    filled, wanted = list(regions((6, 7, 8), (2, 7, 3))), list(regions((6, 7, 8), (6, 2, 5)))
    with Spill(tmp_path, values.dtype, filled, wanted) as spill:
        for index, region in enumerate(filled):
            spill.put(index, values[region])
        assert list(tmp_path.iterdir()) == []
        for index, region in enumerate(wanted):
            np.testing.assert_array_equal(spill.get(index), values[region])
        assert spill.nbytes == values.nbytes


def test_no_room_for_a_spill(tmp_path):
    everything = [(slice(0, 2**60),)]
    with pytest.raises(StorageError, match="has no room for"):
        Spill(tmp_path, np.dtype("f8"), everything, everything)
    assert overlap((slice(0, 2),), (slice(2, 3),)) is None


def test_the_command(tmp_path, capsys):
    source, target = make(tmp_path / "a.nc"), tmp_path / "b.nc"
    words = ["data", "rechunk", str(source), str(target), "--chunks", "time=-1,lat=4"]
    assert main([*words, "--memory", "100 MB", "--workers", "2", "--level", "1"]) == 0
    said = capsys.readouterr()
    assert "/tas: 1 x 40 x 50 -> 120 x 4 x 50" in said.out
    assert "100 %" in said.err
    assert_same_values(source, target)
    assert main(words) == 1
    assert "exists" in capsys.readouterr().err
    assert main([*words, "--overwrite", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["path"] == str(target)
    assert {one["path"] for one in told["variables"]} == {"/tas", "/packed", "/big", "/a/b/deep"}


@pytest.mark.parametrize(
    "wrong",
    [
        ["--chunks", "time"],
        ["--chunks", "time=0"],
        ["--memory", "4"],
        ["--memory", "0 GB"],
        ["--level", "10"],
        ["--workers", "0"],
        ["--access", "point"],
    ],
)
def test_wrong_words(tmp_path, wrong, capsys):
    try:
        code = main(["data", "rechunk", str(tmp_path / "a.nc"), str(tmp_path / "b.nc"), *wrong])
    except SystemExit as error:
        code = error.code
    assert code == 2
    assert wrong[0] in capsys.readouterr().err


def test_a_source_that_is_missing(tmp_path, capsys):
    assert main(["data", "rechunk", str(tmp_path / "none.nc"), str(tmp_path / "b.nc")]) == 1
    assert "none.nc: No such file" in capsys.readouterr().err


def test_errors_of_the_libraries_are_told(tmp_path, capsys, monkeypatch):
    for error in (RuntimeError("NetCDF: Bad chunk sizes."), ValueError("no such type")):

        def fail(*_, error=error, **__):
            raise error

        monkeypatch.setattr(raw, "make_skeleton", fail)
        source = make(tmp_path / "a.nc")
        assert main(["data", "rechunk", str(source), str(tmp_path / "b.nc")]) == 1
        assert f"a.nc cannot be written anew: {error}" in capsys.readouterr().err
        assert [one.name for one in tmp_path.iterdir()] == ["a.nc"]


def test_a_command_that_is_terminated_leaves_nothing(tmp_path):
    program = """
        import os, signal, sys
        from hpclaunch.cli import main
        from hpclaunch.storage import raw
        raw.make_skeleton = lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM)
        sys.exit(main(["data", "rechunk", *sys.argv[1:]]))
    """
    source = make(tmp_path / "a.nc")
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(source), str(tmp_path / "b.nc")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 130, ran.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["a.nc"]


def test_what_is_copied_whole_has_to_fit_into_memory(tmp_path):
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        file.createDimension("x", 10**6)
        file.createVariable("letter", "S1", ("x",))[:] = np.full(10**6, b"a")
    with pytest.raises(StorageError, match="/letter has 1 MiB and is copied whole"):
        rechunk(tmp_path / "a.nc", tmp_path / "b.nc", memory=2**19)
    rechunk(tmp_path / "a.nc", tmp_path / "b.nc", memory=2**20)
    with netCDF4.Dataset(tmp_path / "b.nc") as made:
        assert (made["letter"][:] == b"a").all()


@pytest.mark.parametrize("coordinate", [False, True])
def test_an_unlimited_dimension_of_an_enclosing_group_stays_one(tmp_path, coordinate):
    source, target = tmp_path / "a.nc", tmp_path / "b.nc"
    with netCDF4.Dataset(source, "w") as file:
        file.createDimension("time", None)
        file.createDimension("x", 50)
        if coordinate:
            file.createVariable("time", "f8", ("time",))[:] = np.arange(40)
        inner = file.createGroup("g")
        inner.createVariable("v", "f4", ("time", "x"))[:] = np.ones((40, 50))
        own = file.createGroup("own")
        own.createDimension("time", 7)
        own.createVariable("w", "f4", ("time", "x"))[:] = np.ones((7, 50))
    if not coordinate:
        with pytest.raises(StorageError, match="groups below / use its unlimited dimension time"):
            rechunk(source, target)
        assert not target.exists()
        return
    rechunk(source, target)
    with netCDF4.Dataset(target) as made:
        assert made.dimensions["time"].isunlimited()
        assert "time" not in made["g"].dimensions
        assert not made["own"].dimensions["time"].isunlimited()
        assert (made["g/v"][:] == 1).all() and made["g/v"].shape == (40, 50)
