"""Files at URLs are those of engine ``netcdf4``, for few requests, and never a wrong value."""

from __future__ import annotations

import os
import pickle
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from hpclaunch import storage
from hpclaunch.errors import ChangedFile, StorageError
from hpclaunch.storage import mirror, ranges, sidecar
from hpclaunch.storage.remote import IN_FLIGHT, Remote
from tests.storage.opening import groups, theirs
from tests.storage.remote import S3Server, aged, certificate, open_remote, unlike
from tests.storage.same import outcome
from tests.storage.zoo import FRAGILE, NAMES, Zoo
from tests.support.rangeserver import RangeServer

pytestmark = [pytest.mark.local, pytest.mark.patient]

ELSEWHERE = {"virtual", "storage_elsewhere"}
"""Animals whose values lie in other files."""

TELLING = (
    *("attributes", "deep_and_wide", "enumerations", "links", "names", "nested_groups", "ragged"),
    *("scales", "scales_in_groups", "strings", "strings_unlimited", "unlimited", "user_block"),
    "iris_vlstr_type",
)
"""Animals with metadata of many kinds; the others are for `make test-long`."""


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")).running() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "served"
    found.mkdir()
    return found


@pytest.fixture
def web(folder: Path) -> Iterator[RangeServer]:
    with RangeServer(folder) as server:
        yield server


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that is not fetched whole: 24 MB of noise in chunks of 200 kB, some small ones."""
    path = tmp_path_factory.mktemp("large") / "large.nc"
    noise = np.random.default_rng(5).integers(0, 2**31, (120, 100, 500), np.int32)
    xr.Dataset(
        {
            "noise": (("time", "y", "x"), noise),
            "plain": (("time", "y"), noise[:, :, 0]),
            "zstd": (("time", "y"), noise[:, :, 1]),
            "label": ("time", np.array([f"step {i}" for i in range(120)], object)),
        },
        {"time": np.arange(120), "x": np.arange(500.0)},
        {"title": "made for a test"},
    ).to_netcdf(
        path,
        engine="netcdf4",
        encoding={
            "noise": {"zlib": True, "complevel": 1, "chunksizes": (1, 100, 500)},
            "zstd": {"compression": "zstd", "chunksizes": (10, 100)},  # left to the HDF5 library
        },
    )
    return aged(path)


@pytest.fixture
def far(large: Path, folder: Path, web: RangeServer) -> str:
    """Its URL."""
    os.link(large, folder / large.name)
    return web.url(large.name)


def put(path: Path, folder: Path) -> Path:
    return aged(Path(shutil.copy(path, folder)))


def loaded(act: Any, fragile: bool) -> Any:
    return outcome(lambda: act().load() if fragile else act())


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in TELLING else pytest.mark.long)
        for name in NAMES
        if name not in ELSEWHERE
    ],
)
def test_a_file_full_of_holes(
    zoo: Zoo, name: str, folder: Path, web: RangeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but the bytes that are read is fetched: what the libraries see else is zeros."""
    monkeypatch.setattr(mirror, "BLOCK", 512)
    monkeypatch.setattr(mirror, "BEGINNING", 512)
    monkeypatch.setattr(mirror, "WHOLE", 0)
    monkeypatch.setattr(mirror, "_GAP", 0)
    path = zoo.path(name)
    url = web.url(put(path, folder).name)
    fragile = path.name in FRAGILE.values()
    for group in groups(path):
        found = loaded(lambda group=group: open_remote(url, group=group), fragile)
        wanted = outcome(lambda group=group: theirs(path, group))
        if isinstance(wanted, Exception):
            assert type(found) is type(wanted)
        else:
            assert unlike(found, wanted) == []


@pytest.mark.parametrize("name", ["model_output", "strings", "packed", "scales_in_groups"])
def test_files_on_s3(zoo: Zoo, name: str, s3: S3Server) -> None:
    path = zoo.path(name)
    url = s3.put(path)
    for group in groups(path):
        found = open_remote(url, s3.options, group=group)
        if path.name in FRAGILE.values():
            found.load()
        assert unlike(found, theirs(path, group)) == []


