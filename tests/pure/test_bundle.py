"""What the launcher takes along to a site, and how it is packed."""

from __future__ import annotations

import gzip
import io
import re
import subprocess
import sys
import tarfile
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hpclaunch
from hpclaunch import bundle as module
from hpclaunch.script import tar_of

PACKAGE = Path(hpclaunch.__file__).parent


@pytest.fixture
def packed() -> tuple[str, tarfile.TarFile]:
    bundle = module.bundle()
    return bundle.key, tarfile.open(fileobj=io.BytesIO(gzip.decompress(bundle.archive)))


def test_the_bundle_holds_the_whole_package_and_its_entry_points(packed):
    key, tar = packed
    version = metadata.version("hpclaunch")
    files = {entry.name for entry in tar if entry.isfile()}
    info = f"hpclaunch-{version}.dist-info"
    modules = {
        f"hpclaunch/{file.relative_to(PACKAGE).as_posix()}"
        for kind in ("py", "c", "h")
        for file in PACKAGE.rglob(f"*.{kind}")
    }
    assert {"hpclaunch/storage/chunks.c", "hpclaunch/storage/values.h"} < modules
    assert files == modules | {f"{info}/METADATA", f"{info}/entry_points.txt"}
    assert re.fullmatch(rf"{re.escape(version)}-[0-9a-f]{{12}}", key)


def test_nothing_private_or_foreign_is_taken_along(packed):
    _, tar = packed
    for entry in tar:
        assert (entry.uid, entry.gid, entry.uname, entry.gname, entry.mtime) == (0, 0, "", "", 0)
        assert entry.mode == (0o700 if entry.isdir() else 0o600)
        assert entry.isdir() or entry.isfile()
        assert not entry.name.startswith(("/", ".")) and ".." not in entry.name


def test_the_commands_entry_point_is_left_out(packed):
    """What is on PYTHONPATH of a user's jobs shall add no command there."""
    _, tar = packed
    name = next(entry.name for entry in tar if entry.name.endswith("entry_points.txt"))
    text = tar.extractfile(name).read().decode()  # type: ignore[union-attr]
    assert "console_scripts" not in text
    groups = {point.group for point in metadata.distribution("hpclaunch").entry_points}
    assert set(re.findall(r"^\[(.*)\]$", text, re.MULTILINE)) == groups - {"console_scripts"}


def test_the_xarray_engine_is_taken_along(tmp_path):
    """Where the bundle lies on PYTHONPATH, ``xarray.open_dataset(engine="hpclaunch")`` works."""
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(module.bundle().archive))) as tar:
        tar.extractall(tmp_path)  # our own; Python 3.11.2 has no filter yet
    code = """import importlib.metadata, sys
sys.path[:] = [sys.argv[1], *(path for path in sys.path if path != sys.argv[2])]
(mine,) = importlib.metadata.distributions(name="hpclaunch", path=[sys.argv[1]])
(point,) = (one for one in mine.entry_points if one.group == "xarray.backends")
engine = point.load()
print(point.name, engine.__name__, sys.modules[engine.__module__].__file__)
"""
    asked = [sys.executable, "-c", code, str(tmp_path), str(PACKAGE.parent)]
    done = subprocess.run(asked, capture_output=True, text=True, cwd=tmp_path)
    file = tmp_path / "hpclaunch" / "storage" / "engine.py"
    assert done.stdout == f"hpclaunch HpclaunchBackendEntrypoint {file}\n", done.stderr


def test_the_same_content_has_the_same_key_and_bytes():
    code = "from hpclaunch.bundle import bundle; import hashlib; b = bundle(); "
    code += "print(b.key, hashlib.sha256(b.archive).hexdigest())"
    said = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env={"PYTHONHASHSEED": seed, "PATH": ""},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(said) == 1


def test_another_content_has_another_key(monkeypatch, tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    keys = set()
    for text in ("x = 1\n", "x = 2\n"):
        (tmp_path / "a.py").write_text(text)
        monkeypatch.setattr(module, "__file__", str(tmp_path / "bundle.py"))
        keys.add(module.bundle.__wrapped__().key)
    assert len(keys) == 2


def test_the_bundle_travels_quickly():
    """It goes over a home's upload line, once per version."""
    assert len(module.bundle().archive) < 600_000


def test_the_agent_needs_nothing_but_the_bundle_and_the_standard_library(tmp_path):
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(module.bundle().archive))) as tar:
        tar.extractall(tmp_path)  # our own; Python 3.11.2 has no filter yet
    code = """import sys; sys.path.insert(0, sys.argv[1])
import hpclaunch.node.agent, hpclaunch.node.localjob
print(hpclaunch.__file__, [name for name in sys.modules if name.startswith("hpclaunch")])
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(tmp_path)], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    file, _, modules = done.stdout.partition(" ")
    assert file == f"{tmp_path}/hpclaunch/__init__.py"
    assert "hpclaunch.node.agent" in modules and "hpclaunch.sites" not in modules


names = st.from_regex(r"[a-z][a-z0-9._-]{0,20}(/[a-z][a-z0-9._-]{0,20}){0,3}", fullmatch=True)


@given(files=st.dictionaries(names, st.binary(max_size=2000), max_size=8))
def test_a_tar_holds_what_was_put_in_and_private_folders(files):
    with tarfile.open(fileobj=io.BytesIO(tar_of(files))) as tar:
        entries = tar.getmembers()
        found = {e.name: tar.extractfile(e).read() for e in entries if e.isfile()}  # type: ignore[union-attr]
    assert found == files
    folders = [entry.name for entry in entries if entry.isdir()]
    assert set(folders) == {name.rpartition("/")[0] for name in files} - {""}
    assert len(folders) == len(set(folders))
    assert {entry.mode for entry in entries} <= {0o600, 0o700}


def test_a_tar_does_not_tell_in_which_order_it_was_filled():
    files = {"b": b"1", "a/c": b"2", "a/b": b"3"}
    assert tar_of(files) == tar_of(dict(reversed(files.items())))


@pytest.mark.parametrize(("mode", "folder"), [(0o600, 0o700), (0o644, 0o755), (0o640, 0o750)])
def test_a_folder_can_be_entered_by_whoever_may_read_its_files(mode, folder):
    with tarfile.open(fileobj=io.BytesIO(tar_of({"a/b": b""}, mode=mode))) as tar:
        assert [(entry.name, entry.mode) for entry in tar] == [("a", folder), ("a/b", mode)]
