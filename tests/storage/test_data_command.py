"""`hpclaunch data inspect` and `data index`, as typed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import netCDF4
import numpy as np
import pytest

from hpclaunch.cli import data, main
from hpclaunch.cli.data_text import size
from hpclaunch.storage import filesystem
from hpclaunch.storage.stripes import Stripes

pytestmark = pytest.mark.pure


@pytest.fixture
def typed(capsys, monkeypatch, tmp_path):
    """Run a command and return exit code, stdout and stderr."""
    monkeypatch.setenv("HPCLAUNCH_INDEX_CACHE", str(tmp_path / "cache"))

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        code = main([str(one) for one in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "t2m.nc")


def write(path: Path) -> Path:
    with netCDF4.Dataset(path, "w") as root:
        root.createDimension("time", None)
        root.createDimension("lat", 30)
        root.createDimension("lon", 60)
        root.createVariable("time", "f8", ("time",), chunksizes=(1,))[:] = np.arange(120.0)
        values = np.arange(120 * 1800, dtype="f4").reshape(120, 30, 60)
        t2m = root.createVariable(
            "t2m", "f4", ("time", "lat", "lon"), zlib=True, complevel=9, shuffle=False,
            chunksizes=(10, 30, 60),
        )  # fmt: skip
        t2m[:] = values
        root.createVariable("orography", "i2", ("lat", "lon"))[:] = 1
        root.createGroup("names").createVariable("station", str, ("lat",))[:] = np.array(
            ["x"] * 30, object
        )
    return path


def row(out: str, name: str) -> list[str]:
    (line,) = [line for line in out.splitlines() if line.split()[:1] == [name] and "  " in line[2:]]
    return [cell.strip() for cell in line.strip().split("  ") if cell.strip()]


# inspect


def test_inspect_tells_of_every_variable(typed, file):
    code, out, err = typed("data", "inspect", file)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == str(file)
    assert "HDF5, superblock" in out and "4 variables in 2 groups" in out
    cells = row(out, "t2m")
    assert cells[1:5] == ["float32", "120 × 30 × 60", "10 × 30 × 60", "deflate 9"]
    assert cells[7] == "12" and cells[-1] == "hpclaunch"
    assert "its chunks lie 100% in order, in " in out
    assert row(out, "orography")[3] == "contiguous"
    assert row(out, "/names/station")[-1] == "HDF5 library"
    assert "left to the HDF5 library: " in out
    assert "decoders: deflate by " in out
    assert "one map decodes 70.3 KiB in 1 chunk, 10 times what it wants" in out


def test_inspect_names_the_traps(typed, file):
    out = typed("data", "inspect", file)[1]
    assert "trap: chunks of one step along the unlimited dimension time: a series over it" in out
    assert "trap: deflate without shuffle" in out and "trap: deflate level 9" in out


def test_inspect_as_json_tells_the_same(typed, file):
    code, out, err = typed("data", "inspect", "--json", file)
    (document,) = json.loads(out)
    assert (code, err) == (0, "")
    assert document["path"] == str(file) and document["size"] == file.stat().st_size
    variables = {one["name"]: one for one in document["variables"]}
    t2m = variables["t2m"]
    assert (t2m["chunks"], t2m["count"], t2m["written"]) == ([10, 30, 60], 12, 12)
    assert t2m["read_by"] == "hpclaunch" and t2m["ratio"] > 1
    assert t2m["maps"] == {"chunks": 1, "decoded": 72000, "wanted": 7200}
    assert {one["code"] for one in t2m["traps"]} == {"no shuffle", "high level"}
    assert variables["/names/station"]["read_by"] == "HDF5 library"
    assert document["place"]["kind"] and document["place"]["path"] == str(file)
    assert document["reading"]["gap"] > 0 and "deflate" in document["decoders"]


def test_inspect_lists_the_chunks_of_a_variable(typed, file):
    code, out, _ = typed("data", "inspect", file, "--chunks", "t2m")
    head, *rows = out.splitlines()
    assert code == 0 and head.startswith("FIRST ELEMENT") and len(rows) == 12
    assert rows[1].startswith("10, 0, 0 ")
    (document,) = json.loads(typed("data", "inspect", file, "--chunks", "t2m", "--json")[1])
    assert document["variable"] == "t2m" and len(document["chunks"]) == 12
    first = document["chunks"][0]
    raw = file.read_bytes()[first["offset"] : first["offset"] + first["size"]]
    assert raw[:1] == b"x", "a zlib stream begins there"


def test_inspect_says_which_variables_there_are(typed, file):
    code, out, err = typed("data", "inspect", file, "--chunks", "t3m")
    assert (code, out) == (1, "") and "has no variable 't3m'" in err and "/names/station" in err


def test_inspect_says_why_there_are_no_chunks(typed, file):
    code, _, err = typed("data", "inspect", file, "--chunks", "orography")
    assert code == 1 and "it is contiguous" in err


def _bad(kind: str, directory: Path) -> Path:
    path = directory / "bad.nc"
    if kind == "netcdf3":
        netCDF4.Dataset(path, "w", format="NETCDF3_CLASSIC").close()
    elif kind == "zarr":
        path.mkdir()
        (path / ".zgroup").write_text("{}")
    elif kind == "directory":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("no data\n" * 100)
    elif kind == "cut":
        whole = write(directory / "whole.nc").read_bytes()
        path.write_bytes(whole[: len(whole) // 3])
    return path


BAD = {
    "netcdf3": "is a NetCDF-3 file",
    "zarr": "is a Zarr store",
    "directory": "is a directory",
    "empty": "is empty",
    "text": "is neither a NetCDF-4 nor an HDF5 file",
    "cut": "cannot be read by the HDF5 library",
    "absent": "No such file or directory",
}


@pytest.mark.parametrize("kind", BAD)
def test_one_bad_file_hides_no_other(typed, file, tmp_path, kind):
    bad = _bad(kind, tmp_path)
    code, out, err = typed("data", "inspect", bad, file)
    assert code == 1 and row(out, "t2m")
    assert err.startswith("error: ") and BAD[kind] in err and str(bad) in err and "hint: " in err
    assert "Traceback" not in err
    code, out, err = typed("data", "inspect", "--json", bad, file)
    first, second = json.loads(out)
    assert (code, err) == (1, "")
    assert BAD[kind] in first["error"]["what"] and second["variables"]


def test_files_that_are_laid_out_alike_are_told_of_once(typed, file, tmp_path):
    alike, other = write(tmp_path / "alike.nc"), tmp_path / "other.nc"
    with netCDF4.Dataset(other, "w") as root:
        root.createDimension("x", 3)
        root.createVariable("v", "f4", ("x",))[:] = 1
    code, out, err = typed("data", "inspect", file, alike, other, write(tmp_path / "more.nc"))
    assert (code, err) == (0, "") and out.count("  VARIABLE") == 2
    told = f"{size(alike.stat().st_size)}, laid out like {file}\n"
    assert f"\n\n{alike}: {told}\n{other}\n" in out
    assert out.endswith(f"\n\n{tmp_path / 'more.nc'}: {told}")
    assert len(json.loads(typed("data", "inspect", "--json", file, alike)[1])) == 2
    rows = typed("data", "inspect", "--chunks", "t2m", file, alike)[1]
    assert rows.count("FIRST ELEMENT") == 2


def test_what_the_libraries_warn_of_is_a_note(typed, tmp_path):
    path = tmp_path / "square.nc"
    with netCDF4.Dataset(path, "w") as root:
        root.createDimension("x", 3)
        root.createVariable("covariance", "f4", ("x", "x"))[:] = 1
    code, out, err = typed("data", "inspect", path)
    assert code == 0 and row(out, "covariance")
    assert err.startswith(f"note: {path}: Duplicate dimension names present")
    assert ".py" not in err


def test_a_file_on_tape_is_not_touched(typed, file, monkeypatch):
    def on_tape(path):
        return replace(PLACE(path), offline="yes")

    PLACE = filesystem.place
    monkeypatch.setattr(filesystem, "place", on_tape)
    monkeypatch.setattr("hpclaunch.storage.inspection.kind_of", lambda path: pytest.fail("opened"))
    code, out, err = typed("data", "inspect", file)
    assert (code, out) == (1, "") and "was migrated to tape" in err and "recalled" in err


def test_inspect_tells_of_stripes(typed, file, monkeypatch):
    components = (
        Stripes(2**20, 0, 0, 2**20, "mdt"),
        Stripes(2**22, 8, 2**20, 2**30, pool="flash"),
        Stripes(2**24, -1, 2**30, None, flags=()),
    )
    PLACE = filesystem.place
    monkeypatch.setattr(
        filesystem,
        "place",
        lambda path: replace(PLACE(path), components=components, notes=("aha",)),
    )
    out = typed("data", "inspect", file)[1]
    assert "from 0 B to 1.00 MiB: with the metadata\n" in out
    assert "from 1.00 MiB to 1.00 GiB: stripes of 4.00 MiB over 8 targets, pool flash\n" in out
    assert "from 1.00 GiB to the end: stripes of 16.0 MiB over all targets, not in use\n" in out
    assert "note: aha\n" in out


def test_a_name_cannot_command_the_terminal(typed, tmp_path):
    path = write(tmp_path / "evil\x1b[31m.nc")
    out = typed("data", "inspect", path)[1]
    assert "\x1b" not in out and "evil\N{REPLACEMENT CHARACTER}[31m.nc" in out


# index


def test_index_tells_new_valid_and_failed(typed, file, tmp_path):
    other = write(tmp_path / "other.nc")
    code, out, err = typed("data", "index", file, other, "--processes", "1")
    assert code == 0 and out == f"2 new, 0 valid, 0 failed; in {tmp_path / 'cache'}\n"
    assert "2 of 2 files indexed" in err and "error" not in err
    bad = _bad("text", tmp_path)
    code, out, err = typed("data", "index", file, bad, tmp_path / "absent.nc", "--json")
    document = json.loads(out)
    assert code == 1
    assert (document["new"], document["valid"]) == ([], [str(file)])
    assert {one["path"] for one in document["failed"]} == {str(bad), str(tmp_path / "absent.nc")}
    assert f"error: {bad} is neither" in err


def test_index_wants_a_process(typed, file):
    code, _, err = typed("data", "index", file, "--processes", "0")
    assert code == 2 and "at least 1" in err


# installation


@pytest.mark.parametrize("verb", ["inspect", "index"])
def test_the_laptops_installation_says_what_to_install(typed, file, monkeypatch, verb):
    monkeypatch.setattr(data, "find_spec", lambda name: None if name == "h5py" else object())
    code, out, err = typed("data", verb, file)
    assert (code, out) == (1, "")
    assert "which this Python does not have" in err and "h5py" in err and "numpy" not in err
    assert "pip install 'hpclaunch[storage]'" in err


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (10 * 2**20, "10.0 MiB"),
     (999 * 2**10, "999 KiB"), (2**20 - 1, "1.00 MiB"), (3 * 2**40, "3.00 TiB"), (None, "-")],
)  # fmt: skip
def test_sizes_for_people(count, text):
    assert size(count) == text
