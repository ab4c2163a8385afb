"""What storage.to_netcdf writes is what xarray's to_netcdf writes, chunk by chunk made here."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time

import dask
import dask.array as da
import h5py
import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hpclaunch.errors import StorageError
from hpclaunch.storage import deflating, encode, run, target, to_netcdf
from hpclaunch.storage.layout import DEFLATE, FLETCHER32, SHUFFLE

pytestmark = pytest.mark.pure

KEPT = {"source", "preferred_chunks"}


def field(shape, dtype="f4", chunks=None):
    values = np.random.default_rng(20011).normal(280, 12, shape)
    if np.dtype(dtype).kind in "iu":
        values = values.astype("i8") % 120
    return da.from_array(values.astype(dtype), chunks=chunks or tuple(-(-n // 2) for n in shape))


def climate(dtype="f4", **encoding):
    return xr.Dataset(
        {
            "tas": (("time", "lat", "lon"), field((24, 19, 36), dtype), {"units": "K"}, encoding),
            "station": ("lat", np.array([f"station {i}" for i in range(19)], object)),
            "mask": (("lat", "lon"), field((19, 36), "i2") > 60),
            "level": ((), 2.0, {"units": "m"}),
        },
        coords={
            "time": ("time", pd.date_range("2001-01-01", periods=24, freq="h")),
            "lat": ("lat", np.linspace(-90, 90, 19), {"standard_name": "latitude"}),
            "lon": ("lon", np.arange(36) * 10.0),
            "area": (("lat", "lon"), field((19, 36), "f8")),
        },
        attrs={"title": "a test", "numbers": np.arange(3, dtype="i2")},
    )


def xarrays(dataset, path, ours, **options):
    """Write with xarray's own writer, with the chunks and filters that ours chose."""
    encoding = {}
    with xr.open_dataset(ours, engine="netcdf4", decode_cf=False) as made:
        for name, variable in made.variables.items():
            own = dict(options.get("encoding", {}).get(name, dataset[name].encoding))
            known = ("chunksizes", "zlib", "complevel", "shuffle", "fletcher32", "contiguous")
            if name in dataset.variables and dataset.variables[name].chunks is not None:
                own |= {k: v for k, v in variable.encoding.items() if k in known and v is not None}
            encoding[name] = {k: v for k, v in own.items() if k not in ("source", "original_shape")}
    dataset.to_netcdf(path, engine="netcdf4", **{**options, "encoding": encoding})


def assert_same_file(one, other):
    """Dimensions, attributes, encodings and stored values are the same, bit for bit."""
    options = {"engine": "netcdf4", "decode_cf": False}
    with xr.open_dataset(one, **options) as a, xr.open_dataset(other, **options) as b:
        assert list(a.variables) == list(b.variables)
        assert list(a.dims) == list(b.dims)
        assert dict(a.sizes) == dict(b.sizes)
        assert a.encoding.get("unlimited_dims") == b.encoding.get("unlimited_dims")
        same_attributes(a.attrs, b.attrs)
        for name in a.variables:
            x, y = a[name], b[name]
            assert x.dtype == y.dtype and x.dims == y.dims
            if x.dtype == object:
                assert x.values.tolist() == y.values.tolist()
            else:
                assert x.values.tobytes() == y.values.tobytes(), name
            same_attributes(x.attrs, y.attrs)
            assert {k: v for k, v in x.encoding.items() if k not in KEPT} == {
                k: v for k, v in y.encoding.items() if k not in KEPT
            }


def same_attributes(a, b):
    assert list(a) == list(b)
    for key in a:
        assert np.asarray(a[key]).dtype == np.asarray(b[key]).dtype
        np.testing.assert_array_equal(a[key], b[key])


def written_alike(tmp_path, dataset, **options):
    ours, theirs = tmp_path / "ours.nc", tmp_path / "theirs.nc"
    plain = {k: v for k, v in options.items() if k in ("encoding", "unlimited_dims")}
    told = to_netcdf(dataset, ours, **options)
    xarrays(dataset, theirs, ours, **plain)
    assert_same_file(ours, theirs)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ours.nc", "theirs.nc"]
    return told


