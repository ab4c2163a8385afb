"""Where a file lies: the mount table, the tools' answers, and what follows for reading."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpclaunch.errors import StorageError
from hpclaunch.filesystems import KINDS, kind_of_magic, kind_of_mount
from hpclaunch.shell import Completed
from hpclaunch.storage import beegfs, ceph, gpfs, lustre
from hpclaunch.storage.filesystem import Place, place, reading_options, stripe_of
from hpclaunch.storage.mounts import magic_of, mount_of, read_mountinfo, this_mountinfo
from hpclaunch.storage.stripes import Stripes
from hpclaunch.storage.tools import ask

pytestmark = pytest.mark.pure

SAMPLES = Path(__file__).parents[1] / "transcripts" / "filesystems"
MIB = 2**20


def sample(name: str) -> str:
    """A sample without the lines that say where it comes from."""
    lines = (SAMPLES / f"{name}.txt").read_text().splitlines(keepends=True)
    assert lines[0].startswith("# source: ")
    return "".join(line for line in lines if not line.startswith("#"))


class Tools:
    """Tools that answer with samples; what was asked is kept."""

    def __init__(self, **answers: str | int) -> None:
        self.answers, self.asked = answers, []

    def __call__(self, argv):
        self.asked.append(list(argv))
        answer = self.answers.get(argv[0].replace("-", "_"))
        if answer is None:
            return None
        if isinstance(answer, int):
            return Completed.of(argv, answer, "", "error: this does not work")
        return Completed.of(argv, 0, answer)


def mounted(path: Path, type: str, source: str = "source", options: str = "rw") -> str:
    return f"1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 0:9 / {path} rw - {type} {source} {options}\n"


# mount table


@pytest.mark.parametrize(
    ("path", "point", "kind"),
    [
        ("/etc/passwd", "/", "ext4"),
        ("/lustre/x/y.nc", "/lustre", "lustre"),
        ("/lustre", "/lustre", "lustre"),
        ("/lustrous/y.nc", "/", "ext4"),
        ("/lustre/my project/y.nc", "/lustre/my project", "lustre"),
        ("/data/y.nc", "/data", "lustre"),
        ("/gpfs/fs1/y.nc", "/gpfs/fs1", "gpfs"),
        ("/gpfs/fs2/y.nc", "/", "ext4"),
        ("/mnt/beegfs/y.nc", "/mnt/beegfs", "beegfs"),
        ("/weka/y.nc", "/weka", "wekafs"),
        ("/daos/y.nc", "/daos", "daos"),
        ("/vast/y.nc", "/vast", "vast"),
        ("/home/me/y.nc", "/home", "nfs"),
        ("/panfs/y.nc", "/panfs", "panfs"),
        ("/ceph/y.nc", "/ceph", "ceph"),
        ("/cephfuse/y.nc", "/cephfuse", "ceph"),
        ("/local/y.nc", "/local", "xfs"),
        ("/dev/shm/y.nc", "/dev/shm", "tmpfs"),
        ("/container/y.nc", "/container", "overlay"),
        ("/bucket/y.nc", "/bucket", "object store"),
        ("/snap/y.nc", "/snap", "btrfs"),
        ("/odd/y.nc", "/odd", "unknown"),
        ("/tab\tnew\nline\\back/y.nc", "/tab\tnew\nline\\back", "zfs"),
        ("/a/b/y.nc", "/a", "nfs"),  # /a was mounted over it later
    ],
)
def test_the_mount_table_tells_who_holds_a_path(path, point, kind):
    mount = mount_of(read_mountinfo(sample("mountinfo")), path)
    assert mount is not None
    found = kind_of_mount(mount.type, mount.source, mount.options)
    assert (mount.point, found.name) == (point, kind)


def test_a_mount_on_the_same_point_hides_the_one_below():
    table = (
        "1 0 8:1 / / rw - ext4 a rw\n5 1 0:5 / /d rw - autofs b rw\n6 5 0:6 / /d rw - nfs c rw\n"
    )
    mount = mount_of(read_mountinfo(table), "/d/f")
    assert mount is not None and mount.type == "nfs"


def test_a_table_whose_roots_parent_is_itself_or_is_hidden_is_walked():
    for parent in (1, 99):
        mount = mount_of(read_mountinfo(f"1 {parent} 8:1 / / rw - ext4 a rw"), "/x")
        assert mount is not None and mount.source == "a"
    assert mount_of((), "/x") is None


@given(st.text())
def test_no_text_breaks_the_reader_of_the_mount_table(text):
    for mount in read_mountinfo(text):
        mount_of((mount,), "/x")


def test_this_machines_own_table_holds_every_path(tmp_path):
    mount = mount_of(read_mountinfo(this_mountinfo()), os.path.realpath(tmp_path))
    assert mount is not None
    major, minor = map(int, mount.device.split(":"))
    device = tmp_path.stat().st_dev
    assert (major, minor) == (os.major(device), os.minor(device)) or mount.type in (
        "btrfs",
        "overlay",
    )


def test_statfs_agrees_with_the_mount_table_where_it_knows_the_number(tmp_path):
    magic = magic_of(str(tmp_path))
    mount = mount_of(read_mountinfo(this_mountinfo()), os.path.realpath(tmp_path))
    assert magic and mount is not None
    by_number = kind_of_magic(magic).name
    assert by_number in ("unknown", kind_of_mount(mount.type).name)
    assert magic_of(str(tmp_path / "absent")) is None


def test_every_kind_that_a_table_gives_is_one():
    names = {
        kind_of_mount(word).name for word in ("lustre", "smb3", "cifs", "pvfs2", "fuse.x", "?")
    }
    assert names == {"lustre", "smb", "orangefs", "fuse", "unknown"}
    assert kind_of_magic(0x0BD00BD0) is KINDS["lustre"]
    assert kind_of_magic(0xFFFFFFFF_9123683E).name == "btrfs"  # a signed word, widened


# Lustre


def test_a_plain_layout():
    (found,) = lustre.read_getstripe(sample("lustre-plain"))
    assert found == Stripes(size=MIB, count=4)
    assert found.used and found.holds(0) and found.holds(2**60)


def test_a_plain_layout_of_an_old_client():
    assert lustre.read_getstripe(sample("lustre-plain-old")) == (Stripes(4 * MIB, 2),)


def test_a_plain_layout_as_yaml_with_a_pool():
    assert lustre.read_getstripe(sample("lustre-plain.yaml")) == (
        Stripes(4 * MIB, 2, pool="flash"),
    )


def test_a_progressive_layout():
    found = lustre.read_getstripe(sample("lustre-pfl.yaml"))
    assert [(one.start, one.end, one.count, one.size, one.pattern) for one in found] == [
        (0, MIB, 0, MIB, "mdt"),
        (MIB, 256 * MIB, 1, MIB, "raid0"),
        (256 * MIB, 5120 * MIB, 4, 4 * MIB, "raid0"),
        (5120 * MIB, None, -1, 16 * MIB, "raid0"),
    ]
    assert [one.used for one in found] == [True, True, True, False]


@pytest.mark.parametrize(
    ("offset", "count"), [(0, 0), (MIB - 1, 0), (MIB, 1), (256 * MIB, 4), (5120 * MIB, None)]
)
def test_the_stripes_of_a_byte(offset, count):
    here = Place("/f", KINDS["lustre"], components=lustre.read_getstripe(sample("lustre-pfl.yaml")))
    found = stripe_of(here, offset)
    assert (found and found.count) == count


def test_reads_come_from_the_preferred_mirror_and_from_no_stale_one():
    components = lustre.read_getstripe(sample("lustre-mirrors"))
    assert [one.used for one in components] == [False, True, True, False]
    found = stripe_of(Place("/f", KINDS["lustre"], components=components), 10**9)
    assert found is not None and (found.count, found.pool) == (8, "flash")


def test_flags_may_be_numbers():
    found = lustre.read_getstripe(sample("lustre-verbose"))
    assert [(one.start, one.end, one.count, one.flags) for one in found] == [
        (0, MIB, 1, ("init",)),
        (MIB, None, 2, ("init",)),
    ]


def test_the_default_of_a_directory_stands_on_one_line():
    assert lustre.read_getstripe(sample("lustre-directory")) == (Stripes(16 * MIB, 8),)


def test_a_released_file_is_known():
    assert lustre.released(lustre.read_getstripe(sample("lustre-released")))
    assert lustre.released(lustre.read_getstripe("lmm_stripe_count: 1\nlmm_stripe_size: 65536\n"
                                                 "lmm_pattern: 80000001\n"))  # fmt: skip
    assert not lustre.released(lustre.read_getstripe(sample("lustre-plain")))


@pytest.mark.parametrize("text", ["", "error: getstripe failed", "x has no stripe info\n"])
def test_no_layout_is_none(text):
    assert lustre.read_getstripe(text) == ()


@given(st.text(alphabet="lcmestripe_count size:0123456789EOFx,.\n -"))
def test_no_text_breaks_the_reader_of_getstripe(text):
    lustre.read_getstripe(text)


def _plain(size: int, count: int, pattern: int = 1, pool: bytes | None = None) -> bytes:
    magic = 0x0BD10BD0 if pool is None else 0x0BD30BD0
    head = struct.pack("<IIQQIHH", magic, pattern, 1, 2, size, count, 0)
    return head + (b"" if pool is None else pool.ljust(16, b"\0")) + b"\0" * 24 * (count & 0xFF)


def _composite(*parts: tuple[int, int, int, bytes]) -> bytes:
    """``struct lov_comp_md_v1`` of (flags, start, end, layout)."""
    offset = 32 + 48 * len(parts)
    entries, blobs = b"", b""
    for at, (flags, start, end, blob) in enumerate(parts):
        entries += struct.pack("<IIQQIIIQI", at, flags, start, end, offset, len(blob), 0, 0, 0)
        blobs += blob
        offset += len(blob)
    head = struct.pack("<IIIHHH", 0x0BD60BD0, offset, 1, 0, len(parts), 0).ljust(32, b"\0")
    return head + entries + blobs


def test_the_attribute_tells_the_same_without_a_tool():
    assert lustre.read_lov(_plain(MIB, 4)) == (Stripes(MIB, 4),)
    assert lustre.read_lov(_plain(MIB, 0xFFFF, pool=b"flash")) == (Stripes(MIB, -1, pool="flash"),)
    raw = _composite(
        (0x10, 0, MIB, _plain(MIB, 0, 0x100)),
        (0x11, MIB, 2**64 - 1, _plain(4 * MIB, 2)),
        (0x12, MIB, 2**64 - 1, _plain(8 * MIB, 8, 0x201, b"flash")),
    )
    first, stale, last = lustre.read_lov(raw)
    assert first == Stripes(MIB, 0, 0, MIB, "mdt")
    assert not stale.used
    assert last == Stripes(8 * MIB, 8, MIB, None, "raid0,overstriped", ("prefrd", "init"), "flash")


@given(st.binary(max_size=200), st.integers(0, 200))
def test_no_bytes_break_the_reader_of_the_attribute(raw, cut):
    lustre.read_lov(raw)
    lustre.read_lov(_composite((0x10, 0, 9, _plain(1, 1)), (0, 9, 99, _plain(2, 2)))[:cut])


# GPFS, BeeGFS, CephFS


def test_what_mmlsattr_says():
    assert gpfs.read_mmlsattr(sample("gpfs-mmlsattr")) == gpfs.Attributes(
        "DATA", "csg", False, True
    )
    offline = gpfs.read_mmlsattr(sample("gpfs-mmlsattr-offline"))
    assert offline == gpfs.Attributes("system", "root", True, False)
    assert gpfs.read_mmlsattr("mmlsattr: file is not in a GPFS file system") is None


def test_what_mmlsfs_says():
    assert gpfs.read_mmlsfs(sample("gpfs-mmlsfs")) == 4194304
    assert gpfs.read_mmlsfs(" -B   4194304   Block size\n") == 4194304
    assert gpfs.read_mmlsfs("mmlsfs: not found") is None


@pytest.mark.parametrize(
    ("name", "stripes"),
    [
        ("beegfs-7", Stripes(512 * 1024, 2)),
        ("beegfs-8-retro", Stripes(MIB, 4, pattern="buddymirror")),
        ("beegfs-8-table", Stripes(MIB, 4)),
    ],
)
def test_what_beegfs_says(name, stripes):
    assert beegfs.read_entry_info(sample(name)) == stripes


def test_what_ceph_says():
    text = "stripe_unit=4194304 stripe_count=2 object_size=8388608 pool=data"
    assert ceph.read_layout(text) == Stripes(4 * MIB, 2, pool="data")
    assert ceph.read_layout("nonsense") is None
    assert beegfs.read_entry_info("nonsense") is None


# place


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "f.nc"
    path.write_bytes(bytes(100_000))
    return path


def test_a_file_on_lustre(file):
    tools = Tools(lfs=sample("lustre-pfl.yaml"))
    found = place(file, ask=tools, mountinfo=mounted(file.parent, "lustre", "10.0.0.1@tcp:/demo"))
    assert (found.kind.name, found.shared, found.size) == ("lustre", True, 100_000)
    assert found.device == "10.0.0.1@tcp:/demo" and len(found.components) == 4
    assert found.found == ("lustre in the mount table", "stripes by lfs getstripe")
    assert tools.asked == [["lfs", "getstripe", "--yaml", str(file)]]
    assert found.stripes is not None and found.stripes.count == 0  # it ends on the MDT
    assert reading_options(found).align == 0


def test_an_old_lfs_is_asked_without_yaml(file):
    def old(argv):
        if "--yaml" in argv:
            return Completed.of(argv, 1, "", "unrecognized option '--yaml'")
        return Completed.of(argv, 0, sample("lustre-plain-old"))

    found = place(file, ask=old, mountinfo=mounted(file.parent, "lustre"))
    assert found.components == (Stripes(4 * MIB, 2),)


def test_a_directory_on_lustre_tells_the_layout_of_new_files(tmp_path):
    text = sample("lustre-pfl.yaml").replace("init", "0")
    tools = Tools(lfs=text)
    found = place(tmp_path, ask=tools, mountinfo=mounted(tmp_path, "lustre"))
    assert tools.asked == [["lfs", "getstripe", "-d", "--yaml", str(tmp_path)]]
    assert [one.used for one in found.components] == [True] * 4


def test_an_absent_tool_is_no_error(file):
    for type in ("lustre", "gpfs", "beegfs", "ceph"):
        found = place(file, ask=Tools(), mountinfo=mounted(file.parent, type))
        assert found.kind.name == type and found.components == ()
        assert any("not known" in note for note in found.notes)


def test_released_and_migrated_files_are_told_and_not_opened(file, monkeypatch):
    lfs, mmlsattr = (
        Tools(lfs=sample("lustre-released")),
        Tools(mmlsattr=sample("gpfs-mmlsattr-offline")),
    )
    for opener in ("builtins.open", "io.open", "os.open"):
        monkeypatch.setattr(opener, lambda *_, **__: pytest.fail("it was opened"))
    found = place(file, ask=lfs, mountinfo=mounted(file.parent, "lustre"))
    assert found.offline == "yes"
    found = place(file, ask=mmlsattr, mountinfo=mounted(file.parent, "gpfs"))
    assert found.offline == "yes" and "storage pool system" in found.notes


def test_hardly_any_blocks_may_be_tape(tmp_path):
    path = tmp_path / "sparse.nc"
    with path.open("wb") as out:
        out.truncate(10**7)
    assert place(path, ask=Tools(), mountinfo=mounted(tmp_path, "nfs")).offline == "perhaps"
    assert place(path, ask=Tools(), mountinfo=mounted(tmp_path, "ext4")).offline == "no"
    cleared = place(
        path, ask=Tools(mmlsattr=sample("gpfs-mmlsattr")), mountinfo=mounted(tmp_path, "gpfs")
    )
    assert cleared.offline == "no"


def test_gpfs_gives_its_block_size_by_mmlsfs_where_stat_does_not(file):
    tools = Tools(mmlsattr=sample("gpfs-mmlsattr"), mmlsfs=sample("gpfs-mmlsfs"))
    found = place(file, ask=tools, mountinfo=mounted(file.parent, "gpfs", "/dev/fs1"))
    assert found.block == 4 * MIB
    assert tools.asked[-1] == ["mmlsfs", "fs1", "-B"]
    assert reading_options(found).align == 4 * MIB
    assert found.notes == ("storage pool DATA", "compressed by the file system")


def test_beegfs_7_is_asked_where_8_is_not_there(file):
    tools = Tools(beegfs_ctl=sample("beegfs-7"))
    found = place(file, ask=tools, mountinfo=mounted(file.parent, "beegfs", "beegfs_nodev"))
    assert [argv[0] for argv in tools.asked] == ["beegfs", "beegfs-ctl"]
    assert reading_options(found).align == 512 * 1024
    assert found.found[-1] == "stripes by beegfs-ctl --getentryinfo"


def test_the_finding_wins_over_the_profile_and_says_so(file):
    found = place(
        file, hint="gpfs", ask=Tools(), mountinfo=mounted(file.parent, "nfs4", "filer:/x")
    )
    assert found.kind.name == "nfs"
    assert "the site's profile says gpfs; found was nfs, and that holds" in found.notes
    same = place(file, hint="nfs", ask=Tools(), mountinfo=mounted(file.parent, "nfs4"))
    assert same.notes == ()


def test_the_profile_serves_where_nothing_is_found(file, monkeypatch):
    monkeypatch.setattr("hpclaunch.storage.filesystem.magic_of", lambda path: None)
    found = place(file, hint="lustre", ask=Tools(lfs=sample("lustre-plain")), mountinfo="")
    assert found.kind.name == "lustre" and "by the site's profile only" in found.found
    assert found.stripes == Stripes(MIB, 4)


def test_statfs_serves_where_the_table_is_silent(file, monkeypatch):
    monkeypatch.setattr("hpclaunch.storage.filesystem.magic_of", lambda path: 0x47504653)
    found = place(file, ask=Tools(), mountinfo=mounted(file.parent, "neverheard"))
    assert found.kind.name == "gpfs" and "statfs says 0x47504653" in found.found


def test_links_are_followed_to_where_the_bytes_lie(tmp_path, file):
    link = tmp_path / "link.nc"
    link.symlink_to(file)
    assert place(link, ask=Tools()).path == os.path.realpath(file)


def test_what_is_not_there_raises(tmp_path):
    with pytest.raises(FileNotFoundError):
        place(tmp_path / "absent.nc")


def test_urls():
    found = place("s3://key:secret@bucket/a/b.nc")
    assert (found.kind.name, found.device, found.shared) == ("object store", "bucket", True)
    assert reading_options(found).gap >= MIB
    with pytest.raises(StorageError, match="ftp://"):
        place("ftp://host/x.nc")


def test_a_file_url_is_a_path(file):
    assert place(f"file://{file}").path == os.path.realpath(file)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_kind_has_its_reading_options(name):
    for block in (0, 4096, 16 * MIB):
        found = reading_options(Place("/f", KINDS[name], block=block))
        assert found.align >= 0 and 2**16 <= found.gap <= 2**22 and found.reason


# tools


def test_a_tool_is_asked():
    found = ask([sys.executable, "-c", "import os; print(os.environ['LC_ALL'])"])
    assert found is not None and (found.exit, found.stdout) == (0, "C\n")
    assert ask(["hpclaunch-has-no-such-tool"]) is None


def test_a_tool_that_hangs_is_given_up():
    assert ask([sys.executable, "-c", "import time; time.sleep(60)"], patience=0.3) is None
