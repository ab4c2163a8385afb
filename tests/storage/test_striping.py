"""New files on Lustre get stripes that suit them, or lie as their directory has it; never silently.

``lfs`` is a stand-in that opens, refuses and says what ``llapi_file_open_param`` and
``llapi_file_open_pool`` of ``liblustreapi.c`` do; the mount table is one too.
"""

from __future__ import annotations

import json
import os
import stat
import struct
import sys
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch.cli import main
from hpclaunch.storage import filesystem, rechunk, striped, striping, to_netcdf, tools
from hpclaunch.storage.skeleton import expected_size
from hpclaunch.storage.striped import stripe_part
from hpclaunch.storage.stripes import Stripes
from hpclaunch.storage.striping import checked_stripes, inherited_stripes, suited_stripes

pytestmark = pytest.mark.pure

MIB, GIB = 2**20, 2**30
ONE = "stripe_count:  1 stripe_size:   1048576 pattern:       raid0 stripe_offset: -1\n"
PFL = """  lcm_entry_count:   2
    lcme_id:             N/A
    lcme_flags:          0
    lcme_extent.e_start: 0
    lcme_extent.e_end:   1073741824
      stripe_count:  1       stripe_size:   1048576       pattern:       raid0
    lcme_id:             N/A
    lcme_flags:          0
    lcme_extent.e_start: 1073741824
    lcme_extent.e_end:   EOF
      stripe_count:  4       stripe_size:   4194304       pattern:       raid0
"""

LFS = """#!{python} -S
import fcntl, json, os, sys, time

answers = json.load(open({answers!r}))
path = sys.argv[-1]
mask = os.umask(0)
os.umask(mask)
with open({record!r}, "a") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print(json.dumps({{"argv": sys.argv[1:], "umask": mask}}), file=file)
if sys.argv[1] == "getstripe":
    sys.stdout.write(answers["layout"])
    sys.exit(0)
time.sleep(answers["sleep"])
if os.path.exists(path):
    sys.exit(f"error: lfs setstripe: setstripe error for '{{path}}': stripe already set")
if answers["fails"] == "before":
    sys.exit(f"lfs setstripe: unable to open '{{path}}': Permission denied (13)")
handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
with open({record!r}, "a") as file:
    facts = os.fstat(handle)
    made = {{"inode": facts.st_ino, "mode": facts.st_mode & 0o777}}
    made["folder"] = os.stat(os.path.dirname(path)).st_mode & 0o777
    print(json.dumps({{"made": made}}), file=file)
if answers["fails"] == "after":
    print(f"error on ioctl 0x4008669a for '{{path}}' ({{handle}}): "
          "Inappropriate ioctl for device", file=sys.stderr)
    print(f"error: setstripe: create stripe file '{{path}}' failed", file=sys.stderr)
    sys.exit(25)
"""


class Lustre:
    """A directory that the mount table says is on Lustre, and its ``lfs``."""

    def __init__(self, folder: Path, aside: Path) -> None:
        self.folder, self._aside = folder, aside
        self.answer()
        program = aside / "lfs"
        names = {"answers": str(aside / "answers"), "record": str(aside / "record")}
        program.write_text(LFS.format(python=sys.executable, **names))
        program.chmod(0o755)

    def answer(self, layout: str = ONE, fails: str = "", sleep: float = 0) -> None:
        answers = {"layout": layout, "fails": fails, "sleep": sleep}
        (self._aside / "answers").write_text(json.dumps(answers))

    @property
    def record(self) -> list[dict]:
        path = self._aside / "record"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def set(self) -> list[dict]:
        """How stripes were set, and what was made."""
        return [one for one in self.record if one.get("argv", ["setstripe"])[0] == "setstripe"]

    @property
    def made(self) -> dict:
        (one,) = [one["made"] for one in self.record if "made" in one]
        return one


@pytest.fixture
def lustre(tmp_path, monkeypatch):
    folder, aside = tmp_path / "lustre", tmp_path / "bin"
    folder.mkdir()
    aside.mkdir()
    table = (
        f"1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 0:9 / {folder} rw - lustre 10.0.0.1@tcp:/demo rw\n"
    )
    monkeypatch.setattr(filesystem, "this_mountinfo", lambda: table)
    monkeypatch.setenv("PATH", f"{aside}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HPCLAUNCH_INDEX_CACHE", str(tmp_path / "cache"))
    return Lustre(folder, aside)