def test_a_tree_on_s3(zoo: Zoo, s3: S3Server) -> None:
    path = zoo.path("nested_groups")
    found = xr.open_datatree(
        s3.put(path), engine="hpclaunch", backend_kwargs={"storage_options": s3.options}
    )
    wanted = xr.open_datatree(path, engine="netcdf4")
    assert [one.path for one in found.subtree] == [one.path for one in wanted.subtree]
    for one in wanted.subtree:
        assert unlike(found[one.path].to_dataset(), one.to_dataset()) == []


def test_a_large_file_by_https(large: Path, folder: Path, tmp_path: Path) -> None:
    os.link(large, folder / "large.nc")
    pem = certificate(tmp_path)
    with RangeServer(folder, pem) as web:
        url = web.url("large.nc")
        with pytest.raises(StorageError, match="Certificate"):
            open_remote(url)
        options = {"ssl": ssl.create_default_context(cafile=pem)}
        with theirs(large) as wanted:
            assert unlike(open_remote(url, options), wanted) == []


SELECTIONS: list[dict[str, Any]] = [
    {"time": 7},
    {"x": 3, "y": 5},
    {"time": slice(3, 110, 25), "x": slice(None, None, -7)},
    {"time": [5, 2, 119], "y": slice(0, 0)},
    {"time": -1, "x": [-1, 0]},
    {"time": xr.DataArray([0, 9], dims="p"), "y": xr.DataArray([1, 2], dims="p")},
]


@pytest.mark.parametrize("where", SELECTIONS, ids=str)
def test_selections(large: Path, far: str, where: dict[str, Any]) -> None:
    found, wanted = open_remote(far), theirs(large)
    for name in wanted.variables:
        some = {dim: one for dim, one in where.items() if dim in wanted[name].dims}
        assert found[name].isel(some).identical(wanted[name].isel(some).load())


def test_how_many_requests(far: str, web: RangeServer, large: Path) -> None:
    asked = web.behaviour.asked
    open_remote(far).close()
    cold = len(asked)
    assert cold <= 10
    assert sum(length for _, _, length in asked) < large.stat().st_size / 8

    sidecar.forget()
    asked.clear()
    warm = open_remote(far, drop_variables="label")
    assert [length for _, _, length in asked] == [1]

    asked.clear()
    warm["noise"].load()
    assert len(asked) <= large.stat().st_size / (4 << 20) + 2
    assert len(asked) < warm["noise"].sizes["time"] / 10
    assert max(length for _, _, length in asked) <= 10 << 20

    asked.clear()
    warm["plain"].isel(time=3).load()
    assert len(asked) == 1


def test_requests_are_under_way_together(far: str, web: RangeServer) -> None:
    found = open_remote(far)
    web.behaviour.latency = 0.2
    found["noise"].isel(time=slice(0, 120, 6), x=0, y=0).load()
    assert 4 < web.behaviour.together <= IN_FLIGHT + 4


def test_requests_to_s3(s3: S3Server, large: Path) -> None:
    url = s3.put(large)
    open_remote(url, s3.options)
    sidecar.forget()
    before = s3.asked(url)
    found = open_remote(url, s3.options, drop_variables="label")
    assert s3.asked(url) == before + 1
    found["noise"].load()
    assert s3.asked(url) <= before + 2 + large.stat().st_size / (4 << 20) + 2


