"""Files virtualized: joined, named by addresses, refused, and the command as typed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray as xr

from hpclaunch import storage
from hpclaunch.cli import main
from hpclaunch.errors import ChangedFile, StorageError, UsageError
from hpclaunch.storage import virtualforms, virtualizing
from hpclaunch.storage.icechunking import check_address
from hpclaunch.storage.virtualurls import directory_of, store_of, urls_of
from tests.storage.opening import theirs
from tests.storage.same import value_differences
from tests.storage.virtual import FORMATS, opened

pytestmark = pytest.mark.pure

SUFFIXES = dict(zip(FORMATS, (".json", ".parq", ".icechunk"), strict=True))


def write(path: Path, first: int = 0, steps: int = 6, **how: Any) -> Path:
    """Steps of a field, each a chunk, and what is the same in all files."""
    about = {"zlib": True, "shuffle": True, "chunksizes": (1, 20, 30)} | how
    with netCDF4.Dataset(path, "w") as root:
        root.title = "made for a test"
        root.createDimension("time", None)
        root.createDimension("lat", 20)
        root.createDimension("lon", 30)
        time = root.createVariable("time", "f8", ("time",))
        time.units, time.calendar = "days since 2000-01-01", "standard"
        time[:] = np.arange(first, first + steps)
        root.createVariable("lat", "f4", ("lat",))[:] = np.linspace(-90, 90, 20)
        chance = np.random.default_rng(first)
        values = chance.normal(280, 10, (steps, 20, 30)).astype("f4")
        for name in ("t2m", "packed"):
            kind = "f4" if name == "t2m" else "i2"
            one = root.createVariable(name, kind, ("time", "lat", "lon"), fill_value=-999, **about)
            one.units = "K"
            if name == "packed":
                one.scale_factor, one.add_offset = 0.01, 280.0
            one[:] = values
    return path


@pytest.fixture
def row(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "archive"
    folder.mkdir()
    return [write(folder / f"part {n}.nc", 6 * n) for n in range(3)]


def same(found: xr.Dataset, wanted: xr.Dataset) -> list[str]:
    names = sorted(map(str, found.variables)) == sorted(map(str, wanted.variables))
    coords = set(found.coords) == set(wanted.coords)
    return ([] if names and coords else ["other variables"]) + [
        f"{name}: {each}"
        for name, one in wanted.variables.items()
        for each in value_differences(found.variables[name], one)
    ]


def many(files: list[Path]) -> xr.Dataset:
    return xr.concat([theirs(one).load() for one in files], "time", data_vars="minimal")


@pytest.mark.parametrize("form", FORMATS)
def test_files_in_a_row(row: list[Path], tmp_path: Path, form: str) -> None:
    out = tmp_path / f"out{SUFFIXES[form]}"
    done = storage.virtualize([row[2], row[0], row[1]], out)
    assert (done.format, done.files, done.dim, done.chunks) == (form, 3, "time", 36)
    assert done.referenced == ("/t2m", "/packed") and set(done.copied) == {"/time", "/lat"}
    assert done.nbytes == 18 * 600 * 6 and 0 < done.stored < done.nbytes
    found = opened(out, form)()
    assert same(found, many(row)) == []
    assert found.attrs == {"title": "made for a test"} and found.t2m.attrs == {"units": "K"}
    assert not [one for one in tmp_path.iterdir() if one.name.startswith(".")]


def test_files_follow_each_other_as_they_are_given(row: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    storage.virtualize([row[1], row[0]], out, concat_dim="time")
    assert same(opened(out, "kerchunk-json")(), many([row[1], row[0]])) == []


@pytest.mark.parametrize("form", FORMATS)
def test_contiguous_files_are_cut_where_they_join(tmp_path: Path, form: str) -> None:
    files = [
        write(tmp_path / f"{n}.nc", 10 * n, steps, zlib=False, shuffle=False, chunksizes=None)
        for n, steps in enumerate((4, 6, 10))
    ]
    for file in files:  # an unlimited dimension has chunks
        field = xr.load_dataset(file, decode_cf=False)
        whole = {name: {"contiguous": True} for name in ("t2m", "packed")}
        for name in whole:
            field[name].encoding.clear()
        field.to_netcdf(file, unlimited_dims=(), encoding=whole)
    out = tmp_path / "out"
    done = storage.virtualize(files, out, format=form)
    assert done.chunks == 20
    assert same(opened(out, form)(), many(files)) == []


def test_another_level_of_deflate_is_no_difference(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{n}.nc", 6 * n, complevel=1 + 4 * n) for n in range(2)]
    storage.virtualize(files, tmp_path / "out.json")
    assert same(opened(tmp_path / "out.json", "kerchunk-json")(), many(files)) == []


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"chunksizes": (1, 10, 30)}, r"chunks are \(1, 10, 30\) there, and \(1, 20, 30\)"),
        ({"zlib": False, "shuffle": False}, "filters are none there, and shuffle, deflate"),
        ({"zlib": False, "shuffle": False, "fletcher32": True}, "fletcher32 there"),
    ],
)
def test_another_layout_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any], said: str
) -> None:
    monkeypatch.setattr("hpclaunch.storage.virtualparts.SMALL", 0)
    files = [write(tmp_path / "first.nc"), write(tmp_path / "second.nc", 6, **how)]
    with pytest.raises(StorageError, match=rf"second.nc, variable /t2m: .*{said}"):
        storage.virtualize(files, tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()


def test_a_partial_chunk_between_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpclaunch.storage.virtualparts.SMALL", 0)
    files = [write(tmp_path / f"{n}.nc", 7 * n, 7, chunksizes=(4, 20, 30)) for n in range(2)]
    with pytest.raises(
        StorageError, match=r"0.nc, variable /t2m: its last chunk has 3 of 4"
    ) as why:
        storage.virtualize(files, tmp_path / "out.json")
    assert "rechunk" in why.value.hint
    out = tmp_path / "last.json"  # at the end of the row it is none between files
    files = [write(tmp_path / f"{n}.nc", 8 * n, 8 - n, chunksizes=(4, 20, 30)) for n in range(2)]
    storage.virtualize(files, out)
    assert same(opened(out, "kerchunk-json")(), many(files)) == []


def test_files_that_are_no_row_are_refused(row: list[Path], tmp_path: Path) -> None:
    with netCDF4.Dataset(row[1], "a") as file:
        file["time"].units = "days since 1999-01-01"
    with pytest.raises(StorageError, match=r"time:units of .*part 1.nc differs"):
        storage.virtualize(row, tmp_path / "out.json")


@pytest.mark.parametrize("form", FORMATS)
def test_an_archive_that_lies_elsewhere(row: list[Path], tmp_path: Path, form: str) -> None:
    deeper = row[0].parent / "2001"
    deeper.mkdir()
    row[2] = row[2].rename(deeper / row[2].name)
    out = tmp_path / "out"
    done = storage.virtualize(row, out, format=form, url_prefix="s3://bucket/some/where/")
    assert done.directory == "s3://bucket/some/where/"
    if form == "kerchunk-json":
        refs = json.loads(out.read_text())["refs"]
        paths = {one[0] for one in refs.values() if isinstance(one, list)}
        assert paths == {
            f"s3://bucket/some/where/{name}"
            for name in ("part 0.nc", "part 1.nc", "2001/part 2.nc")
        }
        assert refs["t2m/0.0.0"][1:] == [
            int(storage.index(str(row[0])).groups["/"].variables["t2m"].layout.offsets[0, 0, 0]),
            int(storage.index(str(row[0])).groups["/"].variables["t2m"].layout.sizes[0, 0, 0]),
        ]


@pytest.mark.parametrize("form", FORMATS)
def test_an_archive_that_was_moved(row: list[Path], tmp_path: Path, form: str) -> None:
    wanted, there = many(row), tmp_path / "moved" / "there"
    storage.virtualize(row, tmp_path / "out", format=form, url_prefix=f"file://{there}")
    there.parent.mkdir()
    row[0].parent.rename(there)
    assert same(opened(tmp_path / "out", form)(), wanted) == []


def test_addresses_of_the_web_are_quoted(row: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    storage.virtualize(row[:1], out, url_prefix="https://example.org/data")
    refs = json.loads(out.read_text())["refs"]
    assert refs["t2m/0.0.0"][0] == "https://example.org/data/part%200.nc"


def test_what_is_there_is_replaced_only_on_demand(row: list[Path], tmp_path: Path) -> None:
    for form, suffix in SUFFIXES.items():
        out = tmp_path / f"out{suffix}"
        storage.virtualize(row[:1], out)
        with pytest.raises(StorageError, match="exists"):
            storage.virtualize(row, out)
        assert opened(out, form)().sizes["time"] == 6
        storage.virtualize(row, out, overwrite=True)
        assert opened(out, form)().sizes["time"] == 18


def test_another_directory_is_never_replaced(row: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "mine.parq"
    out.mkdir()
    (out / "thesis.tex").write_text("x")
    with pytest.raises(StorageError, match="something else"):
        storage.virtualize(row, out, overwrite=True)
    assert (out / "thesis.tex").exists()


def test_a_file_that_changes_meanwhile(
    row: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def change(line: str) -> None:
        told.append(line)
        if line.startswith("writing"):
            write(row[1], 6, steps=5)

    for suffix in SUFFIXES.values():
        with pytest.raises(ChangedFile, match=r"part 1.nc"):
            storage.virtualize(row, tmp_path / f"out{suffix}", progress=change)
    assert sorted(one.name for one in tmp_path.glob("*out*")) == []
    assert "writing 36 references" in told


def test_too_much_to_copy_is_refused(
    row: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(virtualizing, "MOST", 100)
    with pytest.raises(StorageError, match="would be copied"):
        storage.virtualize(row, tmp_path / "out.json")


def test_what_is_no_netcdf4(tmp_path: Path) -> None:
    old = tmp_path / "old.nc"
    xr.Dataset({"a": ("x", [1.0])}).to_netcdf(old, format="NETCDF3_CLASSIC")
    with pytest.raises(StorageError, match="no NetCDF-4"):
        storage.virtualize([old], tmp_path / "out.json")


@pytest.mark.parametrize(
    ("output", "options"),
    [("out.nc", {}), ("out", {"format": "zip"}), ("out.json", {"url_prefix": "bucket/dir"})],
)
def test_what_has_no_meaning(
    row: list[Path], tmp_path: Path, output: str, options: dict[str, Any]
) -> None:
    with pytest.raises(UsageError):
        storage.virtualize(row, tmp_path / output, **options)


def test_a_missing_package_is_named(
    row: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "virtualizarr", None)
    monkeypatch.setattr(
        virtualforms, "find_spec", lambda name: None if name == "virtualizarr" else object()
    )
    with pytest.raises(StorageError, match="virtualizarr") as why:
        storage.virtualize(row, tmp_path / "out.json")
    assert why.value.hint == "pip install 'hpclaunch[virtual]'"


def test_a_hundred_thousand_chunks(tmp_path: Path) -> None:
    path = tmp_path / "many.nc"
    with netCDF4.Dataset(path, "w") as root:
        root.createDimension("x", 100_000)
        one = root.createVariable("v", "i4", ("x",), chunksizes=(1,))
        one[:] = np.arange(100_000)
    for form in FORMATS:
        done = storage.virtualize([path], tmp_path / form, format=form)
        assert done.chunks == 100_000
    found = opened(tmp_path / "kerchunk-json", "kerchunk-json")().v
    assert found[99_990:].values.tolist() == list(range(99_990, 100_000))


# as typed


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: str | Path) -> tuple[int, str, str]:
        code = main([str(one) for one in ("data", "virtualize", *arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_typed(typed: Any, row: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "archive.json"
    code, told, said = typed(*row, "--output", out)
    assert code == 0 and "3 of 3 files indexed" not in told
    assert f"{out}: 36 references to 3 files along time in file://{row[0].parent}/" in told
    assert "referred to: /t2m, /packed" in told and "copied: /time, /lat" in told
    assert f"xr.open_dataset('{out}', engine=\"kerchunk\")" in told
    code, told, said = typed(*row, "--output", out)
    assert code != 0 and "exists" in said and "--overwrite" in said


def test_typed_for_programs(typed: Any, row: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "store"
    code, told, _ = typed(*row, "--output", out, "--format", "icechunk", "--json")
    found = json.loads(told)
    assert code == 0
    assert found["format"] == "icechunk" and found["files"] == 3 and found["chunks"] == 36
    assert found["referenced"] == ["/t2m", "/packed"] and found["dim"] == "time"
    assert found["directory"] == f"file://{row[0].parent}/"


def test_the_lines_that_open_it_do(typed: Any, row: list[Path], tmp_path: Path) -> None:
    import icechunk

    out = tmp_path / "archive.icechunk"
    _, told, _ = typed(*row, "--output", out)
    *lines, last = [one.strip() for one in told.partition("it is opened by:\n")[2].splitlines()]
    names: dict[str, Any] = {"icechunk": icechunk, "xr": xr}
    exec("\n".join([*lines, f"found = {last}"]), names)
    assert same(names["found"], many(row)) == []


@pytest.mark.parametrize(
    "arguments",
    [("--output", "x.nc"), ("--output", "x.json", "--processes", "0"),
     ("--output", "x.json", "--url-prefix", "bucket")],
)  # fmt: skip
def test_typed_wrongly(typed: Any, row: list[Path], arguments: tuple[str, ...]) -> None:
    code, told, said = typed(*row, *arguments)
    assert code == 2 and not told and said


def test_a_file_that_is_not_there(typed: Any, tmp_path: Path) -> None:
    code, told, said = typed(tmp_path / "none.nc", "--output", tmp_path / "out.json")
    assert code not in (0, 2) and not told and "none.nc" in said


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("prefix", [None, "s3://bucket/"])
def test_addresses_with_secrets_are_refused(tmp_path: Path, form: str, prefix: str | None) -> None:
    for url in ("https://me:sesame@127.0.0.1:1/a.nc", "https://127.0.0.1:1/a.nc?signed=1"):
        with pytest.raises(StorageError, match="references show it") as told:
            storage.virtualize([url], tmp_path / "x", format=form, url_prefix=prefix)
        assert not any(secret in told.value.what for secret in ("sesame", "signed"))
    assert list(tmp_path.iterdir()) == []


def test_files_of_several_kinds_of_places_are_refused(row: list[Path], tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="several kinds of places"):
        storage.virtualize([row[0], "s3://bucket/a.nc"], tmp_path / "x.json")
    with pytest.raises(StorageError, match="storage_options are for URLs"):
        storage.virtualize(row, tmp_path / "x.json", storage_options={"anon": True})


def test_addresses_of_files_that_are_read_by_url() -> None:
    web = ["https://a/b/c%20d.nc", "https://a/b/e.nc"]
    assert urls_of(web, None) == tuple(web)
    assert urls_of(web, "s3://bucket/") == ("s3://bucket/c d.nc", "s3://bucket/e.nc")
    assert urls_of(web, "https://z") == ("https://z/c%20d.nc", "https://z/e.nc")
    s3 = ["s3://bucket/b/c d.nc"]
    assert urls_of(s3, "https://z") == ("https://z/c%20d.nc",)
    assert directory_of(["s3://a/x.nc", "s3://ab/y.nc"]) == "s3://"
    with pytest.raises(UsageError, match="one bucket"):
        check_address("s3://")


def test_what_is_told_of_a_store_is_no_secret() -> None:
    options = {"key": "a", "secret": "b", "token": "c", "endpoint_url": "https://me:word@host:9"}
    assert store_of(options) == {"endpoint_url": "https://host:9"}
    client = {"endpoint_url": "http://h", "region_name": "r", "aws_session_token": "d"}
    assert store_of({"client_kwargs": client}) == {"region": "r", "endpoint_url": "http://h"}
    assert store_of(None) == {}