@pytest.fixture
def small_targets(monkeypatch):
    """The rule with a target for each 64 KiB, so that small files get several."""
    monkeypatch.setattr(striping, "_EACH", 2**16)


def dataset(steps: int = 64) -> xr.Dataset:
    values = np.random.default_rng(20011).normal(280, 12, (steps, 64, 64)).astype("f4")
    return xr.Dataset({"tas": (("time", "lat", "lon"), values)}).chunk(time=16)


def source(path: Path) -> Path:
    dataset().compute().to_netcdf(
        path, engine="netcdf4", encoding={"tas": {"zlib": True, "chunksizes": (1, 64, 64)}}
    )
    return path


def others(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


# the rule


def test_a_target_for_each_4_gib_and_no_more_than_16():
    counts = [suited_stripes(size).count for size in (0, 1, 4 * GIB, 4 * GIB + 1, 9 * GIB, 2**50)]
    assert counts == [1, 1, 1, 2, 4, 16]


def test_a_stripe_holds_a_chunk_where_there_are_several_targets():
    sizes = [suited_stripes(9 * GIB, chunk).size // MIB for chunk in (0, 2 * MIB, 5 * MIB, GIB)]
    assert sizes == [4, 4, 8, 16]
    assert suited_stripes(GIB, 5 * MIB) == Stripes(MIB, 1)


@given(st.integers(0, 2**60), st.integers(0, 2**40))
def test_the_rule_gives_what_lustre_allows(size, chunk):
    found = suited_stripes(size, chunk)
    assert checked_stripes((found.count, found.size)) == (found.count, found.size)
    assert suited_stripes(2 * size, chunk).count >= found.count


def test_layouts_in_parts_and_wide_ones_are_left_alone():
    wanted = Stripes(4 * MIB, 4)
    assert "PFL" in inherited_stripes((Stripes(MIB, 1, 0, GIB), Stripes(MIB, 8, GIB)), wanted)
    assert "PFL" in inherited_stripes((Stripes(MIB, 0, 0, None, "mdt"),), wanted)
    assert "8 target(s)" in inherited_stripes((Stripes(MIB, 8),), wanted)
    assert "all targets" in inherited_stripes((Stripes(MIB, -1),), wanted)
    for narrow in ((), (Stripes(MIB, 1),), (Stripes(MIB, 0),)):
        assert inherited_stripes(narrow, wanted) == ""


@pytest.mark.parametrize(
    "wrong", ["many", (0, MIB), (-2, MIB), (4, 0), (4, 1000), (4, 2**32), (4,), (1, 2, 3)]
)
def test_stripes_without_a_meaning_are_refused(wrong, tmp_path):
    with pytest.raises(ValueError, match="stripes"):
        to_netcdf(dataset(), tmp_path / "a.nc", stripes=wrong)
    assert others(tmp_path) == []


def test_the_size_of_a_file_is_that_of_its_values_as_stored():
    packed = dataset()
    assert expected_size(packed, {}) == (64 * 64 * 64 * 4, 0)
    asked = {"tas": {"dtype": "i2", "chunksizes": (4, 64, 64)}}
    assert expected_size(packed, asked) == (64 * 64 * 64 * 2, 4 * 64 * 64 * 2)
    words = xr.Dataset({"words": ("x", np.array(["a", "b"], object))})
    assert expected_size(words, {})[0] > 0


# what is written


def test_a_new_file_gets_stripes_before_anything_is_written(lustre, small_targets):
    path = lustre.folder / "a.nc"
    done = to_netcdf(dataset(), path)
    (words,) = [one["argv"] for one in lustre.set if "argv" in one]
    assert words[:5] == ["setstripe", "-c", "16", "-S", str(4 * MIB)]
    assert Path(words[5]).parent.parent == lustre.folder
    assert path.stat().st_ino == lustre.made["inode"]  # netCDF and HDF5 kept the very file
    assert done.striping.given == Stripes(4 * MIB, 16)
    assert str(done.striping) == "4 MiB over 16 target(s): for about 0.000977 GiB"
    xr.testing.assert_identical(xr.load_dataset(path, engine="netcdf4"), dataset().compute())
    assert others(lustre.folder) == ["a.nc"]


def test_rechunking_gives_stripes_too(lustre, small_targets, tmp_path):
    target = lustre.folder / "b.nc"
    old = source(tmp_path / "old.nc")
    done = rechunk(old, target, chunks={"time": -1})
    assert done.striping.given is not None and done.striping.given.count > 1
    assert target.stat().st_ino == lustre.made["inode"]
    with xr.open_dataset(target, engine="netcdf4") as found:
        xr.testing.assert_identical(found.load(), dataset().compute())
    assert others(lustre.folder) == ["b.nc"]


def test_nobody_else_can_open_the_file_before_it_is_whole(lustre, small_targets, monkeypatch):
    with_default_acl(lustre.folder)
    lustre.folder.chmod(0o777)
    seen = []
    real = striped._given
    monkeypatch.setattr(
        striped, "_given", lambda part, wanted: seen.append(part.stat()) or real(part, wanted)
    )
    before = os.umask(0)
    try:
        to_netcdf(dataset(), lustre.folder / "a.nc")
        (lustre.folder / "plain").touch()
    finally:
        os.umask(before)
    assert [one["umask"] for one in lustre.set if "umask" in one] == [0o077]
    assert lustre.made["folder"] == 0o700
    assert stat.S_IMODE(seen[0].st_mode) == 0o600
    modes = {stat.S_IMODE((lustre.folder / name).stat().st_mode) for name in ("a.nc", "plain")}
    assert len(modes) == 1  # in the end it is like any new file there


def with_default_acl(folder: Path) -> None:
    """Let another user read and write all new files, where the file system knows such a thing."""
    entries = [(1, 7, -1), (2, 6, os.getuid() + 1), (4, 5, -1), (16, 7, -1), (32, 5, -1)]
    raw = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *one) for one in entries)
    try:
        os.setxattr(folder, "system.posix_acl_default", raw)
    except OSError as error:
        pytest.skip(f"no default ACLs here: {error}")


