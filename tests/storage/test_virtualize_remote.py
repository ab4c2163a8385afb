"""Files on S3 and on web servers virtualized where they lie; values are those of local copies."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import icechunk
import netCDF4
import numpy as np
import pytest
import xarray as xr

from hpclaunch import storage
from hpclaunch.cli import main
from hpclaunch.errors import ChangedFile, StorageError, UsageError
from hpclaunch.storage import virtualizing
from tests.storage.remote import BUCKET, S3Server, aged
from tests.storage.same import value_differences
from tests.storage.virtual import FORMATS
from tests.support.rangeserver import RangeServer

pytestmark = [pytest.mark.local, pytest.mark.patient]

STEPS = 40


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")).running() as server:
        yield server


@pytest.fixture(scope="module")
def row(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two files that follow each other, with texts that are copied, and more than 1 MiB each."""
    folder = tmp_path_factory.mktemp("archive")
    return [write(folder / f"part {n}.nc", STEPS * n) for n in range(2)]


def write(path: Path, first: int) -> Path:
    with netCDF4.Dataset(path, "w") as root:
        root.title = "made for a test"
        for name, size in (("time", None), ("lat", 80), ("lon", 120)):
            root.createDimension(name, size)
        time = root.createVariable("time", "f8", ("time",))
        time.units = "days since 2000-01-01"
        time[:] = np.arange(first, first + STEPS)
        t2m = root.createVariable(
            "t2m", "f4", ("time", "lat", "lon"), zlib=True, chunksizes=(1, 80, 120)
        )
        t2m[:] = np.random.default_rng(first).normal(280, 10, (STEPS, 80, 120))
        words = root.createVariable("words", str, ("lat",))
        words[:] = np.array([f"row {n}" for n in range(80)], object)
    return aged(path)


@pytest.fixture
def uploaded(s3: S3Server, row: list[Path], request: pytest.FixtureRequest) -> list[str]:
    """Their URLs, in a folder of each test's own."""
    folder = request.node.name.partition("[")[0]
    return [s3.put(path, f"{folder}/{path.name}") for path in row]


def wanted(row: list[Path]) -> xr.Dataset:
    with xr.open_mfdataset(row, engine="netcdf4", data_vars="minimal") as found:
        return found.load()


def same(found: xr.Dataset, wanted: xr.Dataset) -> list[str]:
    told = [] if set(found.variables) == set(wanted.variables) else ["other variables"]
    for name, variable in wanted.variables.items():
        other = np.asarray(found[name].values)
        if variable.dtype.kind in "OUT":
            told += [] if other.tolist() == variable.values.tolist() else [str(name)]
        else:
            told += value_differences(other, np.asarray(variable.values))
    return told


def opened(out: Path, form: str, options: dict[str, Any]) -> xr.Dataset:
    """As readers open it, with credentials of their own."""
    if form != "icechunk":
        how = {"remote_options": dict(options)}
        return xr.open_dataset(str(out), engine="kerchunk", storage_options=how)
    kept = icechunk.local_filesystem_storage(str(out))
    config = icechunk.Repository.fetch_config(kept)
    assert config is not None and config.virtual_chunk_containers
    who = icechunk.s3_credentials(access_key_id=options["key"], secret_access_key=options["secret"])
    allowed = icechunk.containers_credentials(dict.fromkeys(config.virtual_chunk_containers, who))
    repository = icechunk.Repository.open(kept, authorize_virtual_chunk_access=allowed)
    store = repository.readonly_session("main").store
    return xr.open_dataset(store, engine="zarr", consolidated=False)


def bytes_of(out: Path) -> bytes:
    files = sorted(one for one in out.rglob("*") if one.is_file()) if out.is_dir() else [out]
    return b"".join(one.read_bytes() for one in files)


@pytest.mark.parametrize("form", FORMATS)
def test_files_on_s3(
    s3: S3Server, uploaded: list[str], row: list[Path], tmp_path: Path, form: str
) -> None:
    out = tmp_path / "out"
    done = storage.virtualize(uploaded, out, format=form, storage_options=region(s3))
    assert done.directory == uploaded[0].rpartition("/")[0] + "/"
    assert (done.files, done.dim) == (2, "time") and "/t2m" in done.referenced
    assert same(opened(out, form, s3.options), wanted(row)) == []
    for secret in ("the-very-secret", "the-key"):
        assert secret.encode() not in bytes_of(out)