@pytest.mark.parametrize("dtype", ["f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_every_number(tmp_path, dtype):
    told = written_alike(tmp_path, climate(dtype))
    assert told.plain == {}
    assert told.chunks >= 3 and 0 < told.stored < told.nbytes


@pytest.mark.parametrize("access", ["map", "series", "all", None])
@pytest.mark.parametrize("unlimited", [None, "time", ["time", "lat"]])
def test_accesses_and_unlimited_dimensions(tmp_path, access, unlimited):
    written_alike(tmp_path, climate(), access=access, unlimited_dims=unlimited)


@pytest.mark.parametrize(
    "encoding",
    [
        {"dtype": "i2", "scale_factor": 0.01, "add_offset": 280.0, "_FillValue": np.int16(-32767)},
        {"dtype": "u1", "scale_factor": 2.0, "_FillValue": np.uint8(255)},
        {"_FillValue": None},
        {"_FillValue": np.float32(-999)},
        {"zlib": False},
        {"zlib": True, "complevel": 9, "shuffle": False},
        {"fletcher32": True},
        {"zlib": True, "shuffle": True, "fletcher32": True, "chunksizes": (5, 7, 11)},
        {"chunksizes": (24, 1, 1)},
        {"chunksizes": (24, 19, 36)},
        {"dtype": "f8", "chunksizes": (7, 19, 36)},
    ],
)
def test_encodings_asked_for(tmp_path, encoding):
    dataset = climate().where(lambda d: d.lat > -80)[["tas", "station"]]
    told = written_alike(tmp_path, dataset, encoding={"tas": encoding})
    assert told.plain == {}
    with netCDF4.Dataset(tmp_path / "ours.nc") as made:
        if "chunksizes" in encoding:
            assert tuple(made["tas"].chunking()) == encoding["chunksizes"]
        assert made["tas"].filters()["zlib"] is bool(encoding.get("zlib", True)) or (
            encoding == {"zlib": False}
        )


@pytest.mark.parametrize(
    ("encoding", "reason"),
    [
        ({"contiguous": True}, "not chunked"),
        ({"compression": "zstd"}, "filter"),
        ({"zlib": True, "least_significant_digit": 1}, "rounds"),
        ({"zlib": True, "significant_digits": 3, "quantize_mode": "BitGroom"}, "rounds"),
    ],
)
def test_what_xarray_has_to_write(tmp_path, encoding, reason):
    told = written_alike(tmp_path, climate()[["tas"]], encoding={"tas": encoding})
    assert reason in told.plain["tas"]


@pytest.mark.filterwarnings("ignore:variable words has data in the form of a dask array")
def test_strings_times_and_emptiness_in_blocks(tmp_path):
    words = np.array(["a", "bc", "ünï", ""] * 5, object)
    dataset = xr.Dataset(
        {
            "words": ("x", da.from_array(words, chunks=7)),
            "letters": ("x", da.from_array(words.astype("U3").astype("U"), chunks=7)),
            "bytes": ("x", da.from_array(np.array([b"ab", b"c"] * 10), chunks=7)),
            "when": (
                "x",
                da.from_array(pd.date_range("1999", periods=20).values, chunks=7),
                {},
                {"units": "hours since 1990-01-01", "dtype": "i8"},
            ),
            "nothing": (("x", "none"), da.zeros((20, 0))),
            "one": ((), da.from_array(np.float32(3))),
        }
    )
    told = written_alike(tmp_path, dataset)
    assert {"letters", "bytes", "nothing", "one"} == set(told.plain)  # xarray loads objects


def test_chunks_longer_than_an_unlimited_dimension(tmp_path):
    encoding = {"tas": {"zlib": True, "chunksizes": (512, 19, 8)}}
    told = written_alike(tmp_path, climate(), encoding=encoding, unlimited_dims="time")
    assert told.plain == {}
    with netCDF4.Dataset(tmp_path / "ours.nc", "a") as made:
        made["tas"][30] = 7.0
        assert made["tas"].shape == (31, 19, 36)
    with netCDF4.Dataset(tmp_path / "ours.nc") as made:
        assert made["tas"][24:30].mask.all()
        assert (made["tas"][30] == 7).all()


def test_groups(tmp_path):
    dataset = climate()
    path = tmp_path / "ours.nc"
    to_netcdf(dataset, path, group="a/b", unlimited_dims="time")
    with xr.open_dataset(path, group="a/b", engine="netcdf4") as made:
        xr.testing.assert_identical(made.load(), dataset.load())


def test_the_file_is_closed_to_nobody_but_as_the_umask_says(tmp_path):
    mask = os.umask(0o027)
    try:
        to_netcdf(climate(), tmp_path / "a.nc")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "a.nc").stat().st_mode) == 0o640