def test_suitable_directories_are_left_alone(lustre, small_targets):
    lustre.answer(layout=PFL)
    done = to_netcdf(dataset(), lustre.folder / "a.nc")
    assert done.striping.given is None and "several parts (PFL)" in done.striping.reason
    lustre.answer(layout=ONE.replace("count:  1", "count:  16"))
    done = to_netcdf(dataset(), lustre.folder / "b.nc")
    assert done.striping.reason == "the directory gives 16 target(s), and 16 would do"
    assert lustre.set == []


def test_the_rule_as_it_is_leaves_a_small_file_on_one_target(lustre):
    done = to_netcdf(dataset(), lustre.folder / "a.nc")
    assert done.striping.reason == "the directory gives 1 target(s), and 1 would do"
    assert lustre.set == []


def test_stripes_that_were_asked_for_are_set_whatever_the_directory_has(lustre):
    lustre.answer(layout=PFL)
    done = to_netcdf(dataset(), lustre.folder / "a.nc", stripes=(-1, 2 * MIB))
    assert done.striping.given == Stripes(2 * MIB, -1)
    assert str(done.striping) == "2 MiB over all targets: as asked for"
    assert [one["argv"][1:5] for one in lustre.set if "argv" in one] == [
        ["-c", "-1", "-S", str(2 * MIB)]
    ]


def test_without_stripes_no_tool_is_asked(lustre, tmp_path):
    assert to_netcdf(dataset(), lustre.folder / "a.nc", stripes=None).striping.kind == ""
    done = to_netcdf(dataset(), tmp_path / "b.nc", stripes=(2, MIB))
    assert done.striping.given is None and done.striping.kind == "ext4"
    assert "set on Lustre, this is ext4" in done.striping.reason
    assert lustre.record == []


def test_no_tool_of_another_file_system_is_asked(lustre, monkeypatch, tmp_path):
    table = f"1 0 8:1 / / rw - ext4 a rw\n2 1 0:9 / {lustre.folder} rw - gpfs fs rw\n"
    monkeypatch.setattr(filesystem, "this_mountinfo", lambda: table)
    monkeypatch.setattr(tools, "ask", None)
    assert to_netcdf(dataset(), lustre.folder / "a.nc").striping.kind == "gpfs"


# what does not work


@pytest.mark.parametrize(
    ("fails", "said"),
    [
        ("before", "lfs setstripe failed: lfs setstripe: unable to open 'the file': Permission"),
        ("after", "lfs setstripe failed: error: setstripe: create stripe file 'the file' failed"),
    ],
)
def test_a_refusal_leaves_the_file_as_before_and_is_told(lustre, small_targets, fails, said):
    lustre.answer(fails=fails)
    path = lustre.folder / "a.nc"
    done = to_netcdf(dataset(), path)
    assert done.striping.given is None and done.striping.reason.startswith(said)
    xr.testing.assert_identical(xr.load_dataset(path, engine="netcdf4"), dataset().compute())
    assert others(lustre.folder) == ["a.nc"]


