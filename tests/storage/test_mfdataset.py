"""Many files as one dataset: as xarray combines them, from their indexes alone."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import assume, given
from hypothesis import strategies as st

from hpclaunch.errors import StorageError, UsageError
from hpclaunch.storage import mfdataset, open_mfdataset, sidecar, source
from hpclaunch.storage.blocks import LARGEST, MOST_TASKS, Machine
from hpclaunch.storage.layout import Layout, Variable
from hpclaunch.storage.rowchunks import row_chunks

pytestmark = pytest.mark.pure

MINIMAL = {"compat": "override", "coords": "minimal", "data_vars": "minimal"}


def month(number: int, *, since: str = "2001-01-01", scale: float = 0.01) -> xr.Dataset:
    """Some hours of a month: packed, plain, without time, text."""
    rng = np.random.default_rng(number)
    time = pd.date_range(f"2001-{number:02d}-01", periods=5 + number, freq="h")
    n = len(time)
    found = xr.Dataset(
        {
            "t2m": (("time", "lat", "lon"), rng.normal(280, 9, (n, 24, 32)).astype("f4")),
            "packed": (("time", "lat", "lon"), rng.normal(0, 1, (n, 24, 32))),
            "land": (("lat", "lon"), np.ones((24, 32), "i2"), {"long_name": "land"}),
            "name": ("time", np.array([f"step {step}" for step in range(n)], object)),
        },
        coords={"time": time, "lat": np.linspace(-50, 50, 24), "lon": np.arange(32.0)},
        attrs={"month": number},
    )
    found.time.encoding.update(units=f"hours since {since}", dtype="f8")
    found.packed.encoding.update(dtype="i2", scale_factor=scale, _FillValue=-999)
    for one in ("t2m", "packed"):
        found[one].encoding.update(zlib=True, shuffle=True, chunksizes=(2, 24, 32))
    return found


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    return [write(tmp_path / f"m{number}.nc", month(number)) for number in (1, 2, 3, 4)]


def write(path: Path, dataset: xr.Dataset) -> str:
    dataset.to_netcdf(path, engine="netcdf4", unlimited_dims=["time"])
    return str(path)


def by_netcdf4(files: list[str], **options: object) -> xr.Dataset:
    how = {"combine": "nested", "concat_dim": "time", **MINIMAL, **options}
    return xr.open_mfdataset(files, engine="netcdf4", **how)


def same(found: xr.Dataset, wanted: xr.Dataset) -> None:
    xr.testing.assert_identical(found.load(), wanted.load())
    for name, one in found.variables.items():
        assert one.dtype == wanted[name].dtype, name
        skipped = {"original_shape"}  # xarray keeps the first file's
        left, right = (
            {key: repr(value) for key, value in encoding.items() if key not in skipped}
            for encoding in (one.encoding, wanted[name].encoding)
        )
        assert left == right, name


@pytest.mark.parametrize("chunks", ["tuned", None, {}, {"time": 3}, "auto"])
def test_files_in_a_row_are_what_xarray_makes_of_them(files, chunks):
    same(open_mfdataset(files, chunks=chunks), by_netcdf4(files))


def test_they_are_put_in_the_order_of_their_coordinate(files):
    mixed = [files[place] for place in (2, 0, 3, 1)]
    same(open_mfdataset(mixed), by_netcdf4(files))
    given_order = open_mfdataset(mixed, concat_dim="time")
    same(given_order, by_netcdf4(mixed))


def test_a_pattern_and_paths_are_taken(files):
    folder = Path(files[0]).parent
    same(open_mfdataset(str(folder / "m*.nc")), by_netcdf4(files))
    same(open_mfdataset([Path(one) for one in files]), by_netcdf4(files))
    same(open_mfdataset(files[0]), by_netcdf4(files[:1]))


def test_nothing_is_read_of_files_whose_index_is_there(files, monkeypatch):
    open_mfdataset(files)

    def refuse(*_: object) -> None:
        raise AssertionError("a file was read")

    monkeypatch.setattr(source, "open_source", refuse)
    found = open_mfdataset(files)
    assert found.time.size == 6 + 7 + 8 + 9
    with pytest.raises(AssertionError, match="was read"):
        found.t2m.load()


def test_a_row_is_compared_once_and_again_when_a_file_changes(files, monkeypatch):
    wanted = open_mfdataset(files).load()

    def refuse(*_: object) -> None:
        raise AssertionError("files were compared")

    monkeypatch.setattr(mfdataset, "join", refuse)
    sidecar.forget()
    xr.testing.assert_identical(open_mfdataset(files).load(), wanted)
    with pytest.raises(AssertionError, match="compared"):
        open_mfdataset(files[1:])
    os.utime(files[-1], ns=(1, 1))
    with pytest.raises(AssertionError, match="compared"):
        open_mfdataset(files)


KEYS = (
    {"time": slice(3, 27, 7)},
    {"time": slice(None, None, -3)},
    {"time": -1, "lat": slice(1, 3)},
    {"time": [25, 3, 3, 11], "lon": [7, 0]},
    {"time": slice(4, 4)},
    {"time": np.array([], int)},
    {"time": slice(5, 7), "lat": -1},
    {"time": xr.DataArray([1, 8, 20], dims="p"), "lat": xr.DataArray([0, 5, 2], dims="p")},
)


@pytest.mark.parametrize("key", KEYS, ids=repr)
@pytest.mark.parametrize("chunks", ["tuned", None])
def test_selections_reach_the_files(files, key, chunks):
    found = pickle.loads(pickle.dumps(open_mfdataset(files, chunks=chunks)))
    xr.testing.assert_identical(found.isel(key).load(), by_netcdf4(files).isel(key).load())


@given(start=st.integers(-21, 20), stop=st.integers(-21, 20), step=st.integers(-9, 9).filter(bool))
def test_slices_over_the_seams(tmp_path_factory, start, stop, step):
    assume(range(21)[start:stop:step])  # xarray itself fails with empty ones that run backwards
    folder = tmp_path_factory.getbasetemp() / "seams"
    if not folder.exists():
        folder.mkdir()
        for number in (1, 2, 3):
            write(folder / f"m{number}.nc", month(number))
    found = open_mfdataset(sorted(map(str, folder.iterdir())), chunks=None).t2m
    wanted = np.concatenate([month(number).t2m.values for number in (1, 2, 3)])
    np.testing.assert_array_equal(found[start:stop:step].values, wanted[start:stop:step])
    np.testing.assert_array_equal(found[start:stop:step, 1, ::-2], wanted[start:stop:step, 1, ::-2])


@pytest.mark.parametrize(
    "other",
    [
        month(2, since="2000-06-01"),
        month(2, scale=0.1),
        month(2).assign(more=3),
        month(2).drop_vars("land"),
        month(2).assign(land=month(2).land + 1),
        month(2).assign(t2m=month(2).t2m.astype("f8")),
    ],
    ids=["other units", "other scale", "one more", "one less", "other values", "other dtype"],
)
def test_files_that_do_not_fit_are_combined_by_xarray(tmp_path, other):
    files = [write(tmp_path / "a.nc", month(1)), write(tmp_path / "b.nc", other)]
    found = open_mfdataset(files, concat_dim="time")
    xr.testing.assert_identical(found.load(), by_netcdf4(files).load())


def test_files_that_overlap_are_not_put_in_a_row(tmp_path):
    same_twice = [write(tmp_path / f"{name}.nc", month(1)) for name in "ab"]
    files = [*same_twice, write(tmp_path / "c.nc", month(2))]
    found = open_mfdataset(files)
    wanted = xr.open_mfdataset(files, engine="netcdf4", **MINIMAL)
    xr.testing.assert_identical(found.load(), wanted.load())
    assert open_mfdataset(same_twice, concat_dim="time").sizes["time"] == 12


def test_netcdf3_and_groups(tmp_path):
    old = tmp_path / "old.nc"
    month(1)[["t2m"]].to_netcdf(old, format="NETCDF3_CLASSIC", engine="netcdf4")
    xr.testing.assert_equal(open_mfdataset([str(old)]).load(), month(1)[["t2m"]])
    grouped = []
    for number in (1, 2):
        month(number).to_netcdf(path := tmp_path / f"g{number}.nc", group="a/b", engine="netcdf4")
        grouped.append(str(path))
    same(open_mfdataset(grouped, group="a/b"), by_netcdf4(grouped, group="a/b"))
    with pytest.raises(StorageError, match=r"has no group /a/c"):
        open_mfdataset(grouped, group="a/c")


def test_what_is_not_there_is_told(files, tmp_path):
    with pytest.raises(FileNotFoundError, match="no files match"):
        open_mfdataset(str(tmp_path / "none*.nc"))
    with pytest.raises(UsageError, match="no files"):
        open_mfdataset([])
    with pytest.raises(FileNotFoundError):
        open_mfdataset([*files, str(tmp_path / "not-there.nc")])
    with pytest.raises(StorageError, match="parallel=True"):
        open_mfdataset(files, engine="netcdf4", parallel=True)


def test_a_file_that_changes_has_another_name_in_the_graph(files):
    before = open_mfdataset(files).t2m.data.name
    assert open_mfdataset(files).t2m.data.name == before
    os.utime(files[1], ns=(1, 1))
    assert open_mfdataset(files).t2m.data.name != before


def test_other_decoding_has_other_names_in_the_graph(files):
    decoded, raw = open_mfdataset(files), open_mfdataset(files, mask_and_scale=False)
    assert decoded.packed.data.name != raw.packed.data.name
    difference = (decoded.packed - raw.packed).compute()
    wanted = by_netcdf4(files).packed - by_netcdf4(files, mask_and_scale=False).packed
    np.testing.assert_array_equal(difference, wanted)


def test_coordinates_that_the_index_does_not_know_are_compared_by_xarray(tmp_path):
    files = []
    for number, stations in enumerate((["a", "b"], ["b", "a"]), 1):
        one = xr.Dataset(
            {"flow": (("time", "station"), np.arange(4.0).reshape(2, 2) + number)},
            coords={"time": [number * 2, number * 2 + 1], "station": np.array(stations, object)},
        )
        files.append(write(tmp_path / f"{number}.nc", one))
    with pytest.warns(UserWarning, match="values of coordinate station"):
        found = open_mfdataset(files, concat_dim="time").load()
    xr.testing.assert_identical(found, by_netcdf4(files).load())
    assert found.flow.sel(time=4, station="b") == 2


def variable(shape: tuple[int, ...], chunks: tuple[int, ...] | None) -> Variable:
    dims = tuple("tyx"[3 - len(shape) :])
    kind = "contiguous" if chunks is None else "chunked"
    layout = Layout(kind, shape, np.dtype("f4"), chunks)
    return Variable("v", dims, np.dtype("f4"), {}, {}, layout)


@given(
    parts=st.lists(st.integers(0, 900), min_size=1, max_size=5),
    chunk=st.integers(1, 40),
    pattern=st.sampled_from(["map", "series", "all"]),
)
def test_blocks_are_whole_chunks_of_one_file(parts, chunk, pattern):
    one = variable((max(parts), 60, 80), (min(chunk, max(1, max(parts))), 60, 80))
    found = row_chunks({"v": one}, {"t": parts, "y": (60,), "x": (80,)}, pattern, Machine())
    assert sum(found["t"]) == sum(parts)
    edges = set(np.cumsum([0, *found["t"]]).tolist())
    start = 0
    for part in parts:
        assert start in edges
        inside = sorted(edge - start for edge in edges if start <= edge < start + part)
        assert all(edge % one.layout.chunks[0] == 0 for edge in inside)
        assert all(size * 60 * 80 * 4 <= LARGEST for size in found["t"])
        start += part


def test_blocks_of_contiguous_and_of_huge_variables():
    flat = variable((1000, 600, 800), None)
    whole = {"y": (600,), "x": (800,)}
    found = row_chunks({"v": flat}, {"t": (1000,), **whole}, "all", Machine())
    assert (found["y"], found["x"]) == ((600,), (800,))
    assert max(found["t"]) * 600 * 800 * 4 <= LARGEST
    long = variable((10**7, 600, 800), (1, 600, 800))
    found = row_chunks({"v": long}, {"t": (10**7,), **whole}, "all", Machine(memory=10**12))
    assert len(found["t"]) <= 2 * MOST_TASKS