def test_encodings_of_a_file_are_kept(tmp_path):
    first = tmp_path / "first.nc"
    encoding = {"zlib": True, "complevel": 2, "chunksizes": (6, 10, 12), "fletcher32": True}
    climate().to_netcdf(first, encoding={"tas": encoding}, engine="netcdf4")
    with xr.open_dataset(first, engine="netcdf4", chunks={"time": 6}) as dataset:
        to_netcdf(dataset, tmp_path / "second.nc")
        to_netcdf(dataset, tmp_path / "third.nc", access="series")
    with netCDF4.Dataset(tmp_path / "second.nc") as made:
        assert made["tas"].chunking() == [6, 10, 12]
        assert made["tas"].filters()["complevel"] == 2
        assert made["tas"].filters()["fletcher32"]
    with netCDF4.Dataset(tmp_path / "third.nc") as made:
        assert made["tas"].chunking()[0] == 24


def test_the_dataset_is_left_as_it_was(tmp_path):
    dataset = climate(complevel=3, zlib=True)
    before = {name: dict(v.encoding) for name, v in dataset.variables.items()}
    encoding = {"tas": {"dtype": "f8"}}
    to_netcdf(dataset, tmp_path / "a.nc", encoding=encoding, unlimited_dims="time")
    assert {name: dict(v.encoding) for name, v in dataset.variables.items()} == before
    assert encoding == {"tas": {"dtype": "f8"}}


def test_progress_ends_with_all(tmp_path):
    told = []
    written = to_netcdf(climate(), tmp_path / "a.nc", progress=lambda *n: told.append(n))
    assert told[-1] == (written.nbytes, written.nbytes)
    assert [done for done, _ in told] == sorted({done for done, _ in told})


def test_masked_blocks(tmp_path):
    values = da.ma.masked_less(field((24, 19), "i4"), 30)
    dataset = xr.Dataset({"v": (("t", "x"), values, {}, {"_FillValue": np.int32(-9)})})
    written_alike(tmp_path, dataset)


@pytest.mark.parametrize("scheduler", ["threads", "synchronous", "processes"])
def test_schedulers(tmp_path, scheduler):
    with dask.config.set(scheduler=scheduler):
        to_netcdf(climate(), tmp_path / "ours.nc")
    xarrays(climate(), tmp_path / "theirs.nc", tmp_path / "ours.nc")
    assert_same_file(tmp_path / "ours.nc", tmp_path / "theirs.nc")


def test_its_own_source_is_refused(tmp_path):
    path = tmp_path / "a.nc"
    climate().to_netcdf(path, engine="netcdf4")
    (tmp_path / "link.nc").symlink_to(path)
    before = path.read_bytes()
    with xr.open_dataset(path, engine="netcdf4", chunks={}) as dataset:
        for name in ("a.nc", "link.nc"):
            with pytest.raises(StorageError, match=r"a\.nc cannot be written.*is read from it"):
                to_netcdf(dataset, tmp_path / name)
        assert path.read_bytes() == before
        loaded = dataset.load()
    to_netcdf(loaded, path)


def test_where_it_cannot_be_written(tmp_path):
    (tmp_path / "folder.nc").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError):
        to_netcdf(climate(), tmp_path / "nowhere" / "a.nc")
    with pytest.raises(NotADirectoryError):
        to_netcdf(climate(), tmp_path / "file" / "a.nc")
    with pytest.raises(StorageError, match="directory"):
        to_netcdf(climate(), tmp_path / "folder.nc")
    with pytest.raises(StorageError, match="exists"):
        to_netcdf(climate(), tmp_path / "file", overwrite=False)
    with pytest.raises(TypeError, match="DataArray"):
        to_netcdf(climate()["tas"], tmp_path / "a.nc")
    with pytest.raises(ValueError, match="unexpected encoding"):
        to_netcdf(climate(), tmp_path / "a.nc", encoding={"tas": {"colour": 1}})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.nc"]