def replaced(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.unlink()
    path.write_bytes(data)
    aged(path)


def touched(path: Path) -> None:
    shutil.copy(path, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def grown(path: Path) -> None:
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data + b"more")
    aged(path)


def emptied(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"")
    aged(path)


@pytest.mark.parametrize("change", [replaced, touched, grown, emptied])
@pytest.mark.parametrize("name", ["noise", "zstd"])
@pytest.mark.parametrize("again", [False, True], ids=["first", "again"])
def test_a_file_that_changed(far: str, folder: Path, change: Any, name: str, again: bool) -> None:
    found = open_remote(far, drop_variables="label")
    if again:
        found[name][:2].load()
    change(folder / "large.nc")
    with pytest.raises(ChangedFile, match=r"large\.nc"):
        found[name].load()


@pytest.mark.parametrize(
    ("change", "etag", "dated"), [(replaced, True, False), (touched, False, True)]
)
def test_a_change_told_by_one_sign_only(
    far: str, folder: Path, web: RangeServer, change: Any, etag: bool, dated: bool
) -> None:
    web.behaviour.etag, web.behaviour.dated = etag, dated
    found = open_remote(far)
    change(folder / "large.nc")
    with pytest.raises(ChangedFile):
        found["noise"].load()


def test_a_changed_object(s3: S3Server, zoo: Zoo) -> None:
    url = s3.put(zoo.path("model_output"), "changing.nc")
    found = open_remote(url, s3.options)
    s3.put(zoo.path("packed"), "changing.nc")
    with pytest.raises(ChangedFile, match=r"changing\.nc"):
        found.load()
    with theirs(zoo.path("packed")) as wanted:
        assert unlike(open_remote(url, s3.options), wanted) == []


def test_a_changed_file_opened_again_is_the_new_one(
    zoo: Zoo, folder: Path, web: RangeServer
) -> None:
    url = web.url(put(zoo.path("model_output"), folder).name)
    open_remote(url)
    shutil.copy(zoo.path("packed"), folder / "model_output.nc")
    aged(folder / "model_output.nc")
    with theirs(zoo.path("packed")) as wanted:
        assert unlike(open_remote(url), wanted) == []


def test_what_is_not_there(far: str, folder: Path, web: RangeServer, s3: S3Server) -> None:
    found = open_remote(far, drop_variables="label")
    (folder / "large.nc").unlink()
    for name in ("noise", "zstd"):
        with pytest.raises(FileNotFoundError, match=r"large\.nc"):
            found[name].load()
    for act in (
        lambda: open_remote(web.url("none.nc")),
        lambda: open_remote("s3://archive/none.nc", s3.options),
        lambda: open_remote("s3://no-such-bucket/none.nc", s3.options),
    ):
        with pytest.raises(FileNotFoundError, match=r"none\.nc"):
            act()


def test_a_deleted_object(s3: S3Server, large: Path) -> None:
    url = s3.put(large, "deleted.nc")
    found = open_remote(url, s3.options)
    s3.client.delete_object(Bucket="archive", Key="deleted.nc")
    with pytest.raises(FileNotFoundError, match=r"deleted\.nc"):
        found["noise"].load()


def test_a_server_without_ranges(far: str, web: RangeServer) -> None:
    found = open_remote(far)
    web.behaviour.ranges = False
    for act in (lambda: found["noise"].load(), lambda: open_remote(far)):
        with pytest.raises(StorageError, match="no ranges"):
            act()


def test_refused_access(far: str, web: RangeServer) -> None:
    web.behaviour.password = "sesame"
    with pytest.raises(StorageError, match="refuses") as refused:
        open_remote(far)
    assert "storage_options" in refused.value.hint
    found = open_remote(far, {"headers": {"Authorization": "Bearer sesame"}})
    assert found["noise"].isel(time=0, x=0, y=0).load().size == 1


def test_refused_access_to_s3(s3: S3Server, zoo: Zoo) -> None:
    url = s3.put(zoo.path("model_output"), "refused.nc")
    s3.check_keys(True)
    try:
        with pytest.raises(StorageError, match="refuses") as refused:
            open_remote(url, s3.options)
    finally:
        s3.check_keys(False)
    assert "the-very-secret" not in str(refused.value)


def test_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "PAUSES", (0.01,))
    with RangeServer(tmp_path) as web:
        url = web.url("gone.nc")
    with pytest.raises(StorageError, match=r"gone\.nc cannot be asked") as lost:
        open_remote(url)
    assert "reached" in lost.value.hint


