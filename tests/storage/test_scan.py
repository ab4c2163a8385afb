"""What is read off a file for its index, and what is left to the HDF5 library."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np
import pytest

from hpclaunch.errors import CorruptFile, StorageError
from hpclaunch.storage.layout import NOWHERE, FileIndex, Layout
from hpclaunch.storage.scan import identify, kind_of, scan

pytestmark = pytest.mark.pure

NUMBERS = np.arange(35, dtype="f4").reshape(5, 7)


def layouts(path: Path) -> dict[str, Layout]:
    """The layouts of the root group's variables."""
    return {name: one.layout for name, one in scan(str(path)).groups["/"].variables.items()}


def test_chunks_lie_where_the_library_wrote_them(tmp_path):
    path = tmp_path / "a.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("y", 5)
        file.createDimension("x", 7)
        made = file.createVariable(
            "v", "f4", ("y", "x"), chunksizes=(2, 3), zlib=True, fletcher32=True, fill_value=-1
        )
        made[:] = NUMBERS
    one = layouts(path)["v"]
    assert (one.kind, one.chunks, one.grid, one.reason) == ("chunked", (2, 3), (3, 3), "")
    assert {stage.name for stage in one.filters} == {"shuffle", "deflate", "fletcher32"}
    assert one.fill == np.float32(-1).tobytes()
    with h5py.File(path) as file:
        for at in np.ndindex(one.grid):
            found = file["v"].id.get_chunk_info_by_coord((at[0] * 2, at[1] * 3))
            assert (one.offsets[at], one.sizes[at]) == (found.byte_offset, found.size)


def test_chunks_that_were_never_written_lie_nowhere(tmp_path):
    path = tmp_path / "a.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("x", 10)
        file.createVariable("v", "i2", ("x",), chunksizes=(4,), fill_value=7)[4:8] = 1
        file.createVariable("c", "i2", ("x",), contiguous=True)
    one = layouts(path)
    assert list(one["v"].offsets == NOWHERE) == [True, False, True]
    assert one["v"].stored == 8 and one["v"].fill == np.int16(7).tobytes()
    assert one["c"].kind == "contiguous" and one["c"].reason == ""