class Broken(Exception):
    pass


@pytest.mark.parametrize("error", [Broken, KeyboardInterrupt])
def test_what_fails_leaves_the_older_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.nc"
    to_netcdf(climate(), path)
    before = path.read_bytes()

    def fail(block, block_id):
        if block_id == (1, 1, 1):
            raise error("in the middle")
        return block

    dataset = climate()
    dataset["tas"].data = da.map_blocks(fail, dataset["tas"].data, dtype="f4")
    with pytest.raises(error):
        to_netcdf(dataset, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.nc"]


def test_a_killed_process_leaves_nothing_under_the_name(tmp_path):
    program = """
        import os, signal, sys
        import dask.array as da, xarray as xr
        from hpclaunch.storage.write import to_netcdf
        def deadly(block, block_id):
            if block_id == (3,):
                os.kill(os.getpid(), signal.SIGKILL)
            return block
        data = da.map_blocks(deadly, da.ones(4000, chunks=1000), dtype="f8")
        to_netcdf(xr.Dataset({"v": ("x", data)}), sys.argv[1])
    """
    path = tmp_path / "a.nc"
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(program), str(path)], check=False)
    assert ran.returncode == -signal.SIGKILL
    left = [p.name for p in tmp_path.iterdir()]
    assert len(left) == 1 and left[0].startswith(".a.nc.") and left[0].endswith(".part")


def test_a_file_that_may_not_grow_is_told(tmp_path):
    program = """
        import resource, signal, sys
        import dask.array as da, xarray as xr
        from hpclaunch.errors import StorageError
        from hpclaunch.storage.write import to_netcdf
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        data = da.random.default_rng(1).random(400_000, chunks=20_000)
        try:
            to_netcdf(xr.Dataset({"v": ("x", data)}), sys.argv[1])
        except StorageError as error:
            print(error.what)
    """
    path = tmp_path / "a.nc"
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.strip() == (
        f"{path} was not written: it became larger than this process may write"
    ), ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_blocks_that_lie_across_the_chunks_are_refused_where_memory_is_short(tmp_path):
    dataset = xr.Dataset({"v": (("t", "x"), field((1000, 1000), "f8", (1, 1000)))})
    encoding = {"v": {"chunksizes": (1000, 10)}}
    with pytest.raises(StorageError, match=r"/v comes in blocks .* cutting it anew needs"):
        to_netcdf(dataset, tmp_path / "a.nc", encoding=encoding, memory=2**20)
    to_netcdf(dataset, tmp_path / "a.nc", encoding=encoding)
    with netCDF4.Dataset(tmp_path / "a.nc") as made:
        assert np.array_equal(made["v"][:], dataset["v"].values)


def test_without_the_fast_libraries(tmp_path, monkeypatch):
    fast = tmp_path / "fast.nc"
    to_netcdf(climate(), fast)
    monkeypatch.setattr(encode, "_native_shuffle", lambda: None)
    monkeypatch.setattr(deflating, "_library", lambda: None)
    to_netcdf(climate(), tmp_path / "slow.nc")
    assert_same_file(fast, tmp_path / "slow.nc")


def test_filters_stand_as_hdf5_tells_them(tmp_path):
    to_netcdf(climate(), tmp_path / "a.nc", encoding={"tas": {"fletcher32": True, "zlib": True}})
    with h5py.File(tmp_path / "a.nc") as made:
        settings = made["tas"].id.get_create_plist()
        found = {settings.get_filter(i)[0] for i in range(settings.get_nfilters())}
        assert found == {SHUFFLE, DEFLATE, FLETCHER32}
        assert made["tas"][...].shape == (24, 19, 36)


def test_a_full_disk_is_told_by_its_number():
    from hpclaunch.storage.target import said

    assert said(OSError(errno.ENOSPC, "no")) == errno.ENOSPC
    assert said(OSError("Can't write (file write failed: errno = 28, error message)")) == 28
    assert said(RuntimeError("NetCDF: HDF error")) is None


