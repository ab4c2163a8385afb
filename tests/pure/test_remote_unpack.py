"""unpack.sh: hpclaunch's own modules lie on the site whole, or not at all."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import example, given, settings

from hpclaunch.bundle import bundle
from hpclaunch.script import tar_of
from tests.pure.hostile import names
from tests.pure.remote import command, run, tree, wait_for

ARCHIVE = gzip.compress(
    tar_of({"hpclaunch/__init__.py": b"", "hpclaunch/big.py": os.urandom(99999)})
)


def test_the_modules_can_be_imported_and_their_entry_points_found(shell, tmp_path):
    key = bundle().key
    said = run(shell, "unpack.sh", tmp_path, key, stdin=bundle().archive)
    assert (said.returncode, said.stdout, said.stderr) == (0, b"", b"")
    lib = tmp_path / "lib" / key
    code = (
        "import hpclaunch, hpclaunch.node.layout, importlib.metadata as m;"
        "print(hpclaunch.__file__, hpclaunch.__version__, m.version('hpclaunch'))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": str(lib)}, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    version = key.rpartition("-")[0]
    assert done.stdout.split() == [f"{lib}/hpclaunch/__init__.py", version, version]
    assert run(shell, "look.sh", tmp_path, key).stdout.decode().endswith("lib=yes\n")


ASKED = "from hpclaunch.storage.compiled import compiled; print(compiled() is not None)"


@pytest.mark.parametrize("compiler", [True, False])
def test_what_reads_netcdf_is_compiled_where_a_compiler_is(shell, tmp_path, compiler):
    programs = tmp_path / "bin"
    programs.mkdir()
    for folder in os.defpath.split(os.pathsep):
        for program in Path(folder).iterdir() if folder and Path(folder).is_dir() else ():
            if compiler or not program.name.startswith(("cc", "c99", "gcc")):
                (programs / program.name).unlink(missing_ok=True)
                (programs / program.name).symlink_to(program)
    key = bundle().key
    said = run(
        *(shell, "unpack.sh", tmp_path / "base", key),
        stdin=bundle().archive,
        PATH=str(programs),
    )
    assert (said.returncode, said.stdout, said.stderr) == (0, b"", b"")
    lib = tmp_path / "base" / "lib" / key
    assert (lib / "hpclaunch/storage/lib").exists() is compiler
    environment = {"PYTHONPATH": str(lib)}
    asked = [sys.executable, "-c", ASKED]
    done = subprocess.run(asked, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == f"{compiler}\n", done.stderr


def test_what_is_made_is_closed_to_others(shell, tmp_path):
    run(shell, "unpack.sh", tmp_path / "b", "k", stdin=ARCHIVE)
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o700
    assert tree(tmp_path / "b") == {
        "lib": 0o700,
        "lib/k": 0o700,
        "lib/k/.complete": 0o600,
        "lib/k/hpclaunch": 0o700,
        "lib/k/hpclaunch/__init__.py": 0o600,
        "lib/k/hpclaunch/big.py": 0o600,
    }


@settings(max_examples=50)
@given(base=names, key=names)
@example(base="-x", key="-rf")
@example(base="a\\nb", key="\\1")
@example(base="$(touch pwned)", key="; touch pwned")
def test_hostile_names_mean_nothing(tmp_path_factory, shell, base, key):
    top = tmp_path_factory.mktemp("top")
    said = run(shell, "unpack.sh", top / base, key, stdin=ARCHIVE)
    assert (said.returncode, said.stdout, said.stderr) == (0, b"", b"")
    assert [path.name for path in (top / base / "lib").iterdir()] == [key]
    assert [path.name for path in top.iterdir()] == [base]


@pytest.mark.parametrize("key", ["", ".", "..", "a/b", "../../x"])
def test_a_key_that_leads_elsewhere_is_refused(shell, tmp_path, key):
    said = run(shell, "unpack.sh", tmp_path, key, stdin=ARCHIVE)
    assert said.returncode == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_an_archive_cut_short_leaves_nothing(shell, tmp_path, part):
    said = run(shell, "unpack.sh", tmp_path, "k", stdin=ARCHIVE[: int(len(ARCHIVE) * part)])
    assert said.returncode != 0
    assert said.stderr != b""
    assert list((tmp_path / "lib").iterdir()) == []


def test_two_at_once_make_one_and_leave_no_litter(shell, tmp_path):
    many = [
        subprocess.Popen(
            command(shell, "unpack.sh", tmp_path, "k"),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(8)
    ]  # fmt: skip
    errors: list[bytes] = []
    threads = [
        threading.Thread(target=lambda one=one: errors.append(one.communicate(ARCHIVE)[1]))
        for one in many
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.returncode for one in many] == [0] * 8
    assert errors == [b""] * 8
    assert [path.name for path in (tmp_path / "lib").iterdir()] == ["k"]
    assert {path.name for path in (tmp_path / "lib/k").iterdir()} == {".complete", "hpclaunch"}


def test_what_is_whole_is_never_touched(shell, tmp_path):
    """Jobs may be running from it."""
    run(shell, "unpack.sh", tmp_path, "k", stdin=ARCHIVE)
    before = (tmp_path / "lib/k/hpclaunch/big.py").stat()
    said = run(shell, "unpack.sh", tmp_path, "k", stdin=ARCHIVE)
    assert said.returncode == 0
    assert (tmp_path / "lib/k/hpclaunch/big.py").stat() == before


def test_what_was_left_broken_is_replaced(shell, tmp_path):
    broken = tmp_path / "lib" / "k"
    broken.mkdir(parents=True)
    (broken / "half.py").touch()
    said = run(shell, "unpack.sh", tmp_path, "k", stdin=ARCHIVE)
    assert (said.returncode, said.stderr) == (0, b"")
    assert {path.name for path in broken.iterdir()} == {".complete", "hpclaunch"}
    assert [path.name for path in (tmp_path / "lib").iterdir()] == ["k"]


def test_a_planted_link_is_not_followed(shell, tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (tmp_path / "b" / "lib").mkdir(parents=True)
    (tmp_path / "b" / "lib" / "k").symlink_to(victim)
    run(shell, "unpack.sh", tmp_path / "b", "k", stdin=ARCHIVE)
    assert list(victim.iterdir()) == []


def test_an_interrupted_unpack_leaves_nothing(shell, tmp_path):
    process = subprocess.Popen(
        command(shell, "unpack.sh", tmp_path, "k"), stdin=subprocess.PIPE, start_new_session=True
    )
    assert process.stdin is not None
    process.stdin.write(ARCHIVE[:1000])
    process.stdin.flush()
    try:
        wait_for(lambda: list(tmp_path.glob("lib/.new-*/tar")))
    finally:
        os.killpg(process.pid, 15)
        process.stdin.close()
    assert process.wait(timeout=30) != 0
    assert list((tmp_path / "lib").iterdir()) == []


def test_a_base_that_cannot_be_made_is_told(shell, tmp_path):
    (tmp_path / "file").touch()
    said = run(shell, "unpack.sh", tmp_path / "file", "k", stdin=ARCHIVE)
    assert said.returncode != 0
    assert b"file" in said.stderr
    assert Path(tmp_path / "file").is_file()