def region(s3: S3Server) -> dict[str, Any]:
    return {**s3.options, "client_kwargs": {"region_name": "us-east-1"}}


def test_no_endpoint_stands_in_references(
    s3: S3Server, uploaded: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    storage.virtualize(uploaded, out, storage_options=s3.options)
    refs = json.loads(out.read_text())["refs"]
    assert {one[0] for one in refs.values() if isinstance(one, list)} == set(uploaded)
    assert str(s3.port) not in out.read_text()


def test_a_pattern_and_another_address_for_readers(
    s3: S3Server, uploaded: list[str], row: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    folder = uploaded[0].rpartition("/")[0]
    there = f"file://{row[0].parent}"
    done = storage.virtualize([f"{folder}/*.nc"], out, storage_options=s3.options, url_prefix=there)
    assert done.files == 2
    found = xr.open_dataset(str(out), engine="kerchunk")
    assert same(found, wanted(row)) == []


@pytest.mark.parametrize("form", ["kerchunk-json", "kerchunk-parquet"])
def test_files_of_a_web_server(row: list[Path], tmp_path: Path, form: str) -> None:
    out, folder = tmp_path / "out", tmp_path / "served"
    folder.mkdir()
    for n, path in enumerate(row):
        os.link(path, folder / f"{n}.nc")
    with RangeServer(folder) as web:
        urls = [web.url(f"{n}.nc") for n in range(2)]
        storage.virtualize(urls, out, format=form)
        assert same(xr.open_dataset(str(out), engine="kerchunk"), wanted(row)) == []
        with pytest.raises(UsageError, match="port"):
            storage.virtualize(urls, tmp_path / "other", format="icechunk")


def test_a_dictionary_that_kerchunk_was_given_serves_again(
    s3: S3Server, uploaded: list[str], tmp_path: Path
) -> None:
    options = {**s3.options, "asynchronous": True}
    storage.virtualize(uploaded, tmp_path / "out.json", storage_options=options)


def test_a_server_that_wants_a_password(row: list[Path], tmp_path: Path) -> None:
    out, folder = tmp_path / "out.json", tmp_path / "served"
    folder.mkdir()
    os.link(row[0], folder / "a.nc")
    options = {"headers": {"Authorization": "Bearer sesame"}}
    with RangeServer(folder) as web:
        web.behaviour.password = "sesame"
        with pytest.raises(StorageError, match="refuses it"):
            storage.virtualize([web.url("a.nc")], out)
        storage.virtualize([web.url("a.nc")], out, storage_options=options)
        found = opened(out, "kerchunk-json", options)
        assert same(found, wanted(row[:1])) == []
    assert b"sesame" not in bytes_of(out)


def test_an_object_that_changes_meanwhile(
    s3: S3Server,
    uploaded: list[str],
    row: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = virtualizing._write

    def late(*given: Any) -> None:
        real(*given)
        s3.put(row[0], uploaded[1].removeprefix(f"s3://{BUCKET}/"))

    monkeypatch.setattr(virtualizing, "_write", late)
    with pytest.raises(ChangedFile, match=r"part 1\.nc"):
        storage.virtualize(uploaded, tmp_path / "out.json", storage_options=s3.options)
    assert list(tmp_path.glob("out*")) == []


def test_an_object_that_is_not_there(s3: S3Server, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        storage.virtualize(
            [f"s3://{BUCKET}/none.nc"], tmp_path / "out.json", storage_options=s3.options
        )


@pytest.mark.parametrize("form", FORMATS)
def test_what_the_command_prints_opens_it(
    s3: S3Server,
    uploaded: list[str],
    row: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    form: str,
) -> None:
    options, out = tmp_path / "options.json", tmp_path / "out"
    options.write_text(json.dumps(region(s3)))
    options.chmod(0o600)
    words = ["--output", str(out), "--format", form, "--storage-options", str(options)]
    pattern = uploaded[0].rpartition("/")[0] + "/*.nc"
    assert main(["data", "virtualize", pattern, *words]) == 0
    told = capsys.readouterr().out
    assert "the-very-secret" not in told
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.options["key"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.options["secret"])
    *lines, last = [one.strip() for one in told.partition("it is opened by:\n")[2].splitlines()]
    lines = [one.replace("{}", json.dumps(s3.options).replace("true", "True")) for one in lines]
    names: dict[str, Any] = {"icechunk": icechunk, "xr": xr}
    exec("\n".join([*lines, f"found = {last}"]), names)
    assert same(names["found"], wanted(row)) == []