def test_the_library_is_used_only_with_xarrays_lock_of_it(tmp_path, monkeypatch):
    from xarray.backends.locks import HDF5_LOCK

    held = []
    for name in ("_dataset", "_find", "_extend"):
        call = getattr(target.ChunkFile, name)
        monkeypatch.setattr(
            target.ChunkFile, name, _telling(call, lambda: held.append(HDF5_LOCK.locked()))
        )
    to_netcdf(climate(), tmp_path / "a.nc", unlimited_dims="time")
    assert len(held) > 10 and all(held)
    assert not HDF5_LOCK.locked()


def _telling(call, tell):
    def told(*arguments):
        tell()
        return call(*arguments)

    return told


def test_a_name_that_is_taken_meanwhile_is_not_replaced(tmp_path, monkeypatch):
    path = tmp_path / "a.nc"
    dataset = xr.Dataset({"v": ("x", da.ones(10, chunks=5))})

    def taken(*_):
        path.write_text("of somebody else")

    for links in (True, False):
        if not links:
            monkeypatch.setattr(os, "link", lambda *_: _refuse())
        with pytest.raises(StorageError, match=r"a\.nc exists"):
            to_netcdf(dataset, path, overwrite=False, progress=taken)
        assert path.read_text() == "of somebody else"
        assert [one.name for one in tmp_path.iterdir()] == ["a.nc"]
        path.unlink()
        to_netcdf(dataset, path, overwrite=False)
        assert [one.name for one in tmp_path.iterdir()] == ["a.nc"]
        assert path.stat().st_nlink == 1
        path.unlink()


def _refuse():
    raise OSError(errno.EPERM, "no second names here")


def test_permissions_and_group_of_an_older_file_are_kept(tmp_path, monkeypatch):
    path, groups = tmp_path / "a.nc", []
    path.touch()
    path.chmod(0o664)
    monkeypatch.setattr(os, "fchown", lambda _, user, group: groups.append((user, group)))
    to_netcdf(climate(), path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o664
    assert groups == [(-1, path.stat().st_gid)]


def test_the_group_of_this_user_may_do_no_more_where_it_is_another(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fchown", lambda *_: _refuse())
    with (tmp_path / "a").open("w") as file:
        other = os.fstat(file.fileno()).st_gid + 1
        older = os.stat_result((0o100664, 0, 0, 1, 0, other, 0, 0, 0, 0))
        assert target._kept(file.fileno(), older) == 0o644


def test_only_regular_files_that_may_be_written_are_replaced(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="no regular file"):
        to_netcdf(climate(), tmp_path / "pipe")
    path = tmp_path / "a.nc"
    path.touch()
    monkeypatch.setattr(os, "access", lambda name, _: name != path)
    with pytest.raises(PermissionError, match="protected"):
        to_netcdf(climate(), path)
    assert path.read_bytes() == b""


def test_a_dollar_in_a_name_is_one(tmp_path, monkeypatch):
    monkeypatch.setenv("HERE", "there")
    assert target.checked_target(tmp_path / "$HERE.nc").name == "$HERE.nc"


def test_a_block_without_values_has_no_chunks():
    plan = encode.Plan("/v", (4, 3), (2, 3), np.dtype("f4"), bytes(4), ())
    packet = run._packed(np.empty((0, 3), "f4"), ((0, 0), (0,)), plan, (1, 0), 0)[0, 0]
    assert list(packet.chunks()) == [] and packet.data.nbytes == packet.nbytes == 0


def test_after_a_block_failed_no_other_is_written():
    class Full:
        blocks, late, over = 0, 0, False

        def __setitem__(self, region, block):
            self.blocks += 1
            if self.blocks == 2:
                raise OSError(28, "full")
            time.sleep(0.05)
            self.late += self.over

    target = Full()
    with pytest.raises(OSError, match="full"):
        run.fill_plainly([(da.ones((8, 4), chunks=(1, 4)), target)])
    target.over, written = True, target.blocks
    time.sleep(0.3)
    assert (target.late, target.blocks) == (0, written)