def test_an_answer_that_is_cut_is_asked_for_again(far: str, web: RangeServer, large: Path) -> None:
    found = open_remote(far)
    web.behaviour.cut = web.behaviour.busy = 2
    assert (
        found["noise"]
        .isel(time=slice(0, 40))
        .identical(theirs(large)["noise"].isel(time=slice(0, 40)).load())
    )
    assert web.behaviour.cut == web.behaviour.busy == 0


def test_answers_that_are_always_cut(
    far: str, web: RangeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "PAUSES", (0.01,))
    found = open_remote(far)
    web.behaviour.cut = 1000
    with pytest.raises(StorageError, match=r"large\.nc"):
        found["noise"].load()


def test_what_is_no_such_file(zoo: Zoo, folder: Path, web: RangeServer, s3: S3Server) -> None:
    for name, content in {"empty": b"", "text": b"no such file" * 100}.items():
        aged(folder / name).write_bytes(content) if (folder / name).exists() else None
        (folder / name).write_bytes(content)
        aged(folder / name)
        with pytest.raises(StorageError, match=name):
            open_remote(web.url(name))
        with pytest.raises(StorageError, match=name):
            open_remote(s3.put(folder / name), s3.options)
    classic = put(zoo.path("netcdf3_classic"), folder)
    with pytest.raises(StorageError, match="NetCDF-3"):
        open_remote(web.url(classic.name))


@pytest.mark.parametrize("name", sorted(ELSEWHERE))
def test_values_in_other_files(zoo: Zoo, name: str, folder: Path, web: RangeServer) -> None:
    """Where the other files are missing the netCDF library gives fill values: that is refused."""
    found = open_remote(web.url(put(zoo.path(name), folder).name))
    refused = [
        str(why)
        for one in found.variables.values()
        if isinstance(why := outcome(lambda one=one: one.values), Exception)
    ]
    assert refused and all("other files" in one or "external files" in one for one in refused)


def test_a_zarr_store_goes_to_its_own_engine(large: Path, folder: Path, web: RangeServer) -> None:
    with theirs(large) as wanted:
        part = wanted[["plain"]].load()
        part.to_zarr(folder / "part.zarr", zarr_format=2, consolidated=True)
    assert open_remote(web.url("part.zarr"))["plain"].equals(part["plain"])


def test_urls_of_other_kinds_and_options_for_paths(large: Path) -> None:
    with pytest.raises(StorageError, match="ftp://"):
        open_remote("ftp://example.org/a.nc")
    with pytest.raises(StorageError, match="storage_options"):
        open_remote(str(large), {"anon": True})


def test_secrets_are_not_kept_nor_shown(s3: S3Server, zoo: Zoo, index_cache: Path) -> None:
    path = zoo.path("model_output")
    found = open_remote(s3.put(path), s3.options)
    signed = s3.client.generate_presigned_url(
        "get_object", {"Bucket": "archive", "Key": path.name}, ExpiresIn=600
    )
    other = open_remote(signed)
    assert unlike(other, theirs(path)) == []
    kept = [one.read_bytes() for one in index_cache.rglob("*") if one.is_file()]
    assert len(kept) == 2
    secrets = ["the-very-secret", signed.partition("?")[2]]
    for secret in secrets:
        assert not any(secret.encode() in one for one in kept)
        assert secret not in repr(found) + repr(other)
    assert "secret" not in repr(Remote("https://me:secret@host/a.nc?key=secret", {"a": "secret"}))