def test_a_contiguous_variable_lies_in_one_piece(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["v"] = NUMBERS.astype(">f4")
    one = layouts(path)["v"]
    at = int(one.offsets)
    assert one.dtype == np.dtype(">f4")
    assert path.read_bytes()[at : at + int(one.sizes)] == NUMBERS.astype(">f4").tobytes()


def test_names_of_the_library_are_not_those_of_hdf5(tmp_path):
    """A variable with a dimension's name that is not its coordinate is stored under another."""
    path = tmp_path / "a.nc"
    with netCDF4.Dataset(path, "w") as file:
        for name, size in (("x", 3), ("y", 2), ("bare", 4)):
            file.createDimension(name, size)
        file.createVariable("y", "f8", ("x",))[:] = [1, 2, 3]
        file.createVariable("x", "f8", ("x",))[:] = [4, 5, 6]
    with h5py.File(path) as file:
        assert {"bare", "_nc4_non_coord_y"} <= set(file)
    index = scan(str(path)).groups["/"]
    assert set(index.variables) == {"x", "y"} and index.dims == {"x": 3, "y": 2, "bare": 4}
    assert not any(one.layout.reason for one in index.variables.values())
    assert list(index.variables["y"].values) == [1, 2, 3]


def test_groups_have_the_dimensions_that_they_use(tmp_path):
    path = tmp_path / "a.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("t", None)
        file.createDimension("x", 3)
        inner = file.createGroup("a").createGroup("b")
        inner.createDimension("z", 2)
        inner.createVariable("v", "f4", ("z", "x"))
    groups = scan(str(path)).groups
    assert list(groups) == ["/", "/a", "/a/b"]
    assert groups["/"].unlimited == {"t"} and groups["/a/b"].unlimited == set()
    assert groups["/a/b"].dims == {"z": 2, "x": 3}


def made_by_h5py(name: str, file: h5py.File) -> None:
    """Write variable ``v`` of one of the kinds that are left to the library."""
    from h5py import h5d, h5p, h5s, h5t

    if name == "scaleoffset":
        file.create_dataset("v", data=NUMBERS.astype("i4"), chunks=(2, 3), scaleoffset=4)
    elif name == "lzf":
        file.create_dataset("v", data=NUMBERS, chunks=(2, 3), compression="lzf")
    elif name == "compound":
        file["v"] = np.zeros(3, [("a", "f4"), ("b", "i2")])
    elif name == "enum":
        file.create_dataset("v", (3,), h5py.enum_dtype({"a": 0, "b": 1}, "i1"))
    elif name == "strings":
        file["v"] = ["a", "bc"]
    elif name == "fixed strings":
        file["v"] = np.array([b"ab", b"cd"])
    elif name == "compact":
        plist = h5p.create(h5p.DATASET_CREATE)
        plist.set_layout(h5d.COMPACT)
        space = h5s.create_simple((3,))
        h5d.create(file.id, b"v", h5t.IEEE_F32LE, space, plist).write(
            space, space, np.ones(3, "f4")
        )
    elif name == "virtual":
        layout = h5py.VirtualLayout((5, 7), "f4")
        layout[:] = h5py.VirtualSource("other.h5", "w", (5, 7))
        file.create_virtual_dataset("v", layout)
    elif name == "external":
        file.create_dataset("v", data=NUMBERS, external=[("raw.bin", 0, h5py.h5f.UNLIMITED)])
    elif name == "external link":
        with h5py.File(Path(file.filename).with_name("other.h5"), "w") as other:
            other["w"] = NUMBERS
        file["v"] = h5py.ExternalLink("other.h5", "w")
    elif name == "never filled":
        file.create_dataset("v", (9,), "f4", chunks=(2,), fill_time="never")
    elif name == "sparse":
        file.create_dataset("v", (1 << 40,), "i1", chunks=(1,))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("scaleoffset", "scaleoffset (6)"),
        ("lzf", "lzf (32000)"),
        ("compound", "compound"),
        ("enum", "enum"),
        ("strings", "strings"),
        ("fixed strings", "strings"),
        ("compact", "compact"),
        ("virtual", "virtual"),
        ("external", "1 external file"),
        ("external link", "another file"),
        ("never filled", "no fill value"),
        ("sparse", "only 0 of its 1099511627776 chunks"),
    ],
)
def test_what_is_left_to_the_library_says_why(name, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        made_by_h5py(name, file)
    assert words in layouts(path)["v"].reason


def test_a_dimension_that_another_variable_made_longer(tmp_path):
    path = tmp_path / "a.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("t", None)
        file.createVariable("long", "f4", ("t",))[:] = np.ones(6)
        file.createVariable("short", "f4", ("t",))[:2] = 1
    one = layouts(path)
    assert (one["long"].reason, one["long"].extent) == ("", None)
    assert (one["short"].reason, one["short"].extent) == ("", (2,))


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_behind_a_user_block(libver, tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", userblock_size=1024, libver=libver) as file:
        file.create_dataset("v", data=NUMBERS, chunks=(5, 7))
        file["c"] = NUMBERS
    index = scan(str(path))
    at = int(index.groups["/"].variables["v"].layout.offsets[0, 0])
    assert path.read_bytes()[at:][: NUMBERS.nbytes] == NUMBERS.tobytes()
    assert "user block" in index.groups["/"].variables["c"].layout.reason
    assert index.facts["user block"] == 1024
    assert index.superblock == (3 if libver == "latest" else 0)


@pytest.mark.parametrize(
    ("maximum", "index"),
    [
        ((5, 7), "fixed array"),
        ((None, 7), "extensible array"),
        ((None, None), "btree2"),
    ],
)
def test_how_new_files_index_their_chunks(maximum, index, tmp_path):
    path = tmp_path / "a.h5"
    for libver, wanted in (("latest", index), ("earliest", "btree1")):
        with h5py.File(path, "w", libver=libver) as file:
            file.create_dataset("v", data=NUMBERS, chunks=(2, 3), maxshape=maximum)
        one = layouts(path)["v"]
        assert (one.index, one.reason) == (wanted, "")
        assert (one.offsets != NOWHERE).all()


def test_paged_metadata_is_told(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", fs_strategy="page", fs_page_size=8192) as file:
        file["v"] = NUMBERS
    facts = scan(str(path)).facts
    assert (facts["paged"], facts["page size"]) == (True, 8192)


@pytest.mark.parametrize("kind", ["dims", "plain"])
def test_an_empty_dimension(kind, tmp_path):
    path = tmp_path / "a.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("t", None)
        file.createVariable("v", "f4", ("t",), zlib=True)
    one = layouts(path)["v"]
    assert (one.shape, one.offsets.size, one.reason) == ((0,), 0, "")


def kinds(folder: Path) -> dict[str, Any]:
    classic = folder / "classic.nc"
    netCDF4.Dataset(classic, "w", format="NETCDF3_CLASSIC").close()
    (folder / "empty.nc").touch()
    (folder / "text.nc").write_text("no data" * 1000)
    (folder / "a.zarr").mkdir()
    (folder / "a.zarr" / "zarr.json").write_text("{}")
    with h5py.File(folder / "block.h5", "w", userblock_size=512):
        pass
    return {
        "classic.nc": "netcdf3",
        "empty.nc": "empty",
        "text.nc": "unknown",
        "a.zarr": "zarr",
        "block.h5": "hdf5",
        ".": "unknown",
    }


def test_what_a_path_holds(tmp_path):
    wanted = kinds(tmp_path)
    assert {name: kind_of(str(tmp_path / name)) for name in wanted} == wanted
    with pytest.raises(FileNotFoundError):
        kind_of(str(tmp_path / "none"))


def test_a_damaged_file_is_told_by_its_name(tmp_path):
    path = tmp_path / "a.nc"
    with h5py.File(path, "w") as file:
        file.create_dataset("v", data=np.zeros(10_000), chunks=(100,))
    whole = path.read_bytes()
    for data in (whole[:3000], whole[:8] + b"\xff" * 3000):
        path.write_bytes(data)
        with pytest.raises(CorruptFile, match=r"a\.nc"):
            scan(str(path))


def test_a_file_written_just_now_is_waited_for(tmp_path):
    """Two writes within one tick of the clock leave one modification time."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["v"] = NUMBERS
    os.utime(path)
    index: FileIndex = scan(str(path))
    assert index.identity == identify(str(path))
    assert time.time_ns() - index.identity.mtime_ns > 10_000_000


def test_small_values_are_kept_and_large_ones_are_not(tmp_path):
    path = tmp_path / "a.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("x", 2000)
        for name in "xv":
            file.createVariable(name, ">i4", ("x",), endian="big")[:] = np.arange(2000)
        file.createVariable("s", "f8")[...] = 3
    found = scan(str(path)).groups["/"].variables
    assert found["v"].values is None
    for name in "xs":
        assert found[name].values.dtype == found[name].dtype
    assert list(found["x"].values) == list(range(2000))


def test_without_h5py_it_is_said_what_to_install(tmp_path, monkeypatch):
    path = tmp_path / "a.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("x", 2)
    monkeypatch.setattr("hpclaunch.storage.scan.find_spec", lambda name: None)
    with pytest.raises(StorageError, match="needs h5py, which is not installed") as told:
        scan(str(path))
    assert "install h5py" in told.value.hint