def test_no_lfs_and_one_that_does_not_answer(lustre, small_targets, monkeypatch):
    lustre.answer(sleep=30)
    ask = tools.ask
    monkeypatch.setattr(
        tools, "ask", lambda argv, **more: ask(argv, patience=1 if more else 5.0, **more)
    )
    done = to_netcdf(dataset(), lustre.folder / "a.nc")
    assert done.striping.reason == "lfs is not here or did not answer"
    (lustre._aside / "lfs").unlink()
    done = to_netcdf(dataset(), lustre.folder / "b.nc")
    assert done.striping.reason == "lfs is not here or did not answer"
    assert others(lustre.folder) == ["a.nc", "b.nc"]


def test_what_the_file_really_has_is_told(lustre, small_targets, monkeypatch):
    raw = struct.pack("<IIQQIHH", 0x0BD10BD0, 1, 1, 2, 4 * MIB, 3, 0)
    real = filesystem._attribute
    monkeypatch.setattr(
        filesystem, "_attribute", lambda path, name: raw if "a.nc" in path else real(path, name)
    )
    done = to_netcdf(dataset(), lustre.folder / "a.nc")
    assert done.striping.given == Stripes(4 * MIB, 3)
    assert done.striping.reason.endswith(", 16 targets were not to be had")


def test_a_file_that_cannot_take_the_name_is_told(lustre, small_targets, monkeypatch):
    def refuse(self, target):
        raise OSError(18, "Invalid cross-device link")

    part = lustre.folder / "part"
    part.touch()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refuse)
        done = stripe_part(part, "auto", GIB)
    assert done.reason.endswith("could not be put in place: Invalid cross-device link")
    assert others(lustre.folder) == ["part"]


def test_writing_that_fails_leaves_nothing(lustre, small_targets):
    broken = dataset().assign_attrs(a={"no": "attribute"})
    with pytest.raises(TypeError):
        to_netcdf(broken, lustre.folder / "a.nc")
    assert lustre.made and others(lustre.folder) == []


# the command


def typed(capsys, *words) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_command_tells_of_stripes_on_lustre(lustre, small_targets, tmp_path, capsys):
    old = source(tmp_path / "old.nc")
    new = lustre.folder / "new.nc"
    code, out, _ = typed(capsys, "data", "rechunk", old, new)
    assert code == 0
    assert out.splitlines()[-1].startswith("stripes: 4 MiB over 16 target(s): for about ")
    lustre.answer(fails="before")
    code, out, _ = typed(capsys, "data", "rechunk", old, new, "--overwrite")
    assert code == 0
    assert "stripes: as the directory has it: lfs setstripe failed: " in out
    code, out, _ = typed(capsys, "data", "rechunk", old, new, "--overwrite", "--stripes", "none")
    assert code == 0 and "stripes" not in out
    lustre.answer()
    words = ("--overwrite", "--json", "--stripes", "2,1M")
    code, out, _ = typed(capsys, "data", "rechunk", old, new, *words)
    assert json.loads(out)["stripes"] == {
        "set": {"count": 2, "size": MIB},
        "reason": "as asked for",
    }


def test_the_command_is_quiet_elsewhere_unless_it_was_asked(lustre, tmp_path, capsys):
    old = source(tmp_path / "old.nc")
    code, out, _ = typed(capsys, "data", "rechunk", old, tmp_path / "a.nc")
    assert code == 0 and "stripes" not in out
    code, out, _ = typed(capsys, "data", "rechunk", old, tmp_path / "b.nc", "--stripes=-1,1M")
    assert code == 0 and "stripes: as the directory has it: stripes of files are set on Lus" in out


@pytest.mark.parametrize("wrong", ["4", "x,1M", "4,1000", "0,1M", "4,5 kB"])
def test_stripes_that_cannot_be_read_are_wrong_usage(wrong, tmp_path, capsys):
    code, _, err = typed(capsys, "data", "rechunk", "a", tmp_path / "b", "--stripes", wrong)
    assert code == 2 and "--stripes" in err and "hint: " in err


def test_netcdf_keeps_an_empty_file_that_is_there(tmp_path):
    path = tmp_path / "a.nc"
    path.touch()
    inode = path.stat().st_ino
    netCDF4.Dataset(path, "w").close()
    assert path.stat().st_ino == inode