def test_no_trace_is_left(
    far: str,
    zoo: Zoo,
    folder: Path,
    web: RangeServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = tmp_path / "temporary"
    here.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(here))
    with pytest.raises(FileNotFoundError):
        open_remote(web.url("none.nc"))
    open_remote(web.url(put(zoo.path("model_output"), folder).name))
    assert list(here.iterdir()) == []
    monkeypatch.setattr("tempfile.tempdir", None)
    read = "import sys, xarray; xarray.open_dataset(sys.argv[1], engine='hpclaunch').load()"
    environment = {**os.environ, "TMPDIR": str(here)}
    subprocess.run([sys.executable, "-c", read, far], env=environment, check=True, timeout=120)
    assert list(here.iterdir()) == []


def test_many_threads_read_one_file(far: str, large: Path) -> None:
    found, wanted = open_remote(far), theirs(large).load()
    wrong: list[int] = []

    def read(at: int) -> None:
        some = {"time": slice(at * 12, at * 12 + 30)}
        if not all(found[n].isel(some).identical(wanted[n].isel(some)) for n in ("noise", "zstd")):
            wrong.append(at)

    threads = [threading.Thread(target=read, args=(at,)) for at in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert wrong == []


def test_on_a_worker(s3: S3Server, large: Path) -> None:
    from distributed import Client, LocalCluster

    url = s3.put(large, "worker.nc")
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=2, processes=True, dashboard_address=None
        ) as c,
        Client(c) as client,
        theirs(large) as wanted,
    ):
        found = open_remote(url, s3.options, chunks={"time": 30})
        assert client.submit(os.getpid).result() != os.getpid()
        for name in ("noise", "plain", "label", "zstd"):
            assert found[name].compute().identical(wanted[name].load())


def test_a_pickled_dataset_has_no_values(far: str, large: Path) -> None:
    data = pickle.dumps(open_remote(far)[["noise"]])
    assert len(data) < 20_000
    assert pickle.loads(data)["noise"].isel(time=4).identical(theirs(large)["noise"].isel(time=4))


@pytest.fixture
def years(large: Path, folder: Path) -> list[Path]:
    """Files that continue each other."""
    with theirs(large) as whole:
        for at in range(10):
            part = whole[["plain", "label"]].isel(time=slice(12 * at, 12 * at + 12)).load()
            part.to_netcdf(folder / f"part_{at:02}.nc", engine="netcdf4")
            aged(folder / f"part_{at:02}.nc")
    return sorted(folder.glob("part_*.nc"))


def test_many_files_as_one(years: list[Path], web: RangeServer, s3: S3Server, large: Path) -> None:
    urls = [web.url(one.name) for one in years]
    done = storage.index_many(urls, processes=2)
    assert done.failed == {} and len(done.built) == len(urls)
    for one in years:
        s3.put(one, f"years/{one.name}")
    wanted = theirs(large)[["plain", "label"]].load()
    found = storage.open_mfdataset(urls)
    assert found.equals(wanted)
    web.behaviour.asked.clear()
    again = storage.open_mfdataset(urls, chunks=None, drop_variables="label")
    assert [one[2] for one in web.behaviour.asked] == [1] * len(urls)  # what they are now
    assert again.equals(wanted[["plain"]])
    on_s3 = storage.open_mfdataset("s3://archive/years/part_*.nc", storage_options=s3.options)
    assert on_s3.equals(wanted)
    failed = storage.index_many([web.url("none.nc"), *urls]).failed
    assert list(failed) == [web.url("none.nc")]


def test_inspect_and_place(far: str, s3: S3Server, large: Path) -> None:
    assert storage.place(far).kind.title == "web server"
    assert storage.place("s3://archive/large.nc").kind.title == "object store"
    here = storage.inspect(large).facts.variables
    assert storage.inspect(far).facts.variables == here
    url = s3.put(large, "inspected.nc")
    assert storage.inspect(url, storage_options=s3.options).facts.variables == here
    assert storage.index(url, storage_options=s3.options).identity.path == url


def test_what_is_for_local_files_only(far: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="only local files"):
        storage.rechunk(far, tmp_path / "new.nc")
    with pytest.raises(StorageError, match="nothing is advised"):
        storage.advise([far])
